# SPDX-License-Identifier: Apache-2.0
"""Contexts and devices that go away, and a port that stands still, in every cycle of a fault's life."""

from __future__ import annotations

from collections import Counter

import cocotb
import numpy as np
from cocotb.handle import SimHandleBase

from models import registers
from models.fault_records import FaultRecord
from models.registers import Register
from models.structures import Opcode, Reason, pack_command, pack_context_entry
from tb.case import MemorySettings
from tb.records import ActionKind, EventKind
from tb.tests.fault_bench import good_word
from tb.tests.fault_meetings import Meetings, one
from tb.tests.small_case import PASID

SLOWER = MemorySettings(read_latency=(40, 40), write_latency=(16, 16))
"""So that a walk, which here reads one line only, is on its way for many cycles."""
IDLE = registers.STATUS_ENABLED.mask | registers.STATUS_BUSY.mask


def stage(records: list[FaultRecord], unrecorded: int, distance: int) -> str:
    """How far the fault was when it was given up; `distance`: cycles from its record in memory to that moment."""
    match [record.answer_expected for record in records], unrecorded:
        case [], 1:
            return "never recorded"
        case [False], 0:
            return "walked again"
        case [True], 0:
            return "recorded" if distance > 0 else "recorded after all"
        case other:
            raise AssertionError(f"records and lost ones {other}")


class Leavings:
    """Faults that are given up, one after another. `full`: a record that nobody takes fills the ring meanwhile."""

    def __init__(self, meetings: Meetings, *, full: bool) -> None:
        self.meetings = meetings
        self.bench = meetings.bench
        self.full = full
        self.seen: Counter[str] = Counter()
        self._begun = 0
        self._before: dict[str, int] = {}

    @classmethod
    async def begin(cls, dut: SimHandleBase, name: str, *, full: bool) -> Leavings:
        """Everything is on."""
        return cls(await Meetings.begin(dut, name, fault_log2=0 if full else 3), full=full)

    async def fault(self) -> int:
        """A request that faults; returns its place."""
        self._begun = self.meetings.next_point()
        if self.full:
            await self.bench.expect_aborted(self.bench.ask_va(1 << 50), Reason.OUT_OF_RANGE)
            await self.bench.quiet()
        self._before = await self.bench.counters()
        return self.bench.ask(self.meetings.page())

    async def given_up(self, place: int, kind: EventKind, code: int, address: int | None = None) -> None:
        """It must have ended with NO_CONTEXT, by the first event of `kind` with this code (and `va`); what came of it
        is counted, and an answer to it is ignored.
        """
        bench, meetings = self.bench, self.meetings
        await bench.expect_aborted(place, Reason.NO_CONTEXT)
        await bench.quiet()
        if self.full:
            assert (await bench.one_record()).reason == Reason.OUT_OF_RANGE
            await bench.quiet()
        after = await bench.counters()
        records = await bench.records(after["records"] - self._before["records"])
        distance = 0
        if records:
            rows = meetings.rows(kind, self._begun)
            rows = rows[(rows["code"] == code) & ((address is None) | (rows["va"] == address))]
            distance = int(rows["cycle"][0]) - int(meetings.rows(EventKind.FAULT_RECORD, self._begun)["cycle"][-1])
            await bench.resume(records[0].tag)
            await bench.quiet()
        was = stage(records, after["unrecorded"] - self._before["unrecorded"], distance)
        reason = Reason.NO_CONTEXT if was == "walked again" else Reason.NOT_PRESENT
        assert all(record.reason == reason for record in records)
        assert (await bench.counters())["ignored"] == after["ignored"] + len(records)
        self.seen[was] += 1

    def expect(self, *stages: str) -> None:
        """Errors: AssertionError unless exactly these were seen, each often."""
        assert set(self.seen) == set(stages) and min(self.seen.values()) > 10, f"{self.seen}"


