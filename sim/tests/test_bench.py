# SPDX-License-Identifier: Apache-2.0
"""`python -m sim bench device`: the table's text, what it says of a bus that is too slow, exit status, bad input."""

from __future__ import annotations

import io
import json
from pathlib import Path

import pytest
from click.testing import CliRunner
from rich.console import Console

from models.errors import UserError
from sim import bench as bench_module
from sim.bench import (
    COMMAND,
    CONFIGURATIONS,
    DOCUMENT,
    LATENCIES,
    BenchOptions,
    BenchResult,
    bench_command,
    ceiling_notes,
    cell_text,
    figures_table,
    record,
    run_bench,
    table_of,
)
from sim.document_table import END, begin_mark, table_parts
from tb.bench.bars import Judged, bars, judge
from tb.bench.figures import read_figures, recorded_figures
from tb.configurations import named_configuration

FIGURES = {"rate": 1.0, "latency": 2.0, "reads": 0.13, "cycles": 6.0}
"""What keeps every bar at L = 0."""


def judged(name: str, configuration: str = "default", latency: int = 0, **figures: float) -> Judged:
    """A row of the table with a figure."""
    row = next(row for row in bars() if row.name == name)
    return judge(row, named_configuration(configuration), latency, dict(figures))


@pytest.mark.parametrize(
    ("each", "text"),
    [
        (judged("cold walk", latency=10), "none MISSES ≤ 54"),
        (judged("hits", rate=1.0), "1 ≥ 1"),
        (judged("hits", rate=0.5), "0.500 MISSES ≥ 1"),
        (judged("hits", "tiny", rate=0.5), "0.500 (≥ 1)"),
        (judged("random 64 MiB", rate=0.95), "0.950 ≥ 0.900*"),
        (judged("random 64 MiB", latency=40, rate=0.1), "0.100 MISSES ≥ 0.300"),
        (judged("sequential", reads=0.128), "0.128 ≤ 0.130"),
    ],
)
def test_bench_cell_has_figure_and_bar(each: Judged, text: str) -> None:
    """
    Stimulus: figures that keep a bar, miss it, are not held to it, are not there; a bar that the bus makes lower.
    Checking: the cell says both numbers, and which it is.
    Covers: BENCH-TABLE
    """
    assert cell_text(each) == text


def test_bench_table_has_every_row_side_by_side() -> None:
    """
    Stimulus: all rows at two L.
    Checking: a line for each with its formula and a cell for each L; a note for each bar that the bus makes lower.
    Covers: BENCH-TABLE
    """
    every = [judge(row, named_configuration("default"), latency, FIGURES) for row in bars() for latency in (0, 40)]
    output = io.StringIO()
    Console(file=output, width=160).print(table_of("default", every, (0, 40)))
    lines = [line for line in output.getvalue().splitlines() if line.startswith("│")]
    assert len(lines) == len(bars())
    cold = next(line for line in lines if "cold walk" in line)
    assert "≤ 4 L + 14" in cold and "2 ≤ 14" in cold and "2 ≤ 174" in cold
    notes = ceiling_notes(every)
    assert len(notes) == 2 and "gives 1.800" in notes[0] and "0.900 counts" in notes[0]


def test_bench_passes_only_if_every_bar_is_kept() -> None:
    """
    Stimulus: results with all bars kept, with one missed, with one missed that does not apply, with a problem, empty.
    Checking: only the first and the third pass.
    Covers: BENCH-STATUS
    """
    good = [judge(row, named_configuration("default"), 0, FIGURES) for row in bars()]
    assert BenchResult(good).passed
    assert not BenchResult([*good, judged("hits", rate=0.99)]).passed
    assert BenchResult([*good, judged("hits", "tiny", rate=0.99)]).passed
    assert not BenchResult(good, ["default: the simulator was ended"]).passed
    assert not BenchResult().passed


