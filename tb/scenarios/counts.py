# SPDX-License-Identifier: Apache-2.0
"""Small cases in which every hit, walk and read is counted: the device is as economical as docs/theory_of_operation.md
says. A seed chooses the case, so as many seeds as there are cases are all of them.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from models.errors import UserError
from tb.case import Case
from tb.scenarios.counted_blocks import blocks_whole, lines_coalesced
from tb.scenarios.counted_caches import (
    arrays_held,
    blocks_held,
    contexts_held,
    directories_held,
    first_level_held,
    lines_held,
)
from tb.scenarios.counted_invalidations import contexts_spared, ranges_spared, walk_touched
from tb.scenarios.counted_turns import empty_place_first, refilled_in_place, upgraded_in_place
from tb.scenarios.counted_walks import (
    LONG_LATENCY,
    contexts_apart,
    faults_fill_nothing,
    levels_apart,
    line_any_moment,
    permission_fills_nothing,
    shared_line,
    shared_reads,
)
from tb.scenarios.counted_world import LATENCY, CountedWorld

COUNTS: dict[str, tuple[Callable[[CountedWorld], None], int]] = {
    "shared_reads": (shared_reads, LONG_LATENCY),
    "shared_line": (shared_line, LONG_LATENCY),
    "contexts_apart": (contexts_apart, LONG_LATENCY),
    "levels_apart": (levels_apart, LONG_LATENCY),
    "faults_fill_nothing": (faults_fill_nothing, LATENCY),
    "permission_fills_nothing": (permission_fills_nothing, LATENCY),
    "contexts_held": (contexts_held, LATENCY),
    "arrays_held": (arrays_held, LATENCY),
    "directories_held": (directories_held, LATENCY),
    "first_level_held": (first_level_held, LATENCY),
    "lines_held": (lines_held, LATENCY),
    "blocks_held": (blocks_held, LATENCY),
    "lines_coalesced": (lines_coalesced, LATENCY),
    "blocks_whole": (blocks_whole, LATENCY),
    "refilled_in_place": (refilled_in_place, LATENCY),
    "upgraded_in_place": (upgraded_in_place, LATENCY),
    "empty_place_first": (empty_place_first, LATENCY),
    "line_any_moment": (line_any_moment, LATENCY),
    "ranges_spared": (ranges_spared, LATENCY),
    "contexts_spared": (contexts_spared, LATENCY),
    "walk_touched": (walk_touched, LONG_LATENCY),
}
"""By name: what is asked and counted, and the latency of a read."""


def counts(seed: int, parameters: dict[str, Any]) -> Case:
    """One case of COUNTS. `case`: its name; else the seed chooses. `configuration`: of the device, as in CaseBuilder.

    Stimulus: requests into caches that are empty, or hold what is known, mostly one at a time.
    Checking: every answer, as always; and after each step the device's counters of first-level hits, second-level hits,
    walks and reads of walks, exactly.
    """
    name = str(parameters.get("case", list(COUNTS)[seed % len(COUNTS)]))
    if name not in COUNTS:
        raise UserError(f"There is no counted case {name}; choose one of {', '.join(COUNTS)}.")
    act, latency = COUNTS[name]
    world = CountedWorld(seed, {**parameters, "case": name}, latency=latency)
    act(world)
    return world.builder.build()
