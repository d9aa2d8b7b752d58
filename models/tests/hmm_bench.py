# SPDX-License-Identifier: Apache-2.0
"""Address spaces for tests of HMM's calls: one page in each state of the page table, and a mirror that takes notes."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from models.arrays import PAGE_BYTES, PAGE_SHIFT, Words
from models.formats import EntryFormat
from models.hmm import (
    Advice,
    CpuEntry,
    DevicePagemap,
    EntryFlags,
    EntryKind,
    Frames,
    HmmRange,
    MapFlags,
    MemoryMap,
    MmuNotifierRange,
    Prot,
    Vma,
    VmFlags,
    cpu_read,
    cpu_write,
    fork,
    hmm_mirror_register,
    hmm_vma_fault,
    hmm_vma_get_pfns,
    memory_failure,
    migrate_vma,
    range_in_format,
)
from models.hmm.frames import HUGE_BYTES
from models.host_scheduler import Scheduler
from models.pages import Window
from models.physical_memory import PhysicalMemory

PLACE = 0x4000_0000
"""A 2 MiB boundary."""
FIXED = MapFlags.MAP_PRIVATE | MapFlags.MAP_ANONYMOUS | MapFlags.MAP_FIXED
WINDOW = Window(0x100_0000, 8)


@dataclass
class NotingMirror:
    """A mirror that writes down what it is told."""

    updates: list[MmuNotifierRange] = field(default_factory=list)
    released: bool = False
    on_update: Callable[[MmuNotifierRange], Awaitable[None]] | None = None

    async def sync_cpu_device_pagetables(self, update: MmuNotifierRange) -> None:
        """Note it, and do what the test wants."""
        self.updates.append(update)
        if self.on_update is not None:
            await self.on_update(update)

    async def release(self) -> None:
        """Note it."""
        self.released = True


class HmmBench:
    """One address space with a mirror. `pagemap` is some device's memory."""

    def __init__(self, memory_size: int = 1 << 24) -> None:
        self.scheduler = Scheduler()
        self.frames = Frames(PhysicalMemory(memory_size))
        self.pagemap = DevicePagemap(PhysicalMemory(WINDOW.count << PAGE_SHIFT), WINDOW)
        self.frames.add_pagemap(self.pagemap)
        self.pagemap.migrate_to_ram = self._migrate_to_ram
        self.mm = MemoryMap(self.scheduler, self.frames)
        self.mirror = NotingMirror()

    async def begin(self) -> None:
        """Register the mirror."""
        await hmm_mirror_register(self.mirror, self.mm)

    def vma(self, va: int) -> Vma:
        """The area of `va`."""
        vma = self.mm.vmas.find(va)
        assert vma is not None
        return vma

    def range(self, fmt: EntryFormat, start: int, pages: int, pfns: Words | None = None) -> HmmRange:
        """A range of `pages` whose entries ask for nothing, or hold `pfns`."""
        empty = np.zeros(pages, dtype=np.uint64)
        made = range_in_format(fmt, self.vma(start), start, start + pages * PAGE_BYTES, empty)
        made.pfns[:] = made.words().none
        if pfns is not None:
            made.pfns[:] = pfns
        return made

    async def snapshot(self, hmm_range: HmmRange) -> None:
        """hmm_vma_get_pfns() under the mmap lock."""
        async with self.mm.mmap_lock.read():
            await hmm_vma_get_pfns(hmm_range)

    async def fault(self, hmm_range: HmmRange) -> None:
        """hmm_vma_fault() under the mmap lock."""
        async with self.mm.mmap_lock.read():
            await hmm_vma_fault(hmm_range, block=True)

    async def to_device(self, start: int, end: int, mm: MemoryMap | None = None) -> int:
        """Move pages (of `mm`, or of the bench's own space) into the device's memory, as many as have room there."""
        space = mm or self.mm
        async with space.mmap_lock.read():
            vma = space.vmas.find(start)
            assert vma is not None
            return await migrate_vma(
                space, vma, start, end, lambda entry: entry.kind is EntryKind.PRESENT, self._copy_in
            )

    async def _copy_in(self, pfns: list[int]) -> dict[int, int]:
        moved = {}
        for pfn in pfns[: self.pagemap.pool.count - self.pagemap.pool.pages_in_use()]:
            moved[pfn] = self.pagemap.pool.allocate()
            self.frames.copy(pfn, moved[pfn])
        return moved

    async def _copy_out(self, pfns: list[int]) -> dict[int, int]:
        moved = {}
        for pfn in pfns:
            moved[pfn] = self.frames.system.allocate()
            self.frames.copy(pfn, moved[pfn])
        return moved

    async def _migrate_to_ram(self, mm: MemoryMap, vma: Vma, page: int) -> None:
        await migrate_vma(
            mm, vma, page, page + PAGE_BYTES, lambda entry: entry.kind is EntryKind.DEVICE_PRIVATE, self._copy_out
        )


