# SPDX-License-Identifier: Apache-2.0
"""Every register of the map by its SystemRDL: reset, every bit, byte strobes, locks, holes, set and clear at once."""

from __future__ import annotations

import os

import cocotb
import numpy as np
from cocotb.handle import SimHandleBase
from cocotb.triggers import ClockCycles, FallingEdge, ReadOnly

from models import registers
from models.registers import Register
from models.structures import COMMAND_BYTES, Opcode, pack_command
from tb.case import MemorySettings
from tb.pin_environment import PinEnvironment
from tb.register_policy import ALL_BITS, RegisterPolicy, register_policies, unmapped_offsets
from tb.tests.small_case import small_builder

SLVERR = 2
SPACE_BYTES = 1 << 10
"""What the address pins reach."""
POLICIES = register_policies()
SWITCHES = (Register.CONTROL, Register.INTERRUPT_CAUSE)
"""What a write here does is more than what is read back; tests of their own."""
SLOW_READS = 24
MEETING_DELAYS = range(16, 48)


def patterns() -> list[int]:
    """Values under which every two bits differ at least once, both ways, and every bit is 0 and 1."""
    coded = [sum(1 << bit for bit in range(64) if bit >> place & 1) for place in range(6)]
    return [0, ALL_BITS, *coded, *(ALL_BITS & ~value for value in coded), 0]


def plain(policies: list[RegisterPolicy]) -> list[RegisterPolicy]:
    """Registers that only hold what is written."""
    return [policy for policy in policies if policy.offset not in SWITCHES]


async def started(dut: SimHandleBase) -> PinEnvironment:
    """A device just out of reset, translation off."""
    environment = PinEnvironment(dut)
    await environment.start(small_builder("csr").memory)
    return environment


async def read(environment: PinEnvironment, policy: RegisterPolicy) -> int:
    """A register; absent bits are 0."""
    value, response = await environment.registers.read_register(policy.offset)
    assert response == 0, f"{policy.name}: the read was answered {response}"
    assert value & policy.absent == 0, f"{policy.name}: {value:#x} has bits that are not in the map"
    return value


async def write(environment: PinEnvironment, policy: RegisterPolicy, value: int, strobes: int = 0xFF) -> None:
    """Writes some bytes of a register."""
    response = await environment.registers.write_register(policy.offset, value, strobes)
    assert response == 0, f"{policy.name}: the write was answered {response}"


async def expect_write(
    environment: PinEnvironment, policy: RegisterPolicy, value: int, *, strobes: int = 0xFF, locked: bool = False
) -> None:
    """A write of a plain register, and what it must hold then."""
    before = await read(environment, policy)
    await write(environment, policy, value, strobes)
    came = await read(environment, policy)
    known = ALL_BITS & ~policy.driven
    wanted = policy.after_write(before, value, strobes=strobes, locked=locked)
    assert (came ^ wanted) & known == 0, (
        f"{policy.name}: {value:#x} with strobes {strobes:#04x} over {before:#x}{' while locked' if locked else ''}"
        f" gave {came:#x}, not {wanted:#x}"
    )


@cocotb.test()
async def test_csr_reset(dut: SimHandleBase) -> None:
    """
    Stimulus: every register read after reset; all written with ones; reset again, and read again.
    Checking: the values after reset that the map gives; bits that are not in it read 0.
    Covers: REG-RESET
    """
    environment = await started(dut)
    for _ in range(2):
        for policy in POLICIES:
            value = await read(environment, policy)
            assert (value ^ policy.reset) & policy.reset_known == 0, f"{policy.name} is {value:#x} after reset"
        for policy in plain(POLICIES):
            await write(environment, policy, ALL_BITS)
        await environment.start(small_builder("csr").memory)
    await environment.finish()


