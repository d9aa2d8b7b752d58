# SPDX-License-Identifier: Apache-2.0
"""The CPU's page table: for each 2 MiB that has a page-table page (or a huge entry) 512 entries as arrays.

A 2 MiB span without one is a hole, as where p4d_none(), pud_none() or pmd_none() is true. Nothing here waits: each call
is one step under the page-table lock. Source: docs/host.md, "The CPU's page table".
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import IntEnum, IntFlag

import numpy as np
import numpy.typing as npt

from models.arrays import PAGE_BYTES, PAGE_SHIFT, Bytes, Flags, Words
from models.hmm.frames import HUGE_BYTES, HUGE_PAGES

SPAN_SHIFT = 21
"""log2 of the bytes of one page-table page."""
DIRECTORY_SHIFTS = (30, 39, 48)
"""log2 of the bytes that one table of each higher level spans: of 2 MiB entries, of 1 GiB entries, of 512 GiB
entries.
"""


class EntryKind(IntEnum):
    """What an entry is. NONE maps nothing; PRESENT maps a page; the others are what is_swap_pte() is true for."""

    NONE = 0
    PRESENT = 1
    MIGRATION = 2
    """the page is being moved; pfn is the one it had"""
    DEVICE_PRIVATE = 3
    """the page is in a device's memory; pfn is its number there"""
    HWPOISON = 4
    """the page was lost to a memory error"""
    SWAP = 5
    """the page is in swap; pfn is its place there"""
    EXCLUSIVE = 6
    """a device has the page for itself; pfn is the page"""
    MARKER = 7
    """nothing is mapped, but userfaultfd wants to be told of the first write"""
    UNKNOWN = 8
    """not present, and of a kind that nothing may come back from"""


class EntryFlags(IntFlag):
    """Properties of an entry that is not NONE."""

    NONE = 0
    WRITABLE = 1
    SPECIAL = 2
    """no page with a reference count stands behind it: the zero page, or a pfn of a special area"""
    PROTNONE = 4
    """the CPU may not use it now: for NUMA hinting, or because the area forbids everything"""
    UFFD_WP = 8
    """userfaultfd protected it against writing"""
    ALONE = 16
    """of a page in swap: nobody else has it"""
    DEVMAP = 32
    """memory of a device that is mapped as it is"""
    TRACKED = 64
    """the next write to it has to be seen, so it may not become writable before"""
    DIRTY = 128
    """it was written through this entry"""


@dataclass(frozen=True)
class CpuEntry:
    """One entry. `huge`: it is part of a 2 MiB entry. `hole`: there is no page-table page."""

    kind: EntryKind
    flags: EntryFlags = EntryFlags.NONE
    pfn: int = 0
    huge: bool = False
    hole: bool = False

    @property
    def writable(self) -> bool:
        """Whether the entry lets the CPU write (the page may be elsewhere all the same)."""
        return EntryFlags.WRITABLE in self.flags


HOLE = CpuEntry(EntryKind.NONE, hole=True)


@dataclass(frozen=True)
class LargeEntry:
    """One entry for 2^order pages, of hugetlb memory or as large as 1 GiB; `pfn` is that of its first page.

    `raw_pfn`: what stands in the pfn's place of an entry that is not present, as HMM shows it.
    """

    kind: EntryKind
    flags: EntryFlags
    pfn: int
    order: int
    raw_pfn: int = 0


class LeafTable:
    """512 entries: kind uint8, flags uint8, pfn uint64. `huge`: they are one 2 MiB entry, with consecutive pfns."""

    def __init__(self) -> None:
        self.kind: Bytes = np.zeros(HUGE_PAGES, dtype=np.uint8)
        self.flags: Bytes = np.zeros(HUGE_PAGES, dtype=np.uint8)
        self.pfn: Words = np.zeros(HUGE_PAGES, dtype=np.uint64)
        self.huge = False

    def counted(self, part: slice) -> Flags:
        """bool[n]: which entries hold a reference to their page."""
        return holds_reference(self.kind[part], self.flags[part])

    def clear(self, chosen: npt.NDArray[np.intp]) -> None:
        """Make the entries of these numbers NONE."""
        self.kind[chosen] = EntryKind.NONE
        self.flags[chosen] = EntryFlags.NONE
        self.pfn[chosen] = 0


COUNTED = np.isin(
    np.arange(max(EntryKind) + 1),
    [EntryKind.PRESENT, EntryKind.MIGRATION, EntryKind.DEVICE_PRIVATE, EntryKind.EXCLUSIVE],
)
"""bool for each kind: whether entries of it hold a reference to a page."""


def holds_reference(kind: Bytes, flags: Bytes) -> Flags:
    """bool[n]: which entries hold a reference to their page."""
    paged = COUNTED[kind]
    counted: Flags = paged & ((flags & np.uint8(EntryFlags.SPECIAL)) == 0)
    return counted


@dataclass(frozen=True)
class Span:
    """The part [start, end) of one page-table page's 2 MiB; `table` is None for a hole; `part` are its entries."""

    start: int
    end: int
    table: LeafTable | None
    part: slice


