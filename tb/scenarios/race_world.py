# SPDX-License-Identifier: Apache-2.0
"""The small world in which races happen: two contexts with one array each, a fault ring, commands laid out beforehand.

Commands stand in the ring's memory before the case begins, so that the host tells several of them with one register
write, in the cycle that it chose.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from models import registers
from models.arrays import WORD_BYTES, Words
from models.entries import encode, none_word
from models.formats import format_by_name
from models.pages import PageKind, Pages
from models.physical_memory import Owner
from models.registers import Register
from models.structures import COMMAND_BYTES, FAULT_RECORD_BYTES, Access, Opcode, pack_command
from tb.case import CommandRing, MemorySettings
from tb.host_script import ALL_BITS, AT_ONCE, FIRST_PORT, When, make_requests
from tb.scenarios.builder import CaseBuilder

FORMAT_NAME = "linux_5_8"
PASID = 1
OTHER_PASID = 2
CONTEXTS = 4
FIRST_VA = (5 << 39) | (3 << 30) | (7 << 21)
SLOTS = 512
PAGE_BYTES = 4096
OFFSET = 0x128
"""Where in its page every request asks."""

HOT, NEXT, MISSING, ABSENT, BAD = 3, 4, 12, 20, 40
"""Slots: a good page and its neighbour in one line; two whose entry is NONE; one whose line answers with an error."""
PFN_STEP = 0x11
"""Between pfns: neighbours of a page do not continue it."""
MEMORY_BYTES = 1 << 17
RING_LOG2 = 4
"""Of the places that a race uses; behind them are as many for what comes after a soft reset."""
WATCHDOG_CYCLES = 4000
FAULT_CAUSE = registers.INTERRUPT_CAUSE_FAULT.mask
DEVICE_ON = registers.CONTROL_COMMAND_ENABLE.mask | registers.CONTROL_FAULT_ENABLE.mask
"""CONTROL beside ENABLE."""
RECORD_SETTLES = 60
"""Cycles in which whatever walks has ended and is recorded."""


def page_va(page: int) -> int:
    """The first address of a page."""
    return FIRST_VA + page * PAGE_BYTES


class RaceWorld:
    """One case in the making. `fault_log2`: log2 of the places of the fault ring; `parameters`: as in CaseBuilder.

    Attributes: `builder`, `script`; `fences` that were submitted so far; `fence_word`, where the
    last of them writes; `root`, the context whose tables PASID uses; `fault_ring_addresses`.
    """

    def __init__(
        self,
        name: str,
        seed: int,
        settings: MemorySettings,
        *,
        fault_log2: int = 4,
        parameters: dict[str, Any] | None = None,
    ) -> None:
        self.format = format_by_name(FORMAT_NAME)
        # The same words mean other places in it.
        self.other_format = replace(self.format, name="shifted", pfn_shift=1, pfn_width=self.format.pfn_width - 1)
        self.none = none_word(self.format)
        self.builder = CaseBuilder(
            name,
            seed,
            self.format,
            context_count=CONTEXTS,
            parameters=parameters,
            settings=settings.model_copy(update={"size": MEMORY_BYTES}),
            ring_log2=RING_LOG2 + 1,
            interrupt_enable=FAULT_CAUSE,
            watchdog_cycles=WATCHDOG_CYCLES,
        )
        self.script = self.builder.script
        self.fences = 0
        self._ring_place = 0
        self.fence_word = 0
        self.root = PASID
        self._next_pfn = 1
        self._tables = self.builder.tables
        for pasid in (PASID, OTHER_PASID):
            self._tables.bind(pasid)
        self._words = {PASID: self._fresh_words(SLOTS), OTHER_PASID: self._fresh_words(SLOTS)}
        for pasid, words in self._words.items():
            words[[MISSING, ABSENT]] = self.none
            self._tables.link_array(pasid, FIRST_VA, words=words)
        memory = self.builder.memory
        memory.set_read_error(self._tables.entry_address(PASID, page_va(BAD)))
        self._waiting = 0
        size = FAULT_RECORD_BYTES << fault_log2
        base = memory.allocate(size, owner=Owner.FAULT)
        self.fault_ring_addresses = range(base, base + size)
        self._fault_log2 = fault_log2
        self._set_up_faults()

    def _set_up_faults(self) -> None:
        self.script.write_register(Register.FAULT_BASE, self.fault_ring_addresses.start)
        self.script.write_register(Register.FAULT_SIZE, self._fault_log2)
        self.set_control(enable=True)

    def soft_reset(self, when: When = AT_ONCE) -> int:
        """The write that begins a soft reset."""
        return self.script.write_register(Register.CONTROL, registers.CONTROL_SOFT_RESET.mask, when)

    def start_again(self) -> None:
        """Sets everything up behind a soft reset, with another ring."""
        script, builder = self.script, self.builder
        assert builder.ring is not None
        assert not self._ring_place, "a race has one soft reset at most"
        self._ring_place = 1 << RING_LOG2
        self.fences = script.tail = 0
        script.set_up(
            self.format,
            context_base=builder.tables.context_base,
            context_count=CONTEXTS,
            interrupt_enable=FAULT_CAUSE,
            ring=CommandRing(base=builder.ring.base + COMMAND_BYTES * self._ring_place, log2=RING_LOG2),
        )
        self._set_up_faults()

    def _fresh_words(self, count: int) -> Words:
        """Entries that permit everything, of pfns that no other has."""
        first, self._next_pfn = self._next_pfn, self._next_pfn + count
        pfns = np.arange(first, self._next_pfn, dtype=np.uint64) * np.uint64(PFN_STEP)
        return encode(self.format, Pages.of(PageKind.VALID, pfns, write=True))

    # What stands in memory.

    def context_address(self, pasid: int = PASID) -> int:
        """The bus address of a context entry."""
        return self._tables.context_entry_address(pasid)

    def context_word(self, pasid: int) -> int:
        """The first word of a context entry as it stood at the start."""
        return int(self.builder.memory.read_words(self._tables.context_entry_address(pasid), 1)[0])

    def directory_lines(self, level: int) -> tuple[int, ...]:
        """The lines that walks of PASID read at a level, whichever root it has."""
        addresses = (self._tables.directory_entry_address(pasid, FIRST_VA, level) for pasid in (PASID, OTHER_PASID))
        return tuple(line_of(address) for address in addresses)

    def slot_lines(self, page: int) -> tuple[int, ...]:
        """The lines that walks of PASID read for the entry of a page."""
        addresses = (self._tables.entry_address(pasid, page_va(page)) for pasid in (PASID, OTHER_PASID))
        return tuple(line_of(address) for address in addresses)

    def slot_address(self, page: int) -> int:
        """The bus address of a page's entry in the tables that PASID uses now."""
        return self._tables.entry_address(self.root, page_va(page))

    # What the host does.

    def set_control(self, *, enable: bool, when: When = AT_ONCE) -> int:
        """Writes CONTROL; both rings stay on."""
        return self.script.write_register(
            Register.CONTROL, DEVICE_ON | registers.CONTROL_ENABLE.insert(int(enable)), when
        )

    def remap(self, page: int, when: When = AT_ONCE, *, poisoned: bool = False) -> int:
        """The page's entry says another place from now on, or (`poisoned`) that nobody may use it."""
        word = self.format.error if poisoned else int(self._fresh_words(1)[0])
        self._words[self.root][page] = word
        return self.script.write_memory(self.slot_address(page), word, when)

    def is_missing(self, page: int) -> bool:
        """Whether a page is not there, or nobody may use it."""
        return int(self._words[self.root][page]) in (self.none, self.format.error)

    def repair(self, page: int, *, everywhere: bool = False) -> None:
        """A page that is not there becomes one, if it is not yet; `everywhere`: under the other root, too."""
        current = self.root
        for root in (PASID, OTHER_PASID) if everywhere else (current,):
            self.root = root
            if self.is_missing(page):
                self.remap(page)
        self.root = current

    def add_command(self, words: Words) -> None:
        """Lays a command into the next slot of the ring, before the case begins."""
        ring = self.script.ring
        assert ring is not None
        assert self.script.tail < 1 << RING_LOG2, "a race has more commands than its ring has slots"
        place = self._ring_place + self.script.tail
        self.builder.memory.write_words(ring.base + COMMAND_BYTES * place, words)
        self.script.tail += 1

    def add_fence(self, *, address: int | None = None, value: int = 0) -> None:
        """Lays a FENCE into the ring, which writes `value` to `address` if there is one."""
        given = {} if address is None else {"write_value": 1, "first": address, "last": value}
        self.add_command(pack_command(opcode=Opcode.FENCE, **given))
        self.fences += 1

    def tell(self, when: When = AT_ONCE) -> int:
        """Tells the device every command so far."""
        return self.script.tell_tail(when)

    def wait_fences(self) -> None:
        """Waits until every fence so far is complete."""
        self.script.wait_register(Register.FENCE_SEQUENCE, self.fences, mask=ALL_BITS)

    def settle(self, cycles: int = RECORD_SETTLES) -> None:
        """Lets cycles pass."""
        self.script.nop(When(delay=cycles))

    def ask(self, page: int, *, access: Access = Access.READ, hold: int = 0, port: int = FIRST_PORT) -> int:
        """A request that comes when everything so far is done; returns its index."""
        return self._ask(page_va(page) + OFFSET, access, hold, port)

    def ask_out_of_range(self) -> None:
        """A request that ends without a read; it comes right behind the one before."""
        self._ask(1 << 63, Access.READ, 0, FIRST_PORT)

    def _ask(self, va: int, access: Access, hold: int, port: int) -> int:
        requests = make_requests(va, PASID, access, hold=hold, after_action=len(self.script), client=port)
        self.builder.ask(requests)
        return self.builder.asked - 1

    def ask_and_wait(self, page: int, port: int) -> None:
        """A request of a port, and its answer."""
        self.ask(page, port=port)
        self.script.nop(When(after_request=self.builder.asked - self._waiting))

    def ask_and_wait_recorded(self, page: int, records: int) -> None:
        """A request that faults, and its record, which is the `records`-th."""
        self.ask(page)
        self._waiting += 1
        self.script.wait_register(Register.FAULT_PUT, records, mask=registers.FAULT_PUT_INDEX.mask)
        self.script.write_register(Register.INTERRUPT_CAUSE, FAULT_CAUSE)


def line_of(address: int) -> int:
    """The line that a read of a word brings."""
    return address - address % (8 * WORD_BYTES)
