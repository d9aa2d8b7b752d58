# SPDX-License-Identifier: Apache-2.0
"""Makes the model do what a record says was done, and compares what came of it.

Source: docs/conformance.md.
"""

from __future__ import annotations

from collections.abc import Coroutine
from typing import Any, TypeVar

import numpy as np

from models.arrays import PAGE_BYTES, PAGE_SHIFT, Words
from models.conform.entries import plain_entries
from models.conform.judgement import (
    DifferenceError,
    Judgement,
    ModelEntries,
    SeenEvent,
    Verdict,
    expect,
    expect_array,
    expect_events,
    expect_page_table,
)
from models.conform.notes import InexpressibleError
from models.conform.pfns import PfnRelation
from models.conform.records import (
    RecordedEvent,
    RecordedOperation,
    RecordedRequest,
    RecordedStale,
    RecordedState,
    expanded_entries,
    expanded_words,
    page_number,
)
from models.conform.state import BuiltState, Machine, build_state
from models.conform.steps import Surroundings, learn_files, perform
from models.formats import EntryFormat
from models.hmm.errors import HmmError
from models.hmm.fault_result import Undecided
from models.hmm.frames import HUGE_BYTES
from models.hmm.notifiers import InvalidateEvent, MmuIntervalNotifier, MmuNotifierRange
from models.hmm.page_table import EntryFlags, EntryKind
from models.hmm.range_fault import NotifiedRange, hmm_range_fault
from models.host_scheduler import SchedulerEvent

Result = TypeVar("Result")

ERRNO = {"EPERM": 1, "ENOMEM": 12, "EFAULT": 14, "EBUSY": 16, "EINVAL": 22}
PRESENT_ONLY = 1
PRESENT_AND_WRITABLE = 3
MOST_PAUSES = 4_000_000
NEIGHBOURS = "tables of empty pages that memory outside the range shares"
MOST_TRIES = 6
"""A driver gives up after so many, as the recording program does."""


class WaitsForeverError(Exception):
    """The call waits for something that nobody does."""


class Alone:
    """Surroundings of host code that runs alone: nothing ever comes between (models.preemption.Preemption)."""

    def now(self) -> int:
        """No time passes."""
        return 0

    def __init__(self) -> None:
        self._pauses = 0

    async def pause(self, label: str) -> None:
        """Nobody is there to go first. Errors: WaitsForeverError if it goes on and on."""
        self._pauses += 1
        if self._pauses > MOST_PAUSES:
            raise WaitsForeverError("the call comes to no end")

    def event(self) -> SchedulerEvent:
        """A new event, not set."""
        return SchedulerEvent()


def run_alone(coroutine: Coroutine[Any, Any, Result]) -> Result:
    """Run a coroutine that nobody else has to help; returns what it returns.

    Errors: what it raises; WaitsForeverError if it waits.
    """
    try:
        coroutine.send(None)
    except StopIteration as end:
        result: Result = end.value
        return result
    coroutine.close()
    raise WaitsForeverError("the call waits for a page that nobody finishes moving")


