# SPDX-License-Identifier: Apache-2.0
"""Merging equal pages, and taking them apart again (mm/ksm.c of Linux 6.1 and 6.12).

Which pages are equal is known of those that were filled with one byte. Source: docs/host.md, "Operations".
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from models.arrays import PAGE_BYTES
from models.hmm.fault import handle_mm_fault
from models.hmm.frames import HUGE_PAGES, Frames
from models.hmm.notifiers import InvalidateEvent
from models.hmm.operations.huge import split_folio
from models.hmm.page_table import EntryFlags, EntryKind
from models.hmm.vma import Vma, VmFlags

if TYPE_CHECKING:
    from models.hmm.memory_map import MemoryMap


async def merge_equal_pages(frames: Frames) -> None:
    """What the merging thread does when it has seen everything twice (ksm_do_scan()).

    The second page of each content becomes the one that stays; the first, then all later ones are mapped to it.
    """
    waiting: dict[int, tuple[MemoryMap, int]] = {}
    for mm in list(frames.spaces):
        for area in mm.vmas:
            if VmFlags.VM_MERGEABLE not in area.flags:
                continue
            for va in _candidates(mm, area):
                await _merge_page(frames, mm, va, waiting)


def _candidates(mm: MemoryMap, area: Vma) -> list[int]:
    found: list[int] = []
    for span in mm.page_table.mapped_spans(area.start, area.end):
        assert span.table is not None
        usable = span.table.counted(span.part) & (span.table.kind[span.part] == EntryKind.PRESENT)
        found.extend(span.start + int(index) * PAGE_BYTES for index in np.flatnonzero(usable))
    return found


async def _merge_page(frames: Frames, mm: MemoryMap, va: int, waiting: dict[int, tuple[MemoryMap, int]]) -> None:
    pfn = mm.page_table.lookup(va).pfn
    byte = frames.fills.get(pfn)
    if byte is None or pfn in frames.merged:
        return
    first, pages = frames.folio_of(pfn)
    if pages == HUGE_PAGES:
        await split_folio(frames, first)
    kept = next((page for page, content in frames.merged.items() if content == byte), None)
    if kept is None and byte not in waiting:
        waiting[byte] = (mm, va)
        return
    await _write_protect(mm, va)
    if kept is not None:
        await _replace(frames, mm, va, kept)
        return
    frames.merged[pfn] = byte
    # The thread that merges knows the page, so it is never one process's own.
    frames.take(np.array([pfn], dtype=np.uint64))
    other, place = waiting.pop(byte)
    await _write_protect(other, place)
    await _replace(frames, other, place, pfn)


async def _write_protect(mm: MemoryMap, va: int) -> None:
    """Nobody writes to the page while it is compared (write_protect_page())."""
    async with mm.invalidation(va, va + PAGE_BYTES, InvalidateEvent.CLEAR):
        entry = mm.page_table.lookup(va)
        mm.page_table.set(va, entry.kind, entry.pfn, entry.flags & ~(EntryFlags.WRITABLE | EntryFlags.DIRTY))


async def _replace(frames: Frames, mm: MemoryMap, va: int, pfn: int) -> None:
    """Map the page that stays (replace_page())."""
    async with mm.invalidation(va, va + PAGE_BYTES, InvalidateEvent.CLEAR):
        entry = mm.page_table.lookup(va)
        frames.take(np.array([pfn], dtype=np.uint64))
        mm.page_table.set(va, EntryKind.PRESENT, pfn, entry.flags & ~EntryFlags.WRITABLE)
        frames.drop(np.array([entry.pfn], dtype=np.uint64))


async def unmerge(mm: MemoryMap, area: Vma, start: int, end: int) -> None:
    """Give each merged page of [start, end) a copy of its own (unmerge_ksm_pages(), break_ksm())."""
    for va in range(start, end, PAGE_BYTES):
        entry = mm.page_table.lookup(va)
        if entry.kind is not EntryKind.PRESENT or entry.pfn not in mm.frames.merged:
            continue
        await handle_mm_fault(mm, area, va, write=True)
        if mm.rules.unmerge_unshares:
            # What is wanted is a page of its own, not a write.
            new = mm.page_table.lookup(va)
            flags = new.flags & ~(EntryFlags.WRITABLE | EntryFlags.DIRTY)
            mm.page_table.set(va, EntryKind.PRESENT, new.pfn, flags)
