# SPDX-License-Identifier: Apache-2.0
"""The Python end of the access engine's bench: answers its transfers, and holds each against the reference's.

Python is called when a transfer was made, and answers while time stands still; pauses and delays are numbers drawn from
the seed, counted in SystemVerilog.
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
from models.structures import COMPLETION_BYTES, DESCRIPTOR_BYTES, Access
from tb.units.engine_reference import Ending, LineRead, LineWrite, Reference, Release, Request, Transfer
from tb.units.engine_world import RINGS_END, RINGS_START, Lines, World

CYCLE_NS = 10
LONGEST_WAIT_CYCLES = 400_000
COMPLETIONS = range(RINGS_START + (1 << 38), RINGS_END)
"""Where completion rings are."""
RERUN = "make test TEST=engine SEED="


@dataclass(frozen=True)
class Timing:
    """How slow the far ends are. Chances are of 256."""

    pause_chance: int = 0
    delay_chance: int = 0
    fault_chance: int = 0
    """That a translation waits for the host."""

    def pause(self, rng: np.random.Generator) -> int:
        """Cycles from valid to ready."""
        return int(rng.integers(1, 8)) if rng.integers(256) < self.pause_chance else 0

    def delay(self, rng: np.random.Generator) -> int:
        """Cycles beyond the least."""
        return int(rng.integers(1, 12)) if rng.integers(256) < self.delay_chance else 0

    def answer(self, rng: np.random.Generator) -> int:
        """Cycles beyond the least until a translation's answer."""
        return int(rng.integers(50, 400)) if rng.integers(256) < self.fault_chance else self.delay(rng)


@dataclass(frozen=True)
class Ring:
    """Where descriptors and completions are."""

    base: int
    completion_base: int
    log2: int

    def slot(self, index: int) -> int:
        """Bus address of the index-th descriptor."""
        return self.base + index % (1 << self.log2) * DESCRIPTOR_BYTES

    def completion(self, index: int) -> int:
        """Bus address of the index-th completion."""
        return self.completion_base + index % (1 << self.log2) * COMPLETION_BYTES


def random_ring(rng: np.random.Generator, least: int = 0) -> Ring:
    """A ring of 2^least to 16 descriptors."""
    base, completion_base = (int(line) * LINE_BYTES for line in rng.integers(1 << 30, size=2))
    return Ring(RINGS_START + base, COMPLETIONS.start + completion_base, int(rng.integers(least, 5)))


class Bench:
    """One engine, its world and its memory."""

    def __init__(self, dut: Any, rng: np.random.Generator) -> None:
        """Takes the bench's top and the random numbers for everything that is drawn while it runs."""
        # cocotb finds a signal when it is asked for: no type can list them.
        self.dut = dut
        self.rng = rng
        self.timing = Timing()
        self.world = World(0)
        self.memory = Lines(0)
        self.expected: list[Transfer] = []
        self.position = 0
        """Transfers made so far; all were the expected ones."""
        self.failure = ""
        self._tasks: list[Task[None]] = []

    # ---- Answers ----

    def _meet(self, came: Transfer) -> None:
        """Holds a transfer against the next one that is expected."""
        wanted = self.expected[self.position] if self.position < len(self.expected) else None
        if came != wanted and not self.failure:
            self.failure = (
                f"transfer {self.position} at cycle {int(self.dut.cycles.value)}: came {came}; expected {wanted}; "
                f"rerun: {RERUN}{os.environ['COCOTB_RANDOM_SEED']}"
            )
        self.position += 1

    def _request(self) -> None:
        dut = self.dut
        pasid, va = int(dut.request_pasid.value), int(dut.request_va.value)
        access = Access(int(dut.request_access.value))
        self._meet(Request(pasid, va, access))
        answer = self.world.translate(pasid, va, access)
        dut.response_reason.value = int(answer.reason)
        dut.response_pa.value = answer.pa
        dut.response_write.value = int(answer.write)
        dut.response_atomic.value = int(answer.atomic)
        dut.response_device.value = int(answer.device)
        dut.request_delay.value = self.timing.answer(self.rng)
        dut.request_pause.value = self.timing.pause(self.rng)

    def _release(self) -> None:
        self._meet(Release())

    def _read(self) -> None:
        dut = self.dut
        device, address = bool(int(dut.read_device.value)), int(dut.read_address.value)
        self._meet(LineRead(device, address))
        dut.read_line.value = int.from_bytes(self.memory.line(device, address), "little")
        dut.read_error.value = int(self.world.read_fails(device, address))
        dut.read_delay.value = self.timing.delay(self.rng)
        dut.read_pause.value = self.timing.pause(self.rng)

    def _write(self) -> None:
        dut = self.dut
        device, address = bool(int(dut.write_device.value)), int(dut.write_address.value)
        strobe = int(dut.write_strobe.value)
        line = int(dut.write_line.value).to_bytes(LINE_BYTES, "little")
        self._meet(LineWrite(device, address, strobe, bytes(b if strobe >> i & 1 else 0 for i, b in enumerate(line))))
        fails = self.world.write_fails(device, address)
        if not fails:
            held = self.memory.line(device, address)
            for place in range(LINE_BYTES):
                if strobe >> place & 1:
                    held[place] = line[place]
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
        """New memory, nothing expected yet."""
        self.world, self.timing = world, timing
        self.memory = Lines(world.seed)
        self.expected, self.position = [], 0

    def expect(self, ring: Ring, descriptors: Words) -> tuple[list[Ending], Lines]:
        """What the engine must do with the descriptors, uint64[n, 8], on the memory as it is now.

        Returns (endings, memory afterwards); fewer endings than descriptors if the ring halts on the way.
        """
        self.expected, self.position = [], 0
        memory = Lines(self.memory.seed, {key: bytearray(line) for key, line in self.memory.held.items()})
        reference = Reference(self.world, memory)
        endings: list[Ending] = []
        for index, words in enumerate(descriptors):
            memory.store(ring.slot(index), words.astype("<u8").tobytes())
            ending = reference.ring_slot(index, words, ring.slot(index), ring.completion(index))
            if ending is None:
                break
            endings.append(ending)
        self.expected = reference.transfers
        return endings, memory

    async def enable(self, ring: Ring) -> None:
        """Switches the engine on."""
        dut = self.dut
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

    async def disable(self) -> None:
        """Switches the engine off, and waits until it is."""
        self.dut.enable.value = 0
        await self.until(lambda: not int(self.dut.active.value) and not int(self.dut.halted.value), self.dut.active)
        await self.cycles(2)
        assert int(self.dut.head.value) == 0 and not int(self.dut.busy.value), "the engine is off and not at rest"

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
            f"no progress: {self.position} of {len(self.expected)} transfers, head {int(self.dut.head.value)}; "
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
        completions = [t for t in self.expected if isinstance(t, LineWrite) and t.address in COMPLETIONS]
        while seen < len(descriptors):
            head = int(dut.head.value)
            assert not self.failure, self.failure
            for index in range(seen, head):
                written = completions[index]
                offset = ring.completion(index) % LINE_BYTES
                wanted = written.data[offset : offset + COMPLETION_BYTES]
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
                dut.tail.value = tail
            if seen < len(descriptors):
                await self.until_head_leaves(head)
