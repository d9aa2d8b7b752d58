# SPDX-License-Identifier: Apache-2.0
"""`python -m sim hmm-tests`: the scenarios of the kernel's own test of HMM on the golden device and on the RTL.

See docs/host.md, "The kernel's own tests".
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from models.errors import UserError
from models.tests.hmm_tests import ABSENT, SCENARIOS
from models.tests.hmm_tests.golden import run_on_golden_device
from sim.build import Flavour, build
from sim.console import console
from sim.paths import BUILD
from sim.races import chosen_flavour
from sim.simulation import simulate

MODULE = "tb.tests.cocotb_hmm_tests"
OUT = BUILD / "hmm-tests"
OK, FAILED, NOT_RUN = "ok", "FAILED", "not run"


@dataclass(frozen=True)
class Row:
    """One test of the kernel: how it ended on both devices, and what failed or why it cannot be had."""

    name: str
    golden: str
    rtl: str
    note: str = ""


def chosen_names(pattern: str | None) -> list[str]:
    """The scenarios that are meant, by a part of their names. Errors: UserError if there is none."""
    names = [name for name in SCENARIOS if pattern is None or pattern in name]
    if not names:
        raise UserError(f"No test of the kernel has {pattern} in its name; choose of {', '.join(SCENARIOS)}.")
    return names


def golden_result(name: str) -> str:
    """What is wrong on the golden device; empty if nothing is."""
    try:
        run_on_golden_device(name)
    except Exception as error:  # Whatever a broken model raises is the result of this row.
        return f"{type(error).__name__}: {error}".splitlines()[0]
    return ""


def rtl_results(names: list[str], flavour: Flavour, out: Path) -> dict[str, str]:
    """By name what is wrong on the RTL, empty if nothing is. Errors: UserError if the simulator left no results."""
    chosen = "|".join(re.escape(name) for name in names)
    outcome = simulate(build(flavour), MODULE, out=out, testcase=rf"\.test_hmm/name=({chosen})$")
    found = {test.name.rpartition("=")[2]: test.message for test in outcome.tests}
    if not found:
        raise UserError(f"The simulator left no results: {outcome.failure}")
    return found


def run_rows(pattern: str | None = None, flavour: Flavour = "fast", out: Path = OUT) -> list[Row]:
    """All rows, in the order of the kernel's tests; those that cannot be had last. Errors: UserError."""
    names = chosen_names(pattern)
    rtl = rtl_results(names, flavour, out)
    rows = []
    for name in names:
        golden, message = golden_result(name), rtl.get(name, NOT_RUN)
        note = golden or message
        rows.append(
            Row(name, FAILED if golden else OK, FAILED if message else OK, note.splitlines()[0] if note else "")
        )
    absent = [Row(name, "-", "-", reason) for name, reason in ABSENT.items() if pattern is None]
    return rows + absent


def table(rows: list[Row]) -> list[str]:
    """The rows as lines of text, with a head."""
    width = max(len(row.name) for row in rows)
    head = f"{'test of the kernel':{width}}  {'golden':6}  {'RTL':6}"
    return [head, *(f"{row.name:{width}}  {row.golden:6}  {row.rtl:6}  {row.note}".rstrip() for row in rows)]


def run_hmm_tests(pattern: str | None, flavour: str) -> bool:
    """Runs and prints the table; True if nothing failed. Errors: UserError."""
    rows = run_rows(pattern, chosen_flavour(flavour))
    for line in table(rows):
        console.print(line, markup=False, highlight=False, soft_wrap=True)
    return all(FAILED not in (row.golden, row.rtl) for row in rows)
