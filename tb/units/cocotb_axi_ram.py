# SPDX-License-Identifier: Apache-2.0
"""The testbench's memory against the AxiRam of cocotbext-axi: the same traffic, the same bytes."""

from __future__ import annotations

from typing import Any

import cocotb
import numpy as np
from cocotb.handle import SimHandleBase
from cocotb.triggers import ClockCycles, FallingEdge, RisingEdge
from cocotbext.axi import AxiBus, AxiMaster, AxiRam

from models.physical_memory import Owner, PhysicalMemory
from tb.case import MemorySettings
from tb.environment import make_settings
from tb.simulator import Simulator

LINE = 64
BYTES = 1 << 14
LIMIT_MS = 10
FLIGHT = 8
"""Accesses of one round, all in flight at once."""


class Bench:
    """Both memories with the same random bytes in them, a master in front of each."""

    def __init__(self, dut: Any, rng: np.random.Generator) -> None:
        self.dut = dut
        self.memory = PhysicalMemory(BYTES)
        self.simulator = Simulator()
        self.bytes = rng.integers(256, size=BYTES, dtype=np.uint8)
        self.ours = AxiMaster(AxiBus.from_prefix(dut, "mem"), dut.clk)
        self.theirs = AxiMaster(AxiBus.from_prefix(dut, "ram"), dut.clk)
        self.ram = AxiRam(AxiBus.from_prefix(dut, "ram"), dut.clk, size=BYTES)

    async def start(self, settings: MemorySettings, seed: int) -> None:
        """The same content in both, and a reset; the models of cocotbext-axi idle through it."""
        self.dut.rst_n.value = 0
        self.simulator.clear()
        self.simulator.set_settings(make_settings(settings, seed=seed))
        self.memory.set_owner(0, BYTES, Owner.ARRAY)
        self.memory.buffer[:] = self.bytes
        self.simulator.map_memory(self.memory)
        self.ram.write(0, self.bytes.tobytes())
        await ClockCycles(self.dut.clk, 3)
        await FallingEdge(self.dut.clk)
        self.dut.rst_n.value = 1
        await RisingEdge(self.dut.clk)

    def check_end(self) -> None:
        """Errors: AssertionError if the bytes differ anywhere, or something was noticed on a bus."""
        ours = np.asarray(self.memory.buffer).tobytes()
        theirs = bytes(self.ram.read(0, BYTES))
        differ = [place for place in range(BYTES) if ours[place] != theirs[place]]
        assert not differ, f"{len(differ)} bytes differ, the first at {differ[0]:#x}"
        assert self.simulator.owner_violations() == (0, "")
        assert self.simulator.assertion_failures() == (0, "")


@cocotb.test(timeout_time=LIMIT_MS, timeout_unit="ms")
async def memory_equals_axi_ram(dut: SimHandleBase) -> None:
    """
    Stimulus: 60 rounds of eight reads and writes of different lines, the first bytes of each written, the same at both
    memories, all of a round in flight; latencies and pauses drawn.
    Checking: every read brings the same bytes from both, and so does the whole memory in the end; every answer OKAY.
    Covers: MEMORY-CROSS-CHECK
    """
    rng = np.random.default_rng(17)
    bench = Bench(dut, rng)
    settings = MemorySettings(
        read_latency=(0, 9), write_latency=(0, 9), ar_pause=3, aw_pause=3, w_pause=5, r_pause=3, b_pause=3
    )
    await bench.start(settings, seed=4)
    bench.memory.set_owner(0, BYTES, Owner.FENCE)
    written = 0
    for _ in range(60):
        lines = rng.permutation(BYTES // LINE)[:FLIGHT].tolist()
        # Reads are for tables and writes for fences: the owner map tells which a line is for in this round.
        kinds = rng.integers(2, size=FLIGHT).tolist()
        begun = []
        for line, write in zip(lines, kinds, strict=True):
            address = line * LINE
            bench.memory.set_owner(address, LINE, Owner.FENCE if write else Owner.ARRAY)
            if write:
                data = rng.bytes(int(rng.integers(1, LINE // 8 + 1)) * 8)
                written += len(data)
                begun.append([master.init_write(address, data) for master in (bench.ours, bench.theirs)])
            else:
                begun.append([master.init_read(address, LINE) for master in (bench.ours, bench.theirs)])
        for pair in begun:
            answers = []
            for event in pair:
                await event.wait()
                answers.append(event.data)
            responses = [int(answer.resp) for answer in answers]
            assert responses == [0, 0], f"{answers}: {responses}, {bench.simulator.owner_violations()}"
            if hasattr(answers[0], "data"):
                assert bytes(answers[0].data) == bytes(answers[1].data)
    assert written > 5000
    bench.check_end()


@cocotb.test(timeout_time=LIMIT_MS, timeout_unit="ms")
async def checker_accepts_axi_ram(dut: SimHandleBase) -> None:
    """
    Stimulus: 150 reads and writes of any length and start between two models of cocotbext-axi: bursts, narrow ends.
    Checking: the checker of the bus finds nothing: it is not stricter than a bus that others built.
    Covers: AXI4-CHECKER
    """
    rng = np.random.default_rng(23)
    bench = Bench(dut, rng)
    await bench.start(MemorySettings(), seed=1)
    content = bytearray(bench.bytes.tobytes())
    for _ in range(150):
        address = int(rng.integers(BYTES - 2048))
        length = int(rng.integers(1, 2048))
        size = int(rng.integers(7))
        length = min(length, 200 << size)
        if rng.integers(2):
            data = rng.bytes(length)
            content[address : address + length] = data
            await bench.theirs.write(address, data, size=size)
        else:
            answer = await bench.theirs.read(address, length, size=size)
            assert bytes(answer.data) == bytes(content[address : address + length])
    assert bench.simulator.assertion_failures() == (0, "")
