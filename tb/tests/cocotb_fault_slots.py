# SPDX-License-Identifier: Apache-2.0
"""The judge of the fault ring's slots (tb/cpp/fault_ring.cpp), told directly what a host and a device would do."""

from __future__ import annotations

import ctypes

import cocotb
import numpy as np
from cocotb.handle import SimHandleBase

from models import registers
from models.physical_memory import Owner, PhysicalMemory
from models.registers import Register
from models.structures import FAULT_RECORD_BYTES
from tb.case import MemorySettings
from tb.environment import Environment, make_settings

MEMORY_BYTES = 1 << 16
RING, OTHER_RING = 0x2040, 0x4000
MOST_SLOTS = 16
OKAY, SLVERR, DECERR = 0, 2, 3
LINE = 64
ON, RESET = registers.CONTROL_FAULT_ENABLE.mask, registers.CONTROL_SOFT_RESET.mask
WHOLE_RECORD = (1 << FAULT_RECORD_BYTES) - 1
ALL_BYTES = 0xFF


class HostAndDevice:
    """What both would do, as calls of the C++ side; time stands still."""

    def __init__(self, environment: Environment) -> None:
        self.environment = environment
        self.library = ctypes.CDLL(None)
        self.memory = PhysicalMemory(MEMORY_BYTES)
        for base in (RING, OTHER_RING):
            self.memory.set_owner(base, MOST_SLOTS * FAULT_RECORD_BYTES, Owner.FAULT)
        self._line = np.zeros(LINE, dtype=np.uint8)

    async def start(self, *, log2: int = 2, base: int = RING) -> None:
        """A new case, whose ring is set up and on."""
        await self.environment.reset(self.memory, make_settings(MemorySettings()))
        self.memory.buffer[:] = 0
        self.set_up(log2, base)

    def set_up(self, log2: int = 2, base: int = RING) -> None:
        """The ring, and CONTROL switches it on."""
        self.write(Register.FAULT_BASE, base)
        self.write(Register.FAULT_SIZE, log2)
        self.write(Register.FAULT_GET, 0)
        self.write(Register.CONTROL, ON)

    def write(self, register: Register, value: int, strobe: int = ALL_BYTES) -> None:
        """The host writes a register."""
        self.library.tb_register_write(ctypes.c_uint32(register), ctypes.c_uint64(value), ctypes.c_uint8(strobe))

    def record(self, slot: int, base: int = RING) -> int:
        """The device writes a record into a slot; returns the bus's answer."""
        address = base + FAULT_RECORD_BYTES * slot
        self._line[:] = slot + 1
        return (
            int(
                self.library.tb_write_line(
                    ctypes.c_uint64(7),
                    ctypes.c_uint8(0),
                    ctypes.c_uint64(address // LINE * LINE),
                    ctypes.c_uint8(1),
                    ctypes.c_uint64(WHOLE_RECORD << address % LINE),
                    ctypes.c_void_p(self._line.ctypes.data),
                )
            )
            & 0xFF
        )

    def is_written(self, slot: int, base: int = RING) -> bool:
        """Whether the slot has a record of `record`."""
        address = base + FAULT_RECORD_BYTES * slot
        return bool((self.memory.buffer[address : address + FAULT_RECORD_BYTES] == slot + 1).all())

    def violations(self) -> tuple[int, str]:
        """How many there are, and the first in words."""
        return self.environment.simulator.owner_violations()

    def expect(self, slot: int, words: str, base: int = RING) -> None:
        """A record there is refused with these words, as the first mistake, and leaves memory alone."""
        assert self.violations() == (0, "")
        before = self.memory.buffer.copy()
        assert self.record(slot, base) == SLVERR
        count, text = self.violations()
        assert count == 1
        assert words in text, text
        assert f"cycle 7: write at {base + FAULT_RECORD_BYTES * slot:#x} of system memory" in text
        assert (self.memory.buffer == before).all()


@cocotb.test()
async def test_fault_slots_in_turn(dut: SimHandleBase) -> None:
    """
    Stimulus: to the C++ side directly: records of a ring of four in turn, the host takes some; then one too many, one
        twice, one left out, one in another ring, one while the ring was never on, one after all were taken but in the
        slot before.
    Checking: records in turn are written; each other one is told with the slot that was its turn, and not written.
    Covers: OWNER-FAULT-SLOT
    """
    calls = HostAndDevice(Environment(dut))
    await calls.start()
    assert [calls.record(slot) for slot in range(4)] == [OKAY] * 4
    assert all(calls.is_written(slot) for slot in range(4))
    calls.write(Register.FAULT_GET, 2)
    assert [calls.record(slot) for slot in range(2)] == [OKAY] * 2
    calls.expect(2, f"6 records are written and 2 taken, so the next one waits for room at {RING + 64:#x}")

    for slots, wrong, words in (
        ([], 1, f"0 records are written and 0 taken, so the next one goes to {RING:#x}"),
        ([0], 0, f"so the next one goes to {RING + 32:#x}"),
        ([0], 2, f"so the next one goes to {RING + 32:#x}"),
        ([0, 1, 2, 3], 0, f"4 records are written and 0 taken, so the next one waits for room at {RING:#x}"),
        ([0, 1, 2], 4, f"so the next one goes to {RING + 96:#x}"),
    ):
        await calls.start()
        assert [calls.record(slot) for slot in slots] == [OKAY] * len(slots)
        calls.expect(wrong, words)

    await calls.start()
    calls.expect(0, "not the next one", OTHER_RING)
    await calls.start()
    calls.write(Register.CONTROL, RESET)
    calls.library.tb_registers_reset(ctypes.c_uint8(1))
    calls.library.tb_registers_reset(ctypes.c_uint8(0))
    calls.expect(0, "never switched the fault ring on")


@cocotb.test()
async def test_fault_slots_taken_wrongly(dut: SimHandleBase) -> None:
    """
    Stimulus: as above, with a ring of one and one of two: a FAULT_GET beyond what was written, one that goes back, one
        of which only another register's or the upper bytes are written.
    Checking: none of them gives a slot back.
    Covers: OWNER-FAULT-SLOT
    """
    calls = HostAndDevice(Environment(dut))
    for register, value, strobe in (
        (Register.FAULT_GET, 2, ALL_BYTES),
        (Register.COMMAND_TAIL, 1, ALL_BYTES),
        (Register.FAULT_GET, 1, 0xF0),
    ):
        await calls.start(log2=0)
        assert calls.record(0) == OKAY
        calls.write(register, value, strobe)
        calls.expect(0, "1 records are written and 0 taken")
    await calls.start(log2=0)
    assert calls.record(0) == OKAY
    calls.write(Register.FAULT_GET, 1, 0x01)
    assert calls.record(0) == OKAY
    await calls.start(log2=1)
    assert [calls.record(0), calls.record(1)] == [OKAY] * 2
    calls.write(Register.FAULT_GET, 2)
    calls.write(Register.FAULT_GET, 1)
    assert [calls.record(0), calls.record(1)] == [OKAY] * 2
    calls.expect(0, "4 records are written and 2 taken")


@cocotb.test()
async def test_fault_slots_of_lives(dut: SimHandleBase) -> None:
    """
    Stimulus: as above: the ring is off and on again, in another place or the same one, while records of its life before
        still come; a soft reset, in which one comes and registers take nothing; a write that fails, in memory and
        beyond it.
    Checking: records of a life come in turn, begin at slot 0, and end where the next one's begin; after the reset
        nothing of before counts; a record whose write failed has used its slot.
    Covers: OWNER-FAULT-SLOT
    """
    calls = HostAndDevice(Environment(dut))
    for base in (OTHER_RING, RING):
        await calls.start()
        assert [calls.record(slot) for slot in range(2)] == [OKAY] * 2
        calls.write(Register.CONTROL, 0)
        assert calls.record(2) == OKAY, "it was on its way"
        calls.set_up(log2=1, base=base)
        assert calls.record(3) == OKAY, "it was on its way"
        assert [calls.record(slot, base) for slot in range(2)] == [OKAY] * 2
        calls.expect(0, "of 2 slots", base)
        await calls.start()
        assert calls.record(0) == OKAY
        calls.write(Register.CONTROL, 0)
        calls.set_up(base=base)
        assert [calls.record(slot, base) for slot in range(2)] == [OKAY] * 2
        calls.expect(0, "goes to", base)

    await calls.start()
    assert calls.record(0) == OKAY
    calls.write(Register.CONTROL, RESET)
    calls.library.tb_registers_reset(ctypes.c_uint8(1))
    calls.set_up(base=OTHER_RING)
    assert calls.record(1) == OKAY, "it was on its way"
    calls.library.tb_registers_reset(ctypes.c_uint8(0))
    calls.set_up()
    assert calls.record(0) == OKAY
    calls.expect(2, f"goes to {RING + 32:#x}")

    await calls.start()
    calls.memory.set_write_error(RING)
    assert calls.record(0) == SLVERR
    assert not calls.is_written(0)
    calls.expect(0, f"goes to {RING + 32:#x}")
    beyond = calls.memory.base + calls.memory.size
    await calls.start(base=beyond)
    assert [calls.record(slot, beyond) for slot in range(2)] == [DECERR] * 2
    assert calls.violations() == (0, "")
    assert calls.record(1, beyond) == DECERR
    assert "not the next one" in calls.violations()[1]
    calls.environment.simulator.clear()
