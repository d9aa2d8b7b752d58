# SPDX-License-Identifier: Apache-2.0
"""A recording as work: pieces that a device performs, calls between them, and what every load must find.

An access is one piece if it has at most 64 bytes, wherever it lies in its page; a longer one is cut at 64-byte lines.
All pieces of a page are on one lane, so a lane that keeps the order inside a page keeps the program's.
Source: docs/programs.md.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum

import numpy as np
from numpy.typing import NDArray

from models.arrays import PAGE_BYTES, PAGE_SHIFT, Bytes, Words
from models.errors import UserError
from models.program_recording import Array, EventKind, ProgramRecording, Protection
from models.program_replay.content import LINE_BYTES, initial_page, stamps
from models.program_replay.ledger import NO_LIFE, READ_WRITE, Ledger, Lives, effective, followed_pages

ENGINE_LANE = 0
WORD_LENGTH = 8


class Operation(IntEnum):
    """What the device does with a piece."""

    READ = 0
    WRITE = 1
    ADD = 2
    """Add 8 bytes atomically; what was there before is the answer."""


PIECE_DTYPE = np.dtype(
    [
        ("va", "<u8"),
        ("place", "<i8"),
        ("event", "<u4"),
        ("segment", "<u4"),
        ("length", "u1"),
        ("operation", "u1"),
        ("lane", "u1"),
        ("allowed", "u1"),
    ]
)
"""One piece. `place`: life * 4096 + offset in the page, negative where nothing is mapped; `event`: index of its access
in the recording; `segment`: how many calls came before; `allowed`: whether the mappings of its time allow it."""


@dataclass(frozen=True)
class PlanOptions:
    """How accesses are shared out.

    lanes: how many; lane 0 is the engine's.
    engine_share: one page of so many goes to the engine, the others to the other lanes in turn.
    atomics: whether an aligned load-and-store of 8 bytes is one atomic addition, else a load and a store.
    writes: whether the device can be given pages to write to.
    """

    lanes: int = 3
    engine_share: int = 4
    atomics: bool = True
    writes: bool = True


@dataclass(frozen=True)
class Call:
    """A recorded call. `number`: its mapping's, -1 if it makes none; `fills`: page numbers that the loader fills."""

    event: np.void
    number: int
    fills: Words


@dataclass(frozen=True)
class ReplayPlan:
    """`pieces` PIECE_DTYPE[n] in program order; `data` uint8[n, 64]: what WRITE stores, what ADD adds (8 bytes);
    `expected` uint8[n, 64]: what READ and ADD must find; `calls`, the one after segment k at k; `initial`: what is
    mapped before. `bounds` int64[calls + 2]: segment k is pieces bounds[k] to bounds[k + 1].
    """

    recording: ProgramRecording
    options: PlanOptions
    pieces: Array
    data: Bytes
    expected: Bytes
    calls: tuple[Call, ...]
    initial: tuple[Call, ...]
    bounds: NDArray[np.int64]

    @property
    def pages(self) -> Words:
        """Page numbers uint64[m], ascending, of everything accessed."""
        return np.unique(self.pieces["va"] >> np.uint64(PAGE_SHIFT))

    @property
    def refused_accesses(self) -> int:
        """Accesses of the recording of which some piece must be refused."""
        return len(np.unique(self.pieces["event"][self.pieces["allowed"] == 0]))


def make_plan(recording: ProgramRecording, options: PlanOptions, *, first_accesses: int | None = None) -> ReplayPlan:
    """The work of a recording, or of its first accesses.

    Errors: UserError if there is nothing to do, or if the program stores and the device cannot be given pages to write.
    """
    events = recording.events
    if first_accesses is not None:
        events = events[: int(np.searchsorted(np.cumsum(recording.is_access), first_accesses, side="right"))]
    is_access = events["kind"] <= EventKind.MODIFY
    if not is_access.any():
        raise UserError("There is nothing to replay: the recording has no loads and stores.")
    if not options.writes and bool((events["kind"][is_access] != EventKind.READ).any()):
        raise UserError("The entry format has no bit that allows writing, and the program writes; choose another one.")
    pieces = _pieces(events, is_access, options)
    ledger = Ledger(followed_pages(pieces["va"] >> np.uint64(PAGE_SHIFT), events[~is_access]))
    bounds = np.searchsorted(pieces["segment"], np.arange(np.count_nonzero(~is_access) + 2))
    ranges = recording.initial_mappings
    numbers = [
        ledger.map(int(row["address"]), int(row["length"]), effective(int(row["protection"])), filled=True)
        for row in ranges
    ]
    call_events = events[~is_access]
    call_numbers = []
    for segment in range(len(call_events) + 1):
        _allow(pieces[bounds[segment] : bounds[segment + 1]], ledger)
        if segment < len(call_events):
            call_numbers.append(ledger.call(call_events[segment]))
    fills = _fills(pieces, ledger)
    none = np.zeros(0, dtype=np.uint64)
    data = stamps(np.arange(pieces.size, dtype=np.uint64))
    return ReplayPlan(
        recording,
        options,
        pieces,
        data,
        _expected(pieces, data, ledger),
        tuple(
            Call(row, number, fills.get(number, none)) for row, number in zip(call_events, call_numbers, strict=True)
        ),
        tuple(Call(row, number, fills.get(number, none)) for row, number in zip(ranges, numbers, strict=True)),
        bounds,
    )


