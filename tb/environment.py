# SPDX-License-Identifier: Apache-2.0
"""The simulation as Python sees it: reset, and cases that run from reset to their end or their first failure."""

from __future__ import annotations

import hashlib
from typing import Literal

import numpy as np
from cocotb.handle import SimHandleBase
from cocotb.triggers import ClockCycles, FallingEdge, ValueChange
from numpy.typing import NDArray

from models.errors import UserError
from models.physical_memory import PhysicalMemory
from tb.adapter.top import Top
from tb.case import Case, CaseResult, MemorySettings, fill_memory
from tb.data_checks import check_shapes
from tb.drain import counter_values, drain_actions
from tb.dump import describe_stall
from tb.records import (
    ACTION_RESULT_DTYPE,
    RESPONSE_DTYPE,
    SETTINGS_DTYPE,
    ActionKind,
    ActionResults,
    Cause,
    Events,
    RequestData,
    Responses,
    SettingsFlag,
)
from tb.simulator import Simulator

CasePath = Literal["batch", "agent"]

RESET_CYCLES = 2
FAILURES = Cause.STALLED | Cause.OWNER_VIOLATION | Cause.ASSERTION_FAILURE
"""Causes that end a case at once."""


class Interrupted(Exception):
    """Somebody asked the process to end, at the keyboard or with a signal."""


def hash_events(events: Events) -> str:
    """SHA-256 of the rows of an event log, as hexadecimal digits."""
    return hashlib.sha256(events.tobytes()).hexdigest()


def make_settings(
    memory: MemorySettings,
    *,
    seed: int = 1,
    watchdog_cycles: int = 0,
    report_fetched: bool = False,
    device_events: bool = False,
) -> NDArray[np.void]:
    """One row of SETTINGS_DTYPE."""
    settings = np.zeros(1, dtype=SETTINGS_DTYPE)
    settings["seed"] = seed
    settings["watchdog_cycles"] = watchdog_cycles
    settings["flags"] = SettingsFlag.REPORT_FETCHED * report_fetched | SettingsFlag.DEVICE_EVENTS * device_events
    settings["read_latency_min"], settings["read_latency_max"] = memory.read_latency
    settings["write_latency_min"], settings["write_latency_max"] = memory.write_latency
    settings["ar_pause"] = memory.ar_pause
    settings["r_pause"] = memory.r_pause
    settings["aw_pause"] = memory.aw_pause
    settings["w_pause"] = memory.w_pause
    settings["b_pause"] = memory.b_pause
    return settings


def check_case(case: Case) -> None:
    """Refuses what the testbench cannot perform. Errors: UserError."""
    for name, (least, most) in (("read", case.memory.read_latency), ("write", case.memory.write_latency)):
        if least > most:
            raise UserError(f"Give the {name} latency of {case.name} as (smallest, largest), not ({least}, {most}).")
    kinds = case.actions["kind"]
    unknown = np.flatnonzero(~np.isin(kinds, [int(kind) for kind in ActionKind]))
    if unknown.size:
        raise UserError(f"Give action {unknown[0]} of {case.name} a kind that exists: {kinds[unknown[0]]} does not.")
    check_shapes(case.requests, case.request_data)


class _Run:
    """The arrays of one case while it runs."""

    def __init__(self, case: Case, path: CasePath) -> None:
        self.path = path
        self.memory = PhysicalMemory(case.memory.size, case.memory.base)
        fill_memory(self.memory, case.image)
        self.wanted = np.ascontiguousarray(case.requests)
        # An agent's requests come bit by bit.
        self.requests = self.wanted.copy() if path == "batch" else np.zeros_like(self.wanted)
        self.data: RequestData = case.request_data.copy()
        self.posted = 0
        self._rows_by_client: dict[int, NDArray[np.intp]] = {}
        self.actions = np.ascontiguousarray(case.actions)
        self.responses: Responses = np.zeros(self.wanted.size, dtype=RESPONSE_DTYPE)
        self.results: ActionResults = np.zeros(self.actions.size, dtype=ACTION_RESULT_DTYPE)

    def post_ahead(self, fetched: list[int]) -> int:
        """Fills in requests until every port has its next one, if it has one; returns how many are filled in by then.

        `fetched`: by client number, how many requests its transactor has taken.
        """
        first = self.posted
        for client, taken in enumerate(fetched):
            rows = self._rows_of(client)
            if taken < rows.size:
                self.posted = max(self.posted, int(rows[taken]) + 1)
        self.requests[first : self.posted] = self.wanted[first : self.posted]
        return self.posted

    def _rows_of(self, client: int) -> NDArray[np.intp]:
        if client not in self._rows_by_client:
            self._rows_by_client[client] = np.flatnonzero(self.wanted["client"] == client)
        return self._rows_by_client[client]


