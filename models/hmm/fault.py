# SPDX-License-Identifier: Apache-2.0
"""What the kernel does when an access finds no fitting page-table entry (handle_mm_fault(), mm/memory.c).

Source: docs/host.md, "Page faults"; the kernel functions named at each step.
"""

from __future__ import annotations

from enum import Enum
from typing import TYPE_CHECKING

import numpy as np

from models.arrays import PAGE_BYTES
from models.hmm.errors import HmmError
from models.hmm.frames import HUGE_BYTES, HUGE_PAGES
from models.hmm.migration import wait_for_migration
from models.hmm.notifiers import InvalidateEvent
from models.hmm.page_table import CpuEntry, EntryFlags, EntryKind
from models.hmm.vma import Vma, VmFlags

if TYPE_CHECKING:
    from models.hmm.memory_map import MemoryMap

PAGE_MASK = -PAGE_BYTES


class FaultResult(Enum):
    """How a fault ended (vm_fault_t)."""

    DONE = "look again: the entry may fit now"
    RETRY = "VM_FAULT_RETRY: it would have had to wait; the mmap lock was dropped"
    SIGSEGV = "VM_FAULT_SIGSEGV: the area does not allow the access"
    SIGBUS = "VM_FAULT_SIGBUS: there is no page to be had"
    HWPOISON = "VM_FAULT_HWPOISON: the page was lost to a memory error"
    OOM = "VM_FAULT_OOM: no memory"


async def handle_mm_fault(mm: MemoryMap, vma: Vma, va: int, *, write: bool, may_wait: bool = True) -> FaultResult:
    """Try to make the page of `va` in `vma` fit for a read or a write. The mmap lock is held for reading.

    With `may_wait` False it does not wait for others: it drops the mmap lock instead and returns RETRY.
    """
    page = va & PAGE_MASK
    await mm.host.pause("fault: begin")
    if write and VmFlags.VM_WRITE not in vma.flags:
        return FaultResult.SIGSEGV
    entry = mm.page_table.lookup(page)
    try:
        if entry.kind is EntryKind.HWPOISON:
            return FaultResult.HWPOISON
        if vma.special:
            fits = entry.kind is EntryKind.PRESENT and (entry.writable or not write)
            return FaultResult.DONE if fits else FaultResult.SIGBUS
        if entry.kind is EntryKind.MIGRATION:
            if not may_wait:
                mm.mmap_lock.release_read()
                return FaultResult.RETRY
            await wait_for_migration(mm.frames, entry.pfn)
            return FaultResult.DONE
        if entry.kind is EntryKind.DEVICE_PRIVATE:
            return await _migrate_to_ram(mm, vma, page, entry.pfn)
        if entry.kind is EntryKind.PRESENT:
            if write and not entry.writable:
                await _write_protected(mm, vma, page, entry)
            return FaultResult.DONE
        if VmFlags.VM_SHARED in vma.flags:
            return _map_shared(mm, vma, page)
        _map_anonymous(mm, vma, page, write)
    except HmmError as error:
        if error.errno != "ENOMEM":
            raise
        return FaultResult.OOM
    return FaultResult.DONE


def _map_anonymous(mm: MemoryMap, vma: Vma, page: int, write: bool) -> None:
    """A page where none was: zeros to share for a read, a page of its own for a write (do_anonymous_page())."""
    if _map_huge(mm, vma, page, write):
        return
    if write:
        mm.page_table.set(page, EntryKind.PRESENT, mm.frames.system.allocate(), EntryFlags.WRITABLE)
    else:
        mm.page_table.set(page, EntryKind.PRESENT, mm.frames.zero_pfn, EntryFlags.SPECIAL)


def _map_huge(mm: MemoryMap, vma: Vma, page: int, write: bool) -> bool:
    """A 2 MiB page, if the area allows one and nothing is there (do_huge_pmd_anonymous_page()); whether it was done."""
    first = page // HUGE_BYTES * HUGE_BYTES
    if VmFlags.VM_HUGEPAGE not in vma.flags or not vma.contains(first, first + HUGE_BYTES):
        return False
    if mm.page_table.table(page) is not None:
        return False
    try:
        if write:
            mm.page_table.set_huge(first, mm.frames.system.allocate_huge(), EntryFlags.WRITABLE)
        else:
            mm.page_table.set_huge(first, mm.frames.huge_zero_pfn(), EntryFlags.SPECIAL)
    except HmmError:
        return False  # Small pages will do.
    return True


