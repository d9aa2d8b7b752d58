# SPDX-License-Identifier: Apache-2.0
"""Soft reset by pins: registers, the drain of the memory bus, ids, and hard resets in the middle of one."""

from __future__ import annotations

import cocotb
from cocotb.handle import SimHandleBase
from cocotb.triggers import ClockCycles, FallingEdge, ReadOnly

from models import registers
from models.formats import format_by_name
from models.registers import Register
from models.structures import Access
from tb.agents.client import ClientRequest
from tb.case import MemorySettings
from tb.pin_environment import PinEnvironment
from tb.register_policy import ALL_BITS, RegisterPolicy, register_policies
from tb.scenarios.builder import CaseBuilder
from tb.tests.small_case import FIRST_PFN, FORMAT_NAME, PASID, page_va, small_builder

POLICIES = register_policies()
SOFT_RESET = registers.CONTROL_SOFT_RESET.mask
CONTROL_LANE = 1
"""The byte of CONTROL that has the bit."""
SLOW = 60
"""Cycles of a read: long enough to look at registers in the middle of it."""
PAUSES = range(0, 4 * SLOW, 17)
"""When the reset comes into a walk of four reads and into what is before and behind it."""


async def enabled(environment: PinEnvironment, builder: CaseBuilder) -> None:
    """Translation on, with the builder's tables."""
    await environment.enable(
        format_by_name(FORMAT_NAME),
        context_base=builder.tables.context_base,
        context_count=builder.tables.context_count,
    )


async def begin(environment: PinEnvironment) -> None:
    """Writes the bit."""
    await environment.write_register(Register.CONTROL, SOFT_RESET)


async def over(environment: PinEnvironment) -> None:
    """Waits until it is done."""
    while await environment.read_register(Register.CONTROL) & SOFT_RESET:
        pass


def wrong_value(policy: RegisterPolicy, value: int) -> bool:
    """Whether a register is not as after a reset."""
    return bool((value ^ policy.reset) & policy.reset_known) or (policy.absent & value) != 0


@cocotb.test()
async def test_soft_reset_registers(dut: SimHandleBase) -> None:
    """
    Stimulus: every register written with ones, a cause set, its line high; CONTROL.SOFT_RESET written as 0, under a
        wrong strobe, as 1.
    Checking: only the last one resets; then every register has its reset value, as after a hard reset, and the line is
        low; the bit reads 0.
    Covers: SOFT-RESET
    """
    environment = PinEnvironment(dut)
    await environment.start(small_builder("soft-reset").memory)
    after_hard = [await environment.read_register(Register(policy.offset)) for policy in POLICIES]
    for policy in POLICIES:
        if policy.offset not in (Register.CONTROL, Register.INTERRUPT_CAUSE, Register.FORMAT_VALID):
            await environment.registers.write_register(policy.offset, ALL_BITS)
    # A format without VALID is refused.
    await environment.write_register(Register.CONTROL, registers.CONTROL_ENABLE.mask)
    await ClockCycles(environment.top.clock, 4)
    assert int(environment.top.interrupt.value) == 1
    await environment.write_register(Register.CONTROL, registers.CONTROL_ENABLE.mask)
    await environment.registers.write_register(Register.CONTROL, ALL_BITS, 0xFF & ~(1 << CONTROL_LANE) & ~1)
    await ClockCycles(environment.top.clock, 8)
    assert int(environment.top.interrupt.value) == 1, "a write that is no soft reset was one"
    assert await environment.read_register(Register.FORMAT_WRITE) == ALL_BITS
    await begin(environment)
    await over(environment)
    assert int(environment.top.interrupt.value) == 0
    for policy, hard in zip(POLICIES, after_hard, strict=True):
        value = await environment.read_register(Register(policy.offset))
        assert not wrong_value(policy, value), f"{policy.name} is {value:#x} after a soft reset"
        assert value == hard, f"{policy.name} is {value:#x} after a soft reset, {hard:#x} after a hard one"
    await environment.finish()


