# SPDX-License-Identifier: Apache-2.0
"""The scenarios of the kernel's own test of HMM, by their names there, on a driver and a device.

Each is a coroutine over a machine whose device reads and writes at virtual addresses; what it checks stands in it.
Source: the names and what they show, tools/testing/selftests/mm/hmm-tests.c of Linux; nothing of its text.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass
from typing import Any, Protocol

import pytest

from models.arrays import PAGE_BYTES, WORD_BYTES
from models.driver import Driver
from models.hmm import (
    Advice,
    CpuAccessError,
    EntryFlags,
    EntryKind,
    HmmError,
    MapFlags,
    MemoryMap,
    Prot,
    RemapFlags,
    cpu_read,
    cpu_write,
    fork,
)
from models.hmm.frames import HUGE_BYTES
from models.hmm.operations.exclusive import make_device_exclusive_range
from models.hmm.vma import Backing, SharedObject

PLACE = 1 << 30
"""Where buffers lie."""
ELSEWHERE = PLACE + 8 * HUGE_BYTES
PASID, CHILD_PASID = 1, 2
PAGES = 8
FIXED_PRIVATE = MapFlags.MAP_PRIVATE | MapFlags.MAP_ANONYMOUS | MapFlags.MAP_FIXED
FIXED_SHARED = MapFlags.MAP_SHARED | MapFlags.MAP_ANONYMOUS | MapFlags.MAP_FIXED


class Device(Protocol):
    """What the scenarios need of a device."""

    async def read(self, pasid: int, va: int) -> int:
        """The word at an address. Errors: an exception if the access is aborted."""
        ...

    async def write(self, pasid: int, va: int, value: int) -> None:
        """Store a word. Errors: as read()."""
        ...

    async def atomic_add(self, pasid: int, va: int, value: int) -> int:
        """Add to a word; returns what it was. Errors: as read()."""
        ...


@dataclass
class Machine:
    """A driver with its device and a way to make address spaces and threads.

    `refusal`: what a refused access of the device raises.
    """

    device: Device
    driver: Driver
    new_space: Callable[[], MemoryMap]
    start: Callable[[Coroutine[Any, Any, Any]], Any]
    refusal: type[Exception]

    async def buffer(self, pages: int = PAGES, prot: Prot = Prot.PROT_READ | Prot.PROT_WRITE) -> MemoryMap:
        """A bound address space with a buffer."""
        mm = self.new_space()
        await self.driver.bind(PASID, mm)
        await mm.mmap(PLACE, pages * PAGE_BYTES, prot, FIXED_PRIVATE)
        return mm

    async def refused(self, access: Awaitable[object]) -> None:
        """The device's access is aborted. Errors: AssertionError if not."""
        with pytest.raises(self.refusal):
            await access


def at(page: int) -> int:
    """The address of a page of the buffer."""
    return PLACE + page * PAGE_BYTES


async def cpu_store(mm: MemoryMap, va: int, value: int) -> None:
    """The CPU stores a word."""
    await cpu_write(mm, va, value.to_bytes(WORD_BYTES, "little"))


async def cpu_load(mm: MemoryMap, va: int) -> int:
    """The CPU loads a word."""
    return int.from_bytes(await cpu_read(mm, va, WORD_BYTES), "little")


async def fill(mm: MemoryMap, pages: int = PAGES, first: int = 1) -> None:
    """Each page of the buffer begins with its number from `first`."""
    for page in range(pages):
        await cpu_store(mm, at(page), first + page)


async def expect_device(machine: Machine, pages: int = PAGES, first: int = 1, pasid: int = PASID) -> None:
    """The device reads what fill() wrote."""
    for page in range(pages):
        assert await machine.device.read(pasid, at(page)) == first + page


async def expect_cpu(mm: MemoryMap, pages: int = PAGES, first: int = 1) -> None:
    """The CPU reads what fill() wrote."""
    for page in range(pages):
        assert await cpu_load(mm, at(page)) == first + page


async def open_close(machine: Machine) -> None:
    """Bind and unbind."""
    mm = machine.new_space()
    await machine.driver.bind(PASID, mm)
    await machine.driver.unbind(PASID)
    assert not machine.driver.contexts


