# SPDX-License-Identifier: Apache-2.0
"""Device clients and CPU threads at work on the same pages, in an order drawn by a seed; every value is checked.

Each 64-bit word has one writer, whose stamps only grow. A reader may see 0 only where pages are thrown away.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

import numpy as np

from models.arrays import PAGE_BYTES
from models.golden_device import DeviceAbort
from models.hmm import Advice, CpuAccessError, HmmError, MapFlags, MemoryMap, Prot, cpu_read, cpu_write, fork
from models.tests.closed_loop import ClosedLoop
from models.witness import Witness

PLACE = 0x4000_0000 - 6 * PAGE_BYTES
"""Half of the pages lie before a 2 MiB boundary, half behind it."""
PAGES = 12
FIXED = MapFlags.MAP_PRIVATE | MapFlags.MAP_FIXED


@dataclass
class RaceSettings:
    """What runs: clients and CPU threads (each writes words of its own), accesses of each, and who disturbs them.

    `keeps`: disturbances that never throw data away, so that a writer must find what it wrote.
    """

    clients: int = 3
    cpu_threads: int = 2
    accesses: int = 12
    disturbances: int = 10
    keeps: bool = True
    device_memory: bool = False


@dataclass
class Race:
    """One run of the scenario. `written`: for each word the last stamp whose write has begun, and that has ended."""

    loop: ClosedLoop
    settings: RaceSettings
    rng: np.random.Generator
    pasid: int = 1
    begun: dict[int, int] = field(default_factory=dict)
    ended: dict[int, int] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)

    async def begin(self) -> MemoryMap:
        """Map the pages and start all threads."""
        mm = self.loop.space()
        await self.loop.driver.bind(self.pasid, mm)
        await mm.mmap(PLACE, PAGES * PAGE_BYTES, flags=FIXED)
        for thread in range(self.settings.clients):
            self.loop.start(self.client(thread), "client")
        for thread in range(self.settings.cpu_threads):
            self.loop.start(self.cpu_thread(mm, self.settings.clients + thread), "cpu")
        self.loop.start(self.disturb(mm), "disturbance")
        self.loop.start(self.watch(Witness(mm)), "witness")
        return mm

    def word(self, thread: int) -> int:
        """A drawn word of a thread."""
        return PLACE + int(self.rng.integers(PAGES)) * PAGE_BYTES + 8 * thread

    def judge(self, who: str, va: int, value: int, lowest: int) -> None:
        """Note a value that nobody can have written, or that is older than the reader may see."""
        allowed_zero = not self.settings.keeps
        if value > self.begun.get(va, 0) or (value < lowest and not (value == 0 and allowed_zero)):
            self.problems.append(
                f"{who} read {value} at {va:#x}; stamps {lowest} to {self.begun.get(va, 0)} were possible"
            )

    async def access(
        self,
        who: str,
        thread: int,
        read: Callable[[int], Awaitable[int]],
        write: Callable[[int, int], Awaitable[object]],
    ) -> None:
        """One drawn access: a write of the thread's own word with the next stamp, or a read of anybody's."""
        threads = self.settings.clients + self.settings.cpu_threads
        if self.rng.integers(2):
            va = self.word(thread)
            stamp = self.begun.get(va, 0) + 1
            self.begun[va] = stamp
            try:
                await write(va, stamp)
            except (DeviceAbort, CpuAccessError):
                # Refused: the word keeps its value, and the stamp was never written.
                self.begun[va] = stamp - 1
                return
            self.ended[va] = stamp
        else:
            va = self.word(int(self.rng.integers(threads)))
            lowest = self.ended.get(va, 0) if self.settings.keeps else 0
            try:
                value = await read(va)
            except (DeviceAbort, CpuAccessError):
                return
            self.judge(who, va, value, lowest)

    async def client(self, thread: int) -> None:
        """A client of the device."""
        device = self.loop.device

        async def read(va: int) -> int:
            return await device.read(self.pasid, va)

        async def write(va: int, value: int) -> None:
            await device.write(self.pasid, va, value)

        for _ in range(self.settings.accesses):
            await self.access("the device", thread, read, write)

    async def cpu_thread(self, mm: MemoryMap, thread: int) -> None:
        """A thread of the CPU."""

        async def read(va: int) -> int:
            return int.from_bytes(await cpu_read(mm, va, 8), "little")

        async def write(va: int, value: int) -> None:
            await cpu_write(mm, va, value.to_bytes(8, "little"))

        for _ in range(self.settings.accesses):
            await self.access("the CPU", thread, read, write)

    async def disturb(self, mm: MemoryMap) -> None:
        """Changes of the address space, one after another."""
        kept = [self.protect, self.fork_and_compare, self.unshare]
        thrown = [self.drop, self.remap, self.protect]
        choices = kept if self.settings.keeps else thrown
        if self.settings.device_memory:
            choices = [*choices, self.to_device, self.to_device]
        for _ in range(self.settings.disturbances):
            await choices[int(self.rng.integers(len(choices)))](mm)

    async def watch(self, witness: Witness) -> None:
        """Looks at all pages, and at one on each side where nothing is mapped."""
        for _ in range(self.settings.disturbances):
            await witness.look(PLACE - PAGE_BYTES, PAGES + 2)
            await self.loop.scheduler.sleep(20)

    def some(self) -> tuple[int, int]:
        """Start and length of drawn pages."""
        first = int(self.rng.integers(PAGES))
        return PLACE + first * PAGE_BYTES, (1 + int(self.rng.integers(PAGES - first))) * PAGE_BYTES

    async def protect(self, mm: MemoryMap) -> None:
        """Forbid writing for a while."""
        start, length = self.some()
        try:
            await mm.mprotect(start, length, Prot.PROT_READ)
            await self.loop.scheduler.sleep(int(self.rng.integers(40)))
            await mm.mprotect(start, length, Prot.PROT_READ | Prot.PROT_WRITE)
        except HmmError as error:
            assert error.errno == "ENOMEM"

    async def fork_and_compare(self, mm: MemoryMap) -> None:
        """A child must keep seeing what it was born with."""
        child = await fork(mm)
        words = [self.word(int(self.rng.integers(4))) for _ in range(4)]
        first = [await cpu_read(child, va, 8) for va in words]
        await self.loop.scheduler.sleep(int(self.rng.integers(60)))
        second = [await cpu_read(child, va, 8) for va in words]
        if first != second:
            self.problems.append("a child saw a change that its parent or the device made")
        await child.exit()

    async def unshare(self, mm: MemoryMap) -> None:
        """A child that ends at once: pages are read-only and nobody shares them any more."""
        await (await fork(mm)).exit()

    async def drop(self, mm: MemoryMap) -> None:
        """Give pages back."""
        start, length = self.some()
        try:
            await mm.madvise(start, length, Advice.MADV_DONTNEED)
        except HmmError as error:
            assert error.errno == "ENOMEM"

    async def remap(self, mm: MemoryMap) -> None:
        """Unmap pages, and map new ones a little later."""
        start, length = self.some()
        await mm.munmap(start, length)
        await self.loop.scheduler.sleep(int(self.rng.integers(40)))
        await mm.mmap(start, length, flags=FIXED)

    async def to_device(self, mm: MemoryMap) -> None:
        """Move pages into device memory."""
        start, length = self.some()
        try:
            await self.loop.driver.migrate_to_device(self.pasid, start, start + length)
        except HmmError as error:
            assert error.errno in ("EFAULT", "EINVAL")


def run_race(loop: ClosedLoop, settings: RaceSettings, seed: int, pasids: tuple[int, ...] = (1,)) -> list[str]:
    """Run the scenario once for each PASID, all at the same time; returns everything that was wrong."""
    races = [Race(loop, settings, np.random.default_rng([seed, pasid]), pasid) for pasid in pasids]
    for race in races:
        loop.run(race.begin())
    loop.scheduler.run_all()
    return [problem for race in races for problem in race.problems] + loop.findings()
