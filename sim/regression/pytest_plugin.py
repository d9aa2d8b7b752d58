# SPDX-License-Identifier: Apache-2.0
"""Lists of regressions as pytest tests: every .yaml file of sim/data/regressions is a file of tests, every case a test.

A test has its tier's mark (smoke, pr) and answers to `-k` with its id and its tags. What a list includes is collected
from the included list only. Cases that can share a simulator process do: the first of them that is run runs all that
were chosen, in this or in another worker, and the others find their result.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from filelock import FileLock

from models.errors import UserError
from sim.benches import BENCHES, DEVICE
from sim.build import build
from sim.paths import BUILD
from sim.regression.case import ProcessKind, RegressionCase
from sim.regression.file import REGRESSIONS, SUFFIX, load_regression
from sim.regression.process import Group
from sim.regression.results import CaseResult
from sim.regression.run import Run, RunSettings, split

TIERS = ("smoke", "pr")
"""Lists whose cases plain pytest runs. Others are collected only when their file is named."""
OUT = BUILD / "regress" / "pytest"
ASSUMED_WORKERS = 2
"""Groups are cut the same way in every worker, however many there are."""


def pytest_configure(config: pytest.Config) -> None:
    """Adds the marks of the lists."""
    for path in sorted(REGRESSIONS.glob(f"*{SUFFIX}")):
        config.addinivalue_line("markers", f"{path.stem}: a case of the regression {path.stem}")
    config.addinivalue_line("markers", "regression: a case of a list of regressions")


def pytest_collect_file(file_path: Path, parent: pytest.Collector) -> RegressionFile | None:
    """A list of regressions among the files."""
    if file_path.suffix != SUFFIX or file_path.parent != REGRESSIONS:
        return None
    if file_path.stem not in TIERS and not parent.session.isinitpath(file_path):
        return None
    return RegressionFile.from_parent(parent, path=file_path)


class RegressionFile(pytest.File):
    """One list."""

    def collect(self) -> Iterator[RegressionItem]:
        """Its own cases. Errors: CollectError with the sentence about a bad file."""
        try:
            regression = load_regression(str(self.path), base_seed=max(1, self.config.getoption("--seed")))
        except UserError as error:
            raise self.CollectError(str(error)) from None
        for case in regression.own_cases:
            yield RegressionItem.from_parent(self, name=case.id, case=case)


@dataclass(frozen=True)
class _Told:
    """A result as the process that ran the case left it for the others."""

    verdict: str
    message: str
    log: str


class RegressionItem(pytest.Item):
    """One case."""

    def __init__(self, *, case: RegressionCase, **arguments: object) -> None:
        super().__init__(**arguments)  # type: ignore[arg-type]
        self.case = case
        self.add_marker("regression")
        self.add_marker("simulation")
        self.add_marker(self.path.stem)
        self.extra_keyword_matches.update(case.tags)

    def runtest(self) -> None:
        """The case's result, from its group's run. Errors: RegressionFailed."""
        told = run_shared(self)
        if told.verdict != "passed":
            raise RegressionFailed(f"{self.case.id} {told.verdict}\n{told.message}\nlog: {told.log}")

    def repr_failure(self, excinfo: pytest.ExceptionInfo[BaseException], style: object = None) -> str:
        """The failure without our own stack, with the line that runs the case again."""
        if isinstance(excinfo.value, RegressionFailed | UserError):
            seed = max(1, self.config.getoption("--seed"))
            return f"{excinfo.value}\nrerun: {self.case.rerun(self.path.stem, seed)}"
        return str(super().repr_failure(excinfo))

    def reportinfo(self) -> tuple[Path, None, str]:
        """Where the case is from."""
        return self.path, None, self.case.id


class RegressionFailed(Exception):
    """A case did not pass."""


def _run_directory(config: pytest.Config) -> Path:
    """One for this call of pytest, the same in all its workers."""
    worker = getattr(config, "workerinput", None)
    name = worker["testrunuid"] if worker else f"pid-{os.getpid()}"
    return OUT / str(name)


def group_of(items: list[RegressionItem], item: RegressionItem) -> Group:
    """The cases that run in one process with a case, of all that were chosen from the same list."""
    cases = [each.case for each in items if each.path == item.path and each.case.kind == item.case.kind]
    groups = split(cases, ASSUMED_WORKERS, {})
    return next(group for group in groups if item.case in group.cases)


def _executable(kind: ProcessKind) -> Path:
    return build(kind.build, kind.configuration if kind.bench == DEVICE else None, BENCHES[kind.bench])


def run_shared(item: RegressionItem) -> _Told:
    """The result of a case; its group is run if no worker has done so yet."""
    items = [each for each in item.session.items if isinstance(each, RegressionItem)]
    group = group_of(items, item)
    directory = _run_directory(item.config) / item.path.stem / group.name
    directory.mkdir(parents=True, exist_ok=True)
    results = directory / "results.json"
    with FileLock(directory / "lock"):
        if not results.is_file():
            told = {result.case.id: _tell(result) for result in _run_group(group, directory)}
            partial = results.with_suffix(".partial")
            partial.write_text(json.dumps(told), encoding="utf-8")
            partial.replace(results)
    return _Told(**json.loads(results.read_text(encoding="utf-8"))[item.case.id])


def _run_group(group: Group, directory: Path) -> list[CaseResult]:
    run = Run(RunSettings(out=directory, executable=_executable, report=lambda result: None))
    return run.run(group.cases)


def _tell(result: CaseResult) -> dict[str, str]:
    return {"verdict": str(result.verdict), "message": result.message, "log": str(result.log or "")}
