# SPDX-License-Identifier: Apache-2.0
"""The mutation run: drawn changes of the RTL in one scratch copy, built together, each run against a list of cases.

The working tree is only read, so nothing that ends this process can leave a changed source behind. Simulators are built
once for all changes and only when a stage needs one: the build with assertions first, because it notices soonest, then
the benches of single units, and for what survived these the other configurations of the device.
"""

from __future__ import annotations

import json
import resource
import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from models.errors import UserError
from sim.benches import BENCHES, DEVICE
from sim.breaker import GENERATED_MARK, copy_tree
from sim.build import Flavour, build
from sim.mutants.find import Mutant, enum_members, find_mutants
from sim.mutants.refused import LINT
from sim.mutants.schema import PACKAGE, choose_argument, with_mutants
from sim.paths import BUILD, ROOT
from sim.regression.case import ProcessKind, RegressionCase
from sim.regression.file import load_regression
from sim.regression.results import CaseResult
from sim.regression.run import Run, RunSettings

OUT = BUILD / "break" / "rtl"
PACKAGE_FILE = "rtl/pkg/hmm_pkg.sv"
"""Every file list begins with it, so the package that chooses goes in front of it."""
QUIET = ("-Wno-fatal", "-Wno-lint", "-Wno-style")
"""A change may well deserve a warning."""
UNIT_BENCHES = {
    "rtl/common": ("mux", "engine", "engine_single"),
    "rtl/decode": ("decoder",),
    "rtl/engine": ("engine", "engine_single"),
    "rtl/memory": ("mux",),
    "rtl/pkg": ("decoder", "engine"),
}
RELATED_TAGS = {
    "cache": "counts",
    "command": "fences",
    "control": "registers",
    "decode": "formats",
    "engine": "engine",
    "fault": "faults",
    "walk": "counts",
}
"""Folders of the RTL, and which cases are tried first."""
BENCH_ONLY = "bench-only"
GROUP_SECONDS = 1.5
"""cocotb tests tell their results when their process ends: short processes end soon after the first failure."""
LONGEST_MESSAGE = 600
"""Of a failure, kept with its verdict: to the rule that it breaks."""
LIMIT_SECONDS = 4.0
LIMIT_FACTOR = 4.0
"""A case of a changed design may take so many seconds, and so many times what it takes unchanged."""


@dataclass(frozen=True)
class Stage:
    """A simulator and the cases that run in it."""

    bench: str
    flavour: Flavour
    configuration: str
    cases: tuple[RegressionCase, ...]

    @property
    def name(self) -> str:
        """For messages."""
        return f"{self.bench} {self.flavour} {self.configuration}"

    def concerns(self, mutant: Mutant) -> bool:
        """Whether the change is in what this bench simulates."""
        if self.bench == DEVICE:
            return True
        return any(
            mutant.file.startswith(f"{folder}/") and self.bench in benches for folder, benches in UNIT_BENCHES.items()
        )


@dataclass
class MutantVerdict:
    """What became of one change: `result` untried (the run is not over), killed or survived; `by` the first failed
    case; processor seconds."""

    number: int
    mutant: Mutant
    result: str = "untried"
    by: str = ""
    how: str = ""
    cpu_seconds: float = 0.0
    stages: list[str] = field(default_factory=list)


def source_texts(root: Path = ROOT) -> dict[str, str]:
    """The RTL that may be changed, by path: neither generated files nor tests."""
    texts = {}
    for path in sorted((root / "rtl").rglob("*.sv")):
        text = path.read_text(encoding="utf-8")
        if GENERATED_MARK not in text[:400]:
            texts[path.relative_to(root).as_posix()] = text
    return texts


