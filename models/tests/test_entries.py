# SPDX-License-Identifier: Apache-2.0
"""Encoding and decoding of entries, held against a scalar reading of the contract."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.entries import decode, encode, none_word
from models.errors import UserError
from models.formats import EntryFormat, format_by_name, load_formats
from models.pages import NO_WINDOW, PageKind, Pages, Window
from models.structures import Access, Reason
from models.tests.scalar_reference import judge_entry

FORMATS = list(load_formats().values())
WORDS = st.integers(0, (1 << 64) - 1)


def interesting_words(fmt: EntryFormat, rng: np.random.Generator, count: int) -> np.ndarray:
    """Entries around the format's own masks, values and pfns, and a few wild ones."""
    parts = [fmt.valid, fmt.write, fmt.device_private, fmt.atomic, fmt.error, fmt.none, fmt.special]
    words = np.zeros(count, dtype=np.uint64)
    for mask in parts:
        words |= np.where(rng.random(count) < 0.5, np.uint64(mask), np.uint64(0))
    words |= np.where(rng.random(count) < 0.6, np.uint64(fmt.valid), np.uint64(0))
    small = rng.integers(0, 1 << 10, count).astype(np.uint64)
    pfn = np.where(rng.random(count) < 0.8, small, rng.integers(0, 1 << 63, count).astype(np.uint64))
    words |= (pfn << np.uint64(fmt.pfn_shift)) & np.uint64(fmt.pfn_mask)
    orders = rng.integers(0, 1 << max(fmt.order_width, 1), count).astype(np.uint64)
    words |= (orders << np.uint64(fmt.order_shift)) & np.uint64(fmt.order_mask)
    words ^= np.where(
        rng.random(count) < 0.2, np.uint64(1) << rng.integers(0, 64, count).astype(np.uint64), np.uint64(0)
    )
    values = np.array([fmt.error_value, fmt.none_value, fmt.special_value, 0, (1 << 64) - 1], dtype=np.uint64)
    return np.where(rng.random(count) < 0.1, rng.choice(values, count), words)


def check_against_reference(fmt: EntryFormat, words: np.ndarray, window: Window, slot_order: int) -> None:
    decoded = decode(fmt, words, window, 48, slot_order)
    for place, word in enumerate(words.tolist()):
        reason, pfn, write, atomic, device = judge_entry(fmt, word, window, 1 << slot_order, Access.READ)
        where = f"{fmt.name} {word:#x} {window} slot order {slot_order}"
        assert decoded.reason[place] == reason, where
        if reason is Reason.NONE:
            assert decoded.kind[place] == PageKind.VALID, where
            assert decoded.pfn[place] == pfn, where
            assert decoded.write[place] == write, where
            assert decoded.atomic[place] == atomic, where
            assert decoded.device[place] == device, where
            assert decoded.page_address[place] == (pfn - window.base if device else pfn) << 12, where
            order = (word >> fmt.order_shift) % (1 << fmt.order_width)
            assert decoded.order[place] == min(order, 255), where
        else:
            assert decoded.page_address[place] == 0, where
        if decoded.kind[place] != PageKind.VALID:
            said = (decoded.write, decoded.atomic, decoded.device_private, decoded.device)
            assert not any(bool(array[place]) for array in said), where


@pytest.mark.parametrize("fmt", FORMATS, ids=[fmt.name for fmt in FORMATS])
def test_entries_decode_equals_scalar_reading(fmt: EntryFormat) -> None:
    """Stimulus: entries near everything the format tells apart, windows at several places, slots of several sizes.
    Checking: the array decoder says what the scalar reading of the contract says.
    Covers: FMT-DECODE
    """
    rng = np.random.default_rng(7)
    for window in (NO_WINDOW, Window(0x100, 0x40), Window(0, 1 << 35), Window(0x201, 3), Window((1 << 52) - 4, 4)):
        for slot_order in (0, 1, 4, 18):
            check_against_reference(fmt, interesting_words(fmt, rng, 60), window, slot_order)


MASKS = st.one_of(st.just(0), WORDS, st.integers(0, 63).map(lambda bit: 1 << bit))
RANDOM_FORMATS = st.builds(
    EntryFormat, st.just("random"), valid=MASKS, write=MASKS, device_private=MASKS, atomic=MASKS, error=MASKS,
    none=MASKS, special=MASKS, error_value=WORDS, none_value=WORDS, special_value=WORDS,
    error_is_value=st.booleans(), none_is_value=st.booleans(), special_is_value=st.booleans(),
    pfn_shift=st.integers(0, 12), pfn_width=st.integers(0, 64),
    order_shift=st.integers(0, 63), order_width=st.integers(0, 31),
)  # fmt: skip


