# SPDX-License-Identifier: Apache-2.0
"""Checks of a result that need no model: everything is answered once, ids, order of cycles, the log, what the host saw.

Vectorised over all requests and events of a case.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.arrays import Flags
from models.golden_mmu import STATUS_ABORTED, STATUS_OK
from models.registers import Register
from models.structures import Access
from tb.case import Case, CaseResult
from tb.commands import Commands
from tb.failure import Failure
from tb.host_script import OKAY
from tb.records import ActionKind, Done, EventKind
from tb.soft_resets import NEVER, answered, cut_off, last_end, unanswered

NAMED = 5
"""Rows that a failure names one by one."""
EVENT_WRITE_SHIFT = 8
"""Where an event's `extra` has the permissions, above the order; the memory is two bits further."""
MEMORY_SHIFT = 10
RESULT_ROWS = ("cycle", "kind", "client", "id", "code", "reason", "pasid", "va", "pa", "extra")


def check_records(case: Case, result: CaseResult, commands: Commands) -> list[Failure]:
    """All checks of this file. Rows of requests that are not complete are left to the first check."""
    if result.responses.size != case.requests.size or result.action_results.size != case.actions.size:
        return [Failure("LOG", "the result has not one row for each request and each action")]
    complete = answered(result.responses)
    failures = _check_end(case, result)
    # A case that was ended early has open requests, which says nothing more.
    if not failures:
        failures += _check_progress(case, result, commands, complete)
        failures += _check_counters(case, result, commands, complete)
    failures += _check_cycles(case, result, complete)
    failures += _check_ids(case, result, complete)
    failures += _check_log(case, result)
    failures += _check_grants(case, result, commands, complete)
    failures += _check_actions(case, result)
    return failures


def grants_of(case: Case, result: CaseResult, complete: Flags) -> Flags:
    """bool[n]: the complete requests that were given a grant."""
    granted: Flags = complete & (result.responses["status"] == STATUS_OK)
    granted &= case.requests["access"] != Access.PREFETCH
    return granted


def asked_text(case: Case, index: int) -> str:
    """A request in words."""
    request = case.requests[index]
    known = [access.value for access in Access]
    name = Access(int(request["access"])).name if int(request["access"]) in known else "unknown access"
    place = f"va {int(request['va']):#x}, pasid {int(request['pasid'])}"
    return f"request {index}: {name} of {place}, client {int(request['client'])}"


def _check_end(case: Case, result: CaseResult) -> list[Failure]:
    """What ends a case at once."""
    failures = []
    if result.owner_violations:
        text = f"{result.owner_violations} accesses to memory that is not for the device, first: "
        failures.append(Failure("OWNER", text + result.owner_violation, result.cycles))
    if result.assertion_failures:
        text = f"{result.assertion_failures} assertion failures, first: {result.assertion_failure}"
        failures.append(Failure("ASSERTION", text, result.cycles))
    if result.stalled:
        dump = "; ".join(line.strip() for line in result.dump.splitlines() if line.strip())
        failures.append(Failure("I12", f"nothing finished for {case.watchdog_cycles} cycles: {dump}", result.cycles))
    return failures


def _check_progress(case: Case, result: CaseResult, commands: Commands, complete: Flags) -> list[Failure]:
    failures = []
    open_requests = np.flatnonzero(~complete & ~unanswered(result.responses))
    for index in open_requests[:NAMED]:
        done = Done(int(result.responses["done"][index]))
        state = done.name or "never accepted"
        failures.append(Failure("I13", f"{asked_text(case, int(index))} is not complete: {state}", result.cycles))
    if open_requests.size > NAMED:
        failures.append(Failure("I13", f"{open_requests.size} requests are not complete", result.cycles))
    open_actions = np.flatnonzero(result.action_results["done"] == 0)
    if open_actions.size:
        action = int(open_actions[0])
        kind = ActionKind(int(case.actions["kind"][action])).name
        text = f"{open_actions.size} host actions are not complete, the first is action {action} ({kind})"
        failures.append(Failure("I12", text, result.cycles))
    if not open_actions.size:
        failures += [
            Failure("COMMANDS", f"{command.text()} was never taken", result.cycles)
            for command in commands.submitted
            if command.taken == NEVER and command.epoch == commands.last_epoch and not commands.is_forgotten(command)
            if not case.parameters.get("commands_may_remain", False)
        ][:NAMED]
        fences = [each for each in commands.fences if each.complete == NEVER and not commands.is_forgotten(each)]
        failures += [Failure("FENCES", f"{command.text()} was never complete", result.cycles) for command in fences]
    return failures