class Bench:
    """One record's state with a watched range."""

    def __init__(
        self,
        record: RecordedState,
        machine: Machine,
        fmt: EntryFormat,
        seq: int,
        watched: tuple[int, int] | None = None,
    ) -> None:
        """`watched`: the range that is watched, if it is not the record's."""
        self.record = record
        self.machine = machine
        self.fmt = fmt
        self.state: BuiltState = build_state(record, machine, Alone(), seq)
        self.events: list[SeenEvent] = []
        self.missing: set[Undecided] = set()
        self.recorded_events: list[RecordedEvent] = []
        self.mm = self.state.mm
        self.mm.undecided = self._decide
        for pagemap in (self.state.pagemap, self.state.foreign):
            if pagemap is not None:
                pagemap.migrate_to_ram = self._migrate_to_ram
        self.notifier = MmuIntervalNotifier(*(watched or (record.addr, record.end)), self._note)
        self.mm.intervals.insert(self.notifier)
        system = self.state.frames.system
        self.relation = PfnRelation(system.first_new, system.first_pfn + system.count)
        self.before = self.model_entries()

    async def _note(self, notifier: MmuIntervalNotifier, update: MmuNotifierRange, seq: int) -> bool:
        notifier.set_seq(seq)
        self.events.append(SeenEvent(update, seq))
        return True

    def _decide(self, question: Undecided, va: int) -> bool:
        """What the record does not hold is taken from what came, so that all else can be compared."""
        if question is Undecided.SWAP_USERS and self.state.children:
            return True
        self.missing.add(question)
        if question is Undecided.HUGE_ENABLED:
            return self._huge_afterwards(va)
        first = va // HUGE_BYTES * HUGE_BYTES
        copied = ((va, va + PAGE_BYTES), (first, first + HUGE_BYTES))
        if question is Undecided.SWAP_USERS and self._read_only_afterwards(va):
            return True
        return any(event.e is InvalidateEvent.CLEAR and (event.s, event.t) in copied for event in self.recorded_events)

    def _huge_afterwards(self, va: int) -> bool:
        if not isinstance(self.record, RecordedRequest | RecordedOperation):
            return False
        page = page_number(va, self.record)
        return any(first <= page < first + count and level > 1 for first, count, _, level, _ in self.record.post)

    def _read_only_afterwards(self, va: int) -> bool:
        if not isinstance(self.record, RecordedRequest):
            return False
        page = page_number(va, self.record)
        post = expanded_entries(self.record.post, self.record.n)
        return int(post.words[page]) & PRESENT_AND_WRITABLE == PRESENT_ONLY

    async def _migrate_to_ram(self, mm: Any, vma: Any, page: int) -> None:
        """The module's own way to bring a page back: one page at a time (dev_pagemap_ops.migrate_to_ram)."""
        entry = mm.page_table.lookup(page)
        frames = self.state.frames
        async with mm.invalidation(page, page + PAGE_BYTES, InvalidateEvent.MIGRATE, frames.pagemap_of(entry.pfn)):
            new = frames.system.allocate()
            # Whoever else maps it maps the new page from now on.
            others = frames.references(entry.pfn) - 1
            if others:
                frames.take(np.full(others, new, dtype=np.uint64))
            flags = entry.flags & (EntryFlags.WRITABLE | EntryFlags.UFFD_WP)
            mm.page_table.set(page, EntryKind.PRESENT, new, flags)
            frames.drop(np.array([entry.pfn], dtype=np.uint64))

    def ask(self, inputs: Words, seq: int) -> int:
        """Call hmm_range_fault() with uint64[n] entries, which hold what came afterwards; returns 0 or -errno."""
        record = self.record
        hmm_range = NotifiedRange(
            notifier=self.notifier,
            notifier_seq=seq,
            start=record.addr,
            end=record.end,
            hmm_pfns=inputs,
            fmt=self.fmt,
            default_flags=record.default_flags,
            pfn_flags_mask=record.mask,
            dev_private_owner=self.state.pagemap if record.owner else None,
        )
        run_alone(self.mm.mmap_lock.acquire_read())
        try:
            run_alone(hmm_range_fault(self.mm, hmm_range))
        except HmmError as error:
            return -ERRNO[error.errno]
        finally:
            self.mm.mmap_lock.release_read()
        return 0

    def surroundings(self, base: int) -> Surroundings:
        """What recorded calls are made in; `base`: the address of their page 0."""
        around = Surroundings(self.mm, base, self.state.pagemap, self._ask_as_driver, self.machine.tracks_soft_dirty)
        around.children.extend([None] * self.state.children)
        return around

    async def _ask_as_driver(self, start: int, pages: int, default_flags: int, mask: int, own: bool) -> None:
        """Call hmm_range_fault() until the sequence holds, or it fails."""
        for _ in range(MOST_TRIES):
            seq = await self.mm.intervals.read_begin(self.notifier)
            words = np.zeros(pages, dtype=np.uint64)
            owner = self.state.pagemap if own else None
            end = start + pages * PAGE_BYTES
            asked = NotifiedRange(self.notifier, seq, start, end, words, self.fmt, default_flags, mask, owner)
            async with self.mm.mmap_lock.read():
                try:
                    await hmm_range_fault(self.mm, asked)
                except HmmError as error:
                    if error.errno != "EBUSY":
                        return
                    continue
            if not self.mm.intervals.read_retry(self.notifier, seq):
                return

    def model_entries(self) -> ModelEntries:
        """The model's page table in the watched range."""
        count = self.record.n
        kind, flags, level = (np.zeros(count, dtype=np.uint8) for _ in range(3))
        pfn = np.zeros(count, dtype=np.uint64)
        table = self.mm.page_table
        for span in table.units(self.record.addr, self.record.end):
            first = page_number(span.start, self.record)
            part = slice(first, first + ((span.end - span.start) >> PAGE_SHIFT))
            if span.table is None:
                level[part] = table.hole_level(span.start)
                continue
            kind[part], flags[part] = span.table.kind[span.part], span.table.flags[span.part]
            pfn[part] = span.table.pfn[span.part]
            level[part] = 2 if span.table.huge else 1
            if span.table.huge:
                pfn[part] &= ~np.uint64((HUGE_BYTES >> PAGE_SHIFT) - 1)
        for start, entry in table.large.items():
            first = max(0, page_number(start, self.record))
            last = min(count, page_number(start + (PAGE_BYTES << entry.order), self.record))
            part = slice(first, last)
            kind[part], flags[part], pfn[part] = entry.kind, int(entry.flags), entry.pfn
            level[part] = 1 + entry.order // 9
        return ModelEntries(kind, flags, level, pfn)

    def verdict(self, relation: str = "") -> Judgement:
        """The verdict on a record in which nothing differed. `relation`: what is equal only in relation."""
        if self.missing:
            return Judgement(Verdict.UNDETERMINED, "; ".join(sorted(question.value for question in self.missing)))
        if relation:
            return Judgement(Verdict.BY_RELATION, relation)
        return Judgement(Verdict.EXACT)


