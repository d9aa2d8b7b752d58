# SPDX-License-Identifier: Apache-2.0
"""`python -m sim races`: the race matrix, as JSON and as a picture. See docs/races.md."""

from __future__ import annotations

import json
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from models.errors import UserError
from sim.build import FLAVOURS, Flavour, build
from sim.console import console
from sim.paths import BUILD
from sim.race_picture import draw_matrix
from sim.simulation import simulate
from tb.races.actions import HOST_ACTIONS
from tb.races.events import DEVICE_EVENTS
from tb.races.explore import STALE_DRAWS, VARIANTS

MODULE = "tb.races.cocotb_races"
MATRIX_FILE = "matrix.json"
PICTURE_FILE = "matrix.svg"
TIMEOUT = 1800.0
"""Seconds of one simulator process."""

Pair = tuple[str, str]


@dataclass(frozen=True)
class RaceOptions:
    """What a person asked for. `pairs`: texts ACTION,EVENT, either of them `all`; none means the whole matrix.

    `at`: one run alone, VARIANT:CYCLE.
    """

    pairs: tuple[str, ...] = ()
    seed: int = 1
    flavour: str = "fast"
    jobs: int = 1
    at: str | None = None
    out: Path = BUILD / "races"


def chosen_pairs(texts: tuple[str, ...]) -> list[Pair]:
    """The cells that are meant, in the order of the matrix. Errors: UserError for a name that is not there."""
    wanted: set[Pair] = set()
    for text in texts or ("all,all",):
        action, _, event = text.partition(",")
        for name, known in ((action, HOST_ACTIONS), (event, DEVICE_EVENTS)):
            if name != "all" and name not in known:
                raise UserError(
                    f"There is no {name!r} in {text}; give ACTION,EVENT with one of all, {', '.join(known)}."
                )
        wanted |= {
            (one, other)
            for one in (HOST_ACTIONS if action == "all" else (action,))
            for other in (DEVICE_EVENTS if event == "all" else (event,))
        }
    return [(action, event) for action in HOST_ACTIONS for event in DEVICE_EVENTS if (action, event) in wanted]


def chosen_run(text: str | None, pairs: list[Pair]) -> list[int] | None:
    """[variant, cycle] of the one run that is meant. Errors: UserError if it cannot be."""
    if text is None:
        return None
    variant, _, cycle = text.partition(":")
    if not (variant.isdigit() and cycle.isdigit() and int(variant) < len(VARIANTS) + STALE_DRAWS):
        most = len(VARIANTS) + STALE_DRAWS
        raise UserError(f"Give --at as VARIANT:CYCLE, with a variant below {most}: {text} is not.")
    if len(pairs) != 1:
        raise UserError("Give one --pair ACTION,EVENT with --at.")
    return [int(variant), int(cycle)]


def chosen_flavour(text: str) -> Flavour:
    """The build. Errors: UserError if there is no such."""
    for flavour in FLAVOURS:
        if flavour == text:
            return flavour
    raise UserError(f"There is no build {text}; choose one of {', '.join(FLAVOURS)}.")


def explore(options: RaceOptions) -> dict[str, Any]:
    """Explores, writes matrix.json and matrix.svg into `out`, and returns the matrix. Errors: UserError."""
    pairs = chosen_pairs(options.pairs)
    at = chosen_run(options.at, pairs)
    executable = build(chosen_flavour(options.flavour))
    # Every other cell: neighbours take about as long as each other.
    shares = [share for share in (pairs[job :: options.jobs] for job in range(options.jobs)) if share]
    begun = time.monotonic()

    def run(job: int) -> tuple[str, list[dict[str, Any]]]:
        out = options.out.resolve() / f"job{job}"
        out.mkdir(parents=True, exist_ok=True)
        spec, cells = out / "spec.json", out / "cells.json"
        cells.unlink(missing_ok=True)
        content = {"pairs": shares[job], "seed": options.seed, "out": str(out), "at": at}
        spec.write_text(json.dumps(content), encoding="utf-8")
        outcome = simulate(executable, MODULE, out=out, spec=spec, seed=options.seed, timeout=TIMEOUT)
        return outcome.failure, json.loads(cells.read_text(encoding="utf-8")) if cells.is_file() else []

    with ThreadPoolExecutor(len(shares)) as pool:
        results = list(pool.map(run, range(len(shares))))
    cells = [cell for _, share in results for cell in share]
    order = {pair: place for place, pair in enumerate(pairs)}
    cells.sort(key=lambda cell: order[cell["action"], cell["event"]])
    matrix = {
        "seed": options.seed,
        "build": options.flavour,
        "seconds": round(time.monotonic() - begun, 1),
        "passed": all(not failure for failure, _ in results) and len(cells) == len(pairs),
        "cells": cells,
        "failures": [failure for failure, _ in results if failure],
    }
    options.out.mkdir(parents=True, exist_ok=True)
    (options.out / MATRIX_FILE).write_text(json.dumps(matrix, indent=1) + "\n", encoding="utf-8")
    if at is None:
        draw_matrix(cells, options.out / PICTURE_FILE)
    return matrix


def run_races(options: RaceOptions) -> bool:
    """Explores and tells; True if every cell is good. Errors: UserError."""
    matrix = explore(options)
    cells = matrix["cells"]
    bad = [cell for cell in cells if not cell["passed"]]
    for cell in bad:
        for line in (*cell["problems"], *(f"rerun: {rerun}" for rerun in cell["reruns"])):
            console.print(line, markup=False, soft_wrap=True)
    if not bad:
        for failure in matrix["failures"]:
            console.print(failure, markup=False, soft_wrap=True)
    runs, cycles = sum(cell["runs"] for cell in cells), sum(cell["cycles"] for cell in cells)
    console.print(
        f"{len(cells) - len(bad)} of {len(cells)} cells good, {runs} runs, {cycles} cycles, {matrix['seconds']} s; "
        f"{options.out / MATRIX_FILE}",
        markup=False,
        soft_wrap=True,
    )
    return bool(matrix["passed"])
