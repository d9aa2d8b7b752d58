# SPDX-License-Identifier: Apache-2.0
"""What happens in the device in a race, as data: how a case provokes it, and which rows of the logs it is.

An event has one mark or two: the cycles in which the action must meet it. Of a read of a walk these are the cycles in
which the address is taken and in which the data comes; of the end of a walk the data and the cycle behind.
"""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from tb.case import CaseResult
from tb.host_script import FIRST_PORT
from tb.races.actions import Aim
from tb.records import DeviceEventKind, EventKind
from tb.scenarios.race_world import ABSENT, BAD, HOT, MISSING, RaceWorld, line_of, page_va

HOLD = 30
"""Cycles of a grant that a race is about."""
SHORT_HOLD = 8
OTHER_PORT = FIRST_PORT + 1
CONTEXT, BOTH = frozenset({"context"}), frozenset({"context", "slot"})
Cycles = list[int]
Marks = Callable[[CaseResult, RaceWorld, Aim], list[Cycles]]
"""From a result, for each mark the cycles in which it happened."""


@dataclass(frozen=True)
class DeviceEvent:
    """One kind of event.

    `page`: what its request asks for, `page_under_fault`: if a fault waits on MISSING beforehand, because the action
    needs one or (`fault`) the event; `repaired`: that page is repaired then before the request comes. `warm`: the
    port that asks for the page beforehand, so that it is in that port's cache and in the second-level one; 0: none.
    `faults`: the page must fault whatever the action does. `replay`: the requests only keep walks busy; the event
    follows from an answer. `hold`: cycles of the request's grant. `stale`: what the walk has read by then; an action
    that changes it must meet the event also with what was read before the change.
    """

    name: str
    text: str
    marks: Marks
    page: int = HOT
    page_under_fault: int = MISSING
    repaired: bool = False
    fault: bool = False
    warm: int = 0
    replay: bool = False
    faults: bool = False
    hold: int = SHORT_HOLD
    stale: frozenset[str] = frozenset()


def _device_rows(kind: DeviceEventKind) -> Marks:
    def marks(result: CaseResult, world: RaceWorld, aim: Aim) -> list[Cycles]:
        del world, aim
        events = result.device_events
        return [events["cycle"][events["kind"] == kind].tolist()]

    return marks


def _log_rows(kind: EventKind, *, of_page: bool = False) -> Marks:
    def marks(result: CaseResult, world: RaceWorld, aim: Aim) -> list[Cycles]:
        del world
        events = result.events
        chosen = events["kind"] == kind
        if of_page:
            chosen &= events["va"] >> 12 == page_number(aim.page)
        return [events["cycle"][chosen].tolist()]

    return marks


def page_number(page: int) -> int:
    """The page of an event's va."""
    return page_va(page) >> 12


def reads_of(result: CaseResult, lines: tuple[int, ...], *, failed: bool = False) -> tuple[Cycles, Cycles]:
    """The cycles in which reads of these lines were taken by the bus, and in which their data came.

    Data of one id come in the order of its addresses, as AXI4 has it.
    """
    events = result.device_events
    kinds = (DeviceEventKind.BUS_READ, DeviceEventKind.BUS_READ_DATA)
    begun: dict[int, deque[tuple[int, bool]]] = defaultdict(deque)
    addresses: Cycles = []
    data: Cycles = []
    chosen = events[np.isin(events["kind"], kinds)]
    rows = (chosen[name].tolist() for name in ("cycle", "pa", "kind", "id", "reason"))
    for cycle, address, kind, reader, response in zip(*rows, strict=True):
        if kind == DeviceEventKind.BUS_READ:
            begun[reader].append((cycle, address in lines))
        elif begun[reader]:
            start, wanted = begun[reader].popleft()
            if wanted and (not failed or response):
                addresses.append(start)
                data.append(cycle)
    return addresses, data


def _shared_hit(result: CaseResult, world: RaceWorld, aim: Aim) -> list[Cycles]:
    """The second-level cache has the page; or had it, and an invalidation in that very cycle forbids to use it: then
    the request's walk starts in that cycle."""
    del world, aim
    events = result.device_events
    hits = events["cycle"][events["kind"] == DeviceEventKind.SHARED_HIT]
    starts = events["cycle"][events["kind"] == DeviceEventKind.WALK_START]
    invalidations = result.events["cycle"][result.events["kind"] == EventKind.INVALIDATION]
    return [np.union1d(hits, np.intersect1d(starts, invalidations)).tolist()]


def _context_read(result: CaseResult, world: RaceWorld, aim: Aim) -> list[Cycles]:
    del aim
    return list(reads_of(result, (line_of(world.context_address()),)))


def _directory_read(level: int) -> Marks:
    def marks(result: CaseResult, world: RaceWorld, aim: Aim) -> list[Cycles]:
        del aim
        return list(reads_of(result, world.directory_lines(level)))

    return marks


