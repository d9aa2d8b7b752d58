# SPDX-License-Identifier: Apache-2.0
"""Directed tests of the fault ring: full, overrun, failed, switched off; and of contexts and devices that go away."""

from __future__ import annotations

import cocotb
import numpy as np
from cocotb.handle import SimHandleBase
from cocotb.triggers import RisingEdge, with_timeout

from models import registers
from models.fault_records import FaultRecord
from models.physical_memory import OWNER_WRITE_ERROR, Owner
from models.registers import Register
from models.structures import Access, Opcode, Reason, pack_command, pack_context_entry
from tb.case import MemorySettings
from tb.live_device import one_action
from tb.records import ActionKind, EventKind
from tb.tests.fault_bench import SLOTS, WORDS, FaultBench, good_word
from tb.tests.small_case import PASID

FULL = registers.INTERRUPT_CAUSE_FAULT_FULL.mask
STORM_PAGES = 12
STORM_FAULTS = 240
NONE_PAGES = SLOTS + 8


async def begin(
    dut: SimHandleBase, name: str, *, fault_log2: int, settings: MemorySettings | None = None, seed: int = 1
) -> FaultBench:
    """A bench that runs; the entries of the first NONE_PAGES pages are NONE."""
    bench = FaultBench(dut, name, fault_log2=fault_log2)
    for page in range(NONE_PAGES):
        bench.set_entry(page, WORDS[Reason.NOT_PRESENT])
    await bench.start(settings, seed=seed)
    return bench


async def storm(bench: FaultBench, seed: int) -> None:
    """Many faults, cancelled by a host that is slow; errors as the Checking of the tests below."""
    rng = np.random.default_rng(seed)
    pages = rng.integers(0, STORM_PAGES, STORM_FAULTS).tolist()
    places = [bench.ask(page, Access(int(rng.integers(0, 3)))) for page in pages]
    taken: list[FaultRecord] = []
    while not all(bench.device.is_answered(place) for place in places):
        if not await bench.port.wait_faults(3000):
            continue
        batch = await bench.port.take_faults(64)
        taken += batch
        await bench.device.cycles(int(rng.integers(0, 120)))
        await bench.resume(*[record.tag for record in batch], cancel=True)
    responses = bench.device.responses[places]
    assert bool((responses["reason"] == Reason.NOT_PRESENT).all())
    await bench.quiet()
    counters = await bench.counters()
    walks = await bench.device.read_register(Register.COUNTER_WALKS)
    events = await bench.finish()
    tags = [record.tag for record in taken]
    assert len(set(tags)) == len(tags), "a tag was recorded twice"
    assert counters["records"] == len(taken) == bench.port.taken
    assert counters["ignored"] == 0, "an answer found nobody"
    logged = events["extra"][events["kind"] == EventKind.FAULT_RECORD]
    assert logged.tolist() == tags, "records were not taken in the order in which they were written"
    # Every walk of this test faults. A request faults once, and again each time another access was cancelled; a walk
    # that ends in the cycle of an answer is made once more.
    assert walks >= counters["records"] + counters["merged"] >= STORM_FAULTS
    assert counters["merged"] > 0
    assert int((events["kind"] == EventKind.FAULT).sum()) == STORM_FAULTS


@cocotb.test()
async def test_fault_ring_of_one(dut: SimHandleBase) -> None:
    """
    Stimulus: 240 faults on 12 pages through a ring of one record, a host that takes its time, a bus with pauses.
    Checking: every request gets its one answer; records taken, counted and logged are the same, in order, none twice;
    the phase bit toggles with each record; no answer is ignored; some records speak for several requests.
    Covers: FAULT-RING-FULL, FAULT-RING-ONE, FAULT-PHASE
    """
    settings = MemorySettings(write_latency=(0, 20), aw_pause=4, w_pause=4, b_pause=4)
    bench = await begin(dut, "ring of one", fault_log2=0, settings=settings, seed=3)
    await storm(bench, 1)


@cocotb.test()
async def test_fault_ring_of_two(dut: SimHandleBase) -> None:
    """
    Stimulus: as test_fault_ring_of_one, with a ring of two.
    Checking: as there.
    Covers: FAULT-RING-FULL, FAULT-PHASE
    """
    bench = await begin(dut, "ring of two", fault_log2=1, seed=4)
    await storm(bench, 2)


