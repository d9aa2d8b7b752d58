# SPDX-License-Identifier: Apache-2.0
"""Faults in areas with an object behind them: files, shared memory, drivers, pages of the kernel.

Source: docs/host.md, "Page faults"; do_fault(), do_read_fault(), do_cow_fault(), do_shared_fault(), finish_fault(),
do_set_pmd() of mm/memory.c, filemap_fault(), filemap_map_pages() of mm/filemap.c, shmem_fault() of mm/shmem.c.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from models.arrays import PAGE_BYTES, PAGE_SHIFT
from models.hmm.errors import HmmError
from models.hmm.fault_result import FaultResult
from models.hmm.frames import HUGE_BYTES, HUGE_PAGES
from models.hmm.page_table import EntryFlags, EntryKind
from models.hmm.vma import Backing, SharedObject, Vma, VmFlags

if TYPE_CHECKING:
    from models.hmm.memory_map import MemoryMap

FAULT_AROUND_PAGES = 16
"""A read fault also maps what the cache has of the 64 KiB around it (fault_around_bytes)."""
READ_AHEAD_PAGES = 32
"""A page that has to be read from a file brings its neighbours into the cache (128 KiB)."""
DRIVER_PAGES = 8
"""So many pages a driver's fault handler has; behind them there is nothing."""
CACHED = (Backing.SHMEM, Backing.FILE)


def map_object_page(mm: MemoryMap, vma: Vma, page: int, write: bool, protected: bool = False) -> FaultResult:
    """A page where none is mapped, from the object behind the area (do_fault()).

    `protected`: a marker of userfaultfd lay there, so the page is mapped without write permission.
    """
    assert vma.shared is not None
    if vma.no_fault:
        return FaultResult.SIGBUS
    if vma.shared.kind is Backing.DRIVER:
        return _map_driver_page(mm, vma, page)
    number = vma.object_page(page)
    private_write = write and VmFlags.VM_SHARED not in vma.flags
    alone = write or vma.flags & (VmFlags.VM_UFFD_WP | VmFlags.VM_UFFD_MINOR) or vma.shared.kind not in CACHED
    if not alone and _map_around(mm, vma, page):
        return FaultResult.DONE
    pfn = _page_of_object(mm, vma, number)
    if isinstance(pfn, FaultResult):
        return pfn
    if private_write:
        # The copy is made before anything is mapped, so there is nothing to invalidate.
        vma.anonymous_pages = True
        new = mm.frames.system.allocate()
        mm.frames.copy(pfn, new)
        mm.page_table.set(page, EntryKind.PRESENT, new, EntryFlags.UFFD_WP if protected else EntryFlags.WRITABLE)
        return FaultResult.DONE
    if not protected and _map_huge(mm, vma, page, write):
        return FaultResult.DONE
    _map(mm, vma, page, pfn, write=write, protected=protected)
    return FaultResult.DONE


def _map(mm: MemoryMap, vma: Vma, page: int, pfn: int, *, write: bool, protected: bool = False) -> None:
    """Map one page of the object (do_set_pte())."""
    mm.frames.take(np.array([pfn], dtype=np.uint64))
    flags = EntryFlags.WRITABLE if write or vma.writable_at_once else EntryFlags.NONE
    mm.page_table.set(page, EntryKind.PRESENT, pfn, EntryFlags.UFFD_WP if protected else flags)


