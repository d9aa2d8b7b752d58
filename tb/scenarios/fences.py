# SPDX-License-Identifier: Apache-2.0
"""Many commands: fences with values and interrupts over long grants, rings of any size, malformed ones, bus errors."""

from __future__ import annotations

from typing import Any

import numpy as np

from models import registers
from models.arrays import PAGE_BYTES, Words
from models.entries import encode
from models.formats import format_by_name
from models.geometry import DEFAULT_PA_BITS
from models.pages import Pages
from models.physical_memory import Owner
from models.registers import Register
from models.structures import Access, Opcode, pack_command
from tb.case import Case
from tb.host_script import ALL_BITS, make_requests
from tb.scenarios.builder import CaseBuilder
from tb.scenarios.random_tables import random_memory

ROUNDS = 12
LARGEST_BATCH = 14
PASID = 3
BASE_VA = 0x5500_0000_0000
PAGES = 24
FENCE_WORDS = 4
ALL_CAUSES = 0x3F
OUTSIDE_MEMORY = 1 << 40

FENCE_DONE = registers.INTERRUPT_CAUSE_FENCE_DONE.mask
MALFORMED = registers.INTERRUPT_CAUSE_COMMAND_MALFORMED.mask
COMMAND_BUS_ERROR = registers.INTERRUPT_CAUSE_COMMAND_BUS_ERROR.mask
OVERRUN = registers.INTERRUPT_CAUSE_COMMAND_OVERRUN.mask
FENCE_BUS_ERROR = registers.INTERRUPT_CAUSE_FENCE_BUS_ERROR.mask
HALTED = registers.STATUS_COMMAND_HALTED.mask


def malformed_commands() -> list[Words]:
    """One command for every way of being none."""
    fence, invalidate = Opcode.FENCE, Opcode.INVALIDATE
    opcodes = [0, Opcode.RUN + 1, 0xFF]
    commands = [pack_command(opcode=opcode) for opcode in opcodes]
    good = pack_command(opcode=invalidate, pasid=PASID, last=ALL_BITS)
    for word, bits in ((0, (11, 12, 14, 31, 52, 63)), (3, (0, 63))):
        for bit in bits:
            command = good.copy()
            command[word] |= np.uint64(1 << bit)
            commands.append(command)
    return [
        *commands,
        pack_command(opcode=invalidate, pasid=PASID, first=1),
        pack_command(opcode=invalidate, pasid=PASID, all_contexts=1, last=ALL_BITS),
        pack_command(opcode=invalidate, pasid=PASID, interrupt=1, last=ALL_BITS),
        pack_command(opcode=invalidate, pasid=PASID, write_value=1, last=ALL_BITS),
        pack_command(opcode=Opcode.INVALIDATE_CONTEXT, pasid=PASID, last=ALL_BITS),
        pack_command(opcode=Opcode.INVALIDATE_CONTEXT, pasid=PASID, first=1, last=1),
        pack_command(opcode=fence, pasid=PASID),
        pack_command(opcode=fence, all_contexts=1),
        pack_command(opcode=fence, first=8),
        pack_command(opcode=fence, last=1),
        pack_command(opcode=fence, write_value=1, first=4),
        pack_command(opcode=fence, write_value=1, first=1 << DEFAULT_PA_BITS),
        pack_command(opcode=Opcode.BIND, pasid=PASID, first=1),
        pack_command(opcode=Opcode.BIND, all_contexts=1),
        pack_command(opcode=Opcode.UNBIND, all_contexts=1),
        pack_command(opcode=Opcode.UNBIND, pasid=PASID, last=1),
        pack_command(opcode=Opcode.UNBIND, pasid=PASID, interrupt=1),
        *(pack_command(opcode=opcode, pasid=PASID) for opcode in (Opcode.REPLAY_ALL, Opcode.QUIESCE, Opcode.RUN)),
        *(pack_command(opcode=opcode, first=1) for opcode in (Opcode.REPLAY_ALL, Opcode.QUIESCE, Opcode.RUN)),
        pack_command(opcode=Opcode.REPLAY_ALL, cancel=1),
        pack_command(opcode=Opcode.RESUME, pasid=PASID),
        pack_command(opcode=Opcode.RESUME, access=1),
        pack_command(opcode=Opcode.RESUME, last=1),
        pack_command(opcode=Opcode.RESUME, first=1 << 32),
        pack_command(opcode=Opcode.CANCEL, pasid=PASID, first=1),
        pack_command(opcode=Opcode.CANCEL, pasid=PASID, all_contexts=1, last=1),
        pack_command(opcode=Opcode.CANCEL, pasid=PASID, cancel=1, last=1),
    ]