class PageTable:
    """The page table of one address space. Addresses are multiples of 4096 where a page is meant."""

    def __init__(self) -> None:
        self._tables: dict[int, LeafTable] = {}
        self._directories: dict[int, set[int]] = {shift: set() for shift in DIRECTORY_SHIFTS}
        self.large: dict[int, LargeEntry] = {}
        """Entries of hugetlb areas, and entries of 1 GiB, by their first address."""

    def lookup(self, va: int) -> CpuEntry:
        """The entry of the page of `va`."""
        table = self._tables.get(va >> SPAN_SHIFT)
        if table is None:
            return HOLE
        index = _index(va)
        kind, flags = EntryKind(int(table.kind[index])), EntryFlags(int(table.flags[index]))
        return CpuEntry(kind, flags, int(table.pfn[index]), table.huge)

    def table(self, va: int) -> LeafTable | None:
        """The page-table page of `va`, None in a hole."""
        return self._tables.get(va >> SPAN_SHIFT)

    def ensure_table(self, va: int) -> LeafTable:
        """The page-table page of `va`, made if it is missing."""
        table = self._tables.get(va >> SPAN_SHIFT)
        if table is None:
            self.ensure_directories(va)
            table = self._tables[va >> SPAN_SHIFT] = LeafTable()
        return table

    def ensure_directories(self, va: int, lowest: int = DIRECTORY_SHIFTS[0]) -> None:
        """Make the tables above the page-table page of `va`, down to the one that spans 2^lowest bytes."""
        for shift in DIRECTORY_SHIFTS:
            if shift >= lowest:
                self._directories[shift].add(va >> shift)

    def has_directory(self, va: int, shift: int) -> bool:
        """Whether there is the table above `va` that spans 2^shift bytes."""
        return va >> shift in self._directories[shift]

    def hole_end(self, va: int) -> int:
        """Where the hole around `va` ends: the end of what one empty entry of the lowest table there covers.

        At least the end of the 2 MiB; more where tables of higher levels are missing too.
        """
        span = SPAN_SHIFT
        for shift in DIRECTORY_SHIFTS:
            if self.has_directory(va, shift):
                break
            span = shift
        return ((va >> span) + 1) << span

    def hole_level(self, va: int) -> int:
        """The level at which a walk to `va` ends in a hole: 2 the table of 2 MiB entries, 3 the one above, ..."""
        for level, shift in enumerate(DIRECTORY_SHIFTS, start=2):
            if self.has_directory(va, shift):
                return level
        return 2 + len(DIRECTORY_SHIFTS)

    def spans(self, start: int, end: int) -> Iterator[Span]:
        """[start, end) cut at every 2 MiB, holes included."""
        while start < end:
            stop = min(((start >> SPAN_SHIFT) + 1) << SPAN_SHIFT, end)
            yield self._span(start, stop)
            start = stop

    def units(self, start: int, end: int) -> Iterator[Span]:
        """[start, end) cut as a walk sees it: at every 2 MiB where there is a page-table page, at the end of a hole."""
        while start < end:
            table = self._tables.get(start >> SPAN_SHIFT)
            if table is not None:
                stop = min(((start >> SPAN_SHIFT) + 1) << SPAN_SHIFT, end)
                yield self._span(start, stop)
            else:
                stop = min(self.hole_end(start), end)
                yield Span(start, stop, None, slice(0, (stop - start) // PAGE_BYTES))
            start = stop

    def mapped_spans(self, start: int, end: int) -> list[Span]:
        """[start, end) cut at every 2 MiB, without the holes; cheap however large the range is."""
        first, last = start >> SPAN_SHIFT, (end - 1) >> SPAN_SHIFT
        if start >= end:
            return []
        if last - first < len(self._tables):
            numbers = [number for number in range(first, last + 1) if number in self._tables]
        else:
            numbers = sorted(number for number in self._tables if first <= number <= last)
        return [
            self._span(max(start, number << SPAN_SHIFT), min(end, (number + 1) << SPAN_SHIFT)) for number in numbers
        ]

    def set(self, va: int, kind: EntryKind, pfn: int, flags: EntryFlags = EntryFlags.NONE) -> None:
        """Make the page of `va` this entry; the page-table page is made if it is missing.

        Errors: RuntimeError inside a huge entry, which must be split first.
        """
        table = self.ensure_table(va)
        if table.huge:
            raise RuntimeError(f"the huge entry around {va:#x} must be split before one page of it changes")
        index = _index(va)
        table.kind[index], table.flags[index], table.pfn[index] = kind, flags, pfn

    def mark_dirty(self, va: int) -> None:
        """Note that the page of `va` was written through its entry; a huge entry has one note for all."""
        table = self._tables[va >> SPAN_SHIFT]
        if table.huge:
            table.flags |= np.uint8(EntryFlags.DIRTY)
        else:
            table.flags[_index(va)] |= np.uint8(EntryFlags.DIRTY)

    def set_huge(self, va: int, pfn: int, flags: EntryFlags) -> None:
        """Map the 2 MiB around `va` by one huge entry to the 512 pages from `pfn`."""
        table = LeafTable()
        table.kind[:] = EntryKind.PRESENT
        table.flags[:] = flags
        table.pfn[:] = np.arange(pfn, pfn + HUGE_PAGES, dtype=np.uint64)
        table.huge = True
        self.ensure_directories(va)
        self._tables[va >> SPAN_SHIFT] = table

    def split_huge(self, va: int, zero_pfn: int) -> None:
        """Make a huge entry 512 small ones to the same pages (__split_huge_pmd()); the huge page of zeros becomes
        the small one, `zero_pfn`.
        """
        table = self._tables[va >> SPAN_SHIFT]
        table.huge = False
        if EntryFlags.SPECIAL in EntryFlags(int(table.flags[0])):
            table.pfn[:] = zero_pfn

    def drop_table(self, va: int) -> None:
        """Make the 2 MiB around `va` a hole."""
        self._tables.pop(va >> SPAN_SHIFT, None)

    def zap(self, start: int, end: int) -> Words:
        """Make every entry of [start, end) NONE; returns the pages whose references the entries held.

        A huge entry that is covered whole becomes a hole. Errors: RuntimeError if one is covered in part.
        """
        dropped: list[Words] = []
        for span in self.mapped_spans(start, end):
            table = span.table
            assert table is not None
            whole = span.end - span.start == HUGE_BYTES
            if table.huge and not whole:
                raise RuntimeError(f"the huge entry at {span.start:#x} must be split before a part of it goes")
            dropped.append(table.pfn[span.part][table.counted(span.part)].copy())
            if table.huge:
                del self._tables[span.start >> SPAN_SHIFT]
            else:
                table.clear(np.arange(span.part.start, span.part.stop))
        return np.concatenate(dropped) if dropped else np.zeros(0, dtype=np.uint64)

    def free_tables(self, floor: int, ceiling: int) -> None:
        """Free the page-table pages that lie wholly in [floor, ceiling): holes are left (free_pgtables())."""
        for span in self.mapped_spans(floor, ceiling):
            if span.end - span.start == HUGE_BYTES:
                del self._tables[span.start >> SPAN_SHIFT]

    def move(self, source: int, target: int, length: int) -> None:
        """Move the entries of [source, source + length), which may not cross 2 MiB, to where none are (move_ptes()).

        A huge entry moves whole, from one aligned 2 MiB to another. Errors: RuntimeError if it would have to be split.
        """
        table = self._tables.get(source >> SPAN_SHIFT)
        if table is None:
            return
        if table.huge:
            if length != HUGE_BYTES or target % HUGE_BYTES:
                raise RuntimeError(f"the huge entry at {source:#x} must be split before a part of it moves")
            self.ensure_directories(target)
            self._tables[target >> SPAN_SHIFT] = self._tables.pop(source >> SPAN_SHIFT)
            return
        first = _index(source)
        for span in self.spans(target, target + length):
            new = self.ensure_table(span.start)
            last = first + (span.end - span.start) // PAGE_BYTES
            new.kind[span.part] = table.kind[first:last]
            new.flags[span.part] = table.flags[first:last]
            new.pfn[span.part] = table.pfn[first:last]
            table.clear(np.arange(first, last))
            first = last

    def find_pfn(self, pfn: int, kinds: tuple[EntryKind, ...]) -> list[int]:
        """Addresses of all entries of these kinds that have `pfn`, by rising address (what rmap_walk() finds)."""
        found: list[int] = []
        for number in sorted(self._tables):
            table = self._tables[number]
            matches = (table.pfn == np.uint64(pfn)) & np.isin(table.kind, kinds)
            matches &= table.counted(slice(None))
            found.extend((number << SPAN_SHIFT) + (int(index) << PAGE_SHIFT) for index in np.flatnonzero(matches))
        return found

    def find_pfns(self, first: int, end: int, kinds: tuple[EntryKind, ...]) -> list[int]:
        """Addresses of all entries of these kinds with a pfn in [first, end), by rising address."""
        found: list[int] = []
        for number in sorted(self._tables):
            table = self._tables[number]
            matches = (table.pfn >= np.uint64(first)) & (table.pfn < np.uint64(end)) & np.isin(table.kind, kinds)
            matches &= table.counted(slice(None))
            found.extend((number << SPAN_SHIFT) + (int(index) << PAGE_SHIFT) for index in np.flatnonzero(matches))
        return found

    def count(self, kind: EntryKind) -> int:
        """Number of entries of a kind."""
        return sum(int(np.count_nonzero(table.kind == kind)) for table in self._tables.values())

    def _span(self, start: int, end: int) -> Span:
        first = _index(start)
        table = self._tables.get(start >> SPAN_SHIFT)
        return Span(start, end, table, slice(first, first + (end - start) // PAGE_BYTES))


def _index(va: int) -> int:
    return (va >> PAGE_SHIFT) & (HUGE_PAGES - 1)
