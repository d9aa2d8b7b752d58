# SPDX-License-Identifier: Apache-2.0
"""Which pages a device may have written: those whose live entries let it.

Source: docs/host.md, "The driver"; ib_umem_odp_unmap_dma_pages() of Linux, which marks such pages when it takes the
entries away.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from models.arrays import PAGE_SHIFT, Words
from models.driver.batch import LEAF_BYTES
from models.driver.live_tables import LiveTables
from models.entries import Decoded
from models.structures import Reason


def writable_pages(tables: LiveTables, decoded: Callable[[Words], Decoded], pasid: int, start: int, end: int) -> Words:
    """The pages uint64[n] that live entries of [start, end) of a context let the device write."""
    pages = [np.zeros(0, dtype=np.uint64)]
    for span in tables.spans_in(pasid, start, end):
        first, last = max(start, span), min(end, span + LEAF_BYTES)
        words = tables.live_words(pasid, span)
        part = decoded(words[(first - span) >> PAGE_SHIFT : ((last - 1 - span) >> PAGE_SHIFT) + 1])
        pages.append(part.pfn[(part.reason == Reason.NONE) & part.write])
    return np.concatenate(pages)
