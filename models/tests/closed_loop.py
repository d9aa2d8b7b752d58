# SPDX-License-Identifier: Apache-2.0
"""A whole machine for tests: host memory, address spaces, a driver, the golden device, and a journal of everything."""

from __future__ import annotations

from collections.abc import Coroutine
from typing import Any

import numpy as np

from models.arrays import PAGE_SHIFT
from models.device_tables import DeviceTables
from models.driver import Driver, DriverOptions
from models.entries import none_word
from models.formats import format_by_name
from models.golden_device import DEFAULT_SETTINGS, GoldenDevice, GoldenSettings
from models.hmm import DevicePagemap, Frames, MemoryMap
from models.host_events import Journal
from models.host_scheduler import Scheduler, Task
from models.invariants import check_all
from models.pages import NO_WINDOW, Window
from models.physical_memory import PhysicalMemory
from models.table_watch import TableWatch

DEVICE_WINDOW = Window(0x100_0000, 256)
FOREIGN_WINDOW = Window(0x200_0000, 64)


class ClosedLoop:
    """Everything wired together. `seed` None: tasks take turns; else who goes next is drawn.

    `driver` may be a subclass, to plant a mistake. `device_pages` and `foreign_pages` give the device, or another one,
    memory of their own. With `serves` false nobody takes faults until the test does. `beside`: the device is a second
    one of that machine, and shares everything but its driver, its tables and its journal with it.
    """

    def __init__(
        self,
        *,
        seed: int | None = None,
        format_name: str = "hmm_2018_flags",
        options: DriverOptions = DriverOptions(),  # noqa: B008 (frozen)
        settings: GoldenSettings = DEFAULT_SETTINGS,
        driver: type[Driver] = Driver,
        device_pages: bool = False,
        device_window: Window = DEVICE_WINDOW,
        foreign_pages: bool = False,
        memory_size: int = 1 << 25,
        page_limit: int | None = None,
        serves: bool = True,
        beside: ClosedLoop | None = None,
    ) -> None:
        rng = np.random.default_rng(seed) if seed is not None else None
        self.scheduler: Scheduler = Scheduler(rng) if beside is None else beside.scheduler
        self.journal = Journal(self.scheduler.now)
        self.memory: PhysicalMemory = PhysicalMemory(memory_size) if beside is None else beside.memory
        self.frames: Frames = Frames(self.memory, page_limit) if beside is None else beside.frames
        self.format = format_by_name(format_name)
        self.window = NO_WINDOW
        self.pagemap: DevicePagemap | None = None
        device_memory = None
        if device_pages:
            self.window = device_window
            device_memory = PhysicalMemory(device_window.count << PAGE_SHIFT)
            self.pagemap = DevicePagemap(device_memory, device_window)
            self.frames.add_pagemap(self.pagemap)
        self.foreign: DevicePagemap | None = None
        if foreign_pages:
            self.foreign = DevicePagemap(PhysicalMemory(FOREIGN_WINDOW.count << PAGE_SHIFT), FOREIGN_WINDOW)
            self.frames.add_pagemap(self.foreign)
        self.tables = DeviceTables(self.memory, context_count=8, none_word=none_word(self.format))
        self.device = GoldenDevice(
            self.scheduler,
            self.tables,
            self.format,
            self.window,
            settings=settings,
            rng=rng,
            journal=self.journal,
            device_memory=device_memory,
        )
        self.options = options
        self.driver = driver(
            self.device, self.tables, self.format, options=options, journal=self.journal, pagemap=self.pagemap
        )
        self.device.watch = TableWatch(self.journal, self.tables, self.format, self.window, self._space_of)
        self.scheduler.start(self.device.run(), "device", daemon=True)
        if serves:
            self.scheduler.start(self.driver.run(), "driver", daemon=True)

    def space(self) -> MemoryMap:
        """A new address space."""
        return MemoryMap(self.device, self.frames, self.journal)

    def start(self, coroutine: Coroutine[Any, Any, Any], name: str = "") -> Task:
        """Start a thread of the host or of the device."""
        return self.scheduler.start(coroutine, name)

    def run(self, coroutine: Coroutine[Any, Any, Any]) -> Any:
        """Run one coroutine to its end, beside the device, the driver and all started threads."""
        return self.scheduler.run(coroutine)

    def finish(self) -> None:
        """Run everything to its end, and check all rules. Errors: AssertionError with what broke them."""
        self.scheduler.run_all()
        found = self.findings()
        assert not found, found[0]

    def findings(self, *, finished: bool = True) -> list[str]:
        """What any of the invariants finds in the journal."""
        assert self.device.watch is not None
        self.device.watch.compare_all()
        return check_all(
            self.journal.events,
            deadline=self.options.deadline,
            finished=finished,
            promises=self.options.answer.promises,
        )

    def _space_of(self, pasid: int) -> MemoryMap | None:
        context = self.driver.contexts.get(pasid)
        return context.mm if context is not None else None
