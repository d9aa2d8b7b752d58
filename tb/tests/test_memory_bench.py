# SPDX-License-Identifier: Apache-2.0
"""The testbench's memory in a simulator of its own, with the checker of its bus."""

from __future__ import annotations

from pathlib import Path

import pytest

from sim.build import Design, build
from sim.simulation import simulate

MEMORY = Design(
    name="memory",
    file_lists=("tb/units/memory.f",),
    source_folders=("tb/sv", "tb/cpp", "tb/units"),
    extra_flags=("--public-depth", "1"),
)


@pytest.mark.simulation
def test_memory_bench(tmp_path: Path, seed: int) -> None:
    """Stimulus, Checking, Covers: see the tests in tb/units/cocotb_memory_bench.py."""
    outcome = simulate(build("checked", None, MEMORY), "tb.units.cocotb_memory_bench", out=tmp_path, seed=seed)
    assert outcome.passed, outcome.failure
