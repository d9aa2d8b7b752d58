# SPDX-License-Identifier: Apache-2.0
"""A device that runs while Python decides what comes next: requests and actions are handed over as they are made up.

Time passes only in the simulator: Python acts while it stands still, and every wait is one of simulated cycles. What is
decided depends on the case and its seed alone, so two runs are the same. A case that is data (tb/environment.py) needs
none of this.
"""

from __future__ import annotations

from dataclasses import dataclass

import cocotb
import numpy as np
from cocotb.handle import SimHandleBase
from cocotb.triggers import Event, Timer, ValueChange

from models.physical_memory import PhysicalMemory
from tb.case import MemorySettings
from tb.data_checks import check_shapes
from tb.dump import describe_stall
from tb.environment import FAILURES, Environment, Interrupted, make_settings
from tb.grant_log import overtaken_grants
from tb.records import (
    ACTION_DTYPE,
    ACTION_RESULT_DTYPE,
    DATA_BYTES,
    REQUEST_DTYPE,
    RESPONSE_DTYPE,
    ActionKind,
    ActionResults,
    Actions,
    Cause,
    Done,
    Events,
    RequestData,
    Requests,
    Responses,
)

CLOCK_NS = 10
LOOK_CYCLES = 8
"""How often Python looks whether requests are answered."""
DEFAULT_WATCHDOG_CYCLES = 50_000


@dataclass(eq=False)
class _Group:
    """Actions that somebody waits for; they are performed one after another, nobody's else in between."""

    actions: Actions
    done: Event
    results: ActionResults


