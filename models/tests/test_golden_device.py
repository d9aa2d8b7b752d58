# SPDX-License-Identifier: Apache-2.0
"""The golden device by itself, with a test in the driver's place: faults, tags, answers, fences, what it remembers."""

from __future__ import annotations

from collections.abc import Coroutine
from typing import Any

import numpy as np
import pytest

from models.arrays import PAGE_BYTES
from models.device_tables import DeviceTables
from models.entries import encode, none_word
from models.errors import UserError
from models.fault_records import FaultRecord, cancel_command, replay_all_command, resume_command
from models.formats import format_by_name
from models.golden_device import DeviceAbort, DeviceReset, GoldenDevice, GoldenSettings
from models.host_scheduler import Scheduler, Task
from models.invariants import RunFacts, check_by_name
from models.pages import NO_WINDOW, Pages
from models.physical_memory import PhysicalMemory
from models.structures import Access, Opcode, Reason, pack_command

VA = 0x4000_0000
FORMAT = format_by_name("hmm_2018_flags")
NONE = none_word(FORMAT)


class DeviceBench:
    """A golden device over one linked array; page n of the data is mapped at VA + n pages by map()."""

    def __init__(self, **settings: int) -> None:
        self.scheduler = Scheduler()
        self.memory = PhysicalMemory(1 << 22)
        self.tables = DeviceTables(self.memory, context_count=4, none_word=NONE)
        self.tables.bind(1)
        self.array = self.tables.link_array(1, VA)
        self.data = self.memory.allocate(16 * PAGE_BYTES, PAGE_BYTES)
        self.device = GoldenDevice(self.scheduler, self.tables, FORMAT, NO_WINDOW, settings=GoldenSettings(**settings))
        self.scheduler.start(self.device.run(), "device", daemon=True)

    def map(self, page: int, *, write: bool = True, to: int | None = None) -> None:
        """Let the slot of a page grant page `to` of the data (the same number if not given)."""
        pfn = (self.data >> 12) + (page if to is None else to)
        self.memory.write_words(self.array + 8 * page, encode(FORMAT, Pages.of(pfn=pfn, write=write)))

    def unmap(self, page: int) -> None:
        """Let the slot of a page be NONE."""
        self.memory.write_words(self.array + 8 * page, [NONE])

    def client(self, coroutine: Coroutine[Any, Any, Any], name: str = "client") -> Task:
        """Start a client, and let everything run until nobody can go on by himself."""
        task = self.scheduler.start(caught(coroutine), name)
        self.settle()
        return task

    def settle(self) -> None:
        """Let everything run for a while."""
        self.scheduler.run(self.scheduler.sleep(200))

    def command(self, *commands: np.ndarray[Any, np.dtype[np.uint64]]) -> None:
        """Submit commands, and let them act."""
        self.scheduler.run(self.device.submit(np.stack(commands)))
        self.settle()

    def take(self, limit: int = 100) -> list[FaultRecord]:
        """The records that are in the ring."""
        records: list[FaultRecord] = self.scheduler.run(self.device.take_faults(limit))
        self.settle()
        return records


async def caught(coroutine: Coroutine[Any, Any, Any]) -> Any:
    """What the coroutine returns, or the reason of its abort."""
    try:
        return await coroutine
    except DeviceAbort as abort:
        return abort.reason


def test_golden_device_fault_waits_and_is_replayed() -> None:
    """A request without a page waits; after a replay it walks again; one that fails again is a new fault.

    Stimulus: a write to an unmapped page; a replay too early; the page mapped; a replay.
    Checking: every field of the records, two different tags, the byte in memory.
    Covers: FAULT-RECORD, FAULT-REPLAY, FAULT-TAG.
    """
    bench = DeviceBench()
    client = bench.client(bench.device.write(1, VA + 8, 42))
    (first,) = bench.take()
    assert (first.pasid, first.va, first.access, first.reason) == (1, VA + 8, Access.WRITE, Reason.NOT_PRESENT)
    assert (first.answer_expected, first.phase, first.merged_count) == (True, True, 1)
    assert not bench.take()
    bench.command(resume_command(first.tag, cancel=False))
    (second,) = bench.take()
    assert second.tag != first.tag
    assert not client.done
    bench.map(0)
    bench.command(resume_command(second.tag, cancel=False))
    assert client.done
    assert int(bench.memory.read_words(bench.data + 8, 1)[0]) == 42
    assert bench.device.faults.open == 0


