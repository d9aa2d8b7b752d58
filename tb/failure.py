# SPDX-License-Identifier: Apache-2.0
"""Failures of a case: which invariant was broken, and one line that says everything and how to see it again."""

from __future__ import annotations

import shlex
from dataclasses import dataclass

from tb.case import Case

NO_CYCLE = -1
WAVES_BEFORE = 200
"""Cycles before a failure from which a rerun records waves."""

INVARIANTS: dict[str, str] = {
    "I1": "No stale translation: once a fence is complete, no translation of what was invalidated before it is in use.",
    "I5": "Permissions only shrink on the way: the device never grants what the entry does not.",
    "I6": "ERROR, SPECIAL and NONE never become a usable translation, whatever bits their values have.",
    "I10": "Index arithmetic: entry i of an array is page i after its first address, and so is its pfn inside a block.",
    "I11": "Orders are clipped: one translation covers only what entry, promise and span of the array all allow.",
    "I12": "Progress: everything that was asked for is done in bounded time.",
    "I13": "One answer: every request is answered exactly once.",
    "I14": "A fence is complete only when every grant that was open when it was taken has been released.",
    "I15": "Any invalidation is harmless: of holes, twice, in part, of everything: it is taken and counted once.",
    "I20": "Isolation: one address space never sees or changes translations of another.",
    "ANSWER": "An answer says what the tables say, in every field.",
    "REASON": "The reason is the first that applies in the order of the contract.",
    "IDS": "An id of a port is busy from request to release, or to a response without a grant, and used once at once.",
    "DATA": "A client's load brings what the last access left, and data move only under the grant and as asked.",
    "COMMANDS": "Commands are taken once each, in ring order, as they were written; malformed ones are skipped.",
    "FENCES": "Fences complete in the order in which they were taken, and all of them complete.",
    "RECORDS": "A fault record is published in order: its write response, then FAULT_PUT, then the interrupt.",
    "LOG": "The event log, the counters and the records of requests tell the same story.",
    "HOST": "What the host reads and how the bus answers it is what the case expects.",
    "OWNER": "The device uses only tables, rings and fence values, each as meant, and data only under a grant.",
    "BAR": "A measured figure keeps its bar (docs/performance.md).",
    "FIGURE": "A measured figure is not worse than the one that is recorded (docs/performance.md).",
    "ASSERTION": "No assertion of the device or of a protocol checker fails.",
}
"""What is checked, by name, each in a sentence."""


@dataclass(frozen=True)
class Failure:
    """One broken invariant: its name, what was asked, what came and what was expected, and when (NO_CYCLE: unknown)."""

    invariant: str
    text: str
    cycle: int = NO_CYCLE

    def __post_init__(self) -> None:
        if self.invariant not in INVARIANTS:
            raise ValueError(f"invariant {self.invariant} is not in the table")


def rerun_command(case: Case, cycle: int = NO_CYCLE, target: str | None = None) -> str:
    """The command line that runs the case again, with waves from shortly before `cycle`.

    `target`: the directory of the saved case; None: its name with its seed, if nothing else decides what it is.
    """
    words = ["python", "-m", "sim", "run"]
    words += [case.name, "--seed", str(case.seed)] if target is None else [target]
    words += ["--build", "checked", "--waves"]
    if cycle > WAVES_BEFORE:
        words += ["--waves-from", str(cycle - WAVES_BEFORE)]
    return shlex.join(words)


def failure_line(case: Case, failure: Failure, target: str | None = None) -> str:
    """Everything about a failure in one line."""
    cycle = "" if failure.cycle == NO_CYCLE else f" | cycle {failure.cycle}"
    meaning = INVARIANTS[failure.invariant]
    return " ".join(
        f"{case.name} | {failure.text}{cycle} | {failure.invariant}: {meaning} | seed {case.seed} | rerun: "
        f"{rerun_command(case, failure.cycle, target)}".split()
    )
