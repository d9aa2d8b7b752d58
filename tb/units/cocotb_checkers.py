# SPDX-License-Identifier: Apache-2.0
"""Every rule of the bus checkers, broken once: pins that say anything, cycle by cycle, and the message that must come.

A cycle is a dict of the pins that are not idle in it. Idle is 0, but for sizes (8 bytes), bursts (INCR), strobes (all)
and `last` (1).
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import cocotb
import numpy as np
from cocotb.handle import SimHandleBase
from cocotb.triggers import ClockCycles, FallingEdge

from tb.simulator import Simulator

Cycle = dict[str, int]

ROOT = Path(__file__).parents[2]
LITE = "lite_"
FULL_SIZE = 3
"""AxSIZE of the bench's 8 bytes."""
FIXED, INCR, WRAP, RESERVED = range(4)
EXOKAY = 1
BYTES = 8
VALID_PINS = ("awvalid", "wvalid", "bvalid", "arvalid", "rvalid")
IDLE: Cycle = {
    "awsize": FULL_SIZE,
    "arsize": FULL_SIZE,
    "awburst": INCR,
    "arburst": INCR,
    "wstrb": 0xFF,
    "wlast": 1,
    "rlast": 1,
}
AW = {"awvalid": 1, "awready": 1}
W = {"wvalid": 1, "wready": 1}
B = {"bvalid": 1, "bready": 1}
AR = {"arvalid": 1, "arready": 1}
R = {"rvalid": 1, "rready": 1}
RESET = {"reset": 1}

RULES: dict[str, tuple[list[Cycle], str]] = {
    "aw_stable": ([{"awvalid": 1, "awaddr": 8}, {**AW, "awaddr": 16}], "a write address changed"),
    "aw_withdrawn": ([{"awvalid": 1}, {}], "a write address changed"),
    "w_stable": ([{"wvalid": 1, "wdata": 1}, {**W, "wdata": 2}], "write data changed"),
    "b_stable": ([AW | W, {"bvalid": 1}, {**B, "bresp": 2}], "a write response changed"),
    "ar_stable": ([{"arvalid": 1, "arid": 1}, {**AR, "arid": 2}], "a read address changed"),
    "r_stable": ([AR, {"rvalid": 1, "rdata": 1}, {**R, "rdata": 2}], "read data changed"),
    "aw_burst": ([{**AW, "awburst": RESERVED}], "a write has the reserved burst type"),
    "ar_burst": ([{**AR, "arburst": RESERVED}], "a read has the reserved burst type"),
    "aw_size": ([{**AW, "awsize": 4}], "a write's beats are wider than the bus"),
    "ar_size": ([{**AR, "arsize": 4}], "a read's beats are wider than the bus"),
    "aw_fixed": ([{**AW, "awburst": FIXED, "awlen": 16}], "a FIXED write has more than 16 beats"),
    "ar_fixed": ([{**AR, "arburst": FIXED, "arlen": 16}], "a FIXED read has more than 16 beats"),
    "aw_wrap": ([{**AW, "awburst": WRAP, "awlen": 2}], "a WRAP write has not 2, 4, 8 or 16 beats"),
    "ar_wrap": ([{**AR, "arburst": WRAP, "arlen": 5}], "a WRAP read has not 2, 4, 8 or 16 beats"),
    "aw_wrap_start": ([{**AW, "awburst": WRAP, "awlen": 1, "awaddr": 4}], "a WRAP write does not start at a beat"),
    "ar_wrap_start": ([{**AR, "arburst": WRAP, "arlen": 1, "araddr": 4}], "a WRAP read does not start at a beat"),
    "aw_page": ([{**AW, "awaddr": 0xFF8, "awlen": 1}], "a write crosses 4 KiB"),
    "ar_page": ([{**AR, "araddr": 0x1FF9, "arlen": 1}], "a read crosses 4 KiB"),
    "b_response": ([AW | W, {**B, "bresp": EXOKAY}], "a write response says EXOKAY"),
    "r_response": ([AR, {**R, "rresp": EXOKAY}], "read data say EXOKAY"),
    "b_early": ([AW, B], "a write response without a write that is complete"),
    "b_other_id": ([{**AW, "awid": 1} | W, {**B, "bid": 2}], "a write response without a write that is complete"),
    "b_twice": ([AW | W, B, B], "a write response without a write that is complete"),
    "r_asked": ([R], "read data without a read"),
    "r_other_id": ([{**AR, "arid": 3}, {**R, "rid": 2}], "read data without a read"),
    "r_last_early": ([{**AR, "arlen": 1}, R], "the last beat of a read is not where its length says"),
    "r_last_missing": ([AR, {**R, "rlast": 0}], "the last beat of a read is not where its length says"),
    "w_last_early": ([{**AW, "awlen": 1}, W], "the last beat of a write is not where its length says"),
    "w_last_missing": ([AW, {**W, "wlast": 0}], "the last beat of a write is not where its length says"),
    "w_last_ahead": ([{**W, "wlast": 0}, AW], "the last beat of a write is not where its length says"),
    "w_strobes_narrow": ([{**AW, "awsize": 1, "awaddr": 2}, {**W, "wstrb": 0x1C}], "a write has strobes outside"),
    "w_strobes_start": ([{**AW, "awaddr": 3}, {**W, "wstrb": 0xFC}], "a write has strobes outside"),
    "w_strobes_second": (
        [{**AW, "awsize": 2, "awlen": 1, "awaddr": 4}, {**W, "wstrb": 0xF0, "wlast": 0}, {**W, "wstrb": 0x1F}],
        "a write has strobes outside",
    ),
    "w_strobes_wrap": (
        [
            {**AW, "awburst": WRAP, "awsize": 1, "awlen": 1, "awaddr": 6},
            {**W, "wstrb": 0xC0, "wlast": 0},
            {**W, "wstrb": 0x03},
        ],
        "a write has strobes outside",
    ),
    "reset_silent": ([RESET, RESET, {**RESET, "arvalid": 1}], "something is valid in reset"),
}
"""AXI4: for each rule the cycles that break it, and what must be told."""

