# SPDX-License-Identifier: Apache-2.0
"""Names for the array types that the models pass around, conversions into them, and the sizes of their units."""

from __future__ import annotations

import operator
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from models.errors import UserError

Words = npt.NDArray[np.uint64]
Bytes = npt.NDArray[np.uint8]
Flags = npt.NDArray[np.bool_]
WordsLike = npt.ArrayLike | Sequence[int]

WORD_BYTES = 8
LINE_BYTES = 64
PAGE_SHIFT = 12
PAGE_BYTES = 1 << PAGE_SHIFT


def as_words(values: WordsLike) -> Words:
    """`values` as a one-dimensional uint64 array; a scalar gives length 1.

    Errors: UserError if a value is negative or needs more than 64 bits.
    """
    if isinstance(values, np.ndarray) and values.dtype == np.uint64:
        return np.atleast_1d(values)
    try:
        array = np.asarray(values)
        if array.dtype.kind == "i" and array.size and int(array.min()) < 0:
            raise OverflowError
        if array.dtype.kind not in "iub" and array.size:
            # A list that mixes values below and above 2^63 becomes floating point: convert each value exactly.
            exact = [operator.index(value) for value in np.asarray(values, dtype=object).ravel()]
            array = np.array(exact, dtype=np.uint64)
        return np.atleast_1d(array.astype(np.uint64))
    except (OverflowError, TypeError, ValueError):
        raise UserError("Give numbers from 0 to 2^64 - 1: each value must fit one 64-bit word.") from None
