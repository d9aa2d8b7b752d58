# SPDX-License-Identifier: Apache-2.0
"""The cases of the bench in which requests wait for the host."""

from __future__ import annotations

from typing import Any

import numpy as np

from models.arrays import Words
from models.fault_records import replay_all_command
from tb.bench.plan import ARRAY_PAGES, ROOT_SPAN, Plan, page_addresses
from tb.case import Case
from tb.host_script import When

MOST_FAULTS = 64
"""What the table of bars speaks of; less, where the device has fewer places."""
FULL_READ_LATENCY = 1500
"""Cycles that the walks of hits_while_full last, at the least: longer than the hits take."""
FULL_HITS = 300
"""Requests of each port."""
FULL_HIT_PAGES = 2
WALKS_BEGIN_CYCLES = 300
"""After so many cycles every walk that was asked for is under way."""
MISSING_VA = 17 * ROOT_SPAN
PRESENT_VA = 19 * ROOT_SPAN


def _ask_spread(plan: Plan, va: Words) -> tuple[int, int]:
    """Requests of all ports in turn."""
    return plan.ask(va, client=np.arange(va.size) % plan.ports + 1)


def _faults(seed: int, parameters: dict[str, Any], latency: int, read_latency: int) -> Case:
    """Faults on pages side by side whose array is missing; then it is linked, and REPLAY_ALL."""
    plan = Plan(seed, parameters, latency, read_latency)
    faults = min(MOST_FAULTS, plan.device.fault_slots)
    address, word = plan.missing_array(MISSING_VA)
    plan.enable_faults(faults)
    plan.map_pages(PRESENT_VA, 1)
    plan.ask(page_addresses(PRESENT_VA, np.arange(1)))
    plan.wait_for_answers()
    first, end = _ask_spread(plan, page_addresses(MISSING_VA, np.arange(faults)))
    plan.wait_for_records(faults)
    plan.script.write_memory(address, word)
    plan.script.command(replay_all_command())
    return plan.build(rows=[first, end], faults=faults)


def many_faults(seed: int, parameters: dict[str, Any], latency: int) -> Case:
    """As many faults as there are places, on pages of their own. Reads come at once, so that the records wait."""
    return _faults(seed, parameters, latency, 0)


def replay(seed: int, parameters: dict[str, Any], latency: int) -> Case:
    """Faults that wait, all records written; the tables are mended with one store; REPLAY_ALL."""
    return _faults(seed, parameters, latency, latency)


def hits_while_full(seed: int, parameters: dict[str, Any], latency: int) -> Case:
    """Every place of the fault buffer is taken: by faults that nobody answers, and by as many walks as there are."""
    plan = Plan(seed, parameters, latency, FULL_READ_LATENCY)
    places = plan.device.fault_slots
    walks = min(plan.device.of("Walks", 1), places - 1)
    faults = places - walks
    pages = np.arange(min(FULL_HIT_PAGES, plan.device.of("TlbEntries", 1)))
    address, word = plan.missing_array(MISSING_VA)
    plan.enable_faults(faults)
    plan.map_pages(PRESENT_VA, ARRAY_PAGES)
    for port in range(1, plan.ports + 1):
        plan.ask(page_addresses(PRESENT_VA, np.repeat(pages, 2)), client=port)
    plan.wait_for_answers()
    _ask_spread(plan, page_addresses(MISSING_VA, np.arange(faults)))
    plan.wait_for_records(faults)
    # One line each, and none that the hits have read.
    walking = _ask_spread(plan, page_addresses(PRESENT_VA, 8 * np.arange(2, walks + 2)))
    plan.script.nop(When(delay=WALKS_BEGIN_CYCLES))
    first, end = plan.ask_all_ports([page_addresses(PRESENT_VA, np.resize(pages, FULL_HITS))] * plan.ports)
    # Of all requests the faults' alone are not answered then.
    plan.script.nop(When(after_request=plan.builder.asked - faults))
    plan.script.write_memory(address, word)
    plan.script.command(replay_all_command())
    return plan.build(rows=[first, end], walks=list(walking))
