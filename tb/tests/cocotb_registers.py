# SPDX-License-Identifier: Apache-2.0
"""Directed tests of registers, of enable and disable, of interrupts and counters, all by pins."""

from __future__ import annotations

from dataclasses import replace

import cocotb
import numpy as np
from cocotb.handle import SimHandleBase
from cocotb.triggers import ClockCycles, FallingEdge, ReadOnly

from models import registers
from models.formats import EntryFormat
from models.registers import Register
from models.structures import Access, Opcode, Reason, Refusal, pack_command
from tb.agents.client import ClientRequest
from tb.case import MemorySettings
from tb.host_script import format_registers
from tb.pin_environment import PinEnvironment
from tb.scenarios.builder import CaseBuilder
from tb.tests.small_case import FIRST_PFN, PAGE_BYTES, PASID, page_va, small_builder

ALL_ONES = (1 << 64) - 1
SLVERR = 2
HOLES = (0x090, 0x0C8, 0x0F8, 0x168, 0x1F8, 0x288, 0x3F8)
"""Addresses between registers and behind them."""

WRITABLE: dict[Register, int] = {
    Register.INTERRUPT_ENABLE: 0x3FFF,
    Register.CONTEXT_BASE: 0x000F_FFFF_FFFF_FFC0,
    Register.CONTEXT_COUNT: 0x1F_FFFF,
    Register.COMMAND_BASE: 0x000F_FFFF_FFFF_FFC0,
    Register.COMMAND_SIZE: 0xF,
    Register.COMMAND_TAIL: 0xFFFF_FFFF,
    Register.FAULT_BASE: 0x000F_FFFF_FFFF_FFC0,
    Register.FAULT_SIZE: 0xF,
    Register.FAULT_GET: 0xFFFF_FFFF,
    Register.FORMAT_VALID: ALL_ONES,
    Register.FORMAT_WRITE: ALL_ONES,
    Register.FORMAT_ERROR: ALL_ONES,
    Register.FORMAT_NONE: ALL_ONES,
    Register.FORMAT_SPECIAL: ALL_ONES,
    Register.FORMAT_DEVICE_PRIVATE: ALL_ONES,
    Register.FORMAT_ATOMIC: ALL_ONES,
    Register.FORMAT_ERROR_VALUE: ALL_ONES,
    Register.FORMAT_NONE_VALUE: ALL_ONES,
    Register.FORMAT_SPECIAL_VALUE: ALL_ONES,
    Register.FORMAT_LAYOUT: 0x7_1F3F_7F3F,
    Register.WINDOW_BASE: 0x000F_FFFF_FFFF_FFFF,
    Register.WINDOW_COUNT: 0x000F_FFFF_FFFF,
}
"""Registers that the host may write at any time while the device is off, and the bits that they keep."""

LOCKED = [register for register in WRITABLE if register >= Register.FORMAT_VALID] + [
    Register.CONTEXT_BASE,
    Register.CONTEXT_COUNT,
]
"""Registers that do not change while translation is on or still busy."""

CAPABILITY = {
    registers.CAPABILITY_VA_BITS: 48,
    registers.CAPABILITY_PA_BITS: 48,
    registers.CAPABILITY_PASID_BITS: 20,
    registers.CAPABILITY_ID_BITS: 5,
    registers.CAPABILITY_TLB_ENTRIES: 16,
    registers.CAPABILITY_CONTEXT_ENTRIES: 4,
    registers.CAPABILITY_FENCE_DEPTH: 4,
}


async def started(dut: SimHandleBase, name: str, ring_log2: int | None = None) -> tuple[PinEnvironment, CaseBuilder]:
    """A device that is reset over the small address space."""
    builder = small_builder(name, ring_log2=ring_log2)
    environment = PinEnvironment(dut)
    await environment.start(builder.memory)
    return environment, builder


async def enable(environment: PinEnvironment, builder: CaseBuilder) -> None:
    """Translation of the small address space."""
    await environment.enable(builder.format, context_base=builder.tables.context_base, context_count=8)


async def submit(environment: PinEnvironment, builder: CaseBuilder, index: int, **fields: int) -> None:
    """Writes one command into slot `index` of the ring and moves the tail behind it."""
    assert builder.ring is not None
    slots = 1 << builder.ring.log2
    builder.memory.write_words(builder.ring.base + 32 * (index % slots), pack_command(**fields))
    await environment.write_register(Register.COMMAND_TAIL, index + 1)
    await ClockCycles(environment.top.clock, 40)


