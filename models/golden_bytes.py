# SPDX-License-Identifier: Apache-2.0
"""Accesses of any bytes by the clients of the golden device; each is done at one moment under one grant.

Source: docs/host.md, "The golden device".
"""

from __future__ import annotations

from models.arrays import Bytes
from models.golden_device import GoldenDevice
from models.physical_memory import PhysicalMemory
from models.structures import Access


async def read_bytes(device: GoldenDevice, pasid: int, va: int, length: int) -> Bytes:
    """uint8[length], all inside one page. Errors: DeviceAbort; RuntimeError if it leads to memory without data."""

    def read(memory: PhysicalMemory, address: int) -> Bytes:
        first = address - memory.base
        return memory.buffer[first : first + length].copy()

    return await device.use(pasid, va, Access.READ, read)


async def write_bytes(device: GoldenDevice, pasid: int, va: int, data: Bytes) -> None:
    """Write uint8[n], all inside one page. Errors: as read_bytes()."""

    def write(memory: PhysicalMemory, address: int) -> None:
        first = address - memory.base
        memory.buffer[first : first + data.size] = data

    await device.use(pasid, va, Access.WRITE, write)
