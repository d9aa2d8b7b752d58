# SPDX-License-Identifier: Apache-2.0
"""The Python end of the access engine's bench: answers its transfers, and holds each against its descriptor's next one.

A descriptor is known by the tag under which the ring read it; its own transfers come under the same tag or id. Python
is called when a transfer was made, and answers while time stands still; pauses and delays are numbers drawn from the
seed, counted in SystemVerilog.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import cocotb
import numpy as np
from cocotb.task import Task
from cocotb.triggers import First, Timer, ValueChange

from models.arrays import LINE_BYTES, Words
from models.structures import COMPLETION_BYTES, Access, EngineOpcode, Reason
from tb.units.engine_reference import (
    Ending,
    LineRead,
    LineWrite,
    Request,
    Steps,
    Transfer,
    apply_write,
    completion_bytes,
    conflict,
    perform,
    perform_alone,
)
from tb.units.engine_rings import Ring, Timing
from tb.units.engine_world import RINGS_END, RINGS_START, Lines, World

CYCLE_NS = 10
LONGEST_WAIT_CYCLES = 400_000
RERUN = "make test TEST=engine SEED="
ORDERED = np.uint64(1 << 9)
"""In word 0 of a descriptor."""
INTERRUPT = np.uint64(1 << 8)


@dataclass
class Flight:
    """One descriptor between the read of its line and its completion."""

    index: int
    ordered: bool
    adds: bool
    steps: Steps
    wanted: Transfer | None = None
    """Its next transfer; None: it has ended."""
    ending: Ending | None = None
    begun: bool = False
    adding: tuple[bool, int] | None = None
    """The line that an atomic add has read and not written yet."""

    def go_on(self, line: bytes | None) -> None:
        """To the next transfer; `line` is what a read found, None at the beginning."""
        try:
            self.wanted = next(self.steps) if line is None else self.steps.send(line)
        except StopIteration as stop:
            self.wanted, self.ending = None, stop.value


class Bench:
    """One engine, its world and its memory.

    Attributes: `flights`, the descriptors that were read and not completed, by tag; `granted`, ids whose grant is open,
    and whether its access was made; `given`, `fetched`, `completed`, descriptors so far; `endings` of the completed
    ones; `position`, `reads`, `writes`, transfers so far; `overtakings`, how often a descriptor ended before an earlier
    one.
    """

    def __init__(self, dut: Any, rng: np.random.Generator) -> None:
        """Takes the bench's top and the random numbers for everything that is drawn while it runs."""
        # cocotb finds a signal when it is asked for: no type can list them.
        self.dut = dut
        self.rng = rng
        self.timing = Timing()
        self.world = World(0)
        self.memory = Lines(0)
        self.ring = Ring(0, 0, 0)
        self.failure = ""
        self.lanes = 0
        self._tasks: list[Task[None]] = []
        self.overtakings = 0
        self.begin(self.world, self.timing)

    # ---- Answers ----

    def _fail(self, text: str) -> None:
        """Keeps the first thing that is wrong."""
        if not self.failure:
            self.failure = (
                f"cycle {int(self.dut.cycles.value)}: {text}; rerun: {RERUN}{os.environ['COCOTB_RANDOM_SEED']}"
            )

    def _expect(self, holds: bool, text: str) -> None:
        if not holds:
            self._fail(text)

    def _meet(self, tag: int, came: Transfer) -> Flight | None:
        """Holds a transfer against the next one of its descriptor."""
        self.position += 1
        flight = self.flights.get(tag)
        if flight is None:
            self._fail(f"{came} under tag {tag}, where no descriptor is")
            return None
        self._expect(came == flight.wanted, f"descriptor {flight.index}: came {came}; expected {flight.wanted}")
        if not flight.begun:
            flight.begun = True
            last = max((f.index for f in self.flights.values() if f.ordered and f.index <= flight.index), default=0)
            head = int(self.dut.head.value)
            self._expect(
                last <= head,
                f"descriptor {flight.index} begins at head {head}, but {last} is ordered and not the first",
            )
        return flight

    def _advance(self, flight: Flight, line: bytes) -> None:
        flight.go_on(line)
        if flight.ending is not None:
            self.overtakings += sum(f.ending is None and f.index < flight.index for f in self.flights.values())

    def _request(self) -> None:
        dut = self.dut
        identity, pasid, va = int(dut.request_id.value), int(dut.request_pasid.value), int(dut.request_va.value)
        access = Access(int(dut.request_access.value))
        flight = self._meet(identity, Request(pasid, va, access))
        self._expect(identity not in self.granted, f"id {identity} asks while it holds a grant")
        answer = self.world.translate(pasid, va, access)
        if answer.reason == Reason.NONE:
            self.granted[identity] = False
        dut.response_reason.value = int(answer.reason)
        dut.response_pa.value = answer.pa
        dut.response_write.value = int(answer.write)
        dut.response_atomic.value = int(answer.atomic)
        dut.response_device.value = int(answer.device)
        dut.request_delay.value = self.timing.answer(self.rng, va)
        dut.request_pause.value = self.timing.pause(self.rng)
        if flight is not None:
            self._advance(flight, b"")

    def _release(self) -> None:
        identity = int(self.dut.release_id.value)
        self._expect(self.granted.pop(identity, False), f"id {identity} is released without a grant that was used")

    def _fetch(self, tag: int, address: int) -> None:
        """The ring reads a descriptor."""
        self._expect(address == self.ring.slot(self.fetched), f"descriptor {self.fetched} is read at {address:#x}")
        self._expect(len(self.flights) < self.lanes, "more descriptors are read than the engine has place for")
        self._expect(self.fetched < self.given, f"descriptor {self.fetched} is read, {self.given} were given")
        words = np.frombuffer(bytes(self.memory.line(False, address)), "<u8").astype(np.uint64)
        adds = int(words[0]) & 0xFF == EngineOpcode.ATOMIC_ADD
        flight = Flight(self.fetched, bool(words[0] & ORDERED), adds, perform(self.world, words))
        flight.go_on(None)
        self.flights[tag] = flight
        self.fetched += 1

    def _read(self) -> None:
        dut = self.dut
        device, address, tag = bool(int(dut.read_device.value)), int(dut.read_address.value), int(dut.read_tag.value)
        line = bytes(self.memory.line(device, address))
        fails = self.world.read_fails(device, address)
        self.reads += 1
        if not device and (RINGS_START <= address < RINGS_END or address == self.ring.slot(self.fetched)):
            self.position += 1
            self._expect(tag not in self.flights, f"a descriptor is read under tag {tag}, which is in use")
            self._fetch(tag, address)
        else:
            flight = self._meet(tag, LineRead(device, address))
            if flight is not None:
                if tag in self.granted:
                    self.granted[tag] = True
                self._advance(flight, line)
                if flight.adds and not fails:
                    flight.adding = (device, address)
        dut.read_line.value = int.from_bytes(line, "little")
        dut.read_error.value = int(fails)
        dut.read_delay.value = self.timing.delay(self.rng)
        dut.read_pause.value = self.timing.pause(self.rng)

    def _complete(self, written: LineWrite) -> None:
        """The ring writes a completion."""
        self.position += 1
        index = self.completed
        tag, flight = next(((t, f) for t, f in self.flights.items() if f.index == index), (-1, None))
        if flight is None or flight.ending is None:
            self._fail(f"{written}, but descriptor {index} has not ended")
            return
        address = self.ring.completion(index)
        offset = address % LINE_BYTES
        data = bytes(offset) + completion_bytes(index, flight.ending) + bytes(LINE_BYTES - offset - COMPLETION_BYTES)
        wanted = LineWrite(False, address - offset, ((1 << COMPLETION_BYTES) - 1) << offset, data)
        self._expect(written == wanted, f"completion {index}: came {written}; expected {wanted}")
        self.endings.append(flight.ending)
        self.completed += 1
        del self.flights[tag]

    def _write(self) -> None:
        dut = self.dut
        device, address, tag = bool(int(dut.write_device.value)), int(dut.write_address.value), int(dut.write_tag.value)
        strobe = int(dut.write_strobe.value)
        line = int(dut.write_line.value).to_bytes(LINE_BYTES, "little")
        written = LineWrite(device, address, strobe, bytes(b if strobe >> i & 1 else 0 for i, b in enumerate(line)))
        self.writes += 1
        if tag == self.lanes:
            self._complete(written)
        else:
            flight = self._meet(tag, written)
            if flight is not None:
                if tag in self.granted:
                    self.granted[tag] = True
                flight.adding = None
                self._advance(flight, b"")
                between = [f.index for f in self.flights.values() if f.adding == (device, address)]
                self._expect(not between, f"descriptor {flight.index} writes between read and write of add {between}")
        fails = self.world.write_fails(device, address)
        if not fails:
            apply_write(self.memory, written)
        dut.write_error.value = int(fails)
        dut.write_delay.value = self.timing.delay(self.rng)
        dut.write_pause.value = self.timing.pause(self.rng)

    def start(self) -> None:
        """Begins to answer."""
        dut = self.dut

        async def serve(told: Any, answer: Callable[[], None]) -> None:
            while True:
                await ValueChange(told)
                answer()

        pairs = (
            (dut.request_asked, self._request),
            (dut.released, self._release),
            (dut.read_asked, self._read),
            (dut.write_asked, self._write),
        )
        self._tasks = [cocotb.start_soon(serve(told, answer)) for told, answer in pairs]

    # ---- The host ----

    async def reset(self) -> None:
        """A reset in the middle of whatever goes on; the engine is off afterwards."""
        dut = self.dut
        dut.rst_n.value = 0
        for signal in (dut.enable, dut.tail, dut.request_pause, dut.request_delay, dut.read_pause, dut.read_delay):
            signal.value = 0
        for signal in (dut.write_pause, dut.write_delay, dut.response_reason, dut.read_error, dut.write_error):
            signal.value = 0
        await Timer(2 * CYCLE_NS, "ns")
        dut.rst_n.value = 1
        await Timer(2 * CYCLE_NS, "ns")
        assert not int(dut.active.value) and not int(dut.halted.value) and int(dut.head.value) == 0

    def begin(self, world: World, timing: Timing) -> None:
        """New memory, nothing in flight."""
        self.world, self.timing = world, timing
        self.memory = Lines(world.seed)
        self.flights: dict[int, Flight] = {}
        self.granted: dict[int, bool] = {}
        self.endings: list[Ending] = []
        self.given = self.fetched = self.completed = self.position = self.reads = self.writes = 0
        self.lanes = int(self.dut.descriptors.value) if self.dut.descriptors.value.is_resolvable else 0

    def alone(self, ring: Ring, descriptors: Words) -> tuple[list[Ending], Lines, list[list[Transfer]]]:
        """What comes of descriptors, uint64[n, 8], one after another, on the memory as it was at first.

        Returns (endings, memory afterwards, transfers of each).
        """
        memory = Lines(self.world.seed)
        endings, transfers = [], []
        for index, words in enumerate(descriptors):
            memory.store(ring.slot(index), words.astype("<u8").tobytes())
            ending, made = perform_alone(self.world, memory, words)
            memory.store(ring.completion(index), completion_bytes(index, ending))
            endings.append(ending)
            transfers.append(made)
        return endings, memory, transfers

    def order(self, ring: Ring, descriptors: Words) -> Words:
        """The same descriptors, ordered where the result depends on it."""
        transfers = self.alone(ring, descriptors)[2]
        ordered = descriptors.copy()
        first = 0
        for index in range(len(descriptors)):
            if any(conflict(earlier, transfers[index]) for earlier in transfers[first:index]):
                ordered[index, 0] |= ORDERED
                first = index
        return ordered

    async def enable(self, ring: Ring) -> None:
        """Switches the engine on."""
        dut = self.dut
        self.ring = ring
        dut.ring_base.value = ring.base
        dut.completion_base.value = ring.completion_base
        dut.ring_log2.value = ring.log2
        dut.tail.value = 0
        dut.enable.value = 1
        await self.cycles(2)
        # What the registers hold later makes no difference.
        dut.ring_base.value = 0
        dut.completion_base.value = 0
        dut.ring_log2.value = 15

    def give(self, count: int) -> None:
        """Gives the engine the descriptors before the count-th."""
        self.given = count
        self.dut.tail.value = count

    async def disable(self) -> None:
        """Switches the engine off, and waits until it is."""
        self.dut.enable.value = 0
        await self.until(lambda: not int(self.dut.active.value) and not int(self.dut.halted.value), self.dut.active)
        await self.cycles(2)
        assert int(self.dut.head.value) == 0 and not int(self.dut.busy.value), "the engine is off and not at rest"
        assert not int(self.dut.under_way.value), "the engine is off, and an answer is still to come"
        assert not self.granted, f"the engine is off, and ids {sorted(self.granted)} hold grants"

    async def cycles(self, count: int) -> None:
        """Lets cycles pass."""
        await Timer(count * CYCLE_NS, "ns")

    async def until(self, holds: Callable[[], bool], changes: Any) -> None:
        """Waits until something holds; looks when `changes` changes, and now and then."""
        for _ in range(LONGEST_WAIT_CYCLES // 1000):
            if holds():
                return
            await First(ValueChange(changes), Timer(1000 * CYCLE_NS, "ns"))
            assert not self.failure, self.failure
        raise AssertionError(
            f"no progress: {self.position} transfers, head {int(self.dut.head.value)}; "
            f"rerun: {RERUN}{os.environ['COCOTB_RANDOM_SEED']}"
        )

    async def until_head_is(self, count: int) -> None:
        """Waits until so many descriptors are complete."""
        await self.until(lambda: int(self.dut.head.value) == count, self.dut.head)

    async def until_head_leaves(self, head: int) -> None:
        """Waits until the head is another."""
        await self.until(lambda: int(self.dut.head.value) != head, self.dut.head)

    async def feed(self, ring: Ring, descriptors: Words) -> None:
        """Writes all descriptors as room comes, in batches of any size, and waits for the last. Each time that the head
        moves, the completions that it counts must stand in memory."""
        dut, size, tail, seen = self.dut, 1 << ring.log2, 0, 0
        while seen < len(descriptors):
            head = int(dut.head.value)
            assert not self.failure, self.failure
            assert head <= self.completed, f"the head is {head}, {self.completed} completions are written"
            for index in range(seen, head):
                wanted = completion_bytes(index, self.endings[index])
                assert self.memory.load(ring.completion(index), COMPLETION_BYTES) == wanted, (
                    f"the head counts descriptor {index}, but its completion is not in memory"
                )
            seen = head
            room = min(head + size, len(descriptors)) - tail
            if room and (tail == head or self.rng.integers(2)):
                count = int(self.rng.integers(1, room + 1))
                for index in range(tail, tail + count):
                    self.memory.store(ring.slot(index), descriptors[index].astype("<u8").tobytes())
                tail += count
                self.give(tail)
            if seen < len(descriptors):
                await self.until_head_leaves(head)
