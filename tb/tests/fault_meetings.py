# SPDX-License-Identifier: Apache-2.0
"""Brings a command of the host into every cycle around an event of the device, by a delay that is swept.

Whether they met is read from the event log, never assumed: a sweep is worth something only if the distances between
the two cycles that it saw leave no gap.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable

import cocotb
import numpy as np
from cocotb.handle import SimHandleBase

from models.arrays import Words
from models.fault_records import FaultRecord
from models.structures import Reason
from tb.case import MemorySettings
from tb.records import EventKind, Events
from tb.tests.fault_bench import WORDS, FaultBench, good_word

PAGES = 300
TAG_STEP = 256
"""From the tag of a fault to that of the next one in the same place."""
SLOW = MemorySettings(read_latency=(14, 14), write_latency=(16, 16))
"""A command's read that meets one of the walk's on the bus is late by a cycle, which makes a gap in a sweep. With slow
memory the last such gap lies far enough before the event."""
PROBE = 100
"""A delay, in cycles, of which it is known only that everything before the command is over by then."""
REACH = 12
"""Cycles before and after an event that a sweep must have seen, each of them."""
CONSECUTIVE = 30
BEFORE_AND_AFTER = 25
"""Delays that a sweep tries on each side of the one that should bring the command into the event's own cycle."""


class Meetings:
    """A bench whose pages are missing, and a fresh page for each point of a sweep."""

    def __init__(self, bench: FaultBench) -> None:
        self.bench = bench
        self.distances: set[int] = set()
        self.tag = 0
        self._page = 0

    @classmethod
    async def begin(
        cls, dut: SimHandleBase, name: str, *, fault_log2: int = 3, settings: MemorySettings = SLOW
    ) -> Meetings:
        """Everything is on; one fault was served, so that the tags to come are known."""
        # A ring that is never full: each command is on its way as soon as it is handed over.
        bench = FaultBench(dut, name, fault_log2=fault_log2, command_log2=10)
        for page in range(PAGES):
            bench.set_entry(page, WORDS[Reason.NOT_PRESENT])
        await bench.start(settings)
        meetings = cls(bench)
        await meetings.served(meetings.page(), meetings.bench.ask(meetings.page()))
        return meetings

    def page(self) -> int:
        """The page of this point."""
        return self._page

    def next_point(self) -> int:
        """A fresh page; returns the cycle."""
        self._page += 1
        return self.bench.port.now()

    @property
    def next_tag(self) -> int:
        """The tag that the next fault will have, if it finds all places free."""
        return self.tag + TAG_STEP

    async def ask_and_command(self, delay: int, page: int, commands: Words) -> int:
        """Asks for a page, and hands commands over `delay` cycles behind it, or before it if that is negative.

        Returns the request's place.
        """
        commanded = cocotb.start_soon(self.command(max(0, delay), commands))
        await self.bench.device.cycles(max(0, -delay))
        place = self.bench.ask(page)
        await commanded
        return place

    async def sweep(self, point: Callable[[int], Awaitable[int]]) -> None:
        """Runs `point`, which gets a delay and returns the distance that it brought, for each delay around the meeting.

        Where that is a first point tells, whose delay is PROBE.
        """
        meeting = PROBE - await point(PROBE)
        for delay in range(meeting - BEFORE_AND_AFTER, meeting + BEFORE_AND_AFTER):
            self.distances.add(await point(delay))

    async def command(self, delay: int, commands: Words) -> None:
        """Lets `delay` cycles pass, then hands commands over."""
        await self.bench.device.cycles(delay)
        await self.bench.port.submit(commands.reshape(-1, 4))

    def rows(self, kind: EventKind, since: int) -> Events:
        """The rows of one kind from a cycle on."""
        events = self.bench.device.log()
        chosen: Events = events[(events["kind"] == kind) & (events["cycle"] >= since)]
        return chosen

    def first(self, kind: EventKind, since: int) -> int:
        """The cycle of the first row of a kind. Errors: AssertionError if there is none."""
        rows = self.rows(kind, since)
        assert rows.size, f"nothing of kind {kind.name} happened"
        return int(rows["cycle"][0])

    async def take(self, count: int) -> list[FaultRecord]:
        """Takes records; the last one is of the place that is used next."""
        records = await self.bench.records(count)
        if records:
            self.tag = records[-1].tag
        return records

    async def served(self, page: int, *places: int) -> None:
        """The fault of `page` is taken, repaired and replayed. Errors: AssertionError unless all requests are OK."""
        (record,) = await self.take(1)
        await self.bench.store_entry(page, good_word(page))
        await self.bench.resume(record.tag)
        for place in places:
            await self.bench.expect_ok(place, page)

    def expect_no_gap(self, distances: Iterable[int] | None = None) -> None:
        """Errors: AssertionError unless CONSECUTIVE distances or more, without a gap, reach REACH cycles both ways."""
        seen = set(self.distances if distances is None else distances)
        first = last = 0
        while first - 1 in seen:
            first -= 1
        while last + 1 in seen:
            last += 1
        found = f"commands came {first} to {last} cycles after the event, of {sorted(seen)}: move the sweep"
        assert 0 in seen and first <= -REACH and last >= REACH and last - first >= CONSECUTIVE, found


def one(command: Words) -> Words:
    """uint64[1, 4]."""
    return np.asarray(command, dtype=np.uint64).reshape(1, 4)
