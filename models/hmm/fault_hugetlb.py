# SPDX-License-Identifier: Apache-2.0
"""Faults in areas of huge pages that were set aside: one entry for 2 MiB or 1 GiB.

Source: docs/host.md, "Page faults"; hugetlb_fault(), hugetlb_no_page(), hugetlb_wp() of mm/hugetlb.c (Linux 6.1, 6.12).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from models.arrays import PAGE_SHIFT
from models.hmm.fault_result import FaultResult
from models.hmm.migration import wait_for_migration
from models.hmm.notifiers import InvalidateEvent
from models.hmm.page_table import EntryFlags, EntryKind, LargeEntry
from models.hmm.vma import Vma, VmFlags

if TYPE_CHECKING:
    from models.hmm.memory_map import MemoryMap

LEVEL_SHIFT = 9


async def hugetlb_fault(mm: MemoryMap, vma: Vma, va: int, write: bool) -> FaultResult:
    """Try to make the huge page around `va` fit for a read or a write."""
    first = va // vma.huge_bytes * vma.huge_bytes
    order = vma.huge_bytes.bit_length() - 1 - PAGE_SHIFT
    # The entry stands in the table one level above what it spans.
    mm.page_table.ensure_directories(first, PAGE_SHIFT + order + LEVEL_SHIFT)
    entry = mm.page_table.large.get(first)
    if entry is None or entry.kind in (EntryKind.NONE, EntryKind.MARKER):
        return await _no_page(mm, vma, first, order, write)
    if entry.kind is EntryKind.HWPOISON:
        return FaultResult.HWPOISON
    if entry.kind is EntryKind.MIGRATION:
        await wait_for_migration(mm.frames, entry.pfn)
        return FaultResult.DONE
    if entry.kind is not EntryKind.PRESENT or not write or EntryFlags.WRITABLE in entry.flags:
        return FaultResult.DONE
    if EntryFlags.UFFD_WP in entry.flags and VmFlags.VM_UFFD_WP in vma.flags:
        return FaultResult.SIGBUS
    return await _write_protected(mm, vma, first, entry)


async def _no_page(mm: MemoryMap, vma: Vma, first: int, order: int, write: bool) -> FaultResult:
    """No huge page is mapped (hugetlb_no_page())."""
    cache = vma.shared
    assert cache is not None
    number = vma.object_page(first)
    pfn = cache.pages.get(number)
    shared = VmFlags.VM_SHARED in vma.flags
    anonymous = False
    if pfn is not None:
        if mm.frames.system.is_poisoned(pfn):
            return FaultResult.HWPOISON
        if VmFlags.VM_UFFD_MINOR in vma.flags:
            return FaultResult.SIGBUS
        _take(mm, pfn)
    else:
        if cache.size is not None and number >= cache.size:
            return FaultResult.SIGBUS
        if VmFlags.VM_UFFD_MISSING in vma.flags:
            return FaultResult.SIGBUS
        pfn = _allocate(mm, vma, order, reserved=VmFlags.VM_NORESERVE not in vma.flags)
        if pfn is None:
            return FaultResult.SIGBUS
        anonymous = not shared
        vma.anonymous_pages |= anonymous
        if shared:
            cache.pages[number] = pfn
            _take(mm, pfn)
    # A page of a private area that nobody else has is made writable by the same fault.
    writable = VmFlags.VM_WRITE in vma.flags and (shared or (write and anonymous))
    entry = LargeEntry(EntryKind.PRESENT, EntryFlags.WRITABLE if writable else EntryFlags.NONE, pfn, order)
    mm.page_table.large[first] = entry
    if write and not writable:
        return await _write_protected(mm, vma, first, entry)
    return FaultResult.DONE


async def _write_protected(mm: MemoryMap, vma: Vma, first: int, entry: LargeEntry) -> FaultResult:
    """A write to a read-only huge page (hugetlb_wp())."""
    table = mm.page_table
    if VmFlags.VM_SHARED in vma.flags or mm.frames.references(entry.pfn) == 1:
        table.large[first] = LargeEntry(EntryKind.PRESENT, EntryFlags.WRITABLE, entry.pfn, entry.order)
        return FaultResult.DONE
    new = _allocate(mm, vma, entry.order, reserved=False)
    if new is None:
        if VmFlags.VM_NORESERVE in vma.flags or vma.object_page(first) in _cached(vma):
            return FaultResult.SIGBUS
        # Whoever reserved the page has the right to it: the children that share it lose it (unmap_ref_private()).
        table.large[first] = LargeEntry(EntryKind.PRESENT, EntryFlags.WRITABLE, entry.pfn, entry.order)
        return FaultResult.DONE
    async with mm.invalidation(first, first + vma.huge_bytes, InvalidateEvent.CLEAR):
        same = table.large.get(first) == entry
        if same:
            table.large[first] = LargeEntry(EntryKind.PRESENT, EntryFlags.WRITABLE, new, entry.order)
    mm.frames.drop(np.array([entry.pfn if same else new], dtype=np.uint64))
    return FaultResult.DONE


def _allocate(mm: MemoryMap, vma: Vma, order: int, *, reserved: bool) -> int | None:
    """The first pfn of a huge page from those set aside; None if there is none to be had (alloc_huge_page())."""
    pool = mm.frames.huge_pools.get(vma.huge_bytes)
    if pool is None or not pool.take(reserved=reserved):
        return None
    return mm.frames.system.allocate_order(order)


def _cached(vma: Vma) -> dict[int, int]:
    assert vma.shared is not None
    return vma.shared.pages


def _take(mm: MemoryMap, pfn: int) -> None:
    mm.frames.take(np.array([pfn], dtype=np.uint64))
