# SPDX-License-Identifier: Apache-2.0
"""Directed tests by pins: cocotb-bus agents on the client port, the registers and the memory bus."""

from __future__ import annotations

from cocotb.handle import SimHandleBase
from cocotb.triggers import ClockCycles, Event

from models.formats import EntryFormat
from models.pages import NO_WINDOW, Window
from models.physical_memory import PhysicalMemory
from models.registers import CONTROL_ENABLE, STATUS_ENABLED, Register
from tb.adapter.pins import AXI, AXIL_PINS, CLIENT, CLIENT_PINS
from tb.agents.client import ClientDriver, ClientReleaseDriver, ClientRequest, ClientResponse, ClientResponseMonitor
from tb.agents.memory_bus import Axi4ReadMonitor, Axi4WriteMonitor
from tb.agents.registers import RegisterMaster
from tb.case import MemorySettings
from tb.environment import Environment, make_settings
from tb.host_script import format_registers

OKAY = 0


class PinEnvironment(Environment):
    """An environment whose client port and registers are driven by pins. One for a cocotb test.

    Attributes: `requests`, `releases`, `registers` drive; `responses`, `reads`, `writes` receive. They may be used
    directly; the methods are for the usual things.
    """

    def __init__(self, dut: SimHandleBase) -> None:
        """`dut` is the handle of tb_top."""
        super().__init__(dut)
        clock = self.top.clock
        self.requests = ClientDriver(dut, CLIENT_PINS, clock)
        self.releases = ClientReleaseDriver(dut, CLIENT_PINS, clock)
        self.registers = RegisterMaster(dut, AXIL_PINS, clock)
        self.responses = ClientResponseMonitor(dut, CLIENT, clock, reset_n=self.top.reset_n)
        self.reads = Axi4ReadMonitor(dut, AXI, clock, reset_n=self.top.reset_n)
        self.writes = Axi4WriteMonitor(dut, AXI, clock, reset_n=self.top.reset_n)
        self._waiting: dict[int, Event] = {}
        self._arrived: dict[int, ClientResponse] = {}
        self.responses.add_callback(self._take_response)

    async def start(self, memory: PhysicalMemory, settings: MemorySettings | None = None, *, seed: int = 1) -> None:
        """Resets the device over `memory`; from here on pins drive it."""
        await self.reset(memory, make_settings(settings or MemorySettings(), seed=seed), pins=True)
        await self.release_reset()

    async def write_register(self, register: Register, value: int) -> None:
        """Writes a register. Errors: AssertionError if the bus does not answer OKAY."""
        response = await self.registers.write_register(register, value)
        assert response == OKAY, f"the write of {register.name} was answered {response}"

    async def read_register(self, register: Register) -> int:
        """Reads a register. Errors: AssertionError if the bus does not answer OKAY."""
        value, response = await self.registers.read_register(register)
        assert response == OKAY, f"the read of {register.name} was answered {response}"
        return value

    async def enable(
        self, fmt: EntryFormat, *, context_base: int, context_count: int, window: Window = NO_WINDOW
    ) -> None:
        """Sets format and context table, switches translation on. Errors: AssertionError if it does not come on."""
        for register, value in format_registers(fmt).items():
            await self.write_register(register, value)
        await self.write_register(Register.WINDOW_BASE, window.base)
        await self.write_register(Register.WINDOW_COUNT, window.count)
        await self.write_register(Register.CONTEXT_BASE, context_base)
        await self.write_register(Register.CONTEXT_COUNT, context_count)
        await self.write_register(Register.CONTROL, CONTROL_ENABLE.insert(1))
        status = await self.read_register(Register.STATUS)
        assert STATUS_ENABLED.extract(status) == 1, f"the device is not on: STATUS {status:#x}"

    async def translate(self, request: ClientRequest) -> ClientResponse:
        """Sends one request and waits for its response; the grant is the caller's to release."""
        event = self._waiting[request.id] = Event()
        await self.requests.send(request)
        await event.wait()
        return self._arrived.pop(request.id)

    async def release(self, identity: int) -> None:
        """Ends the grant of an id."""
        await self.releases.send(identity)

    async def finish(self) -> None:
        """To be awaited at the end of a test. Errors: AssertionError for whatever the always-on checks found."""
        await ClockCycles(self.top.clock, 2)
        violations, violation = self.simulator.owner_violations()
        failures, failure = self.simulator.assertion_failures()
        assert violations == 0, f"{violations} owner violations, first {violation}"
        assert failures == 0, f"{failures} assertions failed, first {failure}"

    def _take_response(self, response: ClientResponse) -> None:
        self._arrived[response.id] = response
        if response.id in self._waiting:
            self._waiting.pop(response.id).set()
