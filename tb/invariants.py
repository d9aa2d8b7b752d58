# SPDX-License-Identifier: Apache-2.0
"""The invariants on a run of a driver with the RTL: over the journal of the host, and over the device's event log.

The device writes no journal. What its part would tell stands in the event log, cycle by cycle; the journal has the
cycle of each event of the host. Cases without a driver are judged by tb/scoreboard.py. Source: docs/invariants.md.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from models.host_events import ContextBound, Journal
from models.invariants import check_all
from models.memory_events import SpaceReleased
from models.pages import Window
from models.structures import Opcode
from tb.grant_log import overtaken_grants
from tb.granted import wrong_grants
from tb.records import EventKind, Events


@dataclass(frozen=True)
class RtlRun:
    """What a run of a driver with the RTL left: the host's journal, the device's log EVENT_DTYPE[n]; and the pfns of
    the device's own memory.
    """

    journal: Journal
    log: Events
    window: Window

    @cached_property
    def wrong_grants(self) -> list[str]:
        """See tb.granted.wrong_grants()."""
        return wrong_grants(self.journal, self.log, self.window)


LogCheck = Callable[[RtlRun], list[str]]


def check_stale_grants_of_log(run: RtlRun) -> list[str]:
    """I1: no grant goes on after an invalidation of its page was answered, nor is given then."""
    return [line for line in run.wrong_grants if line.startswith("I1:")]


def check_permissions_of_log(run: RtlRun) -> list[str]:
    """I5: no client is granted writing where its slot granted only reading."""
    return [line for line in run.wrong_grants if line.startswith("I5:")]


def check_foreign_grants_of_log(run: RtlRun) -> list[str]:
    """I20: no client is granted a page that no slot of its own context granted."""
    return [line for line in run.wrong_grants if line.startswith("I20:")]


def check_fences_of_log(run: RtlRun) -> list[str]:
    """I14: see tb.grant_log.overtaken_grants()."""
    return overtaken_grants(run.log)


def check_answers_of_log(run: RtlRun) -> list[str]:
    """I13: each tag gets at most one answer of its own; one line for each that got more."""
    log = run.log
    resumes = log["va"][(log["kind"] == EventKind.COMMAND) & (log["code"] == Opcode.RESUME)]
    tags, counts = np.unique(resumes, return_counts=True)
    more = counts > 1
    return [
        f"I13: the fault {int(tag):#x} was answered {count} times"
        for tag, count in zip(tags[more], counts[more], strict=True)
    ]


def check_release_of_log(run: RtlRun) -> list[str]:
    """I18: after the release of an address space its contexts are given no translation, until they are bound again."""
    found = []
    spaces: dict[int, int] = {}
    released: dict[int, int] = {}
    given = run.log[run.log["kind"] == EventKind.TRANSLATION]

    def look(pasid: int, first: int, last: float) -> None:
        late = given[(given["pasid"] == pasid) & (given["cycle"] > first) & (given["cycle"] < last)]
        if late.size:
            found.append(
                f"I18: {int(late['va'][0]):#x} of PASID {pasid} was translated in cycle {int(late['cycle'][0])}, after "
                f"the release in cycle {first}"
            )

    for event, cycle in zip(run.journal.events, run.journal.times, strict=True):
        if isinstance(event, ContextBound):
            if event.pasid in released:
                look(event.pasid, released.pop(event.pasid), cycle)
            spaces[event.pasid] = event.space
        elif isinstance(event, SpaceReleased):
            for pasid, space in spaces.items():
                if space == event.space:
                    released.setdefault(pasid, cycle)
    for pasid, cycle in released.items():
        look(pasid, cycle, np.inf)
    return found


LOG_CHECKS: dict[str, LogCheck] = {
    "I1": check_stale_grants_of_log,
    "I5": check_permissions_of_log,
    "I13": check_answers_of_log,
    "I14": check_fences_of_log,
    "I18": check_release_of_log,
    "I20": check_foreign_grants_of_log,
}
"""What the event log tells, by the invariant's name."""


def check_run(run: RtlRun, *, deadline: int, finished: bool = True, promises: bool = True) -> list[str]:
    """Everything that breaks an invariant in a run of a driver with the RTL. See models.invariants.RunFacts."""
    found = check_all(run.journal.events, deadline=deadline, finished=finished, device=False, promises=promises)
    return found + [line for check in LOG_CHECKS.values() for line in check(run)]
