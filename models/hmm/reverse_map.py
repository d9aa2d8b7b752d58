# SPDX-License-Identifier: Apache-2.0
"""From a page to the entries that map it, and changes made from that side (rmap_walk()).

Pages are looked for in all page tables: this is for the few pages that are changed from their own side.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING

from models.arrays import PAGE_BYTES
from models.hmm.frames import HUGE_BYTES, HUGE_PAGES, Frames
from models.hmm.notifiers import InvalidateEvent
from models.hmm.page_table import CpuEntry, EntryFlags, EntryKind, LargeEntry
from models.hmm.vma import SharedObject, Vma

if TYPE_CHECKING:
    from models.hmm.memory_map import MemoryMap

MAPPED = (EntryKind.PRESENT, EntryKind.DEVICE_PRIVATE)


def entries_of(frames: Frames, pfn: int, kinds: tuple[EntryKind, ...]) -> list[tuple[MemoryMap, int]]:
    """Every (address space, address) with an entry of these kinds for the page."""
    return [(mm, va) for mm in frames.spaces for va in mm.page_table.find_pfn(pfn, kinds)]


def users(frames: Frames, pfn: int) -> int:
    """How many page tables map a page (page_mapcount())."""
    large = sum(entry.pfn == pfn for mm in frames.spaces for entry in mm.page_table.large.values())
    return large + len(entries_of(frames, pfn, MAPPED))


@dataclass(frozen=True)
class Folio:
    """A page as a whole: `pages` pages from `first` on, 1, or as many as a huge page has."""

    first: int
    pages: int

    def holds(self, pfn: int) -> bool:
        """Whether a pfn is one of its pages."""
        return self.first <= pfn < self.first + self.pages


@dataclass(frozen=True, eq=False)
class Place:
    """Where a page may be mapped: the bytes [start, end) of an area; None: it is being unmapped, entries are left."""

    mm: MemoryMap
    area: Vma | None
    start: int
    end: int


@dataclass(frozen=True)
class CachedAt:
    """The place of a page in the object that has it."""

    cache: SharedObject
    number: int


def folio_of(frames: Frames, pfn: int) -> Folio:
    """The page that `pfn` is a part of."""
    for mm in frames.spaces:
        for entry in mm.page_table.large.values():
            if entry.kind is EntryKind.PRESENT and entry.pfn <= pfn < entry.pfn + (1 << entry.order):
                return Folio(entry.pfn, 1 << entry.order)
    return Folio(*frames.folio_of(pfn))


def cached_at(frames: Frames, pfn: int) -> CachedAt | None:
    """The object that has a page, and the page's number in it; None for anonymous memory."""
    caches = {id(area.shared): area.shared for mm in frames.spaces for area in mm.vmas if area.shared is not None}
    for cache in caches.values():
        for number, held in cache.pages.items():
            if held == pfn:
                return CachedAt(cache, number)
    return None


def areas_of(frames: Frames, cache: SharedObject) -> list[tuple[MemoryMap, Vma]]:
    """Every area with an object behind it, by the first page of the object that it shows (the tree i_mmap)."""
    found = [(mm, area) for mm in frames.spaces for area in mm.vmas if area.shared is cache]
    return sorted(found, key=_first_page)


def _first_page(found: tuple[MemoryMap, Vma]) -> int:
    return found[1].offset


def object_places(frames: Frames, cache: SharedObject, first: int, end: int) -> list[Place]:
    """Where the pages [first, end) of an object may be mapped; `end` may lie behind everything."""
    places = []
    for mm, area in areas_of(frames, cache):
        start = area.start + max(0, first - area.offset) * PAGE_BYTES
        stop = min(area.end, area.start + (end - area.offset) * PAGE_BYTES)
        if start < stop:
            places.append(Place(mm, area, start, stop))
    return places


def places_of(frames: Frames, folio: Folio) -> list[Place]:
    """Where a page may be mapped: in every area that shows its place in an object, or where entries have it."""
    cached = cached_at(frames, folio.first)
    if cached is not None:
        return object_places(frames, cached.cache, cached.number, cached.number + folio.pages)
    places: list[Place] = []
    for mm in frames.spaces:
        found: dict[int, Vma | None] = {}
        for va, entry in entries_in(mm, folio):
            start = va - (entry.pfn - folio.first) * PAGE_BYTES
            found.setdefault(start, mm.vmas.find(va))
        for start, area in found.items():
            stop = start + folio.pages * PAGE_BYTES
            if area is None:
                places.append(Place(mm, None, start, stop))
            else:
                places.append(Place(mm, area, max(area.start, start), min(area.end, stop)))
    return places


def entries_in(mm: MemoryMap, folio: Folio) -> list[tuple[int, CpuEntry]]:
    """(address, entry) of every entry that holds a page of the folio."""
    found = []
    for start, large in mm.page_table.large.items():
        if large.pfn == folio.first and large.kind is not EntryKind.HWPOISON:
            found.append((start, CpuEntry(large.kind, large.flags, large.pfn, huge=True)))
    kinds = (*MAPPED, EntryKind.MIGRATION, EntryKind.EXCLUSIVE)
    for va in mm.page_table.find_pfns(folio.first, folio.first + folio.pages, kinds):
        found.append((va, mm.page_table.lookup(va)))
    return found


Replace = Callable[["MemoryMap", int, CpuEntry], None]
"""What becomes of an entry, given its address space, its address and what it is."""


async def change_entries(
    frames: Frames,
    folio: Folio,
    replace: Replace,
    *,
    kinds: tuple[EntryKind, ...] = (EntryKind.PRESENT,),
    event: InvalidateEvent = InvalidateEvent.CLEAR,
    owner: object = None,
    split_first: bool = False,
    split_inside: bool = False,
    shared_only: bool = False,
) -> None:
    """Change all entries of a page, each place under its own invalidation (try_to_unmap(), try_to_migrate()).

    `split_first`: a huge entry is split before, which is told separately; `split_inside`: in the same invalidation.
    `shared_only`: only areas that are shared.
    """
    for place in places_of(frames, folio):
        if shared_only and not (place.area and place.area.is_shared):
            continue
        if split_first and folio.pages == HUGE_PAGES:
            await place.mm.split_huge_told(place.start)
        async with AsyncExitStack() as stack:
            told = place.mm.invalidation(place.start, place.end, event, owner)
            await stack.enter_async_context(told)
            if split_inside:
                place.mm.split_huge_silently(place.start)
            for va, entry in entries_in(place.mm, folio):
                if place.start <= va < place.end and entry.kind in kinds and not entry_is_bare(entry):
                    replace(place.mm, va, entry)


def entry_is_bare(entry: CpuEntry) -> bool:
    """Whether no page that is counted stands behind an entry."""
    return EntryFlags.SPECIAL in entry.flags


def set_entry(mm: MemoryMap, va: int, kind: EntryKind, pfn: int, flags: EntryFlags) -> None:
    """Make an entry this, whether it is a page's own or a hugetlb page's."""
    large = mm.page_table.large.get(va)
    if large is not None:
        mm.page_table.large[va] = LargeEntry(kind, flags, pfn, large.order)
    else:
        mm.page_table.set(va, kind, pfn, flags)


def huge_start(va: int) -> int:
    """The first address of the 2 MiB around `va`."""
    return va // HUGE_BYTES * HUGE_BYTES
