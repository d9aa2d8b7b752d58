# SPDX-License-Identifier: Apache-2.0
"""What the access engine must do with a descriptor: its transfers in order, every byte, and its completion.

Descriptors run side by side, so a descriptor is a generator: it is told what each read found when the read is made.

Source: docs/engine.md.
"""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass

import numpy as np

from models.arrays import LINE_BYTES, Words
from models.structures import (
    COMPLETION_BYTES,
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


@dataclass(frozen=True)
class Ending:
    """How a descriptor ends; the rest of its completion is made from it."""

    status: CompletionStatus
    moved: int
    access: Access = Access.READ
    va: int = 0
    reason: Reason = Reason.NONE
    old_value: int = 0


Transfer = Request | LineRead | LineWrite
Steps = Generator[Transfer, bytes, Ending]
"""Yields the next transfer of a descriptor; a LineRead wants to be sent the line's 64 bytes. Returns the ending."""


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


def _read(world: World, device: bool, address: int, count: int) -> Generator[Transfer, bytes, bytes | None]:
    """`count` bytes inside a line; None if the bus says no."""
    offset = address % LINE_BYTES
    line = yield LineRead(device, address - offset)
    return None if world.read_fails(device, address - offset) else line[offset : offset + count]


def _write(world: World, device: bool, address: int, data: bytes) -> Generator[Transfer, bytes, bool]:
    """Bytes inside a line; False if the bus says no."""
    offset = address % LINE_BYTES
    shown = bytes(offset) + data + bytes(LINE_BYTES - offset - len(data))
    yield LineWrite(device, address - offset, ((1 << len(data)) - 1) << offset, shown)
    return not world.write_fails(device, address - offset)


def _atomic_add(world: World, fields: dict[str, int]) -> Steps:
    va = fields["destination_va"]
    side = (Access.ATOMIC, va)
    yield Request(fields["destination_pasid"], va, Access.ATOMIC)
    answer = world.translate(fields["destination_pasid"], va, Access.ATOMIC)
    if answer.reason != Reason.NONE:
        return Ending(CompletionStatus.ABORTED, 0, *side, answer.reason)
    data = yield from _read(world, answer.device, answer.pa, ATOMIC_BYTES)
    if data is None:
        return Ending(CompletionStatus.BUS_ERROR, 0, *side)
    old_value = int.from_bytes(data, "little")
    added = ((old_value + fields["operand"]) % WORD).to_bytes(ATOMIC_BYTES, "little")
    if not (yield from _write(world, answer.device, answer.pa, added)):
        return Ending(CompletionStatus.BUS_ERROR, 0, *side)
    return Ending(CompletionStatus.OK, ATOMIC_BYTES, old_value=old_value)


def perform(world: World, words: Words) -> Steps:
    """One descriptor, uint64[8], from its first piece to its end."""
    if not well_formed(words):
        return Ending(CompletionStatus.MALFORMED, 0)
    fields = fields_of(words)
    opcode = EngineOpcode(fields["opcode"])
    if opcode == EngineOpcode.ATOMIC_ADD:
        return (yield from _atomic_add(world, fields))
    from_virtual = opcode in (EngineOpcode.READ, EngineOpcode.COPY)
    to_virtual = opcode in (EngineOpcode.WRITE, EngineOpcode.COPY)
    moved = 0
    while moved < fields["length"]:
        source = (fields["source_va" if from_virtual else "buffer"] + moved) % WORD
        destination = (fields["destination_va" if to_virtual else "buffer"] + moved) % WORD
        count = min(fields["length"] - moved, LINE_BYTES - source % LINE_BYTES, LINE_BYTES - destination % LINE_BYTES)
        read_side = (Access.READ, source) if from_virtual else (Access.WRITE, destination)
        write_side = (Access.WRITE, destination) if to_virtual else (Access.READ, source)

        device, address = False, source
        if from_virtual:
            yield Request(fields["source_pasid"], source, Access.READ)
            answer = world.translate(fields["source_pasid"], source, Access.READ)
            if answer.reason != Reason.NONE:
                return Ending(CompletionStatus.ABORTED, moved, *read_side, answer.reason)
            device, address = answer.device, answer.pa
        data = yield from _read(world, device, address, count)
        if data is None:
            return Ending(CompletionStatus.BUS_ERROR, moved, *read_side)

        device, address = False, destination
        if to_virtual:
            yield Request(fields["destination_pasid"], destination, Access.WRITE)
            answer = world.translate(fields["destination_pasid"], destination, Access.WRITE)
            if answer.reason != Reason.NONE:
                return Ending(CompletionStatus.ABORTED, moved, *write_side, answer.reason)
            device, address = answer.device, answer.pa
        if not (yield from _write(world, device, address, data)):
            return Ending(CompletionStatus.BUS_ERROR, moved, *write_side)
        moved += count
    return Ending(CompletionStatus.OK, moved)


def apply_write(memory: Lines, written: LineWrite) -> None:
    """What the memory does with a write that does not fail."""
    line = memory.line(written.device, written.address)
    for place in range(LINE_BYTES):
        if written.strobe >> place & 1:
            line[place] = written.data[place]


def perform_alone(world: World, memory: Lines, words: Words) -> tuple[Ending, list[Transfer]]:
    """One descriptor while nothing else goes on; `memory` is changed."""
    steps, transfers = perform(world, words), []
    try:
        transfer = next(steps)
        while True:
            transfers.append(transfer)
            line = b""
            if isinstance(transfer, LineRead):
                line = bytes(memory.line(transfer.device, transfer.address))
            elif isinstance(transfer, LineWrite) and not world.write_fails(transfer.device, transfer.address):
                apply_write(memory, transfer)
            transfer = steps.send(line)
    except StopIteration as stop:
        ending: Ending = stop.value
        return ending, transfers


def completion_bytes(index: int, ending: Ending) -> bytes:
    """The 32 bytes that say how the index-th descriptor ended."""
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
    return data


def conflict(earlier: list[Transfer], later: list[Transfer]) -> bool:
    """Whether two descriptors touch one line and at least one of them writes it: the result depends on the order."""
    sides = []
    for transfers in (earlier, later):
        moves = [transfer for transfer in transfers if isinstance(transfer, LineRead | LineWrite)]
        touched = {(move.device, move.address) for move in moves}
        written = {(move.device, move.address) for move in moves if isinstance(move, LineWrite)}
        sides.append((touched, written))
    (touched, written), (touched_later, written_later) = sides
    return bool(written & touched_later or touched & written_later)
