# SPDX-License-Identifier: Apache-2.0
"""struct hmm_range in its two forms of 2018: what a driver wants to know of a range, in its own entry format.

First form: one array of six flags. Merged form (Linux 4.17): three flags and three values of whole entries. Source:
include/linux/hmm.h of Linux 4.17, enum hmm_pfn_flag_e and enum hmm_pfn_value_e; docs/host.md, "Asking HMM".
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum

import numpy as np

from models.arrays import PAGE_BYTES, PAGE_SHIFT, Flags, Words
from models.errors import UserError
from models.formats import WORD_MASK, EntryFormat
from models.hmm.vma import Vma

LARGEST_PFN_SHIFT = PAGE_SHIFT


class HmmPfnFlag(IntEnum):
    """Places in `flags` of the first form."""

    HMM_PFN_FLAG_VALID = 0
    HMM_PFN_FLAG_WRITE = 1
    HMM_PFN_FLAG_ERROR = 2
    HMM_PFN_FLAG_NONE = 3
    HMM_PFN_FLAG_SPECIAL = 4
    HMM_PFN_FLAG_DEVICE_PRIVATE = 5


class HmmPfnFlagMerged(IntEnum):
    """Places in `flags` of the merged form (enum hmm_pfn_flag_e)."""

    HMM_PFN_VALID = 0
    HMM_PFN_WRITE = 1
    HMM_PFN_DEVICE_PRIVATE = 2


class HmmPfnValue(IntEnum):
    """Places in `values` of the merged form (enum hmm_pfn_value_e)."""

    HMM_PFN_ERROR = 0
    HMM_PFN_NONE = 1
    HMM_PFN_SPECIAL = 2


@dataclass(frozen=True)
class Requests:
    """What entries ask for on the way in, bool[n] each: a fault at all, write permission, and device memory back."""

    fault: Flags
    write: Flags
    device_private: Flags


@dataclass(frozen=True)
class EntryWords:
    """The words of one range, whichever form it has. A flag of 0 is left out of entries and never asked for.

    `order_shift`: where entries carry their order, 0 for nowhere. Of an entry on the way in only the bits in
    `pfn_flags_mask` count, and `default_flags` count as if they were in every entry. `marks_ask`: NONE, ERROR and
    SPECIAL are no more than their bits on the way in; else they ask for nothing. `sticky`: bits of the driver's own,
    which stay.
    """

    valid: int
    write: int
    device_private: int
    error: int
    none: int
    special: int
    marks_are_values: bool
    pfn_shift: int
    order_shift: int = 0
    default_flags: int = 0
    pfn_flags_mask: int = WORD_MASK
    marks_ask: bool = False
    sticky: int = 0

    def requests(self, pfns: Words) -> Requests:
        """What the entries uint64[n] ask for."""
        own = pfns & np.uint64(self.pfn_flags_mask)
        if not self.marks_ask:
            for mark in (self.none, self.error, self.special):
                marked = (pfns == np.uint64(mark)) if self.marks_are_values else self._matches(pfns, mark)
                own[marked] = 0
        asked = own | np.uint64(self.default_flags)
        fault = self._matches(asked, self.valid)
        return Requests(
            fault, fault & self._matches(asked, self.write), fault & self._matches(asked, self.device_private)
        )

    def order(self, order: int) -> int:
        """The bits that tell an order."""
        return order << self.order_shift if self.order_shift else 0

    def request(self, *, write: bool, device_private: bool = False) -> int:
        """The entry that asks for a page, for writing, and back from device memory."""
        return self.valid | (self.write if write else 0) | (self.device_private if device_private else 0)

    def _matches(self, pfns: Words, mask: int) -> Flags:
        if mask == 0:
            return np.zeros(pfns.shape, dtype=np.bool_)
        matches: Flags = (pfns & np.uint64(mask)) == np.uint64(mask)
        return matches


@dataclass(eq=False)
class HmmRange:
    """A range [start, end) of `vma`; `pfns` uint64[pages] holds requests on the way in and results on the way out.

    `flags` and `values` are the driver's words: six flags and no values (first form), or three and three (merged form).
    `valid` says, while the range is tracked, that nothing in it was invalidated. `default_flags` are asked for every
    page, and of the entries themselves only the bits in `pfn_flags_mask` count, as since Linux 5.2. The fields keep
    the kernel's names.
    """

    vma: Vma
    start: int
    end: int
    pfns: Words
    flags: tuple[int, ...]
    pfn_shift: int
    values: tuple[int, ...] | None = None
    valid: bool = False
    default_flags: int = 0
    pfn_flags_mask: int = WORD_MASK

    def words(self) -> EntryWords:
        """The driver's words by name. Errors: UserError if `flags`, `values` or `pfn_shift` cannot be."""
        if not 0 <= self.pfn_shift <= LARGEST_PFN_SHIFT:
            raise UserError(f"Give a range a pfn_shift from 0 to {LARGEST_PFN_SHIFT}, not {self.pfn_shift}.")
        given = (*self.flags, *(self.values or ()))
        if any(not 0 <= word <= WORD_MASK for word in given):
            raise UserError("Give the flags and values of a range as numbers of 64 bits.")
        if self.values is None and len(self.flags) == len(HmmPfnFlag):
            flag = self.flags
            return EntryWords(
                valid=flag[HmmPfnFlag.HMM_PFN_FLAG_VALID],
                write=flag[HmmPfnFlag.HMM_PFN_FLAG_WRITE],
                device_private=flag[HmmPfnFlag.HMM_PFN_FLAG_DEVICE_PRIVATE],
                error=flag[HmmPfnFlag.HMM_PFN_FLAG_ERROR],
                none=flag[HmmPfnFlag.HMM_PFN_FLAG_NONE],
                special=flag[HmmPfnFlag.HMM_PFN_FLAG_SPECIAL],
                marks_are_values=False,
                pfn_shift=self.pfn_shift,
                default_flags=self.default_flags,
                pfn_flags_mask=self.pfn_flags_mask,
            )
        if self.values is None or (len(self.flags), len(self.values)) != (len(HmmPfnFlagMerged), len(HmmPfnValue)):
            raise UserError("Give a range six flags, or three flags and three values.")
        return EntryWords(
            valid=self.flags[HmmPfnFlagMerged.HMM_PFN_VALID],
            write=self.flags[HmmPfnFlagMerged.HMM_PFN_WRITE],
            device_private=self.flags[HmmPfnFlagMerged.HMM_PFN_DEVICE_PRIVATE],
            error=self.values[HmmPfnValue.HMM_PFN_ERROR],
            none=self.values[HmmPfnValue.HMM_PFN_NONE],
            special=self.values[HmmPfnValue.HMM_PFN_SPECIAL],
            marks_are_values=True,
            pfn_shift=self.pfn_shift,
            default_flags=self.default_flags,
            pfn_flags_mask=self.pfn_flags_mask,
        )

    @property
    def pages(self) -> int:
        """Number of pages in the range."""
        return (self.end - self.start) // PAGE_BYTES


def range_in_format(fmt: EntryFormat, vma: Vma, start: int, end: int, pfns: Words) -> HmmRange:
    """A range in a device's format: in the first form if the format has flags for all marks, else in the merged form.

    A format without a word for ERROR uses NONE for it, one without a word for SPECIAL uses ERROR.
    Errors: UserError if the format has no word for NONE.
    """
    if fmt.none and not (fmt.none_is_value or fmt.error_is_value or fmt.special_is_value) and fmt.error and fmt.special:
        six = (fmt.valid, fmt.write, fmt.error, fmt.none, fmt.special, fmt.device_private)
        return HmmRange(vma, start, end, pfns, six, fmt.pfn_shift)
    if not fmt.none_is_value and not fmt.none:
        raise UserError(f"Choose another format: {fmt.name} has no word for NONE.")
    none = fmt.none_value if fmt.none_is_value else fmt.none
    error = fmt.error_value if fmt.error_is_value else fmt.error or none
    special = fmt.special_value if fmt.special_is_value else fmt.special or error
    flags = (fmt.valid, fmt.write, fmt.device_private)
    return HmmRange(vma, start, end, pfns, flags, fmt.pfn_shift, (error, none, special))
