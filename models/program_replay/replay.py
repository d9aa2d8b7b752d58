# SPDX-License-Identifier: Apache-2.0
"""The host's thread of a replay: accesses are handed over, calls are made between them, the device does the rest.

A call is made once all earlier accesses to its pages are done; accesses elsewhere stay in flight. What comes after a
call is handed over when it has returned. Source: docs/programs.md, "Order".
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import IntEnum
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from models.arrays import PAGE_SHIFT, Bytes, Words
from models.hmm import MemoryMap
from models.program_replay.content import LINE_BYTES
from models.program_replay.host_calls import call_ranges, map_initial, perform_call
from models.program_replay.plan import Call, ReplayPlan
from models.program_replay.pressure import Pressure

CHUNK = 1024
"""Pieces that are handed over at once at most."""


class Status(IntEnum):
    """What became of a piece."""

    NOT_DONE = 0
    OK = 1
    ABORTED = 2
    BUS_ERROR = 3


@dataclass
class ReplayResults:
    """What the device answered, for n pieces: `status` uint8[n], `reason` uint8[n] (a models.structures.Reason),
    `found` uint8[n, 64] (READ: what was read; ADD: what was there before), `cycle` uint64[n] when it was done.
    """

    status: NDArray[np.uint8]
    reason: NDArray[np.uint8]
    found: Bytes
    cycle: Words

    @classmethod
    def empty(cls, count: int) -> ReplayResults:
        """Nothing is done yet."""
        return cls(
            np.zeros(count, dtype=np.uint8),
            np.zeros(count, dtype=np.uint8),
            np.zeros((count, LINE_BYTES), dtype=np.uint8),
            np.zeros(count, dtype=np.uint64),
        )


class AccessLanes(Protocol):
    """A device that performs pieces of a plan: on every lane the pieces of one page in their order."""

    @property
    def results(self) -> ReplayResults:
        """What came of the pieces; final for those that wait_done() waited for."""
        ...

    async def post(self, first: int, last: int) -> None:
        """Hand over pieces [first, last), which follow those before; waits while too many are not done."""
        ...

    async def wait_done(self, pieces: NDArray[np.int64]) -> None:
        """Wait until these pieces, all of them handed over, are done."""
        ...


class Replay:
    """One program on one address space. `progress` is told how many pieces were handed over."""

    def __init__(
        self,
        plan: ReplayPlan,
        mm: MemoryMap,
        lanes: AccessLanes,
        *,
        pressure: Pressure | None = None,
        progress: Callable[[int], None] = lambda count: None,
    ) -> None:
        self.plan = plan
        self.calls_made = 0
        self._mm = mm
        self._lanes = lanes
        self._pressure = pressure
        self._progress = progress
        self._next_disturbance = pressure.next_distance() if pressure is not None else 0
        self._pages = plan.pieces["va"] >> np.uint64(PAGE_SHIFT)

    async def load(self) -> None:
        """Map and fill what was there before the first event."""
        for mapping in self.plan.initial:
            await map_initial(self._mm, mapping)

    async def run(self) -> None:
        """Everything from the first event to the last piece's end; load() came before."""
        bounds = self.plan.bounds
        for segment in range(len(self.plan.calls) + 1):
            await self._post(int(bounds[segment]), int(bounds[segment + 1]))
            if segment < len(self.plan.calls):
                call = self.plan.calls[segment]
                await self.wait_before(call, int(bounds[segment + 1]))
                await perform_call(self._mm, call)
                self.calls_made += 1
        await self._lanes.wait_done(np.arange(len(self._pages)))
        if self._pressure is not None:
            self._pressure.stop()

    async def wait_before(self, call: Call, posted: int) -> None:
        """Wait for what must be done before a call: the earlier pieces, `posted` of them, that touch its pages."""
        touches = np.zeros(posted, dtype=np.bool_)
        pages = self._pages[:posted]
        for address, length in call_ranges(call.event):
            touches |= (pages >= address >> PAGE_SHIFT) & (pages < (address + length) >> PAGE_SHIFT)
        await self._lanes.wait_done(np.flatnonzero(touches))

    async def _post(self, first: int, last: int) -> None:
        while first < last:
            end = min(first + CHUNK, last)
            if self._next_disturbance:
                end = min(end, first + self._next_disturbance)
            await self._lanes.post(first, end)
            self._progress(end)
            if self._next_disturbance and self._pressure is not None:
                self._next_disturbance -= end - first
                if self._next_disturbance == 0:
                    self._pressure.begin_one()
                    self._next_disturbance = self._pressure.next_distance()
            first = end
