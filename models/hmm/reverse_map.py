# SPDX-License-Identifier: Apache-2.0
"""From a page to the entries that map it, and changes made from that side (rmap_walk(), memory_failure()).

Pages are looked for in all page tables: this is for the few pages that several address spaces share.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from models.arrays import PAGE_BYTES
from models.hmm.frames import Frames
from models.hmm.notifiers import InvalidateEvent
from models.hmm.page_table import EntryKind

if TYPE_CHECKING:
    from models.hmm.memory_map import MemoryMap

MAPPED = (EntryKind.PRESENT, EntryKind.DEVICE_PRIVATE)


def entries_of(frames: Frames, pfn: int, kinds: tuple[EntryKind, ...]) -> list[tuple[MemoryMap, int]]:
    """Every (address space, address) with an entry of these kinds for the page."""
    return [(mm, va) for mm in frames.spaces for va in mm.page_table.find_pfn(pfn, kinds)]


async def memory_failure(frames: Frames, pfn: int) -> int:
    """A page of system memory is lost: every entry that maps it becomes a poison entry; returns how many did."""
    count = 0
    moving = frames.migrations.get(pfn)
    if moving is not None:
        await moving.wait()
    frames.system.poison(pfn)
    for mm, va in entries_of(frames, pfn, (EntryKind.PRESENT,)):
        await mm.split_huge(va)
        async with mm.invalidation(va, va + PAGE_BYTES, InvalidateEvent.CLEAR):
            entry = mm.page_table.lookup(va)
            poisons = entry.kind is EntryKind.PRESENT and entry.pfn == pfn
            if poisons:
                mm.page_table.set(va, EntryKind.HWPOISON, pfn)
        if poisons:
            frames.drop(np.array([pfn], dtype=np.uint64))
            count += 1
    return count
