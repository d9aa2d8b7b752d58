# SPDX-License-Identifier: Apache-2.0
"""Which translations a request may get while the host changes the tables under it.

Every store of the host makes a new version of a word. A request may be answered from any version that could be read
while it was in flight, and from an older one that a cache may still hold, until the fence behind the invalidation that
covers it is complete. Source: docs/interface.md, "Invalidation and fence" and "Which change needs which command".
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterator
from dataclasses import dataclass
from math import inf
from typing import NamedTuple

import numpy as np

from models.arrays import Flags, Words, WordsLike, as_words
from models.golden_mmu import STATUS_OK, GoldenMmu, Outcomes
from models.physical_memory import PhysicalMemory
from models.structures import CONTEXT_ENTRY_BYTES, Opcode
from tb.case import Case, CaseResult
from tb.commands import Command
from tb.host_script import LAST_ADDRESS, OKAY
from tb.records import ActionKind
from tb.soft_resets import NEVER

BEFORE_ALL = -inf
MOST_COMBINATIONS = 4096


class Answer(NamedTuple):
    """One outcome of a request, as plain numbers; see models.golden_mmu.Outcomes."""

    status: int
    reason: int
    pa: int
    order: int
    permissions: int
    memory: int


def answer_at(outcomes: Outcomes, index: int) -> Answer:
    """Row `index` of many outcomes."""
    return Answer(
        int(outcomes.status[index]),
        int(outcomes.reason[index]),
        int(outcomes.pa[index]),
        int(outcomes.order[index]),
        int(outcomes.permissions[index]),
        int(outcomes.memory[index]),
    )


@dataclass(frozen=True)
class Asked:
    """A request and when it was in flight. `release`: the end of its grant, or `finish` where it has none."""

    pasid: int
    va: int
    access: int
    accept: int
    finish: int
    release: int


class History:
    """Every version of every word that the host's actions stored, and the memory as it was before them.

    `stores`: (cycle, address, word) in order of time. The ring's own slots are left out: no walk reads them.
    """

    def __init__(self, case: Case, result: CaseResult, memory: PhysicalMemory) -> None:
        ring = range(0)
        if case.command_ring is not None:
            ring = range(case.command_ring.base, case.command_ring.base + case.command_ring.bytes)
        chosen = case.actions["kind"] == ActionKind.WRITE_MEMORY
        chosen &= (result.action_results["done"] != 0) & (result.action_results["status"] == OKAY)
        self.stores: list[tuple[int, int, int]] = []
        self._cycles: dict[int, list[float]] = {}
        self._words: dict[int, list[int]] = {}
        for index in np.flatnonzero(chosen):
            address, word = int(case.actions["address"][index]), int(case.actions["data"][index])
            if address in ring or not memory.contains(address, 8):
                continue
            cycle = int(result.action_results["start_cycle"][index])
            self.stores.append((cycle, address, word))
            if address not in self._cycles:
                self._cycles[address] = [BEFORE_ALL]
                self._words[address] = memory.shadow_read([address])[0].tolist()
            self._cycles[address].append(cycle)
            self._words[address].append(word)

    def changed(self, address: int) -> bool:
        """Whether the word was ever stored to."""
        return address in self._cycles

    def word(self, address: int, version: int) -> int:
        """A version of a word; 0 is what was there before."""
        return self._words[address][version]

    def replaced(self, address: int, version: int) -> float:
        """The cycle from which on the version cannot be read any more, NEVER if it is the last."""
        cycles = self._cycles[address]
        return cycles[version + 1] if version + 1 < len(cycles) else NEVER

    def stored_by(self, address: int, cycle: int) -> int:
        """How many versions there are up to and in `cycle`."""
        return bisect_right(self._cycles[address], cycle)


class _Read(NamedTuple):
    address: int
    option: int
    options: int
    version: int


def protections(case: Case, result: CaseResult, dropping: list[Command]) -> list[Command]:
    """The invalidations that took effect, and what the host counts on being clean, in order of time."""
    found = list(dropping)
    for mark in case.clean:
        outcome = result.action_results[int(mark["action"])]
        if not outcome["done"]:
            continue
        first, last, cycle = int(mark["first"]), int(mark["last"]), int(outcome["done_cycle"])
        whole = (first, last) == (0, LAST_ADDRESS)
        opcode = Opcode.INVALIDATE_CONTEXT if whole else Opcode.INVALIDATE
        found.append(
            Command(-1, 0, cycle, opcode, int(mark["pasid"]), False, first, last, False, taken=cycle, fence=cycle)
        )
    return sorted(found, key=lambda each: each.taken)


class _Deadlines:
    """From when on a version must not be in use, by when it was replaced."""

    def __init__(self, protections: list[Command]) -> None:
        self._taken = [each.taken for each in protections]
        self._fences = [NEVER] * (len(protections) + 1)
        for place in range(len(protections) - 1, -1, -1):
            self._fences[place] = min(protections[place].fence, self._fences[place + 1])

    def of_version_replaced_in(self, cycle: float) -> float:
        """The end of the first fence behind an invalidation that came after the version was replaced."""
        return self._fences[bisect_left(self._taken, cycle)]


class _Walk:
    """Memory as one request's walk may see it: one combination of versions after the other, chosen word by word.

    `protected` false: as if no fence had ever been complete.
    """

    def __init__(self, allowed: AllowedAnswers, asked: Asked, *, protected: bool) -> None:
        self._allowed = allowed
        self._asked = asked
        self._protected = protected
        self._context = allowed.context_addresses(asked.pasid)
        covering = [each for each in allowed.protections if each.covers(asked.pasid, asked.va)]
        self._for_tables = _Deadlines(covering)
        self._for_context = _Deadlines([each for each in covering if each.covers(asked.pasid, asked.va, context=True)])
        self._choices: list[int] = []
        self._reads: list[_Read] = []
        self._last_address = 0
        self._possible = True

    def begin(self) -> None:
        """Starts the walk of the chosen combination."""
        self._reads = []
        self._possible = True

    def shadow_read(self, addresses: WordsLike, /) -> tuple[Words, Flags]:
        """The chosen versions; see PhysicalMemory.shadow_read."""
        numbers = as_words(addresses).copy()
        words, errors = self._allowed.memory.shadow_read(numbers.copy())
        for place, address in enumerate(numbers.tolist()):
            self._last_address = address
            if errors[place] or not self._allowed.history.changed(address):
                continue
            options = self._usable(address)
            if not options:
                self._possible = False
                continue
            depth = len(self._reads)
            option = self._choices[depth] if depth < len(self._choices) else 0
            self._reads.append(_Read(address, option, len(options), options[option]))
            words[place] = self._allowed.history.word(address, options[option])
        return words, errors

    def next_combination(self) -> bool:
        """Goes on to the next combination, false if there is none."""
        self._choices = [read.option for read in self._reads]
        while self._choices:
            self._choices[-1] += 1
            if self._choices[-1] < self._reads[len(self._choices) - 1].options:
                return True
            self._choices.pop()
        return False

    def allows(self, answer: Answer) -> bool:
        """Whether the combination may lead to this answer at all.

        What a walk ends at without a translation is never cached: a version that was gone before the request came
        cannot be what it ended at.
        """
        if not self._possible or answer.status == STATUS_OK or not self._reads:
            return self._possible
        last = self._reads[-1]
        ends_there = last.address == self._last_address
        ends_there |= last.address in self._context and self._last_address in self._context
        gone = self._allowed.history.replaced(last.address, last.version) <= self._asked.accept
        return not (ends_there and gone)

    def _usable(self, address: int) -> list[int]:
        versions = range(self._allowed.history.stored_by(address, self._asked.finish))
        if not self._protected:
            return list(versions)
        return [version for version in versions if self._in_time(address, version)]

    def _in_time(self, address: int, version: int) -> bool:
        replaced = self._allowed.history.replaced(address, version)
        deadlines = self._for_context if address in self._context else self._for_tables
        deadline = deadlines.of_version_replaced_in(replaced)
        return self._asked.finish < deadline and self._asked.release <= deadline


class AllowedAnswers:
    """The answers that a request may get. `protections`: what ends the use of old versions, by rising `taken`.

    `memory` may be at any state of its history.
    """

    def __init__(self, golden: GoldenMmu, memory: PhysicalMemory, history: History, protections: list[Command]) -> None:
        self.memory = memory
        self.history = history
        self.protections = protections
        self._golden = golden

    def context_addresses(self, pasid: int) -> range:
        """The bus addresses of the context entry."""
        base = self._golden.context_base + CONTEXT_ENTRY_BYTES * pasid
        return range(base, base + CONTEXT_ENTRY_BYTES)

    def answers(self, asked: Asked, *, protected: bool = True) -> Iterator[Answer]:
        """Every answer that some combination of versions gives, some more than once.

        `protected` false: as if no fence had ever been complete.
        """
        walk = _Walk(self, asked, protected=protected)
        golden = GoldenMmu(
            walk,
            self._golden.fmt,
            self._golden.window,
            self._golden.context_base,
            self._golden.context_count,
            self._golden.va_bits,
            self._golden.pa_bits,
        )
        for _ in range(MOST_COMBINATIONS):
            walk.begin()
            answer = answer_at(golden.translate([asked.pasid], [asked.va], [asked.access]), 0)
            if walk.allows(answer):
                yield answer
            if not walk.next_combination():
                return
