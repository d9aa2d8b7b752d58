# SPDX-License-Identifier: Apache-2.0
"""Policies of real drivers as data: what each does with faults that it served, that raced, that failed, that repeat.

Source: docs/host.md, "Policies"; nouveau_svm.c, svm_range_restore_pages() and amdgpu_gmc_filter_faults() of amdgpu, and
mlx5_ib_eqe_pf_action() of Linux 6.1.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum


class Deduplication(Enum):
    """What becomes of several records of one page."""

    MERGE = "sorted by context and address; equal page and access are served once"
    TOKENS = "none: every record is served alone, in the order of the ring"
    FILTER = "a filter: what was admitted within a time window, or is older than an invalidation, is not served"


class SuccessAnswer(Enum):
    """How a fault is answered whose entry is there now."""

    REPLAY_ALL = "one replay of everything that waits"
    RESUME = "a replay by its tag"
    RETRY = "a replay by its tag, which promises nothing: it stands for hardware that tries until the entry is valid"


class FailureAnswer(Enum):
    """How a fault is answered that cannot be served."""

    CANCEL_PAGE = "a cancel of its context, page and access"
    RESUME = "a cancel by its tag"
    ERROR_ENTRY = "ERROR is stored into its slot, and it is retried; the fault that this gives is cancelled by its tag"


class RaceRule(Enum):
    """What is done when an invalidation came in between. The deadline bounds all of them; then the fault has failed."""

    SERVE_AGAIN = "the handler tries again; the time runs since the batch was taken"
    ANSWER = "a replay at once: the device asks again; the time runs since the first fault of the page"


class OverflowRule(Enum):
    """What is done with a ring that fills faster than faults are served."""

    DRAIN = "records are taken until the ring is empty or the batch is full, and only then served"
    LEAVE = "no more records are taken than can be served; the others stay in the ring, and the device waits"
    DROP = "records that the filter has no room for are retried unserved"


class AnswerTime(Enum):
    """When answers are commanded."""

    BATCH = "when the whole batch is decided"
    EACH = "as soon as each range is decided"


@dataclass(frozen=True)
class FaultPolicy:
    """One row of the table of policies."""

    deduplication: Deduplication
    success: SuccessAnswer
    failure: FailureAnswer
    race: RaceRule
    overflow: OverflowRule
    time: AnswerTime = AnswerTime.BATCH


class AnswerPolicy(Enum):
    """Whose policy a driver follows. RESUME is this project's own, the plainest that the contract allows."""

    RESUME = FaultPolicy(
        Deduplication.MERGE,
        SuccessAnswer.RESUME,
        FailureAnswer.RESUME,
        RaceRule.SERVE_AGAIN,
        OverflowRule.LEAVE,
    )
    NOUVEAU = FaultPolicy(
        Deduplication.MERGE,
        SuccessAnswer.REPLAY_ALL,
        FailureAnswer.CANCEL_PAGE,
        RaceRule.SERVE_AGAIN,
        OverflowRule.DRAIN,
    )
    MLX5 = FaultPolicy(
        Deduplication.TOKENS,
        SuccessAnswer.RESUME,
        FailureAnswer.RESUME,
        RaceRule.ANSWER,
        OverflowRule.LEAVE,
        AnswerTime.EACH,
    )
    AMDKFD = FaultPolicy(
        Deduplication.FILTER,
        SuccessAnswer.RETRY,
        FailureAnswer.ERROR_ENTRY,
        RaceRule.ANSWER,
        OverflowRule.DROP,
    )

    @property
    def promises(self) -> bool:
        """Whether a replay says that the entry is there."""
        return self.value.success is not SuccessAnswer.RETRY
