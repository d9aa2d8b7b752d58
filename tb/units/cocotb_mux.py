# SPDX-License-Identifier: Apache-2.0
"""The bus multiplexers alone: many accesses in flight, home in any order, one a cycle."""

from __future__ import annotations

import os
from collections import Counter, deque
from dataclasses import dataclass, field
from typing import Any

import cocotb
import numpy as np
from cocotb.triggers import FallingEdge, ReadOnly

SOURCES = 3
TAG_BITS = 5
TAGS = 1 << TAG_BITS
ADDRESS_BITS = 48
CYCLES = 2000
FULL_CYCLES = 300
MOST_OF_A_TAG = 255
"""Open writes of one source and tag that the multiplexer can count."""


@dataclass(frozen=True)
class Access:
    """What a source offers. `data` and `strobe` are a write's."""

    tag: int
    address: int
    device: bool
    data: int = 0
    strobe: int = 0


@dataclass
class Side:
    """Readers or writers: `offered` by source; `open`, ids under way in the order in which they were taken; `taken`,
    how often each source's was; `order`, whose were taken, one after the other; `overtakings`, answers that came before
    older ones; `gaps`, cycles in which something was offered, the bus was ready, and nothing was taken."""

    offered: list[Access | None] = field(default_factory=lambda: [None] * SOURCES)
    open: list[int] = field(default_factory=list)
    taken: Counter[int] = field(default_factory=Counter)
    order: list[int] = field(default_factory=list)
    answered: int = 0
    overtakings: int = 0
    gaps: int = 0

    def pack(self, name: str, bits: int) -> int:
        """One field of all sources, side by side."""
        return sum(int(getattr(a, name)) << bits * i for i, a in enumerate(self.offered) if a is not None)

    def valid(self) -> int:
        """One bit for each source that offers something."""
        return sum((access is not None) << i for i, access in enumerate(self.offered))


