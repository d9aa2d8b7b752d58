# SPDX-License-Identifier: Apache-2.0
"""The access engine of the RTL against its reference: every transfer, every byte, every completion; rings that break,
and an engine that is switched off or reset.

The bench holds each transfer against its descriptor's next one as it comes (tb/units/engine_bench.py).
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import cocotb
import numpy as np

from models.arrays import LINE_BYTES
from models.structures import CompletionStatus, EngineOpcode
from tb.units.engine_bench import INTERRUPT
from tb.units.engine_descriptors import random_descriptors
from tb.units.engine_rings import Ring, Timing, random_ring
from tb.units.engine_sessions import causes, compare_memory, random_timing, random_world, started
from tb.units.engine_world import World

SESSIONS = 60
DESCRIPTORS = 40
HALTS = 40
INTERRUPTED = 60
BUS_BYTES = 1 << 48


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