@cocotb.test()
async def test_csr_every_bit(dut: SimHandleBase) -> None:
    """
    Stimulus: every register written with patterns that tell any two bits apart, in a drawn order of registers.
    Checking: each bit does what its access policy says; no write changes another register.
    Covers: REG-BITS, REG-READ-ONLY
    """
    environment = await started(dut)
    rng = np.random.default_rng(int(os.environ["COCOTB_RANDOM_SEED"]))
    chosen = plain(POLICIES)
    held: dict[str, int] = {}
    for index in rng.permutation(len(chosen)).tolist():
        policy = chosen[index]
        for value in patterns():
            await expect_write(environment, policy, value)
        last = int(rng.integers(1 << 63)) << 1
        await expect_write(environment, policy, last)
        held[policy.name] = last & policy.stored
    for policy in chosen:
        came = await read(environment, policy)
        assert came & policy.stored == held[policy.name], f"{policy.name} is {came:#x} after writes of others"
    await environment.finish()


@cocotb.test()
async def test_csr_byte_strobes(dut: SimHandleBase) -> None:
    """
    Stimulus: each register with bits to keep, written with ones over zeros and with zeros over ones under every single
        strobe, no strobe, and drawn sets of them.
    Checking: exactly the bytes under a strobe change.
    Covers: REG-STROBES
    """
    environment = await started(dut)
    rng = np.random.default_rng(int(os.environ["COCOTB_RANDOM_SEED"]))
    for policy in [each for each in plain(POLICIES) if each.stored]:
        for strobes in (0, *(1 << lane for lane in range(8)), *rng.integers(1, 255, 3).tolist()):
            for over, value in ((0, ALL_BITS), (ALL_BITS, 0)):
                await write(environment, policy, over)
                await expect_write(environment, policy, value, strobes=strobes)
    await environment.finish()


@cocotb.test()
async def test_csr_control_bits(dut: SimHandleBase) -> None:
    """
    Stimulus: CONTROL with each of its bits alone and with the strobe of another byte; the causes cleared under strobes.
    Checking: the bits are kept one by one; a write under the wrong strobe changes and clears nothing; a refused enable
        sets its cause, which a 0 leaves and a 1 clears.
    Covers: REG-BITS, REG-CLEAR
    """
    environment = await started(dut)
    by_name = {policy.name: policy for policy in POLICIES}
    control, cause = by_name["CONTROL"], by_name["INTERRUPT_CAUSE"]
    for bit in [bit for bit in range(64) if control.stored >> bit & 1]:
        await write(environment, control, 1 << bit, strobes=0xFE)
        assert await read(environment, control) == 0, f"bit {bit} was written without its strobe"
        await write(environment, control, 1 << bit)
        assert await read(environment, control) == 1 << bit
        await ClockCycles(environment.top.clock, 4)
        refused = registers.INTERRUPT_CAUSE_ENABLE_REFUSED.mask if bit == registers.CONTROL_ENABLE.low else 0
        # A format of nothing but zeros cannot be taken.
        assert await read(environment, cause) == refused
        for value, strobes in ((0, 0xFF), (ALL_BITS, 0xFE), (ALL_BITS & ~refused, 0xFF)):
            await write(environment, cause, value, strobes)
            assert await read(environment, cause) == refused, f"{value:#x} under {strobes:#x} changed the cause"
        await write(environment, cause, refused)
        assert await read(environment, cause) == 0
        await write(environment, control, 0)
        await ClockCycles(environment.top.clock, 4)
    await environment.finish()


@cocotb.test()
async def test_csr_locks(dut: SimHandleBase) -> None:
    """
    Stimulus: every register with a lock written before translation is on, while it is on, and after it was on.
    Checking: the locked bits keep their values exactly while it is on, also under single strobes; other registers are
        written as ever.
    Covers: ENABLE-LOCK
    """
    builder = small_builder("csr")
    environment = PinEnvironment(dut)
    await environment.start(builder.memory)
    locked = [policy for policy in POLICIES if policy.locked]
    assert len(locked) > 10
    for policy in locked:
        await expect_write(environment, policy, ALL_BITS)
    await environment.enable(builder.format, context_base=builder.tables.context_base, context_count=8)
    for policy in locked:
        for value in (0, ALL_BITS):
            for strobes in (0xFF, 0x01, 0x80):
                await expect_write(environment, policy, value, strobes=strobes, locked=True)
    for policy in [each for each in plain(POLICIES) if not each.locked and each.stored]:
        await expect_write(environment, policy, 0, locked=True)
    await environment.write_register(Register.CONTROL, 0)
    await ClockCycles(environment.top.clock, 6)
    for policy in locked:
        for value in (0, ALL_BITS):
            await expect_write(environment, policy, value)
    await environment.finish()


