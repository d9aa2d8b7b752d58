# SPDX-License-Identifier: Apache-2.0
"""A device with faults that wait, over the small address space of tests, and what the directed tests ask of it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from cocotb.handle import SimHandleBase

from models import registers
from models.fault_records import FaultRecord, resume_command
from models.registers import Register
from models.structures import Access, Opcode, Reason, pack_command
from tb.case import DEFAULT_CONFIGURATION, MemorySettings
from tb.configurations import named_configuration
from tb.host_script import FIRST_PORT, make_requests
from tb.live_device import LiveDevice, join_actions, one_action
from tb.records import ActionKind, EventKind, Events, Responses
from tb.rtl_device_port import PortSettings, RtlDevicePort
from tb.tests.small_case import FIRST_PFN, PAGE_BYTES, PASID, page_va, small_builder

ATOMIC_MASK = 1 << 6
OFFSET = 0x128
"""Where in its page every request asks."""
GOOD_FLAGS = 0x3 | ATOMIC_MASK
WORDS = {
    Reason.NOT_PRESENT: 1 << 3,
    Reason.POISON: 1 << 2,
    Reason.SPECIAL: 1 << 4,
    Reason.NOT_VALID: 0x5000,
    Reason.WRITE_PROTECT: 0x5001,
    Reason.ATOMIC_DENIED: 0x5003,
}
"""For each reason that waits an entry that brings it."""
ACCESS = {Reason.WRITE_PROTECT: Access.WRITE, Reason.ATOMIC_DENIED: Access.ATOMIC}
"""The access that meets the reason, where READ does not."""
COUNTERS = {
    "records": Register.COUNTER_RECORDS,
    "merged": Register.COUNTER_MERGED,
    "replays": Register.COUNTER_REPLAYS,
    "ignored": Register.COUNTER_IGNORED,
    "unrecorded": Register.COUNTER_UNRECORDED,
}
DEVICE = named_configuration(DEFAULT_CONFIGURATION)
SLOTS = DEVICE.fault_slots
"""Places for requests that wait."""
QUIET_CYCLES = 300
"""Long enough for everything that does not wait for the host."""


def good_word(page: int) -> int:
    """An entry that permits everything; where test pages lie is told by their number."""
    return (FIRST_PFN + 2 * page) << 12 | GOOD_FLAGS


class FaultBench:
    """One for a cocotb test: `device`, `port`, and the tables."""

    def __init__(self, dut: SimHandleBase, name: str, *, fault_log2: int = 4, command_log2: int = 3) -> None:
        self.builder = small_builder(name)
        self.format = replace(self.builder.format, atomic=ATOMIC_MASK)
        self.memory = self.builder.memory
        self.tables = self.builder.tables
        self.device = LiveDevice(dut)
        self.device.memory = self.memory
        self.port = RtlDevicePort(self.device, PortSettings(command_log2, fault_log2))

    async def start(self, settings: MemorySettings | None = None, *, seed: int = 1) -> None:
        """Resets the device and switches everything on."""
        await self.device.start(self.memory, settings, seed=seed)
        await self.port.enable(self.format, context_base=self.tables.context_base, context_count=8)

    def set_entry(self, page: int, word: int) -> None:
        """Writes an entry before the device can have seen it."""
        self.memory.write_words(self.tables.entry_address(PASID, page_va(page)), [word])

    async def store_entry(self, page: int, word: int) -> None:
        """The host stores an entry while the device runs."""
        words = np.array([word], dtype=np.uint64)
        await self.port.store_words(self.tables.entry_address(PASID, page_va(page)), words)

    async def change_entry(self, page: int, word: int) -> None:
        """The host stores an entry that the device may have cached, with the commands that this needs."""
        await self.store_entry(page, word)
        first = page_va(page)
        invalidate = pack_command(opcode=Opcode.INVALIDATE, pasid=PASID, first=first, last=first + PAGE_BYTES - 1)
        await self.port.submit(invalidate.reshape(1, 4))
        await self.port.fence()

    def ask(
        self, page: int, access: Access = Access.READ, *, offset: int = OFFSET, hold: int = 0, client: int = FIRST_PORT
    ) -> int:
        """Makes a request; returns its place."""
        return self.ask_va(page_va(page) + offset, access, hold=hold, client=client)

    def ask_va(
        self, va: int, access: Access = Access.READ, *, pasid: int = PASID, hold: int = 0, client: int = FIRST_PORT
    ) -> int:
        """Makes a request; returns its place."""
        return self.device.ask(make_requests(va, pasid, access, hold=hold, client=client))[0]

    def ask_in_turn(self, pages: int) -> list[int]:
        """A request for each of the first `pages` pages, the ports in turn, as one alone has not enough ids."""
        return [self.ask(page, client=FIRST_PORT + page % DEVICE.ports) for page in range(pages)]

    async def records(self, count: int, limit: int = 5000) -> list[FaultRecord]:
        """Takes `count` records as they come. Errors: AssertionError if they do not."""
        taken: list[FaultRecord] = []
        while len(taken) < count:
            assert await self.port.wait_faults(limit), f"{len(taken)} of {count} records came"
            taken += await self.port.take_faults(count - len(taken))
        return taken

    async def one_record(self) -> FaultRecord:
        """Takes the next record."""
        return (await self.records(1))[0]

    async def resume(self, *tags: int, cancel: bool = False) -> None:
        """Answers faults by their tags."""
        await self.port.submit(np.stack([resume_command(tag, cancel=cancel) for tag in tags]))

    async def quiet(self) -> None:
        """Lets everything end that does not wait for the host."""
        await self.device.cycles(QUIET_CYCLES)

    def waits(self, *places: int) -> bool:
        """Whether none of the requests is answered."""
        return not any(self.device.is_answered(place) for place in places)

    async def expect_aborted(self, place: int, reason: Reason) -> None:
        """Errors: AssertionError unless the request is answered ABORTED with the reason."""
        row = (await self.device.answered([place]))[0]
        came = (int(row["status"]), Reason(int(row["reason"])))
        assert came == (1, reason), f"request {place} came back as {came}, not ABORTED {reason.name}"

    async def expect_ok(self, place: int, page: int, *, offset: int = OFFSET) -> None:
        """Errors: AssertionError unless the request is answered OK with the address of good_word(page)."""
        row = (await self.device.answered([place]))[0]
        assert int(row["status"]) == 0, f"request {place}: ABORTED {Reason(int(row['reason'])).name}"
        expected = (FIRST_PFN + 2 * page) << 12 | offset
        assert int(row["pa"]) == expected, f"request {place}: {int(row['pa']):#x} instead of {expected:#x}"

    async def counters(self) -> dict[str, int]:
        """The counters of faults, by name."""
        latch = one_action(ActionKind.WRITE_REGISTER, address=Register.COUNTER_LATCH, data=1)
        reads = [one_action(ActionKind.READ_REGISTER, address=register) for register in COUNTERS.values()]
        results = await self.device.perform(join_actions(latch, *reads))
        return {name: int(value) for name, value in zip(COUNTERS, results["data"][1:], strict=True)}

    async def status(self) -> int:
        """STATUS."""
        return await self.device.read_register(Register.STATUS)

    async def causes(self) -> int:
        """INTERRUPT_CAUSE."""
        return await self.device.read_register(Register.INTERRUPT_CAUSE)

    async def set_control(self, *, enable: bool = True, faults: bool = True) -> None:
        """Writes CONTROL; the command ring stays on."""
        value = registers.CONTROL_COMMAND_ENABLE.mask
        value |= registers.CONTROL_ENABLE.insert(int(enable)) | registers.CONTROL_FAULT_ENABLE.insert(int(faults))
        await self.device.write_register(Register.CONTROL, value)

    async def finish(self) -> Events:
        """Errors: AssertionError as LiveDevice.finish(), and if the log and the counter of records do not agree."""
        counted = (await self.counters())["records"]
        events = await self.device.finish()
        logged = int((events["kind"] == EventKind.FAULT_RECORD).sum())
        assert logged == counted, f"the event log has {logged} records, the device counted {counted}"
        return events


def all_ok(responses: Responses) -> bool:
    """Whether no response is ABORTED."""
    return not bool(responses["status"].any())
