# SPDX-License-Identifier: Apache-2.0
"""Pages that go: to swap, back to their file, away; pages that move to other memory; pages that are lost.

Source: docs/host.md, "Operations"; shrink_page_list() of mm/vmscan.c, mm/migrate.c, mm/memory-failure.c, mm/rmap.c of
Linux 6.1 and 6.12.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from models.arrays import PAGE_BYTES
from models.hmm.frames import HUGE_PAGES, Frames
from models.hmm.notifiers import InvalidateEvent
from models.hmm.operations.huge import mapped_by, parts_end, split_folio
from models.hmm.page_table import CpuEntry, EntryFlags, EntryKind, LargeEntry
from models.hmm.reverse_map import Folio, cached_at, change_entries, folio_of, set_entry, users
from models.hmm.vma import Backing, Vma

if TYPE_CHECKING:
    from models.hmm.memory_map import MemoryMap

CARRIED = EntryFlags.UFFD_WP | EntryFlags.TRACKED
"""Flags that an entry keeps while its page is away."""


async def page_out(mm: MemoryMap, area: Vma, start: int, end: int) -> None:
    """Reclaim the pages of [start, end) that nobody else maps (reclaim_pages())."""
    while start < end:
        last = parts_end(start, end)
        await _page_out_table(mm, start, last)
        start = last


async def _page_out_table(mm: MemoryMap, start: int, end: int) -> None:
    chosen: list[int] = []
    for va in range(start, end, PAGE_BYTES):
        entry = mm.page_table.lookup(va)
        if not _reclaimable(mm, entry) or entry.pfn in chosen:
            continue
        first, pages = mm.frames.folio_of(entry.pfn)
        if pages == HUGE_PAGES:
            if mapped_by(mm.frames, Folio(first, pages)) != 1:
                continue
            if entry.huge and end - start == HUGE_PAGES * PAGE_BYTES:
                chosen.append(first)
                break
            await split_folio(mm.frames, first)
            entry = mm.page_table.lookup(va)
            if not _reclaimable(mm, entry):
                continue
        if users(mm.frames, entry.pfn) == 1:
            chosen.append(entry.pfn)
    for pfn in chosen:
        await reclaim(mm.frames, Folio(*mm.frames.folio_of(pfn)))


def _reclaimable(mm: MemoryMap, entry: CpuEntry) -> bool:
    """Whether an entry maps a page that lies on the lists of pages that can go."""
    if entry.kind is not EntryKind.PRESENT or EntryFlags.SPECIAL in entry.flags or EntryFlags.PROTNONE in entry.flags:
        return entry.kind is EntryKind.PRESENT and EntryFlags.SPECIAL not in entry.flags
    return mm.frames.system.holds(entry.pfn)


async def reclaim(frames: Frames, folio: Folio) -> None:
    """Unmap a page: anonymous memory goes to swap, a page of a file stays in its cache (shrink_page_list())."""
    cached = cached_at(frames, folio.first)
    first = frames.spaces[0].rules.swap_out_splits_first and folio.pages == HUGE_PAGES
    slots = {folio.first + index: frames.next_swap_slot() for index in range(folio.pages)} if cached is None else {}
    alone = {pfn for pfn in slots if frames.is_exclusive(pfn)}

    def take(mm: MemoryMap, va: int, entry: CpuEntry) -> None:
        if cached is None:
            frames.write_out(slots[entry.pfn], entry.pfn)
            flags = entry.flags & CARRIED | (EntryFlags.ALONE if entry.pfn in alone else EntryFlags.NONE)
            mm.page_table.set(va, EntryKind.SWAP, slots[entry.pfn], flags)
        else:
            kept = EntryFlags.UFFD_WP in entry.flags
            mm.page_table.set(va, EntryKind.MARKER if kept else EntryKind.NONE, 0)
        frames.drop(np.array([entry.pfn], dtype=np.uint64))

    await change_entries(frames, folio, take, split_first=first, split_inside=not first)
    if cached is not None and cached.cache.kind is Backing.SHMEM:
        for index in range(folio.pages):
            pfn = cached.cache.pages.pop(cached.number + index)
            cached.cache.swapped.add(cached.number + index)
            frames.write_out((cached.cache, cached.number + index), pfn)
            frames.drop(np.array([pfn], dtype=np.uint64))
        cached.cache.huge.discard(cached.number)
    frames.folios.discard(folio.first)


async def migrate_folio(frames: Frames, pfn: int, *, far: bool) -> int:
    """Move a page of system memory to another one (migrate_pages()); returns the first pfn of the new page.

    `far`: to the memory of another node than the processors'.
    """
    folio = folio_of(frames, pfn)
    cached = cached_at(frames, folio.first)
    new = frames.system.allocate_order(folio.pages.bit_length() - 1)
    if frames.folio_of(folio.first)[1] > 1:
        frames.folios.discard(folio.first)
        frames.folios.add(new)
    held: list[tuple[MemoryMap, int, CpuEntry]] = []
    arrived = frames.spaces[0].host.event()
    frames.migrations.update({folio.first + index: arrived for index in range(folio.pages)})

    def put(mm: MemoryMap, va: int, entry: CpuEntry, kind: EntryKind, target: int) -> None:
        # A huge entry stays one.
        if entry.huge and va not in mm.page_table.large:
            table = mm.page_table.table(va)
            assert table is not None
            index = (va // PAGE_BYTES) % HUGE_PAGES
            table.kind[index], table.pfn[index] = kind, target
        else:
            set_entry(mm, va, kind, target, entry.flags)

    def cut(mm: MemoryMap, va: int, entry: CpuEntry) -> None:
        # Whoever meets it before all places are done waits (try_to_migrate_one()).
        held.append((mm, va, entry))
        put(mm, va, entry, EntryKind.MIGRATION, entry.pfn)

    await change_entries(frames, folio, cut)
    for index in range(folio.pages):
        frames.copy(folio.first + index, new + index)
        if frames.fills.get(folio.first + index) is not None:
            frames.fills[new + index] = frames.fills[folio.first + index]
        frames.migrations.pop(folio.first + index)
    for mm, va, entry in held:
        target = new + entry.pfn - folio.first
        put(mm, va, entry, EntryKind.PRESENT, target)
        _hand_over(frames, entry.pfn, target)
    arrived.set()
    if cached is not None:
        step = 1 if folio.first + 1 in cached.cache.pages.values() or folio.pages == 1 else folio.pages
        for index in range(0, folio.pages, step):
            old = cached.cache.pages[cached.number + index]
            cached.cache.pages[cached.number + index] = new + index
            _hand_over(frames, old, new + index)
    # Whoever made the new page held it; nobody needs that any more.
    fresh = np.arange(new, new + folio.pages, dtype=np.uint64)
    whole = any(large.pfn == new for mm in frames.spaces for large in mm.page_table.large.values())
    frames.drop(fresh[:1] if whole else fresh)
    if far:
        frames.note_far(range(new, new + folio.pages))
    return new


def _hand_over(frames: Frames, old: int, new: int) -> None:
    frames.take(np.array([new], dtype=np.uint64))
    frames.drop(np.array([old], dtype=np.uint64))


async def soft_offline(frames: Frames, pfn: int) -> None:
    """Use a page no more that may soon be lost; its content moves (soft_offline_page())."""
    first, pages = frames.folio_of(pfn)
    if pages == HUGE_PAGES:
        await split_folio(frames, first)
    if frames.system.is_poisoned(pfn) or pfn == frames.zero_pfn:
        return
    await migrate_folio(frames, pfn, far=False)
    frames.system.poison(pfn)


async def memory_failure(frames: Frames, pfn: int) -> int:
    """A page of system memory is lost (memory_failure()); returns how many entries say so afterwards.

    A clean page of a file is only unmapped: it can be read again.
    """
    moving = frames.migrations.get(pfn)
    if moving is not None:
        await moving.wait()
    first, pages = frames.folio_of(pfn)
    if pages == HUGE_PAGES:
        await split_folio(frames, first)
    frames.system.poison(pfn)
    if pfn == frames.zero_pfn or pfn in frames.merged:
        return 0
    folio = folio_of(frames, pfn)
    cached = cached_at(frames, folio.first)
    dropped = False
    if cached is not None and cached.cache.kind is Backing.FILE and cached.number not in cached.cache.dirty:
        await clean_entries(frames, folio)
        # A device that had it writable has marked it by now.
        dropped = not frames.is_dirty(pfn)
        if dropped:
            frames.write_out((cached.cache, cached.number), pfn)
    count = 0

    def lose(mm: MemoryMap, va: int, entry: CpuEntry) -> None:
        nonlocal count
        if va in mm.page_table.large:
            order = mm.page_table.large[va].order
            mm.page_table.large[va] = LargeEntry(EntryKind.HWPOISON, EntryFlags.NONE, pfn, order)
        else:
            mm.page_table.set(va, EntryKind.NONE if dropped else EntryKind.HWPOISON, 0 if dropped else pfn)
        frames.drop(np.array([entry.pfn], dtype=np.uint64))
        count += not dropped

    await change_entries(frames, folio, lose)
    if cached is not None and cached.cache.kind is Backing.FILE:
        cached.cache.pages.pop(cached.number, None)
        cached.cache.dirty.discard(cached.number)
        frames.drop(np.array([pfn], dtype=np.uint64))
    return count


async def clean_entries(frames: Frames, folio: Folio) -> None:
    """Let the next write to a page of a shared mapping be seen (page_mkclean())."""
    if not users(frames, folio.first):
        return

    def clean(mm: MemoryMap, va: int, entry: CpuEntry) -> None:
        flags = entry.flags & ~(EntryFlags.WRITABLE | EntryFlags.DIRTY)
        if entry.huge:
            table = mm.page_table.table(va)
            if table is not None:
                table.flags[:] = int(flags)
        else:
            mm.page_table.set(va, entry.kind, entry.pfn, flags)

    event = InvalidateEvent.PROTECTION_PAGE
    await change_entries(frames, folio, clean, event=event, shared_only=True)
