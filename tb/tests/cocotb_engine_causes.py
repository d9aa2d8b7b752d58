# SPDX-License-Identifier: Apache-2.0
"""What the access engine tells the host in registers: causes of interrupts, the line, head and halts."""

from __future__ import annotations

import cocotb
import numpy as np
from cocotb.handle import SimHandleBase

from models import registers
from models.arrays import Words
from models.registers import Register
from models.structures import CompletionStatus, EngineOpcode, pack_descriptor
from tb.tests.engine_bench import CONTEXTS, PASID, EngineBench, all_ok, page_va

ERROR = registers.INTERRUPT_CAUSE_ENGINE_ERROR.mask
DONE = registers.INTERRUPT_CAUSE_ENGINE_DONE.mask
OVERRUN = registers.INTERRUPT_CAUSE_ENGINE_OVERRUN.mask
BUS_ERROR = registers.INTERRUPT_CAUSE_ENGINE_BUS_ERROR.mask
CAUSES = ERROR | DONE | OVERRUN | BUS_ERROR
FAULT = registers.INTERRUPT_CAUSE_FAULT.mask
HALTED = registers.STATUS_ENGINE_HALTED
GOOD, FAILING = 0, 1
"""Pages: one that works, one whose bytes the bus does not read."""
NOT_AN_OPCODE = 0x3F


async def begin(dut: SimHandleBase) -> EngineBench:
    """A bench that runs, with two pages in system memory; of its interrupts only those of the engine are enabled."""
    bench = EngineBench(dut, 1)
    for page in (GOOD, FAILING):
        bench.map_at_start(page)
    bench.memory.set_read_error(bench.frames[FAILING].address)
    await bench.start()
    await bench.device.write_register(Register.INTERRUPT_ENABLE, CAUSES)
    return bench


async def take_causes(bench: EngineBench) -> int:
    """The engine's causes, which are cleared; the line must be high just if there is one. Errors: AssertionError."""
    causes = await bench.device.read_register(Register.INTERRUPT_CAUSE) & CAUSES
    assert int(bench.device.top.interrupt.value) == int(causes != 0), f"the line does not follow the causes {causes:#x}"
    await bench.device.write_register(Register.INTERRUPT_CAUSE, causes)
    assert not await bench.device.read_register(Register.INTERRUPT_CAUSE) & CAUSES
    assert not int(bench.device.top.interrupt.value)
    return causes


def add_of(page: int, *, pasid: int = PASID, interrupt: bool = False) -> Words:
    """ATOMIC_ADD of 0: it reads and writes, and changes nothing."""
    return pack_descriptor(
        opcode=EngineOpcode.ATOMIC_ADD,
        interrupt=interrupt,
        length=8,
        destination_pasid=pasid,
        destination_va=page_va(page),
        operand=0,
    )


def malformed(*, interrupt: bool = False) -> Words:
    """What is no descriptor: an opcode that does not exist."""
    words = add_of(GOOD, interrupt=interrupt)
    words[0] |= np.uint64(NOT_AN_OPCODE)
    return words


@cocotb.test()
async def test_engine_causes_of_a_descriptor(dut: SimHandleBase) -> None:
    """
    Stimulus: descriptors one at a time that end in every status, each with and without the wish for an interrupt.
    Checking: ENGINE_ERROR is set just by those that are not OK, ENGINE_DONE just by those that asked; the line is high
        just then, and low when the causes are cleared; the head counts each; the engine is not halted.
    Covers: ENGINE-CAUSES, INTERRUPT-LINE
    """
    bench = await begin(dut)
    assert await take_causes(bench) == 0
    rows = {
        CompletionStatus.OK: [add_of(GOOD), add_of(GOOD, interrupt=True)],
        CompletionStatus.ABORTED: [add_of(GOOD, pasid=CONTEXTS), add_of(GOOD, pasid=CONTEXTS, interrupt=True)],
        CompletionStatus.BUS_ERROR: [add_of(FAILING), add_of(FAILING, interrupt=True)],
        CompletionStatus.MALFORMED: [malformed(), malformed(interrupt=True)],
    }
    done = 0
    for _ in range(2):
        for status, pair in rows.items():
            for wish, descriptor in enumerate(pair):
                (completion,) = await bench.engine.perform(descriptor)
                await bench.quiet()
                done += 1
                assert completion.status is status
                wanted = ERROR * (status is not CompletionStatus.OK) | DONE * wish
                causes = await take_causes(bench)
                assert causes == wanted, f"{status.name}, interrupt {wish}: causes {causes:#x}, not {wanted:#x}"
                assert await bench.device.read_register(Register.ENGINE_HEAD) == done
    assert not HALTED.extract(await bench.device.read_register(Register.STATUS))
    await bench.finish()


@cocotb.test()
async def test_engine_causes_masked(dut: SimHandleBase) -> None:
    """
    Stimulus: a descriptor that fails and asks for an interrupt, while one of its two causes is enabled, the other one,
        or neither.
    Checking: both causes are set each time; the line is high just if an enabled one is.
    Covers: ENGINE-CAUSES, INTERRUPT-LINE
    """
    bench = await begin(dut)
    for enabled in (0, ERROR, DONE, OVERRUN | BUS_ERROR | FAULT):
        await bench.device.write_register(Register.INTERRUPT_ENABLE, enabled)
        (completion,) = await bench.engine.perform(malformed(interrupt=True))
        await bench.quiet()
        assert completion.status is CompletionStatus.MALFORMED
        assert await bench.device.read_register(Register.INTERRUPT_CAUSE) & CAUSES == ERROR | DONE
        assert int(bench.device.top.interrupt.value) == int(bool(enabled & (ERROR | DONE)))
        await bench.device.write_register(Register.INTERRUPT_CAUSE, CAUSES)
    await bench.finish()


@cocotb.test()
async def test_engine_causes_of_a_halt(dut: SimHandleBase) -> None:
    """
    Stimulus: a tail that is further ahead than the ring is long; then, switched off and on, a ring that cannot be read.
    Checking: ENGINE_OVERRUN, then ENGINE_BUS_ERROR, alone; each time the engine is halted, and goes on when it is
        switched off and on, which alone sets no cause.
    Covers: ENGINE-CAUSES, ENGINE-HALT
    """
    bench = await begin(dut)

    async def again() -> None:
        await bench.engine.disable()
        await bench.quiet()
        await bench.engine.enable()
        await bench.quiet()
        status = await bench.device.read_register(Register.STATUS)
        assert not HALTED.extract(status) and registers.STATUS_ENGINE_ACTIVE.extract(status)
        assert await take_causes(bench) == 0
        all_ok(await bench.engine.perform(add_of(GOOD)))
        await bench.quiet()
        assert await take_causes(bench) == 0

    await again()
    await bench.device.write_register(Register.ENGINE_TAIL, bench.engine.submitted + bench.engine.slots + 1)
    await bench.quiet()
    assert HALTED.extract(await bench.device.read_register(Register.STATUS))
    assert await take_causes(bench) == OVERRUN
    await again()
    slot = bench.engine.ring + 64 * (bench.engine.submitted % bench.engine.slots)
    bench.memory.set_read_error(slot)
    await bench.engine.submit(add_of(GOOD))
    await bench.quiet()
    assert HALTED.extract(await bench.device.read_register(Register.STATUS))
    assert await take_causes(bench) == BUS_ERROR
    assert not bench.engine.look()
    await again()
    await bench.finish()
