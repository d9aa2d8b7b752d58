# SPDX-License-Identifier: Apache-2.0
"""The rules between host and device as functions over a journal; each returns what broke it, one line each.

The names I1 ... I20 are those of docs/host.md, "The rules". All functions go once through the events.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from models.arrays import PAGE_BYTES
from models.host_events import (
    Accessed,
    AnswerIgnored,
    AnswerKind,
    AnswerSubmitted,
    CommitBegun,
    CommitEnded,
    ContextBound,
    ContextUnbound,
    FaultAnswered,
    FaultDropped,
    FaultRecorded,
    FaultTaken,
    HostEventRecord,
    InvalidationAnswered,
    InvalidationEnded,
    InvalidationStarted,
    Meaning,
    RangeBegun,
    SlotChanged,
)
from models.structures import Access

Events = Sequence[HostEventRecord]
NOTHING = Meaning(False)


@dataclass
class _State:
    """What is true at one place in the journal: whose contexts are bound, open invalidations, what slots grant."""

    spaces: dict[int, int] = field(default_factory=dict)
    open: dict[int, InvalidationStarted] = field(default_factory=dict)
    answered: set[int] = field(default_factory=set)
    slots: dict[tuple[int, int], Meaning] = field(default_factory=dict)

    def follow(self, event: HostEventRecord) -> None:
        """Take an event into account."""
        match event:
            case ContextBound():
                self.spaces[event.pasid] = event.space
            case ContextUnbound():
                self.slots = {key: slot for key, slot in self.slots.items() if key[0] != event.pasid}
            case InvalidationStarted():
                self.open[event.number] = event
            case InvalidationAnswered():
                self.answered.add(event.number)
            case InvalidationEnded():
                self.open.pop(event.number, None)
                self.answered.discard(event.number)
            case SlotChanged():
                self.slots[event.pasid, event.va] = event.new

    def open_over(self, pasid: int, start: int, end: int, *, answered: bool = False) -> list[InvalidationStarted]:
        """Open invalidations (or only those already answered) of the context's space that overlap [start, end)."""
        space = self.spaces.get(pasid)
        return [
            each
            for number, each in self.open.items()
            if each.space == space and _overlap(each, start, end) and (number in self.answered or not answered)
        ]

    def pages_in(self, space: int, start: int, end: int) -> list[tuple[int, int]]:
        """The (PASID, page) whose slots were ever used, of a space and range."""
        pasids = [pasid for pasid, owner in self.spaces.items() if owner == space]
        if (end - start) // PAGE_BYTES * len(pasids) < len(self.slots):
            pages = range(start // PAGE_BYTES * PAGE_BYTES, end, PAGE_BYTES)
            return [(pasid, va) for pasid in pasids for va in pages if (pasid, va) in self.slots]
        return [key for key in self.slots if key[0] in pasids and start <= key[1] < end]


def _overlap(invalidation: InvalidationStarted, start: int, end: int) -> bool:
    return invalidation.start < end and start < invalidation.end


def _page(va: int) -> int:
    return va // PAGE_BYTES * PAGE_BYTES


def check_no_stale_access(events: Events) -> list[str]:
    """I1: after an invalidation was answered, nothing that was granted before it is used for its range any more.

    Neither by the device at its memory port, nor does a slot in memory still grant it.
    """
    found = []
    state = _State()
    changes: dict[tuple[int, int], list[int]] = {}
    answered_at: dict[tuple[int, int], int] = {}
    for place, event in enumerate(events):
        state.follow(event)
        if isinstance(event, SlotChanged):
            changes.setdefault((event.pasid, event.va), []).append(place)
        elif isinstance(event, InvalidationAnswered):
            update = state.open[event.number]
            for key in state.pages_in(update.space, update.start, update.end):
                answered_at[key] = place
                if state.slots[key].valid:
                    found.append(
                        f"I1: the slot of {key[1]:#x} of PASID {key[0]} still grants access after the invalidation of "
                        f"[{update.start:#x}, {update.end:#x}) was answered"
                    )
        elif isinstance(event, Accessed):
            key = event.pasid, _page(event.va)
            before = bisect_left(changes.get(key, []), event.walked_at)
            if before == 0:
                found.append(f"I1: the device used {event.va:#x} of PASID {event.pasid}, which no slot ever granted")
            elif changes[key][before - 1] < answered_at.get(key, -1):
                found.append(
                    f"I1: the device used {event.va:#x} of PASID {event.pasid} under a grant from before an "
                    "invalidation that was answered"
                )
    return found


def check_no_install_in_window(events: Events) -> list[str]:
    """I2: between the answer to an invalidation and its end no slot of its range begins to grant anything."""
    found = []
    state = _State()
    for event in events:
        if isinstance(event, SlotChanged) and event.new.valid and not event.old.valid:
            over = state.open_over(event.pasid, event.va, event.va + PAGE_BYTES, answered=True)
            found += [
                f"I2: the slot of {event.va:#x} of PASID {event.pasid} was filled inside the invalidation of "
                f"[{update.start:#x}, {update.end:#x})"
                for update in over
            ]
        state.follow(event)
    return found


def check_fresh_commit(events: Events) -> list[str]:
    """I3: slots are filled only in a commit, and what is committed was asked for after every invalidation of it."""
    found = []
    state = _State()
    begun: dict[int, tuple[RangeBegun, bool]] = {}
    committing: list[CommitBegun] = []
    for event in events:
        if isinstance(event, RangeBegun):
            stale = bool(state.open_over(event.pasid, event.start, event.end))
            begun[event.pasid] = event, stale
        elif isinstance(event, InvalidationStarted):
            for pasid, (asked, _) in begun.items():
                if state.spaces.get(pasid) == event.space and _overlap(event, asked.start, asked.end):
                    begun[pasid] = asked, True
        elif isinstance(event, CommitBegun):
            committing.append(event)
            asked_and_stale = begun.get(event.pasid)
            if asked_and_stale is None or (asked_and_stale[0].start, asked_and_stale[0].end) != (
                event.start,
                event.end,
            ):
                found.append(f"I3: a commit of [{event.start:#x}, {event.end:#x}) that was not asked for")
            elif asked_and_stale[1]:
                found.append(
                    f"I3: [{event.start:#x}, {event.end:#x}) of PASID {event.pasid} was committed although it was "
                    "invalidated since it was asked for"
                )
        elif isinstance(event, CommitEnded):
            committing = [each for each in committing if each.pasid != event.pasid]
        elif isinstance(event, SlotChanged) and event.new.valid:
            inside = any(each.pasid == event.pasid and each.start <= event.va < each.end for each in committing)
            if not inside:
                found.append(f"I3: the slot of {event.va:#x} of PASID {event.pasid} was filled outside its commit")
        state.follow(event)
    return found


def check_permissions(events: Events) -> list[str]:
    """I5: what a slot grants is the CPU's own page, and writing only where the CPU may write, when it is filled."""
    found = []
    for event in events:
        if not isinstance(event, SlotChanged) or not event.new.valid or not event.cpu.mapped:
            continue
        slot = f"the slot of {event.va:#x} of PASID {event.pasid}"
        if event.new.pfn != event.cpu.pfn:
            found.append(f"I5: {slot} grants pfn {event.new.pfn:#x}, the CPU has {event.cpu.pfn:#x}")
        elif event.new.write and not event.cpu.writable:
            found.append(f"I5: {slot} grants writing, the CPU may not write")
    return found


def check_no_page_no_grant(events: Events) -> list[str]:
    """I6: where the CPU has no page (none, special, poison, moving) no slot is filled with one that grants anything."""
    return [
        f"I6: the slot of {event.va:#x} of PASID {event.pasid} grants access, the CPU has no page there"
        for event in events
        if isinstance(event, SlotChanged) and event.new.valid and not event.cpu.mapped
    ]


def check_no_hasty_cancel(events: Events, deadline: int) -> list[str]:
    """I12: a fault that the CPU could serve all the time is not cancelled before `deadline` cycles."""
    found = []
    state = _State()
    taken: dict[int, FaultTaken] = {}
    excused: set[int] = set()
    for event in events:
        state.follow(event)
        if isinstance(event, FaultTaken):
            taken[event.tag] = event
            excused.discard(event.tag)
            if not event.cpu_permits or state.open_over(event.pasid, _page(event.va), _page(event.va) + PAGE_BYTES):
                excused.add(event.tag)
        elif isinstance(event, InvalidationStarted):
            excused |= {
                fault.tag
                for fault in taken.values()
                if state.spaces.get(fault.pasid) == event.space
                and _overlap(event, _page(fault.va), _page(fault.va) + PAGE_BYTES)
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


def check_answer_after_commit(events: Events) -> list[str]:
    """I7: a fault is replayed only when its slot grants the access, unless an invalidation took it away again."""
    found = []
    state = _State()
    taken: dict[int, FaultTaken] = {}
    excused: set[int] = set()
    for event in events:
        state.follow(event)
        if isinstance(event, FaultTaken):
            taken[event.tag] = event
            excused.discard(event.tag)
            if state.open_over(event.pasid, _page(event.va), _page(event.va) + PAGE_BYTES):
                excused.add(event.tag)
        elif isinstance(event, InvalidationStarted):
            excused |= {
                fault.tag
                for fault in taken.values()
                if state.spaces.get(fault.pasid) == event.space
                and _overlap(event, _page(fault.va), _page(fault.va) + PAGE_BYTES)
            }
        elif isinstance(event, AnswerSubmitted):
            fault_taken = taken.pop(event.tag, None)
            if fault_taken is None or event.kind is not AnswerKind.REPLAY or event.tag in excused:
                continue
            slot = state.slots.get((fault_taken.pasid, _page(fault_taken.va)), NOTHING)
            needs_write = fault_taken.access in (Access.WRITE, Access.ATOMIC)
            if not slot.valid or (needs_write and not slot.write):
                found.append(
                    f"I7: the fault {event.tag:#x} at {fault_taken.va:#x} was replayed before its slot grants access"
                )
    return found


def check_isolation(events: Events) -> list[str]:
    """I20: what a slot grants is taken away only by an invalidation of its own space, and the device reaches only
    pages that slots of its own context grant.
    """
    found = []
    state = _State()
    places: dict[tuple[int, int], list[int]] = {}
    meanings: dict[tuple[int, int], list[Meaning]] = {}
    for place, event in enumerate(events):
        if isinstance(event, SlotChanged):
            less = event.old.valid and (not event.new.valid or event.old.pfn != event.new.pfn)
            if less and not state.open_over(event.pasid, event.va, event.va + PAGE_BYTES):
                found.append(
                    f"I20: the slot of {event.va:#x} of PASID {event.pasid} lost its page without an invalidation of "
                    "its own address space"
                )
            places.setdefault((event.pasid, event.va), []).append(place)
            meanings.setdefault((event.pasid, event.va), []).append(event.new)
        elif isinstance(event, Accessed):
            key = event.pasid, _page(event.va)
            before = bisect_left(places.get(key, []), event.walked_at)
            slot = meanings[key][before - 1] if before else NOTHING
            needs_write = event.access in (Access.WRITE, Access.ATOMIC)
            if not slot.valid or slot.pfn != event.pfn or (needs_write and not slot.write):
                found.append(
                    f"I20: PASID {event.pasid} used pfn {event.pfn:#x} at {event.va:#x}, which its slot did not grant"
                )
        state.follow(event)
    return found


def check_all(events: Events, *, deadline: int, finished: bool = True, promises: bool = True) -> list[str]:
    """Everything that any of the checks finds. `promises`: a replay says that the entry is there, so I7 is judged."""
    checks: list[Callable[[Events], list[str]]] = [
        check_no_stale_access,
        check_no_install_in_window,
        check_fresh_commit,
        check_permissions,
        check_no_page_no_grant,
        check_isolation,
    ]
    if promises:
        checks.append(check_answer_after_commit)
    found = [line for check in checks for line in check(events)]
    found += check_no_hasty_cancel(events, deadline)
    found += check_one_answer(events, finished=finished)
    return found
