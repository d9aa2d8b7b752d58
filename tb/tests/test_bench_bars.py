# SPDX-License-Identifier: Apache-2.0
"""The bars of the bench: what they say at an L, which figures keep them, and what makes a case fail."""

from __future__ import annotations

from pathlib import Path

import pytest

from models.errors import UserError
from tb.bench.bars import BARS_FILE, Row, bars, judge, read_bars
from tb.bench.cases import BENCH_CASES, build_bench_case
from tb.bench.check import bar_failures, figure_failures, judged_rows
from tb.bench.figures import read_figures
from tb.bench.measure import MEASURES
from tb.configurations import Configuration, named_configuration

DEVICE = Configuration("default", {"VaBits": 48, "Clients": 5, "FaultSlots": 64, "SharedSets": 64})
BARS_OF_THE_TABLE = {
    ("hits", 40): 1,
    ("hit latency", 40): 2,
    ("cold walk", 0): 14,
    ("cold walk", 200): 814,
    ("directory cached", 10): 19,
    ("sequential", 1): 0.13,
    ("random 64 MiB", 40): 0.9 * 16 / 48,
    ("random 64 MiB", 0): 0.9,
    ("random 1 GiB", 200): 0.9 * 16 / 412,
    ("random 1 GiB", 1): 0.45,
    ("hits while full", 0): 1,
    ("invalidate page", 40): 104,
    ("invalidate range", 40): 64 + 32 + 80,
    ("fault records", 200): 6,
    ("replay", 10): 64 + 40 + 40,
}


def row_named(name: str) -> Row:
    """A row of the project's table."""
    return next(row for row in bars() if row.name == name)


@pytest.mark.parametrize(("name", "latency"), list(BARS_OF_THE_TABLE))
def test_bar_is_that_of_the_table(name: str, latency: int) -> None:
    """
    Stimulus: each row of the table at some L; a figure at the bar, and one that is a thousandth worse.
    Checking: the bar is the table's; the first figure keeps it, the second does not, and does not pass.
    Covers: BENCH-BARS
    """
    row = row_named(name)
    bar = BARS_OF_THE_TABLE[name, latency]
    worse = bar * 1.001 if row.most is not None else bar * 0.999
    kept = judge(row, DEVICE, latency, {row.figure: bar})
    assert kept.bar == pytest.approx(bar) and kept.kept and kept.passed and kept.applies
    missed = judge(row, DEVICE, latency, {row.figure: worse})
    assert not missed.kept and not missed.passed


def test_bar_every_row_is_measured() -> None:
    """
    Stimulus: the rows of the table, the cases and what measures them.
    Checking: each row has a case that is built and measured, each case a row; all rows hold for the default device.
    Covers: BENCH-BARS
    """
    assert {row.case for row in bars()} == set(BENCH_CASES) == set(MEASURES)
    assert {name for name, _ in BARS_OF_THE_TABLE} == {row.name for row in bars()}
    assert all("default" in row.configurations for row in bars())


def test_bar_of_a_slow_bus_is_told() -> None:
    """
    Stimulus: a rate whose formula asks for more than one line a cycle gives, and one that does not.
    Checking: formula and ceiling are both told; the lesser, by the same share, counts.
    Covers: BENCH-BARS
    """
    low = judge(row_named("random 1 GiB"), DEVICE, 0, {"rate": 0.46})
    assert low.formula_bar == pytest.approx(1.2) and (low.ceiling, low.bar) == (0.5, 0.45) and low.kept
    high = judge(row_named("random 1 GiB"), DEVICE, 40, {"rate": 0.46})
    assert high.bar == high.formula_bar < 0.45


def test_bar_without_a_figure_is_not_kept() -> None:
    """
    Stimulus: a case that brought no figure, for a device that is held to the bar and for one that is not.
    Checking: the bar is not kept; only the first does not pass.
    Covers: BENCH-BARS
    """
    row = row_named("sequential")
    assert not judge(row, DEVICE, 0, {}).passed
    other = judge(row, named_configuration("tiny"), 0, {})
    assert not other.kept and not other.applies and other.passed


def test_bar_missed_fails_the_case() -> None:
    """
    Stimulus: a case of the bench with good and with bad figures.
    Checking: no failure; one that tells figure, L, configuration and bar.
    Covers: BENCH-JUDGED
    """
    case = build_bench_case(1, {"case": "cold_walk", "latency": 10})
    assert bar_failures(judged_rows(case, {"latency": 54}, bars())) == []
    (failure,) = bar_failures(judged_rows(case, {"latency": 55}, bars()))
    assert failure.invariant == "BAR"
    assert "55 at L = 10 in default, the bar is at most 54" in failure.text


