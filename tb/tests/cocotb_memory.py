# SPDX-License-Identifier: Apache-2.0
"""cocotb tests of the memory: latency, pauses, order, error answers, the owner map, the moment of sampling."""

from __future__ import annotations

import cocotb
import numpy as np
from cocotb.handle import SimHandleBase

from models.physical_memory import OWNER_READ_ERROR, OWNER_WRITE_ERROR, Owner
from models.registers import Register
from models.structures import Reason
from tb.adapter.pins import AXI
from tb.agents.memory_bus import Axi4ReadMonitor
from tb.case import Case, CaseResult, MemorySettings
from tb.environment import Environment
from tb.host_script import When
from tb.records import ActionKind
from tb.scenarios.builder import CaseBuilder
from tb.tests.cocotb_transactor import assert_clean
from tb.tests.port_trace import Cycle, PortTrace, WriteCycle, watch_writes
from tb.tests.small_case import PASID, page_requests, page_va, small_builder, with_actions

DECERR = 3
OUTSIDE = 1 << 40
DATA_BYTES = 4096
LATE = 1000
"""A cycle when the one walk of a case is long over."""


def read_latencies(cycles: list[Cycle]) -> list[int]:
    """Cycles from each taken read address to the first cycle of its data, minus one, told apart by id.

    Errors: AssertionError if two reads are open under one id.
    """
    asked: dict[int, int] = {}
    latencies = []
    for cycle in cycles:
        if cycle.read_data is not None:
            latencies.append(cycle.number - asked.pop(cycle.read_data) - 1)
        if cycle.read_taken and cycle.read_id is not None:
            assert cycle.read_id not in asked, f"cycle {cycle.number}: two reads are open under id {cycle.read_id}"
            asked[cycle.read_id] = cycle.number
    return latencies


def walking_case(name: str, settings: MemorySettings, *, requests: int = 20, pause: int = 0, seed: int = 1) -> Case:
    """Requests of pages that lie too far apart to share a line, so that each walks, `pause` cycles apart."""
    builder = small_builder(name, settings=settings, seed=seed)
    pages = [(place * 24) % 512 for place in range(requests)]
    builder.ask(page_requests(pages, after_action=len(builder.script), pause=pause))
    return builder.build()


@cocotb.test()
@cocotb.parametrize(latency=[0, 1, 2, 7, 500])
async def test_latency_exact(dut: SimHandleBase, latency: int) -> None:
    """
    Stimulus: walks over a memory with one fixed latency and no pauses.
    Checking: the data of a read whose address is taken in cycle t is there in cycle t + 1 + latency, for every read;
        an address is taken in the cycle in which it comes.
    Covers: MEMORY-LATENCY
    """
    trace = PortTrace(dut)
    case = walking_case("latency", MemorySettings(read_latency=(latency, latency)))
    result = await Environment(dut).run(case)
    assert_clean(result)
    latencies = read_latencies(trace.cycles)
    assert len(latencies) > 20
    assert set(latencies) == {latency}
    assert all(cycle.read_ready for cycle in trace.cycles[2:])


@cocotb.test()
async def test_latency_drawn(dut: SimHandleBase) -> None:
    """
    Stimulus: walks over a memory whose latency is drawn from 3 to 6, one after the other: of two reads that are due in
        one cycle one is late.
    Checking: every value of the range appears, none outside does, and the next seed draws others.
    Covers: MEMORY-LATENCY
    """
    drawn = []
    for seed in (1, 2):
        trace = PortTrace(dut)
        case = walking_case("latencies", MemorySettings(read_latency=(3, 6)), requests=40, pause=40, seed=seed)
        result = await Environment(dut).run(case)
        assert_clean(result)
        drawn.append(read_latencies(trace.cycles))
    assert set(drawn[0]) == {3, 4, 5, 6} == set(drawn[1])
    assert drawn[0] != drawn[1]


