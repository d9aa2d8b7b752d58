# SPDX-License-Identifier: Apache-2.0
"""cocotb tests by pins: the agents see and do what the case's arrays say."""

from __future__ import annotations

import cocotb
import numpy as np
from cocotb.handle import SimHandleBase
from cocotb.triggers import ClockCycles

from models.arrays import LINE_BYTES
from models.registers import Register
from models.structures import Access, Opcode, Reason, pack_command
from tb.agents.client import ClientRequest, ClientResponse
from tb.environment import Environment
from tb.pin_environment import PinEnvironment
from tb.tests.cocotb_transactor import assert_clean
from tb.tests.small_case import FIRST_PFN, PASID, page_requests, page_va, small_builder

MAGIC = 0x314D_4D48
NO_REGISTER = 0x3F8
SLVERR = 2


@cocotb.test()
async def test_registers(dut: SimHandleBase) -> None:
    """
    Stimulus: 64-bit writes and reads of registers through cocotb-bus's AXI4-Lite master, one of them unmapped.
    Checking: all 64 bits come back; the unmapped address is answered SLVERR.
    Covers: AGENT-REGISTERS
    """
    environment = PinEnvironment(dut)
    await environment.start(small_builder("registers").memory)
    assert await environment.read_register(Register.ID) & 0xFFFF_FFFF == MAGIC
    for value in (0xFEDC_BA98_7654_3210, 1 << 63, 0):
        await environment.write_register(Register.FORMAT_NONE_VALUE, value)
        assert await environment.read_register(Register.FORMAT_NONE_VALUE) == value
    assert await environment.registers.read_register(NO_REGISTER) == (0, SLVERR)
    assert await environment.registers.write_register(NO_REGISTER, 1) == SLVERR
    await environment.finish()


@cocotb.test()
async def test_translations(dut: SimHandleBase) -> None:
    """
    Stimulus: by pins, a write to a page, a prefetch, a request of a context that is not bound, one out of range.
    Checking: each response, field by field; the memory reads that the monitor saw are the table's.
    Covers: AGENT-CLIENT, AGENT-READS
    """
    builder = small_builder("pins")
    environment = PinEnvironment(dut)
    await environment.start(builder.memory)
    await environment.enable(builder.format, context_base=builder.tables.context_base, context_count=8)

    good = await environment.translate(ClientRequest(id=5, va=page_va(3) + 0x123, pasid=PASID, access=Access.WRITE))
    pa = (FIRST_PFN + 6) * 4096 + 0x123
    assert good == ClientResponse(5, False, Reason.NONE, pa, 0, True, True, 0)
    await environment.release(5)
    entry = builder.tables.entry_address(PASID, page_va(3))
    reads = list(environment.reads)
    assert reads[0].address == builder.tables.context_base
    assert reads[-1].address == entry - entry % LINE_BYTES
    words = builder.memory.read_words(reads[-1].address, 8)
    assert reads[-1].data == int.from_bytes(words.tobytes(), "little")

    early = await environment.translate(ClientRequest(id=5, va=page_va(4), pasid=PASID, access=Access.PREFETCH))
    assert not early.aborted
    unbound = await environment.translate(ClientRequest(id=5, va=page_va(3), pasid=PASID + 1))
    assert unbound == ClientResponse(5, True, Reason.NO_CONTEXT, 0, 0, False, False, 0)
    outside = await environment.translate(ClientRequest(id=9, va=1 << 60, pasid=PASID))
    assert outside.reason == Reason.OUT_OF_RANGE
    await environment.finish()


@cocotb.test()
async def test_fence_value(dut: SimHandleBase) -> None:
    """
    Stimulus: by pins, a fence with a value write.
    Checking: the monitor sees one write of just these 8 bytes, and memory holds them.
    Covers: AGENT-WRITES
    """
    builder = small_builder("fence", ring_log2=2)
    word = builder.fence_word()
    assert builder.ring is not None
    builder.memory.write_words(
        builder.ring.base, pack_command(opcode=Opcode.FENCE, write_value=1, first=word, last=0xA5A5_0000_1111_2222)
    )
    environment = PinEnvironment(dut)
    await environment.start(builder.memory)
    await environment.write_register(Register.COMMAND_BASE, builder.ring.base)
    await environment.write_register(Register.COMMAND_SIZE, builder.ring.log2)
    await environment.write_register(Register.CONTROL, 2)
    await environment.write_register(Register.COMMAND_TAIL, 1)
    await ClockCycles(environment.top.clock, 50)
    (write,) = list(environment.writes)
    offset = word % LINE_BYTES
    assert (write.address, write.strobe, write.response) == (word - offset, 0xFF << offset, 0)
    assert (write.data >> (8 * offset)) & ((1 << 64) - 1) == 0xA5A5_0000_1111_2222
    assert builder.memory.read_words(word, 1)[0] == np.uint64(0xA5A5_0000_1111_2222)
    await environment.finish()


@cocotb.test()
async def test_monitors_see_cases(dut: SimHandleBase) -> None:
    """
    Stimulus: a case by arrays while the monitors watch, after the pins were in use.
    Checking: the response monitor's responses are those of the records, in the order of their cycles.
    Covers: AGENT-CLIENT
    """
    environment = PinEnvironment(dut)
    await environment.start(small_builder("before").memory)
    received: list[ClientResponse] = []
    environment.responses.add_callback(received.append)
    builder = small_builder("monitored")
    builder.ask(page_requests([1, 2, 9, 100], after_action=len(builder.script), hold=[3, 0, 50, 1]))
    result = await Environment(dut).run(builder.build())
    assert_clean(result)
    rows = result.responses[np.argsort(result.responses["finish_cycle"])]
    assert [(response.id, response.pa) for response in received] == list(
        zip(rows["id"].tolist(), rows["pa"].tolist(), strict=True)
    )
