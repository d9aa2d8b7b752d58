# SPDX-License-Identifier: Apache-2.0
"""What the host does in a race, as data: how it gets ready, the step that counts, and how it finds out that it is done.

The step that counts begins in a cycle that the explorer chooses. Its effect is the cycle in which the device acts on
it: of a command, its execution; of a register, the first cycle of the new value.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from models import registers
from models.fault_records import cancel_command, replay_all_command, resume_command
from models.physical_memory import Owner
from models.registers import Register
from models.structures import Access, Opcode, pack_command
from tb.host_script import LAST_ADDRESS, When, format_registers
from tb.records import DeviceEventKind
from tb.scenarios.race_world import ABSENT, MISSING, OTHER_PASID, PAGE_BYTES, PASID, RaceWorld, page_va

FENCE_VALUE = 0x5AFE
QUIET_CYCLES = 40


@dataclass(frozen=True)
class Aim:
    """What a race is about: the page of the event's request, the tag of the fault that waits (0: none).

    `faults`: the page must go on to fault, whatever else it becomes.
    """

    page: int
    tag: int
    faults: bool


Step = Callable[[RaceWorld, Aim, When], None]


@dataclass(frozen=True)
class HostAction:
    """One kind of action. `prepare` lays commands; `fire` acts, its first step at the time that it is given; `finish`
    waits until the host may count on it.

    `opcode`: the command whose execution is the effect; else `register`: the row of the device's log that is.
    `needs_fault`: it does nothing without a fault that waits. `changes`: what its first step stores to, of that which a
    walk reads.
    """

    name: str
    text: str
    prepare: Callable[[RaceWorld, Aim], None]
    fire: Step
    finish: Callable[[RaceWorld, Aim], None]
    opcode: Opcode | None = None
    register: DeviceEventKind | None = None
    needs_fault: bool = False
    changes: Literal["", "slot", "context"] = ""


def _nothing(world: RaceWorld, aim: Aim) -> None:
    del world, aim


def _tell(world: RaceWorld, aim: Aim, when: When) -> None:
    del aim
    world.tell(when)


# Invalidations.


def _range_of(aim: Aim, pages_around: int) -> tuple[int, int]:
    return page_va(aim.page - pages_around), page_va(aim.page + pages_around) + PAGE_BYTES - 1


def _lay_page(world: RaceWorld, aim: Aim) -> None:
    first, last = _range_of(aim, 0)
    world.add_command(pack_command(opcode=Opcode.INVALIDATE, pasid=PASID, first=first, last=last))
    world.add_fence()


def _lay_range(world: RaceWorld, aim: Aim) -> None:
    first, last = _range_of(aim, 1)
    world.add_command(pack_command(opcode=Opcode.INVALIDATE, pasid=PASID, first=first, last=last))
    world.add_fence()


def _lay_everything(world: RaceWorld, aim: Aim) -> None:
    del aim
    world.add_command(pack_command(opcode=Opcode.INVALIDATE, all_contexts=1, first=0, last=LAST_ADDRESS))
    world.add_fence()


def _lay_context(world: RaceWorld, aim: Aim) -> None:
    del aim
    world.add_command(pack_command(opcode=Opcode.INVALIDATE_CONTEXT, pasid=PASID))
    world.add_fence()


def _remap_one(world: RaceWorld, aim: Aim, when: When) -> None:
    world.remap(aim.page, when, poisoned=aim.faults)
    world.tell()


def _remap_three(world: RaceWorld, aim: Aim, when: When) -> None:
    world.remap(aim.page - 1, when)
    world.remap(aim.page, poisoned=aim.faults)
    world.remap(aim.page + 1)
    world.tell()


def _other_root(world: RaceWorld, aim: Aim, when: When) -> None:
    del aim
    world.script.write_memory(world.context_address(), world.context_word(OTHER_PASID), when)
    world.root = OTHER_PASID
    world.tell()


def _clean(pages_around: int) -> Callable[[RaceWorld, Aim], None]:
    def finish(world: RaceWorld, aim: Aim) -> None:
        world.wait_fences()
        world.builder.expect_clean(PASID, *_range_of(aim, pages_around))

    return finish


def _clean_context(world: RaceWorld, aim: Aim) -> None:
    del aim
    world.wait_fences()
    world.builder.expect_clean(PASID)


# Fences.


def _lay_fence(world: RaceWorld, aim: Aim) -> None:
    del aim
    world.fence_word = world.builder.fence_word()
    world.add_fence(address=world.fence_word, value=FENCE_VALUE)


def _wait_value(world: RaceWorld, aim: Aim) -> None:
    del aim
    world.script.wait_memory(world.fence_word, FENCE_VALUE)
    world.wait_fences()
    # The word is the host's again.
    world.script.set_owner(world.fence_word, 8, Owner.NONE)


# Answers.


def _lay_resume(world: RaceWorld, aim: Aim) -> None:
    world.add_command(resume_command(aim.tag, cancel=False))


def _repair_and_tell(world: RaceWorld, aim: Aim, when: When) -> None:
    """The page of the fault that waits is there now; then the answer."""
    del aim
    if world.is_missing(MISSING):
        world.remap(MISSING, when)
        world.tell()
    else:
        world.tell(when)


def _lay_resume_cancel(world: RaceWorld, aim: Aim) -> None:
    world.add_command(resume_command(aim.tag, cancel=True))


def _lay_replay_all(world: RaceWorld, aim: Aim) -> None:
    del aim
    world.add_command(replay_all_command())


def _lay_cancel(world: RaceWorld, aim: Aim) -> None:
    del aim
    world.add_command(cancel_command(PASID, page_va(MISSING), page_va(ABSENT) + PAGE_BYTES - 1, Access.READ))


# Contexts.


def _lay_bind(world: RaceWorld, aim: Aim) -> None:
    del aim
    world.add_command(pack_command(opcode=Opcode.BIND, pasid=PASID))


def _lay_unbind(world: RaceWorld, aim: Aim) -> None:
    del aim
    world.add_command(pack_command(opcode=Opcode.UNBIND, pasid=PASID))
    world.add_fence()


def _unbind(world: RaceWorld, aim: Aim, when: When) -> None:
    del aim
    world.script.write_memory(world.context_address(), 0, when)
    world.tell()


def _bind_again(world: RaceWorld, aim: Aim) -> None:
    _clean_context(world, aim)
    world.script.write_memory(world.context_address(), world.context_word(PASID))
    _lay_bind(world, aim)
    world.tell()


# The rest.


def _lay_quiesce(world: RaceWorld, aim: Aim) -> None:
    del aim
    world.add_command(pack_command(opcode=Opcode.QUIESCE))
    world.add_fence()


def _run_again(world: RaceWorld, aim: Aim) -> None:
    del aim
    world.wait_fences()
    world.settle(QUIET_CYCLES)
    world.add_command(pack_command(opcode=Opcode.RUN))
    world.tell()


def _switch_off(world: RaceWorld, aim: Aim, when: When) -> None:
    del aim
    world.set_control(enable=False, when=when)


def _change_format(world: RaceWorld, aim: Aim) -> None:
    del aim
    idle = registers.STATUS_ENABLED.mask | registers.STATUS_BUSY.mask
    world.script.wait_register(Register.STATUS, 0, mask=idle)
    for register, value in format_registers(world.other_format).items():
        world.script.write_register(register, value)
    world.set_control(enable=True)
    world.script.wait_register(Register.STATUS, registers.STATUS_ENABLED.mask)


def _reset(world: RaceWorld, aim: Aim, when: When) -> None:
    del aim
    world.soft_reset(when)


def _start_again(world: RaceWorld, aim: Aim) -> None:
    """The page is another one behind the reset, and nobody needs to be told."""
    world.script.wait_register(Register.CONTROL, 0, mask=registers.CONTROL_SOFT_RESET.mask)
    world.remap(aim.page, poisoned=aim.faults)
    world.start_again()


def _take_record(world: RaceWorld, aim: Aim, when: When) -> None:
    del aim
    world.script.write_register(Register.FAULT_GET, 1, when)


_COMMANDS = (
    HostAction(
        "invalidate_page", "a page is mapped elsewhere, INVALIDATE of it, FENCE", _lay_page, _remap_one, _clean(0),
        Opcode.INVALIDATE, changes="slot",
    ),
    HostAction(
        "invalidate_range", "three pages are mapped elsewhere, INVALIDATE of them, FENCE", _lay_range, _remap_three,
        _clean(1), Opcode.INVALIDATE, changes="slot",
    ),
    HostAction(
        "invalidate_all", "a page is mapped elsewhere, INVALIDATE of every context, FENCE", _lay_everything,
        _remap_one, _clean(0), Opcode.INVALIDATE, changes="slot",
    ),
    HostAction(
        "invalidate_context", "the context gets another root, INVALIDATE_CONTEXT, FENCE", _lay_context, _other_root,
        _clean_context, Opcode.INVALIDATE_CONTEXT, changes="context",
    ),
    HostAction("fence", "FENCE with a value", _lay_fence, _tell, _wait_value, Opcode.FENCE),
    HostAction(
        "resume_replay", "the page of a waiting fault is there, RESUME", _lay_resume, _repair_and_tell, _nothing,
        Opcode.RESUME, needs_fault=True, changes="slot",
    ),
    HostAction(
        "resume_cancel", "RESUME that cancels a waiting fault", _lay_resume_cancel, _tell, _nothing, Opcode.RESUME,
        needs_fault=True,
    ),
    HostAction(
        "replay_all", "the page of a waiting fault is there, REPLAY_ALL", _lay_replay_all, _repair_and_tell, _nothing,
        Opcode.REPLAY_ALL, needs_fault=True, changes="slot",
    ),
    HostAction(
        "cancel_range", "CANCEL of the pages that fault", _lay_cancel, _tell, _nothing, Opcode.CANCEL, needs_fault=True
    ),
    HostAction("bind", "BIND of the context in use", _lay_bind, _tell, _nothing, Opcode.BIND),
    HostAction(
        "unbind", "the context is cleared, UNBIND, FENCE; later bound again", _lay_unbind, _unbind, _bind_again,
        Opcode.UNBIND, changes="context",
    ),
    HostAction("quiesce", "QUIESCE, FENCE; later RUN", _lay_quiesce, _tell, _run_again, Opcode.QUIESCE),
)  # fmt: skip
_REGISTERS = (
    HostAction(
        "format_change", "disable, wait until idle, another format, enable", _nothing, _switch_off, _change_format,
        register=DeviceEventKind.ENABLE,
    ),
    HostAction(
        "fault_get", "the host takes a record of a ring that is full, or nearly", _nothing, _take_record, _nothing,
        register=DeviceEventKind.FAULT_GET, needs_fault=True,
    ),
    HostAction(
        "soft_reset", "a soft reset; then another page, and everything set up anew", _nothing, _reset, _start_again,
        register=DeviceEventKind.SOFT_RESET,
    ),
    HostAction(
        "command_tail", "the command tail moves over a FENCE", _lay_fence, _tell, _wait_value,
        register=DeviceEventKind.COMMAND_TAIL,
    ),
)  # fmt: skip

HOST_ACTIONS: dict[str, HostAction] = {action.name: action for action in (*_COMMANDS, *_REGISTERS)}
"""By name."""

NEVER_MEET: dict[tuple[str, str], str] = {
    ("soft_reset", "grant"): "from its first cycle on a soft reset lets no answer out of the device",
}
"""Action and event that the contract keeps out of one cycle, and why. Then the event is shown in the cycle before."""
