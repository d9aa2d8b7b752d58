# SPDX-License-Identifier: Apache-2.0
"""One cell of the matrix: a case with one action and one event, whose distance is a number."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from models.fault_records import replay_all_command, resume_command
from models.structures import Access, Opcode, pack_command
from tb.case import Case, CaseResult, MemorySettings
from tb.host_script import FIRST_PORT, When
from tb.races.actions import HOST_ACTIONS, Aim, HostAction
from tb.races.events import DEVICE_EVENTS, DeviceEvent, reads_of
from tb.records import EventKind
from tb.scenarios.race_world import ABSENT, HOT, MISSING, NEXT, RaceWorld, line_of

GAP_CYCLES = 60
"""Between the end of what comes before and the event's request: an action may be that much earlier."""
LATER_CYCLES = 40
TOGETHER = 1
"""The headstart with which an answer and the action are told together: then the action comes in the cycle in which the
walk of the replay starts."""
PLACES_LOG2 = 4
INDEX_MASK = (1 << 32) - 1
"""Of a command's row, what of `extra` is its index."""
GET_PLACES_LOG2 = {"record_write": 1, "put": 1, "interrupt": 1, "bus_error": PLACES_LOG2}
"""With fault_get the ring is full, but for events whose records need a place although nothing was taken yet."""


@dataclass(frozen=True)
class Timing:
    """When things happen: the idle cycles before the event's request, the cycle in which a replay is asked for, the
    cycle in which the action's step begins, and the tag of the fault that waits."""

    pause: int = 0
    answer_cycle: int = 0
    action_cycle: int = 0
    tag: int = 0


@dataclass(frozen=True)
class Cell:
    """A case of one action and one event. `request`, `step`, `answer`: indices of what Timing is about; `command`:
    of the action's command, if it is one, in the ring."""

    action: HostAction
    event: DeviceEvent
    world: RaceWorld
    aim: Aim
    case: Case
    request: int
    step: int
    command: int
    answer: int | None

    def at(self, timing: Timing) -> Case:
        """The case with these times; the cell must have been built with the same tag."""
        requests, actions = self.case.requests.copy(), self.case.actions.copy()
        requests["pause"][self.request] = timing.pause
        actions["not_before"][self.step] = timing.action_cycle
        if self.answer is not None:
            actions["not_before"][self.answer] = timing.answer_cycle
        return replace(self.case, requests=requests, actions=actions)

    def effect(self, result: CaseResult) -> int | None:
        """The cycle in which the action took effect, None if it did not."""
        start = int(result.action_results["start_cycle"][self.step])
        if self.action.register is not None:
            rows = result.device_events[result.device_events["kind"] == self.action.register]
        else:
            rows = result.events[result.events["kind"] == EventKind.COMMAND]
            rows = rows[(rows["extra"] & np.uint64(INDEX_MASK)) == self.command]
            assert (rows["code"] == self.action.opcode).all(), "the ring has another command in this place"
        later = rows["cycle"][rows["cycle"] > start]
        return int(later[0]) if later.size else None

    def marks(self, result: CaseResult) -> list[list[int]]:
        """For each mark of the event the cycles in which it happened, from the request on."""
        begin = self.begin(result)
        return [[cycle for cycle in mark if cycle >= begin] for mark in self.event.marks(result, self.world, self.aim)]

    @property
    def can_be_stale(self) -> bool:
        """Whether the walk may hold something that the action changes."""
        if self.action.changes not in self.event.stale:
            return False
        # An answer changes the page of the fault that waits, unless that was repaired before.
        return not self.action.needs_fault or (self.aim.page == MISSING and not self.event.repaired)

    def changed_reads(self, result: CaseResult, until: int) -> list[int]:
        """The cycles, up to one, in which reads of what the action changes were taken by the bus."""
        world, changes = self.world, self.action.changes
        lines = world.slot_lines(self.aim.page) if changes == "slot" else (line_of(world.context_address()),)
        return [cycle for cycle in reads_of(result, lines)[0] if self.begin(result) <= cycle <= until]

    def begin(self, result: CaseResult) -> int:
        """The cycle from which on the event may happen: everything before is over."""
        return int(result.action_results["done_cycle"][self.step - 1 if self.answer is None else self.answer - 1])


