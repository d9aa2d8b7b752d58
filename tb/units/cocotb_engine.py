# SPDX-License-Identifier: Apache-2.0
"""The access engine of the RTL against its reference: every transfer, every byte, every completion."""

from __future__ import annotations

import os
from dataclasses import replace
from typing import Any

import cocotb
import numpy as np

from models.arrays import LINE_BYTES, PAGE_BYTES
from models.structures import CompletionStatus, EngineOpcode, Reason, pack_descriptor
from tb.units.engine_bench import COMPLETIONS, Bench, Ring, Timing, random_ring
from tb.units.engine_descriptors import VA_START, random_descriptors
from tb.units.engine_reference import Ending, LineRead, LineWrite, Release, Request
from tb.units.engine_world import RINGS_START, Lines, World

SESSIONS = 90
DESCRIPTORS = 40
HALTS = 40
INTERRUPTED = 60
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


@cocotb.test()
async def engine_random(dut: Any) -> None:
    """Thousands of random descriptors through rings of every small size.

    Stimulus: 90 sessions of 40 descriptors: any alignment, overlapping, across pages, up to the ends of the virtual
    addresses and of the bus, one in ten malformed; aborts, bus errors, pauses and delays by the session; the tail
    moves in batches of any size.
    Checking: each transfer is the reference's next one; a completion stands in memory when the head counts it; all
    bytes at the end; how often the causes came. Over all, every status of every operation is seen.
    Covers: ENGINE-MOVE, ENGINE-MALFORMED, ENGINE-ABORT, ENGINE-BUS-ERROR, ENGINE-RING, ENGINE-PUBLICATION.
    """
    bench = await started(dut)
    rng = bench.rng
    seen: set[tuple[int, CompletionStatus]] = set()
    transfers = moved = compared = 0
    for _ in range(SESSIONS):
        ring, descriptors = random_ring(rng), random_descriptors(rng, DESCRIPTORS)
        bench.begin(random_world(rng), random_timing(rng))
        endings, after = bench.expect(ring, descriptors)
        before = causes(dut)
        await bench.enable(ring)
        await bench.feed(ring, descriptors)
        await bench.cycles(3)
        assert not bench.failure, bench.failure
        assert bench.position == len(bench.expected), "the engine stopped before its last transfer"
        assert not int(dut.busy.value) and int(dut.active.value), "the engine does not wait for descriptors"
        asked = int((descriptors[:, 0] >> np.uint64(8) & np.uint64(1)).sum())
        bad = sum(ending.status != CompletionStatus.OK for ending in endings)
        counted = tuple(now - then for now, then in zip(causes(dut), before, strict=True))
        assert counted == (asked, bad, 0, 0), f"causes {counted}, expected {(asked, bad, 0, 0)}"
        compared += compare_memory(bench, after)
        await bench.disable()
        seen |= {(int(words[0]) & 0xFF, ending.status) for words, ending in zip(descriptors, endings, strict=True)}
        transfers += len(bench.expected)
        moved += sum(ending.moved for ending in endings)
    cocotb.log.info(
        "%d descriptors, %d transfers, %d bytes moved, %d bytes compared, %d cycles",
        SESSIONS * DESCRIPTORS, transfers, moved, compared, int(dut.cycles.value),
    )  # fmt: skip
    missing = {(opcode, status) for opcode in EngineOpcode for status in CompletionStatus} - seen
    assert not missing, f"never seen: {sorted(missing)}"


