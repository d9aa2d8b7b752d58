# SPDX-License-Identifier: Apache-2.0
"""Laws of hmm_range_fault() on address spaces of any mixture: what success, ERROR and a look promise."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from models.arrays import PAGE_BYTES, Words
from models.hmm.frames import HUGE_PAGES
from models.hmm.page_table import EntryFlags, EntryKind
from models.hmm.vma import Backing, SharedObject, VmFlags
from models.tests.present_bench import (
    ERROR,
    FAULT,
    FORMAT,
    OWN,
    PLACE,
    READ_ONLY,
    READ_WRITE,
    VALID,
    WRITE,
    WRITE_FAULT,
    ZERO_PFN,
    PresentBench,
    pfn_of,
)

FIRST = HUGE_PAGES - 6
"""Ranges lie across a 2 MiB boundary, with a huge page or small ones before it."""
NONE, WRITABLE, SPECIAL = EntryFlags.NONE, EntryFlags.WRITABLE, EntryFlags.SPECIAL
ENTRIES: dict[str, tuple[EntryKind, EntryFlags, int]] = {
    "none": (EntryKind.NONE, NONE, 1),
    "writable": (EntryKind.PRESENT, WRITABLE, 1),
    "shared": (EntryKind.PRESENT, NONE, 2),
    "alone": (EntryKind.PRESENT, NONE, 1),
    "zero": (EntryKind.PRESENT, SPECIAL, 1),
    "bare": (EntryKind.PRESENT, SPECIAL | WRITABLE, 1),
    "hidden": (EntryKind.PRESENT, WRITABLE | EntryFlags.PROTNONE, 1),
    "swap": (EntryKind.SWAP, EntryFlags.ALONE, 1),
    "own": (EntryKind.DEVICE_PRIVATE, NONE, 1),
    "exclusive": (EntryKind.EXCLUSIVE, WRITABLE, 1),
    "lost": (EntryKind.HWPOISON, NONE, 1),
}
AREAS = {
    "private": READ_WRITE,
    "read-only": READ_ONLY,
    "unreadable": VmFlags.VM_WRITE,
    "pfnmap": READ_WRITE | VmFlags.VM_PFNMAP,
    "gap": None,
    "file": READ_WRITE,
}
LAWS = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])


@dataclass(frozen=True)
class Space:
    """What lies at some pages: pieces of (kind of area, states of its pages), and whether an area comes before."""

    pieces: list[tuple[str, list[str]]]
    huge: bool

    @property
    def pages(self) -> int:
        """How many pages."""
        return sum(len(states) for _, states in self.pieces)


def spaces() -> st.SearchStrategy[Space]:
    """Address spaces."""
    piece = st.tuples(
        st.sampled_from(sorted(AREAS)), st.lists(st.sampled_from(sorted(ENTRIES)), min_size=1, max_size=5)
    )
    return st.builds(Space, st.lists(piece, min_size=1, max_size=5), st.booleans())


REQUESTS = st.lists(st.sampled_from([0, FAULT, WRITE_FAULT, WRITE]), min_size=25, max_size=25)


def built(space: Space) -> PresentBench:
    """The address space."""
    bench = PresentBench()
    page = FIRST
    for area, states in space.pieces:
        flags = AREAS[area]
        if flags is not None:
            store = SharedObject(kind=Backing.FILE, size=HUGE_PAGES, lasts=True) if area == "file" else None
            bench.area(len(states), flags, page, store)
        for offset, name in enumerate(states):
            if flags is None or area == "file":
                continue
            kind, entry_flags, references = ENTRIES[name]
            pfn = ZERO_PFN if name == "zero" else OWN.base + page + offset - FIRST if name == "own" else None
            bench.entry(page + offset, kind, entry_flags, pfn, references)
        page += len(states)
    if space.huge:
        bench.area(8, READ_WRITE, FIRST - 8)
    return bench


def ask(bench: PresentBench, pages: int, inputs: list[int]) -> tuple[str, Words]:
    """A driver's loop: the requests are given anew before every try; at most six."""
    errno, array = "EBUSY", np.zeros(pages, dtype=np.uint64)
    for _ in range(6):
        errno, array = bench.ask(pages, 0, inputs[:pages], WRITE_FAULT, first=FIRST)
        if errno != "EBUSY":
            break
    return errno, array