def test_golden_device_requests_of_one_page_merge() -> None:
    """Requests of one page wait under one tag; a cancel aborts those of the recorded access, the others walk again.

    Stimulus: a read, a write and another read of one page that is not there, then one of another context.
    Checking: one record for the page, its merged count; outcomes after a cancel; a new fault for the write.
    Covers: FAULT-MERGE, FAULT-CANCEL, I20.
    """
    bench = DeviceBench(fault_ring_log2=0)
    blocker = bench.client(bench.device.read(1, VA + 9 * PAGE_BYTES))
    clients = [
        bench.client(bench.device.read(1, VA)),
        bench.client(bench.device.write(1, VA + 16, 1)),
        bench.client(bench.device.read(1, VA + 24)),
    ]
    bench.take()
    (record,) = bench.take()
    assert (record.va, record.access, record.merged_count) == (VA, Access.READ, 3)
    assert bench.device.faults.counters.faults == 4
    assert bench.device.faults.counters.merged == 2
    bench.command(resume_command(record.tag, cancel=True))
    assert [client.result for client in clients] == [Reason.NOT_PRESENT, None, Reason.NOT_PRESENT]
    assert not clients[1].done
    (again,) = bench.take()
    assert (again.access, again.va) == (Access.WRITE, VA + 16)
    assert not blocker.done


def test_golden_device_late_double_unknown_answers() -> None:
    """An answer to a tag that does not wait is counted and has no effect, also when its slot is in use again.

    Stimulus: an unknown tag; the same answer twice; the tag of an old fault after its slot holds a new one.
    Checking: count of ignored answers; the new fault still waits.
    Covers: FAULT-IGNORED, FAULT-TAG.
    """
    bench = DeviceBench(fault_slots=1)
    client = bench.client(bench.device.read(1, VA))
    (record,) = bench.take()
    bench.command(resume_command(record.tag ^ 0xFF00, cancel=True))
    assert not client.done
    bench.command(resume_command(record.tag, cancel=True), resume_command(record.tag, cancel=True))
    assert client.result is Reason.NOT_PRESENT
    assert bench.device.faults.counters.ignored_answers == 2
    other = bench.client(bench.device.read(1, VA + PAGE_BYTES))
    (new,) = bench.take()
    assert new.tag % 256 == record.tag % 256
    bench.command(resume_command(record.tag, cancel=True))
    assert not other.done
    assert bench.device.faults.counters.ignored_answers == 3


def test_golden_device_answers_by_range_and_all() -> None:
    """CANCEL takes the recorded faults of its context, range and access; REPLAY_ALL all that are recorded.

    Stimulus: faults of two contexts; a cancel by range; a ring of one with a fault that is not recorded; REPLAY_ALL.
    Checking: who is aborted, who walks again, who is left.
    Covers: FAULT-CANCEL-RANGE, FAULT-REPLAY-ALL.
    """
    bench = DeviceBench()
    bench.tables.bind(2)
    kept = bench.client(bench.device.read(2, VA))
    written = bench.client(bench.device.write(1, VA, 1))
    aborted = bench.client(bench.device.read(1, VA + PAGE_BYTES))
    beyond = bench.client(bench.device.read(1, VA + 2 * PAGE_BYTES))
    assert len(bench.take()) == 4
    bench.command(cancel_command(1, VA, VA + 2 * PAGE_BYTES - 1, Access.READ))
    assert aborted.result is Reason.NOT_PRESENT
    assert not (kept.done or written.done or beyond.done)
    bench.map(2)
    bench.command(replay_all_command())
    assert beyond.done
    assert len(bench.take()) == 2

    small = DeviceBench(fault_ring_log2=0)
    recorded = small.client(small.device.read(1, VA))
    waits_for_room = small.client(small.device.read(1, VA + PAGE_BYTES))
    small.map(0)
    small.map(1)
    small.command(replay_all_command())
    assert recorded.done
    assert not waits_for_room.done


