# SPDX-License-Identifier: Apache-2.0
"""The rows of the main job's table: one for each recording and format, added up from its cases."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from rich.console import Console
from rich.table import Table

from models.registers import Register
from models.structures import Reason
from sim.console import console

OK = "OK"
TABLE_WIDTH = 110
"""Columns that the tables need."""


@dataclass
class Row:
    """One recording in one format: what there is to do, and what was done.

    `arrays`, `entries`: all of the recording; `arrays_to_link`, `entries_to_link`: those that a driver may use.
    `linked_arrays` ... `mismatches`: added up from the cases; `sampled`: entries that were asked for.
    """

    number: int
    recording: str
    kernel: str
    format_name: str
    own: bool
    arrays: int
    entries: int
    arrays_to_link: int
    entries_to_link: int
    cases: int
    done_cases: int = 0
    passed_cases: int = 0
    linked_arrays: int = 0
    linked_entries: int = 0
    sampled: int = 0
    requests: int = 0
    checked: int = 0
    walks: int = 0
    reads: int = 0
    cycles: int = 0
    mismatches: int = 0
    failures: int = 0
    reasons: Counter[str] = field(default_factory=Counter)

    def add(self, summary: dict[str, Any]) -> None:
        """Adds the verdict on one case. A case that could not be run has no figures."""
        parameters, counters = summary.get("parameters", {}), summary.get("counters", {})
        self.done_cases += 1
        self.passed_cases += int(summary["passed"])
        self.linked_arrays += parameters.get("arrays", 0)
        self.linked_entries += parameters.get("entries", 0)
        self.sampled += parameters.get("sampled", 0)
        self.requests += summary.get("requests", 0)
        self.checked += summary.get("checked", 0)
        self.walks += counters.get(Register.COUNTER_WALKS.name, 0)
        self.reads += counters.get(Register.COUNTER_WALK_READS.name, 0)
        self.cycles += summary.get("cycles", 0)
        self.mismatches += summary.get("mismatches", 0)
        self.failures += summary.get("failures", 0)
        self.reasons.update(summary.get("reasons", {}))

    def problems(self) -> list[str]:
        """What is missing or wrong, in words."""
        found = []
        pairs = {
            "cases run": (self.done_cases, self.cases),
            "cases passed": (self.passed_cases, self.cases),
            "arrays linked": (self.linked_arrays, self.arrays_to_link),
            "entries linked": (self.linked_entries, self.entries_to_link),
            "answers checked": (self.checked, self.requests),
            "answers by reason": (sum(self.reasons.values()), self.requests),
        }
        for what, (came, expected) in pairs.items():
            if came != expected:
                found.append(f"{what}: {came} of {expected}")
        if self.failures:
            found.append(f"{self.failures} failures, {self.mismatches} of them wrong answers")
        if not self.requests:
            found.append("nothing was asked")
        return found

    def as_data(self) -> dict[str, Any]:
        """For JSON."""
        return {**vars(self), "reasons": dict(self.reasons), "problems": self.problems()}


def print_report(rows: list[Row], rules: list[str]) -> None:
    """The table, in two halves that fit a terminal, and what was sampled by which rule."""
    work = Table(title="Arrays of the real kernel, walked by the RTL", title_justify="left")
    for heading in ("format", "arrays\nlinked/all", "entries\nlinked/all", "entries\nasked", "answers\nchecked"):
        work.add_column(heading, justify="left" if heading == "format" else "right")
    for heading in ("walks", "bus\nreads", "cycles", "wrong"):
        work.add_column(heading, justify="right")
    names = [OK, *(reason.name for reason in Reason if reason != Reason.NONE)]
    names = [name for name in names if any(row.reasons[name] for row in rows)]
    reasons = Table(title="Answers by reason", title_justify="left")
    reasons.add_column("format")
    for name in names:
        reasons.add_column(name.replace("_", "\n"), justify="right")
    previous = ""
    for row in rows:
        if row.kernel != previous:
            work.add_section()
            reasons.add_section()
            work.add_row(f"Linux {row.kernel}")
            reasons.add_row(f"Linux {row.kernel}")
            previous = row.kernel
        label = f"  {row.format_name}{' *' if row.own else ''}"
        work.add_row(
            label,
            f"{row.linked_arrays}/{row.arrays}",
            f"{row.linked_entries}/{row.entries}",
            str(row.sampled),
            str(row.checked),
            str(row.walks),
            str(row.reads),
            str(row.cycles),
            str(row.mismatches),
        )
        reasons.add_row(label, *(str(row.reasons[name]) for name in names))
    work.add_section()
    work.add_row(
        "all",
        "",
        "",
        str(sum(row.sampled for row in rows)),
        str(sum(row.checked for row in rows)),
        str(sum(row.walks for row in rows)),
        str(sum(row.reads for row in rows)),
        str(sum(row.cycles for row in rows)),
        str(sum(row.mismatches for row in rows)),
    )
    wide = Console(width=max(console.width, TABLE_WIDTH), file=console.file, highlight=False)
    for table in (work, reasons):
        wide.print(table)
    console.print("* the kernel's own format, words as they are; every other row: the same pages in that format")
    console.print("arrays of calls that failed or lost their sequence are never linked")
    for rule in rules:
        console.print(f"asked: {rule}; each READ and WRITE, some ATOMIC and PREFETCH, and a page beside each end")
