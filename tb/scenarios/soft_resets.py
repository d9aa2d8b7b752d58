# SPDX-License-Identifier: Apache-2.0
"""Soft resets in the middle of everything: walks, faults that wait, grants, commands, records and fence values on
their way. Behind each, other tables, without any command, in a device that must have forgotten the old ones."""

from __future__ import annotations

from typing import Any

import numpy as np

from models import registers
from models.fault_records import replay_all_command
from models.geometry import span_bits
from models.physical_memory import Owner
from models.registers import RESET_VALUES, Register
from models.structures import FAULT_RECORD_BYTES, Access
from tb.case import Case
from tb.host_script import WORD_BYTES, When, make_requests
from tb.scenarios.builder import CaseBuilder, chosen_format
from tb.scenarios.host_model import GARBAGE, INTERRUPT_FENCE_DONE, HostModel, LiveArray
from tb.scenarios.random_tables import random_memory

ROUNDS = 8
REQUESTS = 24
"""Of each round, most of which end in its reset."""
CONTEXTS = 4
FAULT_LOG2 = 2
LATEST = 240
"""Cycles from the start of a round's requests to its reset, at most."""
HOT_SLOTS = 12
RINGS_ON = registers.CONTROL_COMMAND_ENABLE.mask
FAULTS_ON = registers.CONTROL_FAULT_ENABLE.mask
ON = registers.CONTROL_ENABLE.mask
CONSTANT = (Register.CAPABILITY,)
"""Registers whose value the map does not tell: what the device was built with."""


def soft_resets(seed: int, parameters: dict[str, Any]) -> Case:
    """Soft resets at drawn times under traffic of every kind. `rounds`; `format`.

    Stimulus: each round: requests of every port, half of them to pages that fault, with holds and pauses; an
        INVALIDATE, a FENCE with a value, REPLAY_ALL; the reset at a drawn distance; other arrays, the old ones given
        away and overwritten at once; the device set up anew.
    Checking: every register has its reset value; answers behind a reset come from the new tables alone; nothing
        touches the old ones; the scoreboard.
    Covers: SOFT-RESET
    """
    rng = np.random.default_rng(seed)
    fmt = chosen_format(str(parameters.get("format", "linux_5_8")))
    builder = CaseBuilder(
        "soft_resets",
        seed,
        fmt,
        context_count=CONTEXTS,
        parameters=parameters,
        settings=random_memory(rng).model_copy(update={"size": 1 << 23}),
        ring_log2=3,
        interrupt_enable=INTERRUPT_FENCE_DONE,
    )
    host = HostModel(builder, rng)
    for pasid in (1, 2):
        builder.tables.bind(pasid)
        host.link(pasid, (3 + 7 * pasid) << span_bits(3))
    size = FAULT_RECORD_BYTES << FAULT_LOG2
    ring = builder.memory.allocate(size, owner=Owner.FAULT)
    word = builder.fence_word()
    for number in range(int(parameters.get("rounds", ROUNDS))):
        _switch_on(builder, ring, faults=True)
        _ask(builder, host)
        _commands(builder, host, word)
        builder.script.soft_reset(When(delay=int(rng.integers(LATEST))))
        if number == 0:
            _expect_reset_values(builder)
        for array in host.arrays:
            _other_array(builder, host, array)
        builder.script.set_up(
            fmt,
            context_base=builder.tables.context_base,
            context_count=CONTEXTS,
            interrupt_enable=INTERRUPT_FENCE_DONE,
        )
    # What nobody took before the last reset comes now, and more; faults are told at once.
    _switch_on(builder, ring, faults=False)
    _ask(builder, host)
    return builder.build(format=fmt.name)


def _switch_on(builder: CaseBuilder, ring: int, *, faults: bool) -> None:
    script = builder.script
    script.write_register(Register.FAULT_BASE, ring)
    script.write_register(Register.FAULT_SIZE, FAULT_LOG2)
    script.write_register(Register.CONTROL, ON | RINGS_ON | FAULTS_ON * faults)


def _ask(builder: CaseBuilder, host: HostModel) -> None:
    rng = host.rng
    for _ in range(REQUESTS):
        array = host.arrays[int(rng.integers(len(host.arrays)))]
        request = make_requests(
            array.va_of(int(rng.integers(HOT_SLOTS))),
            array.pasid,
            Access(int(rng.integers(len(Access)))),
            pause=int(rng.integers(12)) if rng.integers(4) == 0 else 0,
            hold=int(rng.integers(LATEST)) if rng.integers(4) == 0 else int(rng.integers(6)),
            after_action=len(builder.script),
        )
        builder.ask(builder.spread(request, rng))


def _commands(builder: CaseBuilder, host: HostModel, word: int) -> None:
    """As many as are drawn, told at drawn times; nobody waits for them."""
    script, rng = builder.script, host.rng
    array = host.arrays[int(rng.integers(len(host.arrays)))]
    for number in range(int(rng.integers(4))):
        delay = When(delay=int(rng.integers(LATEST // 3)))
        if number == 0:
            script.invalidate(array.pasid, array.first_va, array.last_va, delay)
        elif number == 1:
            script.fence(delay, address=word, value=int(rng.integers(1, 1 << 32)), interrupt=True)
        else:
            script.command(replay_all_command(), delay)


def _expect_reset_values(builder: CaseBuilder) -> None:
    for register, value in RESET_VALUES.items():
        if register not in CONSTANT and register is not Register.COUNTER_LATCH:
            builder.script.read_register(register, expect=value)


def _other_array(builder: CaseBuilder, host: HostModel, array: LiveArray) -> None:
    """The array is another one; what was the old one is nobody's and says something else."""
    words = host.page_words(array.slots, 0, 0, 0)
    address, old = builder.spare_array(words), array.address
    host.store_entry(array, address, When())
    builder.script.set_owner(old, array.slots * WORD_BYTES, Owner.NONE)
    for slot in range(HOT_SLOTS):
        builder.script.write_memory(old + WORD_BYTES * slot, GARBAGE)
    array.address, array.words = address, words