class Environment:
    """One for a cocotb test. Runs any number of cases one after the other."""

    def __init__(self, dut: SimHandleBase) -> None:
        """`dut` is the handle of tb_top. Errors: SimulatorError if the executable is not of this testbench."""
        self.top = Top(dut)
        self.simulator = Simulator()

    async def reset(
        self,
        memory: PhysicalMemory,
        settings: NDArray[np.void],
        *,
        device_memory: PhysicalMemory | None = None,
        pins: bool = False,
    ) -> None:
        """Clears everything of the last case, maps the memory, and resets the device; returns while reset is active.

        `device_memory`: the device's own, if it has any.
        `pins`: client port and registers are driven by pins from here on, and not by the case's arrays.
        """
        top = self.top
        top.reset_n.value = 0
        top.pin_client.value = int(pins)
        top.pin_axil.value = int(pins)
        self.simulator.clear()
        self.simulator.set_settings(settings)
        self.simulator.map_memory(memory)
        if device_memory is not None:
            self.simulator.map_device_memory(device_memory)
        await ClockCycles(top.clock, RESET_CYCLES)

    async def release_reset(self) -> None:
        """Lets the device run: the next rising edge ends cycle 0."""
        await FallingEdge(self.top.clock)
        self.top.reset_n.value = 1

    async def run(self, case: Case, path: CasePath = "batch", *, device_events: bool = False) -> CaseResult:
        """Runs a case from reset to the end, or to its first failure, after which arrays are filled as far as it came.

        `path` "batch" hands all requests over at once; "agent" hands a port's next one over when the port took the one
        before it: the cycles are the same. Errors: UserError for a case that cannot be performed; Interrupted.
        """
        check_case(case)
        run = _Run(case, path)
        settings = make_settings(
            case.memory,
            seed=case.seed,
            watchdog_cycles=case.watchdog_cycles,
            report_fetched=path == "agent",
            device_events=device_events,
        )
        await self.reset(run.memory, settings)
        posted = run.post_ahead(self.simulator.requests_fetched()) if path == "agent" else run.requests.size
        self.simulator.set_requests(run.requests, run.responses, posted, run.data if run.data.size else None)
        self.simulator.set_actions(run.actions, run.results)
        await self.release_reset()

        everything = Cause(0)
        if run.requests.size:
            everything |= Cause.REQUESTS_DONE
        if run.actions.size:
            everything |= Cause.ACTIONS_DONE
        actions, results = run.actions, run.results
        counters: dict[str, int] = {}
        failures = await self._wait(everything, run)
        if not failures:
            actions = drain_actions()
            results = np.zeros(actions.size, dtype=ACTION_RESULT_DTYPE)
            self.simulator.set_actions(actions, results)
            failures = await self._wait(Cause.ACTIONS_DONE, run)
            if not failures:
                counters = counter_values(results)
        stalled = Cause.STALLED in failures
        dump = describe_stall(self.top, run.wanted, run.responses, actions, results) if stalled else ""
        return self._result(run, counters, dump, stalled)

    async def _wait(self, everything: Cause, run: _Run) -> Cause:
        """Waits until all of `everything` was raised, or a failure. Returns the failures. Errors: Interrupted."""
        seen = Cause(0)
        while everything & ~seen:
            seen |= self.simulator.take_causes()
            if Cause.KEYBOARD_INTERRUPT in seen:
                raise Interrupted("Interrupted.")
            if seen & FAILURES:
                break
            if Cause.REQUEST_FETCHED in seen:
                seen &= ~Cause.REQUEST_FETCHED
                self.simulator.post_requests(run.post_ahead(self.simulator.requests_fetched()))
            if everything & ~seen:
                await ValueChange(self.top.wake)
        return seen & FAILURES

    def _result(self, run: _Run, counters: dict[str, int], dump: str, stalled: bool) -> CaseResult:
        events = self.simulator.events()
        owner_violations, owner_violation = self.simulator.owner_violations()
        assertion_failures, assertion_failure = self.simulator.assertion_failures()
        return CaseResult(
            responses=run.responses,
            action_results=run.results,
            events=events,
            event_hash=hash_events(events),
            cycles=self.top.cycle_number(),
            device_events=self.simulator.device_events(),
            request_data=run.data,
            counters=counters,
            owner_violations=owner_violations,
            owner_violation=owner_violation,
            assertion_failures=assertion_failures,
            assertion_failure=assertion_failure,
            stalled=stalled,
            dump=dump,
        )
