# SPDX-License-Identifier: Apache-2.0
"""I7, I12 and I13: every fault is answered, once, in time, and only when what it asked for is there."""

from __future__ import annotations

from models.arrays import PAGE_BYTES
from models.host_events import (
    AnswerIgnored,
    AnswerKind,
    AnswerSubmitted,
    ContextForgotten,
    FaultAnswered,
    FaultDropped,
    FaultRecorded,
    FaultTaken,
    InvalidationStarted,
)
from models.invariants.state import NOTHING, Events, State, overlap, page_of
from models.structures import Access


def check_answer_after_commit(events: Events) -> list[str]:
    """I7: a fault is replayed only when its slot grants the access, unless an invalidation took it away again.

    A fault that ended with its context is nobody's promise any more: the device ignores an answer to it.
    """
    found = []
    state = State()
    taken: dict[int, FaultTaken] = {}
    excused: set[int] = set()
    dropped: set[int] = set()
    for event in events:
        state.follow(event)
        if isinstance(event, FaultTaken):
            taken[event.tag] = event
            excused.discard(event.tag)
            if event.tag in dropped or state.open_over(event.pasid, page_of(event.va), page_of(event.va) + PAGE_BYTES):
                excused.add(event.tag)
        elif isinstance(event, InvalidationStarted):
            excused |= {
                fault.tag
                for fault in taken.values()
                if state.spaces.get(fault.pasid) == event.space
                and overlap(event, page_of(fault.va), page_of(fault.va) + PAGE_BYTES)
            }
        elif isinstance(event, FaultRecorded):
            dropped.discard(event.tag)
        elif isinstance(event, FaultDropped):
            dropped.add(event.tag)
            excused.add(event.tag)
        elif isinstance(event, ContextForgotten):
            excused |= {fault.tag for fault in taken.values() if fault.pasid == event.pasid}
        elif isinstance(event, AnswerSubmitted):
            fault_taken = taken.pop(event.tag, None)
            if fault_taken is None or event.kind is not AnswerKind.REPLAY or event.tag in excused:
                continue
            slot = state.slots.get((fault_taken.pasid, page_of(fault_taken.va)), NOTHING)
            needs_write = fault_taken.access in (Access.WRITE, Access.ATOMIC)
            if not slot.valid or (needs_write and not slot.write):
                found.append(
                    f"I7: the fault {event.tag:#x} at {fault_taken.va:#x} was replayed before its slot grants access"
                )
    return found


def check_no_hasty_cancel(events: Events, deadline: int) -> list[str]:
    """I12: a fault that the CPU could serve all the time is not cancelled before `deadline` cycles."""
    found = []
    state = State()
    taken: dict[int, FaultTaken] = {}
    excused: set[int] = set()
    for event in events:
        state.follow(event)
        if isinstance(event, FaultTaken):
            taken[event.tag] = event
            excused.discard(event.tag)
            if not event.cpu_permits or state.open_over(event.pasid, page_of(event.va), page_of(event.va) + PAGE_BYTES):
                excused.add(event.tag)
        elif isinstance(event, InvalidationStarted):
            excused |= {
                fault.tag
                for fault in taken.values()
                if state.spaces.get(fault.pasid) == event.space
                and overlap(event, page_of(fault.va), page_of(fault.va) + PAGE_BYTES)
            }
        elif isinstance(event, AnswerSubmitted):
            fault_taken = taken.pop(event.tag, None)
            if fault_taken is None or event.kind is not AnswerKind.CANCEL or event.tag in excused:
                continue
            waited = event.cycle - fault_taken.cycle
            if event.cpu_permits and waited < deadline:
                found.append(
                    f"I12: the fault {event.tag:#x} at {fault_taken.va:#x} was cancelled after {waited} of {deadline} "
                    "cycles although the CPU permits the access"
                )
    return found


def check_one_answer(events: Events, *, finished: bool = True) -> list[str]:
    """I13: every recorded fault that expects an answer gets exactly one; `finished`: none may be open at the end.

    An answer that the device ignored is allowed only for a fault that a REPLAY_ALL had answered, or that was dropped.
    """
    found = []
    waiting: dict[int, FaultRecorded] = {}
    answers: dict[int, int] = {}
    dropped: set[int] = set()
    submitted: dict[int, int] = {}
    for event in events:
        match event:
            case FaultRecorded():
                answers.pop(event.tag, None)
                submitted.pop(event.tag, None)
                dropped.discard(event.tag)
                if event.answer_expected:
                    waiting[event.tag] = event
            case AnswerSubmitted():
                submitted[event.tag] = submitted.get(event.tag, 0) + 1
                if submitted[event.tag] > 1:
                    found.append(f"I13: the fault {event.tag:#x} was answered {submitted[event.tag]} times")
            case FaultAnswered():
                answers[event.tag] = answers.get(event.tag, 0) + 1
                if waiting.pop(event.tag, None) is None:
                    found.append(f"I13: an answer took effect for {event.tag:#x}, which did not wait for one")
            case FaultDropped():
                waiting.pop(event.tag, None)
                dropped.add(event.tag)
            case AnswerIgnored():
                if event.tag not in answers and event.tag not in dropped:
                    found.append(f"I13: an answer to {event.tag:#x}, which is no fault, was submitted")
    if finished:
        found += [f"I13: the fault {tag:#x} at {fault.va:#x} got no answer" for tag, fault in waiting.items()]
    return found
