# SPDX-License-Identifier: Apache-2.0
"""A driver's own memory: pages that it takes from the host and gives back (nouveau_dmem of Linux).

Source: docs/host.md, "Migration".
"""

from __future__ import annotations

from models.arrays import PAGE_BYTES
from models.errors import UserError
from models.hmm.errors import HmmError
from models.hmm.frames import DevicePagemap, FramePool, Frames
from models.hmm.memory_map import MemoryMap
from models.hmm.migration import migrate_vma, wait_for_migration
from models.hmm.page_table import CpuEntry, EntryKind
from models.hmm.vma import Vma
from models.pages import NO_WINDOW, Window


class DeviceMemory:
    """The pages of a device; without a `pagemap` it has none."""

    def __init__(self, pagemap: DevicePagemap | None) -> None:
        self._pagemap = pagemap
        if pagemap is not None:
            pagemap.migrate_to_ram = self.migrate_to_ram

    @property
    def window(self) -> Window:
        """The pfns of its pages."""
        return self._pagemap.window if self._pagemap is not None else NO_WINDOW

    @property
    def pagemap(self) -> DevicePagemap | None:
        """The memory as the kernel knows it, None if there is none."""
        return self._pagemap

    async def take(self, mm: MemoryMap, start: int, end: int, *, fill: bool = False) -> int:
        """Move the pages of [start, end), which must lie in one area, into device memory; returns how many moved.

        `fill`: where nothing is, or only zeros, the device gets a page of zeros, which counts too.
        Errors: UserError if the device has no memory; HmmError EFAULT if nothing is mapped there, or as migrate_vma().
        """
        if self._pagemap is None:
            raise UserError("Give the device memory of its own before you move pages there.")
        pool = self._pagemap.pool
        async with mm.mmap_lock.read():
            vma = mm.vmas.find(start)
            if vma is None:
                raise HmmError("EFAULT", f"nothing is mapped at {start:#x}")

            async def copy(pfns: list[int]) -> dict[int, int]:
                return _copy(mm.frames, pfns, pool)

            return await migrate_vma(
                mm,
                vma,
                start,
                end,
                lambda entry: entry.kind is EntryKind.PRESENT,
                copy,
                new_page=pool.allocate if fill else None,
            )

    async def evict(self, frames: Frames) -> None:
        """Give all pages back to the host (nouveau_dmem_evict_chunk()). Errors: as migrate_to_ram()."""
        first, end = self.window.base, self.window.base + self.window.count
        for mm in list(frames.spaces):
            async with mm.mmap_lock.read():
                for va in mm.page_table.find_pfns(first, end, (EntryKind.DEVICE_PRIVATE,)):
                    vma = mm.vmas.find(va)
                    if vma is not None:
                        await self.migrate_to_ram(mm, vma, va)

    async def migrate_to_ram(self, mm: MemoryMap, vma: Vma, page: int) -> None:
        """Give one page back to the host (dev_pagemap_ops.migrate_to_ram). The mmap lock is held for reading.

        Errors: HmmError ENOMEM if the host has no memory, EFAULT if the page cannot move.
        """
        entry = mm.page_table.lookup(page)
        if entry.kind is not EntryKind.DEVICE_PRIVATE:
            return
        if entry.pfn in mm.frames.migrations:
            await wait_for_migration(mm.frames, entry.pfn)
            return

        async def copy(pfns: list[int]) -> dict[int, int]:
            return _copy(mm.frames, pfns, mm.frames.system)

        moved = await migrate_vma(mm, vma, page, page + PAGE_BYTES, self._owns, copy)
        if not moved and mm.page_table.lookup(page) == entry and entry.pfn not in mm.frames.migrations:
            raise HmmError("ENOMEM", "no memory to give the page back to")

    def _owns(self, entry: CpuEntry) -> bool:
        return (
            entry.kind is EntryKind.DEVICE_PRIVATE and self._pagemap is not None and self._pagemap.pool.holds(entry.pfn)
        )


def _copy(frames: Frames, pfns: list[int], pool: FramePool) -> dict[int, int]:
    """Copy as many pages as there is room for."""
    moved: dict[int, int] = {}
    for pfn in pfns:
        try:
            moved[pfn] = pool.allocate()
        except HmmError:
            break
        frames.copy(pfn, moved[pfn])
    return moved
