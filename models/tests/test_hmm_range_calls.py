# SPDX-License-Identifier: Apache-2.0
"""hmm_range_fault() around the walk: lost sequences, wrong calls, other formats."""

from __future__ import annotations

import numpy as np
import pytest

from models.arrays import PAGE_BYTES
from models.conform.judge import run_alone
from models.errors import UserError
from models.formats import format_by_name
from models.hmm.errors import HmmError
from models.hmm.notifiers import InvalidateEvent
from models.hmm.page_table import EntryFlags, EntryKind
from models.hmm.range_fault import NotifiedRange, hmm_range_fault
from models.hmm.vma import VmFlags
from models.tests.present_bench import FORMAT, PLACE, READ_WRITE, VALID, WRITE, PresentBench

WRITABLE = EntryFlags.WRITABLE
HUGE_AREA = READ_WRITE | VmFlags.VM_HUGEPAGE


def test_range_fault_lost_sequence() -> None:
    """
    Stimulus: A call with a sequence that an invalidation has made useless; one with that of before the first.
    Checking: EBUSY at once, nothing written; invalidations elsewhere do not count.
    Covers: HMM-SEQUENCE
    """
    bench = PresentBench()
    bench.area()
    bench.entry(0, EntryKind.PRESENT, WRITABLE)
    old = bench.sequence()

    async def invalidate(start: int) -> None:
        async with bench.mm.invalidation(start, start + PAGE_BYTES, InvalidateEvent.CLEAR):
            pass

    run_alone(invalidate(PLACE - PAGE_BYTES))
    assert bench.ask(1, 0, [5], seq=old)[0] == ""
    run_alone(invalidate(PLACE))
    errno, array = bench.ask(1, 0, [5], seq=old)
    assert (errno, int(array[0])) == ("EBUSY", 5)
    assert bench.sequence() == old + 2
    assert bench.mm.intervals.seq == old + 3


def test_range_fault_wrong_calls() -> None:
    """
    Stimulus: A range that is empty, not whole pages, of another length than the array; the lock not held.
    Checking: Each is refused at once.
    Covers: HMM-RANGE
    """
    bench = PresentBench()
    array = np.zeros(1, dtype=np.uint64)
    made = NotifiedRange(bench.notifier, 1, PLACE, PLACE + PAGE_BYTES, array, FORMAT)
    with pytest.raises(RuntimeError, match="mmap lock"):
        run_alone(hmm_range_fault(bench.mm, made))
    run_alone(bench.mm.mmap_lock.acquire_read())
    made.end = PLACE
    with pytest.raises(HmmError, match="EINVAL"):
        run_alone(hmm_range_fault(bench.mm, made))
    made.end = PLACE + 2 * PAGE_BYTES
    with pytest.raises(UserError, match="one entry for each page"):
        run_alone(hmm_range_fault(bench.mm, made))
    made.start = PLACE + 1
    with pytest.raises(UserError, match="whole pages"):
        run_alone(hmm_range_fault(bench.mm, made))


def test_range_fault_sticky_bits_and_orders_of_linux_6_16() -> None:
    """
    Stimulus: A huge page asked for in the format of Linux 6.16, with bits of the driver's own in the entries.
    Checking: The driver's bits stay, the order stands in its new place.
    Covers: HMM-FORMAT
    """
    bench = PresentBench((6, 16))
    bench.area(flags=HUGE_AREA)
    bench.huge(flags=WRITABLE)
    fmt = format_by_name("linux_6_16")
    array = np.array([1 << 60, 0], dtype=np.uint64)
    made = NotifiedRange(bench.notifier, bench.sequence(), PLACE, PLACE + 2 * PAGE_BYTES, array, fmt)
    run_alone(bench.mm.mmap_lock.acquire_read())
    run_alone(hmm_range_fault(bench.mm, made))
    assert [int(word) for word in array] == [VALID | WRITE | 1 << 60 | 9 << 53 | 4096, VALID | WRITE | 9 << 53 | 4097]