def wants(request: int) -> tuple[bool, bool]:
    """Whether a request asks for the page, and for a writable one."""
    fault = bool(request & VALID)
    return fault, fault and bool(request & WRITE)


@LAWS
@given(spaces(), REQUESTS)
def test_law_success_means_what_was_asked(space: Space, inputs: list[int]) -> None:
    """
    Stimulus: Any requests on any mixture of areas and pages.
    Checking: The loop ends; on success every requested page is VALID, and WRITE where that was asked but for own device
    memory; no requested page is ERROR. On failure what was not reached is as it was given.
    Covers: I7, I12
    """
    bench = built(space)
    errno, array = ask(bench, space.pages, inputs)
    assert errno in ("", "EFAULT", "EPERM")
    if errno:
        untouched = [int(word) == given for word, given in zip(array, inputs, strict=False)]
        first = next((index for index in range(space.pages) if all(untouched[index:])), space.pages)
        assert first < space.pages, "the page that failed was written"
        return
    for word, request in zip(array, inputs, strict=False):
        fault, write = wants(request)
        if fault:
            assert int(word) & VALID and not int(word) & ERROR
        if write and not OWN.base <= pfn_of(int(word)) < OWN.base + OWN.count:
            assert int(word) & WRITE


@LAWS
@given(spaces(), st.booleans())
def test_law_error_fails_when_asked(space: Space, write: bool) -> None:
    """
    Stimulus: A look; then, on equal address spaces, a request for each page that the look says is ERROR.
    Checking: The request fails with EFAULT or EPERM.
    Covers: I8
    """
    errno, array = ask(built(space), space.pages, [0] * space.pages)
    assert not errno
    for page in np.flatnonzero(array & np.uint64(ERROR)):
        inputs = [0] * space.pages
        inputs[int(page)] = WRITE_FAULT if write else FAULT
        assert ask(built(space), space.pages, inputs)[0] in ("EFAULT", "EPERM")


@LAWS
@given(spaces())
def test_law_look_is_pure(space: Space) -> None:
    """
    Stimulus: A look, twice.
    Checking: It succeeds; no entry changes, no page-table page is made, no event is told; the second gives the same.
    Covers: I9
    """
    bench = built(space)
    before = bench.entries(space.pages, FIRST)
    errno, array = ask(bench, space.pages, [0] * space.pages)
    again = ask(bench, space.pages, [0] * space.pages)[1]
    assert not errno and not bench.events
    assert bench.entries(space.pages, FIRST) == before
    assert np.array_equal(array, again)


@LAWS
@given(spaces(), REQUESTS)
def test_law_entries_are_the_page_table(space: Space, inputs: list[int]) -> None:
    """
    Stimulus: Any requests on any mixture; after success the page table is compared.
    Checking: A VALID entry has the pfn of its own page and WRITE only where the CPU may write.
    Covers: I10, I5
    """
    bench = built(space)
    errno, array = ask(bench, space.pages, inputs)
    if errno:
        return
    for word, entry in zip(array, bench.entries(space.pages, FIRST), strict=True):
        if not int(word) & VALID:
            continue
        assert entry.kind in (EntryKind.PRESENT, EntryKind.DEVICE_PRIVATE)
        assert entry.pfn == pfn_of(int(word))
        assert entry.writable or not int(word) & WRITE


@LAWS
@given(st.integers(0, HUGE_PAGES - 2), st.integers(1, 40), st.booleans())
def test_law_parts_of_huge_pages(first: int, pages: int, write: bool) -> None:
    """
    Stimulus: Any part of a huge page, asked for reading or writing.
    Checking: Each entry has its own page of the aligned piece, with the order and flags of the whole.
    Covers: I10
    """
    bench = PresentBench()
    bench.area(flags=READ_WRITE | VmFlags.VM_HUGEPAGE)
    bench.huge(flags=WRITABLE)
    count = min(pages, HUGE_PAGES - first)
    errno, array = bench.ask(count, WRITE_FAULT if write else FAULT, first=first)
    assert not errno
    order = (array >> np.uint64(FORMAT.order_shift)) & np.uint64(0x1F)
    assert set(order) == {9}
    vpn = (PLACE // PAGE_BYTES) + first + np.arange(count)
    assert [pfn_of(int(word)) % HUGE_PAGES for word in array] == [int(number) % HUGE_PAGES for number in vpn]
