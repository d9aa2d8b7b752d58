# SPDX-License-Identifier: Apache-2.0
"""A copy of an address space that shares all pages until one side writes (dup_mmap(), copy_page_range())."""

from __future__ import annotations

from contextlib import AsyncExitStack
from dataclasses import replace

import numpy as np

from models.hmm.memory_map import MemoryMap
from models.hmm.notifiers import InvalidateEvent
from models.hmm.page_table import EntryFlags
from models.hmm.vma import Vma, VmFlags


async def fork(parent: MemoryMap) -> MemoryMap:
    """A child of `parent`. Private pages become read-only on both sides; notifiers of the parent are told so.

    Notifiers do not follow the child.
    """
    child = MemoryMap(parent.host, parent.frames, parent.journal)
    async with parent.mmap_lock.write(), child.mmap_lock.write():
        child.brk_end = parent.brk_end
        for area in parent.vmas:
            child.vmas.insert(replace(area, mm=child), merge=False)
            async with AsyncExitStack() as stack:
                if area.copy_on_write:
                    told = parent.invalidation(area.start, area.end, InvalidateEvent.PROTECTION_PAGE)
                    await stack.enter_async_context(told)
                if area.special or VmFlags.VM_SHARED not in area.flags:
                    await _copy_entries(parent, child, area)
    return child


async def _copy_entries(parent: MemoryMap, child: MemoryMap, area: Vma) -> None:
    """Copy the entries of one area; those of shared memory are left to be faulted in again."""
    for span in parent.page_table.mapped_spans(area.start, area.end):
        source = span.table
        assert source is not None
        if area.copy_on_write:
            source.flags[span.part] &= ~np.uint8(EntryFlags.WRITABLE)
        target = child.page_table.ensure_table(span.start)
        target.huge = source.huge
        target.kind[span.part] = source.kind[span.part]
        target.flags[span.part] = source.flags[span.part]
        target.pfn[span.part] = source.pfn[span.part]
        parent.frames.take(source.pfn[span.part][source.counted(span.part)])
        await parent.host.pause("fork: copy next table")
