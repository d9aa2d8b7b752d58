# SPDX-License-Identifier: Apache-2.0
"""Sizes that the translation tables are built from, and what a directory level spans.

Source: docs/interface.md, "Directories".
"""

from __future__ import annotations

from models.arrays import PAGE_SHIFT, WORD_BYTES
from models.errors import UserError

INDEX_BITS = 9
INDEX_MASK = (1 << INDEX_BITS) - 1
DIRECTORY_BYTES = WORD_BYTES << INDEX_BITS
LEAF_LEVEL = 1
"""The lowest directory level: its entries span 2 MiB."""
ROOT_LEVELS = {48: 3, 57: 4}
"""Level of the root directory for each width of a virtual address in bits."""
DEFAULT_VA_BITS = 48
DEFAULT_PA_BITS = 48


def root_level(va_bits: int) -> int:
    """Level of the root directory. Errors: UserError for a width other than 48 and 57."""
    if va_bits not in ROOT_LEVELS:
        raise UserError(f"Choose virtual addresses of 48 or 57 bits, not {va_bits}.")
    return ROOT_LEVELS[va_bits]


def span_bits(level: int) -> int:
    """log2 of the bytes that one directory entry of `level` spans: 21, 30, 39, 48 for levels 1 to 4."""
    return PAGE_SHIFT + INDEX_BITS * level
