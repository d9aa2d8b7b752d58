# SPDX-License-Identifier: Apache-2.0
"""`python -m sim run mixed --seed N --shrink`: from a failing case to the shortest one that fails in the same way."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from models.errors import UserError
from sim.build import Flavour, build
from sim.console import console
from sim.paths import BUILD
from sim.simulation import simulate
from tb.case import DEFAULT_CONFIGURATION
from tb.cocotb_shrink import SHRUNK_CASE, SHRUNK_FILE

MODULE = "tb.cocotb_shrink"
MOST_RUNS = 400
TIMEOUT = 1800.0
"""Seconds of the simulator process."""


def shrink_case(seed: int, parameters: dict[str, Any], flavour: Flavour, out: Path | None = None) -> Path:
    """The directory of the shortest case. Errors: UserError if the case passes, or the simulator gave up."""
    directory = (out or BUILD / "shrunk" / f"mixed-seed{seed}").resolve()
    directory.mkdir(parents=True, exist_ok=True)
    found, spec = directory / SHRUNK_FILE, directory / "spec.json"
    found.unlink(missing_ok=True)
    content = {"seed": seed, "parameters": parameters, "out": str(directory), "most_runs": MOST_RUNS}
    spec.write_text(json.dumps(content), encoding="utf-8")
    executable = build(flavour, str(parameters.get("configuration", DEFAULT_CONFIGURATION)))
    outcome = simulate(executable, MODULE, out=directory, spec=spec, seed=seed, timeout=TIMEOUT)
    if not outcome.passed or not found.is_file():
        raise UserError(f"The case was not shrunk: {outcome.failure}")
    told = json.loads(found.read_text(encoding="utf-8"))
    console.print(told["first"], markup=False, soft_wrap=True)
    for name in ("steps", "requests", "cycles"):
        console.print(f"{name}: {told[name][0]} -> {told[name][1]}", markup=False)
    console.print(f"after {told['runs']} runs: {told['line']}", markup=False, soft_wrap=True)
    console.print(
        f"the case: {directory / SHRUNK_CASE}; copied to tb/data/regressions/NAME it becomes a test",
        markup=False,
        soft_wrap=True,
    )
    return directory / SHRUNK_CASE
