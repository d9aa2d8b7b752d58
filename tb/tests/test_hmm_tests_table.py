# SPDX-License-Identifier: Apache-2.0
"""The table of the kernel's tests: what it says of rows that pass, that fail, and that cannot be had."""

from __future__ import annotations

from pathlib import Path

import pytest

from models.errors import UserError
from models.tests.hmm_tests import ABSENT, DRIVERS, SCENARIOS
from models.tests.planted_drivers import GrantsWriting
from sim.hmm_tests import FAILED, OK, Row, chosen_names, golden_result, run_rows, table


def test_hmm_tests_table_names() -> None:
    """
    Stimulus: no name, a part of names, a name that no test has.
    Checking: all, those that have it, a sentence.
    Covers: HMM-TESTS
    """
    assert chosen_names(None) == list(SCENARIOS)
    assert chosen_names("exclusive") == ["exclusive", "exclusive_mprotect", "exclusive_cow"]
    with pytest.raises(UserError, match="no_such"):
        chosen_names("no_such")


def test_hmm_tests_table_failed_row(monkeypatch: pytest.MonkeyPatch) -> None:
    """
    Stimulus: a scenario whose driver has a mistake; lines of rows of every kind.
    Checking: the result says what is wrong; a line has name, both results and the note.
    Covers: HMM-TESTS
    """
    monkeypatch.setitem(DRIVERS, "anon_write_prot", GrantsWriting)
    assert golden_result("anon_write_prot").startswith("AssertionError")
    assert not golden_result("anon_read")
    lines = table([Row("one", OK, FAILED, "why"), Row("longer", OK, OK), Row("absent", "-", "-", "reason")])
    assert [line.split() for line in lines[1:]] == [
        ["one", OK, FAILED, "why"],
        ["longer", OK, OK],
        ["absent", "-", "-", "reason"],
    ]


@pytest.mark.simulation
def test_hmm_tests_table_on_both_devices(tmp_path: Path) -> None:
    """
    Stimulus: the whole table.
    Checking: every scenario ran on both devices and passed; those that cannot be had stand behind them.
    Covers: HMM-TESTS
    """
    rows = run_rows(out=tmp_path)
    assert [row.name for row in rows] == [*SCENARIOS, *ABSENT]
    assert {(row.golden, row.rtl) for row in rows[: len(SCENARIOS)]} == {(OK, OK)}
