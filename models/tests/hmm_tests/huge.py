# SPDX-License-Identifier: Apache-2.0
"""Scenarios of the kernel's test of HMM: huge pages that move, are cut, or are moved by mremap().

In the device's memory all pages are small: a huge page is taken apart on its way.
Source: the names and what they show, tools/testing/selftests/mm/hmm-tests.c of Linux; nothing of its text.
"""

from __future__ import annotations

import numpy as np

from models.arrays import PAGE_BYTES
from models.hmm import Advice, EntryKind, MemoryMap, RemapFlags
from models.hmm.frames import HUGE_BYTES, HUGE_PAGES
from models.tests.hmm_tests.machine import (
    ELSEWHERE,
    PAGES,
    PASID,
    PLACE,
    Machine,
    at,
    cpu_load,
    cpu_store,
    fill,
)

SAMPLES = (0, 1, 127, 128, 255, 256, 383, 384, 510, 511)
"""Pages of the 2 MiB that are looked at."""


async def huge_buffer(machine: Machine) -> MemoryMap:
    """A bound address space with 2 MiB that may become one page."""
    mm = await machine.buffer(HUGE_PAGES)
    await mm.madvise(PLACE, HUGE_BYTES, Advice.MADV_HUGEPAGE)
    return mm


async def write_samples(mm: MemoryMap) -> None:
    """The CPU writes its number into each sampled page."""
    for page in SAMPLES:
        await cpu_store(mm, at(page), 1 + page)


async def expect_samples(
    machine: Machine, mm: MemoryMap, pages: tuple[int, ...] = SAMPLES, *, zeros: bool = False
) -> None:
    """The device and then the CPU find what was written, or zeros. Errors: AssertionError."""
    for page in pages:
        assert await machine.device.read(PASID, at(page)) == (0 if zeros else 1 + page)
    for page in pages:
        assert await cpu_load(mm, at(page)) == (0 if zeros else 1 + page)


async def migrate_anon_huge_empty(machine: Machine) -> None:
    """2 MiB that nobody touched: the device gets pages of zeros, and writes to one."""
    mm = await huge_buffer(machine)
    assert await machine.to_device(mm, pages=HUGE_PAGES) == HUGE_PAGES
    await machine.device.write(PASID, at(3), 33)
    await expect_samples(machine, mm, zeros=True)
    assert await cpu_load(mm, at(3)) == 33


async def migrate_anon_huge_zero(machine: Machine) -> None:
    """2 MiB of which the CPU has only read zeros."""
    mm = await huge_buffer(machine)
    assert await cpu_load(mm, PLACE) == 0
    assert mm.page_table.lookup(PLACE).huge
    assert await machine.to_device(mm, pages=HUGE_PAGES) == HUGE_PAGES
    await expect_samples(machine, mm, zeros=True)
    await write_samples(mm)
    await expect_samples(machine, mm)


async def migrate_anon_huge_free(machine: Machine) -> None:
    """What is in the device's memory may be given up: MADV_FREE."""
    mm = await huge_buffer(machine)
    await write_samples(mm)
    assert await machine.to_device(mm, pages=HUGE_PAGES) == HUGE_PAGES
    for page in SAMPLES:
        assert await machine.device.read(PASID, at(page)) == 1 + page
    await mm.madvise(PLACE, HUGE_BYTES, Advice.MADV_FREE)
    for page in SAMPLES:
        assert await cpu_load(mm, at(page)) in (0, 1 + page)


async def migrate_anon_huge_fault(machine: Machine) -> None:
    """A huge page moves; the CPU takes it back."""
    mm = await huge_buffer(machine)
    await write_samples(mm)
    assert mm.page_table.lookup(PLACE).huge
    assert await machine.to_device(mm, pages=HUGE_PAGES) == HUGE_PAGES
    await expect_samples(machine, mm)
    for page in SAMPLES:
        assert mm.page_table.lookup(at(page)).kind is EntryKind.PRESENT


