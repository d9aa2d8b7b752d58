# SPDX-License-Identifier: Apache-2.0
"""Interval notifiers: sequences, nesting, what waits for the end of an invalidation, who may refuse."""

from __future__ import annotations

import numpy as np
import pytest

from models.hmm import HmmError, InvalidateEvent, MemoryMap, MmuNotifierRange
from models.hmm.notifiers import LAST_BYTE, MmuIntervalNotifier
from models.hmm.numbered_frames import NumberedFrames
from models.host_scheduler import Scheduler, Task

PLACE = 1 << 30
LENGTH = 1 << 20
CLEAR = InvalidateEvent.CLEAR


class Watcher:
    """A notifier of [start, end) that notes what it is told; `refuses`: it would have to wait; `held`: it waits."""

    def __init__(self, start: int = PLACE, end: int = PLACE + LENGTH) -> None:
        self.told: list[tuple[InvalidateEvent, int]] = []
        self.refuses = False
        self.notifier = MmuIntervalNotifier(start, end, self.invalidate)

    async def invalidate(self, notifier: MmuIntervalNotifier, update: MmuNotifierRange, cur_seq: int) -> bool:
        """Note it."""
        if self.refuses and not update.blockable:
            return False
        notifier.set_seq(cur_seq)
        self.told.append((update.event, cur_seq))
        return True


class Bench:
    """An address space under a scheduler."""

    def __init__(self) -> None:
        self.scheduler = Scheduler()
        frames = NumberedFrames(1024, 1)
        frames.system.exists(np.array([1], dtype=np.uint64), 1)
        self.mm = MemoryMap(self.scheduler, frames)
        self.intervals = self.mm.intervals
        self.open: list[Task] = []

    def invalidate(self, start: int, end: int) -> Task:
        """An invalidation that stays open until finish()."""

        async def hold() -> None:
            async with self.mm.invalidation(start, end, CLEAR):
                await self.scheduler.pause("open")

        task = self.scheduler.start(hold())
        assert self.scheduler.run_until(task, "open")
        return task

    def finish(self, task: Task) -> None:
        """Let an open invalidation end."""
        assert self.scheduler.run_task(task)


def test_notifiers_sequence_counts_two_for_each_invalidation() -> None:
    """
    Stimulus: A new address space; an invalidation beside the watched range, then two over it.
    Checking: Sequences of 2 and even while idle, odd while one is open; only what overlaps counts.
    Covers: NOTIFIER-SEQUENCE, I16
    """
    bench, watcher = Bench(), Watcher()
    bench.intervals.insert(watcher.notifier)
    assert (bench.intervals.seq, watcher.notifier.seq) == (2, 1)
    bench.finish(bench.invalidate(PLACE + LENGTH, PLACE + 2 * LENGTH))
    assert (bench.intervals.seq, watcher.told) == (2, [])
    first = bench.invalidate(PLACE, PLACE + 1)
    assert (bench.intervals.seq, watcher.notifier.seq) == (3, 3)
    bench.finish(first)
    assert bench.intervals.seq == 4
    bench.finish(bench.invalidate(PLACE, PLACE + 1))
    assert watcher.told == [(CLEAR, 3), (CLEAR, 5)]
    assert bench.intervals.seq == 6


def test_notifiers_overlapping_invalidations_share_a_sequence() -> None:
    """
    Stimulus: A second invalidation begins before the first ends, and goes on after it.
    Checking: Both have one sequence, which is odd until the last one ends.
    Covers: NOTIFIER-NESTED, I16
    """
    bench, watcher = Bench(), Watcher()
    bench.intervals.insert(watcher.notifier)
    first = bench.invalidate(PLACE, PLACE + 1)
    second = bench.invalidate(PLACE + 1, PLACE + 2)
    bench.finish(first)
    assert bench.intervals.invalidating
    bench.finish(second)
    assert watcher.told == [(CLEAR, 3), (CLEAR, 3)]
    assert bench.intervals.seq == 4


