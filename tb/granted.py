# SPDX-License-Identifier: Apache-2.0
"""Every grant of the event log against what the slots allowed, and when: the journal has the cycle of each event.

A page may be used from the commit that stored its entry on, until an invalidation of it is answered or its context is
forgotten: by then every grant of it must have been released. Source: docs/invariants.md, I1, I5 and I20.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import inf

import numpy as np

from models.arrays import PAGE_SHIFT
from models.host_events import (
    CommitBegun,
    ContextBound,
    ContextForgotten,
    InvalidationAnswered,
    InvalidationStarted,
    Journal,
    SlotChanged,
)
from models.pages import Window
from models.structures import Access
from tb.grant_log import NEVER, grants_in
from tb.records import Events

WRITE_SHIFT, MEMORY_SHIFT = 8, 10
"""Where the event log's `extra` has them."""

Key = tuple[int, int]
"""PASID and virtual page number."""


@dataclass
class Allowed:
    """A page that a slot granted, in cycles `begin` to `end`."""

    pfn: int
    write: bool
    begin: int
    end: float = inf


def allowed_pages(journal: Journal) -> dict[Key, list[Allowed]]:
    """For each page of each context what its slot granted, in order of time."""
    history: dict[Key, list[Allowed]] = {}
    live: dict[Key, list[Allowed]] = {}
    spaces: dict[int, int] = {}
    started: dict[int, InvalidationStarted] = {}
    commits: dict[int, int] = {}

    def end(keys: list[Key], cycle: int) -> None:
        for key in keys:
            for entry in live.pop(key, []):
                entry.end = cycle

    for event, cycle in zip(journal.events, journal.times, strict=True):
        match event:
            case ContextBound():
                spaces[event.pasid] = event.space
            case CommitBegun():
                commits[event.pasid] = cycle
            case SlotChanged() if event.new.valid:
                key = event.pasid, event.va >> PAGE_SHIFT
                entry = Allowed(event.new.pfn, event.new.write, commits.get(event.pasid, cycle))
                history.setdefault(key, []).append(entry)
                live.setdefault(key, []).append(entry)
            case InvalidationStarted():
                started[event.number] = event
            case InvalidationAnswered():
                update = started.pop(event.number)
                first, last = update.start >> PAGE_SHIFT, (update.end - 1) >> PAGE_SHIFT
                mine = {pasid for pasid, space in spaces.items() if space == update.space}
                if (last - first + 1) * len(mine) < len(live):
                    end([(pasid, page) for pasid in mine for page in range(first, last + 1)], cycle)
                else:
                    end([key for key in live if key[0] in mine and first <= key[1] <= last], cycle)
            case ContextForgotten():
                end([key for key in live if key[0] == event.pasid], cycle)
            case _:
                pass
    return history


def wrong_grants(journal: Journal, log: Events, window: Window) -> list[str]:
    """One line for each grant that no slot allowed.

    I1 if a slot did at another time, I5 if it allowed only reading, I20 if no slot of that context ever had the page.
    """
    history = allowed_pages(journal)
    grants = grants_in(log)
    rows = grants.rows
    extra = rows["extra"]
    pfn = (rows["pa"] >> np.uint64(PAGE_SHIFT)).astype(np.int64)
    pfn += np.where((extra >> np.uint64(MEMORY_SHIFT)) & np.uint64(1), window.base, 0)
    write = ((extra >> np.uint64(WRITE_SHIFT)) & np.uint64(1)) != 0
    write |= np.isin(rows["code"], [Access.WRITE, Access.ATOMIC])
    columns = (rows["pasid"], rows["va"] >> np.uint64(PAGE_SHIFT), pfn, write, grants.given, grants.ended)
    found = []
    for pasid, page, has, writes, given, ended in zip(*(column.tolist() for column in columns), strict=True):
        slots = [entry for entry in history.get((pasid, page), []) if entry.pfn == has]
        fitting = [entry for entry in slots if entry.write or not writes]
        last = given if ended == NEVER else ended
        if any(entry.begin <= given and last <= entry.end for entry in fitting):
            continue
        place = f"pfn {has:#x} at {page << PAGE_SHIFT:#x} of PASID {pasid}"
        until = "the end" if ended == NEVER else str(ended)
        name, why = "I20", "which no slot of that context granted"
        if fitting:
            name, why = "I1", "after its invalidation was answered"
        elif slots:
            name, why = "I5", "for writing, which its slot did not grant"
        found.append(f"{name}: {place} was in use in cycles {given} to {until}, {why}")
    return found
