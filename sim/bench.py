# SPDX-License-Identifier: Apache-2.0
"""`python -m sim bench device`: every row of the table of bars in every configuration. See docs/performance.md."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import click
from rich.table import Table

from models.errors import UserError
from models.files import write_atomically
from sim.build import FLAVOURS, Flavour, build
from sim.console import console, progress
from sim.document_table import markdown_table, with_table
from sim.paths import BUILD, ROOT
from sim.simulation import read_summaries, simulate, write_spec
from tb.bench.bars import Judged, Row, bars, judge
from tb.bench.figures import FIGURES_FILE, Recorded, figures_text, read_figures
from tb.configurations import named_configuration

CONFIGURATIONS = ("tiny", "default", "large")
LATENCIES = (0, 1, 10, 40, 200)
LARGEST_LATENCY = 1000
DOCUMENT = ROOT / "docs" / "performance.md"
COMMAND = "python -m sim bench device"
TIMEOUT = 3600.0
"""Seconds of one simulator process."""
EXIT_FAILED = 1


@dataclass(frozen=True)
class BenchOptions:
    """What a person asked for. `rows`: only these rows of the table, all if empty."""

    configurations: tuple[str, ...] = CONFIGURATIONS
    latencies: tuple[int, ...] = LATENCIES
    rows: tuple[str, ...] = ()
    seed: int = 1
    flavour: Flavour = "fast"
    out: Path = BUILD / "bench"

    def chosen_rows(self) -> tuple[Row, ...]:
        """The rows that are meant. Errors: UserError for one that is not there."""
        names = [row.name for row in bars()]
        for name in self.rows:
            if name not in names:
                raise UserError(f"The bench has no row {name}; choose one of {', '.join(names)}.")
        return tuple(row for row in bars() if not self.rows or row.name in self.rows)


@dataclass
class BenchResult:
    """All judged figures, and what went wrong so that there is none: a sentence each."""

    judged: list[Judged] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)

    @property
    def passed(self) -> bool:
        """Everything was measured and every bar that applies is kept."""
        return bool(self.judged) and not self.problems and all(each.passed for each in self.judged)

    def as_data(self, options: BenchOptions) -> dict[str, Any]:
        """For JSON."""
        return {
            "passed": self.passed,
            "seed": options.seed,
            "build": options.flavour,
            "rows": [{**each.model_dump(), "passed": each.passed} for each in self.judged],
            "problems": self.problems,
        }


def run_bench(options: BenchOptions) -> BenchResult:
    """Builds and measures. Errors: UserError for an unknown row or configuration, or if nothing builds."""
    rows = options.chosen_rows()
    names = list(dict.fromkeys(row.case for row in rows))
    devices = [named_configuration(name) for name in options.configurations]
    result = BenchResult()
    with progress("bench", len(devices) * len(names) * len(options.latencies)) as advance:
        for device in devices:
            executable = build(options.flavour, device.name)
            points = [(name, latency) for latency in options.latencies for name in names]
            entries = [
                {
                    "builder": "bench",
                    "parameters": {"configuration": device.name, "case": name, "latency": latency},
                    "seed": options.seed,
                }
                for name, latency in points
            ]
            out = options.out / device.name
            spec = write_spec(out / "spec.json", entries, "batch", out)
            outcome = simulate(
                executable,
                "tb.run_cases",
                out=out,
                spec=spec,
                seed=options.seed,
                timeout=TIMEOUT,
                progress=lambda told, name=device.name: advance(1, name),  # type: ignore[misc]
            )
            verdicts = read_summaries(out)
            if len(verdicts) != len(points):
                result.problems.append(f"{device.name}: {outcome.failure.splitlines()[0]}")
            figures: dict[tuple[str, int], dict[str, float]] = {}
            for point, verdict in zip(points, verdicts, strict=False):
                figures[point] = verdict.get("figures", {})
                if not verdict["passed"]:
                    line = verdict["lines"][0]
                    result.problems.append(f"{device.name}, {point[0]} at L = {point[1]}: {line}")
            for row in rows:
                for latency in options.latencies:
                    result.judged.append(judge(row, device, latency, figures.get((row.case, latency), {})))
    return result


def number(value: float) -> str:
    """As short as it can be without loss of what matters: whole cycles as such, other numbers with three digits."""
    return f"{value:.0f}" if value == int(value) else f"{value:.3f}"


def cell_text(judged: Judged) -> str:
    """A figure and its bar side by side: kept, missed, or (in brackets) not held to it."""
    sign = judged.formula[0]
    bar = f"{sign} {number(judged.bar)}"
    if judged.ceiling is not None and judged.bar < judged.formula_bar:
        bar += "*"
    figure = "none" if judged.figure is None else number(judged.figure)
    if not judged.applies:
        return f"{figure} ({bar})"
    return f"{figure} {bar}" if judged.kept else f"{figure} MISSES {bar}"


def table_of(configuration: str, judged: Sequence[Judged], latencies: Sequence[int]) -> Table:
    """The rows of one configuration, a column for each L."""
    table = Table(title=f"{configuration}: figure and bar", title_justify="left")
    table.add_column("what")
    table.add_column("bar")
    for latency in latencies:
        table.add_column(f"L = {latency}", justify="right")
    own = [each for each in judged if each.configuration == configuration]
    for row in dict.fromkeys(each.row for each in own):
        cells = {each.latency: each for each in own if each.row == row}
        texts = []
        for latency in latencies:
            each = cells[latency]
            style = "" if not each.applies else "green" if each.kept else "bold red"
            texts.append(f"[{style}]{cell_text(each)}[/{style}]" if style else cell_text(each))
        table.add_row(row, next(iter(cells.values())).formula, *texts)
    return table


def ceiling_notes(judged: Sequence[Judged]) -> list[str]:
    """A sentence for each bar that the bus makes lower than its formula."""
    lower = [each for each in judged if each.ceiling is not None and each.bar < each.formula_bar]
    texts = [
        f"* {each.row}, L = {each.latency}: the formula gives {number(each.formula_bar)} a cycle; the bus carries one "
        f"line a cycle, which allows {number(each.ceiling or 0)}; {number(each.bar)} counts."
        for each in lower
    ]
    return list(dict.fromkeys(texts))


def tell(result: BenchResult, options: BenchOptions) -> None:
    """Prints the tables and what is wrong."""
    for name in options.configurations:
        console.print(table_of(name, result.judged, options.latencies))
    for text in (*ceiling_notes(result.judged), *result.problems):
        console.print(text, markup=False)
    missed = [each for each in result.judged if not each.passed]
    held = sum(each.applies for each in result.judged)
    console.print(f"{held - len(missed)} of {held} bars kept", markup=False)


def figures_table(recorded: Recorded) -> str:
    """The recorded figures of `default` for the documents."""
    rows = recorded["default"]
    head = ["row", *(f"L = {latency}" for latency in LATENCIES)]
    return markdown_table([head, *([name, *(number(own[each]) for each in LATENCIES)] for name, own in rows.items())])


def record(judged: Sequence[Judged]) -> None:
    """Writes what was measured: the file that the regressions read, and the documents' table. Errors: UserError."""
    write_atomically(FIGURES_FILE, figures_text(judged).encode())
    text = with_table(DOCUMENT.read_text(encoding="utf-8"), COMMAND, figures_table(read_figures(FIGURES_FILE)))
    write_atomically(DOCUMENT, text.encode())
    for path in (FIGURES_FILE, DOCUMENT):
        console.print(f"written: {path.relative_to(ROOT)}", markup=False)


