# SPDX-License-Identifier: Apache-2.0
"""Checks of a result without a model: each is seen failing on a right result with one thing made wrong."""

from __future__ import annotations

import re
from collections.abc import Callable

import numpy as np
import pytest

from models.structures import Access
from tb.case import Case, CaseResult
from tb.failure import INVARIANTS, Failure, failure_line, rerun_command
from tb.host_script import SLVERR, When
from tb.records import EventKind
from tb.scoreboard import check_case
from tb.tests.fake_device import Behaviour, run_fake
from tb.tests.scoreboard_cases import PASID, Small

Change = Callable[[CaseResult], None]


def busy_case() -> Case:
    """Requests, an invalidation and two fences, a malformed command, reads that expect something."""
    small = Small.new()
    script = small.builder.script
    for page in range(6):
        small.ask(page, Access.WRITE if page % 2 else Access.READ, hold=3 * page)
    small.ask(6, Access.PREFETCH)
    word = small.builder.fence_word()
    script.invalidate(PASID, 0, 0xFFF)
    script.fence(address=word, value=77)
    script.invalidate(PASID, 5, 4)
    script.wait_memory(word, 77)
    script.read_memory(word, expect=77)
    small.fence(2)
    small.ask(2, after=len(script))
    return small.builder.build()


def names_of(case: Case, result: CaseResult) -> list[str]:
    """Broken invariants, in the order of the lines."""
    return [re.search(r"\| ([A-Z0-9]+): ", line).group(1) for line in check_case(case, result).lines]  # type: ignore[union-attr]


def rows(result: CaseResult, kind: EventKind) -> np.ndarray:
    """Places of the events of a kind."""
    return np.flatnonzero(result.events["kind"] == kind)


def drop_event(kind: EventKind) -> Change:
    """Takes the first event of a kind out of the log."""

    def change(result: CaseResult) -> None:
        result.events = np.delete(result.events, rows(result, kind)[0])

    return change


def repeat_event(kind: EventKind) -> Change:
    """Has the first event of a kind twice."""

    def change(result: CaseResult) -> None:
        place = rows(result, kind)[0]
        result.events = np.insert(result.events, place, result.events[place])

    return change


def set_event(kind: EventKind, field: str, value: int) -> Change:
    """Changes a field of the first event of a kind."""

    def change(result: CaseResult) -> None:
        result.events[field][rows(result, kind)[0]] = value

    return change


def set_response(row: int, field: str, value: int) -> Change:
    """Changes a field of a response."""

    def change(result: CaseResult) -> None:
        result.responses[field][row] = value

    return change


def set_field(**fields: object) -> Change:
    """Changes attributes of the result."""

    def change(result: CaseResult) -> None:
        vars(result).update(fields)

    return change


def set_counter(name: str) -> Change:
    """A counter that is off by one."""

    def change(result: CaseResult) -> None:
        result.counters[name] += 1

    return change


def set_action(kind_index: int, field: str, value: int) -> Change:
    """Changes the result of an action counted from the end."""

    def change(result: CaseResult) -> None:
        result.action_results[field][kind_index] = value

    return change


def early_release(result: CaseResult) -> None:
    """A grant that ended before its hold was over, also in the log."""
    place = rows(result, EventKind.GRANT_END)
    row = 5
    cycle = result.responses["release_cycle"][row] - 1
    event = place[result.events["cycle"][place] == result.responses["release_cycle"][row]][0]
    result.events["cycle"][event] = cycle
    result.responses["release_cycle"][row] = cycle
    result.events = result.events[np.argsort(result.events["cycle"], kind="stable")]


def other_id(result: CaseResult) -> None:
    """A request that took the id of the one before it, also in the log."""
    old, new = int(result.responses["id"][5]), int(result.responses["id"][4])
    accept = int(result.responses["accept_cycle"][5])
    mine = (result.events["id"] == old) & (result.events["cycle"] > accept)
    mine &= np.isin(result.events["kind"], [EventKind.TRANSLATION, EventKind.GRANT_END])
    result.events["id"][np.flatnonzero(mine)[:2]] = new
    result.responses["id"][5] = new


def test_records_right_result_passes() -> None:
    """
    Stimulus: A case with requests, commands, fences and reads on a right device.
    Checking: No failure.
    Covers: RECORD-PASS
    """
    case = busy_case()
    assert names_of(case, run_fake(case)) == []


@pytest.mark.parametrize(
    ("change", "invariant"),
    [
        (set_response(3, "done", 0), "I13"),
        (set_response(3, "done", 3), "I13"),
        (drop_event(EventKind.TRANSLATION), "I13"),
        (repeat_event(EventKind.TRANSLATION), "I13"),
        (repeat_event(EventKind.GRANT_END), "I13"),
        (set_event(EventKind.TRANSLATION, "va", 1), "LOG"),
        (set_event(EventKind.TRANSLATION, "pasid", 7), "LOG"),
        (set_event(EventKind.TRANSLATION, "code", 2), "LOG"),
        (set_event(EventKind.TRANSLATION, "extra", 1), "LOG"),
        (set_event(EventKind.GRANT_END, "id", 3), "LOG"),
        (set_event(EventKind.ACTION, "code", 9), "LOG"),
        (drop_event(EventKind.ACTION), "LOG"),
        (set_response(3, "finish_cycle", 0), "LOG"),
        (early_release, "LOG"),
        (other_id, "IDS"),
        (drop_event(EventKind.INVALIDATION), "LOG"),
        (drop_event(EventKind.COMMAND), "COMMANDS"),
        (set_event(EventKind.COMMAND, "va", 8), "COMMANDS"),
        (set_event(EventKind.COMMAND, "reason", 1), "COMMANDS"),
        (set_event(EventKind.COMMAND, "extra", 1), "COMMANDS"),
        (set_event(EventKind.COMMAND, "code", 2), "COMMANDS"),
        (repeat_event(EventKind.FENCE), "FENCES"),
        (drop_event(EventKind.FENCE), "FENCES"),
        (set_event(EventKind.FENCE, "extra", 2), "FENCES"),
        (set_counter("COUNTER_REQUESTS"), "LOG"),
        (set_counter("COUNTER_ABORTED"), "LOG"),
        (set_counter("COUNTER_INVALIDATIONS"), "I15"),
        (set_counter("COUNTER_FENCES"), "LOG"),
        (set_field(owner_violations=2, owner_violation="read at 0x40"), "OWNER"),
        (set_field(assertion_failures=1, assertion_failure="ReqStable"), "ASSERTION"),
        (set_field(stalled=True, dump="nobody\n moves"), "I12"),
        (set_action(-1, "done", 0), "I12"),
        (set_action(-1, "status", 2), "HOST"),
    ],
)
def test_records_one_thing_wrong_is_found(change: Change, invariant: str) -> None:
    """
    Stimulus: A right result with one thing made wrong.
    Checking: The invariant is among those that are named.
    Covers: RECORD-WRONG
    """
    case = busy_case()
    result = run_fake(case)
    change(result)
    assert invariant in names_of(case, result)


