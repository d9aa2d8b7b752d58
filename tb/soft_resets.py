# SPDX-License-Identifier: Apache-2.0
"""The soft resets of a run, and what they made of its requests. Source: docs/interface.md, "Reset"."""

from __future__ import annotations

from dataclasses import dataclass
from math import inf

from models.arrays import Flags
from tb.records import Done, EventKind, Events, Responses

NEVER = inf
ANSWERED = int(Done.ACCEPTED | Done.FINISHED | Done.RELEASED)


@dataclass(frozen=True)
class SoftReset:
    """`begin`: its first cycle; `end`: the first cycle behind it, NEVER if the run ended before."""

    begin: int
    end: float


def soft_resets(events: Events) -> list[SoftReset]:
    """Those of an event log, in order."""
    rows = events[events["kind"] == EventKind.SOFT_RESET]
    begins = rows["cycle"][rows["extra"] == 1].tolist()
    ends: list[float] = rows["cycle"][rows["extra"] == 0].tolist()
    ends += [NEVER] * (len(begins) - len(ends))
    return [SoftReset(begin, end) for begin, end in zip(begins, ends, strict=True)]


def last_end(events: Events) -> float:
    """The first cycle behind the last soft reset; -1 if there was none."""
    return max((reset.end for reset in soft_resets(events)), default=-1)


def answered(responses: Responses) -> Flags:
    """bool[n]: requests that got their response, and whose grant is over, released or ended by a soft reset."""
    flags: Flags = responses["done"] & ANSWERED == ANSWERED
    return flags


def cut_off(responses: Responses) -> Flags:
    """bool[n]: requests that a soft reset ended, unanswered or under their grant."""
    flags: Flags = responses["done"] & Done.RESET != 0
    return flags


def unanswered(responses: Responses) -> Flags:
    """bool[n]: requests that a soft reset ended before they had a response."""
    flags: Flags = cut_off(responses) & (responses["done"] & Done.FINISHED == 0)
    return flags
