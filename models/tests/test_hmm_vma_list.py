# SPDX-License-Identifier: Apache-2.0
"""Unit tests of the list of areas: where there is room."""

from __future__ import annotations

import pytest

from models.arrays import PAGE_BYTES
from models.hmm import MemoryMap
from models.hmm.vma import Vma, VmaList, VmFlags
from models.tests.hmm_bench import HmmBench


def list_of(mm: MemoryMap, *places: tuple[int, int]) -> VmaList:
    """Areas of pages [first, last)."""
    areas = VmaList()
    for first, last in places:
        areas.insert(Vma(mm, first * PAGE_BYTES, last * PAGE_BYTES, VmFlags.VM_READ), merge=False)
    return areas


@pytest.mark.parametrize(
    ("length", "page"),
    [(1, 19), (2, 18), (3, 12), (4, 11), (5, 10), (6, 2), (7, None)],
)
def test_vma_list_gap(length: int, page: int | None) -> None:
    """
    Stimulus: room below page 20 between areas: pages 2 to 7, 10 to 14, 18 and 19; lengths that just fit, and
    longer ones.
    Checking: the highest place where the length fits, one that it fills exactly included; none where nothing fits.
    Covers: MM-PLACE
    """
    areas = list_of(HmmBench().mm, (0, 2), (8, 10), (15, 18), (20, 24))
    found = areas.gap(length * PAGE_BYTES, 2 * PAGE_BYTES, 20 * PAGE_BYTES)
    assert found == (None if page is None else page * PAGE_BYTES)
