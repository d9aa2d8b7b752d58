# SPDX-License-Identifier: Apache-2.0
"""The figures of a bench case in its verdict: measured, and compared with the bars if the case asks for that."""

from __future__ import annotations

from tb.bench.bars import Row, bars, judge
from tb.bench.measure import Figures, NotMeasured, measure
from tb.case import Case, CaseResult
from tb.configurations import named_configuration
from tb.failure import Failure

SCENARIO = "bench"


def bench_figures(case: Case, result: CaseResult) -> tuple[Figures, list[Failure]]:
    """(figures, failures) of a case; nothing for one that is not of the bench.

    A bar that applies to the case's configuration and is not kept is a failure, if the parameter `bars` is true; so is
    then what could not be measured.
    """
    if case.name != SCENARIO:
        return {}, []
    wanted = bool(case.parameters.get("bars", False))
    try:
        figures = measure(case, result)
    except NotMeasured as error:
        return {}, [Failure("BAR", f"{case.parameters['case']} was not measured: {error}")] if wanted else []
    return figures, bar_failures(case, figures, bars()) if wanted else []


def bar_failures(case: Case, figures: Figures, rows: tuple[Row, ...]) -> list[Failure]:
    """A failure for each row of the case whose bar must be kept and is not."""
    latency = int(case.parameters["latency"])
    device = named_configuration(case.configuration)
    judged = [judge(row, device, latency, figures) for row in rows if row.case == case.parameters["case"]]
    return [
        Failure(
            "BAR",
            f"{each.what} {each.figure if each.figure is None else f'{each.figure:g}'} at L = {latency} in "
            f"{each.configuration}, the bar is {'at least' if '≥' in each.formula else 'at most'} {each.bar:g}",
        )
        for each in judged
        if not each.passed
    ]
