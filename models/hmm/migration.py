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
from models.hmm.operations.huge import split_folio
from models.hmm.page_table import CpuEntry, EntryFlags, EntryKind
from models.hmm.reverse_map import MAPPED, Folio, change_entries, entries_of
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
    *,
    owner: object = None,
    new_page: Callable[[], int] | None = None,
) -> int:
    """Move the pages of [start, end) that `selects` chooses; returns how many moved. The mmap lock is held for reading.

    Pages of private anonymous memory move, huge ones after they were split. One that somebody holds for himself stays.
    `owner`: told to the notifiers. `new_page`: makes a page where none was, or only the one of zeros, if given.
    Errors: HmmError EINVAL if the range does not lie in the area, or the area is shared or special.
    """
    if start >= end or not vma.contains(start, end) or vma.special or VmFlags.VM_SHARED in vma.flags:
        raise HmmError("EINVAL", "a range inside one area of private memory is needed")
    frames = mm.frames
    collected: dict[int, int] = {}
    holes: list[int] = []
    async with mm.invalidation(start, end, InvalidateEvent.MIGRATE, owner):
        for span in mm.page_table.spans(start, end):
            await _split_huge(mm, span.start)
            for va in range(span.start, span.end, PAGE_BYTES):
                entry = mm.page_table.lookup(va)
                if entry.kind is EntryKind.NONE or EntryFlags.SPECIAL in entry.flags:
                    holes.append(va)
                    continue
                if entry.kind not in MAPPED or not selects(entry) or entry.pfn in frames.migrations:
                    continue
                frames.migrations[entry.pfn] = mm.host.event()
                collected[entry.pfn] = va
                frames.take(np.array([entry.pfn], dtype=np.uint64))
                _cut(mm, va, entry)
            await mm.host.pause("migrate: collect next table")
    try:
        free = [pfn for pfn, va in collected.items() if await _cut_others(mm, va, pfn)]
        await mm.host.pause("migrate: copy")
        moved = await allocate_and_copy(free) if free else {}
        filled = await _fill_holes(mm, vma, holes, end, owner, new_page) if new_page and vma.shared is None else 0
    except BaseException:
        _finish(mm, collected, {})
        raise
    await mm.host.pause("migrate: finish")
    _finish(mm, collected, moved)
    return len(moved) + filled


async def _split_huge(mm: MemoryMap, va: int) -> None:
    """Only small pages move: a huge one is split, for everybody (migrate_vma_collect_pmd())."""
    table = mm.page_table.table(va)
    if table is None or not table.huge:
        return
    first, pages = mm.frames.folio_of(int(table.pfn[0]))
    if EntryFlags.SPECIAL in EntryFlags(int(table.flags[0])) or pages == 1:
        await mm.split_huge(va)
    else:
        await split_folio(mm.frames, first)


async def _fill_holes(
    mm: MemoryMap, vma: Vma, holes: list[int], end: int, owner: object, new_page: Callable[[], int]
) -> int:
    """New pages where none were (migrate_vma_insert_page()): told from the first on, as one."""
    if not holes:
        return 0
    vma.anonymous_pages = True
    flags = EntryFlags.WRITABLE if VmFlags.VM_WRITE in vma.flags else EntryFlags.NONE
    filled = 0
    async with mm.invalidation(holes[0], end, InvalidateEvent.MIGRATE, owner):
        for va in holes:
            entry = mm.page_table.lookup(va)
            if entry.kind is EntryKind.NONE or EntryFlags.SPECIAL in entry.flags:
                pfn = new_page()
                kind = EntryKind.PRESENT if mm.frames.pagemap_of(pfn) is None else EntryKind.DEVICE_PRIVATE
                mm.page_table.set(va, kind, pfn, flags)
                filled += 1
    return filled


def _cut(mm: MemoryMap, va: int, entry: CpuEntry) -> None:
    mm.page_table.set(va, EntryKind.MIGRATION, entry.pfn, entry.flags)


def _only_here(mm: MemoryMap, va: int, pfn: int) -> bool:
    """Whether nobody has the page but us and the migration entry here: it may be gone, and another's be left."""
    entry = mm.page_table.lookup(va)
    return entry.kind is EntryKind.MIGRATION and entry.pfn == pfn and mm.frames.references(pfn) <= 2


async def _cut_others(mm: MemoryMap, va: int, pfn: int) -> bool:
    """Cut the page off from other address spaces (try_to_migrate()); whether only migration entries and we hold it."""
    frames = mm.frames
    if not _only_here(mm, va, pfn):
        await change_entries(frames, Folio(pfn, 1), _cut, kinds=MAPPED)
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
        only = _only_here(mm, va, pfn)
        entries = [(mm, va)] if only else entries_of(frames, pfn, (EntryKind.MIGRATION,))
        kind = EntryKind.PRESENT if frames.pagemap_of(target) is None else EntryKind.DEVICE_PRIVATE
        for other, place in entries:
            other.page_table.set(place, kind, target, other.page_table.lookup(place).flags)
        if target != pfn:
            count = len(entries)
            frames.take(np.full(count, target, dtype=np.uint64))
            frames.drop(np.array([target] + [pfn] * count, dtype=np.uint64))
        frames.drop(np.array([pfn], dtype=np.uint64))
        frames.migrations.pop(pfn).set()