def _check_cycles(case: Case, result: CaseResult, complete: Flags) -> list[Failure]:
    responses = result.responses
    accept, finish, release = (responses[name] for name in ("accept_cycle", "finish_cycle", "release_cycle"))
    granted = grants_of(case, result, complete)
    wrong = complete & (finish <= accept)
    wrong |= granted & (release < finish + 1 + case.requests["hold"]) & ~cut_off(responses)
    failures = [
        Failure(
            "LOG",
            f"{asked_text(case, int(index))} has cycles out of order: accepted {int(accept[index])}, finished "
            f"{int(finish[index])}, released {int(release[index])}, hold {int(case.requests['hold'][index])}",
            int(finish[index]),
        )
        for index in np.flatnonzero(wrong)[:NAMED]
    ]
    failures += _check_data_cycles(case, result, granted)
    after = case.requests["after_action"].astype(np.int64)
    waits = complete & (after > 0) & (after <= case.actions.size)
    if waits.any():
        done_cycle = result.action_results["done_cycle"]
        early = np.flatnonzero(waits)[accept[waits] <= done_cycle[after[waits] - 1]]
        failures += [
            Failure("LOG", f"{asked_text(case, int(index))} came before its action", int(accept[index]))
            for index in early[:NAMED]
        ]
    return failures


def _check_data_cycles(case: Case, result: CaseResult, granted: Flags) -> list[Failure]:
    """Data move once, under the grant, and only where there is one."""
    finish, release, moved = (result.responses[name] for name in ("finish_cycle", "release_cycle", "data_cycle"))
    moves = granted & (case.requests["length"] != 0) & ~cut_off(result.responses)
    wrong = np.where(moves, (moved <= finish) | (moved > release), moved != 0)
    wrong &= answered(result.responses)
    return [
        Failure(
            "DATA",
            f"{asked_text(case, int(index))} moved {int(case.requests['length'][index])} bytes in cycle "
            f"{int(moved[index])}, finished in cycle {int(finish[index])}, released in cycle {int(release[index])}",
            int(moved[index]),
        )
        for index in np.flatnonzero(wrong)[:NAMED]
    ]


def _check_ids(case: Case, result: CaseResult, complete: Flags) -> list[Failure]:
    rows = np.flatnonzero(complete)
    responses = result.responses[rows]
    granted = grants_of(case, result, complete)[rows]
    end = np.where(granted, responses["release_cycle"], responses["finish_cycle"])
    client = case.requests["client"][rows]
    order = np.lexsort((responses["accept_cycle"], responses["id"], client))
    one, other, end, client = responses[order[:-1]], responses[order[1:]], end[order[:-1]], client[order]
    reused = (client[:-1] == client[1:]) & (one["id"] == other["id"]) & (other["accept_cycle"] <= end)
    return [
        Failure(
            "IDS",
            f"request {int(rows[order[place + 1]])} took id {int(other['id'][place])} of client {int(client[place])} "
            f"before request {int(rows[order[place]])} was through with it in cycle {int(end[place])}",
            int(other["accept_cycle"][place]),
        )
        for place in np.flatnonzero(reused)[:NAMED]
    ]