@pytest.mark.parametrize("ring_log2", [0, 1, 3])
def test_golden_device_ring_never_loses(ring_log2: int) -> None:
    """A full ring stalls; every fault is recorded once, with the phase of its round.

    Stimulus: 20 faults through rings of 1, 2 and 8, taken two at a time.
    Checking: all addresses once and in order; the phase bit toggles each round.
    Covers: FAULT-RING.
    """
    bench = DeviceBench(fault_ring_log2=ring_log2, fault_slots=64)
    for page in range(20):
        bench.client(bench.device.read(1, VA + page * PAGE_BYTES))
    seen: list[FaultRecord] = []
    while len(seen) < 20:
        records = bench.take(2)
        assert 1 <= len(records) <= min(2, 1 << ring_log2)
        seen += records
    assert [record.va for record in seen] == [VA + page * PAGE_BYTES for page in range(20)]
    assert [record.phase for record in seen] == [(place >> ring_log2) % 2 == 0 for place in range(20)]
    assert bench.device.faults.counters.ring_full > 0
    assert not bench.take()


def test_golden_device_wrong_phase_is_noticed() -> None:
    """A record whose phase bit is not that of its round is a fault of the device.

    Stimulus: a record in memory with its phase bit turned over.
    Checking: RuntimeError.
    Covers: FAULT-RING.
    """
    bench = DeviceBench(fault_ring_log2=0)
    bench.client(bench.device.read(1, VA))
    ring = next(address for address, _ in bench.memory.allocations() if bench.memory.owner_of(address).name == "FAULT")
    bench.memory.write_words(ring, bench.memory.read_words(ring, 1) ^ np.uint64(1 << 55))
    with pytest.raises(RuntimeError, match="wrong phase"):
        bench.take()


def test_golden_device_immediate_reasons() -> None:
    """What the host cannot mend is aborted at once and recorded without an answer; a prefetch is never recorded.

    Stimulus: an address out of range, an unbound context, a malformed directory entry; prefetches.
    Checking: reasons; records; the places of the buffer are free again.
    Covers: FAULT-IMMEDIATE, FAULT-PREFETCH.
    """
    bench = DeviceBench(fault_slots=2)
    entry = bench.tables.directory_entry_address(1, VA, 1)
    bench.memory.write_words(entry + 8, [3])
    for pasid, va, reason in (
        (1, 1 << 48, Reason.OUT_OF_RANGE),
        (3, VA, Reason.NO_CONTEXT),
        (9, VA, Reason.NO_CONTEXT),
        (1, VA + (1 << 21), Reason.MALFORMED),
    ):
        assert bench.client(bench.device.write(pasid, va, 0)).result is reason
        (record,) = bench.take()
        assert (record.pasid, record.va, record.reason, record.answer_expected) == (pasid, va, reason, False)
        assert bench.client(bench.device.translate(pasid, va, Access.PREFETCH)).result is reason
    assert bench.client(bench.device.translate(1, VA, Access.PREFETCH)).result is Reason.NOT_PRESENT
    assert not bench.take()
    assert bench.device.faults.open == 0


def test_golden_device_remembers_until_told() -> None:
    """It uses the oldest translation it has until an invalidation of that page, and walks again for more permission.

    Stimulus: a read-only page read; its slot changed to another page; invalidations beside it, then of it; writes.
    Checking: which page is read or written each time.
    Covers: GOLDEN-STALE, TLB-UPGRADE.
    """
    bench = DeviceBench()
    bench.memory.write_words(bench.data, [100])
    bench.memory.write_words(bench.data + PAGE_BYTES, [101])
    bench.map(0, write=False)
    assert bench.client(bench.device.read(1, VA)).result == 100
    bench.map(0, to=1)
    assert bench.client(bench.device.read(1, VA)).result == 100
    beside = pack_command(opcode=Opcode.INVALIDATE, pasid=1, first=VA + PAGE_BYTES, last=(1 << 64) - 1)
    other_context = pack_command(opcode=Opcode.INVALIDATE, pasid=2, first=0, last=(1 << 64) - 1)
    bench.command(beside, other_context)
    assert bench.client(bench.device.read(1, VA)).result == 100
    assert bench.client(bench.device.atomic_add(1, VA, 5)).result == 101
    assert bench.client(bench.device.read(1, VA)).result == 100
    bench.command(pack_command(opcode=Opcode.INVALIDATE, pasid=1, first=VA + 7, last=VA + 7))
    assert bench.client(bench.device.read(1, VA)).result == 106
    for everything in (
        pack_command(opcode=Opcode.INVALIDATE, all_contexts=1, first=0, last=(1 << 64) - 1),
        pack_command(opcode=Opcode.INVALIDATE_CONTEXT, pasid=1),
        pack_command(opcode=Opcode.INVALIDATE_CONTEXT, all_contexts=1),
    ):
        bench.map(0, to=0)
        bench.command(everything)
        assert bench.client(bench.device.read(1, VA)).result == 100
        bench.map(0, to=1)
        bench.command(everything)
        assert bench.client(bench.device.read(1, VA)).result == 106


