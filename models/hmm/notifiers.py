# SPDX-License-Identifier: Apache-2.0
"""What an address space tells those who mirror its page table (struct mmu_notifier, include/linux/mmu_notifier.h)."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from models.hmm.memory_map import MemoryMap


class InvalidateEvent(IntEnum):
    """Why a range is invalidated (enum mmu_notifier_event)."""

    UNMAP = 0
    CLEAR = 1
    PROTECTION_VMA = 2
    PROTECTION_PAGE = 3
    SOFT_DIRTY = 4
    RELEASE = 5
    MIGRATE = 6
    EXCLUSIVE = 7


@dataclass(frozen=True, eq=False)
class MmuNotifierRange:
    """One invalidation: the page-table entries of [start, end) are about to change."""

    mm: MemoryMap
    start: int
    end: int
    event: InvalidateEvent

    def overlaps(self, start: int, end: int) -> bool:
        """Whether it has bytes of [start, end)."""
        return self.start < end and start < self.end


class MmuNotifier(Protocol):
    """Somebody who mirrors a page table."""

    async def invalidate_range_start(self, update: MmuNotifierRange) -> None:
        """Stop all use of the range, and return only then: the entries change next, and pages may be freed."""
        ...

    async def invalidate_range_end(self, update: MmuNotifierRange) -> None:
        """The entries have changed."""
        ...

    async def release(self, mm: MemoryMap) -> None:
        """The address space goes away: stop all use of it, and return only then."""
        ...