def test_notifiers_read_begin_waits_for_the_end() -> None:
    """
    Stimulus: read_begin() while the range is being invalidated, and while only another range is.
    Checking: It returns only after the end, with a sequence that is lost; beside it, at once with one that is good.
    Covers: NOTIFIER-READ, I17
    """
    bench, watcher, other = Bench(), Watcher(), Watcher(PLACE + LENGTH, PLACE + 2 * LENGTH)
    for each in (watcher, other):
        bench.intervals.insert(each.notifier)
    good = bench.scheduler.run(bench.intervals.read_begin(watcher.notifier))
    task = bench.invalidate(PLACE, PLACE + 1)
    reader = bench.scheduler.start(bench.intervals.read_begin(watcher.notifier))
    assert not bench.scheduler.run_task(reader)
    elsewhere = bench.scheduler.start(bench.intervals.read_begin(other.notifier))
    assert bench.scheduler.run_task(elsewhere)
    assert not bench.intervals.read_retry(other.notifier, elsewhere.result)
    bench.finish(task)
    assert bench.scheduler.run_task(reader)
    assert reader.result == 3
    assert bench.intervals.read_retry(watcher.notifier, good)
    assert bench.intervals.check_retry(watcher.notifier, good)
    assert not bench.intervals.read_retry(watcher.notifier, reader.result)


def test_notifiers_insertion_meanwhile_is_deferred() -> None:
    """
    Stimulus: Inserted while an invalidation that somebody knows of is open; a second one begins over the new range.
    Checking: It is not told of it, begins as one that is being invalidated, and is told of the next after the end.
    Covers: NOTIFIER-DEFERRED
    """
    bench, watcher, late = Bench(), Watcher(), Watcher()
    bench.intervals.insert(watcher.notifier)
    task = bench.invalidate(PLACE, PLACE + 1)
    bench.intervals.insert(late.notifier)
    reader = bench.scheduler.start(bench.intervals.read_begin(late.notifier))
    assert not bench.scheduler.run_task(reader)
    bench.finish(bench.invalidate(PLACE, PLACE + 1))
    assert late.told == []
    bench.finish(task)
    assert bench.scheduler.run_task(reader)
    bench.finish(bench.invalidate(PLACE, PLACE + 1))
    assert late.told == [(CLEAR, 5)]


def test_notifiers_insertion_under_an_invalidation_nobody_knew_of() -> None:
    """
    Stimulus: Inserted while an invalidation is open that no notifier overlaps.
    Checking: The sequence becomes odd, so that readers of the new one wait for the end.
    Covers: NOTIFIER-DEFERRED
    """
    bench, late = Bench(), Watcher()
    task = bench.invalidate(PLACE, PLACE + 1)
    bench.intervals.insert(late.notifier)
    assert (bench.intervals.seq, late.notifier.seq) == (3, 3)
    reader = bench.scheduler.start(bench.intervals.read_begin(late.notifier))
    assert not bench.scheduler.run_task(reader)
    bench.finish(task)
    assert bench.scheduler.run_task(reader)


def test_notifiers_removal_waits_for_the_end() -> None:
    """
    Stimulus: Removed while an invalidation is open, while idle, and while its insertion is still deferred.
    Checking: The first waits for the end, the others do not; none is told of anything afterwards.
    Covers: NOTIFIER-REMOVE
    """
    bench, watcher, late = Bench(), Watcher(), Watcher()
    bench.intervals.insert(watcher.notifier)
    task = bench.invalidate(PLACE, PLACE + 1)
    removal = bench.scheduler.start(bench.intervals.remove(watcher.notifier))
    assert not bench.scheduler.run_task(removal)
    bench.intervals.insert(late.notifier)
    assert bench.scheduler.run_task(bench.scheduler.start(bench.intervals.remove(late.notifier)))
    bench.finish(task)
    assert bench.scheduler.run_task(removal)
    bench.intervals.insert(late.notifier)
    assert bench.scheduler.run_task(bench.scheduler.start(bench.intervals.remove(late.notifier)))
    bench.finish(bench.invalidate(PLACE, PLACE + 1))
    assert (len(watcher.told), late.told) == (1, [])


