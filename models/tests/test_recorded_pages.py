# SPDX-License-Identifier: Apache-2.0
"""Recorded pages in driver formats, against the words of the formats' own tables written out by hand."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from models.entries import decode
from models.errors import UserError
from models.formats import format_by_name, load_formats
from models.kernel_recording import KernelInformation, RecordedArray, read_recording, recordings
from models.pages import PageKind, Window
from models.recorded_pages import device_window, pages_of, recorded_format, words_in

INFORMATION = KernelInformation(
    kernel="6.1-test",
    VALID=1 << 63,
    WRITE=1 << 62,
    ERROR=1 << 61,
    ORDER_SHIFT=56,
    FLAGS=0xFF << 56,
    zero_pfn=7,
    dev_pfn0=0x20000,
    dev_npfn=0x10,
)
INFORMATION_6_16 = INFORMATION.model_copy(update={"ORDER_SHIFT": 53, "FLAGS": 0x7FF << 53})

WORDS = [
    0x8000000000012345,  # read-only
    0xC000000000012345,  # read-write
    0xC900000000012345,  # read-write, order 9
    0xC00000000002000F,  # the device's last page
    0xC000000000020010,  # the page after it
    0x2000000000000000,  # ERROR, a page behind it
    0x2000000000000000,  # ERROR, no page behind it
    0x0000000000000000,  # nothing
    0x0000000000012345,  # a pfn without VALID (protected for NUMA hinting)
    0x0900000000000000,  # an order without VALID (empty huge entry)
    0x4000000000012345,  # WRITE without VALID
    0x8000000000012345,  # VALID in a special mapping
]
SPECIAL = [False] * 6 + [True] + [False] * 4 + [True]


def array(words: list[int] = WORDS, special: list[bool] = SPECIAL) -> RecordedArray:
    return RecordedArray(
        kernel="6.1-test",
        line=2,
        name="x",
        request="rd",
        attempt=0,
        address=0x7F0000000000,
        pages=len(words),
        result=0,
        retry=False,
        owner=True,
        words=np.array(words, dtype=np.uint64),
        special=np.array(special),
    )


EXPECTED = {
    "hmm_2018_flags": [0x12345001, 0x12345003, 0x12345003, 0x2000F023, 0x20010003, 4, 0x10, 8, 8, 8, 8, 0x12345001],
    "hmm_2017_fixed": [
        0x91A283, 0x91A287, 0x91A287, 0x10007C7, 0x1000807, 8, 0x20, 0x10, 0x10, 0x10, 0x10, 0x91A283,
    ],
    "nouveau": [
        0x12345001, 0x12345003, 0x12345003, 0x2000F013, 0x20010003, 0xFFFFFFFFFFFFFFFE, 0xFFFFFFFFFFFFFFFE, 0, 0, 0, 0,
        0x12345001,
    ],
    "amdgpu": [
        0x12345001, 0x12345003, 0x12345003, 0x2000F003, 0x20010003, 0xFFFFFFFFFFFFFFFE, 0xFFFFFFFFFFFFFFFC, 0, 0, 0, 0,
        0x12345001,
    ],
    "odp_rfc": [
        0x91A29, 0x91A2B, 0x91A2B, 0x10007F, 0x100083, 0xFFFFFFFFFFFFFFFF, 0xFFFFFFFFFFFFFFFE, 0, 0, 0, 0, 0x91A29,
    ],
    "nouveau_pfnmap": [0x12345001, 0x12345003, 0x12345003, 0x2000F013, 0x20010003, 0, 0, 0, 0, 0, 0, 0x12345001],
    "linux_6_16": [
        0x8000000000012345, 0xC000000000012345, 0xC120000000012345, 0xC00000000002000F, 0xC000000000020010,
        0x2000000000000000, 0x2000000000000000, 0, 0, 0, 0, 0x8000000000012345,
    ],
    "linux_5_8": WORDS,
}  # fmt: skip


@pytest.mark.parametrize("name", EXPECTED)
def test_recorded_pages_words_by_hand(name: str) -> None:
    """
    Stimulus: One page of every sort that a recording has, in several formats.
    Checking: The words, written out by hand from the formats' tables; the kernel's own format is untouched.
    Covers: REC-REENCODE
    """
    words = words_in(format_by_name(name), array(), INFORMATION)
    assert [hex(word) for word in words.tolist()] == [hex(word) for word in EXPECTED[name]]


def test_recorded_pages_of_a_newer_kernel() -> None:
    """
    Stimulus: An array of a kernel with the order in bits 57:53 and DMA bits above it.
    Checking: Its own format is found; DMA bits are not taken for order; re-encoding into the older kernel's format.
    Covers: REC-REENCODE
    """
    assert recorded_format(INFORMATION_6_16).name == "linux_6_16"
    newer = array([0xD120000000012345, 0x1C00000000000000], [False, False])
    assert pages_of(newer, INFORMATION_6_16).order.tolist() == [9, 0]
    words = words_in(format_by_name("linux_5_8"), newer, INFORMATION_6_16)
    assert words.tolist() == [0xC900000000012345, 0]


def test_recorded_pages_unknown_constants() -> None:
    """
    Stimulus: A recording whose kernel has constants that no format has.
    Checking: A UserError that names the kernel and the file to complete.
    Covers: REC-FORMAT
    """
    assert recorded_format(INFORMATION).name == "linux_5_8"
    for change in ({"WRITE": 1}, {"ORDER_SHIFT": 57}, {"FLAGS": 1}, {"VALID": 4}, {"ERROR": 4}):
        with pytest.raises(UserError, match=r"kernel 6.1-test; add it to models/data/formats.yaml"):
            recorded_format(INFORMATION.model_copy(update=change))


def test_recorded_pages_come_back_from_every_format() -> None:
    """
    Stimulus: Every array of the project's recordings that may be linked, in every format.
    Checking: Decoding gives the recorded kind, pfn, permission and memory back, as far as the format can tell them.
    Covers: REC-REENCODE
    """
    for path in recordings():
        recording = read_recording(path)
        information = recording.information
        window = device_window(information)
        assert window == Window(information.dev_pfn0, information.dev_npfn)
        good = [each for each in recording.good_arrays if each.pages < 1 << 16]
        words = np.concatenate([each.words for each in good])
        special = np.concatenate([each.special for each in good])
        whole = replace(good[0], words=words, special=special, pages=words.size)
        pages = pages_of(whole, information)
        valid = pages.kind == PageKind.VALID
        assert valid.sum() > 50_000
        assert (pages.device_private & valid).sum() > 100
        for fmt in load_formats().values():
            back = decode(fmt, words_in(fmt, whole, information), window)
            np.testing.assert_array_equal(back.kind == PageKind.VALID, valid)
            np.testing.assert_array_equal(back.pfn[valid], pages.pfn[valid])
            np.testing.assert_array_equal(back.write, pages.write & (fmt.write != 0))
            np.testing.assert_array_equal(back.device, pages.device_private)
