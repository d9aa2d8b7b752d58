# SPDX-License-Identifier: Apache-2.0
"""`python -m sim break --rtl`: progress, the table by unit, survivors, and the file of verdicts."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from rich.table import Table

from models.errors import UserError
from models.files import write_atomically
from sim.console import console, progress
from sim.mutants.find import Mutant
from sim.mutants.refused import LINT, lint_refuses
from sim.mutants.run import OUT, MutantVerdict, MutationRun, draw_mutants, source_texts, stages_of
from sim.paths import ROOT

LONGEST_SHOWN = 160


def unit_table(verdicts: Sequence[MutantVerdict]) -> Table:
    """Changes, killed ones, those of them that only lint refuses, and survivors of each file."""
    table = Table("unit", "changes", "killed", "by lint", "survived", "cpu s", title="Changes of the RTL by unit")
    for unit in sorted({verdict.mutant.file for verdict in verdicts}):
        own = [verdict for verdict in verdicts if verdict.mutant.file == unit]
        killed = sum(verdict.result == "killed" for verdict in own)
        linted = sum(verdict.by == LINT for verdict in own)
        seconds = sum(verdict.cpu_seconds for verdict in own)
        table.add_row(unit, str(len(own)), str(killed), str(linted), str(len(own) - killed), f"{seconds:.0f}")
    return table


def one_line(text: str) -> str:
    """Source text for a message."""
    flat = " ".join(text.split())
    return flat if len(flat) <= LONGEST_SHOWN else f"{flat[:LONGEST_SHOWN]}..."


def survivor_line(verdict: MutantVerdict) -> str:
    """Where a change is that nothing noticed, and what it is."""
    mutant = verdict.mutant
    return (
        f"survived: {mutant.file}:{mutant.line}: {mutant.operator}: {one_line(mutant.before)}"
        f"  ->  {one_line(mutant.after)}  (number {verdict.number})"
    )


def result_data(seed: int, regression: str, run: MutationRun, key: str = "") -> dict[str, Any]:
    """What the JSON file holds."""
    verdicts = list(run.verdicts.values())
    return {
        "seed": seed,
        "draws": len(verdicts),
        "regression": regression,
        "key": key,
        "survived": sum(verdict.result == "survived" for verdict in verdicts),
        "build_cpu_seconds": round(run.build_seconds, 1),
        "run_cpu_seconds": round(run.run_seconds, 1),
        "verdicts": [asdict(verdict) for verdict in verdicts],
    }


def run_key(texts: Mapping[str, str], mutants: Sequence[Mutant], regression: str) -> str:
    """What must be the same for a run to go on with what another one found: sources, changes, regression."""
    content = json.dumps([sorted(texts.items()), [asdict(mutant) for mutant in mutants], regression])
    return hashlib.sha256(content.encode()).hexdigest()


def take_over(run: MutationRun, target: Path, key: str) -> int:
    """Takes over what an earlier run with the same key killed; returns how many that are. Survivors are tried anew."""
    try:
        data = json.loads(target.read_text(encoding="utf-8"))
        if data["key"] != key:
            return 0
        killed = {each["number"]: each for each in data["verdicts"] if each["result"] == "killed"}
    except (OSError, ValueError, KeyError, TypeError):
        return 0
    for number, verdict in run.verdicts.items():
        if number in killed:
            verdict.result, verdict.by, verdict.how = "killed", killed[number]["by"], killed[number]["how"]
            verdict.cpu_seconds, verdict.stages = killed[number]["cpu_seconds"], killed[number]["stages"]
    return sum(number in killed for number in run.verdicts)


def run_mutants(
    *,
    seed: int,
    draws: int,
    jobs: int,
    regression: str,
    json_file: Path | None,
    paths: Sequence[str] = ("rtl",),
    only: Sequence[int] = (),
    again: bool = False,
) -> bool:
    """Changes the RTL and tells; True if nothing survived.

    `paths`: files or folders that are changed. `only`: numbers of the draws that are tried, all if empty.
    `again`: also those that an earlier run of the same sources killed.

    Errors: UserError if the unchanged design fails, or a number was not drawn.
    """
    texts = source_texts()
    packages = [path.read_text(encoding="utf-8") for path in sorted((ROOT / "rtl").rglob("*_pkg.sv"))]
    stages = stages_of(regression)
    wanted = tuple(path.rstrip("/") for path in paths)
    changed = {file: text for file, text in texts.items() if any(f"{file}/".startswith(f"{path}/") for path in wanted)}
    mutants = draw_mutants(changed, packages, seed, draws)
    unknown = [number for number in only if not 1 <= number <= draws]
    if unknown:
        raise UserError(f"Give numbers from 1 to {draws}; {unknown[0]} is not drawn.")
    target = json_file or OUT / f"seed-{seed}{'-only' if only else ''}.json"
    target.parent.mkdir(parents=True, exist_ok=True)
    run = MutationRun(
        mutants,
        texts,
        jobs=jobs,
        only=only,
        refuses=lint_refuses(OUT / "lint", texts),
        note=lambda text: console.print(text, markup=False),
    )
    key = run_key(texts, mutants, regression)
    known = 0 if again else take_over(run, target, key)
    if known:
        console.print(f"{known} changes were killed before, {target}; --again tries them, too", markup=False)

    def keep() -> None:
        """What is known by now stays, also if this process is killed."""
        data = json.dumps(result_data(seed, regression, run, key), indent=1) + "\n"
        write_atomically(target, data.encode())

    with progress("changes", len(run.alive)) as advance:

        def report(verdict: MutantVerdict) -> None:
            advance(1, f"{verdict.mutant.file}:{verdict.mutant.line} {verdict.result} {verdict.by}")
            keep()

        run.run(stages, report)
    keep()
    console.print(unit_table(list(run.verdicts.values())))
    for verdict in run.alive:
        console.print(survivor_line(verdict), markup=False)
    console.print(
        f"{len(run.verdicts)} changes, {len(run.alive)} survived; seed {seed}; {run.build_seconds:.0f} s of processor"
        f" time for builds, {run.run_seconds:.0f} s for runs; {target}",
        markup=False,
    )
    return not run.alive
