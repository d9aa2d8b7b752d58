# SPDX-License-Identifier: Apache-2.0
"""A regression as data: cases with seeds, configurations, formats, builds and tags. See docs/regressions.md.

A file is checked whole before anything runs; what is wrong is told in one sentence with its line.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator, Sequence
from itertools import product
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from models.errors import UserError
from models.formats import load_formats
from sim.benches import BENCHES, DEVICE
from sim.build import Flavour
from sim.paths import ROOT, SIM_DATA
from sim.regression.case import RegressionCase
from tb.case import CASE_FILE, DEFAULT_CONFIGURATION, Case
from tb.configurations import configurations
from tb.scenarios import SCENARIOS

REGRESSIONS = SIM_DATA / "regressions"
SUFFIX = ".yaml"
DEFAULT_LIMIT = 300.0
Word = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]*$")]
Seed = Annotated[int, Field(ge=1, lt=1 << 32)]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Budget(_Strict):
    """Processor seconds that a whole run may take, builds not counted; `per` core: times the processes side by side."""

    cpu_seconds: Annotated[float, Field(gt=0)]
    per: Literal["run", "core"] = "run"


class CaseLine(_Strict):
    """One entry of `cases`: a scenario, saved cases, or cocotb tests; times all seeds, formats, builds and so on."""

    scenario: str | None = None
    saved: str | None = None
    module: str | None = None
    tests: tuple[str, ...] = ()
    name: Word | None = None
    bench: str = DEVICE
    seeds: int | tuple[Seed, ...] = 1
    configurations: tuple[str, ...] = (DEFAULT_CONFIGURATION,)
    formats: tuple[str, ...] = ()
    builds: tuple[Flavour, ...] = ("fast",)
    paths: tuple[Literal["batch", "agent"], ...] = ("batch",)
    parameters: dict[str, Any] = {}
    tags: tuple[Word, ...] = ()
    limit_seconds: Annotated[float, Field(gt=0)] = DEFAULT_LIMIT

    @model_validator(mode="after")
    def _one_kind(self) -> CaseLine:
        if sum(kind is not None for kind in (self.scenario, self.saved, self.module)) != 1:
            raise ValueError("give one of scenario, saved and module")
        if self.module is None and (self.tests or self.bench != DEVICE):
            raise ValueError("tests and bench belong to a module")
        if self.scenario is None and (self.parameters or self.formats):
            raise ValueError("parameters and formats belong to a scenario")
        if self.saved is not None and (self.seeds != 1 or self.configurations != (DEFAULT_CONFIGURATION,)):
            raise ValueError("a saved case has its own seed and configuration")
        if isinstance(self.seeds, int) and not 1 <= self.seeds <= 100_000:
            raise ValueError("seeds is a number of seeds from 1 on, or a list of seeds")
        return self

    def seed_list(self) -> tuple[int, ...]:
        """The seeds, as they are before --seed moves them."""
        return tuple(range(1, self.seeds + 1)) if isinstance(self.seeds, int) else self.seeds


class RegressionText(_Strict):
    """What a file holds."""

    about: str
    budget: Budget | None = None
    includes: tuple[Word, ...] = ()
    cases: tuple[CaseLine, ...] = ()


class Regression(_Strict):
    """A whole list, with what it includes, ready to run."""

    name: str
    path: Path
    about: str
    budget: Budget | None
    cases: tuple[RegressionCase, ...]
    own_cases: tuple[RegressionCase, ...]
    """Without what is included."""


def tiers() -> list[str]:
    """Names of the lists that come with the project."""
    return sorted(path.stem for path in REGRESSIONS.glob(f"*{SUFFIX}"))


def regression_file(name: str) -> Path:
    """The file of a tier's name, or the file itself. Errors: UserError listing the known tiers."""
    path = Path(name)
    if path.suffix == SUFFIX and path.is_file():
        return path
    if name not in tiers():
        raise UserError(f"There is no regression {name}; choose one of {', '.join(tiers())}, or give a .yaml file.")
    return REGRESSIONS / f"{name}{SUFFIX}"


def load_regression(name: str, *, base_seed: int = 1) -> Regression:
    """A list by its name or file. `base_seed` 1 leaves the seeds as they are written, N adds N - 1 to each.

    Errors: UserError with the place of the first thing that is wrong.
    """
    path = regression_file(name)
    text, places = _read(path)
    cases = {case.id: case for included in text.includes for case in _included(path, included, base_seed)}
    foreign = set(cases)
    for index, line in enumerate(text.cases):
        place = f"{path}:{places.line(('cases', index))}: cases[{index}]"
        try:
            expanded = list(_expand(line, base_seed))
        except UserError as error:
            raise UserError(f"{place}: {error}") from None
        if not expanded:
            raise UserError(f"{place}: this stands for no case; give at least one of each list.")
        for case in expanded:
            if case.id in cases:
                raise UserError(f"{place}: there is a case {case.id} already; give this one a name.")
            cases[case.id] = case
    if not cases:
        raise UserError(f"{path}: there are no cases; give some.")
    return Regression(
        name=path.stem,
        path=path,
        about=text.about,
        budget=text.budget,
        cases=tuple(cases.values()),
        own_cases=tuple(case for case in cases.values() if case.id not in foreign),
    )


