# SPDX-License-Identifier: Apache-2.0
"""What the device was measured at (tb/data/device_figures.yaml), so that a change that makes it slower is told.

A bar says what the device must reach; a figure, what it did reach. `python -m sim bench device --write` writes them.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from pathlib import Path

import yaml
from pydantic import BaseModel, ConfigDict, ValidationError

from models.errors import UserError
from tb.bench.bars import Judged

FIGURES_FILE = Path(__file__).resolve().parent.parent / "data" / "device_figures.yaml"
ALLOWANCE = 0.05
"""The part by which a figure may be worse: cases of the regressions draw other pages than the bench."""
HEADER = """\
# SPDX-License-Identifier: Apache-2.0
# What the device was measured at, by configuration, row of device_bars.yaml, and latency L of memory: cycles and rates.
# Written by `python -m sim bench device --write`. A case of the bench that is worse than this by more than a twentieth
# fails; if that is meant, write the file anew.
"""
Recorded = dict[str, dict[str, dict[int, float]]]
"""Figures by configuration, row and L."""


class _Figures(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    figures: Recorded


def read_figures(path: Path) -> Recorded:
    """The figures of a file. Errors: UserError with the place of what is wrong."""
    try:
        return _Figures.model_validate(yaml.safe_load(path.read_text(encoding="utf-8"))).figures
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        place = ".".join(str(step) for step in first["loc"])
        raise UserError(f"{path}: {place}: {first['msg']}; mend it.") from None
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise UserError(f"{path} cannot be read ({str(error).splitlines()[0]}); give a file of figures.") from None


@cache
def recorded_figures() -> Recorded:
    """The figures of the project."""
    return read_figures(FIGURES_FILE)


def figures_text(judged: Sequence[Judged]) -> str:
    """The file for what was measured."""
    found: Recorded = {}
    for each in judged:
        if each.figure is not None:
            found.setdefault(each.configuration, {}).setdefault(each.row, {})[each.latency] = round(each.figure, 4)
    body = yaml.safe_dump({"figures": found}, sort_keys=False, default_flow_style=None, width=120)
    return HEADER + body


def worse_than_recorded(judged: Judged, recorded: Recorded) -> float | None:
    """The recorded figure if this one is worse by more than the allowance; None if not, or if there is none of it."""
    figure = recorded.get(judged.configuration, {}).get(judged.row, {}).get(judged.latency)
    if figure is None or judged.figure is None:
        return None
    if judged.formula.startswith("≤"):
        return figure if judged.figure > figure * (1 + ALLOWANCE) else None
    return figure if judged.figure < figure * (1 - ALLOWANCE) else None
