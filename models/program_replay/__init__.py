# SPDX-License-Identifier: Apache-2.0
"""Recorded programs as work for host and device: calls, accesses, and every byte that they must find."""

from models.program_replay.content import LINE_BYTES
from models.program_replay.dry_run import check_calls
from models.program_replay.judge import Mismatch, find_mismatches
from models.program_replay.plan import Operation, PlanOptions, ReplayPlan, make_plan
from models.program_replay.pressure import Pressure, PressureCounters
from models.program_replay.replay import AccessLanes, Replay, ReplayResults, Status

__all__ = [
    "LINE_BYTES",
    "AccessLanes",
    "Mismatch",
    "Operation",
    "PlanOptions",
    "Pressure",
    "PressureCounters",
    "Replay",
    "ReplayPlan",
    "ReplayResults",
    "Status",
    "check_calls",
    "find_mismatches",
    "make_plan",
]