class MuxBench:
    """Drives both multiplexers, cycle by cycle."""

    def __init__(self, dut: Any, *, offer: float, ready: float, answer: float) -> None:
        """Chances that a source offers, that a channel of the bus is ready, and that it answers."""
        self.dut = dut
        self.rng = np.random.default_rng(int(os.environ["COCOTB_RANDOM_SEED"]))
        self.offer, self.ready, self.answer = offer, ready, answer
        self.read, self.write = Side(), Side()
        self.addresses: deque[tuple[int, Access]] = deque()
        """Writes whose address was taken by the bus, without their data."""
        self.beats: deque[Access] = deque()
        """The other way round."""

    async def start(self) -> None:
        """Reset; everything idle."""
        dut = self.dut
        for name in ("read_valid", "write_valid", "arready", "rvalid", "awready", "wready", "bvalid", "rst_n"):
            getattr(dut, name).value = 0
        dut.rlast.value = 1
        for _ in range(3):
            await FallingEdge(dut.clk)
        dut.rst_n.value = 1

    def _draw(self, side: Side, one_for_tag: bool) -> None:
        rng = self.rng
        for source in range(SOURCES):
            if side.offered[source] is None and rng.random() < self.offer:
                tag = int(rng.integers(TAGS))
                if one_for_tag and source << TAG_BITS | tag in side.open:
                    continue
                address = int(rng.integers(1 << 42)) << 6
                data, strobe = (int(word) for word in rng.integers(1, 1 << 63, 2))
                side.offered[source] = Access(tag, address, bool(rng.integers(2)), data, strobe)

    def drive(self) -> None:
        """The inputs of the next cycle."""
        dut, rng = self.dut, self.rng
        self._draw(self.read, True)
        self._draw(self.write, False)
        for side, name in ((self.read, "read"), (self.write, "write")):
            getattr(dut, f"{name}_valid").value = side.valid()
            getattr(dut, f"{name}_address").value = side.pack("address", ADDRESS_BITS)
            getattr(dut, f"{name}_device").value = side.pack("device", 1)
            getattr(dut, f"{name}_tag").value = side.pack("tag", TAG_BITS)
        dut.write_data.value = self.write.pack("data", 64)
        dut.write_strobe.value = self.write.pack("strobe", 64)
        for name in ("arready", "awready", "wready"):
            getattr(dut, name).value = int(rng.random() < self.ready)
        for side, valid, identity, response in (
            (self.read, dut.rvalid, dut.rid, dut.rresp),
            (self.write, dut.bvalid, dut.bid, dut.bresp),
        ):
            come = bool(side.open) and rng.random() < self.answer
            valid.value = int(come)
            if come:
                identity.value = int(rng.choice(side.open))
                response.value = int(rng.choice([0, 0, 2]))
        dut.rdata.value = int(rng.integers(1 << 63))

    def _answer(self, side: Side, name: str, valid: Any, identity: Any, response: Any) -> None:
        """An answer goes home in its own cycle, to its source only."""
        dut = self.dut
        done = int(getattr(dut, f"{name}_done").value)
        if not int(valid.value):
            assert done == 0, f"{name}: an answer that the bus did not give"
            return
        came = int(identity.value)
        assert done == 1 << (came >> TAG_BITS), f"{name}: the answer of id {came:#x} goes to {done:#b}"
        assert int(getattr(dut, f"{name}_done_tag").value) == came % TAGS
        assert int(getattr(dut, f"{name}_error").value) == (int(response.value) != 0)
        side.overtakings += side.open.index(came) > 0
        side.open.remove(came)
        side.answered += 1

    def _take_read(self) -> None:
        dut, side = self.dut, self.read
        assert int(dut.arvalid.value) == (side.valid() != 0), "an address is held back, or there is one too many"
        ready = int(dut.read_ready.value) & side.valid()
        if not (int(dut.arvalid.value) and int(dut.arready.value)):
            assert ready == 0
            return
        source = int(dut.arid.value) >> TAG_BITS
        access = side.offered[source]
        assert access is not None and ready == 1 << source
        came = (int(dut.arid.value) % TAGS, int(dut.araddr.value), bool(int(dut.aruser.value)))
        assert came == (access.tag, access.address, access.device)
        side.open.append(int(dut.arid.value))
        side.taken[source] += 1
        side.order.append(source)
        side.offered[source] = None

    def _take_write(self) -> None:
        dut, side = self.dut, self.write
        if int(dut.awvalid.value) and int(dut.awready.value):
            identity = int(dut.awid.value)
            access = side.offered[identity >> TAG_BITS]
            assert access is not None
            came = (identity % TAGS, int(dut.awaddr.value), bool(int(dut.awuser.value)))
            assert came == (access.tag, access.address, access.device)
            self.addresses.append((identity, access))
        if int(dut.wvalid.value) and int(dut.wready.value):
            data, strobe = int(dut.wdata.value), int(dut.wstrb.value)
            self.beats.append(Access(0, 0, False, data, strobe))
        ready = int(dut.write_ready.value) & side.valid()
        if self.addresses and self.beats:
            (identity, access), beat = self.addresses.popleft(), self.beats.popleft()
            source = identity >> TAG_BITS
            assert ready == 1 << source, f"write of {source} is whole, ready is {ready:#b}"
            assert (beat.data, beat.strobe) == (access.data, access.strobe), "data went with another address"
            side.open.append(identity)
            side.taken[source] += 1
            side.order.append(source)
            side.offered[source] = None
        else:
            assert ready == 0, "a write is taken that is not whole"
            side.gaps += side.valid() != 0 and bool(int(dut.awready.value) and int(dut.wready.value))

    async def run(self, cycles: int) -> None:
        """Drives and checks so many cycles."""
        dut = self.dut
        for _ in range(cycles):
            self.drive()
            await ReadOnly()
            assert int(dut.rready.value) and int(dut.bready.value), "an answer is held back"
            self._answer(self.read, "read", dut.rvalid, dut.rid, dut.rresp)
            if int(dut.rvalid.value):
                assert int(dut.read_line.value) == int(dut.rdata.value)
            self._answer(self.write, "write", dut.bvalid, dut.bid, dut.bresp)
            self._take_read()
            self._take_write()
            await FallingEdge(dut.clk)