def test_bench_figure_worse_than_recorded_fails_the_case() -> None:
    """
    Stimulus: figures at, better than, a little and much worse than the recorded ones, for a bar from above and one from
        below; a row of which nothing is recorded, and a figure that could not be measured.
    Checking: a failure for what is much worse only, which tells both figures and what to do.
    Covers: BENCH-FIGURES
    """
    recorded = {"default": {"fault records": {10: 2.4}, "hits": {10: 1.0}}}
    records, hits, walk = row_named("fault records"), row_named("hits"), row_named("cold walk")
    good = [judge(records, DEVICE, 10, {"cycles": cycles}) for cycles in (2.4, 2.0, 2.5)]
    good += [judge(hits, DEVICE, 10, {"rate": rate}) for rate in (1.0, 1.2, 0.96)]
    good += [judge(walk, DEVICE, 10, {"latency": 1000}), judge(records, DEVICE, 10, {})]
    assert figure_failures(good, recorded) == []
    slow = [judge(records, DEVICE, 10, {"cycles": 3.0}), judge(hits, DEVICE, 10, {"rate": 0.9})]
    first, second = figure_failures(slow, recorded)
    assert first.invariant == second.invariant == "FIGURE"
    assert "3 at L = 10 in default, 2.4 was measured before" in first.text and "--write" in first.text


@pytest.mark.parametrize(
    ("text", "words"),
    [("figures: {default: {hits: {0: fast}}}", "figures.default.hits.0"), ("figures: [", "cannot be read")],
)
def test_bench_figures_file_errors_are_sentences(tmp_path: Path, text: str, words: str) -> None:
    """
    Stimulus: files of figures with a mistake each; a file that is not there.
    Checking: UserErrors of one line that name the place.
    Covers: CLI-ERRORS
    """
    path = tmp_path / "figures.yaml"
    with pytest.raises(UserError, match="cannot be read"):
        read_figures(path)
    path.write_text(text, encoding="utf-8")
    with pytest.raises(UserError) as caught:
        read_figures(path)
    assert "\n" not in str(caught.value) and words in str(caught.value)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("rows: [{name: a, what: b, case: hits, figure: rate}]", ["rows.0", "one of most, least and rate"]),
        ("rows: [{name: a, what: b, case: hits, figure: rate, most: {constant: -1}}]", ["most.constant"]),
        ("rows: [{name: a, what: b, case: hits, figure: rate, most: {constant: 1, per_moon: 1}}]", ["per_moon"]),
        ("rows: [", ["cannot be read"]),
        (
            "rows: [{name: a, what: b, case: c, figure: d, most: {constant: 1}, configurations: [huge]}]",
            ["configuration huge"],
        ),
    ],
)
def test_bar_file_errors_are_sentences(tmp_path: Path, text: str, words: list[str]) -> None:
    """
    Stimulus: tables of bars with a mistake each; a file that is not there.
    Checking: UserErrors of one line that name the place.
    Covers: CLI-ERRORS
    """
    path = tmp_path / "bars.yaml"
    with pytest.raises(UserError):
        read_bars(path)
    path.write_text(text, encoding="utf-8")
    with pytest.raises(UserError) as caught:
        read_bars(path)
    assert "\n" not in str(caught.value)
    assert all(word in str(caught.value) for word in words), caught.value


def test_bar_file_names_twice(tmp_path: Path) -> None:
    """
    Stimulus: the project's table with a row twice.
    Checking: refused, with its name.
    Covers: CLI-ERRORS
    """
    path = tmp_path / "bars.yaml"
    path.write_text(BARS_FILE.read_text(encoding="utf-8").replace("name: hit latency", "name: hits"), encoding="utf-8")
    with pytest.raises(UserError, match="two rows hits"):
        read_bars(path)


@pytest.mark.parametrize(
    ("parameters", "words"),
    [
        ({"case": "sunshine"}, "no case sunshine; choose one of hits"),
        ({"latency": -1}, "from 0 to 1000 cycles, not -1"),
    ],
)
def test_bench_case_errors_are_sentences(parameters: dict[str, object], words: str) -> None:
    """
    Stimulus: a case and a latency that are not there.
    Checking: UserErrors that say what there is.
    Covers: CLI-ERRORS
    """
    with pytest.raises(UserError, match=words):
        build_bench_case(1, parameters)