@cocotb.test()
async def test_pauses_drawn(dut: SimHandleBase) -> None:
    """
    Stimulus: walks over a memory that stands still with a chance of 12/16, on read addresses, then on read data.
    Checking: read ready is low for 12/16 of the cycles, within 5/16; data comes later than its latency, by 3 cycles in
        the mean, within 2.
    Covers: MEMORY-PAUSE
    """
    trace = PortTrace(dut)
    result = await Environment(dut).run(walking_case("ar-pauses", MemorySettings(ar_pause=12), requests=40))
    assert_clean(result)
    ready = float(np.mean([cycle.read_ready for cycle in trace.cycles]))
    assert abs(ready - 4 / 16) < 5 / 16 / 4, ready

    trace = PortTrace(dut)
    settings = MemorySettings(read_latency=(1, 1), r_pause=12)
    result = await Environment(dut).run(walking_case("r-pauses", settings, requests=40, pause=40))
    assert_clean(result)
    late = np.array(read_latencies(trace.cycles)) - 1
    assert late.min() == 0
    assert 1 < late.mean() < 5, late.mean()


@cocotb.test()
async def test_order_of_id(dut: SimHandleBase) -> None:
    """
    Stimulus: walks side by side and command reads, all of which carry different ids, over latencies from 0 to 40.
    Checking: the data of every read is what memory holds at its address, by its id; no id has two reads open; beats of
        different ids overtake each other, walks each other too.
    Covers: MEMORY-ORDER
    """
    builder = small_builder("orders", settings=MemorySettings(read_latency=(0, 40)), seed=3, ring_log2=4)
    before = len(builder.script)
    for _ in range(60):
        builder.script.invalidate(PASID, 0, 0)
        builder.script.wait_taken()
    builder.ask(page_requests([(place * 24) % 512 for place in range(64)], after_action=before))
    environment = Environment(dut)
    trace = PortTrace(dut)
    monitor = Axi4ReadMonitor(dut, AXI, environment.top.clock, reset_n=environment.top.reset_n)
    result = await environment.run(builder.build())
    assert_clean(result)
    overtaken = 0
    open_reads: list[int] = []
    for cycle in trace.cycles:
        if cycle.read_data is not None:
            overtaken += open_reads[0] != cycle.read_data
            open_reads.remove(cycle.read_data)
        if cycle.read_taken and cycle.read_id is not None:
            assert cycle.read_id not in open_reads, f"two reads are open under id {cycle.read_id}"
            open_reads.append(cycle.read_id)
    assert not open_reads
    assert overtaken > 20
    reads = list(monitor)
    assert len({read.id for read in reads}) > 4
    commands = builder.ring.base if builder.ring is not None else 0
    tables = [read for read in reads if not commands <= read.address < commands + 64 * 8]
    assert len(tables) > 60
    for read in tables:
        words = builder.memory.read_words(read.address, 8)
        assert read.data == int.from_bytes(words.tobytes(), "little"), f"read of {read.address:#x}"


def fences_case(name: str, settings: MemorySettings, count: int) -> Case:
    """Fences with value writes, one after the other."""
    builder = small_builder(name, settings=settings, ring_log2=2)
    word = builder.fence_word()
    for value in range(1, count + 1):
        builder.script.fence(address=word, value=value)
        builder.script.wait_register(Register.FENCE_SEQUENCE, value)
    builder.script.read_memory(word)
    return builder.build()


def write_delays(cycles: list[WriteCycle]) -> list[int]:
    """Cycles from the later of a write's address and data to the first cycle of its response, minus one."""
    addresses = [cycle.number for cycle in cycles if cycle.address_taken]
    beats = [cycle.number for cycle in cycles if cycle.data_taken]
    answers = [cycle.number for cycle in cycles if cycle.response_valid]
    return [answer - max(address, beat) - 1 for address, beat, answer in zip(addresses, beats, answers, strict=True)]


