# SPDX-License-Identifier: Apache-2.0
"""The RTL behind models.device_port.DevicePort, inside a cocotb test: a driver of the models runs on it unchanged.

Rings, the fence's word and the fault ring lie in the shared memory; everything else goes through actions of the host,
so it costs the cycles of a real bus. Source: docs/host.md, "The device port"; docs/interface.md, "Faults".
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from cocotb.triggers import Event, First, RisingEdge, Timer

from models import registers
from models.arrays import Words
from models.fault_records import FAULT_RECORD_WORDS, FaultRecord, record_of, ring_phase
from models.formats import EntryFormat
from models.host_events import Journal
from models.pages import NO_WINDOW, Window
from models.physical_memory import Owner
from models.preemption import Lock
from models.registers import Register
from models.structures import COMMAND_BYTES, FAULT_RECORD_BYTES, Opcode, pack_command
from models.table_watch import TableWatch
from tb.case import CommandRing
from tb.host_script import HostScript
from tb.live_device import CLOCK_NS, LiveDevice, join_actions, loads, one_action, stores
from tb.records import ActionKind

COUNTER_LIMIT = 1 << 32
WORD_BYTES = 8
FENCE_POLL = 20
"""Cycles between two looks at the fence's word."""
RING_POLL = 10
"""Cycles between two looks at the head of a full command ring."""
PATIENCE = 100_000
"""Cycles after which a fence, or a full command ring, stands still. The host's looks are progress for the watchdog."""


@dataclass(frozen=True)
class PortSettings:
    """log2 of the slots of the command ring and of the fault ring."""

    command_log2: int = 3
    fault_log2: int = 4


def no_delay(label: str) -> int:
    """Host code that is never preempted."""
    return 0


