# SPDX-License-Identifier: Apache-2.0
"""The table of the recorded programs: a column for each, what was asked, what it took, and what was wrong."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from rich.table import Table

from models.registers import Register
from sim.console import console

Verdict = dict[str, Any]


def _driver(name: str) -> Callable[[Verdict], int]:
    return lambda verdict: int(verdict["driver"][name])


def _pressure(name: str) -> Callable[[Verdict], int]:
    return lambda verdict: int(verdict["pressure"].get(name, 0))


def _counter(register: Register) -> Callable[[Verdict], int]:
    return lambda verdict: int(verdict["counters"][register.name])


def _top(name: str) -> Callable[[Verdict], int]:
    return lambda verdict: int(verdict[name])


def _reason(name: str) -> Callable[[Verdict], int]:
    return lambda verdict: int(verdict["fault_reasons"].get(name, 0))


def figures(verdicts: list[Verdict]) -> list[tuple[str, Callable[[Verdict], int]]]:
    """What the table shows: names and where each number is."""
    reasons = sorted({name for verdict in verdicts for name in verdict["fault_reasons"]})
    return [
        ("loads and stores", _top("accesses_raw")),
        ("accesses, merged", _top("accesses")),
        ("performed by the device", _top("pieces")),
        ("refused, as they must be", _top("refused_accesses")),
        ("system calls", _top("calls")),
        ("walks", _counter(Register.COUNTER_WALKS)),
        ("bus reads of walks", _counter(Register.COUNTER_WALK_READS)),
        ("fault records", _driver("records")),
        *((f"  {name}", _reason(name)) for name in reasons),
        ("batches", _driver("batches")),
        ("HMM calls", _driver("hmm_calls")),
        ("tried again", _driver("retries")),
        ("replays", _driver("replays")),
        ("cancels", _driver("cancels")),
        ("invalidations", _driver("invalidations")),
        ("INVALIDATE commands", _counter(Register.COUNTER_INVALIDATIONS)),
        ("fences", _counter(Register.COUNTER_FENCES)),
        ("walks dropped by them", _counter(Register.COUNTER_DROPPED_WALKS)),
        ("pages moved to the device", _pressure("moved_pages")),
        ("pages read back by the CPU", _pressure("reads")),
        ("forks", _pressure("forks")),
        ("cycles", _top("cycles")),
        ("mismatches", _top("mismatches")),
    ]


def print_programs(verdicts: list[Verdict]) -> None:
    """The table; with several programs a last column adds them up."""
    table = Table(title="Recorded programs, performed by the RTL", title_justify="left")
    table.add_column("")
    for verdict in verdicts:
        table.add_column(verdict["name"], justify="right")
    if len(verdicts) > 1:
        table.add_column("all", justify="right")
    for name, figure in figures(verdicts):
        numbers = [figure(verdict) for verdict in verdicts]
        if len(numbers) > 1:
            numbers.append(sum(numbers))
        table.add_row(name, *(str(number) for number in numbers))
    console.print(table)
    console.print("every load was compared, byte by byte, with the last stores or the page as it was mapped")
