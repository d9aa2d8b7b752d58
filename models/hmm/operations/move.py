# SPDX-License-Identifier: Apache-2.0
"""mremap(): shrink, grow in place, move. Source: docs/host.md, "Operations"; mm/mremap.c of Linux 6.1 and 6.12."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from models.hmm.errors import HmmError
from models.hmm.frames import HUGE_BYTES
from models.hmm.notifiers import InvalidateEvent
from models.hmm.operations.huge import split_entry
from models.hmm.operations.merge import unmerge
from models.hmm.operations.unmap import unmap
from models.hmm.page_table import LargeEntry
from models.hmm.system_calls import RemapFlags
from models.hmm.vma import Vma, VmFlags

if TYPE_CHECKING:
    from models.hmm.memory_map import MemoryMap


async def mremap(mm: MemoryMap, old: int, old_length: int, new_length: int, flags: RemapFlags, new: int) -> int:
    """Shrink, grow or move the mapping of [old, old + old_length); the mmap lock is held for writing.

    `new`: where it goes with MREMAP_FIXED; else, if above 0, where the kernel is known to have put it. Returns its
    address. Errors: HmmError EFAULT (not one mapping), EINVAL (huge pages that were set aside, in part), ENOMEM.
    """
    fixed, stays = RemapFlags.MREMAP_FIXED in flags, RemapFlags.MREMAP_DONTUNMAP in flags
    end = old + old_length
    area = mm.vmas.find(old)
    if area is None:
        raise HmmError("EFAULT", "the old range is not mapped")
    if fixed:
        await unmap(mm, new, new + new_length)
    if new_length < old_length:
        await unmap(mm, old + new_length, end)
        old_length, end = new_length, old + new_length
    if not fixed and not stays and new_length == old_length:
        return old
    area = mm.vmas.find(old)
    if area is None or not area.contains(old, end):
        raise HmmError("EFAULT", "the old range is not one mapping")
    if not fixed and not stays and new in (0, old) and _grow(mm, area, end, old + new_length):
        return old
    if RemapFlags.MREMAP_MAYMOVE not in flags:
        raise HmmError("ENOMEM", "the mapping cannot grow in place")
    if not fixed and (not new or mm.vmas.overlapping(new, new + new_length)):
        new = mm.free_place(new_length)
    await _move(mm, area, old, old_length, new, new_length, stays=stays)
    return new


def _grow(mm: MemoryMap, area: Vma, end: int, grown_end: int) -> bool:
    """Let an area become longer at its end, if nothing is in the way; whether it did."""
    if end != area.end or mm.vmas.overlapping(end, grown_end) or grown_end > mm.highest:
        return False
    mm.vmas.insert(replace(area, start=end, end=grown_end, offset=area.object_page(end)))
    return True


async def _move(mm: MemoryMap, area: Vma, old: int, old_length: int, new: int, new_length: int, *, stays: bool) -> None:
    """Move entries to a copy of the area, and unmap where they were (move_vma())."""
    if VmFlags.VM_MERGEABLE in area.flags:
        await unmerge(mm, area, old, old + old_length)
    moved = replace(area, start=new, end=new + new_length, offset=area.object_page(old))
    mm.vmas.insert(moved, merge=False)
    hugetlb = VmFlags.VM_HUGETLB in area.flags
    event = InvalidateEvent.CLEAR if hugetlb else InvalidateEvent.UNMAP
    async with mm.invalidation(old, old + old_length, event):
        await _move_entries(mm, area, old, old + old_length, new - old)
    if not stays:
        await unmap(mm, old, old + old_length)


async def _move_entries(mm: MemoryMap, area: Vma, start: int, end: int, shift: int) -> None:
    """Move page-table entries (move_page_tables(), move_hugetlb_page_tables())."""
    if VmFlags.VM_HUGETLB in area.flags:
        for va in range(start, end, area.huge_bytes):
            entry: LargeEntry | None = mm.page_table.large.pop(va, None)
            if entry is not None:
                mm.page_table.ensure_directories(va + shift)
                mm.page_table.large[va + shift] = entry
        return
    for span in mm.page_table.mapped_spans(start, end):
        assert span.table is not None
        if span.table.huge and (shift % HUGE_BYTES or span.end - span.start != HUGE_BYTES):
            await split_entry(mm, span.start)
        mm.page_table.move(span.start, span.start + shift, span.end - span.start)
        await mm.host.pause("mm: move next table")
