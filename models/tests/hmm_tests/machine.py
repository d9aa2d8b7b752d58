# SPDX-License-Identifier: Apache-2.0
"""What the scenarios of the kernel's test of HMM run on: a driver, its device, a second device's memory, and helpers.

Nothing here knows whether the device is the golden one or the RTL, nor how long anything takes.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass
from typing import Any, Protocol

from models.arrays import PAGE_BYTES, WORD_BYTES
from models.driver import Driver
from models.driver.device_memory import DeviceMemory
from models.hmm import EntryKind, Frames, HmmError, MapFlags, MemoryMap, Prot, VmFlags, cpu_read, cpu_write
from models.hmm.frames import HUGE_BYTES

PLACE = 1 << 30
"""Where buffers lie."""
ELSEWHERE = PLACE + 8 * HUGE_BYTES
PASID, CHILD_PASID = 1, 2
PAGES = 8
"""Of a buffer; the kernel's test has 1024."""
CHUNK_PAGES = 64
"""At most so many pages move at once, as in the kernel's test driver."""
READ_WRITE = Prot.PROT_READ | Prot.PROT_WRITE
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


class Thread(Protocol):
    """A host thread under way."""

    @property
    def done(self) -> bool:
        """Whether it has ended."""
        ...


@dataclass
class Machine:
    """A driver with its device and a way to make address spaces and threads.

    `other`: the memory of a second device, which has no translations of its own; `start`: starts a host thread;
    `refusal`: what a refused access of the device raises.
    """

    device: Device
    driver: Driver
    other: DeviceMemory
    frames: Frames
    new_space: Callable[[], MemoryMap]
    start: Callable[[Coroutine[Any, Any, Any]], Thread]
    refusal: type[Exception]

    async def space(self) -> MemoryMap:
        """A bound address space with nothing in it."""
        mm = self.new_space()
        await self.driver.bind(PASID, mm)
        return mm

    async def buffer(self, pages: int = PAGES, prot: Prot = READ_WRITE, flags: MapFlags = FIXED_PRIVATE) -> MemoryMap:
        """A bound address space with a buffer."""
        mm = await self.space()
        await mm.mmap(PLACE, pages * PAGE_BYTES, prot, flags)
        return mm

    async def refused(self, access: Awaitable[object]) -> None:
        """The device's access is aborted. Errors: AssertionError if not."""
        try:
            await access
        except self.refusal:
            return
        raise AssertionError("the device's access was not refused")

    async def finished(self, thread: Thread) -> None:
        """Wait for the end of a thread."""
        while not thread.done:
            await self.driver.port.pause("test: wait")

    async def expect(self, pages: int = PAGES, first: int = 1, pasid: int = PASID) -> None:
        """The device reads what fill() wrote. Errors: AssertionError."""
        for page in range(pages):
            assert await self.device.read(pasid, at(page)) == first + page

    async def to_device(
        self, mm: MemoryMap, start: int = PLACE, pages: int = PAGES, memory: DeviceMemory | None = None
    ) -> int:
        """Move pages to a device's memory, its own by default, area by area (dmirror_migrate_to_device()).

        Where nothing is mapped, or only zeros, the device gets pages of zeros. Returns how many moved now.
        Errors: HmmError EINVAL (no area, or one that may not be read), ENOENT (a page is not there afterwards).
        """
        own = memory or self.driver.memory
        end, va, moved = start + pages * PAGE_BYTES, start, 0
        while va < end:
            area = mm.vmas.find(va)
            if area is None or VmFlags.VM_READ not in area.flags:
                raise HmmError("EINVAL", f"no readable area is at {va:#x}", va)
            stop = min(end, area.end, va + CHUNK_PAGES * PAGE_BYTES)
            if VmFlags.VM_SHARED not in area.flags:  # Pages of shared memory stay where they are.
                moved += await own.take(mm, va, stop, fill=True)
            va = stop
        for va in range(start, end, PAGE_BYTES):
            entry = mm.page_table.lookup(va)
            if entry.kind is not EntryKind.DEVICE_PRIVATE or mm.frames.pagemap_of(entry.pfn) is not own.pagemap:
                raise HmmError("ENOENT", f"the page at {va:#x} is not in the device's memory", va)
        return moved


def at(page: int) -> int:
    """The address of a page of the buffer."""
    return PLACE + page * PAGE_BYTES


async def refused(errno: str, call: Awaitable[object]) -> None:
    """A call of the host fails with this errno. Errors: AssertionError if not."""
    try:
        await call
    except HmmError as error:
        assert error.errno == errno, f"{error.errno}, not {errno}"
        return
    raise AssertionError(f"the call did not fail with {errno}")


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


async def expect_cpu(mm: MemoryMap, pages: int = PAGES, first: int = 1) -> None:
    """The CPU reads what fill() wrote. Errors: AssertionError."""
    for page in range(pages):
        assert await cpu_load(mm, at(page)) == first + page