def _included(path: Path, name: str, base_seed: int) -> tuple[RegressionCase, ...]:
    beside = path.parent / f"{name}{SUFFIX}"
    if beside.resolve() == path.resolve():
        raise UserError(f"{path}: a list cannot include itself; take {name} out of includes.")
    if not beside.is_file():
        raise UserError(f"{path}: there is no list {name}{SUFFIX} beside it; mend includes.")
    return load_regression(str(beside), base_seed=base_seed).cases


class _Places:
    """Lines of the parts of a YAML text."""

    def __init__(self, text: str) -> None:
        self._root = yaml.compose(text, Loader=yaml.SafeLoader)

    def line(self, place: Sequence[int | str]) -> int:
        """The line, from 1, of the innermost part of `place` that is there."""
        node = self._root
        line = 1
        for step in place:
            found = None
            if isinstance(node, yaml.MappingNode):
                found = next((value for key, value in node.value if key.value == step), None)
                line = next((key.start_mark.line + 1 for key, _ in node.value if key.value == step), line)
            elif isinstance(node, yaml.SequenceNode) and isinstance(step, int) and step < len(node.value):
                found = node.value[step]
                line = found.start_mark.line + 1
            if found is None:
                break
            node = found
        return line


def _read(path: Path) -> tuple[RegressionText, _Places]:
    try:
        text = path.read_text(encoding="utf-8")
        data = yaml.safe_load(text)
        places = _Places(text)
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{path} cannot be read ({error}); give a list of regressions.") from None
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark
        line = 1 if mark is None else mark.line + 1
        raise UserError(f"{path}:{line}: this is no YAML ({error.problem}); mend the line.") from None
    if not isinstance(data, dict):
        raise UserError(f"{path}:1: a list of regressions is a mapping with about, budget and cases.")
    try:
        return RegressionText.model_validate(data), places
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        # pydantic names the member of a union behind the field; the file has no such place.
        place = [step for step in first["loc"] if not (isinstance(step, str) and ("[" in step or step == "int"))]
        words = ".".join(str(step) for step in place)
        message = first["msg"].removeprefix("Value error, ").rstrip(".")
        raise UserError(f"{path}:{places.line(place)}: {words}: {message}; mend the line.") from None


def _known(kind: str, name: str, known: Sequence[str]) -> None:
    if name not in known:
        raise UserError(f"there is no {kind} {name}; choose one of {', '.join(sorted(known))}.")


def _expand(line: CaseLine, base_seed: int) -> Iterator[RegressionCase]:
    """The cases of one entry. Errors: UserError without the place."""
    _known("bench", line.bench, list(BENCHES))
    for configuration in line.configurations:
        _known("configuration", configuration, list(configurations()))
    for name in line.formats:
        _known("format", name, list(load_formats()))
    seeds = [seed + base_seed - 1 for seed in line.seed_list()]
    if line.saved is not None:
        yield from _saved(line)
        return
    names: list[str] = []
    if line.scenario is not None:
        _known("scenario", line.scenario, list(SCENARIOS))
    else:
        names = _tests(line)
    for configuration, build, seed in product(line.configurations, line.builds, seeds):
        if line.module is not None:
            for test in names:
                yield RegressionCase.of_test(line, test, configuration, build, seed)
            continue
        for fmt, path in product(line.formats or (None,), line.paths):
            yield RegressionCase.of_scenario(line, configuration, build, seed, fmt, path)


def _saved(line: CaseLine) -> Iterator[RegressionCase]:
    """Every saved case below the folder, or the one that the folder is."""
    folder = ROOT / str(line.saved)
    found = (
        [folder] if (folder / CASE_FILE).is_file() else sorted(path.parent for path in folder.glob(f"*/{CASE_FILE}"))
    )
    if not found:
        raise UserError(f"{line.saved} holds no saved case; give the directory of one, or a folder with some.")
    for directory in found:
        case = Case.load(directory)
        for build, path in product(line.builds, line.paths):
            yield RegressionCase.of_saved(line, directory, case, build, path)


def _tests(line: CaseLine) -> list[str]:
    """Names of the chosen cocotb tests of a module, in its order; found without importing it."""
    module = str(line.module)
    path = ROOT / (module.replace(".", "/") + ".py")
    if not path.is_file():
        raise UserError(f"there is no module {module}; give one such as tb.tests.cocotb_pins.")
    there = cocotb_tests(path.read_text(encoding="utf-8"))
    if not there:
        raise UserError(f"{module} has no cocotb tests; give a module that has some.")
    for name in line.tests:
        _known("test", name, there)
    return [name for name in there if not line.tests or name in line.tests]


def cocotb_tests(source: str) -> list[str]:
    """Names of the functions of a Python source that cocotb takes for tests."""
    names = []
    for node in ast.parse(source).body:
        if isinstance(node, ast.AsyncFunctionDef):
            marks = [item.func if isinstance(item, ast.Call) else item for item in node.decorator_list]
            if any(ast.unparse(mark) in ("cocotb.test", "test") for mark in marks):
                names.append(node.name)
    return names
