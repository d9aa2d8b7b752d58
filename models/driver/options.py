# SPDX-License-Identifier: Apache-2.0
"""How a driver works, and what it counts. Source: docs/host.md, "The driver"."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from enum import Enum

from models.errors import UserError
from models.structures import Reason


class AnswerPolicy(Enum):
    """How a driver answers the faults that it served."""

    RESUME = "each fault by its tag"
    REPLAY_ALL = "cancels by their tags, then one replay of everything"


class CommitPolicy(Enum):
    """How a driver brings staged entries to the device."""

    STORE = "the same words are stored into the live array"
    SWAP = "the directory entry is pointed at the staging array"


@dataclass(frozen=True)
class DriverOptions:
    """`deadline`: cycles after which a fault that cannot be served is cancelled; `batch`: records taken at once;
    `poll`: cycles to wait for faults before looking whether to stop; `block`: let HMM wait for others.
    """

    answer: AnswerPolicy = AnswerPolicy.RESUME
    commit: CommitPolicy = CommitPolicy.STORE
    deadline: int = 20_000
    batch: int = 256
    poll: int = 1000
    block: bool = True

    def __post_init__(self) -> None:
        if self.deadline < 0 or self.batch < 1 or self.poll < 1:
            raise UserError("Give the driver a deadline of 0 or more, and a batch and a poll of 1 or more.")


@dataclass
class DriverCounters:
    """What the driver did. `stale_records`: of contexts that are not bound; `reports`: records without an answer;
    `reasons`: how many records gave each reason.
    """

    batches: int = 0
    records: int = 0
    duplicates: int = 0
    reports: int = 0
    stale_records: int = 0
    hmm_calls: int = 0
    retries: int = 0
    commits: int = 0
    replays: int = 0
    cancels: int = 0
    timeouts: int = 0
    invalidations: int = 0
    fences: int = 0
    reasons: Counter[Reason] = field(default_factory=Counter)
