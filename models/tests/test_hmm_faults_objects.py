# SPDX-License-Identifier: Apache-2.0
"""Page faults in areas with an object behind them: files, shared memory, drivers, and userfaultfd's share."""

from __future__ import annotations

from typing import Any

from models.hmm.frames import HUGE_PAGES
from models.hmm.notifiers import InvalidateEvent
from models.hmm.page_table import EntryFlags, EntryKind
from models.hmm.vma import Backing, SharedObject, VmFlags
from models.tests.present_bench import (
    FAULT,
    PLACE,
    READ_WRITE,
    WRITE_FAULT,
    PresentBench,
    driver,
    mapped,
    pfn_of,
)

CLEAR = InvalidateEvent.CLEAR
SHARED = READ_WRITE | VmFlags.VM_SHARED
HUGE_AREA = READ_WRITE | VmFlags.VM_HUGEPAGE
HUGETLB = READ_WRITE | VmFlags.VM_HUGETLB


def cached(bench: PresentBench, count: int, first: int = 0, **more: Any) -> SharedObject:
    """A file whose cache has pages `first` to `first + count - 1`."""
    store = SharedObject(kind=Backing.FILE, lasts=True, **more)
    store.pages.update({number: bench.frames.system.allocate() for number in range(first, first + count)})
    return store


def test_faults_read_maps_around() -> None:
    """
    Stimulus: Files with all pages in the cache: a read of one page, at several places of area, table and file.
    Checking: The aligned 64 KiB around it are mapped, cut to area, table and file; pages that are not ready are left
    out. Covers: HMM-FAULT-FILE
    """
    for start, length, page, expected_first, expected in (
        (0, 64, 20, 16, 16),
        (5, 64, 6, 5, 16),
        (0, 12, 3, 0, 12),
        (HUGE_PAGES - 20, 40, HUGE_PAGES - 3, HUGE_PAGES - 16, 16),
    ):
        bench = PresentBench()
        bench.area(length, READ_WRITE, start, cached(bench, 128))
        bench.mm.page_table.ensure_table(PLACE)
        assert driver(bench, FAULT, 1, page) == ["V"]
        assert mapped(bench, 100 if start < 100 else 40, 0 if start < 100 else start).count("r") == expected
        assert mapped(bench, expected, expected_first) == "r" * expected
    bench = PresentBench()
    store = cached(bench, 6, size=5)
    store.unready.add(1)
    bench.frames.system.poison(store.pages[2])
    bench.area(16, READ_WRITE, 0, store)
    assert driver(bench, FAULT, 1) == ["V"]
    assert mapped(bench, 8) == "r..rr..."


def test_faults_of_userfaultfd_map_no_neighbours() -> None:
    """
    Stimulus: Cached pages in an area that userfaultfd protects; in one where it is told of cached pages; missing pages.
    Checking: One page only; a failure; cached pages are had, missing ones not.
    Covers: HMM-FAULT-UFFD
    """
    bench = PresentBench()
    bench.area(16, READ_WRITE | VmFlags.VM_UFFD_WP, 0, cached(bench, 8))
    assert driver(bench, FAULT, 1) == ["V"]
    assert mapped(bench, 8) == "r......."
    bench = PresentBench()
    store = cached(bench, 8)
    store.kind = Backing.SHMEM
    bench.area(16, SHARED | VmFlags.VM_UFFD_MINOR, 0, store)
    assert driver(bench, FAULT, 1) == ["EFAULT"]
    bench = PresentBench()
    store = cached(bench, 1)
    store.kind = Backing.SHMEM
    store.swapped.add(1)
    bench.area(16, SHARED | VmFlags.VM_UFFD_MISSING, 0, store)
    bench.mm.page_table.ensure_table(PLACE)
    assert driver(bench, FAULT, 1) == ["VW"]
    assert driver(bench, FAULT, 1, 1) == ["VW"]
    assert driver(bench, FAULT, 1, 2) == ["EFAULT"]


def test_faults_markers_keep_protection() -> None:
    """
    Stimulus: A marker of userfaultfd over a cached page, read and written; over anonymous memory of old and new
    kernels. Checking: The page comes protected, and a write fails; old kernels drop the marker of anonymous memory.
    Covers: HMM-FAULT-UFFD
    """
    protected = READ_WRITE | VmFlags.VM_UFFD_WP
    for release, shared, read, write in (
        ((6, 1), True, ["V"], ["EFAULT"]),
        ((6, 1), False, ["V"], ["VW"]),
        ((6, 12), False, ["V"], ["EFAULT"]),
    ):
        for default, expected in ((FAULT, read), (WRITE_FAULT, write)):
            bench = PresentBench(release)
            flags = protected | VmFlags.VM_SHARED if shared else protected
            bench.area(16, flags, 0, cached(bench, 8) if shared else None)
            bench.entry(0, EntryKind.MARKER)
            assert driver(bench, default, 1) == expected
            kept = EntryFlags.UFFD_WP in bench.entries(1)[0].flags
            assert kept == (shared or release > (6, 4))
            if not shared and default == FAULT:
                assert bench.entries(1)[0].pfn == bench.frames.zero_pfn