async def _hole(bench: HmmBench) -> None:
    await bench.mm.mmap(PLACE, PAGE_BYTES, flags=FIXED)


async def _none(bench: HmmBench) -> None:
    await bench.mm.mmap(PLACE, 2 * PAGE_BYTES, flags=FIXED)
    await cpu_write(bench.mm, PLACE + PAGE_BYTES, b"neighbour")


async def _writable(bench: HmmBench) -> None:
    await _hole(bench)
    await cpu_write(bench.mm, PLACE, b"data")


async def _copy_on_write(bench: HmmBench) -> None:
    await _writable(bench)
    await fork(bench.mm)


async def _read_only(bench: HmmBench) -> None:
    await _writable(bench)
    await bench.mm.mprotect(PLACE, PAGE_BYTES, Prot.PROT_READ)


async def _zero_page(bench: HmmBench) -> None:
    await _hole(bench)
    await cpu_read(bench.mm, PLACE, 1)


async def _huge(bench: HmmBench) -> None:
    await bench.mm.mmap(PLACE, HUGE_BYTES, flags=FIXED)
    await bench.mm.madvise(PLACE, HUGE_BYTES, Advice.MADV_HUGEPAGE)
    await cpu_write(bench.mm, PLACE, b"data")


async def _huge_read_only(bench: HmmBench) -> None:
    await _huge(bench)
    await fork(bench.mm)


async def _huge_zero(bench: HmmBench) -> None:
    await bench.mm.mmap(PLACE, HUGE_BYTES, flags=FIXED)
    await bench.mm.madvise(PLACE, HUGE_BYTES, Advice.MADV_HUGEPAGE)
    await cpu_read(bench.mm, PLACE, 1)


async def _device_private(bench: HmmBench) -> None:
    await _writable(bench)
    assert await bench.to_device(PLACE, PLACE + PAGE_BYTES) == 1


async def _device_private_read_only(bench: HmmBench) -> None:
    await _device_private(bench)
    await fork(bench.mm)


async def _poison(bench: HmmBench) -> None:
    await _writable(bench)
    assert await memory_failure(bench.frames, bench.mm.page_table.lookup(PLACE).pfn) == 1


async def _special(bench: HmmBench) -> None:
    await bench.mm.map_pfns(PLACE, PAGE_BYTES, 0x800)


async def _mixed(bench: HmmBench) -> None:
    await bench.mm.map_pfns(PLACE, PAGE_BYTES, 0x800, mixed=True)


async def _no_read(bench: HmmBench) -> None:
    await _writable(bench)
    await bench.mm.mprotect(PLACE, PAGE_BYTES, Prot.PROT_NONE)


async def _write_only(bench: HmmBench) -> None:
    await _writable(bench)
    await bench.mm.mprotect(PLACE, PAGE_BYTES, Prot.PROT_WRITE)


async def _absent_read_only(bench: HmmBench) -> None:
    await bench.mm.mmap(PLACE, PAGE_BYTES, Prot.PROT_READ, FIXED)


async def _shared(bench: HmmBench) -> None:
    await bench.mm.mmap(PLACE, PAGE_BYTES, flags=MapFlags.MAP_SHARED | MapFlags.MAP_ANONYMOUS | MapFlags.MAP_FIXED)
    await cpu_write(bench.mm, PLACE, b"data")


STATES: dict[str, Callable[[HmmBench], Coroutine[Any, Any, None]]] = {
    "hole": _hole,
    "none": _none,
    "writable": _writable,
    "shared": _shared,
    "copy_on_write": _copy_on_write,
    "read_only": _read_only,
    "zero_page": _zero_page,
    "huge": _huge,
    "huge_read_only": _huge_read_only,
    "huge_zero": _huge_zero,
    "device_private": _device_private,
    "device_private_read_only": _device_private_read_only,
    "poison": _poison,
    "special": _special,
    "mixed": _mixed,
    "no_read": _no_read,
    "write_only": _write_only,
    "absent_read_only": _absent_read_only,
}
"""How to bring the page at PLACE into each state."""

__all__ = ["PLACE", "STATES", "WINDOW", "CpuEntry", "EntryFlags", "HmmBench", "NotingMirror", "VmFlags"]
