# SPDX-License-Identifier: Apache-2.0
"""Thousands of faults through a tiny ring, and a model that counts them without looking at the device.

The host answers only when everything that was set off by its last answers has come to rest, so it is certain at each
answer which requests wait: the first ones in order that find a place. Each of them faulted when it came, and again each
time it was replayed while its page was missing. Nothing is answered behind an answer that frees places, for the same
reason.
"""

from __future__ import annotations

from collections import defaultdict, deque
from dataclasses import dataclass, field

import numpy as np

from models import registers
from models.fault_records import (
    FAULT_RECORD_WORDS,
    FaultRecord,
    cancel_command,
    record_of,
    replay_all_command,
    resume_command,
    ring_phase,
)
from models.registers import Register
from models.structures import COMMAND_BYTES, Access, Reason
from tb.host_script import make_requests
from tb.live_device import join_actions, loads, one_action, stores
from tb.records import ActionKind, Actions
from tb.tests.fault_bench import SLOTS, FaultBench, good_word
from tb.tests.small_case import FIRST_VA, PAGE_BYTES, PASID, page_va

IDS = 32
"""Ids of a port."""
ROOM = min(IDS, SLOTS)
"""Requests of the one port that can wait: each needs an id of the port, and a place."""
COMMAND_LOG2 = 3
MOST_ANSWERS = 6
"""Answers at a time: their commands fit into the ring."""
GROUP_REQUESTS, GROUP_PAGES, GROUPS = 100, 8, 60
"""So many requests in a row ask for the same few pages."""
WALK_CYCLES = 45
"""No walk takes longer."""


@dataclass
class Page:
    """A missing page: the accesses of the requests that wait for it, by their place; its tag once that is known."""

    waiting: dict[int, Access] = field(default_factory=dict)
    tag: int | None = None


@dataclass
class StormModel:
    """What must be. `produced`: faults so far. `outcomes`: for each request whether it ends with a translation."""

    pages: list[int]
    accesses: list[Access]
    missing: defaultdict[int, Page] = field(default_factory=lambda: defaultdict(Page))
    repaired: set[int] = field(default_factory=set)
    outcomes: dict[int, bool] = field(default_factory=dict)
    produced: int = 0
    walking: int = 0

    def __post_init__(self) -> None:
        self._queue = deque(range(len(self.pages)))

    @property
    def waiting(self) -> int:
        """Requests that wait for the host."""
        return sum(len(page.waiting) for page in self.missing.values())

    @property
    def recorded(self) -> dict[int, int]:
        """The page of each tag that has no answer yet."""
        return {page.tag: number for number, page in self.missing.items() if page.tag is not None}

    def admit(self) -> None:
        """Requests go in while there is room; what finds its page is answered."""
        while self._queue:
            place = self._queue[0]
            number = self.pages[place]
            if number in self.repaired:
                self.outcomes[place] = True
            elif self.waiting < ROOM:
                self.missing[number].waiting[place] = self.accesses[place]
                self._fault(1)
            else:
                return
            self.walking += 1
            self._queue.popleft()

    def take(self, record: FaultRecord) -> None:
        """A record came. Errors: AssertionError if it speaks of a fault that cannot be."""
        number = (record.va - FIRST_VA) // PAGE_BYTES
        page = self.missing[number]
        assert page.tag is None, f"{record}: its page has a tag already"
        assert record.access in page.waiting.values(), f"{record}: nobody waits for this"
        assert 1 <= record.merged_count <= len(page.waiting), f"{record}: {len(page.waiting)} requests wait"
        assert (record.reason, record.pasid, record.answer_expected) == (Reason.NOT_PRESENT, PASID, True), f"{record}"
        page.tag = record.tag

    def replay(self, number: int) -> None:
        """A fault is replayed: all of its requests fault again, unless the page is there by now."""
        page = self.missing[number]
        page.tag = None
        self.walking += len(page.waiting)
        if number in self.repaired:
            self.outcomes |= dict.fromkeys(page.waiting, True)
            del self.missing[number]
        else:
            self._fault(len(page.waiting))

    def cancel(self, number: int, access: Access) -> None:
        """A fault is cancelled: its requests of this access end, the others fault again."""
        page = self.missing[number]
        gone = [place for place, other in page.waiting.items() if other is access]
        for place in gone:
            del page.waiting[place]
            self.outcomes[place] = False
        self.replay(number)
        if not page.waiting:
            del self.missing[number]

    def _fault(self, count: int) -> None:
        self.produced += count