class LiveDevice(Environment):
    """One for a cocotb test.

    Attributes: `memory`, what host and device share; `requests`, `responses`, `data` (uint8[n, DATA_BYTES], what
    requests moved or will move): those made so far, with room behind them.

    What the always-on checks find ends the test, unless `expects_failure`: then the first of it is in `failure`.
    """

    def __init__(self, dut: SimHandleBase) -> None:
        """`dut` is the handle of tb_top."""
        super().__init__(dut)
        self.memory = PhysicalMemory(1 << 12)
        self.requests: Requests = np.zeros(0, dtype=REQUEST_DTYPE)
        self.responses: Responses = np.zeros(0, dtype=RESPONSE_DTYPE)
        self.data: RequestData = np.zeros((0, DATA_BYTES), dtype=np.uint8)
        self.expects_failure = False
        self.failure = ""
        self._asked = 0
        self._queued: list[_Group] = []
        self._running: list[_Group] = []
        self._batch: Actions = np.zeros(0, dtype=ACTION_DTYPE)
        self._batch_results: ActionResults = np.zeros(0, dtype=ACTION_RESULT_DTYPE)

    async def start(
        self,
        memory: PhysicalMemory,
        settings: MemorySettings | None = None,
        *,
        device_memory: PhysicalMemory | None = None,
        seed: int = 1,
        most_requests: int = 4096,
        watchdog_cycles: int = DEFAULT_WATCHDOG_CYCLES,
    ) -> None:
        """Resets the device over `memory`, with memory of its own if it is given any.

        There will be at most `most_requests` requests.
        """
        self.memory = memory
        await self.reset(
            memory,
            make_settings(settings or MemorySettings(), seed=seed, watchdog_cycles=watchdog_cycles),
            device_memory=device_memory,
        )
        self.requests = np.zeros(most_requests, dtype=REQUEST_DTYPE)
        self.responses = np.zeros(most_requests, dtype=RESPONSE_DTYPE)
        self.data = np.zeros((most_requests, DATA_BYTES), dtype=np.uint8)
        self.simulator.set_requests(self.requests, self.responses, 0, self.data)
        await self.release_reset()
        cocotb.start_soon(self._serve_causes())

    def now(self) -> int:
        """The cycle."""
        return self.top.cycle_number()

    async def cycles(self, count: int) -> None:
        """Lets `count` cycles pass."""
        if count > 0:
            await Timer(count * CLOCK_NS, "ns")

    # Requests.

    def ask(self, requests: Requests, data: RequestData | None = None) -> list[int]:
        """Hands over requests behind those before; returns their places in `responses` and `data`.

        `data`: uint8[n, DATA_BYTES], copied; None: zeros. Errors: UserError for a length that cannot be moved.
        """
        given = np.zeros((requests.size, DATA_BYTES), dtype=np.uint8) if data is None else data
        check_shapes(requests, given)
        first = self._asked
        self._asked += requests.size
        self.requests[first : self._asked] = requests
        self.data[first : self._asked] = given
        self.simulator.post_requests(self._asked)
        return list(range(first, self._asked))

    def is_answered(self, place: int) -> bool:
        """Whether a request has its response."""
        return bool(int(self.responses["done"][place]) & Done.FINISHED)

    async def answered(self, places: list[int], limit: int = 200_000) -> Responses:
        """Waits until these requests have their responses, and returns those.

        Errors: AssertionError naming the first that has none after `limit` cycles.
        """
        end = self.now() + limit
        while not all(self.is_answered(place) for place in places):
            if self.now() >= end:
                first = next(place for place in places if not self.is_answered(place))
                raise AssertionError(f"request {first} has no response in {limit} cycles; cycle {self.now()}")
            await self.cycles(LOOK_CYCLES)
        return self.responses[places]

    # The host's actions.

    async def perform(self, actions: Actions) -> ActionResults:
        """Performs actions, one after another; returns what came of them."""
        if not actions.size:
            return np.zeros(0, dtype=ACTION_RESULT_DTYPE)
        group = _Group(actions, Event(), np.zeros(actions.size, dtype=ACTION_RESULT_DTYPE))
        self._queued.append(group)
        if not self._running:
            self._hand_over()
        await group.done.wait()
        return group.results

    async def write_register(self, register: int, value: int) -> None:
        """Writes a register. Errors: AssertionError if the bus does not answer OKAY."""
        results = await self.perform(one_action(ActionKind.WRITE_REGISTER, address=register, data=value))
        assert results["status"][0] == 0, f"the write of register {register:#x} failed"

    async def read_register(self, register: int, *, delay: int = 0) -> int:
        """Reads a register, `delay` cycles after what was before. Errors: AssertionError as write_register()."""
        results = await self.perform(one_action(ActionKind.READ_REGISTER, address=register, delay=delay))
        assert results["status"][0] == 0, f"the read of register {register:#x} failed"
        return int(results["data"][0])

    # The end.

    def log(self) -> Events:
        """The event log so far."""
        return self.simulator.events()

    async def finish(self) -> Events:
        """To be awaited at the end of a test; returns the event log.

        Errors: AssertionError for whatever the always-on checks found, and for a request without a response.
        """
        await self.cycles(4)
        violations, violation = self.simulator.owner_violations()
        failures, failure = self.simulator.assertion_failures()
        assert violations == 0, f"{violations} owner violations, first {violation}"
        assert failures == 0, f"{failures} assertions failed, first {failure}"
        waiting = [place for place in range(self._asked) if not self.is_answered(place)]
        assert not waiting, f"{len(waiting)} requests have no response, first {waiting[0]}"
        events = self.log()
        overtaken = overtaken_grants(events)
        assert not overtaken, overtaken[0]
        return events

    def _hand_over(self) -> None:
        """Everything that is queued becomes the next array of actions."""
        self._running, self._queued = self._queued, []
        total = sum(group.actions.size for group in self._running)
        self._batch = np.zeros(total, dtype=ACTION_DTYPE)
        self._batch_results = np.zeros(total, dtype=ACTION_RESULT_DTYPE)
        done = 0
        for group in self._running:
            self._batch[done : done + group.actions.size] = group.actions
            done += group.actions.size
        self.simulator.set_actions(self._batch, self._batch_results)

    def _take_results(self) -> None:
        stores = self._batch["kind"] == ActionKind.WRITE_MEMORY
        for row in self._batch[stores]:
            # What the host stored is true, whatever the device does to the shared bytes.
            place = (int(row["address"]) - self.memory.base) // 8
            self.memory.shadow_words[place] = row["data"]
        finished, self._running = self._running, []
        done = 0
        for group in finished:
            group.results[:] = self._batch_results[done : done + group.actions.size]
            done += group.actions.size
        if self._queued:
            self._hand_over()
        for group in finished:
            group.done.set()

    async def _serve_causes(self) -> None:
        while True:
            causes = self.simulator.take_causes()
            if Cause.KEYBOARD_INTERRUPT in causes:
                raise Interrupted("Interrupted.")
            if causes & FAILURES:
                if not self.expects_failure:
                    raise AssertionError(self._failure(causes))
                self.failure = self.failure or self._failure(causes)
            if Cause.ACTIONS_DONE in causes:
                self._take_results()
            await ValueChange(self.top.wake)

    def _failure(self, causes: Cause) -> str:
        if Cause.OWNER_VIOLATION in causes:
            return self.simulator.owner_violations()[1]
        if Cause.ASSERTION_FAILURE in causes:
            return self.simulator.assertion_failures()[1]
        asked = self.requests[: self._asked]
        return describe_stall(self.top, asked, self.responses[: self._asked], self._batch, self._batch_results)


def one_action(kind: ActionKind, *, address: int = 0, data: int = 0, mask: int = 0, delay: int = 0) -> Actions:
    """ACTION_DTYPE[1]."""
    action = np.zeros(1, dtype=ACTION_DTYPE)
    action["kind"], action["address"], action["data"] = kind, address, data
    action["mask"], action["delay"] = mask, delay
    return action


def stores(address: int, words: np.ndarray[tuple[int, ...], np.dtype[np.uint64]]) -> Actions:
    """Stores of words from `address` on, in order."""
    actions = np.zeros(words.size, dtype=ACTION_DTYPE)
    actions["kind"] = ActionKind.WRITE_MEMORY
    actions["address"] = address + 8 * np.arange(words.size, dtype=np.uint64)
    actions["data"] = words.ravel()
    return actions


def loads(address: int, count: int) -> Actions:
    """Loads of `count` words from `address` on, in order."""
    actions = np.zeros(count, dtype=ACTION_DTYPE)
    actions["kind"] = ActionKind.READ_MEMORY
    actions["address"] = address + 8 * np.arange(count, dtype=np.uint64)
    return actions


def join_actions(*parts: Actions) -> Actions:
    """Actions one after the other. (np.concatenate would pack the records, and lose their layout.)"""
    joined = np.zeros(sum(part.size for part in parts), dtype=ACTION_DTYPE)
    done = 0
    for part in parts:
        joined[done : done + part.size] = part
        done += part.size
    return joined