def test_faults_private_writes_copy_files() -> None:
    """
    Stimulus: A write to a page of a private file that is not mapped; one that is mapped; the last reader of a page.
    Checking: The first is copied without an event, the second with one; the cache keeps its page.
    Covers: HMM-FAULT-FILE
    """
    bench = PresentBench()
    store = cached(bench, 4)
    bench.area(16, READ_WRITE, 0, store)
    bench.mm.page_table.ensure_table(PLACE)
    assert driver(bench, WRITE_FAULT, 1) == ["VW"] and not bench.events
    assert driver(bench, FAULT, 2) == ["VW", "V"]
    assert driver(bench, WRITE_FAULT, 2) == ["VW", "VW"] and bench.events == [CLEAR]
    assert not {entry.pfn for entry in bench.entries(2)} & set(store.pages.values())
    # Page 0 was never mapped, page 1 was given up: only the cache has them.
    assert [bench.frames.references(store.pages[number]) for number in range(3)] == [1, 1, 2]


def test_faults_shared_files_watch_writes() -> None:
    """
    Stimulus: A shared file whose first writes have to be seen, and one without; reads, then writes.
    Checking: Reads map read-only only where writes are watched; a write makes it writable, without an event.
    Covers: HMM-FAULT-FILE
    """
    for watches, read in ((True, "V"), (False, "VW")):
        bench = PresentBench()
        bench.area(16, SHARED, 0, cached(bench, 4), watches_writes=watches)
        assert driver(bench, FAULT, 1) == [read]
        assert driver(bench, WRITE_FAULT, 1) == ["VW"] and not bench.events
    bench = PresentBench()
    bench.area(16, SHARED, 0, cached(bench, 4), watches_writes=True)
    bench.mm.page_table.ensure_table(PLACE)
    assert driver(bench, WRITE_FAULT, 1) == ["VW"]
    assert mapped(bench, 4) == "w..."


def test_faults_read_ahead() -> None:
    """
    Stimulus: A file of 60 pages of which nothing is in the cache: a read of page 40; a file of 3 pages.
    Checking: The 32 pages around it are in the cache, not beyond the file; one page is mapped.
    Covers: HMM-FAULT-FILE
    """
    bench = PresentBench()
    store = SharedObject(kind=Backing.FILE, size=60, lasts=True)
    bench.area(60, READ_WRITE, 0, store)
    bench.mm.page_table.ensure_table(PLACE)
    assert driver(bench, FAULT, 1, 40) == ["V"]
    assert sorted(store.pages) == list(range(24, 56))
    assert mapped(bench, 60).count("r") == 1
    small = SharedObject(kind=Backing.FILE, size=3, lasts=True)
    bench.area(4, READ_WRITE, 100, small)
    assert driver(bench, FAULT, 1, 101) == ["V"]
    assert sorted(small.pages) == [0, 1, 2]
    assert driver(bench, FAULT, 1, 103) == ["EFAULT"]


def test_faults_lost_pages_of_files() -> None:
    """
    Stimulus: A file one of whose cached pages is lost, mapped privately and shared.
    Checking: That page fails, read or written; its neighbour comes.
    Covers: HMM-FAULT-FILE
    """
    for flags in (READ_WRITE, SHARED):
        bench = PresentBench()
        store = cached(bench, 2)
        bench.frames.system.poison(store.pages[0])
        bench.area(2, flags, 0, store)
        assert driver(bench, FAULT, 1) == ["EFAULT"]
        assert driver(bench, WRITE_FAULT, 1) == ["EFAULT"]
        assert driver(bench, FAULT, 1, 1)[0].startswith("V")


def huge_store(bench: PresentBench, first: int = 0) -> SharedObject:
    """Shared memory with one huge page from number `first` on."""
    store = SharedObject(lasts=True)
    base = bench.frames.system.allocate_huge()
    store.pages.update({first + index: base + index for index in range(HUGE_PAGES)})
    store.huge.add(first)
    return store