async def start_ring(environment: PinEnvironment, builder: CaseBuilder) -> None:
    """Switches the command ring on."""
    assert builder.ring is not None
    await environment.write_register(Register.COMMAND_BASE, builder.ring.base)
    await environment.write_register(Register.COMMAND_SIZE, builder.ring.log2)
    await environment.write_register(Register.CONTROL, registers.CONTROL_COMMAND_ENABLE.insert(1))


def refused_formats(good: EntryFormat) -> dict[Refusal, EntryFormat]:
    """For each reason a format that has this one alone."""
    return {
        Refusal.VALID_ZERO: replace(good, valid=0),
        Refusal.VALID_CONTAINS: replace(good, valid=3),
        Refusal.PFN_OVERLAP: replace(good, write=1 << 12),
        Refusal.PFN_SHIFT: replace(good, pfn_shift=13, pfn_width=40),
        Refusal.FIELD_RANGE: replace(good, order_shift=60, order_width=5, pfn_width=40),
        Refusal.NONE_ALIAS: replace(
            good, none_is_value=True, error_is_value=True, none_value=5, error_value=5, none=0, error=0
        ),
    }


@cocotb.test()
async def test_registers_reset_and_bits(dut: SimHandleBase) -> None:
    """
    Stimulus: every register read after reset; every writable one written with ones, zeros and two patterns; holes.
    Checking: values after reset, what the instance was built with, exactly the bits that exist; holes answer SLVERR.
    Covers: REG-RESET, REG-BITS, REG-UNMAPPED, REG-CAPABILITY
    """
    environment, _ = await started(dut, "registers")
    for register in Register:
        if register not in (Register.CAPABILITY, Register.COUNTER_LATCH):
            value = await environment.read_register(register)
            assert value == registers.RESET_VALUES[register], f"{register.name} is {value:#x} after reset"
    capability = await environment.read_register(Register.CAPABILITY)
    for field, wanted in CAPABILITY.items():
        assert field.extract(capability) == wanted, f"{field}: {field.extract(capability)}"
    for register, mask in WRITABLE.items():
        for value in (ALL_ONES, 0, 0x5555_5555_5555_5555, 0xAAAA_AAAA_AAAA_AAAA, ALL_ONES):
            await environment.write_register(register, value)
            came = await environment.read_register(register)
            assert came == value & mask, f"{register.name}: {value:#x} came back as {came:#x}"
    for register, mask in WRITABLE.items():
        assert await environment.read_register(register) == mask, f"{register.name} changed with another register"
    for hole in HOLES:
        assert await environment.registers.read_register(hole) == (0, SLVERR), f"{hole:#x}"
        assert await environment.registers.write_register(hole, ALL_ONES) == SLVERR, f"{hole:#x}"
    await environment.finish()


@cocotb.test()
async def test_enable_refused(dut: SimHandleBase) -> None:
    """
    Stimulus: an enable with each contradictory format, a request meanwhile, then an enable with a good one.
    Checking: STATUS says the one reason, translation stays off and the request waits; nothing is locked; the cause is
    set once; after the good enable STATUS says no reason and the request is answered.
    Covers: ENABLE-REFUSED, FMT-REFUSED
    """
    environment, builder = await started(dut, "refused")
    for refusal, fmt in refused_formats(builder.format).items():
        for register, value in format_registers(fmt).items():
            await environment.write_register(register, value)
        await environment.write_register(Register.CONTROL, 1)
        await ClockCycles(environment.top.clock, 4)
        status = await environment.read_register(Register.STATUS)
        assert status == registers.STATUS_REFUSED.insert(int(refusal)), f"{refusal.name}: STATUS {status:#x}"
        cause = await environment.read_register(Register.INTERRUPT_CAUSE)
        assert cause == registers.INTERRUPT_CAUSE_ENABLE_REFUSED.mask, f"{refusal.name}: cause {cause:#x}"
        await environment.write_register(Register.INTERRUPT_CAUSE, cause)
        await ClockCycles(environment.top.clock, 4)
        assert await environment.read_register(Register.INTERRUPT_CAUSE) == 0, f"{refusal.name}: the cause came again"
        await environment.write_register(Register.FORMAT_SPECIAL_VALUE, 77)
        assert await environment.read_register(Register.FORMAT_SPECIAL_VALUE) == 77, "a refused format is locked"
        await environment.write_register(Register.CONTROL, 0)
    request = cocotb.start_soon(environment.translate(ClientRequest(id=1, va=page_va(2), pasid=PASID)))
    await ClockCycles(environment.top.clock, 30)
    assert not request.done(), "a request was taken while translation is off"
    await enable(environment, builder)
    assert registers.STATUS_REFUSED.extract(await environment.read_register(Register.STATUS)) == 0
    assert (await request).pa == (FIRST_PFN + 4) * PAGE_BYTES
    await environment.release(1)
    await environment.finish()


