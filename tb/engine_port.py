# SPDX-License-Identifier: Apache-2.0
"""The access engine as a cocotb test uses it: descriptors in order, completions as they come, a buffer for each.

Descriptors and buffers are stored while simulated time stands still; switching on and off, and the tail, are accesses
of the host to registers and take their cycles. Completions are looked for in memory, as a host does that polls them.
Source: docs/engine.md.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from models import registers
from models.arrays import Bytes, Words
from models.physical_memory import Owner
from models.registers import Register
from models.structures import (
    COMPLETION_BYTES,
    COMPLETION_INDEX,
    DESCRIPTOR_BYTES,
    CompletionStatus,
    Reason,
    unpack_completion,
)
from tb.live_device import LiveDevice

LOOK_CYCLES = 16
"""Cycles between two looks for completions."""
_NOTHING = 0xFFFF_FFFF_FFFF_FFFF
_COUNTER_LIMIT = 1 << 32


@dataclass(frozen=True)
class Completion:
    """How one descriptor ended. `va`, `access`, `reason` are meaningful if it is not OK."""

    status: CompletionStatus
    reason: Reason
    bytes_moved: int
    old_value: int
    va: int
    access: int


class EnginePort:
    """The engine of `device`. `submitted` and `completed` count descriptors since the engine was switched on."""

    def __init__(self, device: LiveDevice, *, log2: int = 6, buffer_bytes: int = 64) -> None:
        """`log2` of the slots of the rings; `buffer_bytes` of the buffer that belongs to each slot, a multiple of 8.

        All of it is allocated in the device's memory, which start() must have been given.
        """
        self.device = device
        self.log2 = log2
        self.slots = 1 << log2
        self.buffer_bytes = buffer_bytes
        memory = device.memory
        self.ring = memory.allocate(DESCRIPTOR_BYTES << log2, owner=Owner.DESCRIPTOR)
        self.completion_ring = memory.allocate(COMPLETION_BYTES << log2, owner=Owner.COMPLETION)
        self.buffers = memory.allocate(buffer_bytes << log2, owner=Owner.BUFFER)
        self.submitted = 0
        self.completed = 0
        self._control = 0

    @property
    def room(self) -> int:
        """Descriptors that can be submitted without waiting."""
        return self.slots - (self.submitted - self.completed)

    async def enable(self) -> None:
        """Switches the engine on, with empty rings; what else CONTROL says stays."""
        self.submitted = self.completed = 0
        write = self.device.write_register
        await write(Register.ENGINE_BASE, self.ring)
        await write(Register.ENGINE_SIZE, self.log2)
        await write(Register.ENGINE_COMPLETION_BASE, self.completion_ring)
        await write(Register.ENGINE_TAIL, 0)
        control = await self.device.read_register(Register.CONTROL)
        await write(Register.CONTROL, control | registers.CONTROL_ENGINE_ENABLE.mask)

    async def disable(self) -> None:
        """Takes the engine's enable away; returns at once, STATUS.ENGINE_ACTIVE tells when it is at rest."""
        control = await self.device.read_register(Register.CONTROL)
        await self.device.write_register(Register.CONTROL, control & ~registers.CONTROL_ENGINE_ENABLE.mask)

    def buffer(self, index: int) -> int:
        """Bus address of the buffer that belongs to the slot of descriptor `index`."""
        return self.buffers + self.buffer_bytes * (index % self.slots)

    def fill_buffer(self, index: int, data: Bytes) -> None:
        """Puts uint8[n] at the start of a descriptor's buffer."""
        place = self.buffer(index) - self.device.memory.base
        self.device.memory.buffer[place : place + data.size] = data

    def buffer_content(self, index: int, count: int) -> Bytes:
        """The first `count` bytes of a descriptor's buffer, a copy."""
        place = self.buffer(index) - self.device.memory.base
        return self.device.memory.buffer[place : place + count].copy()

    async def submit(self, descriptors: Words) -> int:
        """Hands over uint64[n, 8], n at most `room`; returns the index of the first. Errors: ValueError."""
        rows = descriptors.reshape(-1, DESCRIPTOR_BYTES // 8)
        if len(rows) > self.room:
            raise ValueError(f"the engine's ring has room for {self.room} descriptors")
        first = self.submitted
        memory = self.device.memory
        for index, row in enumerate(rows, start=first):
            memory.write_words(self.ring + DESCRIPTOR_BYTES * (index % self.slots), row)
            memory.write_words(self._completion(index), [_NOTHING])
        self.submitted += len(rows)
        await self.device.write_register(Register.ENGINE_TAIL, self.submitted % _COUNTER_LIMIT)
        return first

    def look(self) -> list[Completion]:
        """The completions that have come since the last look, in order."""
        found = []
        while self.completed < self.submitted:
            words = self.device.memory.read_words(self._completion(self.completed), COMPLETION_BYTES // 8)
            if int(words[0]) == _NOTHING:
                break
            found.append(_completion_of(words, self.completed))
            self.completed += 1
        return found

    async def wait(self, count: int, limit: int = 200_000) -> list[Completion]:
        """The next `count` completions. Errors: AssertionError if they have not come after `limit` cycles."""
        end = self.device.now() + limit
        found: list[Completion] = []
        while len(found) < count:
            found += self.look()
            if len(found) < count:
                assert self.device.now() < end, f"descriptor {self.completed} is not complete after {limit} cycles"
                await self.device.cycles(LOOK_CYCLES)
        return found

    async def perform(self, descriptors: Words, limit: int = 200_000) -> list[Completion]:
        """Hands descriptors over as there is room, and returns all their completions. Errors: as wait()."""
        rows = descriptors.reshape(-1, DESCRIPTOR_BYTES // 8)
        found: list[Completion] = []
        handed = 0
        while len(found) < len(rows):
            count = min(self.room, len(rows) - handed)
            if count:
                await self.submit(rows[handed : handed + count])
                handed += count
            found += await self.wait(1, limit)
        return found

    def _completion(self, index: int) -> int:
        return self.completion_ring + COMPLETION_BYTES * (index % self.slots)


def _completion_of(words: Words, index: int) -> Completion:
    """Errors: AssertionError if the completion names another descriptor."""
    assert int(COMPLETION_INDEX.extract(words)) == index % _COUNTER_LIMIT, (
        f"the completion is not of descriptor {index}"
    )
    fields = {name: int(value) for name, value in unpack_completion(np.asarray(words)).items()}
    return Completion(
        CompletionStatus(fields["status"]),
        Reason(fields["reason"]),
        fields["bytes_moved"],
        fields["old_value"],
        fields["va"],
        fields["access"],
    )
