# SPDX-License-Identifier: Apache-2.0
"""Recorded pages in any entry format: the words that HMM would write for a driver that brings the format.

Source: models/data/kernel/README.md, "The same pages for a device of 2018"; hmm_vma_handle_pte() and
hmm_pfns_special() of Linux 4.17 to 5.6, hmm_vma_handle_pte() of Linux 5.8 and later.
"""

from __future__ import annotations

from functools import cache

import numpy as np

from models.arrays import Words
from models.entries import encode
from models.errors import UserError
from models.formats import EntryFormat, load_formats
from models.kernel_recording import KernelInformation, RecordedArray
from models.pages import PageKind, Pages, Window

WORD_BITS = 64
LARGEST_ORDER = 0x1F
"""The kernel's map order has five bits."""


def device_window(information: KernelInformation) -> Window:
    """The pfns of the recording module's own device memory; no pages if it had none."""
    return Window(information.dev_pfn0, information.dev_npfn)


@cache
def recorded_format(information: KernelInformation) -> EntryFormat:
    """The format that the recording's kernel itself writes, found by its constants among the known formats.

    Errors: UserError if none of them has these constants.
    """
    own = (information.VALID, information.WRITE, information.ERROR, information.ORDER_SHIFT)
    for fmt in load_formats().values():
        flags_mask = ((1 << WORD_BITS) - 1) ^ fmt.pfn_mask
        if (fmt.valid, fmt.write, fmt.error, fmt.order_shift) == own and flags_mask == information.FLAGS:
            return fmt
    raise UserError(
        f"No known entry format has the constants of kernel {information.kernel}; add it to models/data/formats.yaml."
    )


def pages_of(array: RecordedArray, information: KernelInformation) -> Pages:
    """The array's n pages without any format. ATOMIC is never set: it is the one flag that HMM does not write."""
    words = array.words
    valid = (words & np.uint64(information.VALID)) != 0
    error = ~valid & ((words & np.uint64(information.ERROR)) != 0)
    kind = np.full(words.size, PageKind.NONE, dtype=np.uint8)
    kind[error] = PageKind.ERROR
    kind[error & array.special] = PageKind.SPECIAL
    kind[valid] = PageKind.VALID
    pfn = np.where(valid, words & ~np.uint64(information.FLAGS), np.uint64(0))
    order = np.where(valid, (words >> np.uint64(information.ORDER_SHIFT)) & np.uint64(LARGEST_ORDER), np.uint64(0))
    return Pages.of(
        kind,
        pfn,
        write=valid & ((words & np.uint64(information.WRITE)) != 0),
        device_private=valid & device_window(information).holds(pfn),
        order=order,
    )


def words_in(fmt: EntryFormat, array: RecordedArray, information: KernelInformation) -> Words:
    """The array's words uint64[n] in `fmt`: as they are if the recording's kernel writes that very format.

    A format without a word for SPECIAL gets ERROR, one without a word for ERROR gets NONE.
    Errors: UserError if a pfn or an order does not fit into the format.
    """
    if fmt == recorded_format(information):
        return array.words
    pages = pages_of(array, information)
    if not fmt.special and not fmt.special_is_value:
        pages.kind[pages.kind == PageKind.SPECIAL] = PageKind.ERROR
    if not fmt.error and not fmt.error_is_value:
        pages.kind[pages.kind == PageKind.ERROR] = PageKind.NONE
    return encode(fmt, pages)
