# SPDX-License-Identifier: Apache-2.0
"""Operations where the recordings hold no record that decides: parts of huge pages, pages of objects."""

from __future__ import annotations

import numpy as np
import pytest

from models.arrays import PAGE_BYTES
from models.conform.judge import run_alone
from models.hmm import (
    Advice,
    CpuAccessError,
    EntryFlags,
    EntryKind,
    HmmError,
    InvalidateEvent,
    MapFlags,
    Prot,
    VmFlags,
    cpu_read,
    cpu_write,
)
from models.hmm.frames import HUGE_BYTES, HUGE_PAGES
from models.hmm.notifiers import MmuIntervalNotifier, MmuNotifierRange
from models.hmm.operations.exclusive import get_page, make_device_exclusive_range
from models.hmm.operations.merge import merge_equal_pages
from models.hmm.operations.objects import truncate
from models.hmm.page_table import LargeEntry
from models.hmm.vma import Backing, SharedObject
from models.tests.hmm_bench import FIXED, PLACE, HmmBench
from models.tests.present_bench import READ_WRITE, PresentBench


def test_hmm_operations_drop_hugetlb_pages() -> None:
    """Huge pages that were set aside are dropped whole, so a range that ends inside one leaves that one alone.

    Stimulus: MADV_DONTNEED over one and a half such pages, over half a page, from the middle of one; munmap() where one
    page is not there and the other was lost.
    Checking: which pages are there, how often anybody was told, errno, references.
    Covers: MM-DROP.
    """
    bench = PresentBench()
    store = SharedObject(kind=Backing.HUGETLB)
    bench.area(pages=2 * HUGE_PAGES, flags=READ_WRITE | VmFlags.VM_HUGETLB, shared=store, huge_bytes=HUGE_BYTES)
    first, second = PLACE, PLACE + HUGE_BYTES
    table = bench.mm.page_table
    for va, pfn in ((first, 4096), (second, 4096 + HUGE_PAGES)):
        table.ensure_directories(va, 30)
        bench.frames.system.exists(np.array([pfn], dtype=np.uint64), 1)
        table.large[va] = LargeEntry(EntryKind.PRESENT, EntryFlags.NONE, pfn, 9)

    def drop(va: int, length: int) -> None:
        run_alone(bench.mm.madvise(va, length, Advice.MADV_DONTNEED))

    drop(first, HUGE_BYTES // 2)
    assert {*table.large} == {first, second} and not bench.events
    with pytest.raises(HmmError, match="EINVAL"):
        drop(first + HUGE_BYTES // 2, HUGE_BYTES)
    drop(first, HUGE_BYTES + HUGE_BYTES // 2)
    assert {*table.large} == {second}
    # Huge pages are told a second time in this kernel (zap_page_range_single(), __unmap_hugepage_range()).
    assert bench.events == [InvalidateEvent.CLEAR, InvalidateEvent.UNMAP]
    assert (bench.frames.references(4096), bench.frames.references(4096 + HUGE_PAGES)) == (0, 1)
    # Who lost a page gave its reference back then.
    table.large[second] = LargeEntry(EntryKind.HWPOISON, EntryFlags.NONE, 4096 + HUGE_PAGES, 9)
    run_alone(bench.mm.munmap(PLACE, 2 * HUGE_BYTES))
    assert not table.large
    assert bench.frames.references(4096 + HUGE_PAGES) == 1


def test_hmm_operations_exclusive_is_for_anonymous_pages() -> None:
    """A device gets a page for itself only where no object has it, too (page_make_device_exclusive()).

    Stimulus: make_device_exclusive_range() over a page of anonymous memory, then over one of shared memory.
    Checking: the addresses that it gave, the entries, who was told.
    Covers: MM-EXCLUSIVE.
    """
    bench = HmmBench()
    mm = bench.mm

    async def scenario() -> None:
        await bench.begin()
        for flags, had in ((MapFlags.MAP_PRIVATE, True), (MapFlags.MAP_SHARED, False)):
            va = await mm.mmap(0, PAGE_BYTES, flags=flags | MapFlags.MAP_ANONYMOUS)
            await cpu_write(mm, va, b"x")
            bench.mirror.updates.clear()
            async with mm.mmap_lock.read():
                done = await make_device_exclusive_range(mm, va, va + PAGE_BYTES, bench)
            assert done == ([va] if had else [])
            entry = mm.page_table.lookup(va)
            assert entry.kind is (EntryKind.EXCLUSIVE if had else EntryKind.PRESENT)
            # Writable for the device, too; what was written until then was noted of the page.
            assert entry.flags == EntryFlags.WRITABLE | (EntryFlags.NONE if had else EntryFlags.DIRTY)
            assert [update.event for update in bench.mirror.updates] == [InvalidateEvent.EXCLUSIVE] * had
            assert await cpu_read(mm, va, 1) == b"x"

    bench.scheduler.run(scenario())


def test_hmm_operations_markers_outlive_a_truncation() -> None:
    """A page that userfaultfd protects leaves a marker, and a second unmapping of the range leaves that (zap_pte_range()).

    Stimulus: two pages of shared memory, one write-protected; the object is cut off before them, which unmaps twice.
    Checking: a marker where the protected page was, nothing where the other was.
    Covers: MM-TRUNCATE.
    """
    bench = PresentBench()
    store = SharedObject(kind=Backing.SHMEM, size=4, lasts=True)
    flags = READ_WRITE | VmFlags.VM_SHARED | VmFlags.VM_UFFD_WP
    bench.area(pages=4, flags=flags, shared=store)
    for page, entry_flags in ((1, EntryFlags.UFFD_WP), (2, EntryFlags.WRITABLE)):
        pfn = store.pages[page] = bench.frames.system.allocate()
        bench.frames.take(np.array([pfn], dtype=np.uint64))
        bench.mm.page_table.set(PLACE + page * PAGE_BYTES, EntryKind.PRESENT, pfn, entry_flags)
    run_alone(truncate(bench.frames, store, 1))
    kinds = [bench.mm.page_table.lookup(PLACE + page * PAGE_BYTES).kind for page in range(4)]
    assert kinds == [EntryKind.NONE, EntryKind.MARKER, EntryKind.NONE, EntryKind.NONE]


def test_hmm_operations_collapse_into_a_huge_page() -> None:
    """Small pages become one huge page in one invalidation of all of it (collapse_huge_page()).

    Stimulus: MADV_COLLAPSE over 2 MiB with two pages in them, and over 2 MiB with one page in swap.
    Checking: who was told what, bytes, the old pages are free; EINVAL, and nobody told, for the other.
    Covers: MM-COLLAPSE.
    """
    bench = HmmBench()
    mm = bench.mm

    async def scenario() -> None:
        await bench.begin()
        for va in (PLACE, PLACE + HUGE_BYTES):
            await mm.mmap(va, HUGE_BYTES, flags=FIXED)
        for va in (PLACE, PLACE + 5 * PAGE_BYTES, PLACE + HUGE_BYTES):
            await cpu_write(mm, va, b"small")
        await mm.madvise(PLACE + HUGE_BYTES, PAGE_BYTES, Advice.MADV_PAGEOUT)
        used = bench.frames.system.pages_in_use()
        bench.mirror.updates.clear()
        await mm.madvise(PLACE, HUGE_BYTES, Advice.MADV_COLLAPSE)
        told = [(update.event, update.start, update.end) for update in bench.mirror.updates]
        assert told == [(InvalidateEvent.CLEAR, PLACE, PLACE + HUGE_BYTES)]
        entry = mm.page_table.lookup(PLACE + 5 * PAGE_BYTES)
        assert entry.huge and entry.writable
        for page, content in ((0, b"small"), (5, b"small"), (6, bytes(5))):
            assert await cpu_read(mm, PLACE + page * PAGE_BYTES, 5) == content
        assert bench.frames.system.pages_in_use() == used - 2 + HUGE_PAGES
        bench.mirror.updates.clear()
        with pytest.raises(HmmError, match="EINVAL"):
            await mm.madvise(PLACE + HUGE_BYTES, HUGE_BYTES, Advice.MADV_COLLAPSE)
        assert not bench.mirror.updates

    bench.scheduler.run(scenario())


def test_hmm_operations_merge_equal_pages() -> None:
    """Pages with the same content become one; of pages whose content is not known nothing is (ksm_do_scan()).

    Stimulus: three pages filled with one byte, one with another, two of unknown content; the merging thread, twice.
    Checking: which pages the entries hold, who is writable, references.
    Covers: MM-MERGE.
    """
    bench = PresentBench()
    bench.area(pages=6, flags=READ_WRITE | VmFlags.VM_MERGEABLE)
    pfns = [bench.entry(page, EntryKind.PRESENT, EntryFlags.WRITABLE) for page in range(6)]
    bench.frames.fills.update(zip(pfns[:4], (7, 7, 7, 9), strict=True))
    for _ in range(2):
        run_alone(merge_equal_pages(bench.frames))
        entries = [bench.mm.page_table.lookup(PLACE + page * PAGE_BYTES) for page in range(6)]
        assert [entry.pfn for entry in entries] == [pfns[1], pfns[1], pfns[1], pfns[3], pfns[4], pfns[5]]
        assert [entry.writable for entry in entries] == [False, False, False, True, True, True]
        # One of them is the merging thread's.
        assert [bench.frames.references(pfn) for pfn in pfns] == [0, 4, 0, 1, 1, 1]


def test_hmm_operations_truncate_unmaps_copies_first() -> None:
    """Before pages leave an object nobody maps them, nor private copies of them (truncate_pagecache()).

    Stimulus: shared memory loses both its pages; a private mapping has a copy of one of them and maps the other; it
    makes another copy while the pages go.
    Checking: what the entries are each time that somebody is told: there, then gone; the late copy goes, too.
    Covers: MM-TRUNCATE.
    """
    bench = PresentBench()
    store = SharedObject(pages={0: 5000, 1: 5001}, size=2)
    bench.area(pages=2, shared=store)
    bench.entry(0, EntryKind.PRESENT, EntryFlags.WRITABLE)
    bench.entry(1, EntryKind.PRESENT, pfn=5001, references=2)
    bench.frames.system.exists(np.array([5000], dtype=np.uint64), 1)
    seen: list[tuple[EntryKind, EntryKind]] = []

    async def look(notifier: MmuIntervalNotifier, update: MmuNotifierRange, seq: int) -> bool:
        notifier.set_seq(seq)
        first, second = (bench.mm.page_table.lookup(PLACE + page * PAGE_BYTES).kind for page in range(2))
        seen.append((first, second))
        if len(seen) == 2:
            bench.entry(0, EntryKind.PRESENT, EntryFlags.WRITABLE, pfn=5002)
        return True

    bench.mm.intervals.insert(MmuIntervalNotifier(PLACE, PLACE + 2 * PAGE_BYTES, look))
    run_alone(truncate(bench.frames, store, 0))
    assert seen == [(EntryKind.PRESENT, EntryKind.PRESENT), (EntryKind.NONE, EntryKind.NONE)]
    assert not store.pages
    assert bench.mm.page_table.lookup(PLACE).kind is EntryKind.NONE
    assert [bench.frames.references(pfn) for pfn in (4096, 5000, 5001, 5002)] == [0, 0, 0, 0]


def test_hmm_operations_forced_write_leaves_the_area() -> None:
    """A debugger writes where nobody may: into a private copy, and the area is afterwards what it was (FOLL_FORCE).

    Stimulus: get_page() for writing, forced, of a page that two have in an area that may only be read.
    Checking: a page of one's own that is still read-only; the flags of the area; without force EFAULT.
    Covers: MM-GET-PAGE.
    """
    bench = PresentBench()
    flags = VmFlags.VM_READ | VmFlags.VM_MAYREAD | VmFlags.VM_MAYWRITE
    area = bench.area(pages=1, flags=flags)
    old = bench.entry(0, EntryKind.PRESENT, references=2)
    with pytest.raises(HmmError, match="EFAULT"):
        run_alone(get_page(bench.mm, PLACE, write=True))
    new = run_alone(get_page(bench.mm, PLACE, write=True, force=True))
    assert area.flags == flags
    entry = bench.mm.page_table.lookup(PLACE)
    assert (entry.pfn, entry.writable) == (new, False)
    assert new != old and bench.frames.references(old) == 1


def test_hmm_operations_protected_from_everything() -> None:
    """Memory of PROT_NONE is nobody's to read (mprotect(), mmap()); its bytes stay.

    Stimulus: a page is written, protected from everything, read, and made readable again; a mapping of PROT_NONE.
    Checking: SIGSEGV meanwhile; the bytes afterwards.
    Covers: MM-PROTECT.
    """
    bench = HmmBench()
    mm = bench.mm

    async def scenario() -> None:
        va = await mm.mmap(0, PAGE_BYTES)
        await cpu_write(mm, va, b"stays")
        await mm.mprotect(va, PAGE_BYTES, Prot.PROT_NONE)
        none = await mm.mmap(0, PAGE_BYTES, Prot.PROT_NONE)
        for address in (va, none):
            with pytest.raises(CpuAccessError, match="SIGSEGV"):
                await cpu_read(mm, address, 1)
        await mm.mprotect(va, PAGE_BYTES, Prot.PROT_READ)
        assert await cpu_read(mm, va, 5) == b"stays"

    bench.scheduler.run(scenario())