@settings(max_examples=200, deadline=None)
@given(RANDOM_FORMATS, st.integers(0, 1 << 32), st.integers(0, 20), st.data())
def test_entries_decode_of_random_formats(fmt: EntryFormat, seed: int, slot_order: int, data: st.DataObject) -> None:
    """Stimulus: random formats, refused ones too, with windows over the small pfns.
    Checking: the array decoder says what the scalar reading of the contract says.
    Covers: FMT-DECODE
    """
    window = Window(data.draw(st.integers(0, 1024)), data.draw(st.integers(0, 1024)))
    check_against_reference(fmt, interesting_words(fmt, np.random.default_rng(seed), 12), window, slot_order)


def can_say(fmt: EntryFormat, kind: PageKind) -> bool:
    ways = {
        PageKind.NONE: fmt.none_is_value or fmt.none,
        PageKind.ERROR: fmt.error_is_value or fmt.error,
        PageKind.SPECIAL: fmt.special_is_value or fmt.special,
    }
    return bool(ways.get(kind, True))


@pytest.mark.parametrize("fmt", FORMATS, ids=[fmt.name for fmt in FORMATS])
def test_entries_pages_survive_encoding(fmt: EntryFormat) -> None:
    """Stimulus: random pages of every kind that the format can say.
    Checking: encoded and decoded they are the same, but for what the format has no bits for.
    Covers: FMT-ENCODE
    """
    rng = np.random.default_rng(11)
    kinds = [kind for kind in PageKind if can_say(fmt, kind)]
    count = 2000
    pages = Pages.of(
        rng.choice(np.array(kinds), count),
        rng.integers(1, 1 << min(fmt.pfn_width, 36), count),
        write=rng.random(count) < 0.5,
        device_private=rng.random(count) < 0.3,
        atomic=rng.random(count) < 0.5,
        order=rng.integers(0, 1 << min(fmt.order_width, 5), count),
    )
    decoded = decode(fmt, encode(fmt, pages))
    same = fmt.error_is_value and fmt.special_is_value and fmt.error_value == fmt.special_value
    kind = np.where((pages.kind == PageKind.SPECIAL) & same, np.uint8(PageKind.ERROR), pages.kind)
    valid = pages.kind == PageKind.VALID
    carries = valid | (pages.kind == PageKind.NOT_VALID)
    write = valid & pages.write & bool(fmt.write)
    assert np.array_equal(decoded.kind, kind)
    assert np.array_equal(decoded.pfn, np.where(carries, pages.pfn, np.uint64(0)))
    assert np.array_equal(decoded.write, write)
    assert np.array_equal(decoded.atomic, write & (pages.atomic if fmt.atomic else True))
    assert np.array_equal(decoded.device_private, valid & pages.device_private & bool(fmt.device_private))
    assert np.array_equal(decoded.order, np.where(carries & bool(fmt.order_width), pages.order, 0))


def test_entries_encode_what_the_format_cannot_say() -> None:
    """Stimulus: pages that have no word, pfns and orders that are too large.
    Checking: UserError that says which.
    Covers: FMT-ENCODE
    """
    linux = format_by_name("linux_6_16")
    with pytest.raises(UserError, match="linux_6_16 has no word for SPECIAL"):
        encode(linux, Pages.of([PageKind.VALID, PageKind.SPECIAL]))
    with pytest.raises(UserError, match="at most 53 bits"):
        encode(linux, Pages.of(PageKind.NOT_VALID, 1 << 53))
    with pytest.raises(UserError, match="orders of at most 5 bits"):
        encode(linux, Pages.of(PageKind.VALID, 1, order=32))
    with pytest.raises(UserError, match="no word for NONE"):
        none_word(EntryFormat("bare", valid=1, pfn_shift=12, pfn_width=40))
    # What is not carried is not looked at: flags of a page that is not VALID, pfn and order of one that is not there.
    page = Pages.of(PageKind.NOT_VALID, 5, write=True, device_private=True, atomic=True)
    assert encode(format_by_name("nouveau_pfnmap"), page).tolist() == [5 << 12]
    assert encode(linux, Pages.of(PageKind.NONE, 1 << 60, order=200)).tolist() == [0]