def stale_meeting(cell: Cell, result: CaseResult) -> bool:
    """Whether the action met a mark in its cycle, and the walk had read what the action changed before the change."""
    effect = cell.effect(result)
    if effect is None or not any(effect in mark for mark in cell.marks(result)):
        return False
    reads = cell.changed_reads(result, effect)
    return bool(reads) and reads[-1] < int(result.action_results["start_cycle"][cell.step])


def build_cell(
    action_name: str, event_name: str, seed: int, settings: MemorySettings, tag: int, *, headstart: int = 0
) -> Cell:
    """The cell, at no times yet. `tag`: of the fault that waits beforehand, 0 as long as it is not known.

    `headstart`: commands without an effect before that of the action, which by this is executed later than its line
    comes. With one of them the answer of an event that needs one is told together with the action: they come in a row.
    """
    action, event = HOST_ACTIONS[action_name], DEVICE_EVENTS[event_name]
    fault = event.fault or action.needs_fault
    fault_log2 = GET_PLACES_LOG2.get(event_name, 0) if action_name == "fault_get" else PLACES_LOG2
    world = RaceWorld(f"race-{action_name}-{event_name}", seed, settings, fault_log2=fault_log2)
    page = event.page_under_fault if fault else event.page
    aim = Aim(page, tag, event.faults)
    if fault:
        world.ask_and_wait_recorded(MISSING, 1)
        if event.repaired:
            world.repair(MISSING, everywhere=True)
    if event.warm:
        world.ask_and_wait(page, event.warm)
    if event.replay:
        world.add_command(resume_command(tag, cancel=False))
    answer = None
    if event.replay:
        # The walk of the PREFETCH ends with a read; between that and the replay comes one that ends without, so that a
        # command, which needs a read of its own, can be executed when the replay begins.
        request = world.ask(HOT, access=Access.PREFETCH)
        world.ask_out_of_range()
        if headstart != TOGETHER:
            answer = world.tell() - 1
    else:
        request = world.ask(page, hold=event.hold)
    if action.opcode is not None:
        for _ in range(headstart):
            world.add_command(pack_command(opcode=Opcode.RUN))
    command = world.script.tail
    action.prepare(world, aim)
    step = len(world.script)
    action.fire(world, aim, When())
    action.finish(world, aim)
    _end(world, page)
    return Cell(action, event, world, aim, world.builder.build(), request, step, command, answer)


def _end(world: RaceWorld, page: int) -> None:
    """The event once more, behind the action; whatever waits is answered; everything is asked for once more."""
    world.settle()
    for _ in range(2):
        world.ask(page)
        world.settle()
    world.repair(MISSING)
    world.repair(ABSENT)
    for _ in range(2):
        world.settle(LATER_CYCLES)
        world.add_command(replay_all_command())
        world.tell()
    world.settle(LATER_CYCLES)
    for page in (HOT, NEXT, MISSING, ABSENT):
        world.ask(page)


def first_timing(cell: Cell, result: CaseResult) -> Timing:
    """From a run with no times: when the request comes, so that the action can come before."""
    start = cell.begin(result) + GAP_CYCLES
    earlier = np.flatnonzero(cell.case.requests["client"][: cell.request] == FIRST_PORT)
    before = int(result.responses["accept_cycle"][earlier[-1]]) if earlier.size else 0
    records = result.events[result.events["kind"] == EventKind.FAULT_RECORD]
    tag = int(records["extra"][0]) if records.size and (cell.event.fault or cell.action.needs_fault) else 0
    return Timing(
        pause=start - before - 1,
        answer_cycle=start,
        action_cycle=start + 6 * GAP_CYCLES,
        tag=tag,
    )


def distances(cell: Cell, result: CaseResult) -> list[int] | None:
    """For each mark the cycles from its nearest happening to the action's effect; None if one of the two is missing."""
    effect = cell.effect(result)
    marks = cell.marks(result)
    if effect is None or any(not mark for mark in marks):
        return None
    return [min((effect - cycle for cycle in mark), key=abs) for mark in marks]
