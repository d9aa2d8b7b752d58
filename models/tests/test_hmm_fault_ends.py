# SPDX-License-Identifier: Apache-2.0
"""How a fault ends where it cannot be as usual: no memory, a device that fails, no right to write."""

from __future__ import annotations

import pytest

from models.arrays import PAGE_BYTES
from models.formats import format_by_name
from models.hmm import Advice, CpuAccessError, EntryKind, HmmError, MemoryMap, Prot, Vma, cpu_read, cpu_write, fork
from models.hmm.errors import Signal
from models.host_scheduler import run
from models.tests.hmm_bench import FIXED, PLACE, STATES, HmmBench

MEMORY = 1 << 20


def test_hmm_fault_without_memory() -> None:
    """
    Stimulus: the CPU writes to page after page until memory is used up; then it reads what it wrote.
    Checking: the write that finds no page ends in SIGBUS at its address, and nothing that was there is lost.
    Covers: MM-OOM
    """

    async def scenario() -> None:
        bench = HmmBench(MEMORY)
        pages = 2 * MEMORY // PAGE_BYTES
        await bench.mm.mmap(PLACE, pages * PAGE_BYTES, flags=FIXED)
        written = 0
        with pytest.raises(CpuAccessError) as refused:
            for page in range(pages):
                await cpu_write(bench.mm, PLACE + page * PAGE_BYTES, bytes([page % 251]))
                written += 1
        assert 100 < written < pages
        assert refused.value.signal is Signal.SIGBUS and refused.value.va == PLACE + written * PAGE_BYTES
        for page in range(written):
            assert await cpu_read(bench.mm, PLACE + page * PAGE_BYTES, 1) == bytes([page % 251])

    run(scenario())


def test_hmm_fault_device_fails() -> None:
    """
    Stimulus: the CPU reads a page of a device whose driver cannot bring it back.
    Checking: the read ends in SIGBUS at its address.
    Covers: MM-MIGRATE-TO-RAM
    """

    async def scenario() -> None:
        bench = HmmBench()
        await STATES["device_private"](bench)

        async def fail(mm: MemoryMap, vma: Vma, page: int) -> None:
            raise HmmError("EFAULT", f"the page at {page:#x} does not come back")

        bench.pagemap.migrate_to_ram = fail
        with pytest.raises(CpuAccessError) as failed:
            await cpu_read(bench.mm, PLACE, 1)
        assert (failed.value.signal, failed.value.va) == (Signal.SIGBUS, PLACE)

    run(scenario())


def test_hmm_request_device_private_for_reading() -> None:
    """
    Stimulus: a page in device memory, in an area that may only be read, asked back for reading.
    Checking: it comes back: asking back alone is no request to write.
    Covers: HMM-STATES-DEVICE
    """

    async def scenario() -> None:
        bench = HmmBench()
        await bench.begin()
        await STATES["device_private"](bench)
        await bench.mm.mprotect(PLACE, PAGE_BYTES, Prot.PROT_READ)
        asked = bench.range(format_by_name("hmm_2018_flags"), PLACE, 1)
        asked.pfns[:] = asked.words().request(write=False, device_private=True)
        await bench.fault(asked)
        assert bench.mm.page_table.lookup(PLACE).kind is EntryKind.PRESENT

    run(scenario())


def test_hmm_fault_device_page_shared_with_who_leaves() -> None:
    """
    Stimulus: a child that shares a page with its parent is ending: its areas are gone, its entries are not. Meanwhile
    the parent's page moves into device memory, and the CPU reads it.
    Checking: the page moves there and comes back: the child's entry is cut off although no area shows it.
    Covers: MM-MIGRATE-EXIT
    """
    bench = HmmBench()
    run(bench.begin(), bench.scheduler)
    run(STATES["writable"](bench), bench.scheduler)
    child = run(fork(bench.mm), bench.scheduler)
    leaving = bench.scheduler.start(child.exit(), "exit")
    assert bench.scheduler.run_until(leaving, "mm: invalidate started")
    assert len(child.vmas) == 0 and child.page_table.lookup(PLACE).kind is EntryKind.PRESENT
    moving = bench.scheduler.start(bench.to_device(PLACE, PLACE + PAGE_BYTES), "move")
    assert bench.scheduler.run_task(moving) and moving.result == 1
    reading = bench.scheduler.start(cpu_read(bench.mm, PLACE, 4), "read")
    assert bench.scheduler.run_task(reading) and reading.result == b"data"
    assert bench.scheduler.run_task(leaving)


@pytest.mark.parametrize("moment", ["migrate: collect next table", "migrate: copy", "migrate: finish"])
def test_hmm_fault_page_thrown_away_while_it_moves(moment: str) -> None:
    """
    Stimulus: a page that a child shares with its parent moves to the device; at some moment of that the parent throws
    its own entry away; then the child reads.
    Checking: the child's entry is neither left cut off nor left at the old page: it reads what was there.
    Covers: MM-MIGRATE-SHARED
    """
    bench = HmmBench()
    run(bench.begin(), bench.scheduler)
    run(STATES["writable"](bench), bench.scheduler)
    child = run(fork(bench.mm), bench.scheduler)
    moving = bench.scheduler.start(bench.to_device(PLACE, PLACE + PAGE_BYTES), "move")
    assert bench.scheduler.run_until(moving, moment)
    throwing = bench.scheduler.start(bench.mm.madvise(PLACE, PAGE_BYTES, Advice.MADV_DONTNEED), "throw away")
    assert bench.scheduler.run_task(throwing) and bench.scheduler.run_task(moving)
    assert child.page_table.lookup(PLACE).kind in (EntryKind.PRESENT, EntryKind.DEVICE_PRIVATE)
    reading = bench.scheduler.start(cpu_read(child, PLACE, 4), "read")
    assert bench.scheduler.run_task(reading) and reading.result == b"data"
    assert bench.frames.references(child.page_table.lookup(PLACE).pfn) == 1