class _Commander:
    """Sends commands and keeps note of what the device must tell about them."""

    def __init__(self, builder: CaseBuilder, rng: np.random.Generator) -> None:
        self.builder = builder
        self.rng = rng
        self.words = [builder.fence_word() for _ in range(FENCE_WORDS)]
        self.values = dict.fromkeys(self.words, 0)
        self.fences = 0
        self.causes = 0
        self.error: int | None = None
        self._bad = malformed_commands()

    def fence(self) -> None:
        """A fence with or without a value and an interrupt."""
        self.fences += 1
        interrupt = bool(self.rng.integers(2))
        self.causes |= FENCE_DONE if interrupt else 0
        address = int(self.rng.choice(self.words)) if self.rng.integers(2) else None
        if address is not None:
            self.values[address] = self.fences
        self.builder.script.fence(address=address, value=self.fences, interrupt=interrupt, tail=self._tail())

    def malformed(self) -> None:
        """A command that must be skipped; the first since the cause was cleared is told."""
        words = self._bad[int(self.rng.integers(len(self._bad)))]
        if self.error is None:
            opcode = int(words[0]) & 0xFF
            self.error = registers.COMMAND_ERROR_INDEX.insert(self.builder.script.tail)
            self.error |= registers.COMMAND_ERROR_OPCODE.insert(opcode)
        self.causes |= MALFORMED
        self.builder.script.command(words, ring_tail=self._tail())

    def harmless(self) -> None:
        """An invalidation or a bind: legal whenever it comes."""
        script, choice = self.builder.script, int(self.rng.integers(5))
        pasid = int(self.rng.choice([PASID, PASID, 0, (1 << 20) - 1]))
        first = int(self.rng.integers(1 << 48))
        if choice == 0:
            script.invalidate(pasid, first, ALL_BITS, tail=self._tail())
        elif choice == 1:
            page = BASE_VA + PAGE_BYTES * int(self.rng.integers(PAGES))
            script.invalidate(PASID, page, page, tail=self._tail())
        elif choice == 2:
            script.invalidate_context(None if first % 2 else pasid, tail=self._tail())
        elif choice == 3:
            script.invalidate(None, 0, ALL_BITS, tail=self._tail())
        else:
            script.bind(pasid, tail=self._tail())

    def settle(self) -> None:
        """Waits for everything and compares what the device tells with what it must; clears the causes."""
        script = self.builder.script
        script.tell_tail()
        script.wait_taken()
        script.wait_register(Register.FENCE_SEQUENCE, self.fences, mask=ALL_BITS)
        if self.causes & self.builder.interrupt_enable:
            script.wait_interrupt()
        for address, value in self.values.items():
            script.read_memory(address, expect=value)
        script.read_register(Register.INTERRUPT_CAUSE, expect=self.causes, mask=ALL_CAUSES)
        if self.error is not None:
            script.read_register(Register.COMMAND_ERROR, expect=self.error)
        script.write_register(Register.INTERRUPT_CAUSE, self.causes)
        script.read_register(Register.INTERRUPT_CAUSE, expect=0)
        script.read_register(Register.COMMAND_HEAD, expect=script.tail)
        self.causes, self.error = 0, None

    def _tail(self) -> bool:
        return bool(self.rng.integers(3))


def _pages(builder: CaseBuilder) -> None:
    builder.tables.bind(PASID)
    words = encode(builder.format, Pages.of(pfn=np.arange(PAGES) + 0x777, write=True))
    builder.tables.link_range(PASID, BASE_VA, words, builder.format)


def _ask(builder: CaseBuilder, rng: np.random.Generator, count: int, longest_hold: int) -> None:
    page = rng.integers(PAGES, size=count, dtype=np.uint64)
    va = np.uint64(BASE_VA) + page * np.uint64(PAGE_BYTES) + rng.integers(PAGE_BYTES, size=count, dtype=np.uint64)
    builder.ask(
        make_requests(
            va,
            PASID,
            rng.choice([Access.READ, Access.WRITE, Access.PREFETCH], size=count),
            pause=rng.integers(30, size=count),
            hold=rng.integers(longest_hold, size=count),
            after_action=len(builder.script),
        )
    )