def test_golden_device_fence_waits_for_grants() -> None:
    """A fence completes when the grants that were open at its place are released; later ones do not hold it up.

    Stimulus: an open grant; INVALIDATE and FENCE; another grant opened behind the fence; releases in either order.
    Checking: when the fence is complete.
    Covers: FENCE-GRANT.
    """
    bench = DeviceBench()
    bench.map(0)
    bench.map(1)
    old = bench.client(bench.device.translate(1, VA, Access.READ)).result
    fence = bench.client(bench.device.fence(), "fence")
    new = bench.client(bench.device.translate(1, VA + PAGE_BYTES, Access.READ)).result
    bench.settle()
    assert not fence.done
    bench.device.release(old)
    bench.settle()
    assert fence.done
    bench.device.release(new)


def test_golden_device_invalidation_drops_running_walk() -> None:
    """What a walk read before an invalidation of its page is not used.

    Stimulus: a walk stopped after it read the slot; the slot cleared; INVALIDATE taken; the walk goes on.
    Checking: the request faults instead of using the old page.
    Covers: WALK-DROP.
    """
    bench = DeviceBench()
    bench.map(0)
    client = bench.scheduler.start(caught(bench.device.read(1, VA)), "client")
    assert bench.scheduler.run_until(client, "device: walked")
    bench.unmap(0)
    submit = bench.scheduler.start(
        bench.device.submit(pack_command(opcode=Opcode.INVALIDATE, pasid=1, first=VA, last=VA).reshape(1, 4))
    )
    device = next(task for task in bench.scheduler._tasks if task.name == "device")
    bench.scheduler.run_task(submit)
    bench.scheduler.run_task(device)
    bench.settle()
    assert not client.done
    (record,) = bench.take()
    assert record.reason is Reason.NOT_PRESENT


def test_golden_device_unbind_aborts_waiting() -> None:
    """UNBIND aborts the context's waiting faults; one that was not recorded yet is never recorded.

    Stimulus: two waiting faults, one recorded in a ring of one; UNBIND; a late answer; another context's fault.
    Checking: NO_CONTEXT for both; no second record; the answer is ignored; the other fault waits on.
    Covers: FAULT-UNBIND, I20.
    """
    bench = DeviceBench(fault_ring_log2=0)
    bench.tables.bind(2)
    first = bench.client(bench.device.read(1, VA))
    second = bench.client(bench.device.read(1, VA + PAGE_BYTES))
    other = bench.client(bench.device.read(2, VA))
    bench.tables.unbind(1)
    bench.command(pack_command(opcode=Opcode.UNBIND, pasid=1))
    assert first.result is second.result is Reason.NO_CONTEXT
    (record,) = bench.take()
    bench.command(resume_command(record.tag, cancel=False))
    assert bench.device.faults.counters.ignored_answers == 1
    assert [late.pasid for late in bench.take()] == [2]
    assert not other.done