LITE_RULES: dict[str, tuple[list[Cycle], str]] = {
    "aw_stable": ([{"awvalid": 1, "awaddr": 8}, {**AW, "awaddr": 16}], "a write address changed"),
    "w_stable": ([{"wvalid": 1, "wstrb": 1}, {**W, "wstrb": 2}], "write data changed"),
    "b_stable": ([AW | W, {"bvalid": 1}, {}], "a write response changed"),
    "ar_stable": ([{"arvalid": 1, "araddr": 8}, {**AR, "araddr": 0}], "a read address changed"),
    "r_stable": ([AR, {"rvalid": 1, "rdata": 1}, {**R, "rdata": 2}], "read data changed"),
    "b_response": ([AW | W, {**B, "bresp": EXOKAY}], "a write response says EXOKAY"),
    "r_response": ([AR, {**R, "rresp": EXOKAY}], "read data say EXOKAY"),
    "b_without_data": ([AW, B], "a write response without a write"),
    "b_without_address": ([W, B], "a write response without a write"),
    "b_twice": ([AW | W, B, B], "a write response without a write"),
    "r_asked": ([R], "read data without a read"),
    "r_twice": ([AR, R, R], "read data without a read"),
    "reset_silent": ([RESET, RESET, {**RESET, "wvalid": 1}], "something is valid in reset"),
}
"""AXI4-Lite, in the same way."""


class Pins:
    """The pins of one port of the bench; `prefix` "" is AXI4, "lite_" AXI4-Lite."""

    def __init__(self, dut: Any, prefix: str) -> None:
        self.dut = dut
        names = [each[:-2] for each in dir(dut) if each.endswith("_i")]
        self.ports = [name for name in names if name not in ("wake", "pins_written")]
        self.prefix = prefix
        self.simulator = Simulator()

    async def begin(self) -> None:
        """Idle pins, through a reset."""
        self.dut.rst_n.value = 0
        self.drive({})
        await ClockCycles(self.dut.clk, 2)
        await FallingEdge(self.dut.clk)
        self.simulator.clear()
        self.dut.rst_n.value = 1
        await ClockCycles(self.dut.clk, 1)

    def drive(self, cycle: Cycle) -> None:
        """Sets every pin for a cycle; those of the other port are idle."""
        for port in self.ports:
            name = port.removeprefix(LITE)
            mine = port.startswith(LITE) == bool(self.prefix)
            self.dut[f"{port}_i"].value = cycle.get(name, IDLE.get(name, 0)) if mine else IDLE.get(name, 0)

    async def play(self, cycles: list[Cycle]) -> int:
        """Drives cycles, two idle ones behind them; returns how many failures there were."""
        for cycle in [*cycles, {}, {}]:
            await FallingEdge(self.dut.clk)
            self.dut.rst_n.value = 0 if cycle.get("reset") else 1
            self.drive(cycle)
        await FallingEdge(self.dut.clk)
        return self.simulator.assertion_failures()[0]

    def text(self) -> str:
        """The message of the first failure: what stands in the source at the place that is told."""
        told = self.simulator.assertion_failures()[1]
        found = re.search(r"assertion at (\S+):(\d+)", told)
        if found is None:
            return told
        lines = (ROOT / found[1]).read_text(encoding="utf-8").splitlines()[int(found[2]) - 1 :]
        return next((line for line in lines if "$error" in line), told)


