# SPDX-License-Identifier: Apache-2.0
"""A filter for faults of a device that retries until its entry is valid: the same page comes again and again.

Times are those of the records and of the port's clock, which are one. Source: docs/host.md, "Policies";
amdgpu_gmc_filter_faults(), amdgpu_gmc_filter_faults_remove(), svm_range_drain_retry_fault() of Linux.
"""

from __future__ import annotations

from collections.abc import Callable
from enum import Enum

FaultKey = tuple[int, int]
"""PASID and page address. The access is no part of it."""


class Admission(Enum):
    """What the filter says to a fault."""

    NEW = "to be served"
    DUPLICATE = "its page was admitted within the window"
    STALE = "it is older than an invalidation of its page"
    FULL = "the filter has no room"


class FaultFilter:
    """Remembers the pages of the last `window` cycles, at most `entries` of them."""

    def __init__(self, entries: int, window: int) -> None:
        self._entries = entries
        self._window = window
        self._admitted: dict[FaultKey, int] = {}
        self._checkpoints: list[tuple[int, int, int, int]] = []

    def admit(self, key: FaultKey, timestamp: int, now: int) -> Admission:
        """What becomes of a fault of the device's cycle `timestamp`; NEW ones are remembered."""
        self._expire(now)
        pasid, page = key
        if any(pasid == who and start <= page < end and timestamp <= at for who, start, end, at in self._checkpoints):
            return Admission.STALE
        if key in self._admitted:
            return Admission.DUPLICATE
        if len(self._admitted) >= self._entries:
            return Admission.FULL
        self._admitted[key] = timestamp
        return Admission.NEW

    def remove(self, key: FaultKey) -> None:
        """The page was not served after all: its next fault is to be."""
        self._admitted.pop(key, None)

    def invalidated(self, pasid: int, start: int, end: int, now: int) -> None:
        """Pages of [start, end) lost their entries: faults from before are stale, those from now on are new."""
        self._forget(lambda key: key[0] == pasid and start <= key[1] < end)
        self._checkpoints.append((pasid, start, end, now))

    def unbound(self, pasid: int) -> None:
        """Nothing of this context is remembered."""
        self._forget(lambda key: key[0] == pasid)
        self._checkpoints = [checkpoint for checkpoint in self._checkpoints if checkpoint[0] != pasid]

    def _forget(self, chosen: Callable[[FaultKey], bool]) -> None:
        self._admitted = {key: at for key, at in self._admitted.items() if not chosen(key)}

    def _expire(self, now: int) -> None:
        oldest = now - self._window
        self._admitted = {key: at for key, at in self._admitted.items() if at > oldest}
        # A record can wait in the ring for long, but not for longer than it is served late by.
        self._checkpoints = [checkpoint for checkpoint in self._checkpoints if checkpoint[3] > oldest]