class Storm:
    """A bench in which requests ask for pages that are missing, and a host that takes its time."""

    def __init__(self, bench: FaultBench, ring_log2: int, requests: int, seed: int) -> None:
        self.bench = bench
        self.rng = np.random.default_rng(seed)
        number = np.arange(requests)
        pages = number // GROUP_REQUESTS % GROUPS * GROUP_PAGES + self.rng.integers(0, GROUP_PAGES, requests)
        accesses = self.rng.integers(0, 3, requests)
        self.model = StormModel(pages.tolist(), [Access(int(access)) for access in accesses])
        va = np.uint64(page_va(0)) + pages.astype(np.uint64) * np.uint64(PAGE_BYTES)
        self.places = bench.device.ask(make_requests(va, PASID, accesses))
        self.taken: list[FaultRecord] = []
        self.kept: dict[int, FaultRecord] = {}
        self.kinds: defaultdict[str, int] = defaultdict(int)
        self._log2 = ring_log2
        self._get = self._tail = 0

    async def run(self) -> None:
        """To the end of the last request. Errors: AssertionError for a record that cannot be."""
        answers: list[Actions] = []
        while len(self.model.outcomes) < len(self.places) or self.model.waiting:
            self.model.admit()
            await self._round(answers)
            answers = self._answers()
        await self._round(answers)

    async def _round(self, answers: list[Actions]) -> None:
        """The answers go out, records are given back, everything comes to rest; what has come is taken."""
        rest = WALK_CYCLES * (self.model.walking + 4)
        self.model.walking = 0
        results = await self.bench.device.perform(
            join_actions(
                *answers,
                # No fault is recorded between the answers being drawn and their taking effect.
                one_action(
                    ActionKind.WAIT_REGISTER,
                    address=Register.COMMAND_HEAD,
                    data=self._tail,
                    mask=registers.COMMAND_HEAD_INDEX.mask,
                ),
                one_action(ActionKind.WRITE_REGISTER, address=Register.FAULT_GET, data=self._get),
                one_action(ActionKind.READ_REGISTER, address=Register.FAULT_PUT, delay=rest),
                loads(self.bench.port.faults, FAULT_RECORD_WORDS << self._log2),
            )
        )
        words = FAULT_RECORD_WORDS << self._log2
        put = int(results["data"][-words - 1])
        ring = results["data"][-words:].reshape(-1, FAULT_RECORD_WORDS)
        assert put - self._get <= 1 << self._log2
        while self._get < put:
            record = record_of(ring[self._get & ((1 << self._log2) - 1)].copy())
            assert record.phase is ring_phase(self._get, self._log2), f"record {self._get} has the wrong phase"
            self.model.take(record)
            self.taken.append(record)
            self.kept[record.tag] = record
            self._get += 1

    def _answers(self) -> list[Actions]:
        """Drawn answers to faults that are recorded; some are left for later."""
        rng, model = self.rng, self.model
        kind = int(rng.integers(10))
        if kind == 0 and self.kept:
            self.kinds["replay all"] += 1
            for number in model.recorded.values():
                model.replay(number)
            self.kept.clear()
            return [self._command(replay_all_command())]
        if kind == 1 and self.kept:
            return self._cancel_range()
        answers: list[Actions] = []
        for tag, record in list(self.kept.items())[:MOST_ANSWERS]:
            choice = rng.random()
            if choice < 0.1:
                continue
            number = model.recorded[tag]
            if choice < 0.62:
                self.kinds["replay"] += 1
                model.replay(number)
            elif choice < 0.94:
                self.kinds["cancel"] += 1
                model.cancel(number, record.access)
            else:
                self.kinds["repair"] += 1
                address = self.bench.tables.entry_address(PASID, page_va(number))
                answers.append(stores(address, np.array([good_word(number)], dtype=np.uint64)))
                model.repaired.add(number)
                model.replay(number)
            del self.kept[tag]
            answers.append(self._command(resume_command(tag, cancel=0.62 <= choice < 0.94)))
            if choice >= 0.62:
                # Places are free now: the next request may join any fault, so no other is answered in this round.
                break
        return answers

    def _cancel_range(self) -> list[Actions]:
        """CANCEL of a few pages and one access: every recorded fault that it means is cancelled."""
        self.kinds["cancel range"] += 1
        access = Access(int(self.rng.integers(3)))
        some = next(iter(self.model.recorded.values()))
        first, last = some - int(self.rng.integers(3)), some + int(self.rng.integers(3))
        for tag, number in self.model.recorded.items():
            if first <= number <= last and self.kept[tag].access is access:
                del self.kept[tag]
                self.model.cancel(number, access)
        start = max(0, page_va(first))
        return [self._command(cancel_command(PASID, start, page_va(last + 1) - 1, access))]

    def _command(self, words: np.ndarray[tuple[int, ...], np.dtype[np.uint64]]) -> Actions:
        slot = self._tail & ((1 << COMMAND_LOG2) - 1)
        self._tail += 1
        return join_actions(
            stores(self.bench.port.commands + COMMAND_BYTES * slot, words),
            one_action(ActionKind.WRITE_REGISTER, address=Register.COMMAND_TAIL, data=self._tail),
        )