@cocotb.test()
@cocotb.parametrize(full=[False, True])
async def test_leaving_unbind(dut: SimHandleBase, full: bool) -> None:
    """
    Stimulus: a fault; its context is cleared, UNBIND and FENCE, in every cycle from its walk until its record has long
    been in memory, or has long waited for room in the ring; the context is bound again for the next one.
    Checking: ABORTED with NO_CONTEXT, once; the fault is either in one record or counted as unrecorded, by how far it
    was, and each is seen; an answer that comes after is ignored; the fence is complete.
    Covers: FAULT-UNBIND, FAULT-UNRECORDED
    """
    leavings = await Leavings.begin(dut, "unbind", full=full)
    bench = leavings.bench
    context = bench.tables.context_entry_address(PASID)
    bound = bench.memory.read_words(context, 1).copy()
    for delay in range(0, 110, 3 if full else 1):
        place = await leavings.fault()
        await bench.device.cycles(delay)
        await bench.port.store_words(context, pack_context_entry(valid=0)[:1])
        await bench.port.submit(one(pack_command(opcode=Opcode.UNBIND, pasid=PASID)))
        await bench.port.fence()
        await leavings.given_up(place, EventKind.COMMAND, Opcode.UNBIND)
        await bench.port.store_words(context, bound)
        await bench.port.submit(one(pack_command(opcode=Opcode.BIND, pasid=PASID)))
    leavings.expect("walked again", *(["never recorded"] if full else ["recorded after all", "recorded"]))
    await bench.finish()


@cocotb.test()
@cocotb.parametrize(full=[False, True])
async def test_leaving_disable(dut: SimHandleBase, full: bool) -> None:
    """
    Stimulus: a fault; translation is switched off in every cycle from its walk until its record has long been in
    memory, or has long waited for room in the ring; it is switched on again when the device is idle.
    Checking: ABORTED with NO_CONTEXT, once; one record, or one that is counted as unrecorded; the device becomes idle.
    Covers: FAULT-DISABLE, FAULT-UNRECORDED
    """
    leavings = await Leavings.begin(dut, "disable", full=full)
    bench = leavings.bench
    for delay in range(0, 110, 3 if full else 1):
        place = await leavings.fault()
        await bench.device.cycles(4 + delay)
        await bench.set_control(enable=False)
        await leavings.given_up(place, EventKind.ACTION, ActionKind.WRITE_REGISTER, Register.CONTROL)
        assert not await bench.status() & IDLE
        await bench.set_control()
    leavings.expect(*(["never recorded"] if full else ["recorded after all", "recorded"]))
    await bench.finish()


@cocotb.test()
async def test_leaving_quiesce(dut: SimHandleBase) -> None:
    """
    Stimulus: a fault; QUIESCE and FENCE from shortly before its walk until its record has long been in memory, in every
    cycle; a request meanwhile; RUN; the fault is served.
    Checking: the fence is complete although the fault waits, and never before the walk has ended, by its record; the
    other request is taken only behind RUN, and so is the first where QUIESCE came before it; both end with their pages;
    fences that had to wait for a walk, and those that had not, are seen; distances to the record have no gap.
    Covers: FAULT-QUIESCE, FAULT-FENCE
    """
    meetings = await Meetings.begin(dut, "quiesce", settings=SLOWER)
    bench = meetings.bench
    good = meetings.page()
    stop = np.stack([pack_command(opcode=Opcode.QUIESCE), pack_command(opcode=Opcode.FENCE)])
    waited: Counter[bool] = Counter()
    for delay in range(-45, 90):
        begun = meetings.next_point()
        page = meetings.page()
        place = await meetings.ask_and_command(delay, page, stop)
        await bench.quiet()
        other = bench.ask(good)
        await bench.quiet()
        assert bench.waits(place, other)
        quiesced, taken = meetings.rows(EventKind.COMMAND, begun)["cycle"].tolist()
        fenced = meetings.first(EventKind.FENCE, begun)
        await bench.port.submit(one(pack_command(opcode=Opcode.RUN)))
        await bench.expect_ok(other, good)
        runs = int(meetings.rows(EventKind.COMMAND, begun)["cycle"][-1])
        accepts = bench.device.responses["accept_cycle"]
        assert int(accepts[other]) >= runs
        (record,) = await meetings.take(1)
        if int(accepts[place]) <= quiesced:
            assert fenced >= record.timestamp, f"fence in {fenced}, but the walk ended in {record.timestamp}"
            waited[taken < record.timestamp] += 1
            meetings.distances.add(quiesced - meetings.first(EventKind.FAULT_RECORD, begun))
        else:
            assert int(accepts[place]) >= runs
        await bench.store_entry(page, good_word(page))
        await bench.resume(record.tag)
        await bench.expect_ok(place, page)
    assert min(waited[True], waited[False]) > 15, f"{waited}"
    meetings.expect_no_gap()
    await bench.finish()
