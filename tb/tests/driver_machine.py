# SPDX-License-Identifier: Apache-2.0
"""A machine whose device is the RTL: host memory, two devices' memories, the models' driver, a journal of it all."""

from __future__ import annotations

import cocotb
from cocotb.handle import SimHandleBase

from models.arrays import PAGE_BYTES, PAGE_SHIFT
from models.device_tables import DeviceTables
from models.driver import Driver, DriverOptions
from models.entries import none_word
from models.formats import format_by_name
from models.hmm import DevicePagemap, Frames, MemoryMap
from models.host_events import Journal
from models.pages import Window
from models.physical_memory import PhysicalMemory
from models.registers import Register
from models.structures import Access, Reason
from models.table_watch import TableWatch
from models.tests.closed_loop import DEVICE_WINDOW, FOREIGN_WINDOW
from models.tests.page_kinds import Seen
from tb.case import MemorySettings
from tb.host_script import make_requests
from tb.invariants import RtlRun, check_run
from tb.live_device import LiveDevice
from tb.records import Done
from tb.rtl_device_port import PortSettings, RtlDevicePort, random_delays
from tb.tests.grant_history import grant_history, judge, pfn_of

CONTEXTS = 8
MEMORY_BYTES = 1 << 25
BUS = MemorySettings(read_latency=(0, 12), write_latency=(0, 9), ar_pause=3, b_pause=4, w_pause=3)
MOST_DELAY = 24
"""Most cycles that host code is held up wherever a kernel could be preempted."""


class RtlMachine:
    """A models.tests.page_kinds.Machine on the RTL. `driver` may be a subclass, to plant a mistake."""

    def __init__(
        self,
        dut: SimHandleBase,
        seed: int,
        *,
        format_name: str = "hmm_2018_flags",
        options: DriverOptions = DriverOptions(),  # noqa: B008 (frozen)
        driver: type[Driver] = Driver,
        port: PortSettings = PortSettings(),  # noqa: B008 (frozen)
        window: Window = DEVICE_WINDOW,
    ) -> None:
        self.seed = seed
        self.options = options
        self.memory = PhysicalMemory(MEMORY_BYTES)
        self.frames = Frames(self.memory)
        self.window = window
        self.pagemap = DevicePagemap(PhysicalMemory(window.count << PAGE_SHIFT), window)
        self.foreign = DevicePagemap(PhysicalMemory(FOREIGN_WINDOW.count << PAGE_SHIFT), FOREIGN_WINDOW)
        self.frames.add_pagemap(self.pagemap)
        self.frames.add_pagemap(self.foreign)
        self.format = format_by_name(format_name)
        self.tables = DeviceTables(self.memory, context_count=CONTEXTS, none_word=none_word(self.format))
        self.device = LiveDevice(dut)
        self.device.memory = self.memory
        self.port = RtlDevicePort(self.device, port, delay=random_delays(seed, MOST_DELAY))
        self.journal: Journal = self.port.journal()
        self.driver = driver(
            self.port, self.tables, self.format, options=options, journal=self.journal, pagemap=self.pagemap
        )
        self.port.watch = TableWatch(self.journal, self.tables, self.format, self.window, self._space_of)

    async def start(self, *, serves: bool = True) -> None:
        """Switches the device on; the driver serves, if it shall."""
        await self.device.start(self.memory, BUS, device_memory=self.pagemap.pool.memory, seed=self.seed)
        await self.port.enable(
            self.format, context_base=self.tables.context_base, context_count=CONTEXTS, window=self.window
        )
        if serves:
            cocotb.start_soon(self.driver.run())

    def space(self) -> MemoryMap:
        """A new address space."""
        return MemoryMap(self.port, self.frames, self.journal)

    def ask_later(self, pasid: int, va: int, access: Access) -> int:
        """Makes a request; returns its place."""
        return self.device.ask(make_requests(va, pasid, access))[0]

    async def answered(self, place: int) -> Seen:
        """How a request ended. Errors: AssertionError if it does not."""
        row = (await self.device.answered([place]))[0]
        if int(row["status"]):
            return Seen(Reason(int(row["reason"])))
        assert int(row["pa"]) % PAGE_BYTES == int(self.device.requests["va"][place]) % PAGE_BYTES
        memory, permissions = bool(int(row["memory"])), int(row["permissions"])
        return Seen(pfn=pfn_of(row, self.window), device=memory, writable=bool(permissions & 1))

    async def ask(self, pasid: int, va: int, access: Access) -> Seen:
        """One request, to its end."""
        return await self.answered(self.ask_later(pasid, va, access))

    async def finish(self, *, pasid: int | None = None) -> None:
        """Errors: AssertionError for a broken rule, a record that was not taken, or a request of the context `pasid`
        (None: not looked at) that was granted what it should not have been.
        """
        self.driver.stop()
        await self.device.cycles(2 * self.options.poll)
        await self.device.finish()
        found = self.findings(pasid)
        assert not found, found[0]
        await self.device.write_register(Register.COUNTER_LATCH, 1)
        assert await self.device.read_register(Register.COUNTER_RECORDS) == self.port.taken

    def findings(self, pasid: int | None = None, *, finished: bool = True) -> list[str]:
        """What the invariants find in journal and log, and the judge of grants in those that are released."""
        assert self.port.watch is not None
        self.port.watch.compare_all()
        found = check_run(
            RtlRun(self.journal, self.device.log(), self.window),
            deadline=self.options.deadline,
            finished=finished,
            promises=self.options.answer.promises,
        )
        if pasid is not None:
            asked = self.device.requests["pasid"] == pasid
            asked &= (self.device.responses["done"] & Done.RELEASED) != 0
            history = grant_history(self.journal, pasid)
            found += judge(self.device.requests[asked], self.device.responses[asked], history, self.window)
        return found

    def _space_of(self, pasid: int) -> MemoryMap | None:
        context = self.driver.contexts.get(pasid)
        return context.mm if context is not None else None
