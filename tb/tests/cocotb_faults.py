# SPDX-License-Identifier: Apache-2.0
"""Directed tests of faults that wait and of the host's answers to them."""

from __future__ import annotations

import cocotb
import numpy as np
from cocotb.handle import SimHandleBase

from models import registers
from models.fault_records import (
    FAULT_RECORD_WORDS,
    TAG_SLOT_BITS,
    cancel_command,
    record_of,
    replay_all_command,
)
from models.structures import Access, Opcode, Reason, pack_command
from tb.records import EventKind
from tb.tests.fault_bench import ACCESS, OFFSET, SLOTS, WORDS, FaultBench, good_word
from tb.tests.small_case import PAGE_BYTES, PASID, page_va

LEAF_SPAN = 1 << 21


async def begin(dut: SimHandleBase, name: str, *, fault_log2: int = 4, missing: int = 0) -> FaultBench:
    """A bench that runs; the entries of the first `missing` pages are NONE, those of the next 32 permit everything."""
    bench = FaultBench(dut, name, fault_log2=fault_log2)
    for page in range(missing):
        bench.set_entry(page, WORDS[Reason.NOT_PRESENT])
    for page in range(missing, 32):
        bench.set_entry(page, good_word(page))
    await bench.start()
    return bench


@cocotb.test()
async def test_fault_reasons_replayed_and_cancelled(dut: SimHandleBase) -> None:
    """
    Stimulus: for each reason that waits two requests; one entry is repaired and the fault replayed, the other fault is
    replayed as it is, faults anew, and is cancelled. Entries that may be cached, as neighbours of a page that was asked
    for, change with INVALIDATE and FENCE.
    Checking: every field of every record; nobody is answered before the host answers; the replay of a repaired entry
    is OK, a replay that fails is a new record with a new tag, a cancel is ABORTED with the reason.
    Covers: FAULT-WAITS, FAULT-RECORD, FAULT-REPLAY, FAULT-CANCEL, FAULT-TAG
    """
    bench = await begin(dut, "reasons")
    tags: set[int] = set()
    for page, (reason, word) in enumerate(WORDS.items()):
        access = ACCESS.get(reason, Access.READ)
        await bench.change_entry(page, word)
        before = bench.port.now()
        place = bench.ask(page, access)
        record = await bench.one_record()
        assert (record.reason, record.access, record.pasid) == (reason, access, PASID)
        assert record.va == page_va(page) + OFFSET
        assert record.answer_expected and record.merged_count == 1
        assert before <= record.timestamp <= bench.port.now(), f"timestamp {record.timestamp}"
        await bench.quiet()
        assert bench.waits(place), f"{reason.name} did not wait"
        assert registers.STATUS_FAULTS_WAITING.extract(await bench.status()) == 1
        await bench.resume(record.tag)
        again = await bench.one_record()
        assert again.tag != record.tag and again.reason == reason and again.va == record.va
        # What was no translation needs no command; what was one of another page does.
        await (bench.change_entry if reason in ACCESS else bench.store_entry)(page, good_word(page))
        await bench.resume(again.tag)
        await bench.expect_ok(place, page)
        tags |= {record.tag, again.tag}

        await bench.change_entry(page + 8, word)
        cancelled = bench.ask(page + 8, access)
        last = await bench.one_record()
        await bench.resume(last.tag, cancel=True)
        await bench.expect_aborted(cancelled, reason)
        tags.add(last.tag)
    assert len(tags) == 3 * len(WORDS), "a tag was given twice"
    assert registers.STATUS_FAULTS_WAITING.extract(await bench.status()) == 0
    assert await bench.counters() == {
        "records": 3 * len(WORDS),
        "merged": 0,
        "replays": 2 * len(WORDS),
        "ignored": 0,
        "unrecorded": 0,
    }
    await bench.finish()


@cocotb.test()
async def test_fault_without_directory(dut: SimHandleBase) -> None:
    """
    Stimulus: a request where no array is linked; an invalidation and a fence of its page while it waits; a cancel.
    Checking: NOT_PRESENT waits; the fence behind the unanswered fault is complete; the fault still gets its answer.
    Covers: FAULT-FENCE, FAULT-WAITS
    """
    bench = await begin(dut, "fence")
    place = bench.ask_va(page_va(0) + 8 * LEAF_SPAN)
    record = await bench.one_record()
    assert record.reason == Reason.NOT_PRESENT
    invalidate = pack_command(opcode=Opcode.INVALIDATE, pasid=PASID, first=0, last=(1 << 48) - 1)
    await bench.port.submit(invalidate.reshape(1, 4))
    begun = bench.port.now()
    await bench.port.fence()
    assert bench.port.now() - begun < 500, "a fence waited for a fault"
    await bench.quiet()
    assert bench.waits(place), "a fault was answered by an invalidation"
    await bench.resume(record.tag, cancel=True)
    await bench.expect_aborted(place, Reason.NOT_PRESENT)
    await bench.finish()


