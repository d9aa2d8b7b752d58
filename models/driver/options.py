# SPDX-License-Identifier: Apache-2.0
"""How a driver works, and what it counts. Source: docs/host.md, "The driver"."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from enum import Enum

from models.driver.fault_filter import Admission
from models.driver.policies import AnswerPolicy, FaultPolicy
from models.errors import UserError
from models.structures import Reason


class CommitPolicy(Enum):
    """How a driver brings staged entries to the device."""

    STORE = "the same words are stored into the live array"
    SWAP = "the directory entry is pointed at the staging array"


@dataclass(frozen=True)
class DriverOptions:
    """`deadline`: cycles after which a fault that cannot be served is cancelled; `batch`: most records under service at
    once; `poll`: cycles to wait for faults before looking whether to stop; `block`: let HMM wait for others;
    `filter_entries`, `filter_window` (cycles): the size of the filter, of policies that have one.
    """

    answer: AnswerPolicy = AnswerPolicy.RESUME
    commit: CommitPolicy = CommitPolicy.STORE
    deadline: int = 20_000
    batch: int = 256
    poll: int = 1000
    block: bool = True
    filter_entries: int = 256
    filter_window: int = 5000

    def __post_init__(self) -> None:
        if self.deadline < 0 or self.batch < 1 or self.poll < 1:
            raise UserError("Give the driver a deadline of 0 or more, and a batch and a poll of 1 or more.")
        if self.filter_entries < 1 or self.filter_window < 0:
            raise UserError("Give the filter of the driver 1 entry or more, and a window of 0 cycles or more.")

    @property
    def policy(self) -> FaultPolicy:
        """The row of the table of policies."""
        return self.answer.value


@dataclass
class DriverCounters:
    """What the driver did. `stale_records`: of contexts that are not bound; `reports`: records without an answer;
    `filtered`: what the filter said to the records that expect an answer; `error_entries`: ERROR stored into slots;
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
    error_entries: int = 0
    filtered: Counter[Admission] = field(default_factory=Counter)
    reasons: Counter[Reason] = field(default_factory=Counter)