@cocotb.test()
@cocotb.parametrize(latency=[0, 1, 6])
async def test_write_latency_exact(dut: SimHandleBase, latency: int) -> None:
    """
    Stimulus: fences with value writes over a memory with one fixed write latency and no pauses.
    Checking: each response comes latency + 1 cycles after address and data were taken; the last value is in memory.
    Covers: MEMORY-LATENCY
    """
    cycles: list[WriteCycle] = []
    task = cocotb.start_soon(watch_writes(dut, cycles))
    case = fences_case("write-latency", MemorySettings(write_latency=(latency, latency)), 4)
    result = await Environment(dut).run(case)
    task.cancel()
    assert_clean(result)
    assert write_delays(cycles) == [latency] * 4
    assert int(result.action_results["data"][-1]) == 4


@cocotb.test()
async def test_write_pauses_drawn(dut: SimHandleBase) -> None:
    """
    Stimulus: fences with value writes over a memory whose write channels stand still with chances of 12/16, one at a
        time.
    Checking: the channel's ready is low for 12/16 of the cycles, within 1/16, and the others are always ready; a
        response is late by 3 cycles in the mean, within 2.
    Covers: MEMORY-PAUSE
    """
    for field in ("aw_pause", "w_pause", "b_pause"):
        cycles: list[WriteCycle] = []
        task = cocotb.start_soon(watch_writes(dut, cycles))
        settings = MemorySettings(write_latency=(0, 0)).model_copy(update={field: 12})
        result = await Environment(dut).run(fences_case("write-pauses", settings, 40))
        task.cancel()
        assert_clean(result)
        address_ready = float(np.mean([cycle.address_ready for cycle in cycles[1:]]))
        data_ready = float(np.mean([cycle.data_ready for cycle in cycles[1:]]))
        if field == "b_pause":
            late = float(np.mean(write_delays(cycles)))
            assert 1 < late < 5, late
        assert abs(address_ready - (0.25 if field == "aw_pause" else 1)) < 1 / 16, (field, address_ready)
        assert abs(data_ready - (0.25 if field == "w_pause" else 1)) < 1 / 16, (field, data_ready)


def sampled_case(offset: int) -> Case:
    """A host store into the array's first line at cycle `offset`, near the one walk that reads it."""
    builder = small_builder("sampling", settings=MemorySettings(read_latency=(4, 4)))
    builder.ask(page_requests([0], after_action=len(builder.script)))
    entry = builder.tables.entry_address(PASID, page_va(0))
    case = builder.build()
    return with_actions(
        case, (ActionKind.WRITE_MEMORY, {"address": entry, "data": (777 << 12) | 3, "not_before": offset})
    )


@cocotb.test()
async def test_sampled_at_address(dut: SimHandleBase) -> None:
    """
    Stimulus: one walk; the host stores into the entry in every cycle from well before to well after the array's read.
    Checking: the walk sees the new entry exactly if the store's start cycle is not after the cycle in which the read's
        address was taken.
    Covers: MEMORY-SAMPLING
    """
    environment = Environment(dut)
    trace = PortTrace(dut)
    probe = await environment.run(sampled_case(LATE))
    assert_clean(probe)
    trace.stop()
    address_cycle = [cycle.number for cycle in trace.cycles if cycle.read_taken][-1]
    seen = []
    for offset in range(address_cycle - 3, address_cycle + 4):
        result = await environment.run(sampled_case(offset))
        assert_clean(result)
        assert int(result.action_results["start_cycle"][-1]) == offset
        seen.append(int(result.responses["pa"][0]) >> 12 == 777)
    assert seen == [True] * 4 + [False] * 3


async def run_marked(dut: SimHandleBase, builder: CaseBuilder, address: int, mark: int, owner: Owner) -> CaseResult:
    """Runs two requests over tables in which one word carries an error mark, or another owner."""
    builder.ask(page_requests([0, 1], after_action=len(builder.script) + 1, hold=2))
    case = with_actions(
        builder.build(), (ActionKind.SET_OWNER, {"address": address, "data": 8, "mask": int(owner) | mark})
    )
    return await Environment(dut).run(case)