@cocotb.test()
async def test_csr_holes(dut: SimHandleBase) -> None:
    """
    Stimulus: every address of the space at which there is no register, read and written.
    Checking: SLVERR each time, reads give 0, and no register changes.
    Covers: REG-UNMAPPED
    """
    environment = await started(dut)
    before = [await read(environment, policy) for policy in plain(POLICIES)]
    holes = unmapped_offsets(POLICIES, SPACE_BYTES)
    assert len(holes) > 60
    for hole in holes:
        assert await environment.registers.read_register(hole) == (0, SLVERR), f"read of {hole:#x}"
        assert await environment.registers.write_register(hole, ALL_BITS) == SLVERR, f"write of {hole:#x}"
    assert [await read(environment, policy) for policy in plain(POLICIES)] == before
    await environment.finish()


@cocotb.test()
@cocotb.parametrize(
    event=[
        (int(Opcode.FENCE), 1, registers.INTERRUPT_CAUSE_FENCE_DONE.mask),
        (0x77, 0, registers.INTERRUPT_CAUSE_COMMAND_MALFORMED.mask),
    ]
)
async def test_csr_set_meets_clear(dut: SimHandleBase, event: tuple[int, int, int]) -> None:
    """
    Stimulus: a cause that is set; a second event that sets it again, and a clear that comes at every delay around it.
    Checking: the interrupt line tells where they meet: a clear before the event makes it low for as many cycles as it
        is early, a clear behind it ends with the cause clear; the one between, in the same cycle, leaves the cause set
        and the line high all the time, because the new event wins.
    Covers: IRQ-SET-CLEAR
    """
    opcode, interrupt, cause = event
    seen: list[tuple[int, bool]] = []
    environment = PinEnvironment(dut)
    for delay in MEETING_DELAYS:
        builder = small_builder("csr", ring_log2=2)
        assert builder.ring is not None
        await environment.start(builder.memory, MemorySettings(read_latency=(SLOW_READS, SLOW_READS)))
        for index in range(2):
            words = pack_command(opcode=opcode, interrupt=interrupt)
            builder.memory.write_words(builder.ring.base + COMMAND_BYTES * index, words)
        await environment.write_register(Register.COMMAND_BASE, builder.ring.base)
        await environment.write_register(Register.COMMAND_SIZE, builder.ring.log2)
        await environment.write_register(Register.INTERRUPT_ENABLE, cause)
        await environment.write_register(Register.CONTROL, registers.CONTROL_COMMAND_ENABLE.insert(1))
        await environment.write_register(Register.COMMAND_TAIL, 1)
        await ClockCycles(environment.top.clock, 3 * SLOW_READS)
        assert await environment.read_register(Register.INTERRUPT_CAUSE) == cause
        low = 0
        await environment.write_register(Register.COMMAND_TAIL, 2)

        async def watch() -> None:
            nonlocal low
            while True:
                await FallingEdge(environment.top.clock)
                await ReadOnly()
                low += 1 - int(environment.top.interrupt.value)

        await ClockCycles(environment.top.clock, delay)
        watching = cocotb.start_soon(watch())
        await environment.write_register(Register.INTERRUPT_CAUSE, cause)
        await ClockCycles(environment.top.clock, 3 * SLOW_READS)
        watching.cancel()
        left = await environment.read_register(Register.INTERRUPT_CAUSE)
        assert left in (0, cause)
        seen.append((low, left == cause))
    await environment.finish()
    kept = [low for low, is_set in seen if is_set]
    assert all(is_set for _, is_set in seen[: len(kept)]), f"the cause comes and goes with the delay: {seen}"
    assert len(kept) < len(seen), "no clear came behind the event"
    assert kept[-1] == 0, f"the clear in the cycle of the event won: low for {kept} cycles"
    assert kept == list(range(len(kept) - 1, -1, -1)), f"low for {kept} cycles"