def draw_mutants(texts: Mapping[str, str], packages: Sequence[str], seed: int, draws: int) -> list[Mutant]:
    """Different changes: each a line with equal chances, then one of its changes. The same seed draws the same ones.

    Errors: UserError if there are not as many.
    """
    enums = enum_members(packages)
    lines: dict[tuple[str, int], list[Mutant]] = {}
    for file, text in texts.items():
        for mutant in find_mutants(file, text, enums):
            lines.setdefault((file, mutant.line), []).append(mutant)
    if draws > len(lines):
        raise UserError(f"There are only {len(lines)} lines that can be changed; give --draws at most that.")
    rng = np.random.default_rng(seed)
    keys = list(lines)
    chosen = rng.choice(len(keys), size=draws, replace=False)
    return [lines[keys[index]][int(rng.integers(len(lines[keys[index]])))] for index in chosen.tolist()]


def make_tree(tree: Path, texts: Mapping[str, str], mutants: Mapping[int, Mutant]) -> None:
    """A copy of the project in which every change can be chosen."""
    copy_tree(ROOT, tree)
    for file, text in texts.items():
        own = {number: mutant for number, mutant in mutants.items() if mutant.file == file}
        changed = with_mutants(text, own)
        if file == PACKAGE_FILE:
            changed = PACKAGE + changed
        (tree / file).write_text(changed, encoding="utf-8")


def _place_of_stage(stage: Stage) -> tuple[bool, bool, str]:
    """Benches of units before the device, builds with assertions before those without."""
    return stage.bench == DEVICE, stage.flavour == "fast", stage.configuration


def stages_of(regression: str) -> list[Stage]:
    """The stages of a list, in the order in which they find most for the least."""
    cases = [case for case in load_regression(regression).cases if BENCH_ONLY not in case.tags]
    main: dict[tuple[str, ...], RegressionCase] = {}
    others: dict[tuple[str, Flavour, str], list[RegressionCase]] = {}
    for case in cases:
        kind = case.kind
        if kind.bench == DEVICE and kind.configuration == "default":
            what = (case.module, case.test, json.dumps(case.entry, sort_keys=True), kind.path, str(case.seed))
            main.setdefault(what, replace(case, kind=replace(kind, build="checked")))
            continue
        others.setdefault((kind.bench, kind.build, kind.configuration), []).append(case)
    stages = [Stage(DEVICE, "checked", "default", tuple(main.values()))] if main else []
    rest = [Stage(*where, tuple(found)) for where, found in others.items()]
    return stages + sorted(rest, key=_place_of_stage)