def test_golden_device_small_rings_make_progress() -> None:
    """With one place of everything, a replay still finds its way: nothing holds one thing while it waits for another.

    Stimulus: six clients, one fault place, rings of one; faults answered one by one; a fence behind each fault.
    Checking: every client ends; every fence completes while a fault waits.
    Covers: PROGRESS, FENCE-FAULT.
    """
    bench = DeviceBench(fault_ring_log2=0, fault_slots=1, command_slots=1)
    clients = [bench.client(bench.device.read(1, VA + page * PAGE_BYTES)) for page in range(6)]
    for _ in range(6):
        (record,) = bench.take()
        fence = bench.client(bench.device.fence())
        assert fence.done
        bench.map((record.va - VA) // PAGE_BYTES)
        bench.command(resume_command(record.tag, cancel=False))
    assert all(client.done for client in clients)


def test_golden_device_settings_that_cannot_be() -> None:
    """Sizes outside the contract, and commands that are not served, are refused.

    Stimulus: rings and buffers of impossible size; QUIESCE.
    Checking: UserError.
    Covers: GOLDEN-SETTINGS.
    """
    for settings in ({"fault_ring_log2": 16}, {"fault_ring_log2": -1}, {"fault_slots": 0}, {"fault_slots": 257}):
        with pytest.raises(UserError, match="fault slots"):
            DeviceBench(**settings)
    with pytest.raises(UserError, match="serves"):
        DeviceBench().command(pack_command(opcode=Opcode.QUIESCE))


def test_golden_device_use_of_freed_memory() -> None:
    """A translation to memory that holds no data is noticed when it is used.

    Stimulus: a page read; its memory freed; read again.
    Checking: RuntimeError that names the address.
    Covers: I1, OWNER.
    """
    bench = DeviceBench()
    bench.map(0)
    assert bench.client(bench.device.read(1, VA)).result == 0
    bench.memory.free(bench.data)
    with pytest.raises(RuntimeError, match=r"used 0x40000000 of PASID 1 at .* where no data is"):
        bench.client(bench.device.read(1, VA))


async def reset_or(coroutine: Coroutine[Any, Any, Any]) -> Any:
    """What the coroutine returns, or DeviceReset if a soft reset came over it."""
    try:
        return await coroutine
    except DeviceReset:
        return DeviceReset


@pytest.mark.parametrize("steps", range(12))
def test_golden_soft_reset_forgets(steps: int) -> None:
    """
    Stimulus: a cached page, a grant, a request that waits, one that has no place, one in the middle of its read, and a
        fence under the grant; a soft reset after so many steps; then the page is another one, nobody is told.
    Checking: no request of before gets an answer, and nothing of the old page is read later; the new page is what is
        read; faults are recorded anew from the ring's first place; a new fence is complete although the old grant was
        never released; the journal keeps I13 and I14.
    Covers: SOFT-RESET
    """
    bench = DeviceBench(fault_slots=2)
    device = bench.device
    bench.map(0)
    bench.memory.write_words(bench.data, [11])
    bench.memory.write_words(bench.data + PAGE_BYTES, [22])
    assert bench.scheduler.run(device.read(1, VA)) == 11
    bench.scheduler.run(device.translate(1, VA, Access.READ))
    waiting = [bench.client(reset_or(device.read(1, VA + PAGE_BYTES * page))) for page in (1, 2, 3)]
    bench.command(pack_command(opcode=Opcode.FENCE, write_value=1, first=0x40, last=7))
    reading = bench.scheduler.start(reset_or(device.read(1, VA)), "reader")
    bench.scheduler.run(bench.scheduler.sleep(steps))
    device.soft_reset()
    bench.memory.write_words(bench.data, [99])
    bench.settle()
    assert [task.result for task in waiting] == [DeviceReset] * 3
    assert reading.result == (11 if steps >= 2 else DeviceReset)
    bench.map(0, to=1)
    assert bench.scheduler.run(device.read(1, VA)) == 22
    later = bench.client(reset_or(device.read(1, VA + PAGE_BYTES)))
    assert [record.va for record in bench.take()] == [VA + PAGE_BYTES]
    bench.map(1)
    bench.command(replay_all_command())
    assert later.result == 22
    bench.scheduler.run(device.fence())
    facts = RunFacts(deadline=0)
    found = [line for name in ("I13", "I14") for line in check_by_name(name, device.journal.events, facts)]
    assert not found, found[0]
