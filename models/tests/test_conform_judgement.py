# SPDX-License-Identifier: Apache-2.0
"""Unit tests of what conformance may leave to a relation."""

from __future__ import annotations

import numpy as np
import pytest

from models.arrays import PAGE_BYTES
from models.conform.judgement import reaches_outside

TWO_MIB = 512


@pytest.mark.parametrize(
    ("first", "count", "level", "outside"),
    [
        (TWO_MIB, TWO_MIB, 1, False),
        (TWO_MIB, TWO_MIB - 1, 1, True),
        (TWO_MIB + 1, TWO_MIB - 1, 1, True),
        (TWO_MIB, 2 * TWO_MIB, 1, False),
        (TWO_MIB, TWO_MIB, 2, True),
        (0, TWO_MIB * TWO_MIB, 2, False),
    ],
)
def test_conform_tables_that_reach_outside(first: int, count: int, level: int, outside: bool) -> None:
    """
    Stimulus: `count` pages from page `first` on, below tables of one level: exactly the table's span, and less of it.
    Checking: a table is shared with memory outside only if it spans more than the pages that were recorded.
    Covers: CONFORM-RELATION
    """
    found = reaches_outside(np.full(count, level, dtype=np.uint8), first * PAGE_BYTES)
    assert found.shape == (count,) and bool(found.any()) is outside
