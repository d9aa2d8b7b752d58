# SPDX-License-Identifier: Apache-2.0
"""Answers that come in every cycle around a record's write, a walk's end, a merge; twice; and to full buffers."""

from __future__ import annotations

import cocotb
import numpy as np
from cocotb.handle import SimHandleBase

from models.arrays import Words
from models.fault_records import cancel_command, replay_all_command, resume_command
from models.registers import Register
from models.structures import Access, Opcode, Reason, pack_command
from tb.records import EventKind
from tb.tests.fault_bench import SLOTS, WORDS, FaultBench, good_word
from tb.tests.fault_meetings import TAG_STEP, Meetings, one
from tb.tests.small_case import PAGE_BYTES, PASID, page_va

ROUNDS = 270
HEADSTART = [pack_command(opcode=Opcode.INVALIDATE, pasid=PASID + 1, first=0, last=(1 << 64) - 1)] * 2
"""Commands that do nothing to the context of the tests; the second waits until the first is through with the cache, and
what stands behind them is here long before its turn. A command that is executed as soon as its line comes could not
meet the end of a walk: that would need two lines on the bus in one cycle."""
ROUNDS_TO_FILL = 8
"""Quiet times until every request that has room waits."""


def answer(kind: str, tag: int, page: int) -> Words:
    """An answer of each kind to the fault of a page."""
    match kind:
        case "replay" | "cancel":
            return resume_command(tag, cancel=kind == "cancel")
        case "replay_all":
            return replay_all_command()
        case _:
            return cancel_command(PASID, page_va(page), page_va(page) + PAGE_BYTES - 1, Access.READ)


@cocotb.test()
@cocotb.parametrize(kind=["replay", "cancel", "replay_all", "cancel_range"])
async def test_meeting_answer_and_record(dut: SimHandleBase, kind: str) -> None:
    """
    Stimulus: a fault; an answer to it that takes effect in every cycle around that in which its record is in memory.
    Checking: up to and in that cycle the answer does nothing (RESUME is counted as ignored), after it the fault is
    over; every request has one answer. The log shows distances without a gap, from 12 before to 12 after at least.
    Covers: FAULT-MEET-RECORD, FAULT-IGNORED
    """
    meetings = await Meetings.begin(dut, "record")
    bench = meetings.bench
    ends = kind in ("cancel", "cancel_range")

    async def point(delay: int) -> int:
        begun, before = meetings.next_point(), await bench.counters()
        page = meetings.page()
        place = await meetings.ask_and_command(delay, page, answer(kind, meetings.next_tag, page))
        await bench.quiet()
        distance = meetings.first(EventKind.COMMAND, begun) - meetings.first(EventKind.FAULT_RECORD, begun)
        late = distance > 0
        after = await bench.counters()
        came = {name: after[name] - before[name] for name in after}
        assert came == {
            "records": 2 if late and not ends else 1,
            "merged": 0,
            "replays": int(late and not ends),
            "ignored": int(not late and kind in ("replay", "cancel")),
            "unrecorded": 0,
        }, f"distance {distance}: {came}"
        await meetings.take(came["records"] - 1)
        if late and ends:
            await bench.expect_aborted(place, Reason.NOT_PRESENT)
            await meetings.take(1)
        else:
            assert bench.waits(place), f"distance {distance}"
            await meetings.served(page, place)
        return distance

    await meetings.sweep(point)
    meetings.expect_no_gap()
    await bench.finish()


@cocotb.test()
@cocotb.parametrize(cancel=[False, True])
async def test_meeting_answer_and_merge(dut: SimHandleBase, cancel: bool) -> None:
    """
    Stimulus: a fault that is recorded; a second request for its page, whose walk ends in a fault; an answer to the
    first in every cycle around the end of that walk.
    Checking: the counters of walks and merges tell whether the answer came before, in, or after that cycle: before it
    the second leads a fault of its own, in it it walks again, after it it shares the answer. The commands' cycles in
    the log are consecutive and come in this order, around the cycle in which that walk must end if it takes as long as
    the first one's did; each request ends once, as it must.
    Covers: FAULT-MEET-MERGE, FAULT-MERGE
    """
    meetings = await Meetings.begin(dut, "merge")
    bench = meetings.bench
    orders: dict[int, str] = {}

    async def point(delay: int) -> int:
        meetings.next_point()
        page = meetings.page()
        leader = bench.ask(page)
        (record,) = await meetings.take(1)
        await bench.quiet()
        before, walked = await bench.counters(), await bench.device.read_register(Register.COUNTER_WALKS)
        begun = bench.port.now()
        commands = np.stack([*HEADSTART, resume_command(record.tag, cancel=cancel)])
        second = await meetings.ask_and_command(delay, page, commands)
        await bench.quiet()
        after, walks = await bench.counters(), await bench.device.read_register(Register.COUNTER_WALKS) - walked
        merged, records = after["merged"] - before["merged"], after["records"] - before["records"]
        accepts = bench.device.responses["accept_cycle"]
        walk_end = int(accepts[second]) + record.timestamp - int(accepts[leader])
        order = {
            (False, 2, 1): "before",
            (False, 3, 1): "in",
            (False, 3, 2): "after",
            (True, 1, 0): "before",
            (True, 2, 0): "in",
            (True, 1, 1): "after",
        }[cancel, walks, merged]
        distance = int(meetings.rows(EventKind.COMMAND, begun)["cycle"][len(HEADSTART)]) - walk_end
        orders[distance] = order
        if cancel:
            await bench.expect_aborted(leader, Reason.NOT_PRESENT)
        if cancel and order == "after":
            assert records == 0
            await bench.expect_aborted(second, Reason.NOT_PRESENT)
        else:
            assert records == 1
            await meetings.served(page, *([second] if cancel else [leader, second]))
        return distance

    await meetings.sweep(point)
    expected = {each: "in" if each == 0 else "before" if each < 0 else "after" for each in orders}
    assert orders == expected, f"{orders}"
    meetings.expect_no_gap()
    await bench.finish()


