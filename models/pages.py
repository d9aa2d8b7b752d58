# SPDX-License-Identifier: Apache-2.0
"""What an entry says, apart from its bits: kinds of entries, pages as a struct of arrays, the device's own memory."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum

import numpy as np
import numpy.typing as npt

from models.arrays import Bytes, Flags, Words, WordsLike, as_words
from models.errors import UserError

WINDOW_BASE_BITS = 52
WINDOW_COUNT_BITS = 36


class PageKind(IntEnum):
    """What an entry is, in the order of decoding; NOT_VALID is what is left."""

    NONE = 0
    ERROR = 1
    SPECIAL = 2
    VALID = 3
    NOT_VALID = 4


@dataclass(frozen=True)
class Window:
    """The pfns [base, base + count) that stand for the device's own memory; count 0: it has none.

    Errors: UserError if base needs more than 52 bits or count more than 36.
    """

    base: int = 0
    count: int = 0

    def __post_init__(self) -> None:
        if not 0 <= self.base < 1 << WINDOW_BASE_BITS or not 0 <= self.count < 1 << WINDOW_COUNT_BITS:
            raise UserError(
                f"Give the window a first pfn below 2^{WINDOW_BASE_BITS} and fewer than 2^{WINDOW_COUNT_BITS} pfns."
            )

    def holds(self, pfns: Words) -> Flags:
        """bool[n]: which of the pfns uint64[n] lie in the window."""
        return (pfns >= np.uint64(self.base)) & (pfns < np.uint64(self.base + self.count))

    def crossed_by(self, first: Words, last: Words) -> Flags:
        """bool[n]: which of the blocks of pfns first to last (uint64[n] each, inclusive) lie partly in the window."""
        if self.count == 0:
            return np.zeros(first.shape, dtype=np.bool_)
        within = self.holds(first) & self.holds(last)
        apart = (last < np.uint64(self.base)) | (first >= np.uint64(self.base + self.count))
        return ~(within | apart)


NO_WINDOW = Window()


@dataclass(frozen=True)
class Pages:
    """n pages as HMM sees them, one array for each property.

    kind uint8[n] of PageKind; pfn uint64[n] in units of 4 KiB; write, device_private, atomic bool[n]; order uint8[n],
    log2 of the 4 KiB pages of the CPU's mapping. Only VALID pages use the three flags; VALID and NOT_VALID use pfn and
    order.
    """

    kind: Bytes
    pfn: Words
    write: Flags
    device_private: Flags
    atomic: Flags
    order: Bytes

    @classmethod
    def of(
        cls,
        kind: npt.ArrayLike = PageKind.VALID,
        pfn: WordsLike = 0,
        *,
        write: npt.ArrayLike = False,
        device_private: npt.ArrayLike = False,
        atomic: npt.ArrayLike = False,
        order: npt.ArrayLike = 0,
    ) -> Pages:
        """Pages from values that broadcast together.

        Errors: UserError if the shapes do not fit or a number is outside its type.
        """
        kinds, orders = np.atleast_1d(np.asarray(kind)), np.atleast_1d(np.asarray(order))
        if bool(((kinds < 0) | (kinds > max(PageKind))).any()) or bool(((orders < 0) | (orders > 255)).any()):
            raise UserError("Give each page a kind of PageKind and an order from 0 to 255.")
        try:
            arrays = np.broadcast_arrays(
                kinds.astype(np.uint8),
                as_words(pfn),
                np.asarray(write, dtype=np.bool_),
                np.asarray(device_private, dtype=np.bool_),
                np.asarray(atomic, dtype=np.bool_),
                orders.astype(np.uint8),
            )
        except ValueError:
            raise UserError("Give the arrays of pages one length.") from None
        return cls(*(array.copy() for array in arrays))

    def __len__(self) -> int:
        return int(self.kind.size)

    def __getitem__(self, index: slice | npt.NDArray[np.intp] | Flags) -> Pages:
        return Pages(
            self.kind[index],
            self.pfn[index],
            self.write[index],
            self.device_private[index],
            self.atomic[index],
            self.order[index],
        )
