# SPDX-License-Identifier: Apache-2.0
"""The bench of the bus multiplexers, a simulator of its own."""

from __future__ import annotations

from pathlib import Path

import pytest

from sim.benches import BENCHES
from sim.build import build
from sim.simulation import SimulationOutcome, simulate

pytestmark = pytest.mark.simulation

MUX = BENCHES["mux"]
RULES = {
    "breaks_ar_stable": "ArStable",
    "breaks_turn": "HeldStable",
    "breaks_ar_one": "ArOne",
    "breaks_r_known": "RKnown",
    "breaks_aw_stable": "AwStable",
    "breaks_w_stable": "WStable",
    "breaks_write_whole": "WriteWhole",
    "breaks_aw_room": "AwRoom",
    "breaks_b_known": "BKnown",
}


def run(test: str, out: Path, seed: int) -> SimulationOutcome:
    """One test of tb/units/cocotb_mux.py, with assertions."""
    return simulate(build("checked", None, MUX), "tb.units.cocotb_mux", out=out, seed=seed, testcase=test, top=MUX.top)


@pytest.mark.parametrize("test", ["mux_in_flight", "mux_full_rate", "mux_turns_from_reset"])
def test_unit_mux(test: str, tmp_path: Path, seed: int) -> None:
    """Stimulus, Checking, Covers: see the test of this name in tb/units/cocotb_mux.py."""
    outcome = run(test, tmp_path, seed)
    assert outcome.passed, outcome.failure


@pytest.mark.parametrize("test", RULES)
def test_unit_mux_rule(test: str, tmp_path: Path, seed: int) -> None:
    """
    Stimulus: one rule of the multiplexers' ports broken on purpose.
    Checking: the assertion of that rule ends the simulation, and no other one.
    Covers: BUS-RULES
    """
    outcome = run(test, tmp_path, seed)
    failed = [line for line in outcome.log.read_text(errors="replace").splitlines() if "Assertion failed" in line]
    assert not outcome.passed and failed, "nothing noticed"
    assert f".{RULES[test]}:" in failed[0], failed[0]