def _expected_rows(case: Case, result: CaseResult) -> NDArray[np.void]:
    """The rows of responses and releases that the event log must have, in no order.

    A case that was ended early has requests that are answered and not released yet.
    """
    finished = result.responses["done"] & Done.FINISHED != 0
    rows = np.flatnonzero(finished)
    requests, responses = case.requests[rows], result.responses[rows]
    answers = np.zeros(rows.size, dtype=result.events.dtype)
    answers["cycle"] = responses["finish_cycle"]
    aborted = responses["status"] == STATUS_ABORTED
    answers["kind"] = np.where(aborted, EventKind.FAULT, EventKind.TRANSLATION)
    answers["client"] = requests["client"]
    answers["id"] = responses["id"]
    answers["code"] = requests["access"]
    answers["pasid"] = requests["pasid"]
    answers["va"] = requests["va"]
    answers["reason"] = responses["reason"]
    answers["pa"] = responses["pa"]
    answers["extra"] = responses["order"].astype(np.uint64)
    answers["extra"] |= responses["permissions"].astype(np.uint64) << np.uint64(EVENT_WRITE_SHIFT)
    answers["extra"] |= responses["memory"].astype(np.uint64) << np.uint64(MEMORY_SHIFT)
    granted = grants_of(case, result, finished)[rows] & (responses["done"] & Done.RELEASED != 0) & ~cut_off(responses)
    releases = np.zeros(int(granted.sum()), dtype=result.events.dtype)
    releases["cycle"] = responses["release_cycle"][granted]
    releases["kind"] = EventKind.GRANT_END
    for name in ("client", "id", "code", "pasid", "va"):
        releases[name] = answers[name][granted]
    return np.concatenate([answers, releases])


def _check_log(case: Case, result: CaseResult) -> list[Failure]:
    events = result.events
    failures = []
    if (np.diff(events["cycle"].astype(np.int64)) < 0).any():
        failures.append(Failure("LOG", "the event log goes back in time"))
    chosen = np.isin(events["kind"], [EventKind.TRANSLATION, EventKind.FAULT, EventKind.GRANT_END])
    logged = events[chosen]
    expected = _expected_rows(case, result)
    if logged.size != expected.size:
        text = f"the event log has {logged.size} responses and releases, the records have {expected.size}"
        failures.append(Failure("I13", text))
        return failures
    logged, expected = _by_time(logged), _by_time(expected)
    differ = np.flatnonzero(logged != expected)
    for place in differ[:NAMED]:
        text = f"event log and records differ: logged {_row_text(logged[place])}, recorded {_row_text(expected[place])}"
        failures.append(Failure("LOG", text, int(logged["cycle"][place])))
    return failures


def _by_time(rows: NDArray[np.void]) -> NDArray[np.void]:
    ordered: NDArray[np.void] = rows[np.lexsort((rows["id"], rows["client"], rows["kind"], rows["cycle"]))]
    return ordered


def _row_text(row: Any) -> str:
    return " ".join(f"{name}={int(row[name]):#x}" for name in RESULT_ROWS)


def _check_grants(case: Case, result: CaseResult, commands: Commands, complete: Flags) -> list[Failure]:
    rows = np.flatnonzero(grants_of(case, result, complete))
    finish = result.responses["finish_cycle"][rows]
    release = result.responses["release_cycle"][rows]
    failures: list[Failure] = []
    for fence in commands.fences:
        if fence.complete == NEVER:
            continue
        for place in np.flatnonzero((finish <= fence.taken) & (release > fence.complete))[:1]:
            text = (
                f"{asked_text(case, int(rows[place]))} was given a grant in cycle {int(finish[place])}, the fence of "
            )
            text += f"{fence.text()} was taken in cycle {fence.taken} and complete in cycle {fence.complete}, the grant"
            failures.append(Failure("I14", f"{text} was released in cycle {int(release[place])}", int(fence.complete)))
    return failures[:NAMED]