@pytest.mark.parametrize(("rate", "status"), [(1.0, 0), (0.99, 1)])
def test_bench_exit_status_and_json(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, rate: float, status: int) -> None:
    """
    Stimulus: the command with a bar that is kept, and with one that is missed.
    Checking: status 0 and 1; the JSON has figure, bar and verdict.
    Covers: BENCH-STATUS
    """
    monkeypatch.setattr(bench_module, "run_bench", lambda options: BenchResult([judged("hits", rate=rate)]))
    path = tmp_path / "bench.json"
    arguments = ["device", "--configuration", "default", "--latency", "0", "--json", str(path)]
    done = CliRunner().invoke(bench_command, arguments)
    assert done.exit_code == status, done.output
    data = json.loads(path.read_text(encoding="utf-8"))
    (row,) = data["rows"]
    assert data["passed"] is (status == 0) is row["passed"]
    assert (row["row"], row["configuration"], row["latency"], row["figure"], row["bar"]) == (
        "hits",
        "default",
        0,
        rate,
        1,
    )


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (BenchOptions(rows=("speed",)), "no row speed; choose one of hits"),
        (BenchOptions(configurations=("huge",)), "no configuration huge; choose one of default, large, tiny, va57"),
    ],
)
def test_bench_errors_are_sentences(options: BenchOptions, words: str) -> None:
    """
    Stimulus: a row and a configuration that are not there.
    Checking: UserErrors with the known ones, before anything is built.
    Covers: CLI-ERRORS
    """
    with pytest.raises(UserError, match=words):
        run_bench(options)


@pytest.mark.simulation
def test_bench_measures_what_it_says(tmp_path: Path) -> None:
    """
    Stimulus: the rows of hits and of the cold walk, on the smallest device, at two L.
    Checking: nothing went wrong; each row has a figure at each L, and the walk takes four times as much longer as L.
    Covers: BENCH-DEVICE
    """
    options = BenchOptions(
        configurations=("tiny",), latencies=(3, 10), rows=("hits", "cold walk"), out=tmp_path / "bench"
    )
    result = run_bench(options)
    assert not result.problems
    figures = {(each.row, each.latency): each.figure for each in result.judged}
    assert set(figures) == {("hits", 3), ("hits", 10), ("cold walk", 3), ("cold walk", 10)}
    near, far = figures["cold walk", 3], figures["cold walk", 10]
    assert near is not None and far is not None
    assert far - near == 4 * 7


def test_bench_records_figures(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """
    Stimulus: measured rows, one without a figure, recorded into copies of the file and the document.
    Checking: the file has the figures by configuration, row and L; the document's table those of default, and the rest
        of the document stays.
    Covers: BENCH-FIGURES
    """
    monkeypatch.setattr(bench_module, "ROOT", tmp_path)
    monkeypatch.setattr(bench_module, "FIGURES_FILE", tmp_path / "figures.yaml")
    document = tmp_path / "document.md"
    document.write_text(f"before\n{begin_mark(COMMAND)}\n| old |\n{END}\nafter\n", encoding="utf-8")
    monkeypatch.setattr(bench_module, "DOCUMENT", document)
    every = [judged("hits", latency=latency, rate=1.0) for latency in LATENCIES]
    every += [judged("hits", "tiny", rate=0.25), judged("cold walk", "tiny")]
    record(every)
    assert read_figures(tmp_path / "figures.yaml") == {
        "default": {"hits": dict.fromkeys(LATENCIES, 1.0)},
        "tiny": {"hits": {0: 0.25}},
    }
    lines = document.read_text(encoding="utf-8").splitlines()
    assert lines[0] == "before" and lines[-1] == "after" and "| hits | 1 | 1 | 1 | 1 | 1 |" in lines


def test_bench_figures_of_the_documents_are_the_recorded_ones() -> None:
    """
    Stimulus: docs/performance.md and the recorded figures.
    Checking: the document's table is that of the file, which has every row at every L in every configuration.
    Covers: BENCH-FIGURES
    """
    recorded = recorded_figures()
    table = table_parts(DOCUMENT.read_text(encoding="utf-8"), COMMAND)[1].strip()
    assert table == figures_table(recorded)
    assert set(recorded) == set(CONFIGURATIONS)
    for rows in recorded.values():
        assert [*rows] == [row.name for row in bars()]
        assert all([*figures] == [*LATENCIES] for figures in rows.values())


def test_bench_records_all_or_nothing() -> None:
    """
    Stimulus: --write with a part of the bench.
    Checking: one sentence, nothing is built.
    Covers: CLI-ERRORS, BENCH-FIGURES
    """
    outcome = CliRunner().invoke(bench_command, ["device", "--write", "--row", "hits"])
    assert isinstance(outcome.exception, UserError) and "leave out all options" in str(outcome.exception)
