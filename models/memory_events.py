# SPDX-License-Identifier: Apache-2.0
"""What happened inside the host's memory management: notifiers, sequences, and what HMM's calls returned.

Part of the events of a journal (models/host_events.py). Source: docs/host.md, "The journal".
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from models.arrays import Bytes, Flags, Words


@dataclass(frozen=True)
class SpaceReleased:
    """Address space `space` ends: everybody who mirrored it has let go."""

    space: int


@dataclass(frozen=True)
class IntervalsTold:
    """An invalidation of a space begins, which `overlapping` interval notifiers have to know of; `seq` from now on."""

    space: int
    overlapping: int
    seq: int


@dataclass(frozen=True)
class IntervalsEnded:
    """An invalidation of a space ends; `seq` from now on."""

    space: int
    seq: int


@dataclass(frozen=True)
class NotifierInserted:
    """An interval notifier is put in, with a sequence `seq` of its own; `space_seq`: that of the space from now on."""

    space: int
    notifier: int
    seq: int
    space_seq: int


@dataclass(frozen=True)
class NotifierTold:
    """An interval notifier came back from its callback, which was given `cur_seq`; `seq` is its own now."""

    space: int
    notifier: int
    cur_seq: int
    seq: int


@dataclass(frozen=True)
class ReadAsked:
    """Somebody begins to read under an interval notifier whose sequence is `seq`; `space_seq`: that of the space."""

    space: int
    notifier: int
    seq: int
    space_seq: int


@dataclass(frozen=True)
class ReadBegun:
    """He has got `seq` and may ask HMM."""

    space: int
    notifier: int
    seq: int


@dataclass(frozen=True)
class Looked:
    """A step of a call that asks for nothing. By this step alone: entries of the CPU that `changed`, invalidations that
    were `told`, faults that were taken.
    """

    space: int
    start: int
    end: int
    changed: int
    told: int
    faulted: int


@dataclass(frozen=True, eq=False)
class CallReturned:
    """A call of HMM for the n pages from `start` on succeeded, and nothing in them was invalidated since it began.

    Arrays [n]: what was asked (`fault`, `write`), what the words say (`valid`,
    `writable`, `error`, `device`: memory of a device, `pfn`, `order`), what the CPU has (`cpu_mapped`, `cpu_pfn`,
    `cpu_order`).
    """

    space: int
    start: int
    fault: Flags
    write: Flags
    valid: Flags
    writable: Flags
    error: Flags
    device: Flags
    pfn: Words
    order: Bytes
    cpu_mapped: Flags
    cpu_pfn: Words
    cpu_order: Bytes

    def __eq__(self, other: object) -> bool:
        """By value, arrays too."""
        if not isinstance(other, CallReturned):
            return NotImplemented
        return all(np.array_equal(own, its) for own, its in zip(vars(self).values(), vars(other).values(), strict=True))

    __hash__ = object.__hash__


@dataclass(frozen=True)
class ErrorAsked:
    """A page that a look showed as ERROR was asked for, nothing having changed; `errno`: empty if it was to be had."""

    space: int
    va: int
    errno: str
