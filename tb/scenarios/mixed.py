# SPDX-License-Identifier: Apache-2.0
"""Everything at once, by seed: changes of tables, answers, rings, quiesce, disable and another format, soft resets,
under requests of every port.

A case is a plan: steps of the host and requests, numbered. Each is drawn for itself, so that a plan with some of them
left out is the same in what is left: that is what tb/shrink.py needs.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from models import registers
from models.arrays import PAGE_SHIFT, WORD_BYTES
from models.errors import UserError
from models.fault_records import cancel_command, replay_all_command, resume_command
from models.formats import EntryFormat, load_formats, refusals
from models.geometry import DIRECTORY_BYTES, span_bits
from models.physical_memory import Owner
from models.registers import Register
from models.structures import FAULT_RECORD_BYTES, Access, Opcode, pack_command
from tb.case import Case, MemorySettings
from tb.host_script import ALL_BITS, When, format_registers, make_requests
from tb.scenarios.builder import CaseBuilder, chosen_format
from tb.scenarios.host_model import INTERRUPT_FENCE_DONE, HostModel, LiveArray
from tb.scenarios.random_tables import random_memory

CONTEXTS = 5
BOUND = 3
STEPS = 24
REQUESTS = 160
HOT_SLOTS = 4
"""Blocks of each array in which changes and requests meet."""
LATENCIES = (MemorySettings(read_latency=(1, 1), write_latency=(1, 1)), MemorySettings(read_latency=(0, 30)), None)
"""Three memories: quick, wide, and one that is drawn."""
ACCESSES = (Access.READ, Access.READ, Access.WRITE, Access.ATOMIC, Access.PREFETCH)
ON = registers.CONTROL_ENABLE.mask
COMMANDS_ON = registers.CONTROL_COMMAND_ENABLE.mask
FAULTS_ON = registers.CONTROL_FAULT_ENABLE.mask
IDLE = registers.STATUS_ENABLED.mask | registers.STATUS_BUSY.mask
FIRST_TAG, LAST_TAG = 0x100, 0x30F
"""Tags of a device that has just begun: some of them will be in use."""
AIMS = (None, 0, 0, 1, 1, 1)
"""Of requests: any place, that of the step before, that of the step that begins with the request."""
LONG_HOLD = 200
STEPS_OF_A_RESET = 48
"""One step in so many is a soft reset: it ends what the steps before left open, so most plans should have none."""
ANSWER_CYCLES = 300
"""Cycles at the end in which what was replayed is answered."""


@dataclass(frozen=True)
class Ask:
    """One request; it comes when the step `after` (-1: the set-up) is done.

    `aim`: it asks for the place that the step `after` + `aim` changes; None: for any.
    """

    number: int
    after: int
    aim: int | None
    client: int
    array: int
    va_offset: int
    pasid_offset: int
    access: Access
    pause: int
    hold: int


@dataclass(frozen=True)
class Plan:
    """The steps' numbers and kinds, and the requests."""

    steps: tuple[tuple[int, str], ...]
    asks: tuple[Ask, ...]