@cocotb.test()
async def test_fault_ring_full(dut: SimHandleBase) -> None:
    """
    Stimulus: a ring of two and five faults; nobody takes records; an invalidation and a fence; then the host takes one
    at a time.
    Checking: FAULT_FULL is set and sticky while nothing is taken, put stays at two; commands go on; each place that is
    given back brings the next record; nothing is lost; a clear works once the ring has room.
    Covers: FAULT-RING-FULL, FAULT-FENCE
    """
    bench = await begin(dut, "full", fault_log2=1)
    places = [bench.ask(page) for page in range(2)]
    await bench.quiet()
    assert not await bench.causes() & FULL, "a ring is full only when a record has to wait"
    places += [bench.ask(page) for page in range(2, 5)]
    await bench.quiet()
    assert await bench.causes() & FULL
    assert await bench.device.read_register(Register.FAULT_PUT) == 2
    await bench.port.fence()
    taken: list[FaultRecord] = []
    for number in range(5):
        taken += await bench.port.take_faults(1)
        await bench.quiet()
        assert await bench.device.read_register(Register.FAULT_PUT) == min(number + 3, 5)
    await bench.device.write_register(Register.INTERRUPT_CAUSE, FULL)
    assert not await bench.causes() & FULL
    assert [record.phase for record in taken] == [True, True, False, False, True]
    await bench.resume(*[record.tag for record in taken], cancel=True)
    for place in places:
        await bench.expect_aborted(place, Reason.NOT_PRESENT)
    await bench.finish()


@cocotb.test()
async def test_fault_buffer_full(dut: SimHandleBase) -> None:
    """
    Stimulus: faults on as many pages as the buffer has places, one request more; a PREFETCH would wait behind it, so it
    comes first; then REPLAY of all with every entry repaired.
    Checking: the one too many is held at the port and answered after the replay; all are OK.
    Covers: FAULT-BUFFER-FULL, FAULT-REPLAY
    """
    bench = await begin(dut, "buffer", fault_log2=4)
    places = bench.ask_in_turn(SLOTS)
    records = await bench.records(SLOTS)
    await bench.expect_aborted(bench.ask(SLOTS + 3, Access.PREFETCH), Reason.NOT_PRESENT)
    extra = bench.ask(SLOTS)
    await bench.quiet()
    assert bench.waits(extra, *places)
    assert (await bench.counters())["records"] == SLOTS
    for page in range(SLOTS + 1):
        await bench.store_entry(page, good_word(page))
    await bench.resume(*[record.tag for record in records])
    for page, place in enumerate([*places, extra]):
        await bench.expect_ok(place, page)
    await bench.finish()


@cocotb.test()
async def test_fault_unbind(dut: SimHandleBase) -> None:
    """
    Stimulus: five faults of a context, two of them recorded (a ring of two); its context entry cleared, UNBIND, FENCE.
    Checking: all are aborted with NO_CONTEXT; the three that were not recorded are counted and never recorded; answers
    to the recorded ones are ignored.
    Covers: FAULT-UNBIND, FAULT-UNRECORDED
    """
    bench = await begin(dut, "unbind", fault_log2=1)
    places = [bench.ask(page) for page in range(5)]
    await bench.quiet()
    assert bench.waits(*places)
    entry = bench.tables.context_entry_address(PASID)
    await bench.port.store_words(entry, pack_context_entry(valid=0)[:1])
    await bench.port.submit(pack_command(opcode=Opcode.UNBIND, pasid=PASID).reshape(1, 4))
    await bench.port.fence()
    for place in places:
        await bench.expect_aborted(place, Reason.NO_CONTEXT)
    records = await bench.records(2)
    await bench.resume(*[record.tag for record in records])
    await bench.quiet()
    counters = await bench.counters()
    assert (counters["records"], counters["unrecorded"], counters["ignored"]) == (2, 3, 2), f"{counters}"
    assert not registers.STATUS_FAULTS_WAITING.extract(await bench.status())
    await bench.finish()


@cocotb.test()
async def test_fault_disable(dut: SimHandleBase) -> None:
    """
    Stimulus: four faults that wait, two of them recorded; the device is switched off, then on again.
    Checking: all are aborted, and the device becomes idle; after the enable a fault waits and is served as before.
    Covers: FAULT-DISABLE
    """
    bench = await begin(dut, "disable", fault_log2=1)
    places = [bench.ask(page) for page in range(4)]
    await bench.quiet()
    await bench.set_control(enable=False)
    for place in places:
        row = (await bench.device.answered([place]))[0]
        assert int(row["status"]) == 1
    await bench.quiet()
    assert not await bench.status() & (registers.STATUS_ENABLED.mask | registers.STATUS_BUSY.mask)
    assert (await bench.counters())["unrecorded"] == 2
    await bench.records(2)
    await bench.set_control()
    place = bench.ask(7)
    record = await bench.one_record()
    await bench.store_entry(7, good_word(7))
    await bench.resume(record.tag)
    await bench.expect_ok(place, 7)
    await bench.finish()


