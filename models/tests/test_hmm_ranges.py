# SPDX-License-Identifier: Apache-2.0
"""struct hmm_range in its two forms: the words that a driver's tables give, and tables that cannot be."""

from __future__ import annotations

import numpy as np
import pytest

from models.arrays import PAGE_BYTES
from models.errors import UserError
from models.formats import load_formats
from models.hmm import EntryKind, HmmPfnFlag, HmmPfnFlagMerged, HmmPfnValue, HmmRange, hmm_vma_range_done
from models.host_scheduler import run
from models.tests.hmm_bench import PLACE, STATES, HmmBench


def test_hmm_ranges_marks_ask_for_nothing() -> None:
    """An entry that is NONE, ERROR or SPECIAL asks for nothing, even where the driver's word has the VALID bit.

    Stimulus: a merged-form range whose three values all have the VALID and WRITE bits, over an untouched page.
    Checking: nothing is faulted.
    Covers: HMM-REQUESTS, HMM-FORMS.
    """

    async def scenario() -> None:
        bench = HmmBench()
        await bench.begin()
        await STATES["hole"](bench)
        values = (0xF3, 0xF7, 0xFB)
        for value in values:
            vma = bench.vma(PLACE)
            pfns = np.array([value], dtype=np.uint64)
            hmm_range = HmmRange(vma, PLACE, PLACE + PAGE_BYTES, pfns, (1, 2, 4), 12, values)
            await bench.fault(hmm_range)
            assert int(pfns[0]) == values[HmmPfnValue.HMM_PFN_NONE]
            assert hmm_vma_range_done(hmm_range)
        assert bench.mm.page_table.lookup(PLACE).kind is EntryKind.NONE

    run(scenario())


def test_hmm_ranges_forms_of_every_known_format() -> None:
    """Every entry format that comes with the project gives a range whose words are the format's own.

    Stimulus: a range in each format.
    Checking: form, flags and values; six flags only where all marks are flags.
    Covers: HMM-FORMS.
    """
    bench = HmmBench()
    run(STATES["writable"](bench))
    for fmt in load_formats().values():
        made = bench.range(fmt, PLACE, 1)
        words = made.words()
        assert (words.valid, words.write, words.device_private) == (fmt.valid, fmt.write, fmt.device_private)
        assert words.none == (fmt.none_value if fmt.none_is_value else fmt.none)
        assert words.request(write=False) == fmt.valid
        assert words.request(write=True) == fmt.valid | fmt.write
        assert words.request(write=True, device_private=True) == fmt.valid | fmt.write | fmt.device_private
        assert (made.values is None) == (fmt.name in ("hmm_2017_fixed", "hmm_2018_flags"))
        if made.values is None:
            assert made.flags[HmmPfnFlag.HMM_PFN_FLAG_SPECIAL] == fmt.special
        else:
            assert made.flags[HmmPfnFlagMerged.HMM_PFN_DEVICE_PRIVATE] == fmt.device_private


@pytest.mark.parametrize(
    ("flags", "values", "shift", "message"),
    [
        ((1, 2), None, 12, "six flags"),
        ((1, 2, 4), None, 12, "six flags"),
        ((1, 2, 4, 8, 16, 32), (0, 1, 2), 12, "six flags"),
        ((1, 2, 4), (0, 1), 12, "six flags"),
        ((1, 2, 4), (0, 1, 1 << 64), 12, "64 bits"),
        ((1, 2, 4), (0, 1, -1), 12, "64 bits"),
        ((1, 2, 4), (0, 1, 2), 13, "pfn_shift"),
    ],
)
def test_hmm_ranges_range_that_cannot_be(
    flags: tuple[int, ...], values: tuple[int, ...] | None, shift: int, message: str
) -> None:
    """A range with wrong tables is refused with one sentence.

    Stimulus: too few or too many flags and values, numbers of more than 64 bits, a pfn_shift above 12.
    Checking: UserError and its text.
    Covers: HMM-FORMS.
    """
    bench = HmmBench()
    run(STATES["writable"](bench))
    vma = bench.vma(PLACE)
    with pytest.raises(UserError, match=message):
        HmmRange(vma, PLACE, PLACE + PAGE_BYTES, np.zeros(1, dtype=np.uint64), flags, shift, values).words()
