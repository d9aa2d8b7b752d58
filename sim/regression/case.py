# SPDX-License-Identifier: Apache-2.0
"""One case of a regression: what runs, where, and the name by which a person and the results know it."""

from __future__ import annotations

import shlex
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sim.benches import DEVICE
from sim.build import Flavour
from sim.paths import ROOT
from tb.case import DEFAULT_CONFIGURATION, Case

if TYPE_CHECKING:
    from sim.regression.file import CaseLine

CASES_MODULE = "tb.run_cases"
NO_SEED = 0


@dataclass(frozen=True)
class ProcessKind:
    """What the cases of one simulator process have in common. `seed` is 0 where each case has its own."""

    bench: str
    build: Flavour
    configuration: str
    path: str
    tests: bool
    seed: int = NO_SEED

    def __str__(self) -> str:
        parts = [self.bench, self.build, self.configuration, self.path if self.path != "batch" else ""]
        return "-".join(filter(None, [*parts, "tests" if self.tests else "", f"s{self.seed}" if self.seed else ""]))


@dataclass(frozen=True)
class RegressionCase:
    """One case. `entry`: what tb.run_cases gets; empty for a cocotb test, which `module` and `test` name."""

    id: str
    kind: ProcessKind
    seed: int
    entry_format: str
    tags: tuple[str, ...]
    limit_seconds: float
    module: str = CASES_MODULE
    test: str = ""
    entry: dict[str, Any] = field(default_factory=dict)

    @property
    def words(self) -> str:
        """What `-k` looks into."""
        return " ".join([self.id, self.module, *self.tags]).lower()

    def rerun(self, regression: str, base_seed: int) -> str:
        """The command line that runs just this case again."""
        if "directory" in self.entry:
            command = ["python", "-m", "sim", "run", self.entry["directory"]]
            return shlex.join([*command, "--path", self.kind.path, "--build", "checked", "--waves"])
        command = ["python", "-m", "sim", "regress", regression, "--case", self.id]
        return shlex.join(command + (["--seed", str(base_seed)] if base_seed != 1 else []))

    @staticmethod
    def of_scenario(
        line: CaseLine, configuration: str, build: Flavour, seed: int, fmt: str | None, path: str
    ) -> RegressionCase:
        """A scenario with one seed, configuration and format (None: its own)."""
        scenario = str(line.scenario)
        parameters = dict(line.parameters)
        if configuration != DEFAULT_CONFIGURATION:
            parameters["configuration"] = configuration
        if fmt is not None:
            parameters["format"] = fmt
        return RegressionCase(
            id=_id(line.name or scenario, configuration, fmt, build, path, seed),
            kind=ProcessKind(DEVICE, build, configuration, path, tests=False),
            seed=seed,
            entry_format=fmt or "",
            tags=line.tags,
            limit_seconds=line.limit_seconds,
            entry={"builder": scenario, "parameters": parameters, "seed": seed},
        )

    @staticmethod
    def of_saved(line: CaseLine, directory: Path, case: Case, build: Flavour, path: str) -> RegressionCase:
        """A saved case."""
        place = directory.resolve()
        shown = place.relative_to(ROOT) if place.is_relative_to(ROOT) else place
        return RegressionCase(
            id=_id(line.name or f"saved-{directory.name}", case.configuration, None, build, path, NO_SEED),
            kind=ProcessKind(DEVICE, build, case.configuration, path, tests=False),
            seed=case.seed,
            entry_format=case.entry_format.name,
            tags=line.tags,
            limit_seconds=line.limit_seconds,
            entry={"directory": str(shown)},
        )

    @staticmethod
    def of_test(line: CaseLine, test: str, configuration: str, build: Flavour, seed: int) -> RegressionCase:
        """A cocotb test, with all its parameters if it has some."""
        module = str(line.module)
        name = f"{line.name or module.rsplit('.', 1)[-1]}.{test}"
        return RegressionCase(
            id=_id(name, configuration, None, build, "batch", seed),
            kind=ProcessKind(line.bench, build, configuration, "batch", tests=True, seed=seed),
            seed=seed,
            entry_format="",
            tags=line.tags,
            limit_seconds=line.limit_seconds,
            module=module,
            test=test,
        )


def _id(name: str, configuration: str, fmt: str | None, build: str, path: str, seed: int) -> str:
    """A name of words with points between them; what is as usual is left out."""
    parts = [name, configuration if configuration != DEFAULT_CONFIGURATION else "", fmt or ""]
    parts += [build if build != "fast" else "", path if path != "batch" else "", f"s{seed}" if seed else ""]
    return ".".join(filter(None, parts))
