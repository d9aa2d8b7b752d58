# SPDX-License-Identifier: Apache-2.0
"""Tests of the words for a case that makes no progress."""

from __future__ import annotations

import numpy as np

from models.structures import Access
from tb.drain import COUNTERS, counter_values, drain_actions
from tb.dump import SHOWN_REQUESTS, action_lines, request_lines
from tb.records import ACTION_DTYPE, ACTION_RESULT_DTYPE, REQUEST_DTYPE, RESPONSE_DTYPE, ActionKind, Done


def test_dump_requests() -> None:
    """
    Stimulus: one request that is done, one that waits, one that holds its grant, two that were never taken.
    Checking: a line for each that is open, with id and cycle; of those never taken only the next of each port.
    Covers: WATCHDOG
    """
    requests = np.zeros(5, dtype=REQUEST_DTYPE)
    requests["va"] = np.arange(5) * 0x1000
    requests["access"] = Access.WRITE
    requests["client"] = [1, 1, 1, 2, 1]
    requests["after_action"][3] = 17
    responses = np.zeros(5, dtype=RESPONSE_DTYPE)
    responses["done"][:3] = [7, Done.ACCEPTED, Done.ACCEPTED | Done.FINISHED]
    responses["id"][1] = 9
    responses["accept_cycle"][1] = 123
    responses["finish_cycle"][2] = 456
    assert request_lines(requests, responses) == [
        "2 of 5 requests have a response",
        "request 1 (WRITE va 0x1000 pasid 0 client 1) under id 9 waits since cycle 123",
        "request 2 (WRITE va 0x2000 pasid 0 client 1) holds its grant since cycle 456",
        "request 4 (WRITE va 0x4000 pasid 0 client 1) is the next, after 0 actions",
        "request 3 (WRITE va 0x3000 pasid 0 client 2) is the next, after 17 actions",
    ]
    responses["done"] = Done.ACCEPTED
    assert len(request_lines(np.resize(requests, 50), np.resize(responses, 50))) == 1 + SHOWN_REQUESTS


def test_dump_actions() -> None:
    """
    Stimulus: two actions of which one is done, then both.
    Checking: the open one is described; nothing more is said when none is open.
    Covers: WATCHDOG
    """
    actions = np.zeros(2, dtype=ACTION_DTYPE)
    actions["kind"] = [ActionKind.NOP, ActionKind.WAIT_MEMORY]
    actions["address"][1] = 0x40
    results = np.zeros(2, dtype=ACTION_RESULT_DTYPE)
    results["done"][0] = 1
    lines = action_lines(actions, results)
    assert lines[0] == "1 of 2 actions are done"
    assert lines[1].startswith("action 1 is the next: WAIT_MEMORY address 0x40 ")
    results["done"] = 1
    assert action_lines(actions, results) == ["2 of 2 actions are done"]


def test_drain_counters() -> None:
    """
    Stimulus: results of the actions after a case, each with its own value.
    Checking: every counter gets the value of the read of its own register; the latch comes before the reads.
    Covers: COUNTERS
    """
    actions = drain_actions()
    results = np.zeros(actions.size, dtype=ACTION_RESULT_DTYPE)
    results["data"] = actions["address"]
    assert counter_values(results) == {register.name: int(register) for register in COUNTERS}
    assert actions["kind"][:2].tolist() == [ActionKind.WAIT_REGISTER, ActionKind.WRITE_REGISTER]
    assert set(actions["kind"][2:].tolist()) == {int(ActionKind.READ_REGISTER)}