@cocotb.test()
async def test_fault_immediate_and_prefetch(dut: SimHandleBase) -> None:
    """
    Stimulus: a request for each reason that is answered at once; PREFETCH of a page that is not there, of a context
    that is not bound, of a page that is there.
    Checking: ABORTED without the host, each with a record that expects no answer; an answer to its tag is ignored;
    PREFETCH is answered and never recorded.
    Covers: FAULT-IMMEDIATE, FAULT-PREFETCH
    """
    bench = await begin(dut, "immediate", missing=1)
    wrong_window = (1 << 47) | (1 << 48)
    bench.memory.set_read_error(bench.tables.entry_address(PASID, page_va(200)))
    directory = bench.tables.directory_entry_address(PASID, page_va(0) + LEAF_SPAN, 1)
    bench.memory.write_words(directory, [3])
    asked = {
        Reason.OUT_OF_RANGE: (wrong_window, PASID),
        Reason.NO_CONTEXT: (page_va(1), PASID + 1),
        Reason.BUS_ERROR: (page_va(200), PASID),
        Reason.MALFORMED: (page_va(0) + LEAF_SPAN, PASID),
    }
    for reason, (va, pasid) in asked.items():
        await bench.expect_aborted(bench.ask_va(va, Access.WRITE, pasid=pasid), reason)
        record = await bench.one_record()
        assert (record.reason, record.va, record.pasid, record.access) == (reason, va, pasid, Access.WRITE)
        assert not record.answer_expected
        await bench.resume(record.tag)
    await bench.expect_aborted(bench.ask(0, Access.PREFETCH), Reason.NOT_PRESENT)
    await bench.expect_aborted(bench.ask_va(page_va(1), Access.PREFETCH, pasid=PASID + 1), Reason.NO_CONTEXT)
    await bench.expect_ok(bench.ask(1, Access.PREFETCH), 1)
    await bench.quiet()
    counters = await bench.counters()
    assert counters["records"] == len(asked), "a PREFETCH was recorded"
    assert counters["ignored"] == len(asked)
    await bench.finish()


@cocotb.test()
async def test_fault_merge(dut: SimHandleBase) -> None:
    """
    Stimulus: requests of three accesses to one page, the ring of one place blocked by another fault, so that they merge
    before they are recorded; a cancel; a replay of what is left.
    Checking: one record that counts all of them; the cancel aborts those of the recorded access and no other; the
    others fault anew and are replayed; a request that comes after the record merges, too.
    Covers: FAULT-MERGE, FAULT-CANCEL
    """
    bench = await begin(dut, "merge", fault_log2=0, missing=2)
    blocker = bench.ask(0)
    assert await bench.port.wait_faults(2000)
    reads = [bench.ask(1, offset=8 * number) for number in range(3)]
    writes = [bench.ask(1, Access.WRITE, offset=64 + 8 * number) for number in range(2)]
    await bench.quiet()
    first = await bench.one_record()
    await bench.store_entry(0, good_word(0))
    await bench.resume(first.tag)
    await bench.expect_ok(blocker, 0)
    merged = await bench.one_record()
    assert (merged.merged_count, merged.access, merged.va) == (5, Access.READ, page_va(1))
    late = bench.ask(1, offset=0x200)
    await bench.quiet()
    assert bench.waits(late, *reads, *writes)
    assert (await bench.counters())["merged"] == 5
    await bench.resume(merged.tag, cancel=True)
    for place in [*reads, late]:
        await bench.expect_aborted(place, Reason.NOT_PRESENT)
    rest = await bench.one_record()
    assert (rest.access, rest.merged_count) == (Access.WRITE, 1), f"{rest}"
    await bench.quiet()
    assert bench.waits(*writes)
    await bench.store_entry(1, good_word(1))
    await bench.resume(rest.tag)
    for number, place in enumerate(writes):
        await bench.expect_ok(place, 1, offset=64 + 8 * number)
    await bench.finish()


