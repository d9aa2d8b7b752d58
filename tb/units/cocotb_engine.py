# SPDX-License-Identifier: Apache-2.0
"""The access engine of the RTL against its reference: every transfer, every byte, every completion.

The bench holds each transfer against its descriptor's next one as it comes (tb/units/engine_bench.py).
"""

from __future__ import annotations

import os
from dataclasses import replace
from typing import Any

import cocotb
import numpy as np

from models.arrays import LINE_BYTES, PAGE_BYTES, Words
from models.structures import Access, CompletionStatus, EngineOpcode, pack_descriptor
from tb.units.engine_bench import COMPLETIONS, FAULT_CYCLES, INTERRUPT, Bench, Ring, Timing, random_ring
from tb.units.engine_descriptors import VA_START, random_descriptors
from tb.units.engine_reference import Ending
from tb.units.engine_world import RINGS_START, Lines, World

SESSIONS = 60
DESCRIPTORS = 40
HALTS = 40
INTERRUPTED = 60
ADD_SESSIONS = 40
BUS_BYTES = 1 << 48


def generator() -> np.random.Generator:
    """Random numbers of this run's seed."""
    return np.random.default_rng(int(os.environ["COCOTB_RANDOM_SEED"]))


def random_timing(rng: np.random.Generator) -> Timing:
    """Far ends that are quick, uneven or slow."""
    kind = int(rng.integers(4))
    if kind == 0:
        return Timing()
    return Timing(int(rng.integers(200)), int(rng.integers(256)), 20 if kind == 3 else 0)


def random_world(rng: np.random.Generator) -> World:
    """A world in which nothing, something or much fails."""
    aborts, errors = ((0, 0), (16, 0), (0, 12), (16, 6), (60, 20))[int(rng.integers(5))]
    return World(int(rng.integers(1 << 40)), aborts, errors, errors)


async def started(dut: Any) -> Bench:
    """A bench after reset."""
    bench = Bench(dut, generator())
    await bench.reset()
    bench.start()
    return bench


def compare_memory(bench: Bench, after: Lines) -> int:
    """Holds every line that either side has looked at against the reference's; returns their bytes."""
    for device, address in sorted(bench.memory.held.keys() | after.held.keys()):
        came, wanted = bench.memory.line(device, address), after.line(device, address)
        assert came == wanted, (
            f"line {address:#x} of {'device' if device else 'system'} memory: {came.hex()}; expected {wanted.hex()}"
        )
    return len(after.held) * LINE_BYTES


def causes(dut: Any) -> tuple[int, int, int, int]:
    """How often since reset: (done, error, overrun, bus error)."""
    return (
        int(dut.done_count.value),
        int(dut.error_count.value),
        int(dut.overrun_count.value),
        int(dut.bus_error_count.value),
    )


def copy_rows(count: int, length: int, *, ordered: bool = False) -> Words:
    """Copies between pages of their own, uint64[count, 8]."""
    rows = [
        pack_descriptor(
            opcode=EngineOpcode.COPY,
            ordered=ordered,
            length=length,
            source_va=VA_START + 2 * index * PAGE_BYTES,
            destination_va=VA_START + (2 * index + 1) * PAGE_BYTES,
        )
        for index in range(count)
    ]
    return np.stack(rows)


async def run_all(bench: Bench, ring: Ring, descriptors: Words) -> int:
    """Hands the whole ring over at once; returns the cycles until the head counts the last."""
    await bench.enable(ring)
    for index, words in enumerate(descriptors):
        bench.memory.store(ring.slot(index), words.astype("<u8").tobytes())
    begun = int(bench.dut.cycles.value)
    bench.give(len(descriptors))
    await bench.until_head_is(len(descriptors))
    spent = int(bench.dut.cycles.value) - begun
    assert not bench.failure, bench.failure
    return spent


