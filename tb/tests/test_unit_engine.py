# SPDX-License-Identifier: Apache-2.0
"""The bench of the access engine alone, a simulator of its own."""

from __future__ import annotations

from pathlib import Path

import pytest

from sim.benches import BENCHES
from sim.build import build
from sim.simulation import simulate

TESTS = {
    "cocotb_engine": ("engine_random", "engine_halts", "engine_interrupted"),
    "cocotb_engine_together": ("engine_adds", "engine_overlap", "engine_pace"),
}
"""By their module in tb/units."""


def broken_promise(log: Path) -> str:
    """The first failed assertion of a log; empty if there is none. cocotb only sees that the simulator is gone."""
    lines = log.read_text(encoding="utf-8", errors="replace").splitlines()
    return next((line for line in lines if "Assertion failed" in line), "")


@pytest.mark.simulation
@pytest.mark.slow
@pytest.mark.parametrize("bench", ["engine", "engine_single"])
@pytest.mark.parametrize(("module", "test"), [(module, test) for module, tests in TESTS.items() for test in tests])
def test_unit_engine(module: str, test: str, bench: str, tmp_path: Path, seed: int) -> None:
    """Stimulus, Checking, Covers: see the test of this name in its module of tb/units.

    With four descriptors in flight and with one. The build has assertions: what the engine promises as a client is
    checked by them.
    """
    design = BENCHES[bench]
    executable = build("checked", None, design)
    outcome = simulate(
        executable,
        f"tb.units.{module}",
        out=tmp_path,
        seed=seed,
        testcase=test,
        top=design.top,
    )
    assert outcome.passed, broken_promise(outcome.log) or outcome.failure
