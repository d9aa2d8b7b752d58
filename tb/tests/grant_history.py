# SPDX-License-Identifier: Apache-2.0
"""When the device may use which page, from a driver's journal; and a judge of what clients were answered.

A page may be used from the commit that stores its entry on, until the first invalidation of it is answered: by then
every grant of it must have been released. Source: docs/host.md, "The rules" (I1, I3).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection
from dataclasses import dataclass
from math import inf

from models.arrays import PAGE_BYTES, PAGE_SHIFT
from models.host_events import (
    CommitBegun,
    ContextUnbound,
    InvalidationAnswered,
    InvalidationStarted,
    Journal,
    SlotChanged,
)
from models.pages import NO_WINDOW, Window
from models.structures import Access, Reason
from tb.records import Requests, Responses

ABORTS = (Reason.NOT_PRESENT, Reason.WRITE_PROTECT)


@dataclass
class Allowed:
    """A page of the host that an entry granted, in cycles `begin` to `end`."""

    pfn: int
    write: bool
    begin: float
    end: float = inf


def grant_history(journal: Journal, pasid: int) -> dict[int, list[Allowed]]:
    """For each virtual page number of a context what was allowed, in order of time."""
    history: dict[int, list[Allowed]] = defaultdict(list)
    started: dict[int, InvalidationStarted] = {}
    commit = 0

    def end(first: int, last: int, cycle: int) -> None:
        for page, entries in history.items():
            if first <= page <= last:
                for entry in entries:
                    entry.end = min(entry.end, cycle)

    for event, cycle in zip(journal.events, journal.times, strict=True):
        match event:
            case CommitBegun():
                commit = cycle
            case SlotChanged() if event.pasid == pasid and event.new.valid:
                history[event.va >> PAGE_SHIFT].append(Allowed(event.new.pfn, event.new.write, commit))
            case InvalidationStarted():
                started[event.number] = event
            case InvalidationAnswered():
                update = started[event.number]
                end(update.start >> PAGE_SHIFT, (update.end - 1) >> PAGE_SHIFT, cycle)
            case ContextUnbound() if event.pasid == pasid:
                end(0, 1 << 52, cycle)
            case _:
                pass
    return history


def judge(
    requests: Requests,
    responses: Responses,
    history: dict[int, list[Allowed]],
    window: Window = NO_WINDOW,
    aborts: Collection[Reason] = ABORTS,
) -> list[str]:
    """What is wrong with the answers, one line each. `window`: the pfns of the device's own memory. `aborts`: the
    reasons with which the driver may have let requests end.
    """
    return [
        line
        for place, (request, response) in enumerate(zip(requests, responses, strict=True))
        if (line := _judge_one(place, request, response, history, window, aborts))
    ]


def pfn_of(response: Responses, window: Window) -> int:
    """The kernel's pfn of the page that a translation leads to."""
    page = int(response["pa"]) >> PAGE_SHIFT
    return window.base + page if int(response["memory"]) else page


def _judge_one(
    place: int,
    request: Requests,
    response: Responses,
    history: dict[int, list[Allowed]],
    window: Window,
    aborts: Collection[Reason],
) -> str:
    va, access = int(request["va"]), Access(int(request["access"]))
    if int(response["status"]):
        reason = Reason(int(response["reason"]))
        if reason in aborts:
            return ""
        return f"request {place}: {access.name} {va:#x} came back ABORTED {reason.name}"
    pa, write = int(response["pa"]), bool(int(response["permissions"]) & 1)
    finish = int(response["finish_cycle"])
    last = finish if access is Access.PREFETCH else int(response["release_cycle"])
    allowed = history.get(va >> PAGE_SHIFT, [])
    for entry in allowed:
        if (
            entry.pfn == pfn_of(response, window)
            and entry.write == write
            and entry.begin <= finish
            and last <= entry.end
        ):
            break
    else:
        return (
            f"request {place}: {access.name} {va:#x} was granted {pa:#x} of memory {int(response['memory'])} "
            f"write {write} in cycles {finish} to {last}, allowed were {allowed}"
        )
    if pa % PAGE_BYTES != va % PAGE_BYTES or (access in (Access.WRITE, Access.ATOMIC) and not write):
        return f"request {place}: {access.name} {va:#x} was granted {pa:#x} write {write}"
    return ""
