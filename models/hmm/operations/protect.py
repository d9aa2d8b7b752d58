# SPDX-License-Identifier: Apache-2.0
"""Changing what entries permit: mprotect(), userfaultfd's write protection, hints for NUMA, soft-dirty tracking.

Source: docs/host.md, "Operations"; mm/mprotect.c, hugetlb_change_protection() of mm/hugetlb.c, clear_refs_write() of
fs/proc/task_mmu.c, as in Linux 6.1 and 6.12.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from models.hmm.errors import HmmError
from models.hmm.notifiers import LAST_BYTE, InvalidateEvent
from models.hmm.operations.huge import cut_area, is_whole, split_entry
from models.hmm.page_table import DIRECTORY_SHIFTS, EntryFlags, EntryKind, LargeEntry, LeafTable
from models.hmm.system_calls import Prot, protection_flags
from models.hmm.vma import Vma, VmFlags

if TYPE_CHECKING:
    from models.hmm.memory_map import MemoryMap

PROTECTION_FLAGS = VmFlags.VM_READ | VmFlags.VM_WRITE | VmFlags.VM_EXEC
AWAY_WITH_PERMISSION = (EntryKind.MIGRATION, EntryKind.DEVICE_PRIVATE, EntryKind.EXCLUSIVE)


@dataclass(frozen=True)
class Change:
    """What changes, besides that entries follow their area (the flags MM_CP_* of change_protection()).

    `upgrade`: entries may become writable at once. `protect`, `release`: userfaultfd's write protection comes, goes.
    `hint`: the CPU may not use the pages any more, to learn who does.
    """

    upgrade: bool = False
    protect: bool = False
    release: bool = False
    hint: bool = False


async def mprotect(mm: MemoryMap, start: int, end: int, prot: Prot) -> None:
    """Change the protection of [start, end); the mmap lock is held for writing.

    Errors: HmmError ENOMEM (something in it is not mapped), EACCES (PROT_WRITE where it may never be); what lies before
    has changed then.
    """
    reached = start
    for found in mm.vmas.overlapping(start, end):
        if found.start > reached:
            break
        if Prot.PROT_WRITE in prot and VmFlags.VM_MAYWRITE not in found.flags:
            raise HmmError("EACCES", "an area in the range may never be written")
        reached = found.end
        flags = found.flags & ~PROTECTION_FLAGS | protection_flags(prot)
        if flags == found.flags:
            continue
        first, last = max(start, found.start), min(end, found.end)
        await cut_area(mm, first)
        await cut_area(mm, last)
        area = mm.vmas.find(first)
        assert area is not None
        area.flags = flags
        await change_protection(mm, area, first, last, Change(upgrade=VmFlags.VM_WRITE in flags))
    mm.vmas.merge_around(start, end)
    if reached < end:
        raise HmmError("ENOMEM", f"{reached:#x} is not mapped")


async def change_protection(mm: MemoryMap, area: Vma, start: int, end: int, change: Change) -> None:
    """Bring the entries of [start, end) in line with their area."""
    if VmFlags.VM_HUGETLB in area.flags:
        async with mm.invalidation(start, end, InvalidateEvent.PROTECTION_VMA):
            _change_hugetlb(mm, area, start, end, change)
        return
    if change.protect and area.shared is not None:
        # The tables have to be there for the markers of what is not mapped.
        for va in range(start, end, 1 << DIRECTORY_SHIFTS[0]):
            mm.page_table.ensure_directories(va)
        for span in mm.page_table.spans(start, end):
            mm.page_table.ensure_table(span.start)
    for first, last in _told_ranges(mm, start, end):
        async with mm.invalidation(first, last, InvalidateEvent.PROTECTION_VMA):
            for span in mm.page_table.mapped_spans(first, last):
                table = span.table
                assert table is not None
                if table.huge and (not is_whole(span.start, span.end) or (change.protect and area.shared is not None)):
                    await split_entry(mm, span.start)
                    table = mm.page_table.table(span.start)
                if table is not None:
                    _change_table(mm, area, table, span.part, change)
                await mm.host.pause("mm: protect next table")


def _told_ranges(mm: MemoryMap, start: int, end: int) -> list[tuple[int, int]]:
    """The ranges that a change of [start, end) is told in: each piece from its first table or entry on."""
    piece = DIRECTORY_SHIFTS[1 if mm.rules.protection_told_by_directory else 0]
    ranges = []
    while start < end:
        last = min(end, ((start >> piece) + 1) << piece)
        first = _first_populated(mm, start, last)
        if first is not None:
            ranges.append((first, last))
        start = last
    return ranges


def _first_populated(mm: MemoryMap, start: int, end: int) -> int | None:
    if mm.rules.protection_told_by_directory:
        shift = DIRECTORY_SHIFTS[0]
        numbers = range(start >> shift, ((end - 1) >> shift) + 1)
        return next((max(start, n << shift) for n in numbers if mm.page_table.has_directory(n << shift, shift)), None)
    mapped = mm.page_table.mapped_spans(start, end)
    return mapped[0].start if mapped else None


def _change_hugetlb(mm: MemoryMap, area: Vma, start: int, end: int, change: Change) -> None:
    for va in range(start, end, area.huge_bytes):
        entry = mm.page_table.large.get(va)
        if entry is None or entry.kind not in (EntryKind.PRESENT, EntryKind.MIGRATION):
            continue
        flags = entry.flags & ~(EntryFlags.WRITABLE | EntryFlags.PROTNONE)
        if area.writable_at_once and not change.protect:
            flags |= EntryFlags.WRITABLE
        if change.protect:
            flags |= EntryFlags.UFFD_WP
        if change.release:
            flags &= ~EntryFlags.UFFD_WP
        if not area.accessible:
            flags |= EntryFlags.PROTNONE
        mm.page_table.large[va] = LargeEntry(entry.kind, flags, entry.pfn, entry.order, entry.raw_pfn)


def _change_table(mm: MemoryMap, area: Vma, table: LeafTable, part: slice, change: Change) -> None:
    """Change entries of one page-table page (change_pte_range(), change_huge_pmd())."""
    kind, flags, pfn = table.kind[part], table.flags[part], table.pfn[part]
    writable, uffd = np.uint8(EntryFlags.WRITABLE), np.uint8(EntryFlags.UFFD_WP)
    hidden = np.uint8(EntryFlags.PROTNONE)
    present = kind == EntryKind.PRESENT
    if change.hint:
        flags[present & _may_hint(mm, table, part)] |= hidden
        return
    flags[present] &= ~(writable | hidden)
    if area.writable_at_once:
        flags[present] |= writable
    if not area.accessible:
        flags[present] |= hidden
    flags[np.isin(kind, AWAY_WITH_PERMISSION)] &= ~writable
    if change.protect:
        flags[present] = flags[present] & ~writable | uffd
        flags[kind == EntryKind.SWAP] |= uffd
        empty = kind == EntryKind.NONE
        if area.shared is not None:
            kind[empty] = EntryKind.MARKER
    if change.release:
        flags[:] &= ~uffd
        kind[kind == EntryKind.MARKER] = EntryKind.NONE
    if change.upgrade or (change.release and not mm.rules.private_upgrade_needs_dirty):
        for index in np.flatnonzero(present & ((flags & writable) == 0)):
            if _may_upgrade(mm, area, EntryFlags(int(flags[index])), int(pfn[index])):
                flags[index] |= writable


def _may_hint(mm: MemoryMap, table: LeafTable, part: slice) -> np.ndarray:
    """bool[n]: entries that may be hidden: of a page that nobody else has, in the memory of another node."""
    wanted = [mm.frames.is_far(int(pfn)) for pfn in table.pfn[part]]
    alone = [far and mm.frames.references(int(pfn)) == 1 for far, pfn in zip(wanted, table.pfn[part], strict=True)]
    return table.counted(part) & np.array(alone, dtype=np.bool_)


def _may_upgrade(mm: MemoryMap, area: Vma, flags: EntryFlags, pfn: int) -> bool:
    """Whether an entry may become writable without a fault (can_change_pte_writable())."""
    if VmFlags.VM_WRITE not in area.flags or flags & (EntryFlags.PROTNONE | EntryFlags.TRACKED | EntryFlags.UFFD_WP):
        return False
    dirty = EntryFlags.DIRTY in flags
    if area.is_shared:
        return dirty
    if mm.rules.private_upgrade_needs_dirty and not dirty:
        return False
    if EntryFlags.SPECIAL in flags or not mm.frames.is_exclusive(pfn):
        return False
    return area.shared is None or pfn not in area.shared.pages.values()


async def clear_soft_dirty(mm: MemoryMap, *, tracked: bool) -> None:
    """Forget which pages were written (clear_refs with 4). `tracked`: the kernel can see writes that way."""
    async with mm.mmap_lock.write(), mm.invalidation(0, LAST_BYTE, InvalidateEvent.SOFT_DIRTY):
        if not tracked:
            return
        for area in mm.vmas:
            for span in mm.page_table.mapped_spans(area.start, area.end):
                assert span.table is not None
                kind, flags = span.table.kind[span.part], span.table.flags[span.part]
                present = kind == EntryKind.PRESENT
                flags[present] &= ~np.uint8(EntryFlags.WRITABLE | EntryFlags.DIRTY)
                flags[kind != EntryKind.NONE] |= np.uint8(EntryFlags.TRACKED)
