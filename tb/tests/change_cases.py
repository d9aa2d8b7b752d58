# SPDX-License-Identifier: Apache-2.0
"""Makes cases of the rows in tb/tests/change_rows.py: each change with what it needs, and without."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from models import registers
from models.arrays import PAGE_BYTES, WORD_BYTES
from models.physical_memory import Owner
from models.registers import Register
from models.structures import Opcode, pack_command, pack_context_entry, pack_directory_entry
from tb.case import Case, MemorySettings
from tb.host_script import AT_ONCE, When, format_registers, make_requests
from tb.scenarios.builder import CaseBuilder
from tb.tests.change_words import (
    FIRST_PFN,
    FIRST_VA,
    FORMAT,
    LARGE_PFN,
    OFFSET,
    OTHER_PASID,
    OTHER_PFN,
    PAGES,
    PASID,
    WINDOW,
    Link,
    Look,
    Place,
    Root,
    Setting,
    SettingVariant,
    Store,
    Table,
    Variant,
    entry,
)
from tb.versions import Answer

MEMORY_BYTES = 1 << 22
APART = 150
"""Cycles between two looks: the first is answered by then, and cached."""
GARBAGE = 0xDEAD_BEEF_DEAD_BEEF
CONTEXTS = 8


@dataclass
class ChangeCase:
    """A case, and the answers that its requests must get, one for each, None where the case ends before it."""

    case: Case
    expected: list[Answer | None]


class _World:
    """The tables of both contexts, and the places and tables that stores speak of."""

    def __init__(self, name: str, *, latency: tuple[int, int], seed: int) -> None:
        settings = MemorySettings(size=MEMORY_BYTES, read_latency=latency)
        self.builder = CaseBuilder(
            name, seed, FORMAT, context_count=CONTEXTS, window=WINDOW, settings=settings, ring_log2=4
        )
        tables = self.builder.tables
        self._tables: dict[Table, int] = {}
        for pasid, first, tables_of in (
            (PASID, FIRST_PFN, (Table.ROOT, Table.DIRECTORY, Table.ARRAY)),
            (OTHER_PASID, OTHER_PFN, (Table.OTHER_ROOT, Table.OTHER_DIRECTORY, Table.OTHER_ARRAY)),
        ):
            root = tables.bind(pasid)
            array = tables.link_array(pasid, FIRST_VA, words=[entry(first + 2 * page) for page in range(PAGES)])
            directory = tables.directory_entry_address(pasid, FIRST_VA, 1)
            self._tables |= dict(zip(tables_of, (root, directory, array), strict=True))
        large = np.array([entry(LARGE_PFN + PAGES * slot) for slot in range(PAGES)], dtype=np.uint64)
        self._tables[Table.LARGE_ARRAY] = self.builder.spare_array(large)
        self._places = {
            Place.LEVEL_1: tables.directory_entry_address(PASID, FIRST_VA, 1),
            Place.LEVEL_2: tables.directory_entry_address(PASID, FIRST_VA, 2),
            Place.CONTEXT: tables.context_entry_address(PASID),
        }

    def address(self, store: Store) -> int:
        """Where a store goes."""
        if isinstance(store.where, Place):
            return self._places[store.where]
        return self._tables[Table.ARRAY] + WORD_BYTES * store.where

    def word(self, store: Store) -> int:
        """What is stored."""
        match store.word:
            case Link():
                link = store.word
                packed = pack_directory_entry(
                    entry_type=link.kind,
                    address=self._tables[link.table],
                    page_shift=link.page_shift,
                    max_order=link.max_order,
                )
                return int(packed[0])
            case Root():
                return int(pack_context_entry(valid=1, root=self._tables[store.word.table])[0])
            case word:
                return word

    def prepare(self, stores: tuple[Store, ...]) -> None:
        """The tables before the device is switched on."""
        for store in stores:
            self.builder.memory.write_words(self.address(store), [self.word(store)])

    def store(self, stores: tuple[Store, ...], when: When = AT_ONCE) -> None:
        """The host stores while the device is on; `when` counts for the first."""
        for number, store in enumerate(stores):
            self.builder.script.write_memory(self.address(store), self.word(store), AT_ONCE if number else when)

    def look(self, page: int, access: int, *, pause: int = APART, hold: int = 0) -> None:
        """One request, behind everything that the host does so far."""
        va = FIRST_VA + page * PAGE_BYTES + OFFSET
        script = self.builder.script
        self.builder.ask(make_requests(va, PASID, access, pause=pause, hold=hold, after_action=len(script)))

    def all_answered(self) -> When:
        """When everything that was asked so far has its answer."""
        return When(after_request=self.builder.asked)

    def free(self, table: Table) -> None:
        """Somebody else has this memory now."""
        address = self._tables[table]
        self.builder.script.set_owner(address, PAGES * WORD_BYTES, Owner.NONE)
        self.builder.script.write_memory(address, GARBAGE)

    def command(self, variant: Variant) -> None:
        """The commands of a change, and the wait for their effect."""
        script = self.builder.script
        for command in variant.commands:
            fields = {"opcode": int(command.opcode), "pasid": PASID}
            if command.opcode is Opcode.INVALIDATE:
                first = FIRST_VA + command.page * PAGE_BYTES
                fields |= {"first": first, "last": first + command.pages * PAGE_BYTES - 1}
            script.command(pack_command(**fields))
        if all(command.opcode is Opcode.BIND for command in variant.commands):
            script.wait_taken()
        else:
            script.fence()
            script.wait_register(Register.FENCE_SEQUENCE, 1)


def change_case(variant: Variant, *, done_right: bool, seed: int = 1) -> ChangeCase:
    """The looks before the change, the change with or without its commands, and the looks after it.

    Without them the host counts on the new answers all the same: the scoreboard must find the old ones.
    """
    world = _World(variant.name, latency=variant.latency, seed=seed)
    builder, script = world.builder, world.builder.script
    world.prepare(variant.tables)
    asked: list[tuple[Look, Answer | None]] = [(look, look.before) for look in variant.looks if look.before is not None]
    later = [(look, look.after if done_right or not variant.commands else look.without) for look in variant.looks]
    for look, _ in asked:
        world.look(look.page, look.access)
    when = world.all_answered()
    if variant.flight is not None:
        for look in variant.looks:
            world.look(look.page, look.access, pause=0)
        when = When(delay=variant.flight)
    world.store(variant.change, when)
    if done_right and variant.commands:
        world.command(variant)
    if variant.commands:
        builder.expect_clean(PASID)
    for table in variant.frees:
        world.free(table)
    script.nop()
    if variant.flight is None:
        for look in variant.looks:
            world.look(look.page, look.access)
    return ChangeCase(builder.build(), [answer for _, answer in [*asked, *later]])


def grant_case(variant: Variant, *, fence: bool) -> ChangeCase:
    """A change of the page of a grant that is held for long, with its INVALIDATE, and with or without its FENCE.

    The last action but one is the end of what the host waits for.
    """
    world = _World("fence" if fence else "no_fence", latency=(2, 2), seed=1)
    look = variant.looks[0]
    world.look(look.page, look.access, hold=3000)
    world.store(variant.change, world.all_answered())
    script = world.builder.script
    script.invalidate(PASID, FIRST_VA, FIRST_VA + PAGE_BYTES - 1)
    if fence:
        script.fence()
        script.wait_register(Register.FENCE_SEQUENCE, 1)
    else:
        script.wait_taken()
    script.nop()
    return ChangeCase(world.builder.build(), [look.before])


def setting_case(variant: SettingVariant, *, done_right: bool) -> ChangeCase:
    """Page 0, then registers changed with the device switched off, or under it, then page 0."""
    world = _World(variant.name, latency=(2, 2), seed=1)
    builder, script = world.builder, world.builder.script
    world.prepare(variant.tables)
    world.look(0, variant.access)
    script.nop(world.all_answered())
    if done_right:
        on = registers.STATUS_ENABLED.mask
        script.write_register(Register.CONTROL, registers.CONTROL_COMMAND_ENABLE.mask)
        script.wait_register(Register.STATUS, 0, mask=on | registers.STATUS_BUSY.mask)
    old = _registers(Setting(), builder.tables.context_base)
    new = _registers(variant.change, builder.tables.context_base)
    for register, value in new.items():
        script.write_register(register, value)
    for register in new:
        script.read_register(register, expect=new[register] if done_right else old[register])
    if done_right:
        control = registers.CONTROL_COMMAND_ENABLE.mask | registers.CONTROL_ENABLE.mask
        script.write_register(Register.CONTROL, control)
        script.wait_register(Register.STATUS, registers.STATUS_ENABLED.mask)
    world.look(0, variant.access)
    return ChangeCase(builder.build(), [variant.before, variant.after if done_right else variant.before])


def _registers(setting: Setting, context_base: int) -> dict[Register, int]:
    return {
        **format_registers(setting.fmt),
        Register.WINDOW_BASE: setting.window.base,
        Register.WINDOW_COUNT: setting.window.count,
        Register.CONTEXT_BASE: context_base + 16 * setting.context_shift,
        Register.CONTEXT_COUNT: setting.context_count,
    }
