# SPDX-License-Identifier: Apache-2.0
"""What tests of the engine's unit bench share: worlds and timings that are drawn, and what is compared at the end."""

from __future__ import annotations

import os
from typing import Any

import numpy as np

from models.arrays import LINE_BYTES
from tb.units.engine_bench import Bench
from tb.units.engine_rings import Timing
from tb.units.engine_world import Lines, World


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
