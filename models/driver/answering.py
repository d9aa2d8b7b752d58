# SPDX-License-Identifier: Apache-2.0
"""A policy at work: which records are served and until when, and by which commands decided faults are answered.

Source: docs/host.md, "Policies".
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from models.arrays import PAGE_BYTES, Words
from models.driver.batch import PageFault, page_faults, page_of, single_faults
from models.driver.fault_filter import Admission, FaultFilter
from models.driver.options import DriverCounters, DriverOptions
from models.driver.patience import Patience
from models.driver.policies import Deduplication, FailureAnswer, RaceRule, SuccessAnswer
from models.fault_records import FaultRecord, cancel_command, replay_all_command, resume_command
from models.host_events import AnswerKind
from models.preemption import Preemption
from models.structures import Reason


@dataclass(frozen=True)
class Answer:
    """How one fault record is answered."""

    record: FaultRecord
    kind: AnswerKind


class Answering:
    """What a driver's policy remembers and decides. It sends nothing itself.

    `error_entries`: the format has a word for ERROR; without one failures are told by tag.
    """

    def __init__(
        self, host: Preemption, options: DriverOptions, counters: DriverCounters, *, error_entries: bool
    ) -> None:
        self.policy = options.policy
        self._host = host
        self._options = options
        self._counters = counters
        self._by_entry = error_entries and self.policy.failure is FailureAnswer.ERROR_ENTRY
        self._patience = Patience(options.deadline)
        self.filter = FaultFilter(options.filter_entries, options.filter_window)

    def admit(self, records: Sequence[FaultRecord]) -> tuple[list[FaultRecord], list[Answer]]:
        """The records that are served, and the answers to those that are not."""
        if self.policy.deduplication is not Deduplication.FILTER:
            return list(records), []
        admitted: list[FaultRecord] = []
        retried: list[Answer] = []
        for record in records:
            said = Admission.NEW
            # What an ERROR entry stopped is no retry: it has to be heard.
            if record.reason is not Reason.POISON:
                said = self.filter.admit((record.pasid, page_of(record)), record.timestamp, self._host.now())
            self._counters.filtered[said] += 1
            if said is Admission.NEW:
                admitted.append(record)
            else:
                retried.append(Answer(record, AnswerKind.REPLAY))
        return admitted, retried

    def faults(self, records: Sequence[FaultRecord]) -> dict[int, list[PageFault]]:
        """For each PASID what is to be served, in the order of service."""
        now = self._host.now()

        def deadline(record: FaultRecord) -> int:
            if self.policy.race is RaceRule.SERVE_AGAIN:
                return now + self._options.deadline
            return self._patience.end((record.pasid, page_of(record), record.access), now)

        if self.policy.deduplication is Deduplication.TOKENS:
            return single_faults(records, deadline)
        return page_faults(records, deadline)

    def asked_again(self, fault: PageFault) -> None:
        """The fault raced and is answered: the device asks again, and is to be heard."""
        self.filter.remove((fault.pasid, fault.page))

    def decided(self, fault: PageFault) -> None:
        """The fault was served, or has failed."""
        self._patience.forget((fault.pasid, fault.page, fault.access))

    def invalidated(self, pasid: int, start: int, end: int) -> None:
        """The device has nothing of [start, end) of a context any more."""
        self.filter.invalidated(pasid, start, end, self._host.now())

    def unbound(self, pasid: int) -> None:
        """A context is gone."""
        self.filter.unbound(pasid)
        self._patience.unbound(pasid)

    def tells_by_entry(self, answer: Answer) -> bool:
        """Whether this failure is first told through the tables: an ERROR entry has not stopped it yet."""
        return self._by_entry and answer.kind is AnswerKind.CANCEL and answer.record.reason is not Reason.POISON

    def commands(self, answers: Sequence[Answer]) -> list[Words]:
        """The commands uint64[4] that say so, cancels first."""
        replays = [answer.record for answer in answers if answer.kind is AnswerKind.REPLAY]
        cancels = [answer.record for answer in answers if answer.kind is AnswerKind.CANCEL]
        self._counters.replays += len(replays)
        self._counters.cancels += len(cancels)
        if self.policy.failure is FailureAnswer.CANCEL_PAGE:
            wanted = dict.fromkeys((record.pasid, page_of(record), record.access) for record in cancels)
            commands = [cancel_command(pasid, page, page + PAGE_BYTES - 1, access) for pasid, page, access in wanted]
        else:
            commands = [resume_command(record.tag, cancel=True) for record in cancels]
        if self.policy.success is not SuccessAnswer.REPLAY_ALL:
            commands += [resume_command(record.tag, cancel=False) for record in replays]
        elif replays:
            commands.append(replay_all_command())
        return commands
