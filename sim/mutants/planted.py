# SPDX-License-Identifier: Apache-2.0
"""Chosen defects of the device, as data: mistakes that somebody who writes such a core would really make.

The lists in `sim/data/rtl_defects/` have them; `python -m sim break --planted` runs them. A defect is found by a piece
of the source that occurs once, not by a line number, so it stays where it is when the file around it changes.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Annotated, Any

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator
from pyslang.syntax import SyntaxTree

from models.errors import UserError
from sim.mutants.find import Mutant, syntax_nodes
from sim.paths import SIM_DATA

DEFECTS = SIM_DATA / "rtl_defects"


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class NoticedBy(_Strict):
    """Who notices a defect: `case`, the id of a case of the regression or the words before a point in it; `check`,
    words of its message: a rule of docs/invariants.md, the words of an assertion, what was wrong. Without `check` the
    case is only expected: nobody has seen it yet."""

    case: str
    check: str = ""


class Defect(_Strict):
    """One row.

    `anchor`: a piece of `file` that occurs once; runs of white space in it stand for any other. `replaced`: a part of
    the anchor, all of it if left out; a whole expression or statement. `nth`: which one, from 1, if the part is there
    more than once. `by`: what stands there instead. `noticed_by`, or in `no_effect` the reason why the device is within
    its contract all the same.
    """

    name: Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]*$")]
    defect: str
    file: str
    anchor: str
    replaced: str = ""
    nth: Annotated[int, Field(ge=1)] | None = None
    by: str
    noticed_by: NoticedBy | None = None
    no_effect: str = ""

    @model_validator(mode="after")
    def _one_of_both(self) -> Defect:
        if (self.noticed_by is None) == (not self.no_effect):
            raise ValueError("give either noticed_by or no_effect")
        return self


class _File(_Strict):
    defects: Annotated[tuple[Defect, ...], Field(min_length=1)]


def load_defects(path: Path = DEFECTS) -> tuple[Defect, ...]:
    """The rows of a list, or of all lists of a folder by name, in their order.

    Errors: UserError if a file is not as it should be, or a name is there twice.
    """
    files = sorted(path.glob("*.yaml")) if path.is_dir() else [path]
    defects = tuple(defect for file in files for defect in _load_file(file))
    names = [defect.name for defect in defects]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise UserError(f"{path}: two defects are called {twice}; give one of them another name.")
    return defects


def _load_file(path: Path) -> tuple[Defect, ...]:
    try:
        data: Any = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{path} cannot be read ({error}); give a list of defects.") from None
    except yaml.MarkedYAMLError as error:
        line = 1 if error.problem_mark is None else error.problem_mark.line + 1
        raise UserError(f"{path}:{line}: this is no YAML ({error.problem}); mend the line.") from None
    try:
        return _File.model_validate(data).defects
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        where = _named(data, first["loc"])
        message = first["msg"].removeprefix("Value error, ").rstrip(".")
        raise UserError(f"{path}: {where}: {message}; mend the row.") from None


def _named(data: Any, place: Sequence[int | str]) -> str:
    """A place in the file for a message, with the row's name instead of its number where it has one."""
    steps = list(place)
    if len(steps) > 1 and isinstance(steps[1], int):
        row = data["defects"][steps[1]]
        name = row.get("name") if isinstance(row, dict) else None
        steps[:2] = [str(name or f"row {steps[1] + 1}")]
    return ".".join(str(step) for step in steps) or "the whole"


def _spans(text: str, wanted: str) -> list[tuple[int, int]]:
    """Where a piece of source occurs, white space aside."""
    words = [re.escape(word) for word in wanted.split()]
    return [match.span() for match in re.finditer(r"\s+".join(words), text)] if words else []


def plant(defect: Defect, texts: Mapping[str, str]) -> Mutant:
    """A row as a change of its file. `texts`: the RTL by path.

    Errors: UserError if the file is unknown, the anchor or the part of it is not there once, or what is replaced is no
    whole expression or statement.
    """
    text = texts.get(defect.file)
    if text is None:
        raise UserError(f"Defect {defect.name}: there is no file {defect.file} to change; give one of the RTL.")
    found = _spans(text, defect.anchor)
    if len(found) != 1:
        raise UserError(
            f"Defect {defect.name}: its anchor occurs {_times(len(found))} in {defect.file}; give a piece of the source"
            " that is there once."
        )
    first, last = found[0]
    parts = _spans(text[first:last], defect.replaced or defect.anchor)
    if defect.nth is not None:
        parts = parts[defect.nth - 1 : defect.nth]
    if len(parts) != 1:
        raise UserError(
            f"Defect {defect.name}: what is replaced occurs {_times(len(parts))} in the anchor; give a part of it that"
            " is there once, or say by nth which one."
        )
    start, end = first + parts[0][0], first + parts[0][1]
    kinds = _kinds(text).get((start, end), [])
    if not kinds:
        raise UserError(
            f"Defect {defect.name}: what is replaced is no whole expression or statement of {defect.file}; widen it."
        )
    return Mutant(
        file=defect.file,
        line=text.count("\n", 0, start) + 1,
        operator=defect.name,
        start=start,
        end=end,
        before=text[start:end],
        after=defect.by,
        statement=any(kind.endswith("Statement") for kind in kinds),
    )


def _times(count: int) -> str:
    return "not" if count == 0 else f"{count} times"


@lru_cache
def _kinds(text: str) -> dict[tuple[int, int], list[str]]:
    """Kinds of all syntax nodes of a file, by their first character and the one behind the last."""
    kinds: dict[tuple[int, int], list[str]] = {}
    for node in syntax_nodes(SyntaxTree.fromText(text).root):
        place = (node.sourceRange.start.offset, node.sourceRange.end.offset)
        kinds.setdefault(place, []).append(node.kind.name)
    return kinds


def plant_all(defects: Iterable[Defect], texts: Mapping[str, str]) -> list[Mutant]:
    """All rows as changes, in their order. Errors: as `plant`."""
    return [plant(defect, texts) for defect in defects]


def chosen_numbers(defects: Sequence[Defect], wanted: Sequence[str]) -> list[int]:
    """The numbers, from 1, of the rows that are named by number or by name. Errors: UserError if one is not there."""
    names = [defect.name for defect in defects]
    numbers = []
    for each in wanted:
        number = int(each) if each.isdigit() else names.index(each) + 1 if each in names else 0
        if not 1 <= number <= len(names):
            raise UserError(f"There is no defect {each}; give a name of {DEFECTS.name}, or 1 to {len(names)}.")
        numbers.append(number)
    return numbers


def is_case_of(case_id: str, name: str) -> bool:
    """Whether an id is `name`, or begins with it up to a point."""
    return f"{case_id}.".startswith(f"{name}.")
