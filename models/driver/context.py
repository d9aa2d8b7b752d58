# SPDX-License-Identifier: Apache-2.0
"""An address space on a device, and one range of it under service. Source: docs/host.md, "The driver"."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from models.driver.batch import PageFault
from models.hmm.memory_map import MemoryMap
from models.hmm.notifiers import MmuNotifierRange
from models.hmm.range import HmmRange

if TYPE_CHECKING:
    from models.driver.driver import Driver


@dataclass(eq=False)
class Work:
    """One range under service: its faults, its staging array, and the part of that which HMM fills."""

    context: DeviceContext
    faults: list[PageFault]
    staging: int
    hmm_range: HmmRange


class DeviceContext:
    """One address space on the device (models.hmm.mirror.HmmMirror)."""

    def __init__(self, driver: Driver, pasid: int, mm: MemoryMap) -> None:
        self.driver = driver
        self.pasid = pasid
        self.mm = mm

    async def sync_cpu_device_pagetables(self, update: MmuNotifierRange) -> None:
        """The device uses nothing of the range when this returns."""
        await self.driver.invalidate(self, update.start, update.end)

    async def release(self) -> None:
        """The address space ends."""
        await self.driver.forget(self)