def test_entries_every_malformed_pfn() -> None:
    """Stimulus: each way in which a pfn must not be, and its neighbours that are good.
    Checking: MALFORMED, before NOT_VALID of a foreign page.
    Covers: FMT-MALFORMED
    """
    fmt = format_by_name("hmm_2018_flags")
    window = Window(0x100, 0x10)

    def reason(pfn: int, *, private: bool = False, slot_order: int = 0) -> int:
        words = encode(fmt, Pages.of(PageKind.VALID, pfn, write=True, device_private=private))
        return int(decode(fmt, words, window, 48, slot_order).reason[0])

    assert [reason(pfn) for pfn in (0xFF, 0x100, 0x10F, 0x110)] == [0, Reason.MALFORMED, Reason.MALFORMED, 0]
    assert [reason(pfn, private=True) for pfn in (0xFF, 0x100, 0x10F, 0x110)] == [
        Reason.NOT_VALID, Reason.NONE, Reason.NONE, Reason.NOT_VALID,
    ]  # fmt: skip
    assert [reason((1 << 36) - 1), reason(1 << 36)] == [0, Reason.MALFORMED]
    assert reason(1 << 36, private=True) == Reason.MALFORMED
    assert [reason(0x300, slot_order=8), reason(0x280, slot_order=8)] == [0, Reason.MALFORMED]
    assert reason(0x280, private=True, slot_order=8) == Reason.MALFORMED
    assert reason(0x108, private=True, slot_order=3) == Reason.NONE
    # The slot reaches over the window's end, or around the whole window.
    assert reason(0x100, private=True, slot_order=5) == Reason.MALFORMED
    assert reason(0x0, slot_order=9) == Reason.MALFORMED


def test_entries_window_at_the_top() -> None:
    """Stimulus: a window above the bus, up to the last pfn that the register can name.
    Checking: its pages are device memory at their offset; the pfn after it is beyond the bus.
    Covers: FMT-WINDOW
    """
    fmt = format_by_name("odp_rfc")
    window = Window((1 << 52) - 1, 2)
    pages = Pages.of(
        PageKind.VALID, np.array([(1 << 52) - 2, (1 << 52) - 1, 1 << 52, (1 << 52) + 1]), device_private=True
    )
    decoded = decode(fmt, encode(fmt, pages), window)
    assert decoded.reason.tolist() == [Reason.MALFORMED, 0, 0, Reason.MALFORMED]
    assert decoded.page_address.tolist() == [0, 0, 4096, 0]


@pytest.mark.parametrize("base", [0, 0x1008, (1 << 52) - 1])
def test_entries_empty_window_has_no_edges(base: int) -> None:
    """Stimulus: windows of no pfns, at a base inside a slot.
    Checking: the slot is system memory like any other.
    Covers: FMT-WINDOW
    """
    fmt = format_by_name("nouveau")
    decoded = decode(fmt, encode(fmt, Pages.of(PageKind.VALID, 0x1000)), Window(base, 0), 48, 4)
    assert decoded.reason.tolist() == [Reason.NONE]
    assert decoded.page_address.tolist() == [0x1000 << 12]


def test_entries_window_registers() -> None:
    """Stimulus: windows that their registers cannot hold.
    Checking: UserError.
    Covers: FMT-WINDOW
    """
    for base, count in ((-1, 0), (1 << 52, 0), (0, -1), (0, 1 << 36)):
        with pytest.raises(UserError, match="window"):
            Window(base, count)


def test_entries_pages_of_bad_numbers() -> None:
    """Stimulus: pages of lengths that differ, a kind that is none, an order that is too large.
    Checking: UserError.
    Covers: FMT-PAGES
    """
    with pytest.raises(UserError, match="one length"):
        Pages.of([0, 0], [1, 2, 3])
    with pytest.raises(UserError, match="PageKind"):
        Pages.of([5])
    with pytest.raises(UserError, match="order"):
        Pages.of(PageKind.VALID, 1, order=256)


def test_entries_pages_slice() -> None:
    """Stimulus: a slice and a mask of pages.
    Checking: every array is cut alike.
    Covers: FMT-PAGES
    """
    pages = Pages.of(PageKind.VALID, np.arange(10), write=np.arange(10) % 2 == 0)
    assert pages[2:5].pfn.tolist() == [2, 3, 4]
    assert pages[pages.write].pfn.tolist() == [0, 2, 4, 6, 8]
    assert len(pages[pages.write]) == 5
