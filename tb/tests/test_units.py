# SPDX-License-Identifier: Apache-2.0
"""Benches of single units of the RTL, each a simulator of its own."""

from __future__ import annotations

from pathlib import Path

import pytest

from sim.benches import BENCHES
from sim.build import build
from sim.simulation import simulate

pytestmark = pytest.mark.simulation

DECODER = BENCHES["decoder"]


@pytest.mark.parametrize(
    "test",
    ["decoder_worked_vectors", "decoder_recorded_words", "decoder_random_entries", "decoder_refused_formats"],
)
def test_unit_decoder(test: str, tmp_path: Path, seed: int) -> None:
    """Stimulus, Checking, Covers: see the test of this name in tb/units/cocotb_decoder.py."""
    executable = build("fast", None, DECODER)
    outcome = simulate(
        executable,
        "tb.units.cocotb_decoder",
        out=tmp_path,
        seed=seed,
        testcase=test,
        top=DECODER.top,
    )
    assert outcome.passed, outcome.failure
