# SPDX-License-Identifier: Apache-2.0
"""Pages of system memory that move to other pages of it: what stays, and who is told."""

from __future__ import annotations

import numpy as np
import pytest

from models.arrays import PAGE_BYTES
from models.conform.judge import run_alone
from models.entries import decode
from models.formats import format_by_name
from models.hmm import (
    Advice,
    EntryKind,
    HmmError,
    InvalidateEvent,
    MapFlags,
    cpu_read,
    cpu_write,
    fork,
    hmm_vma_range_done,
)
from models.hmm.frames import HUGE_BYTES, HUGE_PAGES
from models.hmm.numbered_frames import NumberPool
from models.hmm.operations.reclaim import migrate_folio
from models.hmm.vma import SharedObject, VmFlags
from models.tests.hmm_bench import FIXED, PLACE, HmmBench
from models.tests.present_bench import FIRST_PFN, READ_WRITE, PresentBench

FORMAT = format_by_name("hmm_2018_flags")


def test_moved_pages_huge_stays_huge() -> None:
    """
    Stimulus: a huge page that parent and child map moves (migrate_pages()).
    Checking: one entry as before, of another page with the same bytes; one invalidation of 2 MiB; the old page is free.
    Covers: MM-MIGRATE
    """
    bench = HmmBench()
    mm = bench.mm

    async def scenario() -> None:
        await bench.begin()
        await mm.mmap(PLACE, HUGE_BYTES, flags=FIXED)
        await mm.madvise(PLACE, HUGE_BYTES, Advice.MADV_HUGEPAGE)
        await cpu_write(mm, PLACE + 5 * PAGE_BYTES, b"moves")
        child = await fork(mm)
        before = mm.page_table.lookup(PLACE)
        assert before.huge
        bench.mirror.updates.clear()
        new = await migrate_folio(bench.frames, before.pfn, far=False)
        for space in (mm, child):
            after = space.page_table.lookup(PLACE)
            assert (after.huge, after.kind, after.pfn, after.flags) == (True, EntryKind.PRESENT, new, before.flags)
            assert await cpu_read(space, PLACE + 5 * PAGE_BYTES, 5) == b"moves"
        told = [(update.event, update.start, update.end) for update in bench.mirror.updates]
        assert told == [(InvalidateEvent.CLEAR, PLACE, PLACE + HUGE_BYTES)]
        assert (bench.frames.references(before.pfn), bench.frames.references(new)) == (0, 2)
        await child.exit()
        await mm.exit()
        assert bench.frames.system.pages_in_use() == 1

    bench.scheduler.run(scenario())


@pytest.mark.parametrize("flags", [MapFlags.MAP_PRIVATE, MapFlags.MAP_SHARED])
def test_moved_pages_soft_offline_keeps_bytes(flags: MapFlags) -> None:
    """
    Stimulus: MADV_SOFT_OFFLINE of a page of private and of shared memory (soft_offline_page()).
    Checking: another page with the same bytes, as writable as before; the old one is never handed out again.
    Covers: MM-MIGRATE, MM-POISON
    """
    bench = HmmBench()
    mm = bench.mm

    async def scenario() -> None:
        va = await mm.mmap(0, PAGE_BYTES, flags=flags | MapFlags.MAP_ANONYMOUS)
        await cpu_write(mm, va, b"stays")
        before = mm.page_table.lookup(va)
        await mm.madvise(va, PAGE_BYTES, Advice.MADV_SOFT_OFFLINE)
        after = mm.page_table.lookup(va)
        assert after.pfn != before.pfn and after.writable
        assert await cpu_read(mm, va, 5) == b"stays"
        assert before.pfn not in {bench.frames.system.allocate() for _ in range(600)}

    bench.scheduler.run(scenario())


@pytest.mark.parametrize("huge", [False, True])
def test_moved_pages_nobody_gets_the_old_page(huge: bool) -> None:
    """
    Stimulus: a page that parent and child map moves; between the invalidations of both, the parent's page is asked for.
    Checking: who asks waits; what he gets in the end is the new page, and valid.
    Covers: MM-MIGRATE, I1
    """
    bench = HmmBench()
    mm, scheduler = bench.mm, bench.scheduler

    async def begin() -> int:
        await bench.begin()
        await mm.mmap(PLACE, HUGE_BYTES, flags=FIXED)
        if huge:
            await mm.madvise(PLACE, HUGE_BYTES, Advice.MADV_HUGEPAGE)
        await cpu_write(mm, PLACE, b"both")
        await fork(mm)
        return mm.page_table.lookup(PLACE).pfn

    old = scheduler.run(begin())
    hmm_range = bench.range(FORMAT, PLACE, 1)
    hmm_range.pfns[:] = hmm_range.words().request(write=False)
    moving = scheduler.start(migrate_folio(bench.frames, old, far=False))
    assert scheduler.run_until(moving, "mm: invalidate end")
    assert scheduler.run_until(moving, "mm: invalidate start")
    asking = scheduler.start(bench.fault(hmm_range))
    assert not scheduler.run_task(asking), "it has to wait"
    assert scheduler.run_task(moving) and scheduler.run_task(asking)
    new = mm.page_table.lookup(PLACE).pfn
    assert new == moving.result != old
    assert hmm_vma_range_done(hmm_range)
    decoded = decode(FORMAT, hmm_range.pfns)
    assert int(decoded.pfn[0]) == new


def test_moved_pages_of_an_object() -> None:
    """
    Stimulus: a huge page of shared memory moves, of which nothing is mapped.
    Checking: each page of the object is the one at the same place of the new huge page, with the object's reference.
    Covers: MM-MIGRATE
    """
    bench = PresentBench()
    old = np.arange(FIRST_PFN, FIRST_PFN + HUGE_PAGES, dtype=np.uint64)
    store = SharedObject(pages=dict(enumerate(old.tolist())), huge={0})
    bench.frames.system.exists(old, 1)
    bench.frames.folios.add(FIRST_PFN)
    bench.area(flags=READ_WRITE | VmFlags.VM_SHARED, shared=store)
    new = run_alone(migrate_folio(bench.frames, FIRST_PFN + 3, far=False))
    assert store.pages == {number: new + number for number in range(HUGE_PAGES)}
    assert bench.frames.folio_of(new + 3) == (new, HUGE_PAGES)
    for pfns, references in ((old, 0), (np.arange(new, new + HUGE_PAGES), 1)):
        assert {bench.frames.references(int(pfn)) for pfn in pfns} == {references}


def test_moved_pages_numbers_of_lost_pages_stay_away() -> None:
    """
    Stimulus: pages without bytes, all handed out, two given back, one of which is lost.
    Checking: the other is handed out again, then none is left.
    Covers: MM-POISON
    """
    pool = NumberPool(1, 1, 3)
    pages = [pool.allocate() for _ in range(3)]
    pool.drop(np.array(pages[:2], dtype=np.uint64))
    pool.take(np.array([1], dtype=np.uint64))
    pool.poison(pages[0])
    assert pool.allocate() == pages[1]
    with pytest.raises(HmmError, match="ENOMEM"):
        pool.allocate()
