# SPDX-License-Identifier: Apache-2.0
"""What the access engine must do with a descriptor: every transfer in order, every byte, and the completion.

Source: docs/engine.md.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from models.arrays import LINE_BYTES, Words
from models.structures import (
    COMPLETION_BYTES,
    DESCRIPTOR_BYTES,
    DESCRIPTOR_RESERVED,
    Access,
    CompletionStatus,
    EngineOpcode,
    Reason,
    pack_completion,
    unpack_descriptor,
)
from tb.units.engine_world import Lines, World

BUS_BYTES = 1 << 48
ATOMIC_BYTES = 8
WORD = 1 << 64

USED_FIELDS = {
    EngineOpcode.READ: {"source_pasid", "source_va", "buffer"},
    EngineOpcode.WRITE: {"destination_pasid", "destination_va", "buffer"},
    EngineOpcode.COPY: {"source_pasid", "source_va", "destination_pasid", "destination_va"},
    EngineOpcode.ATOMIC_ADD: {"destination_pasid", "destination_va", "operand"},
}
SOMETIMES_USED = set().union(*USED_FIELDS.values())


@dataclass(frozen=True)
class Request:
    """A translation that is asked for."""

    pasid: int
    va: int
    access: Access

    def __str__(self) -> str:
        return f"{self.access.name} of va {self.va:#x} pasid {self.pasid:#x}"


@dataclass(frozen=True)
class Release:
    """The end of the grant that is open."""

    def __str__(self) -> str:
        return "release"


@dataclass(frozen=True)
class LineRead:
    """A read of a whole line."""

    device: bool
    address: int

    def __str__(self) -> str:
        return f"read of {'device' if self.device else 'system'} line {self.address:#x}"


@dataclass(frozen=True)
class LineWrite:
    """A write into a line: 64 bytes, 0 where the strobe is not set."""

    device: bool
    address: int
    strobe: int
    data: bytes

    def __str__(self) -> str:
        place = f"{'device' if self.device else 'system'} line {self.address:#x}"
        return f"write into {place} strobe {self.strobe:#018x} bytes {self.data.hex()}"


Transfer = Request | Release | LineRead | LineWrite


@dataclass(frozen=True)
class Ending:
    """How a descriptor ends; the rest of its completion is made from it."""

    status: CompletionStatus
    moved: int
    access: Access = Access.READ
    va: int = 0
    reason: Reason = Reason.NONE
    old_value: int = 0


def fields_of(words: Words) -> dict[str, int]:
    """The fields of one descriptor, uint64[8]."""
    return {name: int(value) for name, value in unpack_descriptor(words).items()}


def well_formed(words: Words) -> bool:
    """Whether the engine takes the words, uint64[8], for a descriptor."""
    fields = fields_of(words)
    if any(int(word) & mask for word, mask in zip(words, DESCRIPTOR_RESERVED, strict=True)):
        return False
    opcode, length, buffer = fields["opcode"], fields["length"], fields["buffer"]
    if opcode not in set(EngineOpcode) or length == 0:
        return False
    used = USED_FIELDS[EngineOpcode(opcode)]
    if any(fields[name] for name in SOMETIMES_USED - used):
        return False
    if opcode == EngineOpcode.ATOMIC_ADD:
        return length == ATOMIC_BYTES and fields["destination_va"] % ATOMIC_BYTES == 0
    return "buffer" not in used or buffer + length <= BUS_BYTES


class Reference:
    """Performs descriptors on a memory of its own; `transfers` grows by everything that the engine must do."""

    def __init__(self, world: World, memory: Lines) -> None:
        """Takes the world, and the memory that it may change."""
        self.world = world
        self.memory = memory
        self.transfers: list[Transfer] = []

    def _translate(self, pasid: int, va: int, access: Access) -> tuple[Reason, bool, int]:
        """(reason, device, bus address)."""
        self.transfers.append(Request(pasid, va, access))
        answer = self.world.translate(pasid, va, access)
        return answer.reason, answer.device, answer.pa

    def _read(self, device: bool, address: int, count: int) -> bytes | None:
        """`count` bytes inside a line; None if the bus says no."""
        offset = address % LINE_BYTES
        line = address - offset
        self.transfers.append(LineRead(device, line))
        if self.world.read_fails(device, line):
            return None
        return bytes(self.memory.line(device, line)[offset : offset + count])

    def _write(self, device: bool, address: int, data: bytes) -> bool:
        """Bytes inside a line; False if the bus says no."""
        offset = address % LINE_BYTES
        line = address - offset
        shown = bytes(offset) + data + bytes(LINE_BYTES - offset - len(data))
        self.transfers.append(LineWrite(device, line, ((1 << len(data)) - 1) << offset, shown))
        if self.world.write_fails(device, line):
            return False
        self.memory.line(device, line)[offset : offset + len(data)] = data
        return True

    def perform(self, words: Words) -> Ending:
        """One descriptor, uint64[8], from its first piece to its end."""
        if not well_formed(words):
            return Ending(CompletionStatus.MALFORMED, 0)
        fields = fields_of(words)
        opcode = EngineOpcode(fields["opcode"])
        if opcode == EngineOpcode.ATOMIC_ADD:
            return self._atomic_add(fields)
        from_virtual = opcode in (EngineOpcode.READ, EngineOpcode.COPY)
        to_virtual = opcode in (EngineOpcode.WRITE, EngineOpcode.COPY)
        moved = 0
        while moved < fields["length"]:
            source = (fields["source_va" if from_virtual else "buffer"] + moved) % WORD
            destination = (fields["destination_va" if to_virtual else "buffer"] + moved) % WORD
            count = min(
                fields["length"] - moved, LINE_BYTES - source % LINE_BYTES, LINE_BYTES - destination % LINE_BYTES
            )
            read_side = (Access.READ, source) if from_virtual else (Access.WRITE, destination)
            write_side = (Access.WRITE, destination) if to_virtual else (Access.READ, source)

            device, address = False, source
            if from_virtual:
                reason, device, address = self._translate(fields["source_pasid"], source, Access.READ)
                if reason != Reason.NONE:
                    return Ending(CompletionStatus.ABORTED, moved, *read_side, reason)
            data = self._read(device, address, count)
            if from_virtual:
                self.transfers.append(Release())
            if data is None:
                return Ending(CompletionStatus.BUS_ERROR, moved, *read_side)

            device, address = False, destination
            if to_virtual:
                reason, device, address = self._translate(fields["destination_pasid"], destination, Access.WRITE)
                if reason != Reason.NONE:
                    return Ending(CompletionStatus.ABORTED, moved, *write_side, reason)
            written = self._write(device, address, data)
            if to_virtual:
                self.transfers.append(Release())
            if not written:
                return Ending(CompletionStatus.BUS_ERROR, moved, *write_side)
            moved += count
        return Ending(CompletionStatus.OK, moved)

    def _atomic_add(self, fields: dict[str, int]) -> Ending:
        va = fields["destination_va"]
        side = (Access.ATOMIC, va)
        reason, device, address = self._translate(fields["destination_pasid"], va, Access.ATOMIC)
        if reason != Reason.NONE:
            return Ending(CompletionStatus.ABORTED, 0, *side, reason)
        data = self._read(device, address, ATOMIC_BYTES)
        if data is None:
            self.transfers.append(Release())
            return Ending(CompletionStatus.BUS_ERROR, 0, *side)
        old_value = int.from_bytes(data, "little")
        added = ((old_value + fields["operand"]) % WORD).to_bytes(ATOMIC_BYTES, "little")
        written = self._write(device, address, added)
        self.transfers.append(Release())
        if not written:
            return Ending(CompletionStatus.BUS_ERROR, 0, *side)
        return Ending(CompletionStatus.OK, ATOMIC_BYTES, old_value=old_value)

    def ring_slot(self, index: int, words: Words, slot_address: int, completion_address: int) -> Ending | None:
        """The index-th descriptor of a ring, read to completion. None if the ring halts instead."""
        if self._read(False, slot_address, DESCRIPTOR_BYTES) is None:
            return None
        ending = self.perform(words)
        completion = pack_completion(
            index=index,
            status=ending.status,
            access=ending.access,
            reason=ending.reason,
            bytes_moved=ending.moved,
            old_value=ending.old_value,
            va=np.uint64(ending.va),
        )
        data = completion.astype("<u8").tobytes()
        assert len(data) == COMPLETION_BYTES
        return ending if self._write(False, completion_address, data) else None