@cocotb.test()
async def test_meeting_second_answer(dut: SimHandleBase) -> None:
    """
    Stimulus: a fault is replayed with its page still missing, then its tag is answered again, in every cycle from
    right behind the first answer until the fault that follows is in memory; once as a replay, once as a cancel.
    Checking: the second answer is counted as ignored, whatever the replayed request does at that moment; the fault that
    follows has another tag and waits; the log shows each distance to its record.
    Covers: FAULT-MEET-DOUBLE, FAULT-IGNORED, FAULT-TAG
    """
    meetings = await Meetings.begin(dut, "second")
    bench = meetings.bench

    async def point(delay: int) -> int:
        meetings.next_point()
        page = meetings.page()
        place = bench.ask(page)
        (record,) = await meetings.take(1)
        before = await bench.counters()
        begun = bench.port.now()
        await meetings.command(0, resume_command(record.tag, cancel=False))
        await meetings.command(delay, resume_command(record.tag, cancel=bool(delay % 2)))
        await bench.quiet()
        after = await bench.counters()
        assert after["ignored"] - before["ignored"] == 1 and after["replays"] - before["replays"] == 1
        assert after["records"] - before["records"] == 1
        second = int(meetings.rows(EventKind.COMMAND, begun)["cycle"][1])
        assert bench.waits(place)
        distance = second - meetings.first(EventKind.FAULT_RECORD, begun)
        await meetings.served(page, place)
        assert meetings.tag != record.tag
        return distance

    await meetings.sweep(point)
    meetings.expect_no_gap()
    await bench.finish()


@cocotb.test()
async def test_meeting_old_tags(dut: SimHandleBase) -> None:
    """
    Stimulus: one place is used for 270 faults, one after another; before each is answered, three tags that it had
    before are answered, the one before, the first, and a drawn one.
    Checking: every tag is new: the place with the next generation, past 256 of them; an old tag is ignored, always.
    Covers: FAULT-TAG, FAULT-IGNORED
    """
    meetings = await Meetings.begin(dut, "old tags")
    bench = meetings.bench
    tags = [meetings.tag]
    meetings.next_point()
    place = bench.ask(meetings.page())
    for number in range(ROUNDS):
        (record,) = await meetings.take(1)
        assert record.tag == tags[-1] + TAG_STEP
        drawn = tags[number * 7 % len(tags)]
        await bench.resume(tags[-1], tags[0], drawn, record.tag)
        tags.append(record.tag)
    (last,) = await meetings.take(1)
    assert bench.waits(place)
    counters = await bench.counters()
    assert counters["ignored"] == 3 * ROUNDS and counters["replays"] == ROUNDS + 1
    await bench.resume(last.tag, cancel=True)
    await bench.expect_aborted(place, Reason.NOT_PRESENT)
    await bench.finish()


@cocotb.test()
async def test_meeting_everything_full(dut: SimHandleBase) -> None:
    """
    Stimulus: all places wait, the ring of two is full, more requests stand at the port, nobody takes records; then
    REPLAY_ALL, an invalidation and a fence; then records are taken, and REPLAY_ALL again and again; at last the pages
    are there.
    Checking: nothing locks up: each command takes effect, the fence is complete, the two recorded faults are replayed
    and wait for room once more; the request at the port goes in when a place is free; each ends with its page.
    Covers: FAULT-BUFFER-FULL, FAULT-RING-FULL, FAULT-REPLAY-ALL, FAULT-FENCE
    """
    bench = FaultBench(dut, "full", fault_log2=1)
    pages = SLOTS + 6
    for page in range(pages):
        bench.set_entry(page, WORDS[Reason.NOT_PRESENT])
    await bench.start()
    places = bench.ask_in_turn(pages)
    for _ in range(ROUNDS_TO_FILL):
        await bench.quiet()
    assert (await bench.counters())["records"] == 2
    await bench.port.submit(one(replay_all_command()))
    await bench.port.fence()
    await bench.quiet()
    counters = await bench.counters()
    assert (counters["replays"], counters["records"]) == (1, 2), f"{counters}: the ring has no room"
    assert bench.waits(*places)
    for _ in range(6):
        assert len(await bench.records(2)) == 2
        await bench.port.submit(one(replay_all_command()))
    await bench.port.fence()
    await bench.quiet()
    assert bench.waits(*places)
    for page in range(pages):
        await bench.store_entry(page, good_word(page))
    while not all(bench.device.is_answered(place) for place in places):
        await bench.records(1)
        await bench.port.submit(one(replay_all_command()))
        await bench.quiet()
    for page, place in enumerate(places):
        await bench.expect_ok(place, page)
    await bench.finish()
