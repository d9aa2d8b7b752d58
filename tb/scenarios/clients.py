# SPDX-License-Identifier: Apache-2.0
"""Clients on several ports that move data in the same pages, while the host moves these pages to other frames.

A frame that a fence has freed belongs to nobody for a while, and the host writes into it: a client that still used it
would be seen by the owner map, and its bytes by the next load.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from models.arrays import PAGE_BYTES, PAGE_SHIFT, WORD_BYTES
from models.entries import encode, none_word
from models.geometry import span_bits
from models.pages import PageKind, Pages
from models.physical_memory import Owner
from models.structures import Access
from tb.case import Case
from tb.host_script import When, make_requests
from tb.records import DATA_BYTES, RequestFlag
from tb.scenarios.builder import CaseBuilder, chosen_format
from tb.scenarios.random_tables import random_memory

FORMATS = ("linux_5_8", "linux_6_16", "hmm_2018_flags", "nouveau")
CONTEXTS = 4
BOUND = 2
PAGES = 6
"""Pages of each context: few, so that the ports meet."""
SPARE_FRAMES = 4
STEPS = 24
REQUESTS_IN_STEP = 30
HOT_OFFSETS = 4
"""Places in a page that most accesses go to."""
MEMORY_BYTES = 1 << 22


def clients(seed: int, parameters: dict[str, Any]) -> Case:
    """READ, WRITE and ATOMIC of data from all ports, under page moves with INVALIDATE and FENCE. `steps`; `format`.

    `forgets`: the number of a move whose commands the host leaves out, and frees the frame all the same.
    """
    rng = np.random.default_rng(seed)
    fmt = chosen_format(str(parameters.get("format", rng.choice(FORMATS))))
    settings = random_memory(rng, fast=bool(rng.integers(2))).model_copy(update={"size": MEMORY_BYTES})
    builder = CaseBuilder(
        "clients",
        seed,
        fmt,
        context_count=CONTEXTS,
        parameters=parameters,
        settings=settings,
        ring_log2=int(rng.integers(2, 6)),
    )
    host = _Host(builder, rng)
    forgets = int(parameters.get("forgets", -1))
    begin = len(builder.script)
    for step in range(int(parameters.get("steps", STEPS))):
        asked = builder.asked
        host.ask(begin)
        if rng.integers(2):
            host.wait_for_requests = int(rng.integers(asked, builder.asked))
        host.move(told=step != forgets)
        begin = len(builder.script)
    host.ask(begin)
    return builder.build(format=fmt.name)


class _Host:
    """Frames of data, and pages that are mapped to them."""

    def __init__(self, builder: CaseBuilder, rng: np.random.Generator) -> None:
        self.builder = builder
        self.rng = rng
        self.wait_for_requests = 0
        self._fence_word = builder.fence_word()
        self._fences = 0
        self._none = none_word(builder.format)
        frames = [
            builder.memory.allocate(PAGE_BYTES, PAGE_BYTES, Owner.DATA) for _ in range(BOUND * PAGES + SPARE_FRAMES)
        ]
        for frame in frames:
            stamps = rng.integers(1 << 64, size=PAGE_BYTES // WORD_BYTES, dtype=np.uint64)
            builder.memory.write_words(frame, stamps)
        self._frames = rng.permutation(frames).tolist()
        self._pages: list[tuple[int, int]] = []
        self._mapped: dict[tuple[int, int], int] = {}
        self._writable = {place for place in range(BOUND * PAGES) if rng.integers(5)}
        for pasid in rng.permutation(CONTEXTS)[:BOUND].tolist():
            self._link(pasid)
        self._hot = rng.integers(0, PAGE_BYTES - DATA_BYTES, size=HOT_OFFSETS) & ~7

    def _link(self, pasid: int) -> None:
        builder = self.builder
        builder.tables.bind(pasid)
        base = int(self.rng.integers(1, 200)) << span_bits(2)
        words = np.full(1 << (span_bits(1) - PAGE_SHIFT), self._none, dtype=np.uint64)
        for index in range(PAGES):
            page = (pasid, base + index * PAGE_BYTES)
            self._mapped[page] = self._frames.pop()
            words[index] = self._entry(len(self._pages), self._mapped[page])
            self._pages.append(page)
        builder.tables.link_array(pasid, base, level=1, page_shift=PAGE_SHIFT, max_order=0, words=words)

    def _entry(self, place: int, frame: int) -> int:
        write = place in self._writable
        pages = Pages.of(np.array([PageKind.VALID]), np.array([frame >> PAGE_SHIFT]), write=write, atomic=write)
        return int(encode(self.builder.format, pages)[0])

    def ask(self, after_action: int) -> None:
        """Requests of all ports for the pages, most of them with data."""
        rng, count = self.rng, int(self.rng.integers(REQUESTS_IN_STEP // 2, REQUESTS_IN_STEP))
        chosen = rng.integers(len(self._pages), size=count)
        pasid = np.array([page[0] for page in self._pages])[chosen]
        va = np.array([page[1] for page in self._pages], dtype=np.uint64)[chosen]
        access = rng.choice([Access.READ, Access.READ, Access.WRITE, Access.WRITE, Access.ATOMIC], size=count)
        offset = np.where(
            rng.random(count) < 0.8, rng.choice(self._hot, size=count), rng.integers(PAGE_BYTES - 64, size=count)
        )
        length = np.where(rng.random(count) < 0.8, 8, rng.integers(0, DATA_BYTES + 1, size=count))
        atomic = access == Access.ATOMIC
        offset, length = np.where(atomic, offset & ~7, offset), np.where(atomic, 8, length)
        requests = make_requests(
            va + offset.astype(np.uint64),
            pasid,
            access,
            hold=np.where(rng.random(count) < 0.2, rng.integers(300, size=count), rng.integers(6, size=count)),
            pause=np.where(rng.random(count) < 0.3, rng.integers(40, size=count), 0),
            after_action=after_action,
            length=length,
            flags=np.where(rng.random(count) < 0.3, int(RequestFlag.ORDERED), 0),
        )
        data = rng.integers(256, size=(count, DATA_BYTES), dtype=np.uint8)
        self.builder.ask(self.builder.spread(requests, rng), data)

    def move(self, *, told: bool) -> None:
        """Moves a page to another frame, and frees the one it was in. `told`: the device learns of it."""
        script, rng = self.builder.script, self.rng
        place = int(rng.integers(len(self._pages)))
        pasid, va = page = self._pages[place]
        old, new = self._mapped[page], self._frames.pop(0)
        slot = self.builder.tables.entry_address(pasid, va)
        when = When(after_request=self.wait_for_requests, delay=int(rng.integers(60)))
        script.write_memory(slot, self._none, when)
        if told:
            self._fences += 1
            script.invalidate(pasid, va, va + PAGE_BYTES - 1, tail=False)
            script.fence(address=self._fence_word, value=self._fences)
            script.wait_memory(self._fence_word, self._fences)
        self.builder.expect_clean(pasid, va, va + PAGE_BYTES - 1)
        script.set_owner(old, PAGE_BYTES, Owner.NONE)
        for offset in self._hot.tolist():
            script.read_memory(old + offset)
            script.write_memory(old + offset, int(rng.integers(1 << 64, dtype=np.uint64)))
        script.set_owner(new, PAGE_BYTES, Owner.DATA)
        script.write_memory(slot, self._entry(place, new), When(delay=int(rng.integers(200))))
        self._mapped[page] = new
        self._frames.append(old)