def fences(seed: int, parameters: dict[str, Any]) -> Case:
    """Commands of every kind in rings of any size; fences over long grants, with values, interrupts, read back."""
    rng = np.random.default_rng(seed)
    builder = CaseBuilder(
        "fences",
        seed,
        format_by_name("linux_5_8"),
        context_count=8,
        parameters=parameters,
        settings=random_memory(rng, fast=bool(rng.integers(2))),
        ring_log2=int(rng.integers(0, 6)),
        interrupt_enable=int(rng.choice([0, FENCE_DONE, ALL_CAUSES])),
    )
    _pages(builder)
    commander = _Commander(builder, rng)
    for _ in range(ROUNDS):
        _ask(builder, rng, int(rng.integers(4, 20)), int(rng.choice([4, 100, 600])))
        for _ in range(int(rng.integers(1, LARGEST_BATCH))):
            choice = int(rng.integers(8))
            if choice < 4:
                commander.fence()
            elif choice < 5:
                commander.malformed()
            else:
                commander.harmless()
        commander.settle()
    return builder.build()


def bus_errors(seed: int, parameters: dict[str, Any]) -> Case:
    """Reads and writes that fail: of tables, of the command ring, of a fence's value; and a ring that is overrun."""
    rng = np.random.default_rng(seed)
    builder = CaseBuilder(
        "bus_errors",
        seed,
        format_by_name("linux_5_8"),
        context_count=8,
        parameters=parameters,
        settings=random_memory(rng, fast=True),
        ring_log2=4,
        interrupt_enable=ALL_CAUSES,
    )
    _pages(builder)
    script, ring = builder.script, builder.ring
    assert ring is not None
    # One line of the array fails; its neighbours are translated.
    builder.memory.set_read_error(builder.tables.entry_address(PASID, BASE_VA) + 8 * 8 * int(rng.integers(PAGES // 8)))
    _ask(builder, rng, 60, 40)
    script.invalidate(PASID)
    word = builder.fence_word()
    builder.memory.set_write_error(word)
    for number, address in enumerate((word, OUTSIDE_MEMORY), start=1):
        script.fence(address=address, value=1)
        script.wait_interrupt()
        script.read_register(Register.INTERRUPT_CAUSE, expect=FENCE_BUS_ERROR)
        script.read_register(Register.FENCE_SEQUENCE, expect=number)
        script.write_register(Register.INTERRUPT_CAUSE, FENCE_BUS_ERROR)
    script.read_memory(word, expect=0)

    # The ring cannot be read: it halts, and the rest of the device goes on.
    script.set_owner(ring.base, ring.bytes, Owner.COMMAND | 0x40)
    _ask(builder, rng, 30, 10)
    script.invalidate(PASID)
    script.fence()
    script.wait_register(Register.STATUS, HALTED)
    script.read_register(Register.INTERRUPT_CAUSE, expect=COMMAND_BUS_ERROR)
    script.set_owner(ring.base, ring.bytes, Owner.COMMAND)
    _restart_ring(builder)
    script.write_register(Register.INTERRUPT_CAUSE, COMMAND_BUS_ERROR)
    script.fence(interrupt=True)
    script.wait_interrupt()
    script.read_register(Register.INTERRUPT_CAUSE, expect=FENCE_DONE)
    script.write_register(Register.INTERRUPT_CAUSE, FENCE_DONE)

    # The tail runs further ahead than the ring is long.
    script.write_register(Register.COMMAND_TAIL, script.tail + (1 << ring.log2) + 1)
    script.wait_register(Register.STATUS, HALTED)
    script.read_register(Register.INTERRUPT_CAUSE, expect=OVERRUN)
    _restart_ring(builder)
    script.write_register(Register.INTERRUPT_CAUSE, OVERRUN)
    script.fence()
    script.wait_register(Register.FENCE_SEQUENCE, 4, mask=ALL_BITS)
    _ask(builder, rng, 30, 10)

    # A ring that lies beyond the bus.
    script.write_register(Register.CONTROL, registers.CONTROL_ENABLE.mask)
    script.write_register(Register.COMMAND_BASE, 1 << DEFAULT_PA_BITS)
    _restart_ring(builder)
    script.write_register(Register.COMMAND_TAIL, 1)
    script.wait_register(Register.STATUS, HALTED)
    script.read_register(Register.INTERRUPT_CAUSE, expect=COMMAND_BUS_ERROR)
    return builder.build(commands_may_remain=True)


def _restart_ring(builder: CaseBuilder) -> None:
    """Switches the ring off and on: head and tail begin at 0 again."""
    script = builder.script
    script.write_register(Register.CONTROL, registers.CONTROL_ENABLE.mask)
    script.wait_register(Register.STATUS, 0, mask=registers.STATUS_COMMAND_ACTIVE.mask | HALTED)
    script.restart_ring()
    script.write_register(Register.CONTROL, registers.CONTROL_ENABLE.mask | registers.CONTROL_COMMAND_ENABLE.mask)
