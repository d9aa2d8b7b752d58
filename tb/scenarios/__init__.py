# SPDX-License-Identifier: Apache-2.0
"""Scenarios by name: functions of a seed and parameters that give a case, the same one each time."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tb.case import Case
from tb.scenarios.bench import bench
from tb.scenarios.clients import clients
from tb.scenarios.counts import counts
from tb.scenarios.directed import levels, reasons, smoke
from tb.scenarios.fences import bus_errors, fences
from tb.scenarios.halves import halves
from tb.scenarios.invalidate import invalidate
from tb.scenarios.kernel_arrays import kernel_arrays
from tb.scenarios.mixed import mixed
from tb.scenarios.pitfalls import pitfalls
from tb.scenarios.races import races
from tb.scenarios.random_tables import pressure, random_tables
from tb.scenarios.soft_resets import soft_resets

Scenario = Callable[[int, dict[str, Any]], Case]

SCENARIOS: dict[str, Scenario] = {
    "smoke": smoke,
    "reasons": reasons,
    "levels": levels,
    "random_tables": random_tables,
    "pressure": pressure,
    "invalidate": invalidate,
    "clients": clients,
    "races": races,
    "halves": halves,
    "mixed": mixed,
    "pitfalls": pitfalls,
    "counts": counts,
    "soft_resets": soft_resets,
    "fences": fences,
    "bus_errors": bus_errors,
    "kernel_arrays": kernel_arrays,
    "bench": bench,
}
"""What `python -m sim run` knows, and what a list of cases may name."""