class MixedHost(HostModel):
    """The host of a plan: what HostModel does, and answers, rings and switches."""

    def __init__(self, builder: CaseBuilder, rng: np.random.Generator, fault_log2: int) -> None:
        super().__init__(builder, rng)
        self.formats = [builder.format, replace(builder.format, name="read-only", write=0, atomic=0)]
        if refusals(self.formats[1]):
            self.formats[1] = builder.format
        self.script = builder.script
        self.fault_base = builder.memory.allocate(FAULT_RECORD_BYTES << fault_log2, owner=Owner.FAULT)
        self.fault_log2 = fault_log2
        self.faults_on()

    def faults_on(self) -> None:
        """The fault ring, where none was since reset."""
        self.script.write_register(Register.FAULT_BASE, self.fault_base)
        self.script.write_register(Register.FAULT_SIZE, self.fault_log2)
        self.control(ON | COMMANDS_ON | FAULTS_ON)

    def control(self, value: int) -> None:
        """Writes CONTROL, after a pause."""
        self.script.write_register(Register.CONTROL, value, self.pause())

    def any_array(self) -> tuple[LiveArray, int, int]:
        """An array, and slots of it: whole blocks among the hot ones."""
        array = self.arrays[int(self.rng.integers(len(self.arrays)))]
        hot = min(array.slots >> array.block, HOT_SLOTS)
        first = int(self.rng.integers(hot))
        count = int(self.rng.integers(1, hot - first + 1)) if array.block == 0 else 1
        return array, first << array.block, count << array.block

    # Steps; each leaves the device on, its rings on, and nothing that another step must bring to an end.

    def forget_range(self) -> None:
        """An invalidation although nothing changed."""
        array, _, _ = self.any_array()
        self.invalidate(array.pasid, array.first_va, array.last_va)

    def swap_root(self) -> None:
        """Unbinds a context and binds it to a copy of its root directory."""
        pasid = self.arrays[int(self.rng.integers(len(self.arrays)))].pasid
        memory = self.builder.memory
        if pasid not in self.roots:
            words, _ = memory.shadow_read([self.builder.tables.context_entry_address(pasid)])
            self.roots[pasid] = int(words[0]) & ~((1 << PAGE_SHIFT) - 1)
        old = self.roots[pasid]
        index = np.arange(DIRECTORY_BYTES // 8, dtype=np.uint64) * np.uint64(8)
        words, _ = memory.shadow_read(index + np.uint64(old))
        self.roots[pasid] = self.builder.spare_directory(words)
        self.unbind_and_bind(pasid, old, self.roots[pasid])

    def loose_fence(self) -> None:
        """A fence that nobody waits for."""
        self.fences += 1
        self.script.fence(self.pause())

    def replay_all(self) -> None:
        """REPLAY_ALL."""
        self.script.command(replay_all_command(), self.pause())

    def resume(self) -> None:
        """RESUME of tags that may be in use."""
        for tag in self.rng.integers(FIRST_TAG, LAST_TAG + 1, size=3).tolist():
            self.script.command(resume_command(tag, cancel=bool(self.rng.integers(2))), self.pause(), ring_tail=False)
        self.script.tell_tail()

    def cancel(self) -> None:
        """CANCEL of some pages and one access."""
        array, slot, count = self.any_array()
        access = Access(int(self.rng.integers(3)))
        words = cancel_command(array.pasid, array.va_of(slot), array.va_of(slot + count) - 1, access)
        self.script.command(words, self.pause())

    def quiesce(self) -> None:
        """QUIESCE, a fence that waits for everything, RUN."""
        self.script.command(pack_command(opcode=Opcode.QUIESCE), self.pause())
        self.fence()
        self.script.command(pack_command(opcode=Opcode.RUN), self.pause())

    def change_format(self) -> None:
        """Disable, wait until idle, the other format, enable."""
        self.formats.reverse()
        self.control(COMMANDS_ON | FAULTS_ON)
        self.script.wait_register(Register.STATUS, 0, mask=IDLE)
        for register, value in format_registers(self.formats[0]).items():
            self.script.write_register(register, value)
        self.control(ON | COMMANDS_ON | FAULTS_ON)
        self.script.wait_register(Register.STATUS, registers.STATUS_ENABLED.mask)

    def restart_fault_ring(self) -> None:
        """The fault ring off and on: whoever waited for room in it has room."""
        self.control(ON | COMMANDS_ON)
        self.script.wait_register(Register.STATUS, 0, mask=registers.STATUS_FAULT_ACTIVE.mask)
        self.script.write_register(Register.FAULT_GET, 0)
        self.control(ON | COMMANDS_ON | FAULTS_ON)

    def restart_command_ring(self) -> None:
        """The command ring off and on, with nothing left in it."""
        self.script.wait_taken()
        self.control(ON | FAULTS_ON)
        self.script.wait_register(Register.STATUS, 0, mask=registers.STATUS_COMMAND_ACTIVE.mask)
        self.script.restart_ring()
        self.control(ON | COMMANDS_ON | FAULTS_ON)

    def soft_reset(self) -> None:
        """A soft reset in the middle of everything; then an array is another one, without any command, the old one is
        given away, and the device is set up anew."""
        array, _, _ = self.any_array()
        builder, script = self.builder, self.script
        script.soft_reset(self.pause())
        words = self.fresh_words(array, 0, array.slots)
        address = builder.spare_array(words)
        self.store_entry(array, address)
        old, array.address, array.words = array.address, address, words
        self.reuse(old, array.slots * WORD_BYTES)
        self.restart_fences()
        script.set_up(
            self.formats[0],
            context_base=builder.tables.context_base,
            context_count=CONTEXTS,
            interrupt_enable=INTERRUPT_FENCE_DONE,
        )
        self.faults_on()

    def finish(self) -> None:
        """Everything that waits is answered: replayed, and what faults again is given up."""
        script = self.script
        script.command(replay_all_command())
        script.wait_taken()
        script.nop(When(delay=ANSWER_CYCLES))
        script.write_register(Register.CONTROL, ON | COMMANDS_ON)
        script.write_register(Register.CONTROL, COMMANDS_ON)
        script.wait_register(Register.STATUS, 0, mask=registers.STATUS_ENABLED.mask | registers.STATUS_BUSY.mask)
        script.write_register(Register.CONTROL, ON | COMMANDS_ON)
        script.wait_register(Register.FENCE_SEQUENCE, self.fences, mask=ALL_BITS)


def _of_slots(method: Callable[[HostModel, LiveArray, int, int], None]) -> Callable[[MixedHost], None]:
    return lambda host: method(host, *host.any_array())


def _of_slot(method: Callable[[HostModel, LiveArray, int], None]) -> Callable[[MixedHost], None]:
    return lambda host: method(host, *host.any_array()[:2])


def _of_array(method: Callable[[HostModel, LiveArray], None]) -> Callable[[MixedHost], None]:
    return lambda host: method(host, host.any_array()[0])


STEP_KINDS: dict[str, Callable[[MixedHost], None]] = {
    "unmap": _of_slots(HostModel.unmap),
    "move": _of_slots(HostModel.move),
    "change": _of_slots(HostModel.change),
    "permit": _of_slot(HostModel.permit),
    "protect": _of_slot(HostModel.protect),
    "replace": _of_array(HostModel.replace),
    "relink": _of_array(HostModel.unlink_and_link),
    "forget": MixedHost.forget_range,
    "swap_root": MixedHost.swap_root,
    "fence": MixedHost.loose_fence,
    "replay_all": MixedHost.replay_all,
    "resume": MixedHost.resume,
    "cancel": MixedHost.cancel,
    "quiesce": MixedHost.quiesce,
    "change_format": MixedHost.change_format,
    "restart_fault_ring": MixedHost.restart_fault_ring,
    "restart_command_ring": MixedHost.restart_command_ring,
    "soft_reset": MixedHost.soft_reset,
}
WEIGHTS = {"replay_all": 9, "change": 2, "unmap": 2, "change_format": 1, "soft_reset": 0}
"""1 for those that are not named. Soft resets have a draw of their own."""


def draw_plan(seed: int, steps: int, requests: int, ports: int, arrays: int) -> Plan:
    """The whole plan of a seed."""
    rng = np.random.default_rng([seed, 1])
    names = [name for name in STEP_KINDS for _ in range(WEIGHTS.get(name, 1))]
    drawn = [names[int(rng.integers(len(names)))] for _ in range(steps)]
    # Drawn apart: a plan in which there is none is the plan that its seed always meant.
    resets = np.random.default_rng([seed, 5]).integers(STEPS_OF_A_RESET, size=steps) == 0
    kinds = tuple(enumerate(np.where(resets, "soft_reset", drawn).tolist()))
    after = np.sort(rng.integers(-1, steps, size=requests)).tolist()
    asks = tuple(
        Ask(
            number=number,
            after=after[number],
            aim=AIMS[int(rng.integers(len(AIMS)))],
            client=int(rng.integers(1, ports + 1)),
            array=int(rng.integers(arrays)),
            va_offset=int(rng.integers(1 << 32)),
            pasid_offset=int(rng.integers(12) == 0),
            access=ACCESSES[int(rng.integers(len(ACCESSES)))],
            pause=int(rng.integers(40)) if rng.random() < 0.3 else 0,
            hold=int(rng.integers(LONG_HOLD)) if rng.random() < 0.2 else int(rng.integers(6)),
        )
        for number in range(requests)
    )
    return Plan(kinds, asks)


def _ask(builder: CaseBuilder, host: MixedHost, ask: Ask) -> None:
    """The request, near the hot slots of its array; one in sixteen goes astray."""
    array = host.arrays[ask.array]
    slot = ask.va_offset % (min(array.slots >> array.block, HOT_SLOTS) << array.block)
    if ask.aim is not None:
        # What the step draws first, whatever else it does.
        host.rng = np.random.default_rng([builder.seed, 4, max(ask.after + ask.aim, 0)])
        array, slot, count = host.any_array()
        slot += ask.va_offset % count
    va = array.va_of(slot) + (ask.va_offset >> 8) % (1 << array.page_shift)
    if ask.va_offset >> 28 == 0:
        va ^= 1 << 40
    pasid = (array.pasid + ask.pasid_offset) % CONTEXTS
    builder.ask(
        make_requests(
            va,
            pasid,
            ask.access,
            pause=ask.pause,
            hold=ask.hold,
            after_action=len(builder.script),
            client=ask.client,
        )
    )


def _settings(seed: int, plain: bool) -> MemorySettings:
    chosen = LATENCIES[seed % len(LATENCIES)]
    if plain:
        return MemorySettings()
    return random_memory(np.random.default_rng([seed, 2])) if chosen is None else chosen


def _numbers(parameters: dict[str, Any], name: str, count: int) -> set[int]:
    """The numbers that are kept; all of them if nothing is said. Errors: UserError."""
    wanted = parameters.get(name)
    if wanted is None:
        return set(range(count))
    if not isinstance(wanted, list) or not all(isinstance(number, int) for number in wanted):
        raise UserError(f"Give {name} as a list of numbers, not {wanted!r}.")
    return set(wanted)


def _format(seed: int, parameters: dict[str, Any]) -> EntryFormat:
    names = sorted(load_formats())
    return chosen_format(str(parameters.get("format", names[seed % len(names)])))


def mixed(seed: int, parameters: dict[str, Any]) -> Case:
    """Changes, answers, rings, quiesce, disable and another format, soft resets, under requests of every port.

    `steps`, `requests`: how many; `format`; `keep_steps`, `keep_requests`: only these numbers; `plain_memory`: no drawn
    latencies; `no_pauses`, `no_holds`: of requests.

    Stimulus: STEP_KINDS in random order, each with pauses of its own; requests of all ports near what changes.
    Checking: the scoreboard; the host counts on what its fences told.
    Covers: RANDOM-MIXED
    """
    fmt = _format(seed, parameters)
    builder = CaseBuilder(
        "mixed",
        seed,
        fmt,
        context_count=CONTEXTS,
        parameters=parameters,
        settings=_settings(seed, bool(parameters.get("plain_memory"))).model_copy(update={"size": 1 << 24}),
        ring_log2=3,
        interrupt_enable=INTERRUPT_FENCE_DONE,
    )
    rng = np.random.default_rng([seed, 3])
    host = MixedHost(builder, rng, fault_log2=int(rng.choice([1, 2, 4, 10])))
    for pasid in range(BOUND):
        builder.tables.bind(pasid)
        base = (3 + 7 * pasid) << span_bits(3)
        host.link(pasid, base)
        host.link(pasid, base + (1 << span_bits(1)), block=int(rng.integers(1, 4)))
        host.link(pasid, base + (1 << span_bits(2)), level=2, page_shift=int(rng.integers(18, 28)))
    counts = int(parameters.get("steps", STEPS)), int(parameters.get("requests", REQUESTS))
    plan = draw_plan(seed, *counts, builder.device.ports, len(host.arrays))
    kept_steps = _numbers(parameters, "keep_steps", counts[0])
    kept_asks = _numbers(parameters, "keep_requests", counts[1])
    asks = [ask for ask in plan.asks if ask.number in kept_asks]
    if parameters.get("no_pauses"):
        asks = [replace(ask, pause=0) for ask in asks]
    if parameters.get("no_holds"):
        asks = [replace(ask, hold=0) for ask in asks]
    for number, kind in [(-1, ""), *plan.steps]:
        if number in kept_steps:
            host.rng = np.random.default_rng([seed, 4, number])
            STEP_KINDS[kind](host)
        for ask in asks:
            if ask.after == number:
                _ask(builder, host, ask)
    host.finish()
    return builder.build(format=fmt.name)
