# SPDX-License-Identifier: Apache-2.0
"""`python -m sim regress TIER|FILE`: chooses cases, builds what they need, runs them, keeps and tells the results."""

from __future__ import annotations

import os
import resource
import shlex
import shutil
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import click

from models.errors import UserError
from sim.benches import BENCHES, DEVICE
from sim.build import Flavour, build
from sim.console import console, progress
from sim.paths import BUILD
from sim.regression.case import ProcessKind, RegressionCase
from sim.regression.file import Regression, load_regression
from sim.regression.report import budget_verdict, failure_text, print_summary, write_junit
from sim.regression.results import CaseResult, Verdict
from sim.regression.run import Run, RunSettings
from sim.regression.select import compile_expression
from sim.regression.store import ResultStore
from sim.regression.versions import revision, tool_versions

OUT = BUILD / "regress"
STORE = OUT / "results.sqlite"
KEPT_RUNS = 5
"""Older directories of logs are removed; the results stay."""
SEEDS_OF_A_ROUND = 1000
"""`--until-failure` moves the seeds by this much from round to round."""
EXIT_FAILED = 1


@dataclass(frozen=True)
class RegressOptions:
    """What a person asked for. `case_ids`, `expression`, `tags`: only cases that are all of these."""

    regression: str
    expression: str = ""
    tags: tuple[str, ...] = ()
    case_ids: tuple[str, ...] = ()
    seed: int = 1
    jobs: int | None = None
    only_failed: bool = False
    repeat: int = 1
    until_failure: bool = False
    waves: bool = False
    list_only: bool = False
    junit: Path | None = None
    store: Path = STORE

    @property
    def everything(self) -> bool:
        """The whole list is run once, so that its budget counts."""
        chosen = self.expression or self.tags or self.case_ids or self.only_failed or self.waves
        return not chosen and self.repeat == 1 and not self.until_failure

    @property
    def processes(self) -> int:
        """Simulators side by side."""
        return self.jobs or len(os.sched_getaffinity(0))


def choose(regression: Regression, options: RegressOptions, store: ResultStore) -> list[RegressionCase]:
    """The cases that were asked for. Errors: UserError if there are none."""
    cases = list(regression.cases)
    for name in options.case_ids:
        if all(case.id != name for case in cases):
            raise UserError(f"There is no case {name} in {regression.name}; --list shows them.")
    matches = compile_expression(options.expression) if options.expression else lambda words: True
    cases = [
        case
        for case in cases
        if matches(case.words)
        and set(options.tags) <= set(case.tags)
        and (not options.case_ids or case.id in options.case_ids)
    ]
    if not cases:
        raise UserError(f"No case of {regression.name} is what -k, --tag and --case ask for; --list shows all.")
    if options.only_failed:
        last = store.last_verdicts([case.id for case in cases])
        cases = [case for case in cases if last.get(case.id, Verdict.PASSED) is not Verdict.PASSED]
    return cases


def build_all(kinds: Sequence[ProcessKind], waves: bool) -> Callable[[ProcessKind], Path]:
    """Builds every simulator that is needed, before anything runs. Returns which one a process takes.

    Errors: UserError if one does not build.
    """
    built: dict[tuple[str, Flavour, str], Path] = {}

    def key(kind: ProcessKind) -> tuple[str, Flavour, str]:
        return kind.bench, "checked" if waves else kind.build, kind.configuration

    started = time.monotonic()
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    for kind in sorted(kinds, key=str):
        bench, flavour, configuration = key(kind)
        if key(kind) not in built:
            built[key(kind)] = build(flavour, configuration if bench == DEVICE else None, BENCHES[bench])
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    spent = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    seconds = time.monotonic() - started
    console.print(f"{len(built)} simulators, built in {seconds:.0f} s ({spent:.0f} s of processor time)", markup=False)
    return lambda kind: built[key(kind)]


def _new_directory(name: str) -> Path:
    """A directory for the logs of a run; old ones go."""
    runs = OUT / "runs"
    runs.mkdir(parents=True, exist_ok=True)
    for old in sorted(runs.iterdir(), key=lambda path: path.stat().st_mtime, reverse=True)[KEPT_RUNS - 1 :]:
        shutil.rmtree(old, ignore_errors=True)
    return runs / f"{time.strftime('%Y%m%d-%H%M%S')}-{os.getpid()}-{name}"


def run_regression(options: RegressOptions) -> bool:
    """Runs and tells; True if every case passed, and far over budget nothing was. Errors: UserError for bad input."""
    regression = load_regression(options.regression, base_seed=options.seed)
    store = ResultStore(options.store)
    try:
        cases = choose(regression, options, store)
        if options.list_only:
            for case in cases:
                click.echo(f"{case.id}  [{' '.join(case.tags)}]")
            return True
        if not cases:
            console.print(f"{regression.name}: no case failed the last time", markup=False)
            return True
        return _run_chosen(regression, cases, options, store)
    finally:
        store.close()


