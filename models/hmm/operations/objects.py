# SPDX-License-Identifier: Apache-2.0
"""Changes of the objects behind areas: shortened, with holes punched, written back, dropped from the cache.

Source: docs/host.md, "Operations"; truncate_pagecache() of mm/truncate.c, shmem_fallocate() and shmem_setattr() of
mm/shmem.c, hugetlb_vmtruncate() of fs/hugetlbfs/inode.c, write_cache_pages() of mm/page-writeback.c.
"""

from __future__ import annotations

import numpy as np

from models.hmm.frames import HUGE_PAGES, Frames
from models.hmm.operations.huge import split_folio
from models.hmm.operations.reclaim import clean_entries
from models.hmm.operations.unmap import zap_told
from models.hmm.reverse_map import Folio, object_places, users
from models.hmm.vma import Backing, SharedObject

ENDLESS = 1 << 52
"""A page number behind every object."""


async def truncate(frames: Frames, cache: SharedObject, pages: int) -> None:
    """Let an object end after so many pages (ftruncate())."""
    old = cache.size if cache.size is not None else ENDLESS
    cache.size = pages
    shortened = pages < old
    if cache.kind is Backing.FILE:
        # Unmapped before and after the pages go: one may have been copied in between.
        await _unmap_pages(frames, cache, pages, ENDLESS, keep_copies=False)
        await _drop_pages(frames, cache, pages, ENDLESS)
        await _unmap_pages(frames, cache, pages, ENDLESS, keep_copies=False)
        return
    if not shortened:
        return
    await _unmap_pages(frames, cache, pages, ENDLESS, keep_copies=False)
    await _drop_pages(frames, cache, pages, ENDLESS)
    if cache.kind is Backing.SHMEM:
        await _unmap_pages(frames, cache, pages, ENDLESS, keep_copies=False)


async def punch_hole(frames: Frames, cache: SharedObject, first: int, end: int) -> None:
    """Take the pages [first, end) out of an object; private copies stay (fallocate() with FALLOC_FL_PUNCH_HOLE)."""
    await _unmap_pages(frames, cache, first, end, keep_copies=cache.kind is not Backing.HUGETLB)
    await _drop_pages(frames, cache, first, end)


async def _unmap_pages(frames: Frames, cache: SharedObject, first: int, end: int, *, keep_copies: bool) -> None:
    """Unmap pages of an object wherever they may be mapped (unmap_mapping_range())."""
    for place in object_places(frames, cache, first, end):
        assert place.area is not None  # A place in an object is one of an area.
        await zap_told(place.mm, place.area, place.start, place.end, keep_copies=keep_copies)


async def _drop_pages(frames: Frames, cache: SharedObject, first: int, end: int) -> None:
    for start in sorted(cache.huge):
        if start < first < start + HUGE_PAGES or start < end < start + HUGE_PAGES:
            await split_folio(frames, cache.pages[start])
    gone = [number for number in cache.pages if first <= number < end]
    frames.drop(np.array([cache.pages.pop(number) for number in gone], dtype=np.uint64))
    frames.forget_written_out(cache, first, end)
    cache.swapped -= {number for number in cache.swapped if first <= number < end}
    cache.dirty -= set(gone)
    cache.huge -= {number for number in cache.huge if first <= number < end}


async def write_back(frames: Frames, cache: SharedObject, first: int = 0, end: int = ENDLESS) -> None:
    """Write the dirty pages of a file to its disk; from then on their next write is seen (msync(), fsync())."""
    if cache.kind is not Backing.FILE:
        return
    written = cache.dirty | {number for number, pfn in cache.pages.items() if frames.is_dirty(pfn)}
    for number in sorted(written):
        if first <= number < end and number in cache.pages:
            pfn = cache.pages[number]
            cache.dirty.discard(number)
            # A device that loses its entry here marks the page: what it wrote until then is written back too.
            await clean_entries(frames, Folio(pfn, 1))
            frames.clean(pfn)
            frames.write_out((cache, number), pfn)


async def write_back_everything(frames: Frames) -> None:
    """The same for all files (sync())."""
    for cache in objects(frames):
        await write_back(frames, cache)


def drop_clean_pages(frames: Frames) -> None:
    """Pages of files that nobody maps and that are not dirty leave the cache (drop_caches)."""
    for cache in objects(frames):
        if cache.kind is not Backing.FILE:
            continue
        for number, pfn in list(cache.pages.items()):
            if number not in cache.dirty and not frames.is_dirty(pfn) and not users(frames, pfn):
                # A clean page is equal to what the disk has, whoever put that there.
                frames.write_out((cache, number), pfn)
                frames.drop(np.array([cache.pages.pop(number)], dtype=np.uint64))


def objects(frames: Frames) -> list[SharedObject]:
    """Every object that an area shows."""
    found = {id(area.shared): area.shared for mm in frames.spaces for area in mm.vmas if area.shared is not None}
    return list(found.values())