@cocotb.test()
async def test_disable_waits_and_forgets(dut: SimHandleBase) -> None:
    """
    Stimulus: registers written while translation is on; a disable with a grant open; a page changed while off.
    Checking: locked registers keep their values while on and while the grant is open; BUSY stays until the release;
    requests wait; after the enable the new page is translated, although nothing was invalidated.
    Covers: ENABLE-LOCK, DISABLE-BUSY, DISABLE-FORGETS
    """
    environment, builder = await started(dut, "disable")
    await enable(environment, builder)

    async def expect_locked() -> None:
        for register in LOCKED:
            before = await environment.read_register(register)
            await environment.write_register(register, ~before & ALL_ONES)
            assert await environment.read_register(register) == before, f"{register.name} is not locked"

    await expect_locked()
    assert await environment.read_register(Register.STATUS) == registers.STATUS_ENABLED.mask
    request = ClientRequest(id=7, va=page_va(5) + 8, pasid=PASID, access=Access.WRITE)
    assert (await environment.translate(request)).pa == (FIRST_PFN + 10) * PAGE_BYTES + 8
    await environment.write_register(Register.CONTROL, 0)
    await ClockCycles(environment.top.clock, 10)
    assert await environment.read_register(Register.STATUS) == registers.STATUS_BUSY.mask
    await expect_locked()
    later = cocotb.start_soon(environment.translate(replace(request, id=8)))
    await environment.release(7)
    await ClockCycles(environment.top.clock, 6)
    assert await environment.read_register(Register.STATUS) == 0
    assert not later.done(), "a request was taken while translation is off"
    entry = builder.tables.entry_address(PASID, page_va(5))
    builder.memory.write_words(entry, np.array([(0x777 << 12) | 3], dtype=np.uint64))
    await environment.write_register(Register.CONTROL, 1)
    assert (await later).pa == 0x777 * PAGE_BYTES + 8, "a translation outlived the disable"
    await environment.release(8)
    await environment.finish()


@cocotb.test()
async def test_interrupt_level_and_edge(dut: SimHandleBase) -> None:
    """
    Stimulus: two causes raised, with and without their enables; cleared one after the other; writes of zero.
    Checking: the level is the OR of enabled causes; the edge output pulses for one cycle when the level rises and after
    a write that leaves a cause set, and not after one that leaves none.
    Covers: IRQ-LEVEL, IRQ-EDGE, IRQ-CLEAR
    """
    environment, builder = await started(dut, "interrupts", ring_log2=2)
    pulses: list[int] = []

    async def watch() -> None:
        while True:
            await FallingEdge(environment.top.clock)
            await ReadOnly()
            if int(environment.top.entity.irq_edge_o.value):
                pulses.append(environment.top.cycle_number())

    watching = cocotb.start_soon(watch())

    def level() -> int:
        return int(environment.top.interrupt.value)

    await start_ring(environment, builder)
    await submit(environment, builder, 0, opcode=Opcode.FENCE, interrupt=1)
    await submit(environment, builder, 1, opcode=0)
    both = registers.INTERRUPT_CAUSE_FENCE_DONE.mask | registers.INTERRUPT_CAUSE_COMMAND_MALFORMED.mask
    assert await environment.read_register(Register.INTERRUPT_CAUSE) == both
    assert (level(), pulses) == (0, []), "a cause that is not enabled raised the line"
    await environment.write_register(Register.INTERRUPT_ENABLE, both)
    await ClockCycles(environment.top.clock, 3)
    assert (level(), len(pulses)) == (1, 1)
    await environment.write_register(Register.INTERRUPT_CAUSE, registers.INTERRUPT_CAUSE_FENCE_DONE.mask)
    await ClockCycles(environment.top.clock, 3)
    assert (level(), len(pulses)) == (1, 2), "a clear that leaves a cause set must pulse again"
    await environment.write_register(Register.INTERRUPT_CAUSE, registers.INTERRUPT_CAUSE_COMMAND_MALFORMED.mask)
    await ClockCycles(environment.top.clock, 3)
    assert (level(), len(pulses)) == (0, 2), "a clear that leaves nothing must not pulse"
    await submit(environment, builder, 2, opcode=Opcode.FENCE)
    assert await environment.read_register(Register.INTERRUPT_CAUSE) == 0, "a fence that did not ask for it interrupts"
    await submit(environment, builder, 3, opcode=Opcode.FENCE, interrupt=1)
    assert (level(), len(pulses)) == (1, 3)
    assert await environment.read_register(Register.FENCE_SEQUENCE) == 3
    watching.cancel()
    await environment.finish()