async def anon_read(machine: Machine) -> None:
    """A page of nothing, the page of zeros, written pages made read-only: the device reads all."""
    mm = await machine.buffer()
    for page in range(2, PAGES):
        await cpu_store(mm, at(page), page)
    assert await cpu_load(mm, at(1)) == 0
    await mm.mprotect(at(2), (PAGES - 2) * PAGE_BYTES, Prot.PROT_READ)
    for page in range(PAGES):
        assert await machine.device.read(PASID, at(page)) == (page if page > 1 else 0)


async def anon_read_prot(machine: Machine) -> None:
    """What the CPU may not read the device may not either."""
    mm = await machine.buffer()
    await fill(mm)
    await mm.mprotect(PLACE, PAGES * PAGE_BYTES, Prot.PROT_NONE)
    await machine.refused(machine.device.read(PASID, PLACE))
    await mm.mprotect(PLACE, PAGES * PAGE_BYTES, Prot.PROT_READ)
    await expect_cpu(mm)


async def anon_write(machine: Machine) -> None:
    """The CPU reads what the device wrote."""
    mm = await machine.buffer()
    for page in range(PAGES):
        await machine.device.write(PASID, at(page), 1 + page)
    await expect_cpu(mm)


async def anon_write_prot(machine: Machine) -> None:
    """Read-only memory is not written by the device; after mprotect() it is."""
    mm = await machine.buffer(prot=Prot.PROT_READ)
    assert await machine.device.read(PASID, PLACE) == 0
    await machine.refused(machine.device.write(PASID, PLACE, 7))
    assert await cpu_load(mm, PLACE) == 0
    await mm.mprotect(PLACE, PAGES * PAGE_BYTES, Prot.PROT_READ | Prot.PROT_WRITE)
    await machine.device.write(PASID, PLACE, 7)
    assert await cpu_load(mm, PLACE) == 7


async def anon_write_child(machine: Machine) -> None:
    """What the device writes for a child the parent does not see."""
    mm = await machine.buffer()
    await fill(mm)
    child = await fork(mm)
    await machine.driver.bind(CHILD_PASID, child)
    for page in range(PAGES):
        await machine.device.write(CHILD_PASID, at(page), 100 + page)
    await expect_cpu(child, first=100)
    await expect_cpu(mm)
    await expect_device(machine)


async def anon_write_child_shared(machine: Machine) -> None:
    """In shared memory the parent sees it."""
    mm = machine.new_space()
    await machine.driver.bind(PASID, mm)
    await mm.mmap(PLACE, PAGES * PAGE_BYTES, Prot.PROT_READ | Prot.PROT_WRITE, FIXED_SHARED)
    await fill(mm)
    child = await fork(mm)
    await machine.driver.bind(CHILD_PASID, child)
    for page in range(PAGES):
        await machine.device.write(CHILD_PASID, at(page), 100 + page)
    await expect_cpu(mm, first=100)


async def anon_write_huge(machine: Machine) -> None:
    """The device writes to a huge page."""
    mm = machine.new_space()
    await machine.driver.bind(PASID, mm)
    await mm.mmap(PLACE, HUGE_BYTES, flags=FIXED_PRIVATE)
    await mm.madvise(PLACE, HUGE_BYTES, Advice.MADV_HUGEPAGE)
    for page in (0, 5, 511):
        await machine.device.write(PASID, at(page), 1 + page)
        assert await cpu_load(mm, at(page)) == 1 + page
    assert mm.page_table.lookup(PLACE).huge


def _file_area(mm: MemoryMap) -> SharedObject:
    """The buffer shows a file from now on."""
    area = mm.vmas.find(PLACE)
    assert area is not None and area.shared is not None
    area.shared.kind = Backing.FILE
    area.shared.size = PAGES
    area.shared.lasts = True
    return area.shared


async def file_read(machine: Machine) -> None:
    """The device reads a mapped file."""
    mm = machine.new_space()
    await machine.driver.bind(PASID, mm)
    await mm.mmap(PLACE, PAGES * PAGE_BYTES, Prot.PROT_READ | Prot.PROT_WRITE, FIXED_SHARED)
    _file_area(mm)
    await fill(mm)
    await mm.mprotect(PLACE, PAGES * PAGE_BYTES, Prot.PROT_READ)
    await expect_device(machine)


