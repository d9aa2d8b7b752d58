# SPDX-License-Identifier: Apache-2.0
"""A copy of an address space that shares all pages until one side writes (dup_mmap(), copy_page_range())."""

from __future__ import annotations

from contextlib import AsyncExitStack
from dataclasses import replace

import numpy as np

from models.hmm.memory_map import MemoryMap
from models.hmm.notifiers import InvalidateEvent
from models.hmm.page_table import EntryFlags, EntryKind
from models.hmm.vma import Vma, VmFlags


async def fork(parent: MemoryMap) -> MemoryMap:
    """A child of `parent`. Private pages become read-only on both sides; notifiers of the parent are told so.

    Notifiers do not follow the child.
    """
    child = MemoryMap(parent.host, parent.frames, parent.journal, parent.rules)
    async with parent.mmap_lock.write(), child.mmap_lock.write():
        child.brk_end = parent.brk_end
        for area in parent.vmas:
            child.vmas.insert(replace(area, mm=child), merge=False)
            if not _needs_copy(area):
                continue
            async with AsyncExitStack() as stack:
                if area.copy_on_write:
                    hugetlb = VmFlags.VM_HUGETLB in area.flags
                    event = InvalidateEvent.CLEAR if hugetlb else InvalidateEvent.PROTECTION_PAGE
                    await stack.enter_async_context(parent.invalidation(area.start, area.end, event))
                await _copy_entries(parent, child, area)
    return child


def _needs_copy(area: Vma) -> bool:
    """Whether entries are copied: what can be faulted in again is left out (vma_needs_copy())."""
    return area.anonymous_pages or area.special or VmFlags.VM_UFFD_WP in area.flags


async def _copy_entries(parent: MemoryMap, child: MemoryMap, area: Vma) -> None:
    """Copy the entries of one area (copy_page_range(), copy_hugetlb_page_range())."""
    if VmFlags.VM_HUGETLB in area.flags:
        _copy_hugetlb(parent, child, area)
        return
    for span in parent.page_table.mapped_spans(area.start, area.end):
        source = span.table
        assert source is not None
        if area.copy_on_write:
            kind, flags = source.kind[span.part], source.flags[span.part]
            flags &= ~np.uint8(EntryFlags.WRITABLE)
            flags[kind == EntryKind.SWAP] &= ~np.uint8(EntryFlags.ALONE)
            # What a device has for itself comes back first (try_restore_exclusive_pte()).
            kind[kind == EntryKind.EXCLUSIVE] = EntryKind.PRESENT
            counted = source.counted(span.part)
            parent.frames.shared_once.update(int(pfn) for pfn in source.pfn[span.part][counted])
        target = child.page_table.ensure_table(span.start)
        target.huge = source.huge
        target.kind[span.part] = source.kind[span.part]
        target.flags[span.part] = source.flags[span.part]
        target.pfn[span.part] = source.pfn[span.part]
        parent.frames.take(source.pfn[span.part][source.counted(span.part)])
        await parent.host.pause("fork: copy next table")


def _copy_hugetlb(parent: MemoryMap, child: MemoryMap, area: Vma) -> None:
    for va in range(area.start, area.end, area.huge_bytes):
        entry = parent.page_table.large.get(va)
        if entry is None or entry.kind is not EntryKind.PRESENT:
            continue
        if area.copy_on_write:
            entry = replace(entry, flags=entry.flags & ~EntryFlags.WRITABLE)
            parent.frames.shared_once.add(entry.pfn)
        parent.page_table.large[va] = child.page_table.large[va] = entry
        child.page_table.ensure_directories(va)
        parent.frames.take(np.array([entry.pfn], dtype=np.uint64))