async def break_rules(pins: Pins, rules: dict[str, tuple[list[Cycle], str]], bus: str) -> None:
    """Each rule on its own, from reset. Errors: AssertionError if it was not told, or something else was."""
    for name, (cycles, text) in rules.items():
        await pins.begin()
        count = await pins.play(cycles)
        assert count >= 1, f"{bus}: {name} was not noticed"
        assert f"{bus}: {text}" in pins.text(), f"{bus}: {name} was told as {pins.text()}"
        # In reset it is told in each cycle.
        assert count == 1 or name == "reset_silent", f"{bus}: {name} was told {count} times"


@cocotb.test()
async def axi4_rules_noticed(dut: SimHandleBase) -> None:
    """
    Stimulus: each rule of AXI4 broken once, each from reset.
    Checking: exactly the one failure, in the words of the rule.
    Covers: AXI4-CHECKER
    """
    await break_rules(Pins(dut, ""), RULES, "AXI4")


@cocotb.test()
async def axi4_lite_rules_noticed(dut: SimHandleBase) -> None:
    """
    Stimulus: each rule of AXI4-Lite broken once, each from reset.
    Checking: exactly the one failure, in the words of the rule.
    Covers: AXI4-LITE-CHECKER
    """
    await break_rules(Pins(dut, LITE), LITE_RULES, "AXI4-Lite")


def _beat_strobe(address: int, size: int, beat: int) -> int:
    """All the bytes that a beat of an INCR burst may have."""
    first = address if beat == 0 else (address >> size << size) + (beat << size)
    low, high = first % BYTES, (first >> size << size) % BYTES + (1 << size)
    return (1 << high) - (1 << low)


@cocotb.test()
async def axi4_legal_traffic_passes(dut: SimHandleBase) -> None:
    """
    Stimulus: 300 legal writes and reads, INCR bursts of any length, size and start, data before and behind addresses,
    ids interleaved in the read data, ready at random.
    Checking: no failure.
    Covers: AXI4-CHECKER
    """
    pins = Pins(dut, "")
    rng = np.random.default_rng(5)
    await pins.begin()
    for _ in range(300):
        size, length = int(rng.integers(4)), int(rng.integers(8))
        address = int(rng.integers(0xF00))
        write = {**AW, "awaddr": address, "awsize": size, "awlen": length, "awid": int(rng.integers(4))}
        beats = [
            {**W, "wstrb": _beat_strobe(address, size, beat), "wlast": int(beat == length)}
            for beat in range(length + 1)
        ]
        place = int(rng.integers(length + 2))
        cycles = [*beats[:place], write, *beats[place:], {**B, "bid": write["awid"]}]
        cycles = [part for cycle in cycles for part in ([_untaken(cycle), cycle] if rng.integers(2) else [cycle])]
        ids = rng.permutation(4)[:2].tolist()
        reads = [{**AR, "arid": each, "arlen": length, "arsize": size, "araddr": address} for each in ids]
        order = rng.permutation([0] * (length + 1) + [1] * (length + 1)).tolist()
        sent = [0, 0]
        for each in order:
            reads.append({**R, "rid": ids[each], "rlast": int(sent[each] == length)})
            sent[each] += 1
        count = await pins.play([*cycles, *reads])
        assert count == 0, pins.text()


def _untaken(cycle: Cycle) -> Cycle:
    """The cycle before, in which the same is offered and not taken."""
    return {name: value for name, value in cycle.items() if not name.endswith("ready")}
