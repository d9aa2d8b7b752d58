# SPDX-License-Identifier: Apache-2.0
"""The fault side of the golden device: a buffer of faults that wait, their tags, and the fault ring in memory.

Source: docs/interface.md, "Faults".
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field

from models.errors import UserError
from models.fault_records import (
    FAULT_RECORD_WORDS,
    TAG_GENERATION_BITS,
    TAG_SLOT_BITS,
    FaultRecord,
    record_of,
    record_words,
    ring_phase,
)
from models.golden_translations import page_of
from models.host_events import AnswerIgnored, AnswerKind, FaultAnswered, FaultDropped, FaultRecorded, Journal
from models.host_scheduler import Scheduler, SchedulerEvent
from models.physical_memory import Owner, PhysicalMemory
from models.structures import FAULT_RECORD_BYTES, Access, Reason

LARGEST_RING_LOG2 = 15


@dataclass
class FaultCounters:
    """Requests that faulted, those of them that were recorded and merged, answers ignored, and how often a record
    found the ring full.
    """

    faults: int = 0
    recorded: int = 0
    merged: int = 0
    ignored_answers: int = 0
    ring_full: int = 0


@dataclass(eq=False)
class WaitingRequest:
    """A request that waits under a fault. `reason` is set when it is aborted, else it walks again.

    `cut_off`: a reset came over it, and it gets no answer at all.
    """

    access: Access
    over: SchedulerEvent
    reason: Reason = Reason.NONE
    cut_off: bool = False


@dataclass(eq=False)
class Fault:
    """A fault in the buffer."""

    tag: int
    pasid: int
    va: int
    access: Access
    reason: Reason
    timestamp: int
    answer_expected: bool
    requests: list[WaitingRequest] = field(default_factory=list)
    recorded: bool = False
    dropped: bool = False

    @property
    def slot(self) -> int:
        """Its place in the buffer."""
        return self.tag % (1 << TAG_SLOT_BITS)


class FaultBuffer:
    """Places for faults, reserved before a walk starts; `work` is set whenever there is something to record."""

    def __init__(
        self,
        scheduler: Scheduler,
        memory: PhysicalMemory,
        journal: Journal,
        work: SchedulerEvent,
        *,
        ring_log2: int,
        slots: int,
    ) -> None:
        """Errors: UserError for sizes that cannot be."""
        if not 0 <= ring_log2 <= LARGEST_RING_LOG2 or not 1 <= slots <= 1 << TAG_SLOT_BITS:
            raise UserError(f"Give a ring of log2 0 to {LARGEST_RING_LOG2} and 1 to {1 << TAG_SLOT_BITS} fault slots.")
        self.counters = FaultCounters()
        self._scheduler = scheduler
        self._memory = memory
        self._journal = journal
        self._work = work
        self._ring_log2 = ring_log2
        self._ring = memory.allocate(FAULT_RECORD_BYTES << ring_log2, owner=Owner.FAULT)
        self._put = 0
        self._get = 0
        self._published = scheduler.event()
        self._slots = slots
        self._generations = [0] * slots
        self._free = deque(range(slots))
        self._slot_freed = scheduler.event()
        self._waiting: dict[int, Fault] = {}
        self._by_page: dict[tuple[int, int], Fault] = {}
        self._unrecorded: deque[Fault] = deque()

    @property
    def open(self) -> int:
        """Number of faults that wait for an answer or for a place in the ring."""
        return len(self._waiting) + sum(not fault.answer_expected for fault in self._unrecorded)

    async def reserve(self) -> int:
        """Wait for a place, and take it."""
        while not self._free:
            self._slot_freed.clear()
            await self._slot_freed.wait()
        return self._free.popleft()

    def give_back(self, slot: int) -> None:
        """A place is free again."""
        self._generations[slot] = (self._generations[slot] + 1) % (1 << TAG_GENERATION_BITS)
        self._free.append(slot)
        self._slot_freed.set()

    def report(self, slot: int, pasid: int, va: int, access: Access, reason: Reason) -> None:
        """Record a request that was aborted at once; the place is free when the record is in the ring."""
        self.counters.faults += 1
        self._new(slot, pasid, va, access, reason, answer_expected=False)

    def wait_under(self, slot: int, pasid: int, va: int, access: Access, reason: Reason) -> WaitingRequest:
        """Let a request wait, under the fault of its page if there is one, else under a new one in its place."""
        self.counters.faults += 1
        request = WaitingRequest(access, self._scheduler.event())
        fault = self._by_page.get((pasid, page_of(va)))
        if fault is None:
            fault = self._new(slot, pasid, va, access, reason, answer_expected=True)
        else:
            self.give_back(slot)
            self.counters.merged += 1
        fault.requests.append(request)
        return request

    def can_record(self) -> bool:
        """Whether a fault is to be recorded and the ring has room."""
        if not self._unrecorded:
            return False
        room = self._put - self._get < 1 << self._ring_log2
        self.counters.ring_full += not room
        return room

    def record(self) -> None:
        """Put the next fault into the ring."""
        fault = self._unrecorded.popleft()
        if fault.dropped:
            return
        record = FaultRecord(
            tag=fault.tag,
            pasid=fault.pasid,
            va=fault.va,
            access=fault.access,
            reason=fault.reason,
            answer_expected=fault.answer_expected,
            phase=ring_phase(self._put, self._ring_log2),
            timestamp=fault.timestamp,
            merged_count=max(len(fault.requests), 1),
        )
        self._memory.write_words(self._address(self._put), record_words(record), shadow=False)
        fault.recorded = True
        self.counters.recorded += 1
        self._journal.add(FaultRecorded(fault.tag, fault.pasid, fault.va, fault.access, fault.answer_expected))
        if not fault.answer_expected:
            self.give_back(fault.slot)
        self._put += 1
        self._published.set()

    async def wait_for_records(self, steps: int) -> bool:
        """Wait until a record is in the ring, but not more than `steps`; returns whether one is there."""
        if self._put == self._get:
            self._published.clear()
            await self._scheduler.wait_for(self._published, steps)
        return self._put != self._get

    async def take(self, limit: int) -> list[FaultRecord]:
        """Copy at most `limit` records, then give their places back. Errors: RuntimeError for a wrong phase bit."""
        records: list[FaultRecord] = []
        for index in range(self._get, min(self._put, self._get + limit)):
            record = record_of(self._memory.read_words(self._address(index), FAULT_RECORD_WORDS))
            if record.phase is not ring_phase(index, self._ring_log2):
                raise RuntimeError(f"fault record {index} has the wrong phase bit")
            records.append(record)
        await self._scheduler.pause("port: records copied")
        self._get += len(records)
        self._work.set()
        return records

    def resume(self, tag: int, kind: AnswerKind) -> None:
        """Answer one fault; an answer to a tag that does not wait is counted."""
        fault = self._waiting.get(tag)
        if fault is None or not fault.recorded:
            self.counters.ignored_answers += 1
            self._journal.add(AnswerIgnored(tag, kind))
        else:
            self._answer(fault, kind)

    def replay_all(self) -> None:
        """Replay every recorded fault that waits."""
        for fault in [fault for fault in self._waiting.values() if fault.recorded]:
            self._answer(fault, AnswerKind.REPLAY)

    def cancel(self, pasid: int, first: int, last: int, access: int) -> None:
        """Cancel the recorded faults of a context, range (inclusive) and access."""
        for fault in list(self._waiting.values()):
            inside = fault.pasid == pasid and first <= fault.va <= last
            if fault.recorded and inside and fault.access == access:
                self._answer(fault, AnswerKind.CANCEL)

    def unbind(self, pasid: int) -> None:
        """Abort the waiting faults of a context; those that are not recorded yet never are."""
        for fault in [fault for fault in self._waiting.values() if fault.pasid == pasid]:
            self._end(fault)
            fault.dropped = True
            if fault.recorded:
                self._journal.add(FaultDropped(fault.tag))
            for request in fault.requests:
                request.reason = Reason.NO_CONTEXT
                request.over.set()

    def reset(self) -> None:
        """Forget everything; the ring is empty. Whoever waits is cut off; whoever has a place must not give it back."""
        for fault in self._waiting.values():
            if fault.recorded:
                self._journal.add(FaultDropped(fault.tag))
            for request in fault.requests:
                request.cut_off = True
                request.over.set()
        self._waiting.clear()
        self._by_page.clear()
        self._unrecorded.clear()
        self.counters = FaultCounters()
        self._put = self._get = 0
        self._generations = [0] * self._slots
        self._free = deque(range(self._slots))
        self._slot_freed.set()

    def _new(self, slot: int, pasid: int, va: int, access: Access, reason: Reason, *, answer_expected: bool) -> Fault:
        tag = self._generations[slot] << TAG_SLOT_BITS | slot
        fault = Fault(tag, pasid, va, access, reason, self._scheduler.now(), answer_expected)
        if answer_expected:
            self._waiting[tag] = fault
            self._by_page[pasid, page_of(va)] = fault
        self._unrecorded.append(fault)
        self._work.set()
        return fault

    def _answer(self, fault: Fault, kind: AnswerKind) -> None:
        self._end(fault)
        self._journal.add(FaultAnswered(fault.tag, kind))
        for request in fault.requests:
            if kind is AnswerKind.CANCEL and request.access is fault.access:
                request.reason = fault.reason
            request.over.set()

    def _end(self, fault: Fault) -> None:
        del self._waiting[fault.tag]
        del self._by_page[fault.pasid, page_of(fault.va)]
        self.give_back(fault.slot)

    def _address(self, index: int) -> int:
        return self._ring + FAULT_RECORD_BYTES * (index % (1 << self._ring_log2))