class MutationRun:
    """Builds all changes, and runs them or those whose numbers are in `only`. `first`: whether a case is tried before
    all others for the change of a number. `refuses`: what lint says of a change that no case noticed, "" if nothing.

    Attributes: `verdicts` by number; `build_seconds` and `run_seconds` of the processors.
    """

    def __init__(
        self,
        mutants: Sequence[Mutant],
        texts: Mapping[str, str],
        *,
        out: Path = OUT,
        jobs: int = 1,
        only: Sequence[int] = (),
        first: Callable[[int, RegressionCase], bool] = lambda number, case: False,
        refuses: Callable[[Mutant], str] = lambda mutant: "",
        note: Callable[[str], None] = lambda text: None,
    ) -> None:
        numbered = dict(enumerate(mutants, start=1))
        self.verdicts = {number: MutantVerdict(number, numbered[number]) for number in only or numbered}
        self.build_seconds = 0.0
        self.run_seconds = 0.0
        self._out = out
        self._jobs = jobs
        self._first = first
        self._refuses = refuses
        self._note = note
        self._seconds: dict[str, float] = {}
        self._lock = threading.Lock()
        self._tree = out / "tree"
        make_tree(self._tree, texts, numbered)

    @property
    def alive(self) -> list[MutantVerdict]:
        """What nothing has noticed so far."""
        return [verdict for verdict in self.verdicts.values() if verdict.result != "killed"]

    def run(self, stages: Sequence[Stage], report: Callable[[MutantVerdict], None] = lambda verdict: None) -> None:
        """All stages, each for what survived the ones before and was not killed in a run before, and lint at the end;
        `report` gets each verdict when it is final.

        Errors: UserError if the unchanged design fails a stage.
        """
        for verdict in self.alive:
            verdict.result = "untried"
        for stage in stages:
            wanted = [verdict for verdict in self.alive if stage.concerns(verdict.mutant)]
            if wanted:
                self._stage(stage, wanted, report)
        for verdict in self.alive:
            objection = self._refuses(verdict.mutant)
            verdict.result, verdict.by, verdict.how = ("killed", LINT, objection) if objection else ("survived", "", "")
            report(verdict)

    def _build(self, stage: Stage) -> Path:
        design = replace(BENCHES[stage.bench], root=self._tree)
        design = replace(design, extra_flags=(*design.extra_flags, *QUIET))
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        executable = build(stage.flavour, stage.configuration if stage.bench == DEVICE else None, design)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        seconds = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
        self.build_seconds += seconds
        self._note(f"{stage.name}: built, {seconds:.0f} s of processor time")
        return executable

    def _stage(self, stage: Stage, wanted: Sequence[MutantVerdict], report: Callable[[MutantVerdict], None]) -> None:
        executable = self._build(stage)
        unchanged = self._run_cases(stage.cases, executable, 0, stage.name, jobs=self._jobs)
        self.run_seconds += unchanged.cpu_seconds
        bad = next((result for result in unchanged.results if not result.passed), None)
        if bad is not None:
            raise UserError(f"The unchanged design does not pass {bad.case.id} ({stage.name}); make it pass first.")
        seconds = {result.case.id: result.seconds for result in unchanged.results}
        self._seconds.update(seconds)
        self._note(f"{stage.name}: unchanged in {unchanged.cpu_seconds:.0f} s, {len(wanted)} changes to try")
        cases = [replace(case, limit_seconds=LIMIT_SECONDS + LIMIT_FACTOR * seconds[case.id]) for case in stage.cases]

        def work(verdict: MutantVerdict) -> None:
            run = self._run_cases(self._ordered(cases, seconds, verdict), executable, verdict.number, stage.name)
            with self._lock:
                self.run_seconds += run.cpu_seconds
                verdict.cpu_seconds += run.cpu_seconds
                verdict.stages.append(stage.name)
                failed = next((result for result in run.results if not result.passed), None)
                if failed is not None:
                    _kill(verdict, failed)
                    report(verdict)

        with ThreadPoolExecutor(self._jobs) as pool:
            list(pool.map(work, wanted))

    def _ordered(
        self, cases: Sequence[RegressionCase], seconds: Mapping[str, float], verdict: MutantVerdict
    ) -> list[RegressionCase]:
        """What is asked to be first, then cases about the changed unit, then the short ones."""
        tag = RELATED_TAGS.get(Path(verdict.mutant.file).parent.name, "")

        def rank(case: RegressionCase) -> tuple[bool, bool, bool, float]:
            other = tag not in case.tags or seconds[case.id] > 1
            return not self._first(verdict.number, case), other, case.kind.tests, seconds[case.id]

        return sorted(cases, key=rank)

    def _run_cases(
        self, cases: Sequence[RegressionCase], executable: Path, number: int, name: str, jobs: int = 1
    ) -> Run:
        def chosen(kind: ProcessKind) -> Path:
            return executable

        settings = RunSettings(
            out=self._out / "logs" / f"{number:03d}-{name.replace(' ', '-')}",
            executable=chosen,
            report=lambda result: None,
            jobs=jobs,
            stop_at_first=number != 0,
            keep_order=True,
            seconds=self._seconds,
            group_seconds=GROUP_SECONDS,
            arguments=(choose_argument(number),),
            # The Python side is the copy's too, so that work may go on here meanwhile.
            environment={"PYTHONPATH": str(self._tree)},
        )
        run = Run(settings)
        run.run(cases)
        return run


def _kill(verdict: MutantVerdict, failed: CaseResult) -> None:
    verdict.result = "killed"
    verdict.by = failed.case.id
    first = failed.message.splitlines()[0] if failed.message else ""
    verdict.how = f"{failed.verdict}: {first[:LONGEST_MESSAGE]}"