def _no_large_piece(machine: Machine) -> None:
    """Every other page of the device's memory is taken, so that it has no piece of 2 MiB."""
    pagemap = machine.driver.memory.pagemap
    assert pagemap is not None
    taken = [pagemap.pool.allocate() for _ in range(pagemap.window.count)]
    machine.frames.drop(np.array(sorted(taken)[::2], dtype=np.uint64))


async def migrate_anon_huge_err(machine: Machine) -> None:
    """The device has no large piece left: small pages do."""
    mm = await huge_buffer(machine)
    await write_samples(mm)
    _no_large_piece(machine)
    assert await machine.to_device(mm, pages=HUGE_PAGES) == HUGE_PAGES
    await expect_samples(machine, mm)


async def migrate_anon_huge_zero_err(machine: Machine) -> None:
    """The same for 2 MiB of which the CPU has only read zeros."""
    mm = await huge_buffer(machine)
    assert await cpu_load(mm, PLACE) == 0
    _no_large_piece(machine)
    assert await machine.to_device(mm, pages=HUGE_PAGES) == HUGE_PAGES
    await expect_samples(machine, mm, zeros=True)


async def migrate_partial_unmap_fault(machine: Machine) -> None:
    """1 MiB at the beginning, in the middle or at the end is unmapped after the move; the rest is whole."""
    for first in (0, 128, 256):
        mm = await huge_buffer(machine)
        if first == 128:
            await mm.madvise(PLACE, HUGE_BYTES, Advice.MADV_NOHUGEPAGE)
        await write_samples(mm)
        assert mm.page_table.lookup(PLACE).huge == (first != 128)
        assert await machine.to_device(mm, pages=HUGE_PAGES) == HUGE_PAGES
        assert await machine.device.read(PASID, at(first)) == (1 + first if first in SAMPLES else 0)
        await mm.munmap(at(first), HUGE_BYTES // 2)
        rest = tuple(page for page in SAMPLES if not first <= page < first + HUGE_PAGES // 2)
        await expect_samples(machine, mm, rest)
        await machine.refused(machine.device.read(PASID, at(first)))
        await machine.driver.unbind(PASID)
        await mm.exit()


async def migrate_remap_fault(machine: Machine) -> None:
    """mremap() before or after the move, keeping the old place or not: the data follow the address."""
    length = PAGES * PAGE_BYTES
    moved = RemapFlags.MREMAP_MAYMOVE | RemapFlags.MREMAP_FIXED
    for before in (False, True):
        for flags in (moved, moved | RemapFlags.MREMAP_DONTUNMAP):
            mm = await machine.buffer()
            await fill(mm)
            if before:
                assert await mm.mremap(PLACE, length, length, flags, ELSEWHERE) == ELSEWHERE
                assert await machine.to_device(mm, ELSEWHERE) == PAGES
            else:
                assert await machine.to_device(mm) == PAGES
                assert await mm.mremap(PLACE, length, length, flags, ELSEWHERE) == ELSEWHERE
            for page in range(PAGES):
                assert await machine.device.read(PASID, ELSEWHERE + page * PAGE_BYTES) == 1 + page
                assert await cpu_load(mm, ELSEWHERE + page * PAGE_BYTES) == 1 + page
            if RemapFlags.MREMAP_DONTUNMAP in flags:
                assert await machine.device.read(PASID, PLACE) == 0
                assert await cpu_load(mm, at(1)) == 0
            else:
                await machine.refused(machine.device.read(PASID, PLACE))
            await machine.driver.unbind(PASID)
            await mm.exit()


async def anon_write_huge(machine: Machine) -> None:
    """The device writes to a huge page."""
    mm = await huge_buffer(machine)
    for page in (0, 5, 511):
        await machine.device.write(PASID, at(page), 1 + page)
        assert await cpu_load(mm, at(page)) == 1 + page
    assert mm.page_table.lookup(PLACE).huge