def judge_request(record: RecordedRequest, machine: Machine, fmt: EntryFormat) -> Judgement:
    """The verdict on a request."""
    return judged(lambda: _request(record, machine, fmt))


def judge_stale(record: RecordedStale, machine: Machine, fmt: EntryFormat) -> Judgement:
    """The verdict on a look with a lost sequence."""
    return judged(lambda: _stale(record, machine, fmt))


def judged(judge: Any) -> Judgement:
    try:
        judgement: Judgement = judge()
    except (DifferenceError, InexpressibleError, WaitsForeverError) as error:
        return Judgement(Verdict.WRONG, str(error))
    except Exception as error:
        # What the model cannot express is wrong, and the other records are judged all the same.
        return Judgement(Verdict.WRONG, f"the model cannot do it: {error!r}")
    return judgement


def _request(record: RecordedRequest, machine: Machine, fmt: EntryFormat) -> Judgement:
    bench = Bench(record, machine, fmt, record.tries[0].seq)
    bench.recorded_events = [event for call in record.tries for event in call.ev]
    given = expanded_words(record.inputs, record.n)
    tries = 0
    again = True
    while again and tries < MOST_TRIES:
        if tries == len(record.tries):
            raise DifferenceError(f"the model goes on to try {tries + 1}, recorded are {tries}")
        call = record.tries[tries]
        what = f"try {tries + 1}"
        seq = run_alone(bench.mm.intervals.read_begin(bench.notifier))
        expect(f"{what}, sequence", seq, call.seq)
        bench.events.clear()
        array = given.copy()
        result = bench.ask(array, seq)
        lost = bench.mm.intervals.read_retry(bench.notifier, seq)
        expect(f"{what}, result", result, call.ret)
        expect(f"{what}, sequence lost", int(lost), call.retry)
        expect_events(what, bench.events, call.ev, bench.state.pagemap)
        expect_array(what, array, expanded_words(call.out, record.n), fmt, bench.relation)
        again = result == -ERRNO["EBUSY"] or (result == 0 and lost)
        tries += 1
    expect("number of tries", tries, len(record.tries))
    post = expanded_entries(record.post, record.n)
    neighbours = expect_page_table(
        bench.model_entries(),
        (record.entries, bench.before),
        (post, plain_entries(post, machine.release)),
        bench.relation,
        record.addr,
    )
    return bench.verdict(NEIGHBOURS if neighbours else "")


def _stale(record: RecordedStale, machine: Machine, fmt: EntryFormat) -> Judgement:
    bench = Bench(record, machine, fmt, record.seq)
    bench.recorded_events = record.ev
    around = bench.surroundings(record.addr)
    learn_files(around, record.setup)
    run_alone(perform(record.calls, around))
    array = np.zeros(record.n, dtype=np.uint64)
    result = bench.ask(array, record.seq)
    lost = bench.mm.intervals.read_retry(bench.notifier, record.seq)
    expect("result", result, record.ret)
    expect("sequence lost", int(lost), record.retry)
    expect_events("the calls", bench.events, record.ev, bench.state.pagemap)
    expect_array("array", array, expanded_words(record.out, record.n), fmt, bench.relation)
    return bench.verdict()
