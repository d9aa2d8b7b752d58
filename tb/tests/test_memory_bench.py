# SPDX-License-Identifier: Apache-2.0
"""The testbench's memory in a simulator of its own, with the checker of its bus."""

from __future__ import annotations

from pathlib import Path

import pytest

from sim.benches import BENCHES
from sim.build import build
from sim.simulation import simulate

MEMORY = BENCHES["memory"]


@pytest.mark.simulation
def test_memory_bench(tmp_path: Path, seed: int) -> None:
    """Stimulus, Checking, Covers: see the tests in tb/units/cocotb_memory_bench.py."""
    executable = build("checked", None, MEMORY)
    outcome = simulate(executable, "tb.units.cocotb_memory_bench", out=tmp_path, seed=seed, top=MEMORY.top)
    assert outcome.passed, outcome.failure