def _map_around(mm: MemoryMap, vma: Vma, page: int) -> bool:
    """Map what the cache has around a page (do_fault_around()); returns whether the page itself is mapped now."""
    assert vma.shared is not None
    if _map_huge(mm, vma, page, write=False):
        return True
    cache = vma.shared
    number = vma.object_page(page)
    window = page // (FAULT_AROUND_PAGES * PAGE_BYTES) * (FAULT_AROUND_PAGES * PAGE_BYTES)
    first = max(window, vma.start)
    # The window begins where the area does, and keeps its size; it ends with the page-table page.
    end = min(first + FAULT_AROUND_PAGES * PAGE_BYTES, vma.end, page // HUGE_BYTES * HUGE_BYTES + HUGE_BYTES)
    for place in range(first, end, PAGE_BYTES):
        neighbour = number + ((place - page) >> PAGE_SHIFT)
        pfn = cache.pages.get(neighbour)
        if pfn is None or neighbour in cache.unready or mm.frames.pool_of(pfn).is_poisoned(pfn):
            continue
        if cache.size is not None and neighbour >= cache.size:
            continue
        if mm.page_table.lookup(place).kind is EntryKind.NONE:
            _map(mm, vma, place, pfn, write=False)
    return mm.page_table.lookup(page).kind is EntryKind.PRESENT


def _map_huge(mm: MemoryMap, vma: Vma, page: int, write: bool) -> bool:
    """Map a huge page of the object by one entry, if it lies so that it can be (do_set_pmd()); whether it was done."""
    assert vma.shared is not None
    first = page // HUGE_BYTES * HUGE_BYTES
    start = vma.object_page(page) - ((page - first) >> PAGE_SHIFT)
    if start not in vma.shared.huge or mm.page_table.table(page) is not None:
        return False
    if not vma.contains(first, first + HUGE_BYTES) or (VmFlags.VM_SHARED not in vma.flags and write):
        return False
    if mm.rules.advice_limits_huge_cache and VmFlags.VM_NOHUGEPAGE in vma.flags:
        return False
    pfns = np.array([vma.shared.pages[start + index] for index in range(HUGE_PAGES)], dtype=np.uint64)
    if any(mm.frames.pool_of(int(pfn)).is_poisoned(int(pfn)) for pfn in pfns):
        return False
    mm.frames.take(pfns)
    flags = EntryFlags.WRITABLE if write or vma.writable_at_once else EntryFlags.NONE
    mm.page_table.set_huge(first, int(pfns[0]), flags)
    return True


def _page_of_object(mm: MemoryMap, vma: Vma, number: int) -> int | FaultResult:
    """The object's page, brought into its cache if it is not there (the fault handlers of files and shmem)."""
    cache = vma.shared
    assert cache is not None
    if cache.size is not None and number >= cache.size:
        return FaultResult.SIGBUS
    pfn = cache.pages.get(number)
    if pfn is not None:
        if mm.frames.pool_of(pfn).is_poisoned(pfn):
            return FaultResult.HWPOISON
        if VmFlags.VM_UFFD_MINOR in vma.flags:
            return FaultResult.SIGBUS
        cache.unready.discard(number)
        return pfn
    if cache.kind is Backing.FILE:
        return _read_ahead(mm, cache, number)
    if cache.kind is Backing.SHMEM:
        in_swap = number in cache.swapped
        if not in_swap and VmFlags.VM_UFFD_MISSING in vma.flags:
            return FaultResult.SIGBUS
        if not in_swap and cache.huge_allowed and _add_huge(mm, vma, number):
            return cache.pages[number]
        if in_swap:
            cache.swapped.discard(number)
            pfn = cache.pages[number] = mm.frames.system.allocate()
            mm.frames.read_in((cache, number), pfn)
            return pfn
    pfn = cache.pages[number] = mm.frames.system.allocate()
    return pfn


def _read_ahead(mm: MemoryMap, cache: SharedObject, number: int) -> int:
    """Read a page of a file, and those around it (do_sync_mmap_readahead()); they are all there afterwards."""
    first = max(0, number - READ_AHEAD_PAGES // 2)
    end = first + READ_AHEAD_PAGES if cache.size is None else min(first + READ_AHEAD_PAGES, cache.size)
    for neighbour in range(first, end):
        if neighbour not in cache.pages:
            pfn = cache.pages[neighbour] = mm.frames.system.allocate()
            mm.frames.read_in((cache, neighbour), pfn)
    return cache.pages[number]


def _add_huge(mm: MemoryMap, vma: Vma, number: int) -> bool:
    """Let a missing page of shared memory be a part of a huge one (shmem_alloc_hugefolio()); whether it was done."""
    cache = vma.shared
    assert cache is not None
    if VmFlags.VM_HUGEPAGE not in vma.flags:
        return False
    start = number // HUGE_PAGES * HUGE_PAGES
    numbers = range(start, start + HUGE_PAGES)
    if any(other in cache.pages or other in cache.swapped for other in numbers):
        return False
    try:
        pfn = mm.frames.allocate_huge()
    except HmmError:
        return False
    cache.pages.update(zip(numbers, range(pfn, pfn + HUGE_PAGES), strict=True))
    cache.huge.add(start)
    return True


def _map_driver_page(mm: MemoryMap, vma: Vma, page: int) -> FaultResult:
    """A driver's fault handler puts a bare pfn into the entry (vmf_insert_pfn())."""
    assert vma.shared is not None
    number = (page - vma.start) >> PAGE_SHIFT
    if number >= DRIVER_PAGES:
        return FaultResult.SIGBUS
    pfn = vma.shared.pages.get(number)
    if pfn is None:
        pfn = vma.shared.pages[number] = mm.frames.system.allocate()
    flags = EntryFlags.WRITABLE if vma.writable_at_once else EntryFlags.NONE
    mm.page_table.set(page, EntryKind.PRESENT, pfn, EntryFlags.SPECIAL | flags)
    return FaultResult.DONE