def _check_actions(case: Case, result: CaseResult) -> list[Failure]:
    results = result.action_results
    done = results["done"] != 0
    status = np.zeros(case.actions.size, dtype=np.uint32)
    status[case.expectations["action"]] = case.expectations["status"]
    failures = [
        Failure(
            "HOST",
            f"{_action_text(case, int(index))} was answered with bus status {int(results['status'][index])}, expected "
            f"{int(status[index])}",
            int(results["done_cycle"][index]),
        )
        for index in np.flatnonzero(done & (results["status"] != status))[:NAMED]
    ]
    for expectation in case.expectations:
        index = int(expectation["action"])
        mask, value = int(expectation["mask"]), int(expectation["value"])
        came = int(results["data"][index])
        if done[index] and status[index] == OKAY and came & mask != value:
            text = f"{_action_text(case, index)} brought {came:#x}, expected {value:#x} under the mask {mask:#x}"
            failures.append(Failure("HOST", text, int(results["done_cycle"][index])))
    rows = result.events[result.events["kind"] == EventKind.ACTION]
    # Behind the case's own actions stand those that end every case: wait until the device is idle, read the counters.
    count = int(done.sum())
    logged = rows[:count]
    same = logged.size == count and bool((logged["code"] == case.actions["kind"][:count]).all())
    if not same or (logged["cycle"] != results["done_cycle"][:count]).any():
        failures.append(Failure("LOG", f"the event log does not tell of the {count} host actions that are complete"))
    return failures


def _action_text(case: Case, index: int) -> str:
    action = case.actions[index]
    kind = ActionKind(int(action["kind"]))
    place = f"{int(action['address']):#x}"
    if kind in (ActionKind.READ_REGISTER, ActionKind.WRITE_REGISTER) and int(action["address"]) in list(Register):
        place = Register(int(action["address"])).name
    return f"action {index}: {kind.name} of {place}"


def _check_counters(case: Case, result: CaseResult, commands: Commands, complete: Flags) -> list[Failure]:
    """The counters at the end: they count from the last soft reset on."""
    responses = result.responses
    if not (complete | unanswered(responses)).all():
        return []
    start = last_end(result.events)
    aborted = (responses["status"] == STATUS_ABORTED) & complete & (responses["finish_cycle"] >= start)
    expected = {
        Register.COUNTER_REQUESTS.name: int((responses["accept_cycle"] >= start).sum()),
        Register.COUNTER_ABORTED.name: int(aborted.sum()),
        Register.COUNTER_FENCES.name: sum(start <= each.complete < NEVER for each in commands.fences),
    }
    names = dict.fromkeys(expected, "LOG")
    # Whatever an invalidation covers, and however often it comes, it takes effect once.
    invalidations = Register.COUNTER_INVALIDATIONS.name
    expected[invalidations] = sum(each.forgets and each.taken >= start for each in commands.submitted)
    names[invalidations] = "I15"
    failures = [
        Failure(names[name], f"{name} reads {result.counters[name]}, expected {count}", result.cycles)
        for name, count in expected.items()
        if name in result.counters and result.counters[name] != count
    ]
    translated = (responses["status"] == STATUS_OK) & complete & (responses["finish_cycle"] >= start)
    return failures + _check_sources(result, int(translated.sum()))


def _check_sources(result: CaseResult, translated: int) -> list[Failure]:
    """Each of the `translated` requests was answered from a cache of either level or by a walk of its own."""
    sources = (Register.COUNTER_HITS, Register.COUNTER_SHARED_HITS, Register.COUNTER_WALKS)
    if not all(register.name in result.counters for register in sources):
        return []
    hits, shared, walks = (result.counters[register.name] for register in sources)
    if hits + shared <= translated <= hits + shared + walks:
        return []
    text = f"{translated} translations came from {hits} first-level hits, {shared} second-level hits, {walks} walks"
    return [Failure("LOG", text, result.cycles)]
