# SPDX-License-Identifier: Apache-2.0
"""A batch of fault records made ready for service: duplicates dropped, sorted by context and address.

Source: nouveau_svm_fault() and nouveau_svm_fault_cmp() of Linux; docs/host.md, "The driver".
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from models.arrays import PAGE_BYTES
from models.fault_records import FaultRecord
from models.geometry import LEAF_LEVEL, span_bits
from models.hmm.vma import Vma
from models.structures import Access

LEAF_SPAN = span_bits(LEAF_LEVEL)
LEAF_BYTES = 1 << LEAF_SPAN


@dataclass(eq=False)
class PageFault:
    """What one page is needed for, and all records that say so. `deadline` is a time of the port's clock.

    `alone`: it is served by itself, because a range around it failed; `bring_back`: its page must leave device memory.
    """

    pasid: int
    page: int
    access: Access
    deadline: int
    records: list[FaultRecord] = field(default_factory=list)
    alone: bool = False
    bring_back: bool = False

    @property
    def writes(self) -> bool:
        """Whether the page must be writable."""
        return self.access in (Access.WRITE, Access.ATOMIC)


def page_of(record: FaultRecord) -> int:
    """Address of the page that faulted."""
    return record.va // PAGE_BYTES * PAGE_BYTES


def page_faults(records: Sequence[FaultRecord], deadline: Callable[[FaultRecord], int]) -> dict[int, list[PageFault]]:
    """For each PASID its faults by rising address, one for each page and access however often it was recorded.

    `deadline` gives the end of the time of the fault of a record.
    """
    found: dict[tuple[int, int, Access], PageFault] = {}
    for record in records:
        key = record.pasid, page_of(record), record.access
        if key not in found:
            found[key] = PageFault(*key, deadline(record))
        found[key].records.append(record)
    by_context: dict[int, list[PageFault]] = {}
    for key in sorted(found):
        by_context.setdefault(key[0], []).append(found[key])
    return by_context


def single_faults(records: Sequence[FaultRecord], deadline: Callable[[FaultRecord], int]) -> dict[int, list[PageFault]]:
    """The same without any merging: one fault for each record, in their order, each to be served alone."""
    by_context: dict[int, list[PageFault]] = {}
    for record in records:
        fault = PageFault(record.pasid, page_of(record), record.access, deadline(record), [record], alone=True)
        by_context.setdefault(record.pasid, []).append(fault)
    return by_context


def first_range(faults: Sequence[PageFault], vma: Vma) -> list[PageFault]:
    """The first fault and those after it that can be served with it: inside its area and its 2 MiB."""
    first = faults[0]
    if first.alone:
        return [fault for fault in faults if fault.page == first.page]
    end = min(vma.end, (first.page // LEAF_BYTES + 1) * LEAF_BYTES)
    return [fault for fault in faults if first.page <= fault.page < end and not fault.alone]
