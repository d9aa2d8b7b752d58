# SPDX-License-Identifier: Apache-2.0
"""`python -m sim break --planted`: chosen defects of the device, run against a regression, and what came of each."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from rich.table import Table

from models.files import write_atomically
from sim.console import console, progress
from sim.mutants.planted import Defect, chosen_numbers, is_case_of, load_defects, plant_all
from sim.mutants.report import one_line
from sim.mutants.run import MutantVerdict, MutationRun, source_texts, stages_of
from sim.paths import BUILD

OUT = BUILD / "break" / "planted"
LONGEST_HOW = 100


def judge(defect: Defect, verdict: MutantVerdict) -> str:
    """What a verdict means for a row: noticed; no effect, as it says; else SURVIVED, or NOTICED against the row."""
    if verdict.result == "untried":
        return "untried"
    if defect.noticed_by is None:
        return "no effect" if verdict.result == "survived" else "NOTICED"
    return "noticed" if verdict.result == "killed" else "SURVIVED"


def as_expected(defect: Defect, verdict: MutantVerdict) -> bool:
    """Whether the case and the check noticed that the row names."""
    expected = defect.noticed_by
    return expected is None or (is_case_of(verdict.by, expected.case) and expected.check in verdict.how)


def defect_table(defects: Sequence[Defect], verdicts: Mapping[int, MutantVerdict]) -> Table:
    """Each row with its verdict, who noticed first, and the check."""
    table = Table("", "defect", "verdict", "noticed by", "because", "cpu s", title="Defects of the device, planted")
    for number, verdict in sorted(verdicts.items()):
        defect = defects[number - 1]
        how = one_line(verdict.how)[:LONGEST_HOW]
        expected = defect.noticed_by
        if verdict.result == "killed" and expected and expected.check and as_expected(defect, verdict):
            how = f"{verdict.how.split(':')[0]}: {expected.check}"
        table.add_row(str(number), defect.name, judge(defect, verdict), verdict.by, how, f"{verdict.cpu_seconds:.0f}")
    return table


def source_key(texts: Mapping[str, str], regression: str) -> str:
    """What must be the same for a run to go on with what another one found, the row itself aside."""
    return hashlib.sha256(json.dumps([sorted(texts.items()), regression]).encode()).hexdigest()


def earlier_rows(target: Path, key: str) -> list[dict[str, Any]]:
    """What the file of an earlier run of the same sources says of each row; nothing if there is none."""
    try:
        data = json.loads(target.read_text(encoding="utf-8"))
        return [dict(each) for each in data["verdicts"]] if data["key"] == key else []
    except (OSError, ValueError, KeyError, TypeError):
        return []


def take_over(defects: Sequence[Defect], run: MutationRun, earlier: Sequence[Mapping[str, Any]]) -> int:
    """Takes over what was noticed of rows that are the same; returns how many. What survived is tried anew."""
    before = {each["name"]: each for each in earlier if each["result"] == "killed"}
    known = 0
    for number, verdict in run.verdicts.items():
        old = before.get(defects[number - 1].name)
        if old is None or old["mutant"] != asdict(verdict.mutant):
            continue
        verdict.result, verdict.by, verdict.how = "killed", old["by"], old["how"]
        verdict.cpu_seconds, verdict.stages = old["cpu_seconds"], old["stages"]
        known += 1
    return known


def result_data(
    defects: Sequence[Defect], run: MutationRun, regression: str, key: str, others: Sequence[Mapping[str, Any]] = ()
) -> dict[str, Any]:
    """What the JSON file holds. `others`: rows of an earlier run that this one does not try."""
    rows = [
        {"name": defects[number - 1].name, "verdict": judge(defects[number - 1], verdict), **asdict(verdict)}
        for number, verdict in sorted(run.verdicts.items())
    ]
    return {
        "regression": regression,
        "key": key,
        "build_cpu_seconds": round(run.build_seconds, 1),
        "run_cpu_seconds": round(run.run_seconds, 1),
        "verdicts": [*rows, *others],
    }


def run_planted(
    *, jobs: int, regression: str, json_file: Path | None, wanted: Sequence[str] = (), again: bool = False
) -> bool:
    """Runs the chosen defects and tells; True if all that should be noticed were, and nothing that has no effect.

    `wanted`: names or numbers of rows, all if empty. `again`: also what an earlier run of the same sources noticed.

    Errors: UserError if a row does not fit the RTL, is not there, or the unchanged design fails.
    """
    texts = source_texts()
    defects = load_defects()
    only = chosen_numbers(defects, wanted)
    mutants = plant_all(defects, texts)
    stages = stages_of(regression)
    target = json_file or OUT / f"{Path(regression).stem}.json"
    target.parent.mkdir(parents=True, exist_ok=True)

    run = MutationRun(
        mutants,
        texts,
        out=OUT,
        jobs=jobs,
        only=only,
        first=lambda number, case: expects(defects[number - 1], case.id),
        note=lambda text: console.print(text, markup=False),
    )
    key = source_key(texts, regression)
    earlier = earlier_rows(target, key)
    tried = {defects[number - 1].name for number in run.verdicts}
    others = [each for each in earlier if each["name"] not in tried]
    known = 0 if again else take_over(defects, run, earlier)
    if known:
        console.print(f"{known} defects were noticed before, {target}; --again tries them, too", markup=False)

    def keep() -> None:
        """What is known by now stays, also if this process is killed."""
        data = json.dumps(result_data(defects, run, regression, key, others), indent=1) + "\n"
        write_atomically(target, data.encode())

    with progress("defects", len(run.alive)) as advance:

        def report(verdict: MutantVerdict) -> None:
            advance(1, f"{defects[verdict.number - 1].name} {verdict.result} {verdict.by}")
            keep()

        if run.alive:
            run.run(stages, report)
    keep()
    console.print(defect_table(defects, run.verdicts))
    bad = [verdict for verdict in run.verdicts.values() if judge(defects[verdict.number - 1], verdict).isupper()]
    for verdict in bad:
        console.print(bad_line(defects[verdict.number - 1], verdict), markup=False)
    for number, verdict in run.verdicts.items():
        if judge(defects[number - 1], verdict) == "noticed" and not as_expected(defects[number - 1], verdict):
            console.print(otherwise_line(defects[number - 1], verdict), markup=False)
    console.print(
        f"{len(run.verdicts)} defects, {len(bad)} not as they should be; {run.build_seconds:.0f} s of processor time"
        f" for builds, {run.run_seconds:.0f} s for runs; {target}",
        markup=False,
    )
    return not bad


def expects(defect: Defect, case_id: str) -> bool:
    """Whether a row says that this case notices it."""
    return defect.noticed_by is not None and is_case_of(case_id, defect.noticed_by.case)


def bad_line(defect: Defect, verdict: MutantVerdict) -> str:
    """What is wrong with a row, and how to try it again."""
    again = f"rerun: python -m sim break --planted --defect {defect.name}"
    if defect.noticed_by is not None:
        return f"survived: {defect.file}:{verdict.mutant.line}: {defect.name}: {defect.defect} {again}"
    return f"noticed, though it should have no effect: {defect.name}: {verdict.by}: {verdict.how}; {again}"


def otherwise_line(defect: Defect, verdict: MutantVerdict) -> str:
    """A defect that another case, or another check, noticed first: no failure, but the row should say so."""
    return f"{defect.name}: noticed otherwise than its row says: {verdict.by}: {one_line(verdict.how)}"
