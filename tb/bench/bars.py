# SPDX-License-Identifier: Apache-2.0
"""The bars of the bench as data (tb/data/device_bars.yaml), and whether a figure keeps its bar."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Annotated, Any

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from models.errors import UserError
from tb.bench.fault_cases import MOST_FAULTS
from tb.configurations import Configuration, configurations

BARS_FILE = Path(__file__).resolve().parent.parent / "data" / "device_bars.yaml"
NotNegative = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Linear(_Strict):
    """A number that grows with L, with the sets of the second level, with the faults that wait."""

    constant: NotNegative
    per_latency: NotNegative = 0
    per_set: NotNegative = 0
    per_fault: NotNegative = 0

    def at(self, device: Configuration, latency: int) -> float:
        """The number for a configuration at L."""
        faults = min(MOST_FAULTS, device.fault_slots)
        sets = device.of("SharedSets", 1)
        return self.constant + self.per_latency * latency + self.per_set * sets + self.per_fault * faults

    def text(self) -> str:
        """It as a person writes it."""
        grows = ((self.per_latency, "L"), (self.per_set, "sets"), (self.per_fault, "faults"))
        parts = [name if factor == 1 else f"{factor:g} {name}" for factor, name in grows if factor]
        return " + ".join([*parts, f"{self.constant:g}"])


class Rate(_Strict):
    """Translations a cycle of so many walks at once, each of so many dependent reads."""

    share: Positive
    walks: Positive
    reads: Positive
    overhead: Positive

    def at(self, latency: int) -> float:
        """The formula at L."""
        return self.share * self.walks / (self.reads * latency + self.overhead)

    @property
    def ceiling(self) -> float:
        """What a bus that carries one line a cycle allows, at the most."""
        return 1 / self.reads

    def text(self) -> str:
        """It as a person writes it."""
        latency = "L" if self.reads == 1 else f"{self.reads:g} L"
        return f"{self.share:g} × {self.walks:g} / ({latency} + {self.overhead:g})"


class Row(_Strict):
    """One row of the table: a figure of a case, and its bar, which is one of `most`, `least` and `rate`."""

    name: str
    what: str
    case: str
    figure: str
    most: Linear | None = None
    least: Linear | None = None
    rate: Rate | None = None
    configurations: tuple[str, ...] = ()

    @model_validator(mode="after")
    def _one_bar(self) -> Row:
        if sum(bar is not None for bar in (self.most, self.least, self.rate)) != 1:
            raise ValueError("give one of most, least and rate")
        return self

    @property
    def formula(self) -> str:
        """The bar in words."""
        if self.rate is not None:
            return f"≥ {self.rate.text()}"
        return f"≤ {self.most.text()}" if self.most is not None else f"≥ {self.least.text() if self.least else ''}"


class _Bars(_Strict):
    rows: tuple[Row, ...]


def read_bars(path: Path) -> tuple[Row, ...]:
    """The rows of a file. Errors: UserError with the place of what is wrong."""
    try:
        rows = _Bars.model_validate(yaml.safe_load(path.read_text(encoding="utf-8"))).rows
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        place = ".".join(str(step) for step in first["loc"])
        raise UserError(f"{path}: {place}: {first['msg'].removeprefix('Value error, ')}; mend it.") from None
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise UserError(f"{path} cannot be read ({str(error).splitlines()[0]}); give a table of bars.") from None
    names = [row.name for row in rows]
    for row in rows:
        if names.count(row.name) > 1:
            raise UserError(f"{path}: there are two rows {row.name}; give each a name of its own.")
        for name in row.configurations:
            if name not in configurations():
                raise UserError(f"{path}: {row.name} names a configuration {name}, which is not there.")
    return rows


@cache
def bars() -> tuple[Row, ...]:
    """The rows of the project."""
    return read_bars(BARS_FILE)


class Judged(BaseModel):
    """A row at one L in one configuration. `figure` None: it could not be measured. `applies`: the bar must be kept.

    `bar`: what counts. `formula_bar`: what the formula says; `ceiling`: what the bus allows at the most, for rates.
    """

    configuration: str
    latency: int
    row: str
    what: str
    formula: str
    figure: float | None
    bar: float
    formula_bar: float
    ceiling: float | None
    applies: bool
    kept: bool

    @property
    def passed(self) -> bool:
        """The bar is kept, or need not be."""
        return self.kept or not self.applies


def judge(row: Row, device: Configuration, latency: int, figures: dict[str, Any]) -> Judged:
    """Compares a figure with its bar; a figure that is not there keeps none."""
    value = figures.get(row.figure)
    ceiling = None
    if row.rate is not None:
        formula = row.rate.at(latency)
        ceiling = row.rate.ceiling
        bar = min(formula, row.rate.share * ceiling)
        kept = value is not None and value >= bar
    elif row.least is not None:
        bar = formula = row.least.at(device, latency)
        kept = value is not None and value >= bar
    else:
        assert row.most is not None  # one of the three is there
        bar = formula = row.most.at(device, latency)
        kept = value is not None and value <= bar
    return Judged(
        configuration=device.name,
        latency=latency,
        row=row.name,
        what=row.what,
        formula=row.formula,
        figure=value,
        bar=bar,
        formula_bar=formula,
        ceiling=ceiling,
        applies=device.name in row.configurations,
        kept=kept,
    )
