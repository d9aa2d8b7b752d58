# SPDX-License-Identifier: Apache-2.0
"""cocotb tests of the transactor and of the host: every cycle is where tb/records.py says it is."""

from __future__ import annotations

import cocotb
import numpy as np
from cocotb.handle import SimHandleBase

from models.registers import INTERRUPT_CAUSE_FENCE_DONE, Register
from tb.case import CaseResult, MemorySettings
from tb.environment import Environment
from tb.records import ActionKind, Done, EventKind
from tb.tests.port_trace import PortTrace, WriteCycle, watch_writes
from tb.tests.small_case import hot_pages_case, page_requests, page_va, small_builder, with_actions

IDS = 32
MAGIC_LOW = 0x48
"""The lowest byte of ID."""
ALL_DONE = Done.ACCEPTED | Done.FINISHED | Done.RELEASED


def assert_clean(result: CaseResult) -> None:
    """The case ran to its end and the always-on checks found nothing."""
    assert not result.stalled, result.dump
    assert result.owner_violations == 0, result.owner_violation
    assert result.assertion_failures == 0, result.assertion_failure
    assert (result.responses["done"] == ALL_DONE).all()
    assert (result.action_results["done"] == 1).all()


@cocotb.test()
async def test_pause_exact(dut: SimHandleBase) -> None:
    """
    Stimulus: requests of cached pages with pauses 0, 1, 2, 7, 0, 300.
    Checking: each is valid first in the cycle pause + 1 after the one before it was taken; the records tell the cycles
        in which they were taken.
    Covers: TRANSACTOR-PAUSE
    """
    pauses = [0, 1, 2, 7, 0, 300, 0]
    trace = PortTrace(dut)
    case, first = hot_pages_case("pauses", page_requests(list(range(len(pauses))), pause=pauses))
    result = await Environment(dut).run(case)
    assert_clean(result)
    spans = trace.requests()
    assert [taken for _, taken in spans] == result.responses["accept_cycle"].tolist()
    for index, pause in enumerate(pauses[1:], start=first + 1):
        valid, _ = spans[index]
        assert valid == spans[index - 1][1] + 1 + pause, f"request {index}"


@cocotb.test()
async def test_hold_exact(dut: SimHandleBase) -> None:
    """
    Stimulus: requests of cached pages, far apart, with holds 0, 1, 2, 9, 250.
    Checking: each grant is released in the cycle hold + 1 after its response, at the port and in the records.
    Covers: TRANSACTOR-HOLD
    """
    holds = [0, 1, 2, 9, 250]
    trace = PortTrace(dut)
    case, first = hot_pages_case("holds", page_requests(list(range(len(holds))), pause=400, hold=holds))
    result = await Environment(dut).run(case)
    assert_clean(result)
    own = result.responses[first:]
    assert own["release_cycle"].tolist() == (own["finish_cycle"] + np.uint64(1) + np.array(holds, np.uint64)).tolist()
    released = dict(trace.releases())
    assert [released[int(row["release_cycle"])] for row in own] == own["id"].tolist()


@cocotb.test()
async def test_hold_same_due(dut: SimHandleBase) -> None:
    """
    Stimulus: requests of cached pages with holds such that several grants are due in the same cycle.
    Checking: one release a cycle, without a gap, the grant that was given first goes first.
    Covers: TRANSACTOR-RELEASE-QUEUE
    """
    trace = PortTrace(dut)
    probe_case, first = hot_pages_case("same-due-probe", page_requests([0, 1, 2, 3]))
    probe = await Environment(dut).run(probe_case)
    finish = probe.responses["finish_cycle"][first:].astype(np.int64)
    due = int(finish[-1]) + 50
    holds = (due - 1 - finish).tolist()
    case, first = hot_pages_case("same-due", page_requests([0, 1, 2, 3], hold=holds))
    result = await Environment(dut).run(case)
    assert_clean(result)
    own = result.responses[first:]
    assert own["finish_cycle"].tolist() == finish.tolist()
    assert own["release_cycle"].tolist() == [due, due + 1, due + 2, due + 3]
    assert trace.releases()[-4:] == [(due + place, int(own["id"][place])) for place in range(4)]


@cocotb.test()
async def test_ids_rotate(dut: SimHandleBase) -> None:
    """
    Stimulus: 40 requests of cached pages with short holds.
    Checking: ids are used in turn, 0 after the last.
    Covers: TRANSACTOR-IDS
    """
    case, _ = hot_pages_case("rotation", page_requests([place % 8 for place in range(40)], hold=3))
    result = await Environment(dut).run(case)
    assert_clean(result)
    assert result.responses["id"].tolist() == [place % IDS for place in range(48)]


@cocotb.test()
async def test_ids_run_out(dut: SimHandleBase) -> None:
    """
    Stimulus: more requests than ids, with holds so long that all ids become busy; the grants end in reverse.
    Checking: the next request is valid one cycle after a release, and takes just that id.
    Covers: TRANSACTOR-IDS
    """
    holds = [3000 - 60 * place for place in range(IDS)] + [0, 0]
    trace = PortTrace(dut)
    case, first = hot_pages_case("ids-run-out", page_requests([place % 8 for place in range(IDS + 2)], hold=holds))
    result = await Environment(dut).run(case)
    assert_clean(result)
    responses = result.responses
    late = first + IDS
    # The grant that was asked for last ends first.
    freed = responses[late - 1]
    spans = trace.requests()
    assert int(responses["id"][late]) == int(freed["id"])
    assert spans[late][0] == int(freed["release_cycle"]) + 1
    assert spans[late][0] > spans[late - 1][1] + 100