def test_notifiers_caller_that_may_not_wait_is_refused() -> None:
    """
    Stimulus: An invalidation that may not wait meets a notifier that would have to; then one that may.
    Checking: EAGAIN, nothing is left open, what was told before it is only told again; a blockable one goes through.
    Covers: NOTIFIER-NONBLOCK
    """
    bench, first, second = Bench(), Watcher(), Watcher(PLACE + 4096)
    second.refuses = True
    for watcher in (first, second):
        bench.intervals.insert(watcher.notifier)

    async def invalidate(blockable: bool) -> None:
        async with bench.mm.invalidation(PLACE, PLACE + LENGTH, CLEAR, blockable=blockable):
            assert blockable, "nothing may change"

    with pytest.raises(HmmError, match="EAGAIN"):
        bench.scheduler.run(invalidate(False))
    assert (bench.intervals.active, bench.mm.open_invalidations) == (0, [])
    assert bench.intervals.seq == 4
    bench.scheduler.run(invalidate(True))
    assert (first.told, second.told) == ([(CLEAR, 3), (CLEAR, 5)], [(CLEAR, 5)])


class Plain:
    """A plain notifier that refuses what may not wait, and counts."""

    def __init__(self, *, refuses: bool = False) -> None:
        self.refuses = refuses
        self.starts = self.ends = 0

    async def invalidate_range_start(self, update: MmuNotifierRange) -> bool | None:
        """Count it."""
        if self.refuses and not update.blockable:
            return False
        self.starts += 1
        return True

    async def invalidate_range_end(self, update: MmuNotifierRange) -> None:
        """Count it."""
        self.ends += 1

    async def release(self, mm: MemoryMap) -> None:
        """Nothing to release."""


def test_notifiers_whoever_was_told_of_a_start_is_told_of_the_end() -> None:
    """
    Stimulus: Of two plain notifiers the second refuses an invalidation that may not wait.
    Checking: The first is told of an end for its start, the second of none; intervals are idle again.
    Covers: NOTIFIER-NONBLOCK
    """
    bench, watcher = Bench(), Watcher()
    bench.intervals.insert(watcher.notifier)
    told, refuses = Plain(), Plain(refuses=True)
    bench.mm.register_notifier(told)
    bench.mm.register_notifier(refuses)

    async def invalidate() -> None:
        async with bench.mm.invalidation(PLACE, PLACE + 1, CLEAR, blockable=False):
            raise AssertionError("nothing may change")

    with pytest.raises(HmmError, match="EAGAIN"):
        bench.scheduler.run(invalidate())
    assert (told.starts, told.ends, refuses.starts, refuses.ends) == (1, 1, 0, 0)
    assert not bench.intervals.invalidating


def test_notifiers_release_tells_everybody_first() -> None:
    """
    Stimulus: An address space with two watched ranges ends.
    Checking: RELEASE, then UNMAP, both about all addresses, each with its own sequence.
    Covers: NOTIFIER-RELEASE, I18
    """
    bench, watcher, other = Bench(), Watcher(), Watcher(LAST_BYTE - 4096, LAST_BYTE)
    for each in (watcher, other):
        bench.intervals.insert(each.notifier)
    # Nobody may refuse the end.
    watcher.refuses = True
    bench.scheduler.run(bench.mm.exit())
    expected = [(InvalidateEvent.RELEASE, 3), (InvalidateEvent.UNMAP, 5)]
    assert watcher.told == other.told == expected


def test_notifiers_wrong_use_is_refused() -> None:
    """
    Stimulus: An empty interval, one behind the address space, an insertion twice, a removal of what is out, an end
    without a start, an even sequence.
    Checking: Each is refused; an interval up to the last byte is not.
    Covers: NOTIFIER-USE
    """
    bench, watcher = Bench(), Watcher()
    with pytest.raises(HmmError, match="EOVERFLOW"):
        bench.intervals.insert(Watcher(PLACE, PLACE).notifier)
    with pytest.raises(HmmError, match="EOVERFLOW"):
        bench.intervals.insert(Watcher(PLACE, LAST_BYTE + 2).notifier)
    bench.intervals.insert(Watcher(PLACE, LAST_BYTE + 1).notifier)
    with pytest.raises(RuntimeError, match="not inserted"):
        bench.scheduler.run(bench.intervals.remove(watcher.notifier))
    bench.intervals.insert(watcher.notifier)
    with pytest.raises(RuntimeError, match="inserted already"):
        bench.intervals.insert(watcher.notifier)
    with pytest.raises(RuntimeError, match="did not begin"):
        bench.intervals.end()
    with pytest.raises(RuntimeError, match="no sequence"):
        watcher.notifier.set_seq(4)