def chosen_flavour(text: str) -> Flavour:
    """The build. Errors: UserError if there is no such."""
    for flavour in FLAVOURS:
        if flavour == text:
            return flavour
    raise UserError(f"There is no build {text}; choose one of {', '.join(FLAVOURS)}.")


class BenchGroup(click.Group):
    """What can be measured; an unknown name is bad input."""

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """The command. Errors: UserError listing the known ones."""
        if args and self.get_command(ctx, args[0]) is None and not args[0].startswith("-"):
            raise UserError(f"There is no bench {args[0]}; choose one of {', '.join(self.list_commands(ctx))}.")
        return super().resolve_command(ctx, args)


@click.group("bench", cls=BenchGroup)
def bench_command() -> None:
    """Measure, and compare with the bars that are set."""


@bench_command.command("device")
@click.option(
    "--configuration",
    "names",
    multiple=True,
    default=CONFIGURATIONS,
    show_default=True,
    help="Which device; may be repeated.",
)
@click.option(
    "--latency",
    "latencies",
    type=click.IntRange(0, LARGEST_LATENCY),
    multiple=True,
    default=LATENCIES,
    show_default=True,
    help="Cycles L of memory; may be repeated.",
)
@click.option("--row", "rows", multiple=True, help="Only this row of the table; may be repeated.")
@click.option("--seed", type=click.IntRange(0), default=1, show_default=True, help="Seed of the pages that are drawn.")
@click.option("--build", "flavour", default="fast", show_default=True, help="fast or checked; the cycles are the same.")
@click.option(
    "--json", "json_file", type=click.Path(path_type=Path), default=None, help="Also write the figures there."
)
@click.option("--write", is_flag=True, help="Record the figures: the regressions hold the device to them.")
def bench_device(
    names: tuple[str, ...],
    latencies: tuple[int, ...],
    rows: tuple[str, ...],
    seed: int,
    flavour: str,
    json_file: Path | None,
    write: bool,
) -> None:
    """Measure the device in clock cycles; exit 1 if a bar that applies is not kept."""
    options = BenchOptions(
        configurations=tuple(dict.fromkeys(names)),
        latencies=tuple(dict.fromkeys(latencies)),
        rows=rows,
        seed=seed,
        flavour=chosen_flavour(flavour),
    )
    if write and options != BenchOptions(flavour=options.flavour):
        raise UserError("Figures are recorded of everything at once: leave out all options but --build and --json.")
    result = run_bench(options)
    tell(result, options)
    if json_file is not None:
        try:
            json_file.write_text(json.dumps(result.as_data(options), indent=1) + "\n", encoding="utf-8")
        except OSError as error:
            raise UserError(f"{json_file} cannot be written ({error.strerror}); choose another file.") from None
    if not result.passed:
        sys.exit(EXIT_FAILED)
    if write:
        record(result.judged)