@cocotb.test()
async def test_order_exact(dut: SimHandleBase) -> None:
    """
    Stimulus: actions with delays and earliest cycles, an action after a response, a request after an action.
    Checking: all start in exactly the cycle that the contract of the records says.
    Covers: HOST-TIMING, TRANSACTOR-AFTER-ACTION
    """
    case, first = hot_pages_case("order", page_requests([0, 1]))
    head = case.actions.size
    case = with_actions(
        case,
        (ActionKind.NOP, {"delay": 0}),
        (ActionKind.NOP, {"delay": 5}),
        (ActionKind.NOP, {"not_before": 2000}),
        (ActionKind.READ_MEMORY, {"delay": 1, "address": case.context_base}),
        (ActionKind.NOP, {"after_request": first + 1}),
    )
    case.requests["after_action"][first] = head + 4
    trace = PortTrace(dut)
    result = await Environment(dut).run(case)
    assert_clean(result)
    start = result.action_results["start_cycle"].astype(np.int64)
    done = result.action_results["done_cycle"].astype(np.int64)
    assert start[0] == 1, "the first action starts as if one had been done in cycle 0"
    assert start[head] == done[head - 1] + 1
    assert start[head + 1] == done[head] + 1 + 5
    assert start[head + 2] == 2000
    assert start[head + 3] == done[head + 2] + 1 + 1
    assert (done[head : head + 4] == start[head : head + 4] + 1).all()
    assert trace.requests()[first][0] == done[head + 3] + 1
    assert start[head + 4] == int(result.responses["finish_cycle"][first]) + 1


@cocotb.test()
async def test_waits_exact(dut: SimHandleBase) -> None:
    """
    Stimulus: waits for bits of a word and of a register that hold already; for a fence's value, under a mask, in a word
        whose other bits never match; for a fence's interrupt.
    Checking: a wait for what holds is done at once; one for memory two cycles after the device's write, because a look
        takes a cycle and comes before the device's write of its own cycle; one for the line in the cycle of its rise.
    Covers: HOST-WAIT
    """
    builder = small_builder("waits", ring_log2=2, settings=MemorySettings(write_latency=(40, 40)))
    word = builder.fence_word()
    script = builder.script
    script.write_register(Register.INTERRUPT_ENABLE, INTERRUPT_CAUSE_FENCE_DONE.mask)
    script.write_memory(word, 0xAB00)
    held = script.wait_memory(word, 0xA000, mask=0xF000) - 1
    register = script.wait_register(Register.ID, MAGIC_LOW, mask=0xFF) - 1
    script.fence(address=word, value=0x55_0001, interrupt=True)
    written = script.wait_memory(word, 0x0001, mask=0xFFFF) - 1
    line = script.wait_interrupt() - 1
    writes: list[WriteCycle] = []
    watcher = cocotb.start_soon(watch_writes(dut, writes))
    result = await Environment(dut).run(builder.build())
    watcher.cancel()
    assert_clean(result)
    start = result.action_results["start_cycle"].astype(np.int64)
    done = result.action_results["done_cycle"].astype(np.int64)
    assert done[held] == start[held] + 1
    assert int(result.action_results["data"][held]) == 0xAB00
    assert int(result.action_results["data"][register]) & 0xFF == MAGIC_LOW
    taken = [cycle.number for cycle in writes if cycle.data_taken or cycle.address_taken][-1]
    assert start[written] < taken
    assert done[written] == taken + 2
    assert int(result.action_results["data"][written]) == 0x55_0001
    (rise,) = result.events["cycle"][result.events["kind"] == EventKind.INTERRUPT].tolist()
    assert start[line] < rise
    assert done[line] == rise


@cocotb.test()
async def test_requests_match_port(dut: SimHandleBase) -> None:
    """
    Stimulus: random requests with pauses and holds over a memory with latencies and pauses on every channel.
    Checking: addresses go over the port in the order of the array; a response of each id belongs to the request that
        holds it; no id is used twice at once.
    Covers: TRANSACTOR-ORDER
    """
    random = np.random.default_rng(5)
    settings = MemorySettings(read_latency=(0, 9), ar_pause=5, r_pause=4)
    builder = small_builder("ports", settings=settings)
    pages = random.integers(0, 512, 60).tolist()
    columns = {"pause": random.integers(0, 4, 60), "hold": random.integers(0, 30, 60)}
    builder.ask(page_requests(pages, after_action=len(builder.script), **columns))
    trace = PortTrace(dut)
    result = await Environment(dut).run(builder.build())
    assert_clean(result)
    taken = [cycle.request for cycle in trace.cycles if cycle.request_taken]
    assert taken == [page_va(page) for page in pages]
    answers = {cycle.number: cycle.response for cycle in trace.cycles if cycle.response is not None}
    rows = result.responses
    assert answers == dict(zip(rows["finish_cycle"].tolist(), rows["id"].tolist(), strict=True))
    for identity in range(IDS):
        own = rows[rows["id"] == identity]
        assert (own["accept_cycle"][1:] > own["release_cycle"][:-1]).all()