@cocotb.test()
async def test_fault_answers_ignored(dut: SimHandleBase) -> None:
    """
    Stimulus: answers to tags that nobody has, of another generation, of a fault not in memory yet, and again to one
    that was answered; then the fault of the same place, and the old tag once more.
    Checking: each is counted and does nothing; a fault gets one answer.
    Covers: FAULT-IGNORED, FAULT-TAG
    """
    bench = await begin(dut, "ignored", fault_log2=0, missing=2)
    await bench.resume(0, 0xFFFF_FFFF, cancel=True)
    await bench.quiet()
    assert (await bench.counters())["ignored"] == 2
    first_place = bench.ask(0)
    assert await bench.port.wait_faults(2000)
    second_place = bench.ask(1)
    await bench.quiet()
    first = await bench.port.take_faults(0)
    assert first == []
    # Two waiting faults; only the first is in memory. Try every tag that the second can have.
    tag = record_of(bench.memory.read_words(bench.port.faults, FAULT_RECORD_WORDS)).tag
    generation, slot = tag >> TAG_SLOT_BITS, tag % (1 << TAG_SLOT_BITS)
    others = [other for other in range(SLOTS) if other != slot]
    await bench.resume(*[generation << TAG_SLOT_BITS | other for other in others], cancel=True)
    await bench.quiet()
    assert bench.waits(second_place), "a fault was answered before its record was in memory"
    record = await bench.one_record()
    assert record.tag == tag
    other = await bench.one_record()
    ignored = 2 + len(others)
    for wrong in (record.tag ^ 1 << TAG_SLOT_BITS, record.tag ^ 1 << 31, record.tag ^ 0x80):
        await bench.resume(wrong, cancel=True)
        ignored += 1
    await bench.quiet()
    assert bench.waits(first_place, second_place)
    await bench.resume(other.tag, cancel=True)
    await bench.resume(record.tag, cancel=True)
    await bench.resume(record.tag)
    ignored += 1
    await bench.expect_aborted(first_place, Reason.NOT_PRESENT)
    await bench.expect_aborted(second_place, Reason.NOT_PRESENT)
    again_place = bench.ask(0)
    again = await bench.one_record()
    await bench.resume(record.tag, other.tag, cancel=True)
    ignored += 2
    await bench.quiet()
    assert again.tag % 256 == record.tag % 256, "the place was not used again"
    assert bench.waits(again_place), "an old tag answered a new fault"
    assert (await bench.counters())["ignored"] == ignored
    await bench.resume(again.tag, cancel=True)
    await bench.expect_aborted(again_place, Reason.NOT_PRESENT)
    await bench.finish()


@cocotb.test()
async def test_fault_cancel_by_range(dut: SimHandleBase) -> None:
    """
    Stimulus: faults of six pages, of two accesses and two contexts; cancels that miss by context, by access and by one
    byte at either end, then cancels that hit parts; a REPLAY_ALL for the rest.
    Checking: exactly the faults whose context, access and page are meant are aborted; REPLAY_ALL replays the others.
    Covers: FAULT-CANCEL-RANGE, FAULT-REPLAY-ALL
    """
    bench = await begin(dut, "cancel", missing=6)
    accesses = [Access.READ, Access.READ, Access.WRITE, Access.READ, Access.WRITE, Access.READ]
    places = [bench.ask(page, access) for page, access in enumerate(accesses)]
    records = await bench.records(6)
    assert len({record.tag for record in records}) == 6
    last = page_va(6) - 1
    nothing = [
        cancel_command(PASID + 1, 0, last, Access.READ),
        cancel_command(PASID, 0, last, Access.ATOMIC),
        cancel_command(PASID, 0, page_va(0) - 1, Access.READ),
        cancel_command(PASID, page_va(6), (1 << 64) - 1, Access.READ),
    ]
    await bench.port.submit(np.stack(nothing))
    await bench.quiet()
    assert bench.waits(*places)
    middle = cancel_command(PASID, page_va(1) + PAGE_BYTES - 1, page_va(3), Access.READ)
    await bench.port.submit(middle.reshape(1, 4))
    await bench.expect_aborted(places[1], Reason.NOT_PRESENT)
    await bench.expect_aborted(places[3], Reason.NOT_PRESENT)
    await bench.quiet()
    rest = [place for page, place in enumerate(places) if page not in (1, 3)]
    assert bench.waits(*rest)
    for page in range(6):
        await bench.store_entry(page, good_word(page))
    await bench.port.submit(replay_all_command().reshape(1, 4))
    for page, place in enumerate(places):
        if place in rest:
            await bench.expect_ok(place, page)
    events = await bench.finish()
    assert int((events["kind"] == EventKind.COMMAND).sum()) == 6
    assert not bool(events["reason"][events["kind"] == EventKind.COMMAND].any()), "an answer was malformed"


@cocotb.test()
async def test_fault_upgrade_under_hits(dut: SimHandleBase) -> None:
    """
    Stimulus: a page cached read-only, a write to it that waits, reads of it meanwhile; the entry made writable, replay.
    Checking: the reads are answered under the waiting write; the write is OK after the replay without an invalidation.
    Covers: FAULT-UPGRADE, HIT-UNDER-FAULT
    """
    bench = await begin(dut, "upgrade")
    await bench.store_entry(0, good_word(0) & ~0x2)
    await bench.expect_ok(bench.ask(0), 0)
    write = bench.ask(0, Access.WRITE)
    record = await bench.one_record()
    assert record.reason == Reason.WRITE_PROTECT
    for _ in range(4):
        await bench.expect_ok(bench.ask(0), 0)
    await bench.expect_ok(bench.ask(5), 5)
    assert bench.waits(write)
    await bench.store_entry(0, good_word(0))
    await bench.resume(record.tag)
    await bench.expect_ok(write, 0)
    await bench.finish()
