# SPDX-License-Identifier: Apache-2.0
"""Scenarios of the kernel's test of HMM: pages that move to a device's memory and back.

Source: the names and what they show, tools/testing/selftests/mm/hmm-tests.c of Linux; nothing of its text.
"""

from __future__ import annotations

from models.arrays import PAGE_BYTES
from models.hmm import EntryFlags, EntryKind, Prot, fork
from models.hmm.vma import Backing, SharedObject
from models.tests.hmm_tests.machine import (
    FIXED_SHARED,
    PAGES,
    PASID,
    PLACE,
    READ_WRITE,
    Machine,
    at,
    cpu_load,
    cpu_store,
    expect_cpu,
    fill,
    refused,
)


async def migrate(machine: Machine) -> None:
    """Pages move to the device, which reads them there."""
    mm = await machine.buffer()
    await fill(mm)
    assert await machine.to_device(mm) == PAGES
    await machine.expect()
    assert mm.page_table.lookup(PLACE).kind is EntryKind.DEVICE_PRIVATE


async def migrate_fault(machine: Machine) -> None:
    """The CPU takes half of them back; all can move again."""
    mm = await machine.buffer()
    await fill(mm)
    assert await machine.to_device(mm) == PAGES
    await expect_cpu(mm, PAGES // 2)
    assert await machine.to_device(mm) == PAGES // 2
    await machine.expect()


async def migrate_shared(machine: Machine) -> None:
    """Shared memory does not move."""
    mm = await machine.space()
    await mm.mmap(PLACE, PAGES * PAGE_BYTES, READ_WRITE, FIXED_SHARED)
    await fill(mm)
    await refused("ENOENT", machine.to_device(mm))
    await machine.expect()


async def migrate_multiple(machine: Machine) -> None:
    """There and back many times."""
    mm = await machine.buffer()
    for turn in range(10):
        await fill(mm, first=turn)
        assert await machine.to_device(mm) == PAGES
        await machine.expect(first=turn)
        await expect_cpu(mm, first=turn)


async def double_map(machine: Machine) -> None:
    """Read-only pages that the device reads move to a second device; the first one's read brings them back."""
    mm = await machine.buffer()
    await fill(mm)
    await mm.mprotect(PLACE, PAGES * PAGE_BYTES, Prot.PROT_READ)
    await machine.expect()
    assert await machine.to_device(mm, memory=machine.other) == PAGES
    await machine.expect()
    assert mm.page_table.count(EntryKind.DEVICE_PRIVATE) == 0
    await expect_cpu(mm)


async def hmm_cow_in_device(machine: Machine) -> None:
    """A page in device memory that a fork shares is copied to system memory by the parent's write."""
    mm = await machine.buffer()
    await fill(mm)
    assert await machine.to_device(mm) == PAGES
    child = await fork(mm)
    for page in range(PAGES):
        await cpu_store(mm, at(page), 50 + page)
    entry = mm.page_table.lookup(PLACE)
    assert entry.kind is EntryKind.PRESENT and EntryFlags.WRITABLE in entry.flags
    await machine.expect(first=50)
    await expect_cpu(child)


async def migrate_file_private(machine: Machine) -> None:
    """Private pages that were copied from a file move like any others; the file keeps its own."""
    mm = await machine.buffer()
    area = mm.vmas.find(PLACE)
    assert area is not None
    pages = {number: mm.frames.system.allocate() for number in range(PAGES)}
    area.shared = SharedObject(pages=pages, users=1, kind=Backing.FILE, size=PAGES, lasts=True)
    assert await cpu_load(mm, PLACE) == 0
    await fill(mm)
    assert await machine.to_device(mm) == PAGES
    await machine.expect()
    assert not any(mm.frames.words(pfn)[0] for pfn in pages.values())


async def migrate_release(machine: Machine) -> None:
    """The device gives back all of its memory; the CPU, and the device, find their data."""
    mm = await machine.buffer()
    await fill(mm)
    assert await machine.to_device(mm) == PAGES
    await machine.expect()
    await machine.driver.memory.evict(machine.frames)
    assert mm.page_table.count(EntryKind.DEVICE_PRIVATE) == 0
    await expect_cpu(mm, PAGES // 2)
    await machine.expect()


async def migrate_mixed(machine: Machine) -> None:
    """What is forbidden or not there does not move; zeros, read-only and writable pages do; another's page does not."""
    mm = await machine.buffer(6)
    await mm.mprotect(at(0), PAGE_BYTES, Prot.PROT_NONE)
    await refused("EINVAL", machine.to_device(mm, pages=2, memory=machine.other))
    await mm.munmap(at(1), PAGE_BYTES)
    await refused("EINVAL", machine.to_device(mm, at(1), 2, machine.other))
    assert await cpu_load(mm, at(2)) == 0
    for page in (3, 4, 5):
        await cpu_store(mm, at(page), page)
    await mm.mprotect(at(3), PAGE_BYTES, Prot.PROT_READ)
    assert await machine.to_device(mm, at(2), 4, machine.other) == 4
    await refused("ENOENT", machine.to_device(mm, at(5), 1))
    for page, value in ((2, 0), (3, 3), (4, 4), (5, 5)):
        assert await machine.device.read(PASID, at(page)) == value
        assert await cpu_load(mm, at(page)) == value
