# SPDX-License-Identifier: Apache-2.0
"""Moving pages between memories (migrate_vma(), mm/migrate.c).

While a page moves, its entries are migration entries, and whoever needs it waits. Source: docs/host.md, "Migration".
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

import numpy as np

from models.arrays import PAGE_BYTES
from models.hmm.errors import HmmError
from models.hmm.frames import Frames
from models.hmm.notifiers import InvalidateEvent
from models.hmm.page_table import CpuEntry, EntryFlags, EntryKind
from models.hmm.reverse_map import MAPPED, entries_of
from models.hmm.vma import Vma, VmFlags

if TYPE_CHECKING:
    from models.hmm.memory_map import MemoryMap

AllocateAndCopy = Callable[[list[int]], Awaitable[dict[int, int]]]
"""Given the pfns that are cut off from everybody, returns the new pfn of each that moved (one reference each)."""


async def wait_for_migration(frames: Frames, pfn: int) -> None:
    """Wait until the page of a migration entry has arrived (migration_entry_wait())."""
    moving = frames.migrations.get(pfn)
    if moving is not None:
        await moving.wait()


async def migrate_vma(
    mm: MemoryMap,
    vma: Vma,
    start: int,
    end: int,
    selects: Callable[[CpuEntry], bool],
    allocate_and_copy: AllocateAndCopy,
) -> int:
    """Move the pages of [start, end) that `selects` chooses; returns how many moved. The mmap lock is held for reading.

    Pages of private anonymous memory move, huge ones after they were split. One that somebody holds for himself stays.
    Errors: HmmError EINVAL if the range does not lie in the area, or the area is shared or special.
    """
    if start >= end or not vma.contains(start, end) or vma.special or VmFlags.VM_SHARED in vma.flags:
        raise HmmError("EINVAL", "a range inside one area of private memory is needed")
    frames = mm.frames
    collected: dict[int, int] = {}
    async with mm.invalidation(start, end, InvalidateEvent.MIGRATE):
        for span in mm.page_table.mapped_spans(start, end):
            await mm.split_huge(span.start)
            for va in range(span.start, span.end, PAGE_BYTES):
                entry = mm.page_table.lookup(va)
                if entry.kind not in MAPPED or EntryFlags.SPECIAL in entry.flags or not selects(entry):
                    continue
                if entry.pfn in frames.migrations:
                    continue
                frames.migrations[entry.pfn] = mm.host.event()
                collected[entry.pfn] = va
                frames.take(np.array([entry.pfn], dtype=np.uint64))
                _cut(mm, va, entry)
            await mm.host.pause("migrate: collect next table")
    try:
        free = [pfn for pfn in collected if await _cut_others(frames, pfn)]
        await mm.host.pause("migrate: copy")
        moved = await allocate_and_copy(free) if free else {}
    except BaseException:
        _finish(mm, collected, {})
        raise
    await mm.host.pause("migrate: finish")
    _finish(mm, collected, moved)
    return len(moved)


def _cut(mm: MemoryMap, va: int, entry: CpuEntry) -> None:
    mm.page_table.set(va, EntryKind.MIGRATION, entry.pfn, entry.flags)


async def _cut_others(frames: Frames, pfn: int) -> bool:
    """Cut the page off from other address spaces (try_to_migrate()); whether only migration entries and we hold it."""
    if frames.references(pfn) > 2:
        for other, va in entries_of(frames, pfn, MAPPED):
            await other.split_huge(va)
            async with other.invalidation(va, va + PAGE_BYTES, InvalidateEvent.CLEAR):
                entry = other.page_table.lookup(va)
                if entry.kind in MAPPED and entry.pfn == pfn:
                    _cut(other, va, entry)
        cut = len(entries_of(frames, pfn, (EntryKind.MIGRATION,)))
        return frames.references(pfn) == cut + 1
    return True


def _finish(mm: MemoryMap, collected: dict[int, int], moved: dict[int, int]) -> None:
    """Point the migration entries at the new pages, or back at the old ones (migrate_vma_finalize()); wake who waits.

    One step for all pages: nothing that was valid for a mirror changes, so no notifier is told.
    """
    frames = mm.frames
    for pfn, va in collected.items():
        target = moved.get(pfn, pfn)
        if frames.references(pfn) > 2:
            entries = entries_of(frames, pfn, (EntryKind.MIGRATION,))
        else:
            entry = mm.page_table.lookup(va)
            entries = [(mm, va)] if entry.kind is EntryKind.MIGRATION and entry.pfn == pfn else []
        kind = EntryKind.PRESENT if frames.pagemap_of(target) is None else EntryKind.DEVICE_PRIVATE
        for other, place in entries:
            other.page_table.set(place, kind, target, other.page_table.lookup(place).flags)
        if target != pfn:
            count = len(entries)
            frames.take(np.full(count, target, dtype=np.uint64))
            frames.drop(np.array([target] + [pfn] * count, dtype=np.uint64))
        frames.drop(np.array([pfn], dtype=np.uint64))
        frames.migrations.pop(pfn).set()