def _pieces(events: Array, is_access: NDArray[np.bool_], options: PlanOptions) -> Array:
    """Every access, load before store, long ones cut, in program order; `allowed` and `place` are not filled in."""
    accesses = events[is_access]
    address, length = accesses["address"].astype(np.int64), accesses["length"].astype(np.int64)
    modifies = accesses["kind"] == EventKind.MODIFY
    adds = modifies & (length == WORD_LENGTH) & (address % WORD_LENGTH == 0) & options.atomics
    whole = length <= LINE_BYTES
    parts = np.where(whole, 1, (address + length - 1) // LINE_BYTES - address // LINE_BYTES + 1)
    rounds = np.where(modifies & ~adds, 2, 1)
    # One row for each (access, load or store, part).
    row = np.repeat(np.arange(len(accesses)), parts * rounds)
    inside = np.arange(row.size) - np.repeat(np.cumsum(parts * rounds) - parts * rounds, parts * rounds)
    part = inside % parts[row]
    begin = np.where(part == 0, address[row], (address[row] // LINE_BYTES + part) * LINE_BYTES)
    end = np.minimum((begin // LINE_BYTES + 1) * LINE_BYTES, address[row] + length[row])
    end = np.where(whole[row], address[row] + length[row], end)
    kind = accesses["kind"][row]
    stores = np.where(kind == EventKind.MODIFY, inside >= parts[row], kind == EventKind.WRITE)
    pieces = np.zeros(row.size, dtype=PIECE_DTYPE)
    pieces["va"], pieces["length"] = begin, end - begin
    pieces["event"] = np.flatnonzero(is_access)[row]
    pieces["segment"] = np.cumsum(~is_access)[is_access][row]
    pieces["operation"] = np.where(adds[row], Operation.ADD, stores)
    pieces["lane"] = _lanes(accesses["address"] >> np.uint64(PAGE_SHIFT), options)[row]
    return pieces


def _lanes(pages: Words, options: PlanOptions) -> NDArray[np.int64]:
    """A lane for each page number."""
    if options.lanes == 1:
        return np.zeros(pages.size, dtype=np.int64)
    number = pages.astype(np.int64)
    others = 1 + number // options.engine_share % (options.lanes - 1)
    lanes: NDArray[np.int64] = np.where(number % options.engine_share == 0, ENGINE_LANE, others)
    return lanes


def _allow(pieces: Array, ledger: Ledger) -> None:
    """Fills in `place` and `allowed` of one segment."""
    where = ledger.places(pieces["va"] >> np.uint64(PAGE_SHIFT))
    life, protection = ledger.life[where], ledger.protection[where]
    pieces["place"] = life * PAGE_BYTES + (pieces["va"] % np.uint64(PAGE_BYTES)).astype(np.int64)
    needed = np.where(pieces["operation"] == Operation.READ, int(Protection.READ), int(READ_WRITE))
    pieces["allowed"] = (life != NO_LIFE) & (protection & needed == needed)


def _fills(pieces: Array, ledger: Ledger) -> dict[int, Words]:
    """For each mapping the page numbers that the loader fills: those that an allowed piece touches."""
    used: Lives = np.unique(pieces["place"][pieces["allowed"] == 1] // PAGE_BYTES)
    pages: dict[int, list[int]] = {}
    for life in used:
        begun = ledger.lives[int(life)]
        if begun.filled:
            pages.setdefault(begun.mapping, []).append(begun.page)
    return {mapping: np.array(sorted(found), dtype=np.uint64) for mapping, found in pages.items()}


def _expected(pieces: Array, data: Bytes, ledger: Ledger) -> Bytes:
    """What each READ and ADD finds, by performing all pieces in program order on pages of our own."""
    expected = np.zeros((pieces.size, LINE_BYTES), dtype=np.uint8)
    allowed = pieces["allowed"] == 1
    used, row = np.unique(pieces["place"][allowed] // PAGE_BYTES, return_inverse=True)
    content = np.zeros((used.size, PAGE_BYTES), dtype=np.uint8)
    for place, life in enumerate(used):
        begun = ledger.lives[int(life)]
        if begun.filled:
            content[place] = initial_page(begun.mapping, begun.page)
    flat = content.reshape(-1)
    begins = row * PAGE_BYTES + pieces["place"][allowed] % PAGE_BYTES
    columns = (np.flatnonzero(allowed), begins, pieces["length"][allowed], pieces["operation"][allowed])
    for index, begin, length, operation in zip(*(column.tolist() for column in columns), strict=True):
        end = begin + length
        if operation != Operation.WRITE:
            expected[index, :length] = flat[begin:end]
        if operation == Operation.WRITE:
            flat[begin:end] = data[index, :length]
        elif operation == Operation.ADD:
            flat[begin:end] = (flat[begin:end].view(np.uint64) + data[index, :length].view(np.uint64)).view(np.uint8)
    return expected