@cocotb.test()
async def engine_halts(dut: Any) -> None:
    """A ring that breaks halts the engine until it is switched off and on.

    Stimulus: in turn a descriptor that cannot be read, a completion that cannot be written, a ring or a completion ring
    that ends beyond the bus, a tail too far ahead; at random places of the ring.
    Checking: every transfer up to the halt and none after it; the cause once; the head counts what was completed; after
    switching off and on the next ring runs.
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
        kind = turn % 5
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
        good = size if kind < 2 else at
        endings, after = bench.expect(ring, descriptors[:good])
        before = causes(dut)
        await bench.enable(ring)
        for index, words in enumerate(descriptors):
            if ring.slot(index) < BUS_BYTES:
                bench.memory.store(ring.slot(index), words.astype("<u8").tobytes())
        if kind == 4:
            dut.tail.value = at
            await bench.until_head_is(at)
            dut.tail.value = at + size + (1 if rng.integers(2) else int(rng.integers(1, 1 << 31)))
        else:
            dut.tail.value = size
        await bench.until(lambda: int(dut.halted.value) == 1, dut.halted)
        # Halted is halted, whatever the tail says.
        dut.tail.value = int(dut.head.value) + 1
        await bench.cycles(50)
        assert int(dut.halted.value) and not int(dut.active.value)
        assert bench.position == len(bench.expected), "the engine halted too early or too late"
        assert not bench.failure, bench.failure
        assert int(dut.head.value) == len(endings) == at, f"turn {turn}"
        counted = tuple(now - then for now, then in zip(causes(dut), before, strict=True))[2:]
        assert counted == ((1, 0) if kind == 4 else (0, 1)), f"causes {counted}"
        for index in range(good, size):
            if ring.slot(index) < BUS_BYTES:
                after.store(ring.slot(index), descriptors[index].astype("<u8").tobytes())
        for index in range(len(endings), good):
            after.store(ring.slot(index), descriptors[index].astype("<u8").tobytes())
        compare_memory(bench, after)
        await bench.disable()

        bench.begin(World(world.seed), Timing())
        ring = random_ring(rng)
        endings, after = bench.expect(ring, descriptors)
        await bench.enable(ring)
        await bench.feed(ring, descriptors)
        compare_memory(bench, after)
        await bench.disable()


@cocotb.test()
async def engine_interrupted(dut: Any) -> None:
    """Switched off, or reset, in the middle of anything.

    Stimulus: a ring of random descriptors; after a random number of cycles the engine is switched off (for good, or for
    two cycles only, also while a transfer of the ring fails) or reset; then another ring runs.
    Checking: what was done is a beginning of what the reference does, to the byte; an engine that was switched off
    leaves no translation, grant or transfer open, goes off within a piece, and reports nothing more; the next ring runs
    as if nothing had been.
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
        bench.expect(ring, descriptors)
        await bench.enable(ring)
        for index, words in enumerate(descriptors):
            bench.memory.store(ring.slot(index), words.astype("<u8").tobytes())
        dut.tail.value = len(descriptors)
        await bench.cycles(int(rng.integers(1, 24 if kind == 3 else 8 + len(bench.expected))))
        made = bench.position
        cut += made < len(bench.expected)
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
            # What is left at most: translate, read, release, write; or one transfer of a ring.
            assert bench.position - made <= 4, f"{bench.position - made} transfers after the engine was switched off"
            done = bench.expected[: bench.position]
            requests = [transfer for transfer in done if isinstance(transfer, Request)]
            answers = [bench.world.translate(r.pasid, r.va, r.access) for r in requests]
            grants = sum(answer.reason == Reason.NONE for answer in answers)
            assert grants == sum(isinstance(transfer, Release) for transfer in done), "a grant is still open"
        assert not bench.failure, bench.failure

        bench.begin(random_world(rng), random_timing(rng))
        _, after = bench.expect(ring, descriptors)
        await bench.enable(ring)
        await bench.feed(ring, descriptors)
        compare_memory(bench, after)
        await bench.disable()
    assert cut > INTERRUPTED // 2, f"only {cut} of {INTERRUPTED} rings were interrupted"


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
        endings, after = bench.expect(ring, words)
        assert endings == [Ending(CompletionStatus.OK, PAGE_BYTES)]
        # One transfer each way is the ring's own.
        assert sum(isinstance(t, LineRead) for t in bench.expected) == pieces + 1
        assert sum(isinstance(t, LineWrite) for t in bench.expected) == pieces + 1
        await bench.enable(ring)
        begun = int(dut.cycles.value)
        await bench.feed(ring, words)
        spent = int(dut.cycles.value) - begun
        cocotb.log.info("%s, %d pieces: %d cycles", opcode.name, pieces, spent)
        assert spent <= pieces * cycles + 16, f"{opcode.name}: {spent} cycles for {pieces} pieces"
        compare_memory(bench, after)
        await bench.disable()
