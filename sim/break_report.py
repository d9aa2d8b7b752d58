# SPDX-License-Identifier: Apache-2.0
"""`python -m sim break`: progress, table and verdict file around sim.breaker."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from pathlib import Path

from rich.table import Table

from sim.breaker import Verdict, break_lines, write_report
from sim.console import console, progress
from sim.paths import BUILD


def verdict_table(verdicts: Sequence[Verdict]) -> Table:
    """One row for each draw."""
    table = Table("draw", "line", "change", "result", "by", "s", title="Lines broken on purpose")
    for verdict in verdicts:
        colour = "red" if verdict.result == "survived" else "green"
        table.add_row(
            str(verdict.draw),
            f"{verdict.file}:{verdict.line}",
            f"{verdict.operator}\n- {verdict.before}\n+ {verdict.after}".replace("[", r"\["),
            f"[{colour}]{verdict.result}[/]",
            verdict.by.replace("[", r"\["),
            f"{verdict.seconds:.0f}",
        )
    return table


def run_breaker(
    *,
    seed: int,
    draws: int,
    paths: Sequence[str],
    jobs: int,
    timeout: float,
    json_file: Path | None,
    only: Sequence[int] = (),
) -> bool:
    """Breaks lines and tells; True if nothing survived. The file has every verdict as soon as it is known.

    Of a survivor the line is printed that makes the same change again; in another tree it may be another change.
    """
    target = json_file or BUILD / "break" / f"seed-{seed}.json"
    known: list[Verdict] = []
    with progress("breaking lines", len(only) or draws) as advance:

        def report(verdict: Verdict) -> None:
            known.append(verdict)
            write_report(target, seed, sorted(known, key=lambda each: each.draw))
            advance(1, f"{verdict.file}:{verdict.line} {verdict.result}")

        verdicts = break_lines(
            seed=seed,
            draws=draws,
            paths=paths,
            jobs=jobs,
            timeout=timeout,
            only=only,
            report=report,
            note=lambda text: console.print(text, markup=False),
        )
    console.print(verdict_table(verdicts))
    survivors = [verdict for verdict in verdicts if verdict.result == "survived"]
    console.print(f"{len(verdicts)} lines broken, {len(survivors)} survived; seed {seed}; {target}", markup=False)
    for verdict in survivors:
        console.print(f"survived: {verdict.file}:{verdict.line}: {verdict.after}", markup=False)
        again = ["python", "-m", "sim", "break", "--seed", str(seed), "--draw", str(verdict.draw)]
        console.print(
            f"rerun: {shlex.join(again + [word for path in paths for word in ('--paths', path)])}", markup=False
        )
    return not survivors
