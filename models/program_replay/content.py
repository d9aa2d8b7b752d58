# SPDX-License-Identifier: Apache-2.0
"""The bytes of a replay: a recording holds none, so pages and stores get bytes that tell where they come from.

Every 64-bit word is a mix of a number that is used once (SplitMix64, Steele and others, OOPSLA 2014): two places or two
stores never look alike by accident. Source: docs/programs.md, "Data".
"""

from __future__ import annotations

import numpy as np

from models.arrays import PAGE_BYTES, PAGE_SHIFT, WORD_BYTES, Bytes, Words

LINE_BYTES = 64
_GOLDEN = np.uint64(0x9E37_79B9_7F4A_7C15)
_FIRST = np.uint64(0xBF58_476D_1CE4_E5B9)
_SECOND = np.uint64(0x94D0_49BB_1331_11EB)
_PAGE_WORDS = PAGE_BYTES // WORD_BYTES
_WORD_BITS = PAGE_SHIFT - 3
_PAGE_NUMBER_BITS = 36
_STORES = np.uint64(1 << 63)
"""Numbers of stores have this bit, numbers of page words do not."""


def mixed(numbers: Words) -> Words:
    """uint64[n] -> uint64[n], one to one."""
    value = numbers * _GOLDEN
    value = (value ^ (value >> np.uint64(30))) * _FIRST
    value = (value ^ (value >> np.uint64(27))) * _SECOND
    mixed_words: Words = value ^ (value >> np.uint64(31))
    return mixed_words


def initial_page(mapping: int, page: int) -> Bytes:
    """uint8[4096]: what page number `page` holds after mapping number `mapping` was made there, if it is filled."""
    first = ((mapping << _PAGE_NUMBER_BITS | page) << _WORD_BITS) % int(_STORES)
    return mixed(np.uint64(first) + np.arange(_PAGE_WORDS, dtype=np.uint64)).view(np.uint8)


def stamps(numbers: Words) -> Bytes:
    """uint8[n, 64]: the bytes that each store writes, of which it uses the first ones; `numbers` uint64[n]."""
    count = LINE_BYTES // WORD_BYTES
    words = np.add.outer(numbers * np.uint64(count), np.arange(count, dtype=np.uint64)).astype(np.uint64)
    return mixed(words | _STORES).view(np.uint8)
