# SPDX-License-Identifier: Apache-2.0
"""What a driver sees of a device: the same for the golden device in plain pytest and for the RTL in simulation.

Source: docs/host.md, "The device port".
"""

from __future__ import annotations

from typing import Protocol

from models.arrays import Words
from models.fault_records import FaultRecord
from models.preemption import Preemption


class DevicePort(Preemption, Protocol):
    """A device and the time that passes with it."""

    async def store_words(self, address: int, words: Words) -> None:
        """Store uint64[n] into the device's tables from bus address `address` (8-byte aligned) on, one after another.

        Returns when the last one is in memory.
        """
        ...

    async def submit(self, commands: Words) -> None:
        """Put commands uint64[n, 4] into the command ring, in order; waits where the ring is full.

        Stores made before are in memory before the device takes them. Returns when all are in the ring.
        """
        ...

    async def fence(self) -> None:
        """Command a fence and wait until it is complete. Several callers may wait at once."""
        ...

    async def wait_faults(self, cycles: int) -> bool:
        """Wait until a fault record is in the ring, but not more than `cycles`; returns whether one is there."""
        ...

    async def take_faults(self, limit: int) -> list[FaultRecord]:
        """Copy at most `limit` records out of the ring and give their places back to the device, before any is served.

        Errors: RuntimeError if a record has the wrong phase bit.
        """
        ...