@cocotb.test()
async def test_soft_reset_drains(dut: SimHandleBase) -> None:
    """
    Stimulus: a request over a slow memory; a soft reset at many distances from it, and a 0 written to the bit; then the
        page's entry is another one, and the same id asks for it.
    Checking: while a read is open the bit reads 1 and no other address is offered; when it reads 0 all reads are home;
        nothing is answered; registers can be read all the time; the new entry is what the id gets.
    Covers: SOFT-RESET
    """
    environment = PinEnvironment(dut)
    top = environment.top
    met_open = 0
    for pause in PAUSES:
        builder = small_builder("soft-reset")
        await environment.start(builder.memory, MemorySettings(read_latency=(SLOW, SLOW)))
        await enabled(environment, builder)
        asking = cocotb.start_soon(environment.translate(ClientRequest(7, page_va(0), PASID, Access.READ)))
        await ClockCycles(top.clock, 1 + pause)
        await begin(environment)
        offered = answered = 0

        async def watch() -> None:
            nonlocal offered, answered
            await ClockCycles(top.clock, 4)
            while True:
                await FallingEdge(top.clock)
                await ReadOnly()
                offered += int(top.entity.axi_arvalid_o.value)
                answered += int(top.entity.client_rsp_valid_o.value)

        watching = cocotb.start_soon(watch())
        reads = 0
        while await environment.read_register(Register.CONTROL) & SOFT_RESET:
            reads += 1
            await environment.write_register(Register.CONTROL, 0)
            assert await environment.read_register(Register.ID) == registers.RESET_VALUES[Register.ID]
        met_open += reads > 1
        await ClockCycles(top.clock, 2 * SLOW)
        watching.cancel()
        assert offered == 0, f"{offered} cycles with a read address behind the soft reset, pause {pause}"
        assert answered == 0, f"an answer behind the soft reset, pause {pause}"
        asking.cancel()
        new = (FIRST_PFN + 77) << 12 | 3
        builder.memory.write_words(builder.tables.entry_address(PASID, page_va(0)), [new])
        await enabled(environment, builder)
        response = await environment.translate(ClientRequest(7, page_va(0), PASID, Access.READ))
        assert response.pa == (FIRST_PFN + 77) << 12, f"came {response}, pause {pause}"
        await environment.release(7)
        await environment.finish()
    assert met_open > 3, "the reset met no open read"


@cocotb.test()
async def test_hard_reset_in_soft_reset(dut: SimHandleBase) -> None:
    """
    Stimulus: a hard reset, with a new memory, in the middle of a walk, and in the middle of the drain of a soft reset.
    Checking: the device is as after any reset: registers, and a translation.
    Covers: RESET-ANYTIME, SOFT-RESET
    """
    environment = PinEnvironment(dut)
    top = environment.top
    for soft in (False, True):
        for pause in PAUSES:
            builder = small_builder("hard-reset")
            await environment.start(builder.memory, MemorySettings(read_latency=(SLOW, SLOW)))
            await enabled(environment, builder)
            asking = cocotb.start_soon(environment.translate(ClientRequest(3, page_va(1), PASID, Access.WRITE)))
            await ClockCycles(top.clock, 1 + pause)
            if soft:
                await begin(environment)
            asking.cancel()
            builder = small_builder("hard-reset")
            await environment.start(builder.memory)
            for policy in POLICIES:
                value = await environment.read_register(Register(policy.offset))
                assert not wrong_value(policy, value), f"{policy.name} is {value:#x} after a hard reset"
            await enabled(environment, builder)
            response = await environment.translate(ClientRequest(3, page_va(1), PASID, Access.WRITE))
            assert response.pa == (FIRST_PFN + 2) << 12, f"came {response}"
            await environment.release(3)
            await environment.finish()