@pytest.mark.parametrize(
    ("hits", "shared", "walks", "right"), [(3, 2, 0, True), (0, 0, 9, True), (4, 2, 9, False), (1, 1, 2, False)]
)
def test_records_sources_of_translations(hits: int, shared: int, walks: int, right: bool) -> None:
    """
    Stimulus: Five translations; counters of hits of both levels and of walks that account for them, that tell of more
    hits than there were translations, and that leave some without a source.
    Checking: LOG exactly where they do not account for them; no LOG where a counter was not read.
    Covers: RECORD-WRONG, COUNTERS
    """
    small = Small.new()
    for page in range(5):
        small.ask(page)
    case = small.builder.build()
    result = run_fake(case)
    counts = {"COUNTER_HITS": hits, "COUNTER_SHARED_HITS": shared, "COUNTER_WALKS": walks}
    result.counters |= counts
    assert names_of(case, result) == ([] if right else ["LOG"])
    del result.counters["COUNTER_WALKS"]
    assert names_of(case, result) == []


def test_records_lost_request_and_skipped_command() -> None:
    """
    Stimulus: A device that never answers a request, and one that does not take a command.
    Checking: I13, COMMANDS.
    Covers: RECORD-WRONG
    """
    case = busy_case()
    assert "I13" in names_of(case, run_fake(case, Behaviour(loses_request=4)))
    assert "COMMANDS" in names_of(case, run_fake(case, Behaviour(skips_command=2)))


def test_records_command_that_is_never_taken() -> None:
    """
    Stimulus: The last command's event is missing, and nothing follows it.
    Checking: COMMANDS; nothing if the case says that commands may remain.
    Covers: RECORD-COMMAND
    """
    small = Small.new()
    small.builder.script.bind(PASID)
    case = small.builder.build()
    result = run_fake(case)
    assert names_of(case, result) == []
    drop_event(EventKind.COMMAND)(result)
    result.counters = {}
    assert names_of(case, result) == ["COMMANDS"]
    case.parameters["commands_may_remain"] = True
    assert names_of(case, result) == []


def test_records_host_expectations() -> None:
    """
    Stimulus: Reads that expect a value, under a mask, and a bus error; results that are right and wrong.
    Checking: HOST for each wrong one, and for a bus error that did not come.
    Covers: RECORD-HOST
    """
    small = Small.new()
    script = small.builder.script
    begin = len(script)
    script.read_register(0x3F8, status=SLVERR)
    script.read_register(0x0, expect=0x12_34, mask=0xFF_00)
    script.read_register(0x0, When(delay=3))
    case = small.builder.build()
    result = run_fake(case)
    results = result.action_results
    results["status"][begin] = SLVERR
    results["data"][begin + 1] = 0x12_99
    assert names_of(case, result) == []
    results["data"][begin + 1] = 0x13_34
    assert names_of(case, result) == ["HOST"]
    results["data"][begin + 1] = 0x12_34
    results["status"][begin] = 0
    assert names_of(case, result) == ["HOST"]


def test_records_of_another_size_are_refused() -> None:
    """
    Stimulus: A result with fewer rows than the case.
    Checking: LOG, and the verdict is not a pass.
    Covers: RECORD-SIZE
    """
    case = busy_case()
    result = run_fake(case)
    result.responses = result.responses[:-1]
    verdict = check_case(case, result)
    assert not verdict.passed
    assert verdict.checked == 0
    assert "LOG" in names_of(case, result)


def test_failure_line_and_rerun_command() -> None:
    """
    Stimulus: A failure with and without a cycle, of a named case and of a saved one.
    Checking: One line with text, cycle, invariant, meaning, seed and the command that runs it again with waves.
    Covers: FAIL-LINE
    """
    case = busy_case()
    line = failure_line(case, Failure("I6", "asked A,\n came B, expected C", 5000))
    assert line.startswith("small | asked A, came B, expected C | cycle 5000 | I6: ERROR, SPECIAL")
    assert line.endswith("| seed 7 | rerun: python -m sim run small --seed 7 --build checked --waves --waves-from 4800")
    assert rerun_command(case, 10, "/a b") == "python -m sim run '/a b' --build checked --waves"
    assert "cycle" not in failure_line(case, Failure("LOG", "x")).split("rerun")[0].split("LOG")[0]
    with pytest.raises(ValueError, match="I99"):
        Failure("I99", "x")
    assert all(text.endswith(".") for text in INVARIANTS.values())
