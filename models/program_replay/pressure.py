# SPDX-License-Identifier: Apache-2.0
"""A host thread that disturbs a program's address space without changing what is in it, and looks at it afterwards.

It moves pages to device memory and back, and forks children that end: invalidations race the program's accesses, and
every access finds the bytes that it would find without. Source: docs/programs.md, "Pressure".
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

import numpy as np

from models.arrays import PAGE_BYTES, PAGE_SHIFT, Words
from models.driver import Driver
from models.hmm import CpuAccessError, HmmError, MemoryMap, cpu_read, fork
from models.hmm.vma import Vma, VmFlags
from models.witness import Witness

MOVED_PAGES = 8
"""At most so many neighbouring pages are moved at once."""
LOOKED_PAGES = 16
"""So many neighbouring pages are looked at behind each disturbance."""
KEPT_MOVES = 6
"""So many moves stay in device memory before the oldest is read back."""


@dataclass
class PressureCounters:
    """What was done: `moves` to device memory with the pages that really moved, `reads` by the CPU, `forks`."""

    moves: int = 0
    moved_pages: int = 0
    reads: int = 0
    forks: int = 0


class Pressure:
    """Disturbances of one context, drawn by `rng`. `pages`: the page numbers uint64[n] that the program uses."""

    def __init__(
        self, driver: Driver, pasid: int, mm: MemoryMap, pages: Words, rng: np.random.Generator, *, every: int
    ) -> None:
        """About one disturbance in `every` pieces; 0: none."""
        self.counters = PressureCounters()
        self.every = every
        self._driver = driver
        self._pasid = pasid
        self._mm = mm
        self._pages = pages
        self._rng = rng
        self._moved: deque[tuple[int, int]] = deque()
        self._due = 0
        self._stopping = False
        self._wake = mm.host.event()
        self._witness = Witness(mm)
        self._choices = (self.read_back, self.unshare, self.move_away, self.move_away)

    def next_distance(self) -> int:
        """After how many pieces the next disturbance begins; 0: never."""
        return 1 + int(self._rng.integers(2 * self.every)) if self.every else 0

    def begin_one(self) -> None:
        """Another disturbance is due; if the one before is still under way they are one."""
        self._due = 1
        self._wake.set()

    def stop(self) -> None:
        """Let run() end after what it does."""
        self._stopping = True
        self._wake.set()

    async def run(self) -> None:
        """Disturb whenever it is due, until stop()."""
        while not self._stopping:
            if not self._due:
                self._wake.clear()
                await self._wake.wait()
                continue
            self._due = 0
            await self._choices[int(self._rng.integers(len(self._choices)))]()
            await self._look()

    async def _look(self) -> None:
        """Look at pages that the program uses, in turn."""
        page = int(self._pages[self._witness.looks % self._pages.size]) << PAGE_SHIFT
        await self._witness.look(page, LOOKED_PAGES)

    async def move_away(self) -> None:
        """Some neighbouring pages that the program uses go to device memory."""
        if self._driver.memory.window.count == 0:
            return await self.unshare()
        page = int(self._rng.choice(self._pages)) << PAGE_SHIFT
        area = self._mm.vmas.find(page)
        if area is None or VmFlags.VM_SHARED in area.flags:
            return None
        end = min(area.end, page + PAGE_BYTES * (1 + int(self._rng.integers(MOVED_PAGES))))
        try:
            moved = await self._driver.migrate_to_device(self._pasid, page, end)
        except HmmError as error:
            # The program's own call was quicker: the area is gone, or is another one.
            assert error.errno in ("EFAULT", "EINVAL"), error
            return None
        self.counters.moves += 1
        self.counters.moved_pages += moved
        if moved:
            self._moved.append((page, end))
        if len(self._moved) > KEPT_MOVES:
            await self.read_back()
        return None

    async def read_back(self) -> None:
        """The CPU reads the pages that went away first: they come back. What is unmapped by now is left out."""
        if not self._moved:
            return await self.unshare()
        start, end = self._moved.popleft()
        for va in range(start, end, PAGE_BYTES):
            area: Vma | None = self._mm.vmas.find(va)
            if area is None or VmFlags.VM_READ not in area.flags:
                continue
            try:
                await cpu_read(self._mm, va, 1)
            except CpuAccessError:
                continue  # Unmapped meanwhile by the program.
            self.counters.reads += 1
        return None

    async def unshare(self) -> None:
        """A child is born and ends: all pages are read-only until they are written again."""
        await (await fork(self._mm)).exit()
        self.counters.forks += 1