@cocotb.test()
async def mux_in_flight(dut: Any) -> None:
    """
    Stimulus: three readers and three writers that offer and pause, channels that are ready now and then, answers in any
        order, a third of them errors; reads under any free tag, writes under any.
    Checking: each access goes out once, as offered, under {source, tag}; each answer goes home in its cycle to its
        source and tag; answers overtake each other, and several writes of one tag are open.
    Covers: BUS-TAGS
    """
    bench = MuxBench(dut, offer=0.6, ready=0.6, answer=0.4)
    await bench.start()
    most = 0
    for _ in range(CYCLES // 20):
        await bench.run(20)
        most = max(most, *Counter(bench.write.open).values(), 0)
    for side in (bench.read, bench.write):
        assert side.answered > CYCLES // 4 and side.overtakings > 100
    assert most > 1, "never two writes under one tag"


@cocotb.test()
async def mux_full_rate(dut: Any) -> None:
    """
    Stimulus: all sources offer always, the bus is ready always and answers at once; then one source alone.
    Checking: one address and one write in each cycle; the sources have equal parts; a source alone has every cycle.
    Covers: BUS-RATE
    """
    bench = MuxBench(dut, offer=1.0, ready=1.0, answer=1.0)
    await bench.start()
    await bench.run(FULL_CYCLES)
    for side in (bench.read, bench.write):
        # A source that draws a tag in use offers nothing for a cycle.
        assert sum(side.taken.values()) >= FULL_CYCLES - 2 and side.gaps == 0, f"{side.taken}"
        assert max(side.taken.values()) - min(side.taken.values()) <= FULL_CYCLES // 10, f"{side.taken}"


@cocotb.test()
async def mux_turns_from_reset(dut: Any) -> None:
    """
    Stimulus: all sources offer always, from the first cycle behind reset on; the bus is ready always.
    Checking: the first source has the first turn, and then each the next, of reads and of writes.
    Covers: BUS-RATE
    """
    bench = MuxBench(dut, offer=1.0, ready=1.0, answer=1.0)
    await bench.start()
    await bench.run(2 * SOURCES)
    for side in (bench.read, bench.write):
        assert side.order == [*range(SOURCES)] * 2, f"{side.order}"


async def violation(dut: Any) -> MuxBench:
    """A bench that is idle, for somebody who breaks a rule."""
    bench = MuxBench(dut, offer=0.0, ready=0.0, answer=0.0)
    await bench.start()
    await bench.run(2)
    return bench


@cocotb.test()
async def breaks_ar_stable(dut: Any) -> None:
    """Stimulus: a reader changes its address. Checking: the assertion ends the simulation. Covers: BUS-RULES"""
    bench = await violation(dut)
    for address in (64, 128):
        bench.read.offered[1] = Access(3, address, False)
        await bench.run(1)
    for _ in range(3):
        await FallingEdge(dut.clk)


@cocotb.test()
async def breaks_turn(dut: Any) -> None:
    """Stimulus: a reader withdraws its address. Checking: the assertion ends the simulation. Covers: BUS-RULES"""
    bench = await violation(dut)
    bench.read.offered[1] = Access(3, 64, False)
    await bench.run(1)
    bench.read.offered[1] = None
    dut.read_valid.value = 0
    for _ in range(3):
        await FallingEdge(dut.clk)


@cocotb.test()
async def breaks_ar_one(dut: Any) -> None:
    """Stimulus: a reader asks twice under one tag. Checking: the assertion ends the simulation. Covers: BUS-RULES"""
    bench = await violation(dut)
    bench.ready = 1.0
    for _ in range(2):
        bench.read.offered[2] = Access(5, 128, False)
        await bench.run(2)


@cocotb.test()
async def breaks_r_known(dut: Any) -> None:
    """Stimulus: data that nobody asked for. Checking: the assertion ends the simulation. Covers: BUS-RULES"""
    await violation(dut)
    dut.rid.value = 7
    dut.rvalid.value = 1
    for _ in range(3):
        await FallingEdge(dut.clk)


@cocotb.test()
async def breaks_aw_stable(dut: Any) -> None:
    """Stimulus: a writer changes its address. Checking: the assertion ends the simulation. Covers: BUS-RULES"""
    bench = await violation(dut)
    for address in (64, 128):
        bench.write.offered[0] = Access(1, address, False, 5, 1)
        await bench.run(1)
    await FallingEdge(dut.clk)


@cocotb.test()
async def breaks_w_stable(dut: Any) -> None:
    """Stimulus: a writer changes its data. Checking: the assertion ends the simulation. Covers: BUS-RULES"""
    bench = await violation(dut)
    for data in (5, 6):
        bench.write.offered[0] = Access(1, 64, False, data, 1)
        await bench.run(1)
    await FallingEdge(dut.clk)


@cocotb.test()
async def breaks_write_whole(dut: Any) -> None:
    """Stimulus: a writer withdraws a write whose address was taken. Checking: the assertion ends the simulation.
    Covers: BUS-RULES"""
    await violation(dut)
    dut.write_valid.value = 1
    dut.awready.value = 1
    await FallingEdge(dut.clk)
    dut.awready.value = 0
    dut.write_valid.value = 0
    for _ in range(3):
        await FallingEdge(dut.clk)


@cocotb.test()
async def breaks_aw_room(dut: Any) -> None:
    """Stimulus: a writer's 256th write under one tag, and no answer to any. Checking: 255 are taken; the assertion ends
    the simulation. Covers: BUS-RULES"""
    bench = await violation(dut)
    bench.ready = 1.0
    for number in range(MOST_OF_A_TAG + 1):
        if number == MOST_OF_A_TAG:
            assert bench.write.taken[1] == MOST_OF_A_TAG, "fewer are taken than can be counted"
        bench.write.offered[1] = Access(4, 64, False, 5, 1)
        await bench.run(1)


@cocotb.test()
async def breaks_b_known(dut: Any) -> None:
    """Stimulus: an answer to no write. Checking: the assertion ends the simulation. Covers: BUS-RULES"""
    await violation(dut)
    dut.bid.value = 9
    dut.bvalid.value = 1
    for _ in range(3):
        await FallingEdge(dut.clk)
