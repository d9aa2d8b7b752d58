# SPDX-License-Identifier: Apache-2.0
"""Faults in anonymous memory, writes to protected pages, and pages in swap.

Source: docs/host.md, "Page faults"; do_anonymous_page(), do_wp_page(), do_swap_page() of mm/memory.c and
do_huge_pmd_anonymous_page(), do_huge_pmd_wp_page() of mm/huge_memory.c, as in Linux 4.17 to 6.12.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from models.arrays import PAGE_BYTES
from models.hmm.errors import HmmError
from models.hmm.fault_result import FaultResult, Undecided
from models.hmm.frames import HUGE_BYTES, HUGE_PAGES
from models.hmm.notifiers import InvalidateEvent
from models.hmm.page_table import CpuEntry, EntryFlags, EntryKind
from models.hmm.vma import Vma, VmFlags

if TYPE_CHECKING:
    from models.hmm.memory_map import MemoryMap


def map_anonymous(mm: MemoryMap, vma: Vma, page: int, write: bool, protected: bool = False) -> FaultResult:
    """A page where none was: zeros to share for a read, a page of its own for a write (do_anonymous_page()).

    `protected`: a marker of userfaultfd lay there, so the page is mapped without write permission.
    """
    if VmFlags.VM_SHARED in vma.flags:
        return FaultResult.SIGBUS
    if _huge_fits(mm, vma, page):
        if VmFlags.VM_UFFD_MISSING in vma.flags:
            return FaultResult.SIGBUS
        vma.anonymous_pages = True
        if _map_huge(mm, page, write):
            return FaultResult.DONE
    mm.page_table.ensure_table(page)
    if VmFlags.VM_UFFD_MISSING in vma.flags:
        return FaultResult.SIGBUS
    flags = EntryFlags.UFFD_WP if protected else EntryFlags.NONE
    if write:
        vma.anonymous_pages = True
        flags = flags or EntryFlags.WRITABLE
        mm.page_table.set(page, EntryKind.PRESENT, mm.frames.system.allocate(), flags)
    else:
        mm.page_table.set(page, EntryKind.PRESENT, mm.frames.zero_pfn, flags | EntryFlags.SPECIAL)
    return FaultResult.DONE


def _huge_fits(mm: MemoryMap, vma: Vma, page: int) -> bool:
    """Whether the 2 MiB around a missing page may become one page (hugepage_vma_check(), transhuge_vma_suitable())."""
    first = page // HUGE_BYTES * HUGE_BYTES
    if VmFlags.VM_NOHUGEPAGE in vma.flags or not vma.contains(first, first + HUGE_BYTES):
        return False
    if mm.page_table.table(page) is not None:
        return False
    return VmFlags.VM_HUGEPAGE in vma.flags or mm.undecided(Undecided.HUGE_ENABLED, page)


def _map_huge(mm: MemoryMap, page: int, write: bool) -> bool:
    """Map a 2 MiB page where nothing is (do_huge_pmd_anonymous_page()); returns whether there was one."""
    first = page // HUGE_BYTES * HUGE_BYTES
    try:
        if write:
            mm.page_table.set_huge(first, mm.frames.allocate_huge(), EntryFlags.WRITABLE)
        else:
            mm.page_table.set_huge(first, mm.frames.huge_zero_pfn(), EntryFlags.SPECIAL)
    except HmmError:
        return False  # Small pages will do.
    return True


async def write_protected(mm: MemoryMap, vma: Vma, page: int, entry: CpuEntry) -> FaultResult:
    """A write to a read-only page of a writable area (do_wp_page())."""
    if EntryFlags.UFFD_WP in entry.flags and VmFlags.VM_UFFD_WP in vma.flags:
        return FaultResult.SIGBUS
    if VmFlags.VM_SHARED in vma.flags or _alone(mm, page, entry):
        # Nobody is told: a mirror that only read stays right.
        mm.page_table.set(page, EntryKind.PRESENT, entry.pfn, entry.flags | EntryFlags.WRITABLE)
        mm.frames.shared_once.discard(entry.pfn)
        return FaultResult.DONE
    vma.anonymous_pages = True
    await _copy_on_write(mm, page, entry)
    return FaultResult.DONE


def _alone(mm: MemoryMap, page: int, entry: CpuEntry) -> bool:
    """Whether nobody else has the page of an entry (wp_can_reuse_anon_folio())."""
    if EntryFlags.SPECIAL in entry.flags or mm.frames.references(entry.pfn) != 1:
        return False
    return not (mm.frames.may_be_batched(entry.pfn) and mm.undecided(Undecided.LRU_BATCH, page))


async def write_huge(mm: MemoryMap, vma: Vma, page: int, entry: CpuEntry) -> FaultResult | None:
    """A write to a read-only 2 MiB entry (wp_huge_pmd()). None: the entry was split or unmapped, go on with the
    page.
    """
    if EntryFlags.UFFD_WP in entry.flags and VmFlags.VM_UFFD_WP in vma.flags:
        return FaultResult.SIGBUS
    if vma.shared is None:
        if EntryFlags.SPECIAL in entry.flags:
            if mm.rules.huge_zero_allocates and await _replace_huge_zero(mm, page, entry):
                return FaultResult.DONE
        elif _alone_huge(mm, page):
            table = mm.page_table.table(page)
            assert table is not None
            table.flags |= np.uint8(EntryFlags.WRITABLE)
            return FaultResult.DONE
    await mm.split_huge(page)
    return None


def _alone_huge(mm: MemoryMap, page: int) -> bool:
    table = mm.page_table.table(page)
    assert table is not None
    pfns = [int(pfn) for pfn in table.pfn]
    if any(mm.frames.references(pfn) != 1 for pfn in pfns):
        return False
    return not (mm.frames.may_be_batched(pfns[0]) and mm.undecided(Undecided.LRU_BATCH, page))


async def _replace_huge_zero(mm: MemoryMap, page: int, entry: CpuEntry) -> bool:
    """Give the 2 MiB a page of their own (do_huge_zero_wp_pmd()); returns whether there was one."""
    first = page // HUGE_BYTES * HUGE_BYTES
    try:
        pfn = mm.frames.allocate_huge()
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


async def swap_in(mm: MemoryMap, vma: Vma, page: int, entry: CpuEntry, write: bool) -> FaultResult:
    """Bring a page back from swap (do_swap_page())."""
    pfn = mm.frames.system.allocate()
    mm.frames.read_in(entry.pfn, pfn)
    shared = EntryFlags.ALONE not in entry.flags and mm.undecided(Undecided.SWAP_USERS, page)
    protected = entry.flags & EntryFlags.UFFD_WP
    may_write = VmFlags.VM_WRITE in vma.flags and not shared and not protected
    flags = protected
    if may_write and (write or (mm.rules.swap_in_writable and EntryFlags.TRACKED not in entry.flags)):
        flags |= EntryFlags.WRITABLE
    mm.page_table.set(page, EntryKind.PRESENT, pfn, flags)
    if shared:
        # Whoever else has it keeps the page in the swap cache.
        mm.frames.take(np.array([pfn], dtype=np.uint64))
    if write and not flags & EntryFlags.WRITABLE:
        return await write_protected(mm, vma, page, mm.page_table.lookup(page))
    return FaultResult.DONE