def _run_chosen(
    regression: Regression, cases: list[RegressionCase], options: RegressOptions, store: ResultStore
) -> bool:
    executable = build_all([case.kind for case in cases], options.waves)
    number = store.begin_run(
        options.regression, revision(), tool_versions(), shlex.join(["python", "-m", "sim", *sys.argv[1:]])
    )
    base_seeds: dict[str, int] = {}

    def rerun(result: CaseResult) -> str:
        return result.case.rerun(options.regression, base_seeds[result.case.id])

    def report(result: CaseResult) -> None:
        store.add(number, result, rerun(result))
        if not result.passed:
            console.print(failure_text(result, rerun(result)), markup=False)
        advance(1, result.case.id)

    out = _new_directory(regression.name)
    settings = RunSettings(
        out=out,
        executable=executable,
        report=report,
        jobs=options.processes,
        seconds=store.seconds(),
        stop_at_first=options.until_failure,
        waves=options.waves,
    )
    run = Run(settings)
    started = time.monotonic()
    seed, round_number, planned = options.seed, 1, 0
    while True:
        base_seeds.update({case.id: seed for case in cases})
        planned += len(cases)
        title = regression.name if round_number == 1 else f"{regression.name}, round {round_number}"
        with progress(title, len(cases)) as advance:
            run.run(cases, round_number)
        endless = options.until_failure and options.repeat == 1
        if settings.cancel.is_set() or (round_number >= options.repeat and not endless):
            break
        round_number += 1
        if endless:
            seed += SEEDS_OF_A_ROUND
            wanted = load_regression(options.regression, base_seed=seed)
            cases = choose(wanted, options, store)
    store.end_run(number, run.cpu_seconds)
    return _tell(regression, options, run, planned, time.monotonic() - started, rerun)


def _tell(
    regression: Regression,
    options: RegressOptions,
    run: Run,
    planned: int,
    seconds: float,
    rerun: Callable[[CaseResult], str],
) -> bool:
    failed = [result for result in run.results if not result.passed]
    print_summary(run.results, planned - len(run.results))
    junit = options.junit or OUT / f"{regression.name}.xml"
    write_junit(junit, regression.name, run.results, rerun)
    good = not failed and (len(run.results) == planned or options.until_failure)
    if regression.budget is not None and options.everything:
        within, words = budget_verdict(regression.budget, options.processes, run.cpu_seconds)
        good = good and within
        console.print(words, markup=False)
    else:
        console.print(f"{run.cpu_seconds:.1f} s of processor time", markup=False)
    passed = len(run.results) - len(failed)
    state = "passed" if good else "FAILED"
    console.print(
        f"{state}: {regression.name}, {passed} of {planned} cases passed, {seconds:.0f} s; {options.store}, {junit}",
        markup=False,
    )
    return good


@click.command("regress")
@click.argument("regression", metavar="TIER|FILE")
@click.option("-k", "expression", default="", help="Only cases whose id, module and tags match: words, and, or, not.")
@click.option("--tag", "tags", multiple=True, help="Only cases with this tag; may be repeated.")
@click.option("--case", "case_ids", multiple=True, help="Only the case of this id; may be repeated.")
@click.option("--seed", type=click.IntRange(1), default=1, show_default=True, help="N adds N - 1 to every seed.")
@click.option("--jobs", type=click.IntRange(1), default=None, help="Processes; as many as processors by default.")
@click.option("--only-failed", is_flag=True, help="Only cases that failed the last time they ran.")
@click.option("--repeat", type=click.IntRange(1), default=1, show_default=True, help="Rounds with the same seeds.")
@click.option("--until-failure", is_flag=True, help="Stop at a failure; without --repeat go on with other seeds.")
@click.option("--waves", is_flag=True, help="Checked builds, which record waves.")
@click.option("--list", "list_only", is_flag=True, help="Only list the cases.")
@click.option("--junit", type=click.Path(path_type=Path), default=None, help="JUnit XML there, not in build/regress.")
@click.option("--store", type=click.Path(path_type=Path), default=STORE, help="SQLite file of the results.")
def regress_command(
    regression: str,
    expression: str,
    tags: tuple[str, ...],
    case_ids: tuple[str, ...],
    seed: int,
    jobs: int | None,
    only_failed: bool,
    repeat: int,
    until_failure: bool,
    waves: bool,
    list_only: bool,
    junit: Path | None,
    store: Path,
) -> None:
    """Run a list of cases in parallel and keep the results; exit 1 if one failed."""
    options = RegressOptions(
        regression=regression,
        expression=expression,
        tags=tags,
        case_ids=case_ids,
        seed=seed,
        jobs=jobs,
        only_failed=only_failed,
        repeat=repeat,
        until_failure=until_failure,
        waves=waves,
        list_only=list_only,
        junit=junit,
        store=store,
    )
    if not run_regression(options):
        sys.exit(EXIT_FAILED)
