# SPDX-License-Identifier: Apache-2.0
"""The access engine of the RTL with many descriptors at a time: adds that must not mix, how much goes on side by side,
and at what pace."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import cocotb
import numpy as np

from models.arrays import LINE_BYTES, PAGE_BYTES, Words
from models.structures import Access, CompletionStatus, EngineOpcode, pack_descriptor
from tb.units.engine_bench import Bench
from tb.units.engine_descriptors import VA_START
from tb.units.engine_reference import Ending
from tb.units.engine_rings import COMPLETIONS, FAULT_CYCLES, Ring, Timing
from tb.units.engine_sessions import compare_memory, random_timing, started
from tb.units.engine_world import RINGS_START, World

ADD_SESSIONS = 40


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