@cocotb.test()
async def test_command_error_first_one(dut: SimHandleBase) -> None:
    """
    Stimulus: two malformed commands, a clear of the cause, a third; then the ring switched off and on.
    Checking: COMMAND_ERROR tells the first since the clear; the head counts them all, and is 0 while the ring is off.
    Covers: CMD-MALFORMED, CMD-RESTART
    """
    environment, builder = await started(dut, "command-error", ring_log2=1)
    await start_ring(environment, builder)
    await submit(environment, builder, 0, opcode=Opcode.FENCE)
    for index, opcode in ((1, 0x77), (2, 0x66)):
        await submit(environment, builder, index, opcode=opcode)
        error = await environment.read_register(Register.COMMAND_ERROR)
        assert registers.COMMAND_ERROR_INDEX.extract(error) == 1
        assert registers.COMMAND_ERROR_OPCODE.extract(error) == 0x77
    await environment.write_register(Register.INTERRUPT_CAUSE, registers.INTERRUPT_CAUSE_COMMAND_MALFORMED.mask)
    await submit(environment, builder, 3, opcode=0x55)
    error = await environment.read_register(Register.COMMAND_ERROR)
    assert registers.COMMAND_ERROR_INDEX.extract(error) == 3
    assert registers.COMMAND_ERROR_OPCODE.extract(error) == 0x55
    assert await environment.read_register(Register.COMMAND_HEAD) == 4
    status = await environment.read_register(Register.STATUS)
    assert status == registers.STATUS_COMMAND_ACTIVE.mask, f"STATUS {status:#x}"
    await environment.write_register(Register.CONTROL, 0)
    await environment.write_register(Register.COMMAND_TAIL, 0)
    assert await environment.read_register(Register.COMMAND_HEAD) == 0
    assert await environment.read_register(Register.STATUS) == 0
    await start_ring(environment, builder)
    await submit(environment, builder, 0, opcode=Opcode.FENCE)
    assert await environment.read_register(Register.COMMAND_HEAD) == 1
    assert await environment.read_register(Register.FENCE_SEQUENCE) == 2
    await environment.finish()


@cocotb.test()
async def test_command_ring_beyond_the_bus(dut: SimHandleBase) -> None:
    """
    Stimulus: a ring whose base is beyond the bus; a tail further ahead than the ring is long.
    Checking: each halts the ring with its cause and without a read; switching it off ends the halt.
    Covers: CMD-BUS-ERROR, CMD-OVERRUN
    """
    environment, builder = await started(dut, "ring", ring_log2=1)
    await start_ring(environment, builder)
    await environment.write_register(Register.COMMAND_TAIL, 3)
    await ClockCycles(environment.top.clock, 10)
    assert await environment.read_register(Register.STATUS) == registers.STATUS_COMMAND_HALTED.mask
    overrun = registers.INTERRUPT_CAUSE_COMMAND_OVERRUN.mask
    assert await environment.read_register(Register.INTERRUPT_CAUSE) == overrun
    await environment.write_register(Register.INTERRUPT_CAUSE, overrun)
    await environment.write_register(Register.CONTROL, 0)
    assert await environment.read_register(Register.STATUS) == 0
    await environment.write_register(Register.COMMAND_TAIL, 1)
    await environment.write_register(Register.COMMAND_BASE, 1 << 48)
    await environment.write_register(Register.CONTROL, registers.CONTROL_COMMAND_ENABLE.insert(1))
    await ClockCycles(environment.top.clock, 10)
    assert await environment.read_register(Register.STATUS) == registers.STATUS_COMMAND_HALTED.mask
    failed = registers.INTERRUPT_CAUSE_COMMAND_BUS_ERROR.mask
    assert await environment.read_register(Register.INTERRUPT_CAUSE) == failed
    assert list(environment.reads) == [], "the device read memory for a ring that it must not read"
    await environment.finish()