@cocotb.test()
async def engine_random(dut: Any) -> None:
    """Thousands of random descriptors through rings of every small size.

    Stimulus: 60 sessions of 40 descriptors: any alignment, overlapping, across pages, up to the ends of the virtual
    addresses and of the bus, one in ten malformed; aborts, bus errors, pauses and delays by the session, answers in any
    order; the tail moves in batches of any size. In half of the sessions every descriptor is ordered that touches
    what one before it does.
    Checking: each transfer is the next one of its descriptor; ordered ones begin when they are the first; nothing is
    written between read and write of an add; completions come in ring order, and stand in memory when the head counts
    them; how often the causes came. Where all is ordered that must be, all bytes at the end are those of one after
    another. Over all, every status of every operation is seen, and later descriptors overtake earlier ones.
    Covers: ENGINE-MOVE, ENGINE-MALFORMED, ENGINE-ABORT, ENGINE-BUS-ERROR, ENGINE-RING, ENGINE-PUBLICATION,
        ENGINE-ORDERED, ENGINE-OVERLAP.
    """
    bench = await started(dut)
    rng = bench.rng
    seen: set[tuple[int, CompletionStatus]] = set()
    transfers = moved = compared = 0
    for session in range(SESSIONS):
        ring, descriptors = random_ring(rng), random_descriptors(rng, DESCRIPTORS)
        bench.begin(random_world(rng), random_timing(rng))
        in_order = session % 2 == 0
        if in_order:
            descriptors = bench.order(ring, descriptors)
        wanted, after, _ = bench.alone(ring, descriptors)
        before = causes(dut)
        await bench.enable(ring)
        await bench.feed(ring, descriptors)
        await bench.cycles(3)
        assert not bench.failure, bench.failure
        assert not int(dut.busy.value) and int(dut.active.value), "the engine does not wait for descriptors"
        assert not int(dut.under_way.value) and not bench.granted and not bench.flights
        endings = bench.endings
        asked = int(((descriptors[:, 0] & INTERRUPT) != 0).sum())
        bad = sum(ending.status != CompletionStatus.OK for ending in endings)
        counted = tuple(now - then for now, then in zip(causes(dut), before, strict=True))
        assert counted == (asked, bad, 0, 0), f"causes {counted}, expected {(asked, bad, 0, 0)}"
        if in_order:
            assert endings == wanted
            compared += compare_memory(bench, after)
        await bench.disable()
        seen |= {(int(words[0]) & 0xFF, ending.status) for words, ending in zip(descriptors, endings, strict=True)}
        transfers += bench.position
        moved += sum(ending.moved for ending in endings)
    cocotb.log.info(
        "%d descriptors, %d transfers, %d bytes moved, %d bytes compared, %d overtakings, %d cycles",
        SESSIONS * DESCRIPTORS, transfers, moved, compared, bench.overtakings, int(dut.cycles.value),
    )  # fmt: skip
    missing = {(opcode, status) for opcode in EngineOpcode for status in CompletionStatus} - seen
    assert not missing, f"never seen: {sorted(missing)}"
    assert (bench.overtakings > 100) == (bench.lanes > 1), (
        f"{bench.overtakings} descriptors ended before an earlier one"
    )


