# SPDX-License-Identifier: Apache-2.0
"""What the kernel does when an access finds no fitting page-table entry (handle_mm_fault(), mm/memory.c).

Source: docs/host.md, "Page faults"; the kernel functions named at each step.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from models.arrays import PAGE_BYTES
from models.hmm.errors import HmmError
from models.hmm.fault_anonymous import map_anonymous, swap_in, write_huge, write_protected
from models.hmm.fault_file import map_object_page
from models.hmm.fault_hugetlb import hugetlb_fault
from models.hmm.fault_result import FaultResult
from models.hmm.frames import HUGE_BYTES, HUGE_PAGES
from models.hmm.migration import wait_for_migration
from models.hmm.notifiers import InvalidateEvent
from models.hmm.page_table import CpuEntry, EntryFlags, EntryKind
from models.hmm.vma import Vma, VmFlags

if TYPE_CHECKING:
    from models.hmm.memory_map import MemoryMap

__all__ = ["FaultResult", "handle_mm_fault"]

PAGE_MASK = -PAGE_BYTES
KEEPS_READ_ONLY = EntryFlags.TRACKED | EntryFlags.UFFD_WP


async def handle_mm_fault(mm: MemoryMap, vma: Vma, va: int, *, write: bool, may_wait: bool = True) -> FaultResult:
    """Try to make the page of `va` in `vma` fit for a read or a write. The mmap lock is held for reading.

    With `may_wait` False it does not wait for others: it drops the mmap lock instead and returns RETRY. DONE does not
    promise that the entry fits: a write may need a second fault.
    """
    page = va & PAGE_MASK
    mm.faults_begun += 1
    await mm.host.pause("fault: begin")
    if write and VmFlags.VM_WRITE not in vma.flags:
        return FaultResult.SIGSEGV
    try:
        if VmFlags.VM_HUGETLB in vma.flags:
            return await hugetlb_fault(mm, vma, page, write)
        mm.page_table.ensure_directories(page)
        entry = mm.page_table.lookup(page)
        if entry.kind is EntryKind.MIGRATION:
            return await _wait(mm, entry, may_wait)
        if entry.huge:
            return await _huge_fault(mm, vma, page, entry, write)
        return await _small_fault(mm, vma, page, entry, write)
    except HmmError as error:
        if error.errno != "ENOMEM":
            raise
        return FaultResult.OOM


async def _wait(mm: MemoryMap, entry: CpuEntry, may_wait: bool) -> FaultResult:
    if not may_wait:
        mm.mmap_lock.release_read()
        return FaultResult.RETRY
    await wait_for_migration(mm.frames, entry.pfn)
    return FaultResult.DONE


async def _huge_fault(mm: MemoryMap, vma: Vma, page: int, entry: CpuEntry, write: bool) -> FaultResult:
    """A fault in a 2 MiB entry (the upper half of __handle_mm_fault())."""
    if entry.kind is not EntryKind.PRESENT:
        return FaultResult.SIGBUS
    if EntryFlags.PROTNONE in entry.flags and vma.accessible:
        return await _hinted_huge(mm, vma, page, entry)
    if not write or entry.writable:
        return FaultResult.DONE
    result = await write_huge(mm, vma, page, entry)
    if result is not None:
        return result
    # The entry was split, or is gone: the page alone is looked at.
    entry = mm.page_table.lookup(page)
    if entry.huge:
        return FaultResult.DONE
    return await _small_fault(mm, vma, page, entry, write)


async def _small_fault(mm: MemoryMap, vma: Vma, page: int, entry: CpuEntry, write: bool) -> FaultResult:
    """A fault in a page-table page or a hole (handle_pte_fault())."""
    if entry.kind is EntryKind.PRESENT:
        if EntryFlags.PROTNONE in entry.flags and vma.accessible:
            return await _hinted(mm, vma, page, entry)
        if write and not entry.writable:
            return await write_protected(mm, vma, page, entry)
        return FaultResult.DONE
    if entry.kind is EntryKind.SWAP:
        return await swap_in(mm, vma, page, entry, write)
    if entry.kind is EntryKind.DEVICE_PRIVATE:
        return await _migrate_to_ram(mm, vma, page, entry.pfn)
    if entry.kind is EntryKind.EXCLUSIVE:
        return await _make_shared(mm, vma, page, entry)
    if entry.kind is EntryKind.HWPOISON:
        return FaultResult.HWPOISON
    if entry.kind is EntryKind.UNKNOWN:
        return FaultResult.SIGBUS
    protected = entry.kind is EntryKind.MARKER
    if protected:
        anonymous = vma.shared is None
        if VmFlags.VM_UFFD_WP not in vma.flags or (anonymous and not mm.rules.marker_on_anonymous):
            # A marker that nobody needs any more goes away; the access comes again.
            mm.page_table.set(page, EntryKind.NONE, 0)
            return FaultResult.DONE
    if vma.shared is None:
        return map_anonymous(mm, vma, page, write, protected)
    return map_object_page(mm, vma, page, write, protected)


async def _hinted(mm: MemoryMap, vma: Vma, page: int, entry: CpuEntry) -> FaultResult:
    """The CPU came to a page that was hidden to learn who uses it (do_numa_page()).

    A page of another node moves to the CPU's, which its own process's mirrors are told (migrate_misplaced_page()).
    """
    may_write = VmFlags.VM_WRITE in vma.flags
    writable = entry.writable and may_write
    special = EntryFlags.SPECIAL in entry.flags
    if not special and mm.frames.is_far(entry.pfn):
        old, new = np.array([entry.pfn], dtype=np.uint64), mm.frames.system.allocate()
        mm.frames.copy(entry.pfn, new)
        async with mm.invalidation(page, page + PAGE_BYTES, InvalidateEvent.CLEAR):
            same = mm.page_table.lookup(page) == entry
            if same:
                mm.page_table.set(page, EntryKind.PRESENT, new, _write_flag(writable))
        mm.frames.drop(old if same else np.array([new], dtype=np.uint64))
        return FaultResult.DONE
    if mm.rules.hint_restores_write and not special and vma.shared is None:
        writable = may_write and mm.frames.references(entry.pfn) == 1 and not entry.flags & KEEPS_READ_ONLY
    mm.page_table.set(page, EntryKind.PRESENT, entry.pfn, entry.flags & EntryFlags.SPECIAL | _write_flag(writable))
    return FaultResult.DONE


async def _hinted_huge(mm: MemoryMap, vma: Vma, page: int, entry: CpuEntry) -> FaultResult:
    """The same for a 2 MiB entry (do_huge_pmd_numa_page())."""
    first = page // HUGE_BYTES * HUGE_BYTES
    table = mm.page_table.table(page)
    assert table is not None
    old = table.pfn.copy()
    flags = _write_flag(entry.writable and VmFlags.VM_WRITE in vma.flags) | entry.flags & EntryFlags.SPECIAL
    if EntryFlags.SPECIAL not in entry.flags and mm.frames.is_far(int(old[0])):
        new = mm.frames.allocate_huge()
        async with mm.invalidation(first, first + HUGE_BYTES, InvalidateEvent.CLEAR):
            same = mm.page_table.lookup(page) == entry
            if same:
                for source, target in zip(old, range(new, new + HUGE_PAGES), strict=True):
                    mm.frames.copy(int(source), target)
                mm.page_table.set_huge(first, new, flags)
        mm.frames.drop(old if same else np.arange(new, new + HUGE_PAGES, dtype=np.uint64))
        return FaultResult.DONE
    if mm.rules.hint_restores_write and vma.shared is None and VmFlags.VM_WRITE in vma.flags and not flags:
        flags = _write_flag(all(mm.frames.references(int(pfn)) == 1 for pfn in old))
    table.flags[:] = flags
    return FaultResult.DONE


def _write_flag(writable: bool) -> EntryFlags:
    return EntryFlags.WRITABLE if writable else EntryFlags.NONE


async def _make_shared(mm: MemoryMap, vma: Vma, page: int, entry: CpuEntry) -> FaultResult:
    """Take a page back that a device had for itself (remove_device_exclusive_entry())."""
    async with mm.invalidation(page, page + PAGE_BYTES, InvalidateEvent.EXCLUSIVE):
        if mm.page_table.lookup(page) == entry:
            flags = _write_flag(entry.writable and VmFlags.VM_WRITE in vma.flags) | entry.flags & EntryFlags.UFFD_WP
            mm.page_table.set(page, EntryKind.PRESENT, entry.pfn, flags)
    return FaultResult.DONE


async def _migrate_to_ram(mm: MemoryMap, vma: Vma, page: int, pfn: int) -> FaultResult:
    """Ask the device for the page back (the device-private part of do_swap_page())."""
    pagemap = mm.frames.pagemap_of(pfn)
    if pagemap is None or pagemap.migrate_to_ram is None:
        return FaultResult.SIGBUS
    try:
        await pagemap.migrate_to_ram(mm, vma, page)
    except HmmError as error:
        return FaultResult.OOM if error.errno == "ENOMEM" else FaultResult.SIGBUS
    return FaultResult.DONE