async def file_write(machine: Machine) -> None:
    """What the device writes is in the file."""
    mm = machine.new_space()
    await machine.driver.bind(PASID, mm)
    await mm.mmap(PLACE, PAGES * PAGE_BYTES, Prot.PROT_READ | Prot.PROT_WRITE, FIXED_SHARED)
    file = _file_area(mm)
    for page in range(PAGES):
        await machine.device.write(PASID, at(page), 1 + page)
    assert [int(mm.frames.words(file.pages[page])[0]) for page in range(PAGES)] == list(range(1, PAGES + 1))


async def _to_device(machine: Machine, pages: int = PAGES) -> int:
    return await machine.driver.migrate_to_device(PASID, PLACE, PLACE + pages * PAGE_BYTES)


async def migrate(machine: Machine) -> None:
    """Pages move to the device, which reads them there."""
    mm = await machine.buffer()
    await fill(mm)
    assert await _to_device(machine) == PAGES
    await expect_device(machine)
    assert mm.page_table.lookup(PLACE).kind is EntryKind.DEVICE_PRIVATE


async def migrate_fault(machine: Machine) -> None:
    """The CPU takes half of them back; all can move again."""
    mm = await machine.buffer()
    await fill(mm)
    assert await _to_device(machine) == PAGES
    await expect_cpu(mm, PAGES // 2)
    assert await _to_device(machine) == PAGES // 2
    await expect_device(machine)


async def migrate_shared(machine: Machine) -> None:
    """Shared memory does not move."""
    mm = machine.new_space()
    await machine.driver.bind(PASID, mm)
    await mm.mmap(PLACE, PAGES * PAGE_BYTES, Prot.PROT_READ | Prot.PROT_WRITE, FIXED_SHARED)
    await fill(mm)
    with pytest.raises(HmmError):
        await _to_device(machine)
    await expect_device(machine)


async def migrate_multiple(machine: Machine) -> None:
    """There and back many times."""
    mm = await machine.buffer()
    for turn in range(10):
        await fill(mm, first=turn)
        assert await _to_device(machine) == PAGES
        await expect_device(machine, first=turn)
        await expect_cpu(mm, first=turn)


async def anon_read_multiple(machine: Machine) -> None:
    """A new buffer each time, at the same place."""
    mm = await machine.buffer()
    for turn in range(10):
        await fill(mm, first=turn)
        await expect_device(machine, first=turn)
        await mm.munmap(PLACE, PAGES * PAGE_BYTES)
        await mm.mmap(PLACE, PAGES * PAGE_BYTES, flags=FIXED_PRIVATE)


async def anon_teardown(machine: Machine) -> None:
    """The upper half is unmapped while the device reads: each page is read right, or refused once it is gone."""
    mm = await machine.buffer()
    for turn in range(5):
        await fill(mm, first=turn)
        task = machine.start(mm.munmap(at(PAGES // 2), PAGES // 2 * PAGE_BYTES))
        for page in range(PAGES):
            try:
                assert await machine.device.read(PASID, at(page)) == turn + page
            except machine.refusal:
                assert page >= PAGES // 2
        while not task.done:
            await machine.driver.port.pause("test: wait")
        await mm.mmap(at(PAGES // 2), PAGES // 2 * PAGE_BYTES, flags=FIXED_PRIVATE)


async def exclusive(machine: Machine) -> None:
    """Pages are a device's alone until the CPU writes."""
    mm = await machine.buffer()
    await fill(mm)
    async with mm.mmap_lock.read():
        done = await make_device_exclusive_range(mm, PLACE, at(PAGES), machine.driver)
    assert done == [at(page) for page in range(PAGES)]
    assert mm.page_table.count(EntryKind.EXCLUSIVE) == PAGES
    for page in range(PAGES):
        await cpu_store(mm, at(page), await cpu_load(mm, at(page)) + 1)
    assert mm.page_table.count(EntryKind.EXCLUSIVE) == 0
    await expect_cpu(mm, first=2)
    await expect_device(machine, first=2)


async def exclusive_mprotect(machine: Machine) -> None:
    """Protected against writing, it is not written."""
    mm = await machine.buffer()
    await fill(mm)
    async with mm.mmap_lock.read():
        await make_device_exclusive_range(mm, PLACE, at(PAGES), machine.driver)
    await mm.mprotect(PLACE, PAGES * PAGE_BYTES, Prot.PROT_READ)
    await machine.refused(machine.device.write(PASID, PLACE, 9))
    with pytest.raises(CpuAccessError):
        await cpu_store(mm, PLACE, 9)
    await expect_cpu(mm)


async def exclusive_cow(machine: Machine) -> None:
    """The fork takes the pages back from the device; after it each side sees only its own."""
    mm = await machine.buffer()
    await fill(mm)
    async with mm.mmap_lock.read():
        await make_device_exclusive_range(mm, PLACE, at(PAGES), machine.driver)
    child = await fork(mm)
    for space in (mm, child):
        assert space.page_table.count(EntryKind.EXCLUSIVE) == 0
        assert not space.page_table.lookup(PLACE).writable
        for page in range(PAGES):
            await cpu_store(space, at(page), await cpu_load(space, at(page)) + 1)
    await expect_cpu(mm, first=2)
    await expect_cpu(child, first=2)


async def double_map(machine: Machine) -> None:
    """Read-only pages move to the device; somebody else's read brings them back."""
    mm = await machine.buffer()
    await fill(mm)
    await mm.mprotect(PLACE, PAGES * PAGE_BYTES, Prot.PROT_READ)
    await expect_device(machine)
    assert await _to_device(machine) == PAGES
    await expect_device(machine)
    await expect_cpu(mm)
    assert mm.page_table.count(EntryKind.DEVICE_PRIVATE) == 0


async def hmm_cow_in_device(machine: Machine) -> None:
    """A page in device memory that a fork shares is copied to system memory by the parent's write."""
    mm = await machine.buffer()
    await fill(mm)
    assert await _to_device(machine) == PAGES
    child = await fork(mm)
    for page in range(PAGES):
        await cpu_store(mm, at(page), 50 + page)
    entry = mm.page_table.lookup(PLACE)
    assert entry.kind is EntryKind.PRESENT and EntryFlags.WRITABLE in entry.flags
    await expect_device(machine, first=50)
    await expect_cpu(child)


async def migrate_partial_unmap_fault(machine: Machine) -> None:
    """A part is unmapped after the move; the rest is whole."""
    mm = await machine.buffer()
    await fill(mm)
    assert await _to_device(machine) == PAGES
    await mm.munmap(at(2), 2 * PAGE_BYTES)
    for page in (0, 1, 4, 5, 6, 7):
        assert await cpu_load(mm, at(page)) == 1 + page
    await machine.refused(machine.device.read(PASID, at(2)))


async def migrate_remap_fault(machine: Machine) -> None:
    """mremap() after the move: the data follow the address."""
    mm = await machine.buffer()
    await fill(mm)
    assert await _to_device(machine) == PAGES
    length = PAGES * PAGE_BYTES
    flags = RemapFlags.MREMAP_MAYMOVE | RemapFlags.MREMAP_FIXED
    assert await mm.mremap(PLACE, length, length, flags, ELSEWHERE) == ELSEWHERE
    for page in range(PAGES):
        assert await machine.device.read(PASID, ELSEWHERE + page * PAGE_BYTES) == 1 + page
        assert await cpu_load(mm, ELSEWHERE + page * PAGE_BYTES) == 1 + page
    await machine.refused(machine.device.read(PASID, PLACE))


Scenario = Callable[[Machine], Coroutine[Any, Any, None]]

SCENARIOS: dict[str, Scenario] = {
    "open_close": open_close,
    "anon_read": anon_read,
    "anon_read_prot": anon_read_prot,
    "anon_write": anon_write,
    "anon_write_prot": anon_write_prot,
    "anon_write_child": anon_write_child,
    "anon_write_child_shared": anon_write_child_shared,
    "anon_write_huge": anon_write_huge,
    "file_read": file_read,
    "file_write": file_write,
    "migrate": migrate,
    "migrate_fault": migrate_fault,
    "migrate_shared": migrate_shared,
    "migrate_multiple": migrate_multiple,
    "anon_read_multiple": anon_read_multiple,
    "anon_teardown": anon_teardown,
    "double_map": double_map,
    "exclusive": exclusive,
    "exclusive_mprotect": exclusive_mprotect,
    "exclusive_cow": exclusive_cow,
    "hmm_cow_in_device": hmm_cow_in_device,
    "migrate_partial_unmap_fault": migrate_partial_unmap_fault,
    "migrate_remap_fault": migrate_remap_fault,
}
"""By the names of the kernel's tests."""