class RtlDevicePort:
    """A DevicePort (models/device_port.py) on `device`. `delay`: the cycles that the pause at each label takes.

    Attributes: `watch`, told of every store, command and record if it is set; `taken`, the records taken so far.
    """

    def __init__(
        self, device: LiveDevice, settings: PortSettings | None = None, *, delay: Callable[[str], int] = no_delay
    ) -> None:
        """The rings are allocated in the device's memory, which start() must have been given."""
        self.device = device
        self.settings = settings or PortSettings()
        self.watch: TableWatch | None = None
        self.taken = 0
        self._delay = delay
        memory = device.memory
        self.commands = memory.allocate(COMMAND_BYTES << self.settings.command_log2, owner=Owner.COMMAND)
        self.faults = memory.allocate(FAULT_RECORD_BYTES << self.settings.fault_log2, owner=Owner.FAULT)
        self.fence_word = memory.allocate(WORD_BYTES, owner=Owner.FENCE)
        memory.write_words(self.fence_word, [0])
        self._tail = 0
        self._head = 0
        self._get = 0
        self._put = 0
        self._fence_value = 0
        self._ring_lock = Lock(self)

    async def enable(
        self, fmt: EntryFormat, *, context_base: int, context_count: int, window: Window = NO_WINDOW
    ) -> None:
        """Sets the device up, with both rings on and the interrupt of faults enabled."""
        script = HostScript(CommandRing(base=self.commands, log2=self.settings.command_log2))
        script.write_register(Register.FAULT_BASE, self.faults)
        script.write_register(Register.FAULT_SIZE, self.settings.fault_log2)
        enabled = registers.INTERRUPT_CAUSE_FAULT.mask
        script.set_up(
            fmt, context_base=context_base, context_count=context_count, window=window, interrupt_enable=enabled
        )
        script.write_register(
            Register.CONTROL,
            registers.CONTROL_ENABLE.mask | registers.CONTROL_COMMAND_ENABLE.mask | registers.CONTROL_FAULT_ENABLE.mask,
        )
        await self.device.perform(script.actions())

    def journal(self) -> Journal:
        """A new journal whose clock is the device's."""
        return Journal(self.now)

    # models.preemption.Preemption

    def now(self) -> int:
        """The device's cycle."""
        return self.device.now()

    async def pause(self, label: str) -> None:
        """As many cycles as the case says for the label."""
        await self.device.cycles(self._delay(label))

    def event(self) -> Event:
        """A new event."""
        return Event()

    # models.device_port.DevicePort

    async def store_words(self, address: int, words: Words) -> None:
        """Store words in order."""
        await self.pause("port: store")
        await self.device.perform(stores(address, words))
        if self.watch is not None:
            self.watch.stored(address, words)

    async def submit(self, commands: Words) -> None:
        """Put commands uint64[n, 4] into the ring, in order; waits where it is full."""
        async with self._ring_lock:
            for command in commands.reshape(-1, 4):
                await self._make_room()
                slot = self._tail & ((1 << self.settings.command_log2) - 1)
                self._tail = (self._tail + 1) % COUNTER_LIMIT
                await self.device.perform(
                    join_actions(
                        stores(self.commands + COMMAND_BYTES * slot, command),
                        one_action(ActionKind.WRITE_REGISTER, address=Register.COMMAND_TAIL, data=self._tail),
                    )
                )
                if self.watch is not None:
                    self.watch.submitted(command.reshape(1, 4))

    async def fence(self) -> None:
        """Command a fence with a value of its own, and wait for the value."""
        self._fence_value += 1
        value = self._fence_value
        fence = pack_command(opcode=Opcode.FENCE, write_value=1, first=self.fence_word, last=value)
        await self.submit(fence.reshape(1, 4))
        look = one_action(ActionKind.READ_MEMORY, address=self.fence_word, delay=FENCE_POLL)
        end = self.now() + PATIENCE
        while int((await self.device.perform(look))["data"][0]) < value:
            assert self.now() < end, f"I12: fence {value} is not complete after {PATIENCE} cycles; cycle {self.now()}"

    async def wait_faults(self, cycles: int) -> bool:
        """Wait for the interrupt of a fault record, but not more than `cycles`; returns whether a record is there."""
        end = self.now() + cycles
        while not await self._look_for_records():
            left = end - self.now()
            if left <= 0:
                return False
            if not int(self.device.top.interrupt.value):
                await First(RisingEdge(self.device.top.interrupt), Timer(left * CLOCK_NS, "ns"))
        return True

    async def take_faults(self, limit: int) -> list[FaultRecord]:
        """Copy records, then give their places back. Errors: RuntimeError for a wrong phase bit."""
        await self._look_for_records()
        records: list[FaultRecord] = []
        for _ in range(min(limit, (self._put - self._get) % COUNTER_LIMIT)):
            index = (self._get + len(records)) % COUNTER_LIMIT
            slot = index & ((1 << self.settings.fault_log2) - 1)
            address = self.faults + FAULT_RECORD_BYTES * slot
            results = await self.device.perform(loads(address, FAULT_RECORD_WORDS))
            record = record_of(results["data"].copy())
            if record.phase is not ring_phase(index, self.settings.fault_log2):
                raise RuntimeError(f"fault record {index} has the wrong phase bit")
            records.append(record)
        if records:
            await self.pause("port: records copied")
            self._get = (self._get + len(records)) % COUNTER_LIMIT
            self.taken += len(records)
            await self.device.write_register(Register.FAULT_GET, self._get)
        if self.watch is not None:
            self.watch.taken(records)
        return records

    def restart_faults(self) -> None:
        """The fault ring was switched off: its counters begin anew."""
        self._get = self._put = 0

    async def _make_room(self) -> None:
        delay = 0
        end = self.now() + PATIENCE
        while (self._tail - self._head) % COUNTER_LIMIT >= 1 << self.settings.command_log2:
            value = await self.device.read_register(Register.COMMAND_HEAD, delay=delay)
            self._head = registers.COMMAND_HEAD_INDEX.extract(value)
            delay = RING_POLL
            assert self.now() < end, f"I12: no command was taken for {PATIENCE} cycles; cycle {self.now()}"

    async def _look_for_records(self) -> bool:
        """Clears the cause, then reads PUT: a record that comes in between raises the interrupt again."""
        clear = one_action(
            ActionKind.WRITE_REGISTER, address=Register.INTERRUPT_CAUSE, data=registers.INTERRUPT_CAUSE_FAULT.mask
        )
        results = await self.device.perform(
            join_actions(clear, one_action(ActionKind.READ_REGISTER, address=Register.FAULT_PUT))
        )
        self._put = registers.FAULT_PUT_INDEX.extract(int(results["data"][1]))
        return self._put != self._get


def random_delays(seed: int, most: int) -> Callable[[str], int]:
    """Delays of 0 to `most` cycles, drawn anew at every pause."""
    rng = np.random.default_rng(seed)
    return lambda label: int(rng.integers(most + 1))
