# SPDX-License-Identifier: Apache-2.0
"""Page faults in anonymous memory, in swap and in huge pages set aside; kernel rules, sequences, holes."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from models.arrays import PAGE_BYTES
from models.errors import UserError
from models.hmm.fault_result import Undecided
from models.hmm.frames import HUGE_BYTES, HUGE_PAGES, HugePool
from models.hmm.kernel_rules import HOLDS, kernel_rules, release_of
from models.hmm.notifiers import InvalidateEvent
from models.hmm.page_table import EntryFlags, EntryKind, PageTable
from models.hmm.vma import Backing, SharedObject, VmFlags
from models.tests.present_bench import (
    FAULT,
    HUGE_ZERO_PFN,
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


def answering(asked: Undecided, answer: bool) -> Callable[[Undecided, int], bool]:
    """Somebody who answers one question so, and all others with no."""
    return lambda question, va: answer and question is asked


def test_faults_swap_by_kernel() -> None:
    """
    Stimulus: Pages in swap, alone and shared, protected, tracked, in a read-only area: read and written by two kernels.
    Checking: A read maps writable only since 6.11, alone, unprotected, untracked; a write to a shared page copies it.
    Covers: HMM-FAULT-SWAP
    """
    alone = EntryFlags.ALONE
    for release, flags, area, users, read, write, events in (
        ((6, 1), alone, READ_WRITE, False, "V", "VW", 0),
        ((6, 11), alone, READ_WRITE, False, "VW", "VW", 0),
        ((6, 11), alone | EntryFlags.TRACKED, READ_WRITE, False, "V", "VW", 0),
        ((6, 11), EntryFlags.NONE, READ_WRITE, False, "VW", "VW", 0),
        ((6, 11), EntryFlags.NONE, READ_WRITE, True, "V", "VW", 1),
        ((6, 1), EntryFlags.NONE, READ_WRITE, True, "V", "VW", 1),
        ((6, 11), alone | EntryFlags.UFFD_WP, READ_WRITE | VmFlags.VM_UFFD_WP, False, "V", "EFAULT", 0),
        ((6, 11), alone, VmFlags.VM_READ, False, "V", "EPERM", 0),
    ):
        for default, expected in ((FAULT, read), (WRITE_FAULT, write)):
            bench = PresentBench(release)
            bench.mm.undecided = answering(Undecided.SWAP_USERS, users)
            bench.area(flags=area)
            bench.entry(0, EntryKind.SWAP, flags)
            assert driver(bench, default, 1) == [expected]
            assert len(bench.events) == (events if default == WRITE_FAULT else 0)


def test_faults_hints_by_kernel() -> None:
    """
    Stimulus: Hidden pages, near and far, alone, shared, tracked, of a file: read by two kernels.
    Checking: A far page moves, with one event; since 6.2 a page that is alone becomes writable, before only if it was.
    Covers: HMM-FAULT-HINT
    """
    hidden, writable = EntryFlags.PROTNONE, EntryFlags.WRITABLE
    for release, flags, references, far, expected in (
        ((6, 1), hidden, 1, False, "V"),
        ((6, 1), hidden | writable, 1, False, "VW"),
        ((6, 2), hidden, 1, False, "VW"),
        ((6, 2), hidden, 2, False, "V"),
        ((6, 2), hidden | EntryFlags.TRACKED, 1, False, "V"),
        ((6, 2), hidden, 1, True, "V"),
        ((6, 1), hidden | writable, 1, True, "VW"),
    ):
        bench = PresentBench(release)
        bench.area()
        pfn = bench.entry(0, EntryKind.PRESENT, flags, references=references)
        if far:
            bench.frames.far.add(pfn)
        assert driver(bench, FAULT, 1) == [expected]
        assert bench.events == ([CLEAR] if far else [])
        assert (bench.entries(1)[0].pfn != pfn) == far
        assert bench.frames.references(pfn) == (0 if far else references)


def test_faults_hints_on_huge_pages() -> None:
    """
    Stimulus: A hidden huge page, near and far, read by two kernels.
    Checking: It moves whole with one event of 2 MiB; near it is shown again, writable where it may be since 6.2.
    Covers: HMM-FAULT-HINT
    """
    for release, far, flags, expected in (
        ((6, 1), True, EntryFlags.WRITABLE, "VW+9"),
        ((6, 1), False, EntryFlags.NONE, "V+9"),
        ((6, 2), False, EntryFlags.NONE, "VW+9"),
    ):
        bench = PresentBench(release)
        bench.area(flags=HUGE_AREA)
        bench.huge(flags=flags | EntryFlags.PROTNONE)
        if far:
            bench.frames.far.add(4096)
        assert driver(bench, FAULT, 1) == [expected]
        assert bench.events == ([CLEAR] if far else [])
        assert (bench.entries(1)[0].pfn == 4096) != far
        assert bench.frames.references(4096 + 511) == (0 if far else 1)


def test_faults_huge_zero_by_kernel() -> None:
    """
    Stimulus: A write to the huge page of zeros, in kernels that split it and in those that do not.
    Checking: 1 + 1 events and a small page; one event and a huge page.
    Covers: HMM-FAULT-HUGE
    """
    for release, expected, events in (((6, 12), "VW", 2), ((6, 13), "VW+9", 1), ((4, 17), "VW+9", 1)):
        bench = PresentBench(release)
        bench.area(flags=HUGE_AREA)
        bench.huge(flags=EntryFlags.SPECIAL, pfn=HUGE_ZERO_PFN)
        assert driver(bench, WRITE_FAULT, 1) == [expected]
        assert bench.events == [CLEAR] * events


def test_faults_huge_where_no_advice_was_given() -> None:
    """
    Stimulus: A hole with room for a huge page, no advice, advice against, userfaultfd; reads and writes.
    Checking: Who is asked decides; advice against is obeyed; userfaultfd is told instead.
    Covers: HMM-FAULT-HUGE
    """
    for area, answer, default, expected in (
        (READ_WRITE, True, FAULT, "V+9"),
        (READ_WRITE, True, WRITE_FAULT, "VW+9"),
        (READ_WRITE, False, FAULT, "V"),
        (READ_WRITE | VmFlags.VM_NOHUGEPAGE, True, FAULT, "V"),
        (HUGE_AREA | VmFlags.VM_UFFD_MISSING, True, FAULT, "EFAULT"),
    ):
        bench = PresentBench()
        bench.mm.undecided = answering(Undecided.HUGE_ENABLED, answer)
        bench.area(flags=area)
        assert driver(bench, default, 1, 8) == [expected]
    assert bench.entries(1, 8)[0].hole


def test_faults_batches_hold_pages() -> None:
    """
    Stimulus: A page of one owner that a batch may hold, written, small and huge; whoever is asked says yes, or no.
    Checking: Held it is copied with an event, else reused without; nobody is asked where no batch may hold it.
    Covers: HMM-FAULT-COW
    """
    for held, batched, events in ((True, True, 1), (False, True, 0), (True, False, 0)):
        bench = PresentBench()
        bench.mm.undecided = answering(Undecided.LRU_BATCH, held)
        bench.area()
        pfn = bench.entry(0, EntryKind.PRESENT)
        bench.frames.batched.update({pfn} if batched else set())
        assert driver(bench, WRITE_FAULT, 1) == ["VW"]
        assert len(bench.events) == events
        bench = PresentBench()
        bench.mm.undecided = answering(Undecided.LRU_BATCH, held)
        bench.area(flags=HUGE_AREA)
        bench.huge()
        bench.frames.batched.update(range(4096, 4096 + HUGE_PAGES) if batched else ())
        assert driver(bench, WRITE_FAULT, 1) == ["VW" if events else "VW+9"]
        assert len(bench.events) == 2 * events


def test_faults_huge_page_that_is_shared() -> None:
    """
    Stimulus: A read-only huge page of two owners, of one owner but for one page, protected by userfaultfd: written.
    Checking: It is split and the written page copied, the others stay; userfaultfd is told instead.
    Covers: HMM-FAULT-HUGE
    """
    for last in (True, False):
        bench = PresentBench()
        bench.area(flags=HUGE_AREA)
        bench.huge(references=1 if last else 2)
        if last:
            bench.frames.take(np.array([4096 + 511], dtype=np.uint64))
        assert driver(bench, WRITE_FAULT, 1, 3) == ["VW"]
        assert bench.events == [CLEAR] * (1 if last else 2)
        assert mapped(bench, 6) == "rrrwrr"
        assert (bench.entries(1, 3)[0].pfn == 4096 + 3) == last
    bench = PresentBench()
    bench.area(flags=HUGE_AREA | VmFlags.VM_UFFD_WP)
    bench.huge(flags=EntryFlags.UFFD_WP)
    assert driver(bench, WRITE_FAULT, 1) == ["EFAULT"] and not bench.events


def test_faults_hugetlb_copies() -> None:
    """
    Stimulus: Writes to hugetlb pages that two have: with pages left, without, without a reservation, of a file's cache.
    Checking: A copy with one event of the page's size; the owner of the reservation keeps the page; others fail.
    Covers: HMM-HUGETLB
    """
    for flags, free, in_cache, expected, events in (
        (HUGETLB, 2, False, "VW+9", 1),
        (HUGETLB, 0, False, "VW+9", 0),
        (HUGETLB | VmFlags.VM_NORESERVE, 0, False, "EFAULT", 0),
        (HUGETLB, 0, True, "EFAULT", 0),
        (HUGETLB | VmFlags.VM_SHARED, 0, True, "VW+9", 0),
    ):
        bench = PresentBench()
        bench.frames.huge_pools = {HUGE_BYTES: HugePool(free)}
        store = SharedObject(kind=Backing.HUGETLB, lasts=True)
        bench.area(flags=flags, shared=store, huge_bytes=HUGE_BYTES)
        bench.large(9)
        bench.frames.take(np.array([4096], dtype=np.uint64))
        if in_cache:
            store.pages[0] = 4096
        assert driver(bench, WRITE_FAULT, 1) == [expected]
        assert bench.events == [CLEAR] * events
        assert bench.frames.references(4096) == 2 - events
        assert bench.frames.huge_pools[HUGE_BYTES].free == free - events


def test_faults_hugetlb_pages_from_where() -> None:
    """
    Stimulus: Missing hugetlb pages: shared, private over a file's cache, behind the end, lost, with reservations of
    others, with userfaultfd; a write to a protected one.
    Checking: What each gives, and what is left of those set aside.
    Covers: HMM-HUGETLB
    """

    def make(flags: VmFlags, pool: HugePool, store: SharedObject) -> PresentBench:
        bench = PresentBench()
        bench.frames.huge_pools = {HUGE_BYTES: pool}
        store.kind, store.lasts = Backing.HUGETLB, True
        bench.area(flags=flags, shared=store, huge_bytes=HUGE_BYTES)
        return bench

    store = SharedObject()
    bench = make(HUGETLB | VmFlags.VM_SHARED, HugePool(1), store)
    assert driver(bench, FAULT, 1) == ["VW+9"]
    assert store.pages == {0: pfn_of(int(bench.ask(1)[1][0]))} and bench.frames.references(store.pages[0]) == 2
    bench = make(HUGETLB, HugePool(1), SharedObject(pages={0: 512}))
    bench.frames.system.exists(np.array([512], dtype=np.uint64), 1)
    assert driver(bench, FAULT, 1) == ["V+9"] and bench.frames.huge_pools[HUGE_BYTES].free == 1
    assert driver(bench, WRITE_FAULT, 1) == ["VW+9"] and bench.events == [CLEAR]
    bench = make(HUGETLB | VmFlags.VM_UFFD_MINOR, HugePool(1), SharedObject(pages={0: 512}))
    assert driver(bench, FAULT, 1) == ["EFAULT"]
    bench = make(HUGETLB, HugePool(1), SharedObject(pages={0: 512}))
    bench.frames.system.poison(512)
    assert driver(bench, FAULT, 1) == ["EFAULT"]
    assert driver(make(HUGETLB, HugePool(1), SharedObject(size=0)), FAULT, 1) == ["EFAULT"]
    assert driver(make(HUGETLB | VmFlags.VM_UFFD_MISSING, HugePool(1), SharedObject()), FAULT, 1) == ["EFAULT"]
    reserved = HugePool(2, 1)
    assert driver(make(HUGETLB, reserved, SharedObject()), FAULT, 1) == ["V+9"]
    assert (reserved.free, reserved.reserved) == (1, 0)
    others = HugePool(2, 2)
    assert driver(make(HUGETLB | VmFlags.VM_NORESERVE, others, SharedObject()), FAULT, 1) == ["EFAULT"]
    bench = make(HUGETLB | VmFlags.VM_UFFD_WP, HugePool(2), SharedObject())
    bench.large(9, flags=EntryFlags.UFFD_WP)
    assert driver(bench, WRITE_FAULT, 1) == ["EFAULT"]


def test_faults_rules_and_releases() -> None:
    """
    Stimulus: Names and numbers of releases.
    Checking: Rules begin and end where the data say; names that are none are refused.
    Covers: HMM-KERNELS
    """
    assert release_of("6.1.192-hmm") == (6, 1) and release_of("6.12") == (6, 12)
    for name in ("", "six", "6", "v6.1"):
        with pytest.raises(UserError, match="Give a kernel release"):
            release_of(name)
    assert set(HOLDS) == set(kernel_rules((6, 1)).__dict__)
    assert not kernel_rules((6, 10)).swap_in_writable and kernel_rules((6, 11)).swap_in_writable
    assert [kernel_rules(release).foreign_memory_faults for release in ((5, 6), (5, 7), (5, 18), (5, 19))] == [
        True, False, False, True,
    ]  # fmt: skip


def test_faults_foreign_memory_before_5_19() -> None:
    """
    Stimulus: A request for another device's page in Linux 5.15.
    Checking: It fails; a look gives nothing.
    Covers: HMM-KERNELS
    """
    bench = PresentBench((5, 15))
    bench.area()
    bench.entry(0, EntryKind.DEVICE_PRIVATE, EntryFlags.WRITABLE, (1 << 30) + 64)
    assert driver(bench, FAULT, 1) == ["EFAULT"] and driver(bench, 0, 1) == ["0"]


def test_page_table_holes_by_level() -> None:
    """
    Stimulus: A page table with tables of several levels.
    Checking: Where holes end and at which level a walk finds them; parts of a walk are cut there.
    Covers: HMM-PAGE-TABLE
    """
    table = PageTable()
    gib, huge = 1 << 30, HUGE_BYTES
    assert (table.hole_level(gib), table.hole_end(gib)) == (5, 1 << 48)
    table.ensure_directories(gib, 48)
    assert (table.hole_level(gib), table.hole_end(gib)) == (4, 1 << 39)
    table.ensure_directories(gib, 39)
    assert (table.hole_level(gib), table.hole_end(gib)) == (3, 2 * gib)
    table.ensure_directories(gib)
    assert (table.hole_level(gib), table.hole_end(gib)) == (2, gib + huge)
    table.ensure_table(gib)
    units = [(unit.start, unit.end, unit.table is None) for unit in table.units(gib - PAGE_BYTES, 3 * gib)]
    assert units[0] == (gib - PAGE_BYTES, gib, True) and units[1] == (gib, gib + huge, False)
    assert units[2] == (gib + huge, gib + 2 * huge, True) and units[-1] == (2 * gib, 3 * gib, True)
    assert len(units) == 2 + 511 + 1
    table.drop_table(gib)
    assert table.table(gib) is None
