# SPDX-License-Identifier: Apache-2.0
"""The directed tests of the closed loop in simulation: one simulator process for each module of cocotb tests."""

from __future__ import annotations

from pathlib import Path

import pytest

from sim.build import Flavour, build
from sim.paths import ROOT
from sim.simulation import simulate
from tb.tests.change_rows import ROWS

RUNS: list[tuple[str, Flavour, str | None]] = [
    ("cocotb_changes", "checked", None),
    ("cocotb_storm", "fast", "test_storm_long"),
    ("cocotb_storm", "checked", "test_storm_short"),
    ("cocotb_meetings", "checked", None),
    ("cocotb_leaving", "checked", None),
    ("cocotb_page_kinds", "checked", None),
    ("cocotb_planted", "checked", None),
    ("cocotb_hmm_tests", "checked", None),
]
"""Modules, the build that each runs in, and which of its tests (None: all)."""


def table_of_changes() -> list[tuple[str, ...]]:
    """The rows of the table in docs/interface.md, "Which change needs which command"."""
    text = (ROOT / "docs" / "interface.md").read_text(encoding="utf-8")
    section = text.split("### Which change needs which command\n")[1].split("\n## ")[0]
    lines = [line for line in section.splitlines() if line.startswith("|")]
    return [tuple(cell.strip() for cell in line.strip("|").split("|")) for line in lines[2:]]


def test_change_table_is_what_is_proved() -> None:
    """
    Stimulus: the table of the document, the rows that the simulation proves.
    Checking: the same rows in the same words and order; rows that need something have variants that need it, and all
    that is said to need nothing has variants without commands.
    Covers: CHANGE-TABLE
    """
    assert table_of_changes() == [(row.change, row.needs, row.without or "-") for row in ROWS]
    for row in ROWS:
        assert row.variants or row.settings, row.change
        assert all(bool(variant.commands) is (row.needs != "nothing") for variant in row.variants), row.change
        for variant in row.variants:
            names = [command.opcode.name for command in variant.commands]
            assert all(name in row.needs for name in names) or variant.frees, f"{row.needs}: {names}"


@pytest.mark.simulation
@pytest.mark.parametrize(("module", "flavour", "tests"), RUNS)
def test_directed_module_passes(module: str, flavour: Flavour, tests: str | None, tmp_path: Path, seed: int) -> None:
    """
    Stimulus: the cocotb tests of one module.
    Checking: all pass.
    Covers: CHANGE-TABLE, FAULT-STORM, FAULT-MEET-RECORD, FAULT-MEET-MERGE, FAULT-UNBIND, FAULT-DISABLE, PAGE-KINDS,
        PLANTED
    """
    outcome = simulate(build(flavour), f"tb.tests.{module}", out=tmp_path, seed=seed, testcase=tests)
    assert outcome.passed, outcome.failure