@cocotb.test()
async def test_command_read_abandoned(dut: SimHandleBase) -> None:
    """
    Stimulus: the ring switched off and on again, now empty, while the read of a command is on its way: the address
    held back by the bus, or the data late; many times.
    Checking: what was read for the ring's last life is not executed in the next: the head stays 0, nothing is halted.
    Covers: CMD-ABANDON
    """
    for settings in (MemorySettings(ar_pause=15), MemorySettings(read_latency=(40, 40))):
        builder = small_builder("abandon", settings=settings, ring_log2=1)
        assert builder.ring is not None
        builder.memory.write_words(builder.ring.base, pack_command(opcode=Opcode.FENCE))
        environment = PinEnvironment(dut)
        await environment.start(builder.memory, builder.settings)
        on = registers.CONTROL_COMMAND_ENABLE.insert(1)
        for _ in range(40):
            await environment.write_register(Register.CONTROL, 0)
            await environment.write_register(Register.COMMAND_TAIL, 0)
            await start_ring(environment, builder)
            await environment.write_register(Register.COMMAND_TAIL, 1)
            await environment.write_register(Register.CONTROL, 0)
            await environment.write_register(Register.COMMAND_TAIL, 0)
            await environment.write_register(Register.CONTROL, on)
            await ClockCycles(environment.top.clock, 120)
            assert await environment.read_register(Register.COMMAND_HEAD) == 0, "a command of the last life was taken"
            status = await environment.read_register(Register.STATUS)
            assert status == registers.STATUS_COMMAND_ACTIVE.mask, f"STATUS {status:#x}"
        await environment.finish()


@cocotb.test()
async def test_counters_latch(dut: SimHandleBase) -> None:
    """
    Stimulus: requests that walk, that hit the port's own cache (the page again) and the second-level cache (another
    page of the line), and that abort, with a latch before and after.
    Checking: counters stand still between latches, and tell what happened to the last one; two latches 100 cycles
    apart differ by what passed between them.
    Covers: COUNTERS
    """
    environment, builder = await started(dut, "counters")
    await enable(environment, builder)
    await environment.write_register(Register.COUNTER_LATCH, 0)
    assert await environment.read_register(Register.COUNTER_REQUESTS) == 0
    for page in (1, 1, 2):
        assert not (await environment.translate(ClientRequest(id=3, va=page_va(page), pasid=PASID))).aborted
        await environment.release(3)
    aborted = await environment.translate(ClientRequest(id=3, va=page_va(1), pasid=PASID + 1))
    assert aborted.reason == Reason.NO_CONTEXT
    assert await environment.read_register(Register.COUNTER_REQUESTS) == 0, "a counter moved without a latch"
    await environment.write_register(Register.COUNTER_LATCH, ALL_ONES)
    first = environment.top.cycle_number()
    counted = {
        Register.COUNTER_REQUESTS: 4,
        Register.COUNTER_HITS: 1,
        Register.COUNTER_SHARED_HITS: 1,
        Register.COUNTER_WALKS: 2,
        Register.COUNTER_WALK_READS: 5 + 1,
        Register.COUNTER_ABORTED: 1,
        Register.COUNTER_INVALIDATIONS: 0,
        Register.COUNTER_FENCES: 0,
        Register.COUNTER_DROPPED_WALKS: 0,
        Register.COUNTER_STALLED: 0,
    }
    for register, wanted in counted.items():
        came = await environment.read_register(register)
        assert came == wanted, f"{register.name}: {came} instead of {wanted}"
    before = await environment.read_register(Register.COUNTER_CYCLES)
    await ClockCycles(environment.top.clock, 100)
    assert await environment.read_register(Register.COUNTER_CYCLES) == before
    await environment.write_register(Register.COUNTER_LATCH, 1)
    passed = environment.top.cycle_number() - first
    assert await environment.read_register(Register.COUNTER_CYCLES) - before == passed
    await environment.finish()


@cocotb.test()
async def test_counter_stalled(dut: SimHandleBase) -> None:
    """
    Stimulus: a request is offered to a device that is switched off, with two latches meanwhile; then it may go on.
    Checking: between the latches every cycle counts once; behind the answer none does.
    Covers: COUNTERS
    """
    environment, builder = await started(dut, "stalled-counter")
    await enable(environment, builder)

    async def latched() -> tuple[int, int]:
        await environment.write_register(Register.COUNTER_LATCH, 1)
        return (
            await environment.read_register(Register.COUNTER_CYCLES),
            await environment.read_register(Register.COUNTER_STALLED),
        )

    control = await environment.read_register(Register.CONTROL)
    await environment.write_register(Register.CONTROL, control & ~registers.CONTROL_ENABLE.mask)
    asked = cocotb.start_soon(environment.translate(ClientRequest(id=3, va=page_va(1), pasid=PASID)))
    await ClockCycles(environment.top.clock, 20)
    cycles, stalled = await latched()
    await ClockCycles(environment.top.clock, 30)
    later_cycles, later_stalled = await latched()
    assert later_stalled - stalled == later_cycles - cycles > 30
    await environment.write_register(Register.CONTROL, control)
    assert not (await asked).aborted
    await environment.release(3)
    _, stalled = await latched()
    await ClockCycles(environment.top.clock, 30)
    assert (await latched())[1] == stalled
    await environment.finish()