@cocotb.test()
async def test_read_error_marked(dut: SimHandleBase) -> None:
    """
    Stimulus: the last word of the line of a page's entry carries the mark of a read error.
    Checking: the walk ends with BUS_ERROR for every page of the line, and nothing else is wrong.
    Covers: MEMORY-ERROR
    """
    builder = small_builder("read-error")
    address = builder.tables.entry_address(PASID, page_va(7))
    result = await run_marked(dut, builder, address, OWNER_READ_ERROR, Owner.ARRAY)
    assert_clean(result)
    assert result.responses["reason"].tolist() == [Reason.BUS_ERROR] * 2


@cocotb.test()
async def test_owner_read_caught(dut: SimHandleBase) -> None:
    """
    Stimulus: the words of the array are taken from it: their owner is DATA.
    Checking: the walk's read of the array ends the case at once, with the address in the message.
    Covers: OWNER-READ
    """
    builder = small_builder("owner-read")
    entry = builder.tables.entry_address(PASID, page_va(0))
    builder.ask(page_requests([0, 1], after_action=len(builder.script) + 1))
    owner = {"address": entry, "data": DATA_BYTES, "mask": int(Owner.DATA)}
    result = await Environment(dut).run(with_actions(builder.build(), (ActionKind.SET_OWNER, owner)))
    assert result.owner_violations == 1
    assert f"read at {entry:#x}" in result.owner_violation
    assert not result.counters, "the case ended where it was found"


def fence_case(name: str, owner: int) -> Case:
    """A fence with a value write to a word of the given owner byte; then the host reads the word."""
    builder = small_builder(name, ring_log2=2)
    word = builder.fence_word()
    builder.script.set_owner(word, 8, owner)
    builder.script.fence(address=word, value=0x1234_5678_9ABC_DEF0, interrupt=True)
    builder.script.wait_taken()
    builder.script.nop(When(delay=100))
    builder.script.read_memory(word)
    builder.script.read_memory(word + 8)
    return builder.build()


@cocotb.test()
async def test_owner_write_caught(dut: SimHandleBase) -> None:
    """
    Stimulus: a fence whose value goes to a word that is no fence's, then one whose word is.
    Checking: the first ends the case at once and leaves memory alone; the second writes the 8 bytes and no others.
    Covers: OWNER-WRITE
    """
    environment = Environment(dut)
    result = await environment.run(fence_case("owner-write", Owner.DATA))
    assert result.owner_violations == 1
    assert "neither fence values, one whole record" in result.owner_violation
    result = await environment.run(fence_case("owner-fence", Owner.FENCE))
    assert_clean(result)
    assert result.action_results["data"][-2:].tolist() == [0x1234_5678_9ABC_DEF0, 0]


@cocotb.test()
async def test_write_error_marked(dut: SimHandleBase) -> None:
    """
    Stimulus: a fence whose word carries the mark of a write error.
    Checking: the write is answered with an error and not done; nothing else is wrong.
    Covers: MEMORY-ERROR
    """
    result = await Environment(dut).run(fence_case("write-error", Owner.FENCE | OWNER_WRITE_ERROR))
    assert_clean(result)
    assert result.action_results["data"][-2:].tolist() == [0, 0]


@cocotb.test()
async def test_host_outside(dut: SimHandleBase) -> None:
    """
    Stimulus: the host stores and loads outside the memory, and in its last word.
    Checking: outside is answered DECERR, the last word holds what was stored.
    Covers: HOST-MEMORY
    """
    builder = small_builder("outside")
    last = builder.memory.base + builder.memory.size - 8
    case = with_actions(
        builder.build(),
        (ActionKind.WRITE_MEMORY, {"address": OUTSIDE, "data": 1}),
        (ActionKind.READ_MEMORY, {"address": last + 8}),
        (ActionKind.READ_MEMORY, {"address": last + 1}),
        (ActionKind.WRITE_MEMORY, {"address": last, "data": 99}),
        (ActionKind.READ_MEMORY, {"address": last}),
    )
    result = await Environment(dut).run(case)
    assert result.action_results["status"][-5:].tolist() == [DECERR, DECERR, DECERR, 0, 0]
    assert int(result.action_results["data"][-1]) == 99
