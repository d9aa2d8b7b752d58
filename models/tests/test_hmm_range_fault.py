# SPDX-License-Identifier: Apache-2.0
"""hmm_range_fault() of Linux 6.1 on every kind of entry: what a look, a read request and a write request give."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from models.arrays import PAGE_BYTES
from models.conform.judge import WaitsForeverError
from models.hmm.frames import HUGE_BYTES, HUGE_PAGES
from models.hmm.notifiers import InvalidateEvent
from models.hmm.page_table import EntryFlags, EntryKind
from models.hmm.vma import Backing, SharedObject, VmFlags
from models.tests.present_bench import (
    FAULT,
    FOREIGN,
    HUGE_ZERO_PFN,
    OWN,
    PLACE,
    READ_ONLY,
    READ_WRITE,
    WRITE,
    WRITE_FAULT,
    ZERO_PFN,
    PresentBench,
    pfn_of,
    shape,
)

WRITABLE, SPECIAL = EntryFlags.WRITABLE, EntryFlags.SPECIAL
PROTNONE, UFFD_WP, DEVMAP, ALONE = EntryFlags.PROTNONE, EntryFlags.UFFD_WP, EntryFlags.DEVMAP, EntryFlags.ALONE
UFFD = READ_WRITE | VmFlags.VM_UFFD_MISSING
SHARED = READ_WRITE | VmFlags.VM_SHARED
HUGE_AREA = READ_WRITE | VmFlags.VM_HUGEPAGE
HUGETLB = READ_WRITE | VmFlags.VM_HUGETLB


def one(
    kind: EntryKind,
    flags: EntryFlags = EntryFlags.NONE,
    pfn: int | None = None,
    references: int = 1,
    area: VmFlags = READ_WRITE,
) -> Callable[[PresentBench], None]:
    """One small entry in an area."""

    def make(bench: PresentBench) -> None:
        bench.area(flags=area)
        bench.entry(0, kind, flags, pfn, references)

    return make


def huge(
    flags: EntryFlags = EntryFlags.NONE, kind: EntryKind = EntryKind.PRESENT, references: int = 1, pfn: int = 4096
) -> Callable[[PresentBench], None]:
    """One entry for 2 MiB."""

    def make(bench: PresentBench) -> None:
        bench.area(flags=HUGE_AREA)
        bench.huge(kind, flags, pfn, references)

    return make


def object_area(
    flags: VmFlags = SHARED,
    *,
    size: int | None = None,
    swapped: bool = False,
    pages: bool = False,
    kind: Backing = Backing.SHMEM,
) -> Callable[[PresentBench], None]:
    """Nothing mapped, an object behind the area."""  # fmt: skip

    def make(bench: PresentBench) -> None:
        store = SharedObject(kind=kind, size=size, lasts=True)
        if swapped:
            store.swapped.add(0)
        if pages:
            store.pages.update({number: bench.frames.system.allocate() for number in range(8)})
        bench.area(flags=flags, shared=store)
        bench.mm.page_table.ensure_table(PLACE)

    return make


def hugetlb(flags: EntryFlags | None, free: int = 2, area: VmFlags = HUGETLB) -> Callable[[PresentBench], None]:
    """A hugetlb page, or none (flags None)."""

    def make(bench: PresentBench) -> None:
        bench.frames.huge_pools[HUGE_BYTES].free = free
        bench.area(flags=area, shared=SharedObject(kind=Backing.HUGETLB, lasts=True), huge_bytes=HUGE_BYTES)
        bench.mm.page_table.ensure_directories(PLACE)
        if flags is not None:
            bench.large(9, flags=flags)

    return make


def hole(flags: VmFlags) -> Callable[[PresentBench], None]:
    """An area with no table."""

    def make(bench: PresentBench) -> None:
        bench.area(flags=flags)

    return make


def gap(bench: PresentBench) -> None:
    """No area."""


PRESENT = EntryKind.PRESENT
COPIED = ["EBUSY", "VW"]
Answers = list[str]
STATES: dict[str, tuple[Callable[[PresentBench], None], Answers, Answers, Answers]] = {
    "no area": (gap, ["E"], ["EFAULT"], ["EFAULT"]),
    "hole": (hole(READ_WRITE), ["0"], ["V"], ["VW"]),
    "hole, read-only area": (hole(READ_ONLY), ["0"], ["V"], ["EPERM"]),
    "hole for a huge page": (hole(HUGE_AREA), ["0"], ["V+9"], ["VW+9"]),
    "none": (one(EntryKind.NONE), ["0"], ["V"], ["VW"]),
    "none, userfaultfd": (one(EntryKind.NONE, area=UFFD), ["0"], ["EFAULT"], ["EFAULT"]),
    "marker": (one(EntryKind.MARKER), ["0"], ["V"], ["VW"]),
    "shared by two": (one(PRESENT, references=2), ["V"], ["V"], COPIED),
    "read-only, alone": (one(PRESENT), ["V"], ["V"], ["VW"]),
    "read-only area": (one(PRESENT, area=READ_ONLY), ["V"], ["V"], ["EPERM"]),
    "writable": (one(PRESENT, WRITABLE), ["VW"], ["VW"], ["VW"]),
    "protected by userfaultfd": (one(PRESENT, UFFD_WP, area=READ_WRITE | VmFlags.VM_UFFD_WP), ["V"], ["V"], ["EFAULT"]),
    "swap": (one(EntryKind.SWAP, ALONE), ["0"], ["V"], ["VW"]),
    "own device memory": (one(EntryKind.DEVICE_PRIVATE, WRITABLE, OWN.base), ["VW"], ["VW"], ["VW"]),
    "own device memory, read-only": (one(EntryKind.DEVICE_PRIVATE, pfn=OWN.base), ["V"], ["V"], ["V"]),
    "device memory of another": (
        one(EntryKind.DEVICE_PRIVATE, WRITABLE, FOREIGN.base), ["0"], COPIED, COPIED),
    "last page of another device": (one(EntryKind.DEVICE_PRIVATE, WRITABLE, FOREIGN.base + 63), ["0"], COPIED, COPIED),
    "exclusive": (one(EntryKind.EXCLUSIVE, WRITABLE), ["0"], COPIED, COPIED),
    "exclusive, read-only": (one(EntryKind.EXCLUSIVE), ["0"], ["EBUSY", "V"], COPIED),
    "lost": (one(EntryKind.HWPOISON), ["0"], ["EFAULT"], ["EFAULT"]),
    "unknown": (one(EntryKind.UNKNOWN), ["0"], ["EFAULT"], ["EFAULT"]),
    "bare pfn": (one(PRESENT, SPECIAL | WRITABLE, 99, area=SHARED), ["E"], ["EFAULT"], ["EFAULT"]),
    "bare pfn, read-only area": (one(PRESENT, SPECIAL, 99, area=READ_ONLY), ["E"], ["EFAULT"], ["EPERM"]),
    "device memory mapped": (one(PRESENT, SPECIAL | DEVMAP | WRITABLE, 99), ["VW"], ["VW"], ["VW"]),
    "page of zeros": (one(PRESENT, SPECIAL, ZERO_PFN), ["V"], ["V"], COPIED),
    "huge, read-only, alone": (huge(), ["V+9"], ["V+9"], ["VW+9"]),
    "huge, writable": (huge(WRITABLE), ["VW+9"], ["VW+9"], ["VW+9"]),
    "huge, shared by two": (huge(references=2), ["V+9"], ["V+9"], COPIED),
    "huge page of zeros": (huge(SPECIAL, pfn=HUGE_ZERO_PFN), ["V+9"], ["V+9"], COPIED),
    "hidden": (one(PRESENT, PROTNONE | WRITABLE), ["pfn"], ["VW"], ["VW"]),
    "hidden huge": (huge(PROTNONE | WRITABLE), ["pfn"], ["VW+9"], ["VW+9"]),
    "bad 2 MiB entry": (huge(kind=EntryKind.UNKNOWN), ["E"], ["EFAULT"], ["EFAULT"]),
    "hugetlb, writable": (hugetlb(WRITABLE), ["VW+9"], ["VW+9"], ["VW+9"]),
    "hugetlb, read-only": (hugetlb(EntryFlags.NONE), ["V+9"], ["V+9"], ["VW+9"]),
    "hugetlb, none": (hugetlb(None), ["0+9"], ["V+9"], ["VW+9"]),
    "hugetlb, none left": (hugetlb(None, free=0), ["0+9"], ["EFAULT"], ["EFAULT"]),
    "pfnmap area": (one(PRESENT, WRITABLE, area=READ_WRITE | VmFlags.VM_PFNMAP), ["E"], ["EFAULT"], ["EFAULT"]),
    "io area": (one(PRESENT, WRITABLE, area=READ_WRITE | VmFlags.VM_IO), ["E"], ["EFAULT"], ["EFAULT"]),
    "write-only area": (one(PRESENT, WRITABLE, area=VmFlags.VM_WRITE), ["E"], ["EFAULT"], ["EFAULT"]),
    "shared memory, hole": (object_area(), ["0"], ["VW"], ["VW"]),
    "shared memory in swap": (object_area(swapped=True), ["0"], ["VW"], ["VW"]),
    "file, behind its end": (object_area(size=0, kind=Backing.FILE), ["0"], ["EFAULT"], ["EFAULT"]),
    "file, cached, private": (object_area(READ_WRITE, pages=True, kind=Backing.FILE), ["0"], ["V"], ["VW"]),
}  # fmt: skip


@pytest.mark.parametrize("name", STATES)
def test_range_fault_state(name: str) -> None:
    """
    Stimulus: One page in each state; a look, a read request, a write request, each on a fresh address space.
    Checking: What each of the calls gives until one is not EBUSY; a look tells no event and changes nothing.
    Covers: HMM-STATES, I9
    """
    make, look, read, write = STATES[name]
    bench = PresentBench()
    make(bench)
    before = bench.entries(2)
    assert bench.answers(0) == look
    assert bench.answers(WRITE) == look, "WRITE without FAULT is a look"
    assert bench.entries(2) == before and not bench.events
    for default, expected in ((FAULT, read), (WRITE_FAULT, write)):
        bench = PresentBench()
        make(bench)
        assert bench.answers(default) == expected
        assert bool(bench.events) == ("EBUSY" in expected)


@pytest.mark.parametrize("make", [one(EntryKind.MIGRATION), huge(kind=EntryKind.MIGRATION)])
def test_range_fault_waits_for_migration(make: Callable[[PresentBench], None]) -> None:
    """
    Stimulus: A page that is being moved, small and huge: a look, a request.
    Checking: The look gives nothing; the request waits for the move.
    Covers: HMM-STATES
    """
    bench = PresentBench()
    make(bench)
    bench.frames.migrations[4096] = bench.mm.host.event()
    assert bench.answers(0) == ["0"]
    with pytest.raises(WaitsForeverError):
        bench.ask(1, FAULT)


def test_range_fault_half_written_array() -> None:
    """
    Stimulus: A writable page, a page of zeros, a lost page; write requests as entries, with bits that are garbage.
    Checking: EFAULT; the entry before the fault is a result, the others are exactly what was handed over.
    Covers: HMM-ARRAY, I10
    """
    bench = PresentBench()
    bench.area()
    pfn = bench.entry(0, EntryKind.PRESENT, WRITABLE)
    bench.entry(1, EntryKind.PRESENT, SPECIAL, ZERO_PFN)
    bench.entry(2, EntryKind.HWPOISON)
    given = [WRITE_FAULT | 0x1234, WRITE_FAULT | 0x5678, WRITE_FAULT | 0x9ABC]
    errno, array = bench.ask(3, 0, given, WRITE_FAULT)
    assert errno == "EFAULT"
    assert [int(word) for word in array] == [WRITE_FAULT | pfn, *given[1:]]
    # The page of zeros was copied before the lost page was found.
    assert bench.events == [InvalidateEvent.CLEAR]


def test_range_fault_requests_and_defaults() -> None:
    """
    Stimulus: Four empty pages with a page-table page; requests in the entries, masked, and defaults.
    Checking: Bits outside the mask ask for nothing; defaults ask for all; the last request stands alone.
    Covers: HMM-REQUESTS
    """
    for default, given, mask, expected in (
        (0, [WRITE_FAULT] * 4, 0, "0 0 0 0"),
        (0, [WRITE_FAULT] * 4, FAULT, "V V V V"),
        (FAULT, [0, WRITE, 0, WRITE], WRITE, "V VW VW VW"),
        (0, [0, 0, 0, WRITE_FAULT], WRITE_FAULT, "0 0 0 VW"),
        (0, [0, FAULT, 0, 0], WRITE_FAULT, "0 V V V"),
    ):
        bench = PresentBench()
        bench.area()
        bench.mm.page_table.ensure_table(PLACE)
        errno, array = "EBUSY", np.zeros(0, dtype=np.uint64)
        while errno == "EBUSY":
            errno, array = bench.ask(4, default, given, mask)
        assert not errno
        assert " ".join(shape(int(word)) for word in array) == expected


def test_range_fault_hole_takes_requests_together() -> None:
    """
    Stimulus: A hole of four pages, a read request on the first and a write request on the last.
    Checking: All are faulted for writing, in one call; where the area may not be written that is EPERM.
    Covers: HMM-OVER-FAULT
    """
    bench = PresentBench()
    bench.area()
    errno, array = bench.ask(4, 0, [FAULT, 0, 0, WRITE_FAULT], WRITE_FAULT)
    assert (errno, [shape(int(word)) for word in array]) == ("", ["VW"] * 4)
    bench = PresentBench()
    bench.area(flags=READ_ONLY)
    assert bench.ask(4, 0, [FAULT, 0, 0, WRITE_FAULT], WRITE_FAULT)[0] == "EPERM"


def test_range_fault_huge_takes_requests_together() -> None:
    """
    Stimulus: A read-only huge page, with a write request on one page in the middle of a part of it; a request too many.
    Checking: The whole becomes writable; every entry has order 9 and its own page.
    Covers: HMM-OVER-FAULT, I10
    """
    bench = PresentBench()
    bench.area(flags=HUGE_AREA)
    bench.huge()
    given = [0, 0, WRITE_FAULT, 0]
    errno, array = bench.ask(4, 0, given, WRITE_FAULT, first=3)
    assert not errno
    assert [shape(int(word)) for word in array] == ["VW+9"] * 4
    assert [pfn_of(int(word)) for word in array] == [4096 + 3 + index for index in range(4)]
    assert not bench.events


def test_range_fault_hugetlb_hears_the_first_request() -> None:
    """
    Stimulus: Two hugetlb pages, none mapped: a write request on all but the first page; then one on the first.
    Checking: Only the first page's request counts; the page is mapped whole and taken from those set aside.
    Covers: HMM-HUGETLB
    """
    bench = PresentBench()
    store = SharedObject(kind=Backing.HUGETLB, lasts=True)
    bench.area(2 * HUGE_PAGES, HUGETLB, shared=store, huge_bytes=HUGE_BYTES)
    bench.mm.page_table.ensure_directories(PLACE)
    errno, array = bench.ask(HUGE_PAGES, 0, [0] + [WRITE_FAULT] * (HUGE_PAGES - 1), WRITE_FAULT)
    assert not errno and {shape(int(word)) for word in array} == {"0+9", "pfn+9"}
    assert [pfn_of(int(word)) for word in array[:3]] == [0, 1, 2]
    errno, array = bench.ask(HUGE_PAGES, 0, [WRITE_FAULT] + [0] * (HUGE_PAGES - 1), WRITE_FAULT)
    assert not errno and {shape(int(word)) for word in array} == {"VW+9"}
    assert [pfn_of(int(word)) - pfn_of(int(array[0])) for word in array] == list(range(HUGE_PAGES))
    assert bench.frames.huge_pools[HUGE_BYTES].free == 1


def test_range_fault_hugetlb_hole_and_lost_page() -> None:
    """
    Stimulus: A hugetlb area without the table of its entries; one with an entry of a lost page.
    Checking: The hole is plain nothing; the lost entry shows what stands in it, and a request fails.
    Covers: HMM-HUGETLB
    """
    bench = PresentBench()
    bench.area(flags=HUGETLB, shared=SharedObject(kind=Backing.HUGETLB, lasts=True), huge_bytes=HUGE_BYTES)
    assert bench.answers(0) == ["0"]
    assert bench.answers(FAULT) == ["V+9"]
    bench = PresentBench()
    bench.area(flags=HUGETLB, shared=SharedObject(kind=Backing.HUGETLB, lasts=True), huge_bytes=HUGE_BYTES)
    bench.large(9, EntryKind.HWPOISON)
    errno, array = bench.ask(2, 0, first=5)
    assert (errno, [pfn_of(int(word)) for word in array]) == ("", [99 + 5, 99 + 6])
    assert bench.answers(FAULT) == ["EFAULT"]


def test_range_fault_gigabyte_entry() -> None:
    """
    Stimulus: An entry of 1 GiB, of hugetlb memory and of device memory.
    Checking: Order 18 and each page's own pfn.
    Covers: HMM-HUGETLB, I10
    """
    for flags, size in ((HUGETLB, 1 << 30), (READ_WRITE, PAGE_BYTES)):
        bench = PresentBench()
        bench.area(1 << 18, flags, shared=SharedObject(kind=Backing.HUGETLB, lasts=True), huge_bytes=size)
        bench.large(18, flags=WRITABLE)
        errno, array = bench.ask(4, FAULT, first=777)
        assert (errno, shape(int(array[0]))) == ("", "VW+18")
        assert [pfn_of(int(word)) for word in array] == [4096 + 777 + index for index in range(4)]


def test_range_fault_gigabyte_entry_is_one() -> None:
    """
    Stimulus: A read-only entry of 1 GiB of device memory that may not be written; the third of four pages is to be.
    Checking: The call fails before anything of the entry is told, for all of it is asked for together.
    Covers: I8
    """
    bench = PresentBench()
    bench.area(1 << 18, READ_ONLY, shared=SharedObject(kind=Backing.DRIVER, lasts=True))
    bench.large(18)
    errno, array = bench.ask(4, 0, [0, 0, WRITE_FAULT, 0], WRITE_FAULT, first=5)
    assert errno == "EPERM"
    assert array.tolist() == [0, 0, WRITE_FAULT, 0]


def test_range_fault_range_across_everything() -> None:
    """
    Stimulus: A gap, an area, an area that may not be read, a gap; a look, and requests that end before each.
    Checking: ERROR where nothing can be looked at; a request fails exactly when it asks there, or before.
    Covers: HMM-RANGE
    """
    bench = PresentBench()
    bench.area(2, READ_WRITE, first=1)
    bench.area(2, VmFlags.VM_WRITE, first=3)
    bench.entry(1, EntryKind.PRESENT, WRITABLE)
    errno, array = bench.ask(6)
    assert (errno, " ".join(shape(int(word)) for word in array)) == ("", "E VW 0 E E E")
    for page, expected in ((0, "EFAULT"), (1, ""), (2, ""), (3, "EFAULT"), (4, "EFAULT"), (5, "EFAULT")):
        given = [FAULT if index == page else 0 for index in range(6)]
        assert bench.ask(6, 0, given, FAULT)[0] == expected