def _slot_read(result: CaseResult, world: RaceWorld, aim: Aim) -> list[Cycles]:
    return list(reads_of(result, world.slot_lines(aim.page)))


def _walk_end(result: CaseResult, world: RaceWorld, aim: Aim) -> list[Cycles]:
    """The data that would end the walk, and the cycle behind, in which they are decoded and used.

    An invalidation in one of them drops the walk, and it does not end.
    """
    return with_next(reads_of(result, world.slot_lines(aim.page))[1])


def _bus_error(result: CaseResult, world: RaceWorld, aim: Aim) -> list[Cycles]:
    return with_next(reads_of(result, world.slot_lines(aim.page), failed=True)[1])


def with_next(cycles: Cycles) -> list[Cycles]:
    """Two marks: these cycles, and each one's next."""
    return [cycles, [cycle + 1 for cycle in cycles]]


def _record_write(result: CaseResult, world: RaceWorld, aim: Aim) -> list[Cycles]:
    del aim
    events, ring = result.device_events, world.fault_ring_addresses
    chosen = (events["kind"] == DeviceEventKind.BUS_WRITE) & (events["pa"] >= line_of(ring.start))
    chosen &= events["pa"] < ring.stop
    return [events["cycle"][chosen].tolist()]


def _replay_walk(result: CaseResult, world: RaceWorld, aim: Aim) -> list[Cycles]:
    """The first walk that starts after a replay; one that ends in its first cycle reads nothing and is another's."""
    del world, aim
    events = result.device_events
    replays = events["cycle"][events["kind"] == DeviceEventKind.REPLAY].tolist()
    ended = set(events["cycle"][events["kind"] == DeviceEventKind.WALK_FAULT].tolist())
    starts = events["cycle"][events["kind"] == DeviceEventKind.WALK_START].tolist()
    starts = [start for start in starts if start + 1 not in ended]
    return [sorted({min(start for start in starts if start > replay) for replay in replays if replay < starts[-1]})]


_EVENTS = (
    DeviceEvent("lookup_hit", "a request finds its page in its port's cache", _device_rows(DeviceEventKind.LOOKUP_HIT),
                warm=FIRST_PORT, repaired=True),
    DeviceEvent("shared_hit", "a request finds its page in the second-level cache", _shared_hit,
                warm=OTHER_PORT, repaired=True),
    DeviceEvent("lookup_miss", "a request misses in its port's cache", _device_rows(DeviceEventKind.LOOKUP_MISS)),
    DeviceEvent("context_read", "the walk reads the context entry", _context_read, stale=CONTEXT),
    DeviceEvent("level3_read", "the walk reads the root directory", _directory_read(3), stale=CONTEXT),
    DeviceEvent("level2_read", "the walk reads the second directory", _directory_read(2), stale=CONTEXT),
    DeviceEvent("level1_read", "the walk reads the last directory", _directory_read(1), stale=CONTEXT),
    DeviceEvent("slot_read", "the walk reads the array", _slot_read, stale=BOTH),
    DeviceEvent("fill", "a walk ends with a translation, which goes into the cache", _walk_end,
                repaired=True, stale=BOTH),
    DeviceEvent("grant", "the answer, with which the grant begins", _log_rows(EventKind.TRANSLATION, of_page=True),
                repaired=True, warm=FIRST_PORT, hold=HOLD),
    DeviceEvent("release", "the client gives the grant back", _log_rows(EventKind.GRANT_END, of_page=True),
                repaired=True, hold=HOLD),
    DeviceEvent("bus_error", "a read of the walk fails", _bus_error, page=BAD, page_under_fault=BAD, stale=CONTEXT),
    DeviceEvent("fault", "a walk ends in a fault", _walk_end, page=ABSENT,
                page_under_fault=ABSENT, faults=True, stale=BOTH),
    DeviceEvent("merge", "a walk ends on the page of a fault that waits", _walk_end, page=MISSING,
                fault=True, faults=True, stale=BOTH),
    DeviceEvent("record_write", "a fault record goes to memory", _record_write, page=ABSENT,
                page_under_fault=ABSENT, faults=True),
    DeviceEvent("put", "FAULT_PUT counts the record", _device_rows(DeviceEventKind.FAULT_PUT), page=ABSENT,
                page_under_fault=ABSENT, faults=True),
    DeviceEvent("interrupt", "the interrupt line rises", _log_rows(EventKind.INTERRUPT), page=ABSENT,
                page_under_fault=ABSENT, faults=True),
    DeviceEvent("replay", "a fault that was answered walks again", _replay_walk, fault=True, repaired=True,
                replay=True),
)  # fmt: skip

DEVICE_EVENTS: dict[str, DeviceEvent] = {event.name: event for event in _EVENTS}
"""By name."""
