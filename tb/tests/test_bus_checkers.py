# SPDX-License-Identifier: Apache-2.0
"""The protocol checkers and the memory, each in a simulator of its own."""

from __future__ import annotations

from pathlib import Path

import pytest

from sim.benches import BENCHES
from sim.build import build
from sim.simulation import simulate

pytestmark = pytest.mark.simulation


def test_checkers_bench(tmp_path: Path, seed: int) -> None:
    """Stimulus, Checking, Covers: see the tests in tb/units/cocotb_checkers.py."""
    outcome = simulate(build("checked", None, BENCHES["checkers"]), "tb.units.cocotb_checkers", out=tmp_path, seed=seed)
    assert outcome.passed, outcome.failure


def test_memory_cross_check(tmp_path: Path, seed: int) -> None:
    """Stimulus, Checking, Covers: see the tests in tb/units/cocotb_axi_ram.py."""
    outcome = simulate(build("checked", None, BENCHES["axi_ram"]), "tb.units.cocotb_axi_ram", out=tmp_path, seed=seed)
    assert outcome.passed, outcome.failure
