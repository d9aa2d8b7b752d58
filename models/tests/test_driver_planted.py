# SPDX-License-Identifier: Apache-2.0
"""Drivers with one mistake each: the race scenario must find every one, by the rule that it breaks, in its words."""

from __future__ import annotations

import re
from collections.abc import Callable
from contextlib import suppress

import pytest

from models.driver import Driver, DriverOptions
from models.golden_device import GoldenSettings
from models.host_events import AnswerKind
from models.host_scheduler import StuckError
from models.invariants import (
    Events,
    check_answer_after_commit,
    check_fresh_commit,
    check_isolation,
    check_no_hasty_cancel,
    check_no_install_in_window,
    check_no_page_no_grant,
    check_no_stale_access,
    check_one_answer,
    check_permissions,
)
from models.structures import Access
from models.tests.closed_loop import ClosedLoop
from models.tests.planted_drivers import (
    AnswersBeforeCommit,
    CancelsOnRace,
    ClearsOtherContext,
    CommitsUnchecked,
    CommitsWithoutLock,
    ForgetsNone,
    GrantsWriting,
    HandsLiveArrayToHmm,
    InvalidatesWithoutFence,
    ReplaysCancelled,
    WrongRangeEnd,
)
from models.tests.race_scenario import RaceSettings, run_race

DEADLINE = 20_000
SEEDS = 40
PAGE = r"0x[0-9a-f]+000"


def hasty(events: Events) -> list[str]:
    """The rule about cancels, with the driver's deadline."""
    return check_no_hasty_cancel(events, DEADLINE)


def answered_once(events: Events) -> list[str]:
    """The rule about answers, in a run that may have been broken off."""
    return check_one_answer(events, finished=False)


PLANTED: list[tuple[type[Driver], Callable[[Events], list[str]], str]] = [
    (
        CommitsUnchecked,
        check_fresh_commit,
        rf"I3: \[{PAGE}, {PAGE}\) of PASID \d was committed although it was invalidated since it was asked for",
    ),
    (
        AnswersBeforeCommit,
        check_answer_after_commit,
        r"I7: the fault 0x[0-9a-f]+ at 0x[0-9a-f]+ was replayed before its slot grants access",
    ),
    (
        InvalidatesWithoutFence,
        check_no_stale_access,
        r"I1: the device used 0x[0-9a-f]+ of PASID \d under a grant from before an invalidation that was answered",
    ),
    (
        WrongRangeEnd,
        check_no_stale_access,
        rf"I1: the slot of {PAGE} of PASID \d still grants access after the invalidation of \[{PAGE}, {PAGE}\)",
    ),
    (
        ForgetsNone,
        check_no_stale_access,
        rf"I1: the slot of {PAGE} of PASID \d still grants access after the invalidation of \[{PAGE}, {PAGE}\)",
    ),
    (ReplaysCancelled, answered_once, r"I13: the fault 0x[0-9a-f]+ was answered 2 times"),
    (
        CommitsWithoutLock,
        check_no_install_in_window,
        rf"I2: the slot of {PAGE} of PASID \d was filled inside the invalidation of \[{PAGE}, {PAGE}\)",
    ),
    (GrantsWriting, check_permissions, rf"I5: the slot of {PAGE} of PASID \d grants writing, the CPU may not write"),
    (
        HandsLiveArrayToHmm,
        check_no_page_no_grant,
        rf"I6: the slot of {PAGE} of PASID \d grants access, the CPU has no page there",
    ),
    (
        CancelsOnRace,
        hasty,
        r"I12: the fault 0x[0-9a-f]+ at 0x[0-9a-f]+ was cancelled after \d+ of 20000 cycles although the CPU permits",
    ),
    (
        ClearsOtherContext,
        check_isolation,
        rf"I20: the slot of {PAGE} of PASID \d lost its page without an invalidation of its own address space",
    ),
]


@pytest.mark.parametrize(("driver", "check", "message"), PLANTED, ids=[planted[0].__name__ for planted in PLANTED])
def test_driver_planted_mistake_is_found(
    driver: type[Driver], check: Callable[[Events], list[str]], message: str
) -> None:
    """Each mistake is found by the rule it breaks, and the line says what happened.

    Stimulus: the race scenario with a driver that has one mistake, seeds from 0 on until it is found.
    Checking: a line of that rule, word by word, within 40 seeds; the same seed without the mistake is clean.
    Covers: PLANTED, I1, I2, I3, I5, I6, I7, I12, I13, I20.
    """
    for seed in range(SEEDS):
        lines = check(journal_of(driver, seed))
        if lines:
            assert re.match(message, lines[0]), lines[0]
            assert not check(journal_of(Driver, seed))
            return
    raise AssertionError(f"{driver.__name__} was not found with {SEEDS} seeds")


def journal_of(driver: type[Driver], seed: int) -> Events:
    """The events of one race, however it ended."""
    loop = ClosedLoop(
        seed=seed,
        driver=driver,
        options=DriverOptions(deadline=DEADLINE),
        settings=GoldenSettings(fault_ring_log2=2, fault_slots=8),
    )
    loop.scheduler.step_limit = 20_000
    settings = RaceSettings(clients=3, cpu_threads=2, accesses=10, disturbances=10, keeps=seed % 2 == 0)
    with suppress(StuckError, RuntimeError):
        run_race(loop, settings, seed, pasids=(1, 2))
    loop.scheduler.abandon()
    return loop.journal.events


def test_driver_planted_accesses_are_all_kinds() -> None:
    """The scenario that finds the mistakes is rich enough: all kinds of events and answers happen in it.

    Stimulus: the race scenario with the right driver, five seeds.
    Checking: every kind of event but dropped contexts and faults; replays and cancels; reads and writes.
    Covers: PLANTED.
    """
    events = [event for seed in range(5) for event in journal_of(Driver, seed)]
    names = {type(event).__name__ for event in events}
    assert names >= {
        "InvalidationStarted",
        "InvalidationAnswered",
        "InvalidationEnded",
        "RangeBegun",
        "CommitBegun",
        "SlotChanged",
        "FaultTaken",
        "AnswerSubmitted",
        "FaultAnswered",
        "Accessed",
    }
    assert {event.access for event in events if type(event).__name__ == "Accessed"} >= {Access.READ, Access.WRITE}  # type: ignore[union-attr]
    assert {event.kind for event in events if type(event).__name__ == "FaultAnswered"} == set(AnswerKind)  # type: ignore[union-attr]
