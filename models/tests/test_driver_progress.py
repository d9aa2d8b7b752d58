# SPDX-License-Identifier: Apache-2.0
"""Nobody waits for ever: storms through the smallest rings, deadlines, invalidations behind unanswered faults."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from models.arrays import PAGE_BYTES
from models.driver import AnswerPolicy, DriverOptions
from models.golden_device import DeviceAbort, GoldenSettings
from models.hmm import Advice, MapFlags, MemoryMap, cpu_read, cpu_write
from models.host_events import FaultRecorded
from models.structures import Access, Reason
from models.tests.closed_loop import ClosedLoop

PLACE = 0x4000_0000
FIXED = MapFlags.MAP_PRIVATE | MapFlags.MAP_FIXED


async def space_with(loop: ClosedLoop, pages: int) -> MemoryMap:
    """A bound address space with one area."""
    mm = loop.space()
    await loop.driver.bind(1, mm)
    await mm.mmap(PLACE, pages * PAGE_BYTES, flags=FIXED)
    return mm


@pytest.mark.parametrize("ring_log2", [1, 0])
def test_driver_progress_storm(ring_log2: int) -> None:
    """10,000 faults through a ring of 2, or of 1, with a consumer that dawdles: none is lost.

    Stimulus: ten clients in pairs, each pair on the same pages of 2 MiB of its own, a page after the other, which the
    host has thrown away in between; the driver pauses before each batch.
    Checking: requests that faulted = records + merged; each record once; every client ends; the ring was full.
    Covers: STORM, FAULT-RING, I13.
    """
    loop = ClosedLoop(
        options=DriverOptions(batch=1),
        settings=GoldenSettings(fault_ring_log2=ring_log2, fault_slots=8, command_slots=2),
        serves=False,
    )
    loop.device.watch = None
    clients, target = 10, 10_000
    finished = 0

    async def client(number: int) -> None:
        nonlocal finished
        page = 0
        while loop.device.faults.counters.faults < target:
            # Pairs look at equal pages at about the same time, so that some of their faults merge.
            va = PLACE + (number // 2 << 21) + page % 512 * PAGE_BYTES
            await loop.device.read(1, va)
            page += 1
        finished += 1

    async def slow_consumer() -> None:
        while finished < clients:
            await loop.scheduler.sleep(30)
            if await loop.device.wait_faults(100):
                await loop.driver.service(await loop.device.take_faults(1))

    async def throw_away(mm: MemoryMap) -> None:
        while finished < clients:
            await loop.scheduler.sleep(4000)
            await mm.madvise(PLACE, 512 * 5 * PAGE_BYTES, Advice.MADV_DONTNEED)

    mm = loop.run(space_with(loop, 512 * 5))
    loop.start(slow_consumer(), "consumer")
    loop.start(throw_away(mm), "host")
    for number in range(clients):
        loop.start(client(number), "client")
    loop.scheduler.run_all()
    counters = loop.device.faults.counters
    tags = [event.tag for event in loop.journal.events if isinstance(event, FaultRecorded)]
    assert counters.faults >= target
    assert counters.faults == counters.recorded + counters.merged
    assert counters.recorded == len(tags) == len(set(tags)) == loop.driver.counters.records
    assert counters.merged > 100
    assert counters.ring_full > 1000
    assert loop.device.faults.open == 0


@pytest.mark.parametrize("answer", AnswerPolicy)
def test_driver_progress_one_place_of_everything(answer: AnswerPolicy) -> None:
    """With one fault place, rings of one and a batch of one, every client is served.

    Stimulus: six clients that read and write ten pages each; the host throws pages away meanwhile.
    Checking: all end; rules; no fault is left.
    Covers: PROGRESS, REPLAY-FULL.
    """
    loop = ClosedLoop(
        seed=3,
        options=DriverOptions(answer=answer, batch=1),
        settings=GoldenSettings(fault_ring_log2=0, fault_slots=1, command_slots=1),
    )

    async def client(number: int) -> None:
        for page in range(10):
            va = PLACE + ((page + number) % 10) * PAGE_BYTES + 8 * number
            await loop.device.write(1, va, page)
            assert await loop.device.read(1, va) in (page, 0)

    async def throw_away(mm: MemoryMap) -> None:
        for page in range(10):
            await mm.madvise(PLACE + page * PAGE_BYTES, 2 * PAGE_BYTES, Advice.MADV_DONTNEED)

    mm = loop.run(space_with(loop, 11))
    for number in range(6):
        loop.start(client(number), "client")
    loop.start(throw_away(mm), "host")
    loop.finish()
    assert loop.device.faults.open == 0


def test_driver_progress_copy_source_goes_while_target_waits() -> None:
    """The source of a copy is unmapped while its target waits for a fault that nobody serves yet: nobody is stuck.

    Stimulus: a copy (read, release, write) whose write waits; munmap of the source to its end; then the driver serves.
    Checking: munmap ended while the fault waited (its INVALIDATE and FENCE went through); the copy ends right.
    Covers: DEADLOCK-COPY, FENCE-FAULT.
    """
    loop = ClosedLoop(serves=False, settings=GoldenSettings(fault_ring_log2=0, fault_slots=1, command_slots=1))
    source, target = PLACE, PLACE + 8 * PAGE_BYTES

    async def copy() -> None:
        value = await loop.device.read(1, source)
        await loop.device.write(1, target, value)

    async def serve_once() -> None:
        assert await loop.device.wait_faults(1000)
        await loop.driver.service(await loop.device.take_faults(1))

    async def scenario() -> None:
        mm = await space_with(loop, 16)
        await cpu_write(mm, source, (1234).to_bytes(8, "little"))
        task = loop.start(copy(), "copy")
        await serve_once()
        assert await loop.device.wait_faults(1000)
        await mm.munmap(source, PAGE_BYTES)
        assert not task.done
        await serve_once()
        await loop.scheduler.sleep(50)
        assert task.done
        assert int.from_bytes(await cpu_read(mm, target, 8), "little") == 1234

    loop.run(scenario())
    loop.finish()


def test_driver_progress_deadline() -> None:
    """A fault whose page is under invalidation all the time is cancelled at the deadline, not before; then it works.

    Stimulus: a MADV_DONTNEED stopped between its start and end; a device read; later the end.
    Checking: tried again until the deadline, then cancelled; the next access is served; rules.
    Covers: DEADLINE, I12.
    """
    deadline = 2000
    loop = ClosedLoop(options=DriverOptions(deadline=deadline))
    mm = loop.run(space_with(loop, 4))
    loop.run(cpu_write(mm, PLACE, b"x"))
    drop = loop.start(mm.madvise(PLACE, PAGE_BYTES, Advice.MADV_DONTNEED), "drop")
    assert loop.scheduler.run_until(drop, "mm: invalidate started")
    drop.blocked = True

    async def attempt() -> tuple[Reason | int, int]:
        start = loop.scheduler.now()
        try:
            result: Reason | int = await loop.device.read(1, PLACE)
        except DeviceAbort as abort:
            result = abort.reason
        return result, loop.scheduler.now() - start

    result, waited = loop.run(attempt())
    assert result is Reason.NOT_PRESENT
    assert deadline <= waited < deadline + 200
    assert (loop.driver.counters.timeouts, loop.driver.counters.cancels) == (1, 1)
    assert loop.driver.counters.retries > 10
    drop.blocked = False
    result, waited = loop.run(attempt())
    assert result == 0
    assert waited < 200
    loop.finish()


@pytest.mark.parametrize("block", [True, False])
def test_driver_progress_page_that_moves(block: bool) -> None:
    """A fault on a page that is being moved is served when it has arrived, whether HMM may wait or not.

    Stimulus: a migration stopped at its copy; a device write; a while later the rest.
    Checking: not served before; then written in device memory; with `block` false the driver tried again.
    Covers: HMM-BLOCK, MIGRATION.
    """
    loop = ClosedLoop(device_pages=True, options=DriverOptions(block=block))
    mm = loop.run(space_with(loop, 4))
    loop.run(cpu_write(mm, PLACE, b"moves"))
    migration = loop.start(loop.driver.migrate_to_device(1, PLACE, PLACE + PAGE_BYTES), "migration")
    assert loop.scheduler.run_until(migration, "migrate: copy")
    migration.blocked = True
    client = loop.start(loop.device.write(1, PLACE + 8, 7), "client")
    loop.run(loop.scheduler.sleep(300))
    assert not client.done
    assert (loop.driver.counters.retries > 0) is not block
    migration.blocked = False
    loop.finish()
    entry = mm.page_table.lookup(PLACE)
    assert loop.frames.pagemap_of(entry.pfn) is loop.pagemap
    assert loop.run(cpu_read(mm, PLACE, 5)) == b"moves"
    loop.finish()


@pytest.mark.parametrize("end", ["unbind", "exit"])
def test_driver_progress_context_ends_with_faults(end: str) -> None:
    """A context that goes away with faults waiting, in the ring and taken, leaves nothing behind.

    Stimulus: four clients waiting; the address space exits, or the PASID is unbound, before anybody serves.
    Checking: all clients aborted; served records of the old context change nothing; memory is free again.
    Covers: UNBIND-FAULTS, I18.
    """
    loop = ClosedLoop(serves=False, settings=GoldenSettings(fault_ring_log2=1))
    ends: dict[str, Callable[[MemoryMap], Coroutine[Any, Any, None]]] = {
        "unbind": lambda mm: loop.driver.unbind(1),
        "exit": lambda mm: mm.exit(),
    }

    async def client(page: int) -> Reason | None:
        try:
            await loop.device.write(1, PLACE + page * PAGE_BYTES, 1)
        except DeviceAbort as abort:
            return abort.reason
        return None

    async def scenario() -> None:
        arrays = len(loop.memory.allocations())
        mm = await space_with(loop, 4)
        clients = [loop.start(client(page)) for page in range(4)]
        assert await loop.device.wait_faults(1000)
        taken = await loop.device.take_faults(1)
        await ends[end](mm)
        await loop.scheduler.sleep(50)
        assert [task.result for task in clients] == [Reason.NO_CONTEXT] * 4
        await loop.driver.service(taken)
        while await loop.device.wait_faults(100):
            await loop.driver.service(await loop.device.take_faults(4))
        assert loop.driver.counters.stale_records == loop.driver.counters.records > 0
        assert loop.device.faults.open == 0
        assert len(loop.memory.allocations()) == arrays

    loop.run(scenario())
    loop.finish()


@pytest.mark.parametrize("end", ["unbind", "munmap"])
def test_driver_progress_waits_for_open_grants(end: str) -> None:
    """Neither a context nor a page is let go while the device holds a grant of it.

    Stimulus: a client that keeps its grant; unbind or munmap; then the release.
    Checking: the call ends only after the release; the tables stay allocated, the page referenced, until then.
    Covers: FENCE-GRANT, I1, I18.
    """
    loop = ClosedLoop()
    mm = loop.run(space_with(loop, 1))
    grant = loop.run(loop.device.translate(1, PLACE, Access.WRITE))
    pfn = mm.page_table.lookup(PLACE).pfn
    tables = len(loop.memory.allocations())
    call = loop.start(loop.driver.unbind(1) if end == "unbind" else mm.munmap(PLACE, PAGE_BYTES), end)
    loop.run(loop.scheduler.sleep(300))
    assert not call.done
    assert loop.frames.references(pfn) == 1
    assert len(loop.memory.allocations()) == tables
    loop.device.release(grant)
    loop.scheduler.run_all()
    assert call.done
    assert loop.frames.references(pfn) == (1 if end == "unbind" else 0)


def test_driver_progress_unmaps_while_unbinding() -> None:
    """While a context is being unbound the driver still hears of what changes: no page goes that the device may use.

    Stimulus: an open grant; unbind waiting for it; munmap of the page; then the release.
    Checking: munmap waits too, and the page keeps its reference until then.
    Covers: UNBIND, I1.
    """
    loop = ClosedLoop()
    mm = loop.run(space_with(loop, 1))
    grant = loop.run(loop.device.translate(1, PLACE, Access.WRITE))
    pfn = mm.page_table.lookup(PLACE).pfn
    unbind = loop.start(loop.driver.unbind(1), "unbind")
    loop.run(loop.scheduler.sleep(100))
    unmap = loop.start(mm.munmap(PLACE, PAGE_BYTES), "munmap")
    loop.run(loop.scheduler.sleep(300))
    assert not unbind.done and not unmap.done
    assert loop.frames.references(pfn) == 1
    loop.device.release(grant)
    loop.scheduler.run_all()
    assert unbind.done and unmap.done
    assert loop.frames.references(pfn) == 0
