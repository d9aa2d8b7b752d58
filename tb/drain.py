# SPDX-License-Identifier: Apache-2.0
"""What the host does after a case: waits until the device is idle, then latches and reads its counters."""

from __future__ import annotations

import numpy as np

from models.registers import STATUS_BUSY, Register
from tb.records import ACTION_DTYPE, ActionKind, ActionResults, Actions

COUNTERS = (
    Register.COUNTER_CYCLES,
    Register.COUNTER_REQUESTS,
    Register.COUNTER_HITS,
    Register.COUNTER_SHARED_HITS,
    Register.COUNTER_WALKS,
    Register.COUNTER_WALK_READS,
    Register.COUNTER_ABORTED,
    Register.COUNTER_INVALIDATIONS,
    Register.COUNTER_FENCES,
    Register.COUNTER_DROPPED_WALKS,
    Register.COUNTER_STALLED,
)


def drain_actions() -> Actions:
    """ACTION_DTYPE[n]: wait for idle, latch, one read for each of COUNTERS."""
    actions = np.zeros(2 + len(COUNTERS), dtype=ACTION_DTYPE)
    actions["kind"] = ActionKind.READ_REGISTER
    actions["kind"][0] = ActionKind.WAIT_REGISTER
    actions["address"][0] = Register.STATUS
    actions["mask"][0] = STATUS_BUSY.mask
    actions["kind"][1] = ActionKind.WRITE_REGISTER
    actions["address"][1] = Register.COUNTER_LATCH
    actions["data"][1] = 1
    actions["address"][2:] = COUNTERS
    return actions


def counter_values(results: ActionResults) -> dict[str, int]:
    """Counters by register name, from the results of drain_actions()."""
    return {register.name: int(value) for register, value in zip(COUNTERS, results["data"][2:], strict=True)}
