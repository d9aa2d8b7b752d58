# SPDX-License-Identifier: Apache-2.0
"""What a replay's answers should have been, against what they were; a mistake is one line that says whose bytes came.

Source: docs/programs.md, "What is checked".
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from models.arrays import PAGE_BYTES, PAGE_SHIFT, Bytes
from models.program_replay.content import LINE_BYTES, initial_page
from models.program_replay.plan import Operation, ReplayPlan
from models.program_replay.replay import ReplayResults, Status
from models.structures import Reason

SHORTEST_KNOWN = 4
"""Fewer bytes than this are alike by accident."""


@dataclass(frozen=True)
class Mismatch:
    """One wrong answer: the piece, when it was done, and the line that tells it."""

    piece: int
    cycle: int
    text: str


def find_mismatches(plan: ReplayPlan, results: ReplayResults, *, limit: int = 10) -> tuple[int, list[Mismatch]]:
    """How many answers are wrong, and the first ones in program order."""
    wrong = np.flatnonzero(wrong_answers(plan, results))
    shown = [
        Mismatch(int(piece), int(results.cycle[piece]), _line(plan, results, int(piece))) for piece in wrong[:limit]
    ]
    return int(wrong.size), shown


def wrong_answers(plan: ReplayPlan, results: ReplayResults) -> NDArray[np.bool_]:
    """bool[n]: pieces whose status or bytes are not what they must be."""
    pieces = plan.pieces
    wanted = np.where(pieces["allowed"] == 1, Status.OK, Status.ABORTED)
    wrong: NDArray[np.bool_] = results.status != wanted
    loads = (pieces["operation"] != Operation.WRITE) & (wanted == Status.OK)
    inside = np.arange(LINE_BYTES) < pieces["length"][:, np.newaxis]
    differs = ((results.found != plan.expected) & inside).any(axis=1)
    wrong |= loads & differs
    return wrong


def _line(plan: ReplayPlan, results: ReplayResults, index: int) -> str:
    piece = plan.pieces[index]
    operation, length = Operation(int(piece["operation"])), int(piece["length"])
    asked = (
        f"{operation.name} of {length} bytes at {int(piece['va']):#x} (event {int(piece['event'])}, after "
        f"{int(piece['segment'])} calls, lane {int(piece['lane'])})"
    )
    status = Status(int(results.status[index]))
    wanted = Status.OK if piece["allowed"] else Status.ABORTED
    if status is not wanted:
        reason = f" ({Reason(int(results.reason[index])).name})" if status is Status.ABORTED else ""
        why = "the mappings of its time allow it" if piece["allowed"] else "the mappings of its time do not allow it"
        return f"{asked}: came {status.name}{reason}, expected {wanted.name} because {why}"
    came, expected = results.found[index, :length], plan.expected[index, :length]
    known, origin = _seen_before(plan, index, came), _origin(plan, index, came)
    return f"{asked}: came {_hex(came)}{known}, expected {_hex(expected)} {origin}"


def _hex(values: Bytes) -> str:
    return values.tobytes().hex()


def _origin(plan: ReplayPlan, index: int, came: Bytes) -> str:
    """Who wrote the first byte that differs."""
    pieces = plan.pieces
    length = int(pieces["length"][index])
    place = int(pieces["place"][index]) + int(np.argmax(came != plan.expected[index, :length]))
    earlier = pieces[:index]
    begin = earlier["place"]
    hits = (earlier["operation"] != Operation.READ) & (earlier["allowed"] == 1)
    hits &= (begin <= place) & (place < begin + earlier["length"])
    found = np.flatnonzero(hits)
    if found.size:
        return f"(stored by event {int(earlier['event'][found[-1]])})"
    return f"(never stored: the page as it was mapped, offset {place % PAGE_BYTES:#x})"


def _seen_before(plan: ReplayPlan, index: int, came: Bytes) -> str:
    """Where bytes that came are known from."""
    if not came.any():
        return " (zeros)"
    length = len(came)
    if length < SHORTEST_KNOWN:
        return ""
    same = (plan.data[:, :length] == came).all(axis=1) & (plan.pieces["operation"] == Operation.WRITE)
    same &= plan.pieces["length"] >= length
    found = np.flatnonzero(same)
    if found.size:
        return f" (the store of event {int(plan.pieces['event'][found[0]])})"
    offset = int(plan.pieces["place"][index]) % PAGE_BYTES
    for call in (*plan.initial, *plan.calls):
        for page in call.fills:
            if bool((initial_page(call.number, int(page))[offset : offset + length] == came).all()):
                return f" (page {int(page) << PAGE_SHIFT:#x} as mapping {call.number} made it)"
    return ""