@cocotb.test()
async def test_fault_get_overrun(dut: SimHandleBase) -> None:
    """
    Stimulus: GET written ahead of PUT; a fault; the ring switched off, GET set to 0, the ring switched on.
    Checking: the ring halts with FAULT_OVERRUN; the fault goes on waiting and is recorded in the ring's next life.
    Covers: FAULT-OVERRUN, FAULT-RESTART
    """
    bench = await begin(dut, "overrun", fault_log2=2)
    await bench.device.write_register(Register.FAULT_GET, 1)
    await bench.quiet()
    assert await bench.causes() & registers.INTERRUPT_CAUSE_FAULT_OVERRUN.mask
    assert registers.STATUS_FAULT_HALTED.extract(await bench.status()) == 1
    place = bench.ask(0)
    await bench.quiet()
    assert bench.waits(place)
    assert await bench.device.read_register(Register.FAULT_PUT) == 0
    await bench.set_control(faults=False)
    await bench.device.write_register(Register.FAULT_GET, 0)
    await bench.set_control()
    record = await bench.one_record()
    assert record.phase
    await bench.resume(record.tag, cancel=True)
    await bench.expect_aborted(place, Reason.NOT_PRESENT)
    await bench.finish()


@cocotb.test()
async def test_fault_record_write_fails(dut: SimHandleBase) -> None:
    """
    Stimulus: the write of a record is answered with an error; the mark taken away; the ring switched off and on.
    Checking: the ring halts with FAULT_BUS_ERROR, put does not count, the request waits; then the same fault is
    recorded under the same tag, answered, and nothing is lost.
    Covers: FAULT-BUS-ERROR, FAULT-RESTART
    """
    bench = await begin(dut, "bus error", fault_log2=0)
    mark = one_action(ActionKind.SET_OWNER, address=bench.port.faults, data=32, mask=Owner.FAULT | OWNER_WRITE_ERROR)
    await bench.device.perform(mark)
    place = bench.ask(0)
    await bench.quiet()
    assert await bench.causes() & registers.INTERRUPT_CAUSE_FAULT_BUS_ERROR.mask
    assert not await bench.causes() & registers.INTERRUPT_CAUSE_FAULT.mask
    assert registers.STATUS_FAULT_HALTED.extract(await bench.status()) == 1
    assert await bench.device.read_register(Register.FAULT_PUT) == 0
    assert bench.waits(place)
    await bench.device.perform(one_action(ActionKind.SET_OWNER, address=bench.port.faults, data=32, mask=Owner.FAULT))
    await bench.set_control(faults=False)
    await bench.set_control()
    record = await bench.one_record()
    assert record.tag >> 8 == 1, "the fault was given a new tag although it never was in memory"
    await bench.resume(record.tag, cancel=True)
    await bench.expect_aborted(place, Reason.NOT_PRESENT)
    await bench.finish()


@cocotb.test()
async def test_fault_interrupt_after_put(dut: SimHandleBase) -> None:
    """
    Stimulus: one fault at a time, over a slow bus; at each rise of the interrupt line PUT and the record are looked at.
    Checking: when the line rises the record is whole in memory and PUT counts it; the log tells the record not later.
    Covers: FAULT-PUBLICATION
    """
    bench = await begin(dut, "publication", fault_log2=3, settings=MemorySettings(write_latency=(10, 40)))
    for number in range(6):
        words = bench.memory.read_words(bench.port.faults + 32 * number, 4)
        assert not words.any()
        place = bench.ask(number)
        await with_timeout(RisingEdge(bench.device.top.interrupt), 10_000, "ns")
        rises = bench.port.now()
        words = bench.memory.read_words(bench.port.faults + 32 * number, 4)
        assert int(words[1]) == int(bench.device.requests["va"][place])
        assert await bench.device.read_register(Register.FAULT_PUT) == number + 1
        events = bench.device.log()
        recorded = events["cycle"][events["kind"] == EventKind.FAULT_RECORD]
        assert recorded.size == number + 1 and int(recorded[-1]) <= rises
        record = await bench.one_record()
        await bench.resume(record.tag, cancel=True)
        await bench.expect_aborted(place, Reason.NOT_PRESENT)
    await bench.finish()


@cocotb.test()
async def test_fault_quiesce(dut: SimHandleBase) -> None:
    """
    Stimulus: a fault that waits, QUIESCE and FENCE, a request meanwhile; RUN; the fault answered.
    Checking: the fence ends although a fault waits; the request is not taken before RUN; the fault waits through it.
    Covers: FAULT-QUIESCE
    """
    bench = await begin(dut, "quiesce", fault_log2=1)
    bench.set_entry(21, good_word(21))
    place = bench.ask(0)
    record = await bench.one_record()
    await bench.port.submit(pack_command(opcode=Opcode.QUIESCE).reshape(1, 4))
    await bench.port.fence()
    other = bench.ask(21)
    await bench.quiet()
    assert bench.waits(place, other)
    assert registers.STATUS_QUIESCED.extract(await bench.status()) == 1
    await bench.port.submit(pack_command(opcode=Opcode.RUN).reshape(1, 4))
    await bench.expect_ok(other, 21)
    assert bench.waits(place)
    await bench.resume(record.tag, cancel=True)
    await bench.expect_aborted(place, Reason.NOT_PRESENT)
    await bench.finish()