def test_faults_huge_pages_of_shared_memory() -> None:
    """
    Stimulus: Shared memory with a huge page: read, written, written privately, in an area that does not fit it, advised
    against, next to a page-table page, with a lost page in it.
    Checking: One entry of 2 MiB where it can be, small ones else.
    Covers: HMM-FAULT-HUGE
    """
    for release, flags, default, offset, expected in (
        ((6, 1), SHARED, FAULT, 0, "VW+9"),
        ((6, 1), SHARED, WRITE_FAULT, 0, "VW+9"),
        ((6, 1), READ_WRITE, FAULT, 0, "V+9"),
        ((6, 1), READ_WRITE, WRITE_FAULT, 0, "VW"),
        ((6, 1), SHARED, FAULT, 3, "VW"),
        ((6, 1), SHARED | VmFlags.VM_NOHUGEPAGE, FAULT, 0, "VW+9"),
        ((6, 12), SHARED | VmFlags.VM_NOHUGEPAGE, FAULT, 0, "VW"),
    ):
        bench = PresentBench(release)
        bench.area(HUGE_PAGES, flags, 0, huge_store(bench), offset=offset)
        assert driver(bench, default, 1, 5) == [expected]
    bench = PresentBench()
    bench.area(HUGE_PAGES, SHARED, 0, huge_store(bench))
    bench.mm.page_table.ensure_table(PLACE)
    assert driver(bench, FAULT, 1) == ["VW"]
    bench = PresentBench()
    store = huge_store(bench)
    bench.frames.system.poison(store.pages[9])
    bench.area(HUGE_PAGES, SHARED, 0, store)
    assert driver(bench, FAULT, 1) == ["VW"]
    bench = PresentBench()
    bench.area(HUGE_PAGES - 1, SHARED, 0, huge_store(bench))
    assert driver(bench, FAULT, 1) == ["VW"]


def test_faults_write_to_read_only_huge_page_of_an_object() -> None:
    """
    Stimulus: A huge page of shared memory mapped read-only, written shared and privately.
    Checking: It is unmapped with one event; shared it is mapped again whole, privately one page is copied.
    Covers: HMM-FAULT-HUGE
    """
    for flags, expected in ((SHARED, "VW+9"), (READ_WRITE, "VW")):
        bench = PresentBench()
        store = huge_store(bench)
        bench.area(HUGE_PAGES, flags, 0, store, watches_writes=True)
        assert driver(bench, FAULT, 1) == ["V+9"]
        assert bench.frames.references(store.pages[7]) == 2
        assert driver(bench, WRITE_FAULT, 1) == [expected]
        assert bench.events == [CLEAR]
        assert bench.frames.references(store.pages[7]) == (2 if flags == SHARED else 1)


def test_faults_shared_memory_makes_huge_pages() -> None:
    """
    Stimulus: Missing pages of shared memory that may have huge pages, with the advice and without, with a page in the
    way. Checking: One entry of 2 MiB only with both the setting and the advice, and with nothing in the way.
    Covers: HMM-FAULT-HUGE
    """
    for allowed, advice, in_the_way, expected in (
        (True, True, False, "VW+9"),
        (True, False, False, "VW"),
        (False, True, False, "VW"),
        (True, True, True, "VW"),
    ):
        bench = PresentBench()
        store = SharedObject(huge_allowed=allowed, lasts=True)
        if in_the_way:
            store.swapped.add(HUGE_PAGES - 1)
        flags = SHARED | VmFlags.VM_HUGEPAGE if advice else SHARED
        bench.area(HUGE_PAGES, flags, 0, store)
        assert driver(bench, FAULT, 1, 4) == [expected]
        assert pfn_of(int(bench.ask(1, first=4)[1][0])) == store.pages[4]


def test_faults_drivers_map_bare_pfns() -> None:
    """
    Stimulus: An area of a driver: a request for a page that is not there yet, for one behind its last, without a
    handler. Checking: The entry is a bare pfn, so the request fails; behind the last, and without a handler, nothing
    is mapped. Covers: HMM-FAULT-DRIVER
    """
    bench = PresentBench()
    bench.area(16, SHARED | VmFlags.VM_MIXEDMAP, 0, SharedObject(kind=Backing.DRIVER, lasts=True))
    bench.mm.page_table.ensure_table(PLACE)
    assert driver(bench, FAULT, 1, 7) == ["EFAULT"]
    entry = bench.entries(1, 7)[0]
    assert (entry.kind, entry.flags) == (EntryKind.PRESENT, EntryFlags.SPECIAL | EntryFlags.WRITABLE)
    assert driver(bench, 0, 1, 7) == ["E"]
    assert driver(bench, FAULT, 1, 8) == ["EFAULT"] and bench.entries(1, 8)[0].kind is EntryKind.NONE
    bench = PresentBench()
    bench.area(16, SHARED | VmFlags.VM_MIXEDMAP, 0, SharedObject(kind=Backing.DRIVER, lasts=True), no_fault=True)
    assert driver(bench, FAULT, 1) == ["EFAULT"] and bench.entries(1)[0].kind is EntryKind.NONE
