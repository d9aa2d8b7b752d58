# SPDX-License-Identifier: Apache-2.0
"""The largest honest promise of a directory entry."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.entries import encode
from models.errors import UserError
from models.formats import EntryFormat, format_by_name
from models.honest_order import largest_honest_max_order
from models.pages import PageKind, Pages

LINUX = format_by_name("linux_6_16")
VALID = 1 << 63


def is_honest(fmt: EntryFormat, words: list[int], slot_order: int, promise: int) -> bool:
    """The contract's sentence, entry by entry."""
    step = 1 << slot_order
    for place, word in enumerate(words):
        order = min(word >> fmt.order_shift & ((1 << fmt.order_width) - 1), promise)
        if word & fmt.valid != fmt.valid or order <= slot_order:
            continue
        slots = 1 << (order - slot_order)
        if slots > len(words):
            return False
        first = place // slots * slots
        block = words[first : first + slots]
        pfns = [each >> fmt.pfn_shift & ((1 << fmt.pfn_width) - 1) for each in block]
        if any(each & ~fmt.pfn_mask != block[0] & ~fmt.pfn_mask for each in block):
            return False
        if any(after - before != step for before, after in pairwise(pfns)):
            return False
    return True


def blocks(rng: np.random.Generator, count: int, largest: int, step: int, damage: int) -> np.ndarray:
    """Entries of `count` slots made of random honest blocks, then a few of them changed."""
    pfn, order, write = np.zeros(count, np.uint64), np.zeros(count, np.uint8), np.zeros(count, bool)
    at = 0
    while at < count:
        size = int(rng.integers(0, largest + 1))
        while at % (1 << size):
            size -= 1
        base = int(rng.integers(0, 1 << 20)) << size
        place = slice(at, at + (1 << size))
        pfn[place] = (base + np.arange(1 << size)) * step
        order[place] = size + step.bit_length() - 1
        write[place] = rng.random() < 0.5
        at += 1 << size
    words = encode(LINUX, Pages.of(PageKind.VALID, pfn, write=write, order=order))
    for place in rng.integers(0, count, damage):
        words[place] = rng.choice(
            np.array([0, words[place] ^ np.uint64(1), words[place] ^ np.uint64(1 << 62)], np.uint64)
        )
    return words


@settings(max_examples=150, deadline=None)
@given(st.integers(0, 1 << 32), st.integers(0, 5), st.integers(0, 2), st.sampled_from([0, 0, 9]))
def test_honest_order_is_the_largest(seed: int, log2: int, damage: int, slot_order: int) -> None:
    """Stimulus: random blocks in arrays of 1 to 32 slots, some of them damaged.
    Checking: by the contract's sentence the result is honest, and one more is not or promises nothing new.
    Covers: ORDER-HONEST
    """
    words = blocks(np.random.default_rng(seed), 1 << log2, log2, 1 << slot_order, damage)
    numbers = words.tolist()
    found = largest_honest_max_order(LINUX, words, page_shift=12 + slot_order)
    orders = [word >> 53 & 31 for word in numbers if word >> 63]
    assert is_honest(LINUX, numbers, slot_order, found)
    if found < min(max(orders, default=0), slot_order + log2):
        assert not is_honest(LINUX, numbers, slot_order, found + 1)
    else:
        assert found == min(max(orders, default=0), slot_order + log2)


def huge(order: int, count: int, first: int = 0) -> np.ndarray:
    return encode(LINUX, Pages.of(PageKind.VALID, np.arange(first, first + count), write=True, order=order))


def test_honest_order_of_huge_pages() -> None:
    """Stimulus: whole huge pages, a page of 1 GiB in arrays of 2 MiB and of 1 GiB, parts of huge pages.
    Checking: the page's own order, at most the array's; less where a neighbour differs.
    Covers: ORDER-HONEST
    """
    assert largest_honest_max_order(LINUX, huge(9, 512)) == 9
    assert largest_honest_max_order(LINUX, huge(18, 512)) == 9
    assert largest_honest_max_order(LINUX, huge(18, 1 << 18)) == 18
    assert largest_honest_max_order(LINUX, huge(0, 512)) == 0
    part = huge(9, 512)
    part[:8] = 0  # the HMM range began inside the huge page
    assert largest_honest_max_order(LINUX, part) == 3
    part[8:] = 0
    assert largest_honest_max_order(LINUX, part) == 0
    wrong = huge(9, 512)
    wrong[256:] += np.uint64(1)
    assert largest_honest_max_order(LINUX, wrong) == 8
    large_slots = encode(LINUX, Pages.of(PageKind.VALID, np.arange(512) << 9, order=18))
    assert largest_honest_max_order(LINUX, large_slots, page_shift=21) == 18


@pytest.mark.parametrize("place", [0, 1])
def test_honest_order_counts_value_words_as_different(place: int) -> None:
    """Stimulus: a block of two; one word is the ERROR value, though it looks like the mapping that belongs there.
    Checking: the block is not whole.
    Covers: ORDER-HONEST
    """
    words = [0xFF1, 0x1FF1]
    fmt = EntryFormat(
        "x", valid=1, none_is_value=True, error_is_value=True, error_value=words[place], pfn_shift=12, pfn_width=1,
        order_shift=4, order_width=8,
    )  # fmt: skip
    assert largest_honest_max_order(replace(fmt, error_value=2), words) == 1
    assert largest_honest_max_order(fmt, words) == 0


def test_honest_order_without_an_order_field() -> None:
    """Stimulus: a format without orders; an array that is no power of two; an empty one.
    Checking: 0; UserError.
    Covers: ORDER-HONEST
    """
    nouveau = format_by_name("nouveau")
    assert largest_honest_max_order(nouveau, encode(nouveau, Pages.of(PageKind.VALID, np.arange(512)))) == 0
    for count in (0, 3):
        with pytest.raises(UserError, match="power of two"):
            largest_honest_max_order(LINUX, np.zeros(count, np.uint64))
