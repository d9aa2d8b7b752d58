# SPDX-License-Identifier: Apache-2.0
"""Taking mappings and entries away: munmap(), what exit() does, and zapping for other calls.

Source: docs/host.md, "Operations"; unmap_vmas(), zap_page_range_single() of mm/memory.c, do_munmap() of mm/mmap.c,
__unmap_hugepage_range() of mm/hugetlb.c, as in Linux 6.1 and 6.12.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from models.hmm.frames import HUGE_BYTES
from models.hmm.notifiers import LAST_BYTE, InvalidateEvent
from models.hmm.operations.huge import cut_area, is_whole, split_entry
from models.hmm.page_table import EntryFlags, EntryKind, Span
from models.hmm.vma import Vma, VmFlags

if TYPE_CHECKING:
    from models.hmm.memory_map import MemoryMap

LARGEST_SPAN = 1 << 30
"""A table of 2 MiB entries spans so much: huge page tables may be shared in such pieces."""


async def unmap(mm: MemoryMap, start: int, end: int) -> None:
    """Take everything in [start, end) away; the mmap lock is held for writing (do_munmap())."""
    if not mm.vmas.overlapping(start, end):
        return
    await cut_area(mm, start)
    await cut_area(mm, end)
    areas = mm.vmas.overlapping(start, end)
    for area in areas:
        mm.vmas.remove(area)
    async with mm.invalidation(start, end, InvalidateEvent.UNMAP):
        for area in areas:
            await zap_area(mm, area, area.start, area.end)
    _free_tables(mm, areas[0].start, areas[-1].end)
    _drop_objects(mm, areas)


async def unmap_everything(mm: MemoryMap) -> None:
    """Take all mappings away; told as one range that ends where addresses end (exit_mmap())."""
    areas = list(mm.vmas)
    for area in areas:
        mm.vmas.remove(area)
    async with mm.invalidation(0, LAST_BYTE, InvalidateEvent.UNMAP):
        for area in areas:
            await zap_area(mm, area, area.start, area.end)
    if areas:
        _free_tables(mm, areas[0].start, areas[-1].end)
    _drop_objects(mm, areas)


async def zap_told(mm: MemoryMap, area: Vma, start: int, end: int, *, keep_copies: bool = False) -> None:
    """Empty the entries of [start, end) in an area that stays (zap_page_range_single()).

    `keep_copies`: only pages of the object behind the area go, not private copies of them.
    """
    first, last = _with_shared_tables(area, start, end)
    async with mm.invalidation(first, last, InvalidateEvent.CLEAR):
        await zap_area(mm, area, start, end, keep_copies=keep_copies, keep_markers=True)


async def zap_area(
    mm: MemoryMap, area: Vma, start: int, end: int, *, keep_copies: bool = False, keep_markers: bool = False
) -> None:
    """Empty the entries of [start, end) of an area, and drop their pages; the caller has told so."""
    if VmFlags.VM_HUGETLB in area.flags:
        await _zap_hugetlb(mm, area, start, end)
        return
    for span in mm.page_table.mapped_spans(start, end):
        assert span.table is not None
        if span.table.huge and not is_whole(span.start, span.end):
            await split_entry(mm, span.start)
    for span in mm.page_table.mapped_spans(start, end):
        _zap_span(mm, area, span, keep_copies, keep_markers)
        await mm.host.pause("mm: zap next table")


def _zap_span(mm: MemoryMap, area: Vma, span: Span, keep_copies: bool, keep_markers: bool) -> None:
    table = span.table
    assert table is not None
    if keep_copies and area.shared is not None and not table.huge:
        cached = np.array([*area.shared.pages.values()], dtype=np.uint64)
        chosen = np.isin(table.pfn[span.part], cached) & (table.kind[span.part] == EntryKind.PRESENT)
        places = np.flatnonzero(chosen) + span.part.start
        mm.frames.drop(table.pfn[places])
        table.clear(places)
        return
    # A marker outlives its page until somebody asks for markers to go (zap_drop_file_uffd_wp()).
    protected = (table.flags[span.part] & np.uint8(EntryFlags.UFFD_WP)) != 0
    marked = protected | (table.kind[span.part] == EntryKind.MARKER)
    mm.frames.drop(mm.page_table.zap(span.start, span.end))
    if table.huge:
        mm.page_table.ensure_directories(span.start)
    elif keep_markers and area.shared is not None and VmFlags.VM_UFFD_WP in area.flags:
        table.kind[np.flatnonzero(marked) + span.part.start] = EntryKind.MARKER


async def _zap_hugetlb(mm: MemoryMap, area: Vma, start: int, end: int) -> None:
    """Drop huge pages that were set aside (__unmap_hugepage_range())."""
    if mm.rules.hugetlb_tells_twice:
        first, last = _with_shared_tables(area, start, end)
        async with mm.invalidation(first, last, InvalidateEvent.UNMAP):
            _drop_hugetlb(mm, area, start, end)
    else:
        _drop_hugetlb(mm, area, start, end)


def _drop_hugetlb(mm: MemoryMap, area: Vma, start: int, end: int) -> None:
    for va in range(start, end, area.huge_bytes):
        entry = mm.page_table.large.pop(va, None)
        if entry is None or entry.kind is not EntryKind.PRESENT:
            continue
        pool = mm.frames.huge_pools.get(area.huge_bytes)
        if pool is not None and mm.frames.references(entry.pfn) == 1:
            pool.free += 1
        mm.frames.drop(np.array([entry.pfn], dtype=np.uint64))


def _with_shared_tables(area: Vma, start: int, end: int) -> tuple[int, int]:
    """What is told where tables of huge pages may be shared (adjust_range_if_pmd_sharing_possible())."""
    first, last = -(-area.start // LARGEST_SPAN) * LARGEST_SPAN, area.end // LARGEST_SPAN * LARGEST_SPAN
    shareable = VmFlags.VM_HUGETLB in area.flags and area.is_shared and last > first
    if not shareable or end <= first or start >= last:
        return start, end
    if start > first:
        start = start // LARGEST_SPAN * LARGEST_SPAN
    if end < last:
        end = -(-end // LARGEST_SPAN) * LARGEST_SPAN
    return start, end


def _free_tables(mm: MemoryMap, start: int, end: int) -> None:
    """Free page-table pages around [start, end) that no area needs any more (free_pgtables())."""
    floor, ceiling = start // HUGE_BYTES * HUGE_BYTES, -(-end // HUGE_BYTES) * HUGE_BYTES
    for area in mm.vmas.overlapping(floor, ceiling):
        if area.end <= start:
            floor = max(floor, area.end)
        if area.start >= end:
            ceiling = min(ceiling, area.start)
    mm.page_table.free_tables(floor, ceiling)


def _drop_objects(mm: MemoryMap, areas: list[Vma]) -> None:
    for area in areas:
        if area.shared is not None and area.shared.users == 0 and not area.shared.lasts:
            mm.frames.drop(np.array(list(area.shared.pages.values()), dtype=np.uint64))
            area.shared.pages.clear()