def _map_shared(mm: MemoryMap, vma: Vma, page: int) -> FaultResult:
    """The page of the object behind shared memory (shmem_fault()); the entry is writable wherever the area is."""
    assert vma.shared is not None
    number = vma.object_page(page)
    pfn = vma.shared.pages.get(number)
    if pfn is None:
        pfn = vma.shared.pages[number] = mm.frames.system.allocate()
    if mm.frames.system.is_poisoned(pfn):
        return FaultResult.HWPOISON
    mm.frames.take(np.array([pfn], dtype=np.uint64))
    writable = EntryFlags.WRITABLE if VmFlags.VM_WRITE in vma.flags else EntryFlags.NONE
    mm.page_table.set(page, EntryKind.PRESENT, pfn, writable)
    return FaultResult.DONE


async def _write_protected(mm: MemoryMap, vma: Vma, page: int, entry: CpuEntry) -> None:
    """A write to a read-only entry of a writable area (do_wp_page(), do_huge_pmd_wp_page())."""
    if entry.huge:
        if await _write_huge(mm, page, entry):
            return
        await mm.split_huge(page)
        entry = mm.page_table.lookup(page)
        if entry.kind is not EntryKind.PRESENT or entry.writable or entry.huge:
            return
    shared = VmFlags.VM_SHARED in vma.flags
    alone = EntryFlags.SPECIAL not in entry.flags and mm.frames.references(entry.pfn) == 1
    if shared or alone:
        # Nobody is told: a mirror that only read stays right.
        mm.page_table.set(page, EntryKind.PRESENT, entry.pfn, entry.flags | EntryFlags.WRITABLE)
        return
    await _copy_on_write(mm, page, entry)


async def _write_huge(mm: MemoryMap, page: int, entry: CpuEntry) -> bool:
    """Make a huge entry writable without splitting it, if that can be; whether it was done."""
    first = page // HUGE_BYTES * HUGE_BYTES
    table = mm.page_table.table(page)
    assert table is not None
    if EntryFlags.SPECIAL not in entry.flags:
        alone = all(mm.frames.references(int(pfn)) == 1 for pfn in table.pfn)
        if alone:
            table.flags |= np.uint8(EntryFlags.WRITABLE)
        return alone
    try:
        pfn = mm.frames.system.allocate_huge()
    except HmmError:
        return False
    async with mm.invalidation(first, first + HUGE_BYTES, InvalidateEvent.CLEAR):
        same = mm.page_table.lookup(page) == entry
        if same:
            mm.page_table.set_huge(first, pfn, EntryFlags.WRITABLE)
    if not same:
        mm.frames.drop(np.arange(pfn, pfn + HUGE_PAGES, dtype=np.uint64))
    return True


async def _copy_on_write(mm: MemoryMap, page: int, entry: CpuEntry) -> None:
    """Give the entry a page of its own with the same bytes (wp_page_copy())."""
    frames = mm.frames
    counted = EntryFlags.SPECIAL not in entry.flags
    old, new = np.array([entry.pfn], dtype=np.uint64), frames.system.allocate()
    if counted:
        frames.take(old)
        await mm.host.pause("fault: copy")
        frames.copy(entry.pfn, new)
    async with mm.invalidation(page, page + PAGE_BYTES, InvalidateEvent.CLEAR):
        same = mm.page_table.lookup(page) == entry
        if same:
            mm.page_table.set(page, EntryKind.PRESENT, new, EntryFlags.WRITABLE)
    if not same:
        frames.drop(np.array([new], dtype=np.uint64))
    if counted:
        # One reference was for the copying; the other was the entry's.
        frames.drop(np.repeat(old, 2 if same else 1))


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
