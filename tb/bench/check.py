# SPDX-License-Identifier: Apache-2.0
"""The figures of a bench case in its verdict: measured, and compared with bars and recorded figures if it asks so."""

from __future__ import annotations

from collections.abc import Sequence

from tb.bench.bars import Judged, Row, bars, judge
from tb.bench.figures import Recorded, recorded_figures, worse_than_recorded
from tb.bench.measure import Figures, NotMeasured, measure
from tb.case import Case, CaseResult
from tb.configurations import named_configuration
from tb.failure import Failure

SCENARIO = "bench"


def bench_figures(case: Case, result: CaseResult) -> tuple[Figures, list[Failure]]:
    """(figures, failures) of a case; nothing for one that is not of the bench.

    If the parameter `bars` is true, a bar that applies to the case's configuration and is not kept is a failure, and so
    are a figure that is worse than the recorded one, and what could not be measured.
    """
    if case.name != SCENARIO:
        return {}, []
    wanted = bool(case.parameters.get("bars", False))
    try:
        figures = measure(case, result)
    except NotMeasured as error:
        return {}, [Failure("BAR", f"{case.parameters['case']} was not measured: {error}")] if wanted else []
    if not wanted:
        return figures, []
    judged = judged_rows(case, figures, bars())
    return figures, [*bar_failures(judged), *figure_failures(judged, recorded_figures())]


def judged_rows(case: Case, figures: Figures, rows: tuple[Row, ...]) -> list[Judged]:
    """The rows that the case is about, with its figures."""
    latency = int(case.parameters["latency"])
    device = named_configuration(case.configuration)
    return [judge(row, device, latency, figures) for row in rows if row.case == case.parameters["case"]]


def bar_failures(judged: Sequence[Judged]) -> list[Failure]:
    """A failure for each row whose bar must be kept and is not."""
    return [
        Failure(
            "BAR",
            f"{each.what} {each.figure if each.figure is None else f'{each.figure:g}'} at L = {each.latency} in "
            f"{each.configuration}, the bar is {'at least' if '≥' in each.formula else 'at most'} {each.bar:g}",
        )
        for each in judged
        if not each.passed
    ]


def figure_failures(judged: Sequence[Judged], recorded: Recorded) -> list[Failure]:
    """A failure for each figure that is worse than the recorded one."""
    failures = []
    for each in judged:
        before = worse_than_recorded(each, recorded)
        if before is not None:
            failures.append(
                Failure(
                    "FIGURE",
                    f"{each.what} {each.figure:g} at L = {each.latency} in {each.configuration}, {before:g} was "
                    "measured before; if that is meant, run python -m sim bench device --write",
                )
            )
    return failures
