# SPDX-License-Identifier: Apache-2.0
"""Getting at pages from the kernel's side, and giving them to a device alone.

Source: docs/host.md, "Operations"; mm/gup.c, make_device_exclusive_range() of mm/rmap.c, as in Linux 6.1 and 6.12.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from models.arrays import PAGE_BYTES
from models.hmm.errors import HmmError
from models.hmm.fault import FaultResult, handle_mm_fault
from models.hmm.frames import HUGE_BYTES, HUGE_PAGES
from models.hmm.notifiers import InvalidateEvent
from models.hmm.operations.huge import split_entry
from models.hmm.page_table import CpuEntry, EntryFlags, EntryKind
from models.hmm.reverse_map import Folio, cached_at, change_entries, folio_of
from models.hmm.vma import Vma, VmFlags

if TYPE_CHECKING:
    from models.hmm.memory_map import MemoryMap

MOST_FAULTS = 16
"""A fault that has to be taken more often for one page makes no progress."""


async def get_page(mm: MemoryMap, va: int, *, write: bool, force: bool = False, split: bool = False) -> int:
    """Fault a page in as far as an access needs it, and return its pfn (get_user_pages()).

    `force`: what the area does not allow is done all the same, on a private copy. `split`: a huge entry is split first.
    The mmap lock is held for reading. Errors: HmmError EFAULT (there is no page to be had), EHWPOISON, ENOMEM.
    """
    area = mm.vmas.find(va)
    wanted = VmFlags.VM_WRITE if write else VmFlags.VM_READ
    if area is None or area.flags & (VmFlags.VM_IO | VmFlags.VM_PFNMAP):
        raise HmmError("EFAULT", "no page can be had here", va)
    forced = wanted not in area.flags
    if forced and not (force and (area.copy_on_write or not write)):
        raise HmmError("EFAULT", "the area does not allow it", va)
    for _ in range(MOST_FAULTS):
        entry = _entry(mm, area, va)
        if entry is not None and entry.huge and split and VmFlags.VM_HUGETLB not in area.flags:
            await split_entry(mm, va)
            continue
        if entry is not None and _fits(mm, entry, write, forced):
            return entry.pfn
        if forced and write:
            area.flags |= VmFlags.VM_WRITE
        try:
            result = await handle_mm_fault(mm, area, va, write=write)
        finally:
            if forced and write:
                area.flags &= ~VmFlags.VM_WRITE
        if forced and write:
            _protect_again(mm, va)
        if result is FaultResult.HWPOISON:
            raise HmmError("EHWPOISON", "the page was lost", va)
        if result is not FaultResult.DONE:
            raise HmmError("ENOMEM" if result is FaultResult.OOM else "EFAULT", "no page can be had here", va)
    raise HmmError("EFAULT", "faults make no progress", va)


def _entry(mm: MemoryMap, area: Vma, va: int) -> CpuEntry | None:
    if VmFlags.VM_HUGETLB in area.flags:
        first = va // area.huge_bytes * area.huge_bytes
        large = mm.page_table.large.get(first)
        if large is None or large.kind is not EntryKind.PRESENT:
            return None
        return CpuEntry(large.kind, large.flags, large.pfn + (va - first) // PAGE_BYTES, huge=True)
    entry = mm.page_table.lookup(va)
    return entry if entry.kind is EntryKind.PRESENT else None


def _fits(mm: MemoryMap, entry: CpuEntry, write: bool, forced: bool) -> bool:
    if EntryFlags.PROTNONE in entry.flags and not forced:
        return False
    if not write or entry.writable:
        return True
    return forced and EntryFlags.SPECIAL not in entry.flags and mm.frames.is_exclusive(entry.pfn)


def _protect_again(mm: MemoryMap, va: int) -> None:
    """A page that was copied by force is not writable for the CPU (maybe_mkwrite())."""
    entry = mm.page_table.lookup(va)
    if entry.kind is EntryKind.PRESENT and entry.writable and not entry.huge:
        mm.page_table.set(va, entry.kind, entry.pfn, entry.flags & ~EntryFlags.WRITABLE)


async def populate(mm: MemoryMap, start: int, end: int, *, write: bool) -> None:
    """Fault every page of [start, end) in (populate_vma_page_range()). Errors: as get_page()."""
    va = start
    while va < end:
        await get_page(mm, va, write=write)
        area = mm.vmas.find(va)
        assert area is not None
        entry = _entry(mm, area, va)
        step = PAGE_BYTES
        if entry is not None and entry.huge:
            step = area.huge_bytes if VmFlags.VM_HUGETLB in area.flags else HUGE_BYTES
        va = va // step * step + step


async def make_device_exclusive_range(mm: MemoryMap, start: int, end: int, owner: object) -> list[int]:
    """Take the CPU's access to pages away, so that a device has them for itself; `owner` is told to the notifiers.

    The mmap lock is held for reading. Returns the addresses of the pages that could be had. Errors: as get_page(), if
    not even the first page can be had.
    """
    pages: list[tuple[int, int]] = []
    for va in range(start, end, PAGE_BYTES):
        try:
            pages.append((va, await get_page(mm, va, write=True, split=True)))
        except HmmError:
            if not pages:
                raise
            break
    done = []
    for va, pfn in pages:
        folio = folio_of(mm.frames, pfn)
        if cached_at(mm.frames, folio.first) is not None or mm.frames.folio_of(pfn)[1] == HUGE_PAGES:
            folio = Folio(pfn, 1)
        if cached_at(mm.frames, pfn) is not None or mm.frames.pagemap_of(pfn) is not None:
            continue
        if pfn == mm.frames.zero_pfn:
            continue
        await change_entries(mm.frames, folio, _take_away, event=InvalidateEvent.EXCLUSIVE, owner=owner)
        if mm.page_table.lookup(va).kind is EntryKind.EXCLUSIVE:
            done.append(va)
    return done


def _take_away(mm: MemoryMap, va: int, entry: CpuEntry) -> None:
    mm.page_table.set(va, EntryKind.EXCLUSIVE, entry.pfn, entry.flags & ~EntryFlags.DIRTY)
