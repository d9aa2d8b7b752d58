# SPDX-License-Identifier: Apache-2.0
"""What a person and CI get from a regression: lines, a table by group, the budget, and JUnit XML."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from junitparser import Error, Failure, JUnitXml, TestCase, TestSuite
from rich.table import Table

from sim.console import console
from sim.regression.file import Budget
from sim.regression.results import CaseResult, Verdict

FAILED_BUDGETS = 3
"""A run that takes this many times its budget has failed."""
SLOWEST = 5
_UNPRINTABLE = {code: " " for code in range(32) if chr(code) not in "\n\t"}


def failure_text(result: CaseResult, rerun: str) -> str:
    """One failed case: what was wrong, where its log is, and how to see it again."""
    lines = [f"{result.verdict.upper()}: {result.case.id}"]
    lines += [f"  {line}" for line in result.message.splitlines()]
    lines += [f"  log: {result.log}"] if result.log else []
    return "\n".join([*lines, f"  rerun: {rerun}"])


def allowed_seconds(budget: Budget, jobs: int) -> float:
    """Processor seconds that a run may take."""
    return budget.cpu_seconds * (jobs if budget.per == "core" else 1)


def budget_verdict(budget: Budget, jobs: int, cpu_seconds: float) -> tuple[bool, str]:
    """(within what is tolerated, a sentence): over the budget is told, far over it is a failure."""
    allowed = allowed_seconds(budget, jobs)
    words = f"{cpu_seconds:.1f} s of processor time, budget {allowed:.0f} s"
    if cpu_seconds > FAILED_BUDGETS * allowed:
        return False, f"{words}: FAILED, more than {FAILED_BUDGETS} times the budget"
    if cpu_seconds > allowed:
        return True, f"{words}: warning, over the budget"
    return True, words


def print_summary(results: Sequence[CaseResult], not_run: int) -> None:
    """Cases, failures and seconds by bench, build and configuration, and the slowest cases."""
    table = Table("bench", "build", "configuration", "cases", "failed", "cycles", "cpu s")
    kinds = sorted({(r.case.kind.bench, r.case.kind.build, r.case.kind.configuration) for r in results})
    for kind in kinds:
        own = [r for r in results if (r.case.kind.bench, r.case.kind.build, r.case.kind.configuration) == kind]
        failed = sum(not result.passed for result in own)
        figures = (len(own), failed, sum(r.cycles for r in own), f"{sum(r.seconds for r in own):.1f}")
        table.add_row(*kind, *(str(figure) for figure in figures))
    console.print(table)
    slowest = sorted(results, key=lambda result: -result.seconds)[:SLOWEST]
    told = ", ".join(f"{result.case.id} {result.seconds:.1f} s" for result in slowest)
    console.print(f"slowest: {told}", markup=False)
    if not_run:
        console.print(f"not run: {not_run} cases", markup=False)


def write_junit(path: Path, name: str, results: Sequence[CaseResult], rerun: Callable[[CaseResult], str]) -> None:
    """All results as JUnit XML, one suite; a crash or a hang is an error, a wrong result a failure."""
    suite = TestSuite(name)
    for result in results:
        case = TestCase(result.case.id, classname=f"{name}.{result.case.kind}", time=round(result.seconds, 3))
        if not result.passed:
            kind = Failure if result.verdict is Verdict.FAILED else Error
            lines = result.message.translate(_UNPRINTABLE).splitlines() or ["failed"]
            found = kind(lines[0], str(result.verdict))
            found.text = "\n".join([*lines, f"rerun: {rerun(result)}"])
            case.result = [found]
        suite.add_testcase(case)
    document = JUnitXml(name)
    document.add_testsuite(suite)
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_suffix(".partial")
    document.write(str(partial), pretty=True)
    partial.replace(path)
