# SPDX-License-Identifier: Apache-2.0
"""The testbench's memory alone, with more in flight than the device has: several ids, any order, any shape."""

from __future__ import annotations

from collections import defaultdict, deque
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

import cocotb
import numpy as np
from cocotb.handle import SimHandleBase
from cocotb.triggers import ClockCycles, FallingEdge, ReadOnly, RisingEdge

from models.physical_memory import Owner, PhysicalMemory
from tb.case import MemorySettings
from tb.environment import make_settings
from tb.simulator import Simulator

LINE = 64
LINES = 64
MEMORY_BYTES = 1 << 16
BASE = 1 << 20
OKAY, SLVERR, DECERR = 0, 2, 3
LINE_SIZE = 6
"""AxSIZE of 64 bytes."""
INCR = 1
LIMIT_MS = 1
"""Simulated time after which a test that waits for something has failed: 100000 cycles."""


@dataclass
class Beat:
    """One access, from its address to its answer."""

    id: int
    address: int
    asked: int
    data: int = 0
    strobe: int = 0
    answer: int = -1
    response: int = -1


@dataclass
class Bench:
    """Pins of the bench, and what went over them."""

    dut: Any
    memory: PhysicalMemory = field(default_factory=lambda: PhysicalMemory(MEMORY_BYTES, BASE))
    simulator: Simulator = field(default_factory=Simulator)

    async def start(self, settings: MemorySettings, seed: int) -> None:
        """Resets the memory; all channels idle, answers taken at once."""
        dut = self.dut
        dut.rst_n.value = 0
        for pin in (dut.awvalid_i, dut.wvalid_i, dut.arvalid_i, dut.awlen_i, dut.arlen_i):
            pin.value = 0
        for pin in (dut.bready_i, dut.rready_i, dut.wlast_i, dut.awburst_i, dut.arburst_i):
            pin.value = 1
        dut.awsize_i.value = LINE_SIZE
        dut.arsize_i.value = LINE_SIZE
        self.simulator.clear()
        self.simulator.set_settings(make_settings(settings, seed=seed))
        self.simulator.map_memory(self.memory)
        await ClockCycles(dut.clk, 2)
        await FallingEdge(dut.clk)
        dut.rst_n.value = 1
        await RisingEdge(dut.clk)

    def cycle(self) -> int:
        """The present cycle."""
        return int(self.dut.cycle_o.value)

    async def handshake(self, valid: Any, ready: Any) -> int:
        """Holds `valid` until it is taken; returns the cycle in which it was."""
        valid.value = 1
        while True:
            await ReadOnly()
            taken, cycle = bool(int(ready.value)), self.cycle()
            await RisingEdge(self.dut.clk)
            if taken:
                valid.value = 0
                return cycle

    async def read(self, identity: int, address: int) -> int:
        """Sends a read address; returns the cycle in which it was taken."""
        self.dut.arid_i.value = identity
        self.dut.araddr_i.value = address
        return await self.handshake(self.dut.arvalid_i, self.dut.arready_o)

    async def write_address(self, identity: int, address: int) -> int:
        """Sends a write address; returns the cycle in which it was taken."""
        self.dut.awid_i.value = identity
        self.dut.awaddr_i.value = address
        return await self.handshake(self.dut.awvalid_i, self.dut.awready_o)

    async def write_data(self, data: int, strobe: int) -> int:
        """Sends write data; returns the cycle in which it was taken."""
        self.dut.wdata_i.value = data
        self.dut.wstrb_i.value = strobe
        return await self.handshake(self.dut.wvalid_i, self.dut.wready_o)

    async def collect(self, kind: str, open_beats: dict[int, deque[Beat]], finished: list[Beat], count: int) -> None:
        """Pairs answers with the oldest open access of their id until `count` came."""
        dut = self.dut
        valid, ready, identity, response = {
            "r": (dut.rvalid_o, dut.rready_i, dut.rid_o, dut.rresp_o),
            "b": (dut.bvalid_o, dut.bready_i, dut.bid_o, dut.bresp_o),
        }[kind]
        shown = -1
        while len(finished) < count:
            await ReadOnly()
            if int(valid.value):
                shown = self.cycle() if shown < 0 else shown
                if int(ready.value):
                    beat = open_beats[int(identity.value)].popleft()
                    beat.answer, beat.response = shown, int(response.value)
                    if kind == "r":
                        beat.data = int(dut.rdata_o.value)
                        assert int(dut.rlast_o.value) == 1
                    finished.append(beat)
                    shown = -1
            await RisingEdge(dut.clk)

    async def shake(self, pin: Any, rng: np.random.Generator) -> None:
        """Makes a ready come and go."""
        while True:
            pin.value = int(rng.integers(0, 2))
            await RisingEdge(self.dut.clk)

    def line(self, address: int) -> int:
        """What memory holds in a line."""
        return int.from_bytes(self.memory.read_words(address, LINE // 8).tobytes(), "little")


def overtakings(beats: list[Beat]) -> int:
    """How often an answer came before that of an access which was asked earlier."""
    return sum(later.asked < earlier.asked for earlier, later in pairwise(beats))


@cocotb.test(timeout_time=LIMIT_MS, timeout_unit="ms")
@cocotb.parametrize(pauses=[0, 5])
async def memory_reads_in_flight(dut: SimHandleBase, pauses: int) -> None:
    """
    Stimulus: 300 reads back to back under 4 ids, latencies drawn from 2 to 30, without and with pauses and a manager
        whose ready comes and goes.
    Checking: the k-th beat of an id is the data of its k-th address; no beat comes before its latency's lower bound;
        ids overtake each other; without pauses none is later than the upper bound unless the channel was busy.
    Covers: MEMORY-ORDER, MEMORY-LATENCY
    """
    bench = Bench(dut)
    rng = np.random.default_rng(7)
    bench.memory.write_words(BASE, rng.integers(0, 1 << 63, LINES * 8, dtype=np.uint64))
    bench.memory.set_owner(BASE, LINES * LINE, Owner.ARRAY)
    await bench.start(MemorySettings(read_latency=(2, 30), ar_pause=pauses, r_pause=pauses), seed=3)
    open_beats: dict[int, deque[Beat]] = defaultdict(deque)
    finished: list[Beat] = []
    collector = cocotb.start_soon(bench.collect("r", open_beats, finished, 300))
    shaker = cocotb.start_soon(bench.shake(bench.dut.rready_i, rng)) if pauses else None
    for _ in range(300):
        identity, address = int(rng.integers(0, 4)), BASE + LINE * int(rng.integers(0, LINES))
        open_beats[identity].append(Beat(identity, address, asked=-1))
        beat = open_beats[identity][-1]
        beat.asked = await bench.read(identity, address)
    await collector
    if shaker is not None:
        shaker.cancel()
    assert all(beat.data == bench.line(beat.address) and beat.response == OKAY for beat in finished)
    delays = [beat.answer - beat.asked - 1 for beat in finished]
    assert min(delays) >= 2
    assert overtakings(finished) > 20
    if not pauses:
        answers = {beat.answer for beat in finished}
        for beat, delay in zip(finished, delays, strict=True):
            # Later than the longest latency only in a row of beats without a gap.
            assert delay <= 30 or beat.answer - 1 in answers
    assert bench.simulator.owner_violations() == (0, "")
    assert bench.simulator.assertion_failures() == (0, "")


@cocotb.test(timeout_time=LIMIT_MS, timeout_unit="ms")
async def memory_writes_in_flight(dut: SimHandleBase) -> None:
    """
    Stimulus: 200 writes with random strobes under 4 ids, half of them to lines that answer with an error; addresses
        and data run ahead of each other; drawn latencies and pauses.
    Checking: memory ends as a model of bytes says; the k-th answer of an id is that of its k-th write, and comes after
        its latency; ids overtake each other.
    Covers: MEMORY-WRITE
    """
    bench = Bench(dut)
    rng = np.random.default_rng(11)
    bench.memory.set_owner(BASE, LINES * LINE, Owner.FENCE)
    failing = rng.integers(0, 2, LINES).astype(bool)
    for word in range(LINES * 8):
        bench.memory.set_write_error(BASE + 8 * word, bool(failing[word // 8]))
    settings = MemorySettings(write_latency=(1, 20), aw_pause=4, w_pause=6, b_pause=3)
    await bench.start(settings, seed=5)
    model = bytearray(MEMORY_BYTES)
    beats = []
    for _ in range(200):
        data = int.from_bytes(rng.bytes(LINE), "little")
        strobe = int(rng.integers(0, 1 << 63)) << 1 | int(rng.integers(0, 2))
        beats.append(Beat(int(rng.integers(0, 4)), BASE + LINE * int(rng.integers(0, LINES)), -1, data, strobe))
    for beat in beats:
        for byte in range(LINE):
            if not failing[(beat.address - BASE) // LINE] and beat.strobe >> byte & 1:
                model[beat.address - BASE + byte] = beat.data >> 8 * byte & 0xFF
    open_beats: dict[int, deque[Beat]] = defaultdict(deque)
    for beat in beats:
        open_beats[beat.id].append(beat)
    data_cycles: list[int] = []

    async def send_data() -> None:
        for beat in beats:
            if rng.integers(0, 8) == 0:
                await ClockCycles(bench.dut.clk, int(rng.integers(1, 20)))
            data_cycles.append(await bench.write_data(beat.data, beat.strobe))

    finished: list[Beat] = []
    collector = cocotb.start_soon(bench.collect("b", open_beats, finished, len(beats)))
    sender = cocotb.start_soon(send_data())
    for beat in beats:
        if rng.integers(0, 8) == 0:
            await ClockCycles(bench.dut.clk, int(rng.integers(1, 20)))
        beat.asked = await bench.write_address(beat.id, beat.address)
    await sender
    await collector
    assert bytes(bench.memory.buffer) == bytes(model)
    for beat, cycle in zip(beats, data_cycles, strict=True):
        assert beat.response == (SLVERR if failing[(beat.address - BASE) // LINE] else OKAY)
        assert beat.answer >= max(beat.asked, cycle) + 1 + 1
    assert overtakings(finished) > 10
    assert bench.simulator.owner_violations() == (0, "")
    assert bench.simulator.assertion_failures() == (0, "")


@cocotb.test(timeout_time=LIMIT_MS, timeout_unit="ms")
async def memory_bad_accesses(dut: SimHandleBase) -> None:
    """
    Stimulus: reads and writes that are bursts, narrow, not INCR, not aligned, outside, marked, or of words of other
        owners.
    Checking: answer, count of violations and their words for each; memory is not changed by any of them.
    Covers: OWNER-SHAPE, OWNER-READ, OWNER-WRITE, MEMORY-ERROR
    """
    bench = Bench(dut)
    bench.memory.set_owner(BASE, LINE, Owner.ARRAY)
    bench.memory.set_owner(BASE + LINE, 8, Owner.FENCE)
    bench.memory.set_owner(BASE + 2 * LINE, LINE, Owner.DATA)
    bench.memory.set_owner(BASE + 3 * LINE + 56, 8, Owner.COMMAND)
    bench.memory.set_owner(BASE + 4 * LINE, LINE, Owner.ARRAY)
    bench.memory.set_read_error(BASE + 4 * LINE + 40)
    end = BASE + MEMORY_BYTES
    reads: list[tuple[int, int, int, int, int, str]] = [
        (BASE, 0, LINE_SIZE, INCR, OKAY, ""),
        (BASE, 1, LINE_SIZE, INCR, SLVERR, "not one aligned beat"),
        (BASE, 0, 3, INCR, SLVERR, "not one aligned beat"),
        (BASE, 0, LINE_SIZE, 0, SLVERR, "not one aligned beat"),
        (BASE + 8, 0, LINE_SIZE, INCR, SLVERR, "not one aligned beat"),
        (end, 0, LINE_SIZE, INCR, DECERR, ""),
        (BASE - LINE, 0, LINE_SIZE, INCR, DECERR, ""),
        (BASE + LINE, 0, LINE_SIZE, INCR, OKAY, "no table, ring or buffer"),
        (BASE + 2 * LINE, 0, LINE_SIZE, INCR, OKAY, "no table, ring or buffer"),
        (BASE + 3 * LINE, 0, LINE_SIZE, INCR, OKAY, ""),
        (BASE + 4 * LINE, 0, LINE_SIZE, INCR, SLVERR, ""),
    ]
    for address, length, size, burst, response, words in reads:
        await bench.start(MemorySettings(), seed=1)
        bench.dut.arlen_i.value, bench.dut.arsize_i.value, bench.dut.arburst_i.value = length, size, burst
        finished: list[Beat] = []
        open_beats = {2: deque([Beat(2, address, 0)])}
        collector = cocotb.start_soon(bench.collect("r", open_beats, finished, 1))
        await bench.read(2, address)
        await collector
        count, text = bench.simulator.owner_violations()
        assert (finished[0].response, count, words in text) == (response, int(bool(words)), True), hex(address)
    word = (1 << 8) - 1
    writes: list[tuple[int, int, int, int, str]] = [
        (BASE + LINE, word, LINE_SIZE, OKAY, ""),
        (BASE + LINE, 0, LINE_SIZE, OKAY, ""),
        (BASE + LINE, word << 8, LINE_SIZE, SLVERR, "neither fence values, one whole record"),
        (BASE + LINE, word << 4, LINE_SIZE, SLVERR, "neither fence values, one whole record"),
        (BASE, word, LINE_SIZE, SLVERR, "neither fence values, one whole record"),
        (BASE + LINE, word, 3, SLVERR, "not one aligned beat"),
        (end, word, LINE_SIZE, DECERR, ""),
    ]
    before = bench.memory.buffer.copy()
    for address, strobe, size, response, words in writes:
        await bench.start(MemorySettings(), seed=1)
        bench.dut.awsize_i.value = size
        finished = []
        collector = cocotb.start_soon(bench.collect("b", {3: deque([Beat(3, address, 0)])}, finished, 1))
        await bench.write_address(3, address)
        await bench.write_data((1 << 512) - 1, strobe)
        await collector
        count, text = bench.simulator.owner_violations()
        assert (finished[0].response, count, words in text) == (response, int(bool(words)), True), hex(address)
    changed = np.flatnonzero(bench.memory.buffer != before)
    assert changed.tolist() == list(range(LINE, LINE + 8))
