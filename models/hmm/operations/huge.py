# SPDX-License-Identifier: Apache-2.0
"""Huge entries and huge pages: split where something has to be done to a part, made where small pages lie together.

Source: docs/host.md, "Operations"; mm/huge_memory.c and mm/khugepaged.c of Linux 6.1 and 6.12.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from models.arrays import PAGE_BYTES
from models.hmm.errors import HmmError
from models.hmm.frames import HUGE_BYTES, HUGE_PAGES, Frames
from models.hmm.notifiers import InvalidateEvent
from models.hmm.page_table import DIRECTORY_SHIFTS, CpuEntry, EntryFlags, EntryKind
from models.hmm.reverse_map import Folio, cached_at, change_entries, entries_in, huge_start, places_of
from models.hmm.vma import VmFlags

if TYPE_CHECKING:
    from models.hmm.memory_map import MemoryMap


def split_silently(mm: MemoryMap, va: int) -> None:
    """Make the huge entry around `va` 512 small ones, if there is one; the caller has told the notifiers.

    One of an area with an object behind it is unmapped instead: its pages can be had from there again
    (__split_huge_pmd_locked()).
    """
    table = mm.page_table.table(va)
    if table is None or not table.huge:
        return
    area = mm.vmas.find(va)
    if area is not None and area.shared is not None:
        mm.frames.drop(table.pfn[table.counted(slice(None))])
        mm.page_table.drop_table(va)
        mm.page_table.ensure_directories(va)
    else:
        mm.page_table.split_huge(va, mm.frames.zero_pfn)


async def split_entry(mm: MemoryMap, va: int) -> None:
    """Split the huge entry around `va`; told whether or not it is still one (__split_huge_pmd())."""
    first = huge_start(va)
    async with mm.invalidation(first, first + HUGE_BYTES, InvalidateEvent.CLEAR):
        split_silently(mm, va)


async def split_entry_at(mm: MemoryMap, va: int) -> None:
    """The same where a table of 2 MiB entries is there (split_huge_pmd_address())."""
    if mm.page_table.has_directory(va, DIRECTORY_SHIFTS[0]):
        await split_entry(mm, va)


async def cut_area(mm: MemoryMap, va: int) -> None:
    """Cut the area around `va` in two there; a huge entry may not lie across (vma_adjust_trans_huge())."""
    area = mm.vmas.find(va)
    if area is None or area.start == va:
        return
    first = huge_start(va)
    if va != first and area.contains(first, first + HUGE_BYTES) and VmFlags.VM_HUGETLB not in area.flags:
        await split_entry_at(mm, va)
    mm.vmas.split(va)


async def split_folio(frames: Frames, first: int) -> None:
    """Make a 2 MiB page 512 small ones (split_huge_page()): meanwhile nobody maps it.

    Parts of anonymous memory come back where they were; those of an object can be faulted in again.
    """
    folio = Folio(first, HUGE_PAGES)
    cached = cached_at(frames, first)
    held: list[tuple[MemoryMap, int, CpuEntry]] = []

    def cut(mm: MemoryMap, va: int, entry: CpuEntry) -> None:
        held.append((mm, va, entry))
        if cached is None:
            mm.page_table.set(va, EntryKind.MIGRATION, entry.pfn, entry.flags)
        else:
            mm.page_table.set(va, EntryKind.NONE, 0)
            frames.drop(np.array([entry.pfn], dtype=np.uint64))

    rules = frames.spaces[0].rules
    inside = cached is not None and not rules.swap_out_splits_first
    await change_entries(frames, folio, cut, split_first=not inside, split_inside=inside)
    frames.folios.discard(first)
    if cached is not None:
        cached.cache.huge.discard(cached.number)
        return
    for mm, va, entry in held:
        area = mm.vmas.find(va)
        locked = area is not None and VmFlags.VM_LOCKED in area.flags
        if rules.split_drops_zeros and frames.fills.get(entry.pfn) == 0 and not locked:
            mm.page_table.set(va, EntryKind.PRESENT, frames.zero_pfn, EntryFlags.SPECIAL)
            frames.drop(np.array([entry.pfn], dtype=np.uint64))
        else:
            mm.page_table.set(va, EntryKind.PRESENT, entry.pfn, entry.flags)


async def collapse(mm: MemoryMap, start: int) -> None:
    """Let the small pages of the 2 MiB from `start` on become one page (collapse_huge_page()).

    Errors: HmmError EINVAL if they cannot (not anonymous memory that allows it, nothing there, or somebody else's too),
    ENOMEM.
    """
    area = mm.vmas.find(start)
    table = mm.page_table.table(start)
    if area is None or not area.contains(start, start + HUGE_BYTES) or VmFlags.VM_NOHUGEPAGE in area.flags:
        raise HmmError("EINVAL", "no area allows a huge page here")
    if area.shared is not None or table is None:
        raise HmmError("EINVAL", "there is nothing to make a huge page of")
    if table.huge:
        return
    present = table.kind == EntryKind.PRESENT
    if not bool(present.any()) or bool((~present & (table.kind != EntryKind.NONE)).any()):
        raise HmmError("EINVAL", "some pages are not there")
    new = mm.frames.allocate_huge()
    async with mm.invalidation(start, start + HUGE_BYTES, InvalidateEvent.CLEAR):
        old = table.pfn[table.counted(slice(None))].copy()
        for index in np.flatnonzero(present):
            mm.frames.copy(int(table.pfn[index]), new + int(index))
        flags = EntryFlags.DIRTY | (EntryFlags.WRITABLE if VmFlags.VM_WRITE in area.flags else EntryFlags.NONE)
        mm.page_table.set_huge(start, new, flags)
    mm.frames.drop(old)


def mapped_by(frames: Frames, folio: Folio) -> int:
    """How many areas map a page or a part of it."""
    return len({(id(place.mm), place.start) for place in places_of(frames, folio) if entries_in(place.mm, folio)})


def parts_end(start: int, end: int) -> int:
    """Where the 2 MiB around `start` end, or `end` if that comes first."""
    return min(end, huge_start(start) + HUGE_BYTES)


def is_whole(start: int, end: int) -> bool:
    """Whether [start, end) is 2 MiB as one huge entry spans them."""
    return start % HUGE_BYTES == 0 and end - start == HUGE_BYTES


def page_count(start: int, end: int) -> int:
    """Pages of [start, end)."""
    return (end - start) // PAGE_BYTES
