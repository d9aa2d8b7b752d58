# SPDX-License-Identifier: Apache-2.0
"""The protocol checkers and the memory, each in a simulator of its own."""

from __future__ import annotations

from pathlib import Path

import pytest

from sim.build import Design, build
from sim.simulation import simulate

pytestmark = pytest.mark.simulation

FOLDERS = ("tb/sv", "tb/cpp", "tb/units")


def unit(name: str) -> Design:
    """A bench by the name of its file list."""
    return Design(
        name=name,
        file_lists=(f"tb/units/{name}.f",),
        source_folders=FOLDERS,
        extra_flags=("--public-depth", "1"),
    )


def test_checkers_bench(tmp_path: Path, seed: int) -> None:
    """Stimulus, Checking, Covers: see the tests in tb/units/cocotb_checkers.py."""
    outcome = simulate(build("checked", None, unit("checkers")), "tb.units.cocotb_checkers", out=tmp_path, seed=seed)
    assert outcome.passed, outcome.failure


def test_memory_cross_check(tmp_path: Path, seed: int) -> None:
    """Stimulus, Checking, Covers: see the tests in tb/units/cocotb_axi_ram.py."""
    outcome = simulate(build("checked", None, unit("axi_ram")), "tb.units.cocotb_axi_ram", out=tmp_path, seed=seed)
    assert outcome.passed, outcome.failure