@cocotb.test()
async def engine_halts(dut: Any) -> None:
    """A ring that breaks halts the engine until it is switched off and on.

    Stimulus: in turn a descriptor that cannot be read, a completion that cannot be written, a ring or a completion ring
    that ends beyond the bus, a tail too far ahead while the engine is idle, and while it runs; at random places.
    Checking: those before the place complete; none begins from the place on, but behind a completion that cannot be
    written, and these are not completed by the head; the cause once; nothing is open; after switching off and on the
    next ring runs.
    Covers: ENGINE-RING-ERROR, ENGINE-OVERRUN, ENGINE-HALT.
    """
    bench = await started(dut)
    rng = bench.rng
    for turn in range(HALTS):
        ring, descriptors = random_ring(rng), random_descriptors(rng, 16, 100)
        size = 1 << ring.log2
        at = int(rng.integers(size))
        bad_reads: set[int] = set()
        bad_writes: set[int] = set()
        kind = turn % 6
        if kind == 0:
            bad_reads = {ring.slot(at)}
        elif kind == 1:
            bad_writes = {ring.completion(at) // LINE_BYTES * LINE_BYTES}
            at &= ~1 if ring.log2 else 0
        elif kind == 2:
            ring = Ring(BUS_BYTES - LINE_BYTES * at, ring.completion_base, ring.log2)
        elif kind == 3:
            ring = Ring(ring.base, BUS_BYTES - LINE_BYTES * (at // 2), ring.log2)
            at = at // 2 * 2
        plain = random_world(rng)
        world = World(plain.seed, plain.abort_chance, bad_reads=frozenset(bad_reads), bad_writes=frozenset(bad_writes))
        bench.begin(world, random_timing(rng))
        descriptors = descriptors[:size]
        # None may write into a ring that ends where the bus ends.
        descriptors[descriptors[:, 4] >> np.uint64(40) != 0] = 0
        descriptors = bench.order(ring, descriptors)
        wanted, after, _ = bench.alone(ring, descriptors[:at])
        before = causes(dut)
        await bench.enable(ring)
        for index, words in enumerate(descriptors):
            if ring.slot(index) < BUS_BYTES:
                bench.memory.store(ring.slot(index), words.astype("<u8").tobytes())
                after.store(ring.slot(index), words.astype("<u8").tobytes())
        if kind == 4:
            bench.give(at)
            await bench.until_head_is(at)
            dut.tail.value = at + size + (1 if rng.integers(2) else int(rng.integers(1, 1 << 31)))
        elif kind == 5:
            bench.give(size)
            await bench.cycles(int(rng.integers(1, 300)))
            dut.tail.value = 3 * size
        else:
            bench.give(size)
        await bench.until(lambda: int(dut.halted.value) == 1, dut.halted)
        # Halted is halted, whatever the tail says.
        made = bench.position
        dut.tail.value = int(dut.head.value) + 1
        await bench.cycles(50)
        assert not bench.failure, bench.failure
        assert int(dut.halted.value) and not int(dut.active.value) and not int(dut.busy.value)
        assert bench.position == made, "the engine goes on when it has halted"
        assert not int(dut.under_way.value) and not bench.granted, "the engine halted, and something is still open"
        if kind == 5:
            at = bench.completed
            wanted, after, _ = bench.alone(ring, descriptors[:at])
        head = int(dut.head.value)
        assert head == at, f"turn {turn}: the head is {head}, expected {at}"
        assert bench.endings[:at] == wanted
        counted = tuple(now - then for now, then in zip(causes(dut), before, strict=True))[2:]
        assert counted == ((1, 0) if kind >= 4 else (0, 1)), f"causes {counted}"
        if kind != 1:
            begun = [flight.index for flight in bench.flights.values() if flight.begun]
            assert not begun and bench.completed == at, f"descriptors {begun} began behind what halted the engine"
            for index, words in enumerate(descriptors):
                if ring.slot(index) < BUS_BYTES:
                    after.store(ring.slot(index), words.astype("<u8").tobytes())
            compare_memory(bench, after)
        await bench.disable()

        ring = random_ring(rng)
        bench.begin(World(world.seed), Timing())
        descriptors = bench.order(ring, descriptors)
        _, after, _ = bench.alone(ring, descriptors)
        await bench.enable(ring)
        await bench.feed(ring, descriptors)
        compare_memory(bench, after)
        await bench.disable()


@cocotb.test()
async def engine_interrupted(dut: Any) -> None:
    """Switched off, or reset, in the middle of anything.

    Stimulus: a ring of random descriptors; after a random number of cycles the engine is switched off (for good, or for
    two cycles only, also while a transfer of the ring fails) or reset; then another ring runs.
    Checking: each transfer is the next one of its descriptor; an engine that was switched off leaves no translation,
    grant or transfer open, goes off within a piece of each descriptor in flight, and reports nothing more; the next
    ring runs as if nothing had been.
    Covers: ENGINE-DISABLE, ENGINE-RESET.
    """
    bench = await started(dut)
    rng = bench.rng
    cut = 0
    for _ in range(INTERRUPTED):
        ring, descriptors = random_ring(rng, 2), random_descriptors(rng, 16, 2000)
        descriptors = descriptors[: 1 << ring.log2]
        world, timing, kind = random_world(rng), random_timing(rng), int(rng.integers(4))
        if kind == 3:
            # The error comes to an engine that was switched off and is on again: it must not halt.
            descriptors[0] = 0
            line = ring.completion(0) // LINE_BYTES * LINE_BYTES
            timing = Timing(delay_chance=256)
            if rng.integers(2):
                world = replace(world, bad_reads=frozenset({ring.slot(0)}))
            else:
                world = replace(world, bad_writes=frozenset({line}))
        bench.begin(world, timing)
        moves = sum(len(transfers) for transfers in bench.alone(ring, descriptors)[2])
        await bench.enable(ring)
        for index, words in enumerate(descriptors):
            bench.memory.store(ring.slot(index), words.astype("<u8").tobytes())
        bench.give(len(descriptors))
        await bench.cycles(int(rng.integers(1, 24 if kind == 3 else 8 + moves)))
        made = bench.position
        cut += bench.completed < len(descriptors)
        if kind == 0:
            await bench.reset()
        else:
            dut.enable.value = 0
            dut.tail.value = 0
            await bench.cycles(2)
            counted = causes(dut)
            if kind >= 2:
                dut.enable.value = 1
                await bench.until(lambda: int(dut.head.value) == 0 and not int(dut.busy.value), dut.head)
                await bench.cycles(20)
                assert int(dut.active.value) and not int(dut.busy.value), "switched on again, the engine waits"
            await bench.disable()
            late = tuple(now - then for now, then in zip(causes(dut), counted, strict=True))
            assert max(late) == 0, f"causes {late} after the engine was switched off"
            # What is left at most: of each descriptor translate, read, write; of the ring one transfer each way.
            most = 3 * bench.lanes + 2
            assert bench.position - made <= most, f"{bench.position - made} transfers after the engine was switched off"
        assert not bench.failure, bench.failure

        bench.begin(random_world(rng), random_timing(rng))
        descriptors = bench.order(ring, descriptors)
        _, after, _ = bench.alone(ring, descriptors)
        await bench.enable(ring)
        await bench.feed(ring, descriptors)
        compare_memory(bench, after)
        await bench.disable()
    assert cut > INTERRUPTED // 3, f"only {cut} of {INTERRUPTED} rings were interrupted"


@cocotb.test()
async def engine_adds(dut: Any) -> None:
    """Atomic adds to one line, and writes into the same line, all at the same time.

    Stimulus: rings of adds to three words of a line, and of writes, copies and buffers that fill other words of it; far
    ends that are quick or uneven.
    Checking: nothing is written between the read and the write of an add; the old values of each word are those of its
    adds one after another in some order, and it holds their sum; the other words hold what was written.
    Covers: ENGINE-ATOMIC.
    """
    bench = await started(dut)
    rng = bench.rng
    for session in range(ADD_SESSIONS):
        ring = Ring(RINGS_START, COMPLETIONS.start, 4)
        bench.begin(World(int(rng.integers(1 << 40))), random_timing(rng) if session else Timing())
        answer = bench.world.translate(0, VA_START, Access.ATOMIC)
        rows, places = [], []
        for _ in range(1 << ring.log2):
            word, kind = int(rng.integers(3)), int(rng.integers(5))
            places.append(word if kind < 3 else -1)
            if kind < 3:
                operand = int.from_bytes(rng.bytes(8), "little")
                rows.append(
                    pack_descriptor(
                        opcode=EngineOpcode.ATOMIC_ADD, length=8, destination_va=VA_START + 8 * word, operand=operand
                    )
                )
            elif kind == 3 or answer.device:
                rows.append(
                    pack_descriptor(
                        opcode=EngineOpcode.WRITE,
                        length=int(rng.integers(1, 41)),
                        destination_va=VA_START + 24,
                        buffer=int(rng.integers(1 << 38)),
                    )
                )
            else:
                rows.append(
                    pack_descriptor(
                        opcode=EngineOpcode.READ,
                        length=int(rng.integers(1, 41)),
                        source_va=VA_START + 5 * PAGE_BYTES + int(rng.integers(PAGE_BYTES - 64)),
                        buffer=answer.pa + 24,
                    )
                )
        sums = np.frombuffer(bytes(bench.memory.line(answer.device, answer.pa)[:24]), "<u8").tolist()
        await run_all(bench, ring, np.stack(rows))
        for word in range(3):
            after = {
                ending.old_value: int(row[5])
                for place, row, ending in zip(places, rows, bench.endings, strict=True)
                if place == word
            }
            for _ in range(len(after)):
                assert sums[word] in after, f"word {word}: no add found {sums[word]:#x}"
                sums[word] = (sums[word] + after[sums[word]]) % (1 << 64)
        found = np.frombuffer(bytes(bench.memory.line(answer.device, answer.pa)[:24]), "<u8").tolist()
        assert found == sums, f"session {session}"
        await bench.disable()


@cocotb.test()
async def engine_overlap(dut: Any) -> None:
    """Descriptors go on side by side.

    Stimulus: bus answers after 40 cycles; one copy of a line, then sixteen between pages of their own, then sixteen
    ordered ones; then sixteen of which the first waits for the host.
    Checking: sixteen take about as many cycles as sixteen, divided by the descriptors in flight; ordered ones sixteen
    times one; while the first waits, as many move their bytes as there is place for, and nothing is completed.
    Covers: ENGINE-OVERLAP, ENGINE-ORDERED.
    """
    bench = await started(dut)
    ring, slow = Ring(RINGS_START, COMPLETIONS.start, 4), Timing(least=40)
    spent = []
    for rows in (copy_rows(1, 64), copy_rows(16, 64), copy_rows(16, 64, ordered=True)):
        bench.begin(World(1), slow)
        spent.append(await run_all(bench, ring, rows))
        await bench.disable()
    one, together, in_turn = spent
    cocotb.log.info("%d in flight: one %d cycles, sixteen %d, ordered %d", bench.lanes, one, together, in_turn)
    assert together <= 16 * one // bench.lanes * 5 // 4, f"sixteen copies take {together} cycles, one takes {one}"
    assert in_turn >= 14 * one * 3 // 4, f"sixteen ordered copies take {in_turn} cycles, one takes {one}"

    bench.begin(World(1), replace(slow, fault_va=VA_START))
    rows = copy_rows(16, 64)
    await bench.enable(ring)
    for index, words in enumerate(rows):
        bench.memory.store(ring.slot(index), words.astype("<u8").tobytes())
    bench.give(16)
    await bench.cycles(FAULT_CYCLES // 2)
    ended = [flight.index for flight in bench.flights.values() if flight.ending is not None]
    assert sorted(ended) == list(range(1, bench.lanes)), f"{ended} have moved their bytes"
    assert bench.completed == 0 and int(dut.head.value) == 0 and int(dut.busy.value)
    await bench.until_head_is(16)
    assert not bench.failure, bench.failure
    await bench.disable()


@cocotb.test()
async def engine_pace(dut: Any) -> None:
    """How many bus transfers and cycles a page takes when nobody is slow.

    Stimulus: each operation on an aligned page; COPY also with sides that differ by one byte.
    Checking: a read and a write of the bus for each line (for each piece, where the sides differ), and cycles a line
    not above what the steps of a piece need.
    Covers: ENGINE-PACE.
    """
    bench = await started(dut)
    ring = Ring(RINGS_START, COMPLETIONS.start, 0)
    lines = PAGE_BYTES // LINE_BYTES
    source, destination = {"source_va": VA_START}, {"destination_va": VA_START + 4 * PAGE_BYTES}
    skewed = {"destination_va": VA_START + 4 * PAGE_BYTES + 1}
    for opcode, fields, pieces, cycles in (
        (EngineOpcode.READ, {**source, "buffer": 0}, lines, 6),
        (EngineOpcode.WRITE, {**destination, "buffer": 0}, lines, 6),
        (EngineOpcode.COPY, {**source, **destination}, lines, 8),
        (EngineOpcode.COPY, {**source, **skewed}, 2 * lines, 8),
    ):
        bench.begin(World(1), Timing())
        words = np.stack([pack_descriptor(opcode=opcode, length=PAGE_BYTES, **fields)])
        _, after, _ = bench.alone(ring, words)
        spent = await run_all(bench, ring, words)
        assert bench.endings == [Ending(CompletionStatus.OK, PAGE_BYTES)]
        # One transfer each way is the ring's own.
        assert (bench.reads, bench.writes) == (pieces + 1, pieces + 1)
        cocotb.log.info("%s, %d pieces: %d cycles", opcode.name, pieces, spent)
        assert spent <= pieces * cycles + 16, f"{opcode.name}: {spent} cycles for {pieces} pieces"
        compare_memory(bench, after)
        await bench.disable()
