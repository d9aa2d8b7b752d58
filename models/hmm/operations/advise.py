# SPDX-License-Identifier: Apache-2.0
"""madvise(): each advice with its own steps. Source: docs/host.md, "Operations"; mm/madvise.c of Linux 6.1 and 6.12."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from models.arrays import PAGE_BYTES
from models.hmm.errors import HmmError
from models.hmm.frames import HUGE_BYTES, HUGE_PAGES
from models.hmm.notifiers import InvalidateEvent
from models.hmm.operations.exclusive import get_page, populate
from models.hmm.operations.huge import collapse, cut_area, is_whole, mapped_by, split_folio
from models.hmm.operations.merge import unmerge
from models.hmm.operations.objects import punch_hole
from models.hmm.operations.reclaim import memory_failure, page_out, soft_offline
from models.hmm.operations.unmap import zap_told
from models.hmm.page_table import EntryFlags, EntryKind
from models.hmm.reverse_map import Folio, folio_of
from models.hmm.system_calls import Advice
from models.hmm.vma import Backing, Vma, VmFlags

if TYPE_CHECKING:
    from models.hmm.memory_map import MemoryMap

SET: dict[Advice, VmFlags] = {
    Advice.MADV_HUGEPAGE: VmFlags.VM_HUGEPAGE,
    Advice.MADV_NOHUGEPAGE: VmFlags.VM_NOHUGEPAGE,
    Advice.MADV_MERGEABLE: VmFlags.VM_MERGEABLE,
}
CLEARED: dict[Advice, VmFlags] = {
    Advice.MADV_HUGEPAGE: VmFlags.VM_NOHUGEPAGE,
    Advice.MADV_NOHUGEPAGE: VmFlags.VM_HUGEPAGE,
    Advice.MADV_UNMERGEABLE: VmFlags.VM_MERGEABLE,
}
WITHOUT_EFFECT = (
    Advice.MADV_NORMAL, Advice.MADV_RANDOM, Advice.MADV_SEQUENTIAL, Advice.MADV_WILLNEED, Advice.MADV_DONTFORK,
    Advice.MADV_DOFORK, Advice.MADV_DONTDUMP, Advice.MADV_DODUMP, Advice.MADV_WIPEONFORK, Advice.MADV_KEEPONFORK,
)  # fmt: skip
"""Advice after which no entry is another one."""


async def madvise(mm: MemoryMap, start: int, end: int, advice: Advice) -> None:
    """Follow an advice on [start, end).

    Errors: HmmError EINVAL (it does not fit an area), ENOMEM (something in the range is not mapped; the rest is done),
    EFAULT, EHWPOISON.
    """
    if advice in (Advice.MADV_HWPOISON, Advice.MADV_SOFT_OFFLINE):
        await _inject(mm, start, end, advice)
        return
    changes_areas = advice in SET or advice in CLEARED
    async with mm.mmap_lock.write() if changes_areas else mm.mmap_lock.read():
        reached = start
        gap = False
        for found in mm.vmas.overlapping(start, end):
            gap |= found.start > reached
            first, last = max(start, found.start), min(end, found.end)
            await _advise_area(mm, found, first, last, advice)
            reached = last
        if changes_areas:
            mm.vmas.merge_around(start, end)
    if gap or reached < end:
        raise HmmError("ENOMEM", f"{reached:#x} is not mapped")


async def _advise_area(mm: MemoryMap, area: Vma, start: int, end: int, advice: Advice) -> None:
    if advice in SET or advice in CLEARED:
        await _change_flags(mm, area, start, end, advice)
    elif advice in (Advice.MADV_DONTNEED, Advice.MADV_DONTNEED_LOCKED):
        await _dont_need(mm, area, start, end, advice)
    elif advice is Advice.MADV_FREE:
        await _free(mm, area, start, end)
    elif advice in (Advice.MADV_COLD, Advice.MADV_PAGEOUT):
        if area.flags & (VmFlags.VM_LOCKED | VmFlags.VM_PFNMAP | VmFlags.VM_HUGETLB):
            raise HmmError("EINVAL", "pages here are on no list")
        if advice is Advice.MADV_PAGEOUT:
            await page_out(mm, area, start, end)
        else:
            await _split_partly(mm, start, end)
    elif advice is Advice.MADV_REMOVE:
        if not area.is_shared or area.shared is None or area.shared.kind is Backing.DRIVER:
            raise HmmError("EINVAL", "only shared memory of a file can be removed")
        await punch_hole(mm.frames, area.shared, area.object_page(start), area.object_page(end))
    elif advice in (Advice.MADV_POPULATE_READ, Advice.MADV_POPULATE_WRITE):
        await populate(mm, start, end, write=advice is Advice.MADV_POPULATE_WRITE)
    elif advice is Advice.MADV_COLLAPSE:
        for va in range(-(-start // HUGE_BYTES) * HUGE_BYTES, end - HUGE_BYTES + 1, HUGE_BYTES):
            await collapse(mm, va)
    elif advice not in WITHOUT_EFFECT:
        raise HmmError("EINVAL", f"{advice.name} is not known")


async def _change_flags(mm: MemoryMap, area: Vma, start: int, end: int, advice: Advice) -> None:
    flags = (area.flags | SET.get(advice, VmFlags.VM_NONE)) & ~CLEARED.get(advice, VmFlags.VM_NONE)
    if flags == area.flags:
        return
    if advice is Advice.MADV_UNMERGEABLE and area.anonymous_pages:
        await unmerge(mm, area, start, end)
    await cut_area(mm, start)
    await cut_area(mm, end)
    piece = mm.vmas.find(start)
    assert piece is not None
    piece.flags = flags


async def _dont_need(mm: MemoryMap, area: Vma, start: int, end: int, advice: Advice) -> None:
    """Drop pages (madvise_dontneed_single_vma())."""
    if VmFlags.VM_HUGETLB in area.flags:
        if start % area.huge_bytes:
            raise HmmError("EINVAL", "huge pages can only be dropped whole")
        end = end // area.huge_bytes * area.huge_bytes
    elif VmFlags.VM_PFNMAP in area.flags:
        raise HmmError("EINVAL", "the area is special")
    elif VmFlags.VM_LOCKED in area.flags and advice is Advice.MADV_DONTNEED:
        raise HmmError("EINVAL", "the area is locked")
    if start < end:
        await zap_told(mm, area, start, end)


async def _free(mm: MemoryMap, area: Vma, start: int, end: int) -> None:
    """The content need not be kept: what is in swap goes at once (madvise_free_single_vma())."""
    if area.shared is not None or area.flags & (VmFlags.VM_LOCKED | VmFlags.VM_PFNMAP):
        raise HmmError("EINVAL", "only anonymous memory can be freed")
    async with mm.invalidation(start, end, InvalidateEvent.CLEAR):
        await _split_partly(mm, start, end)
        for span in mm.page_table.mapped_spans(start, end):
            table = span.table
            assert table is not None
            kind = table.kind[span.part]
            gone = np.isin(kind, (EntryKind.SWAP, EntryKind.HWPOISON))
            table.clear(np.flatnonzero(gone) + span.part.start)
            table.flags[span.part] &= ~np.uint8(EntryFlags.DIRTY)


async def _split_partly(mm: MemoryMap, start: int, end: int) -> None:
    """Split the huge pages of which only a part lies in the range, if nobody else maps them."""
    for span in mm.page_table.mapped_spans(start, end):
        assert span.table is not None
        whole = span.table.huge and is_whole(span.start, span.end)
        heads = {mm.frames.folio_of(int(pfn)) for pfn in span.table.pfn[span.part][span.table.counted(span.part)]}
        for first, pages in heads:
            if pages == HUGE_PAGES and not whole and mapped_by(mm.frames, Folio(first, pages)) == 1:
                await split_folio(mm.frames, first)


async def _inject(mm: MemoryMap, start: int, end: int, advice: Advice) -> None:
    """Lose pages, or use them no more, on purpose (madvise_inject_error())."""
    va = start
    while va < end:
        async with mm.mmap_lock.read():
            pfn = await get_page(mm, va, write=False)
        step = folio_of(mm.frames, pfn).pages * PAGE_BYTES
        if advice is Advice.MADV_HWPOISON:
            await memory_failure(mm.frames, pfn)
        else:
            await soft_offline(mm.frames, pfn)
        va += step
