# SPDX-License-Identifier: Apache-2.0
"""Judges the result of a case: every answer against the golden model and the versions that the host's stores made.

Knows no simulator: what comes in are the arrays of a case and of its result.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.arrays import PAGE_SHIFT, Flags
from models.golden_mmu import PERMISSION_ATOMIC, PERMISSION_WRITE, STATUS_ABORTED, STATUS_OK, GoldenMmu, Outcomes
from models.physical_memory import OWNER_CLASS_MASK, Owner, PhysicalMemory
from models.structures import Access, Reason
from tb.bench.check import bench_figures
from tb.case import Case, CaseResult, fill_memory
from tb.commands import Command, Commands, follow_commands
from tb.data_checks import HOST_RANK, DataMemory, OtherAccess, replay_data
from tb.failure import Failure, failure_line
from tb.host_script import OKAY, WORD_BYTES
from tb.record_checks import asked_text, check_records, grants_of
from tb.records import ActionKind
from tb.soft_resets import answered, unanswered
from tb.switching import Switching, follow_switching
from tb.versions import AllowedAnswers, Answer, Asked, History, answer_at, protections

MOST_FAILURES = 20
"""Failures that a verdict keeps; all are counted."""
MOST_EXAMINED_FAILURES = 200
"""Wrong answers that are told one by one; more of them come only from a device that is quite broken."""
NEVER_USABLE = (Reason.NOT_PRESENT, Reason.POISON, Reason.SPECIAL)
OTHER_CONTEXTS = 1024
"""Contexts that a wrong translation is compared with, to tell a leak from a wrong address."""


@dataclass
class Verdict:
    """What was found. `lines`: one line for each failure that is kept; `mismatches` counts answers, `failures` all.

    `cut_off`: requests that a soft reset ended before they had an answer.
    `invariants`: the name of what each kept failure broke. `reasons`: answers by name of their reason, "OK" for
    translations. `figures`: what a case of the bench measures.
    """

    name: str
    seed: int
    format_name: str
    requests: int
    checked: int
    mismatches: int
    failures: int
    lines: list[str]
    reasons: dict[str, int]
    cycles: int
    event_hash: str
    counters: dict[str, int] = field(default_factory=dict)
    first_cycle: int = -1
    invariants: list[str] = field(default_factory=list)
    parameters: dict[str, Any] = field(default_factory=dict)
    cut_off: int = 0
    figures: dict[str, float] = field(default_factory=dict)

    @property
    def passed(self) -> bool:
        """Everything that was answered was checked, and nothing is wrong."""
        return self.failures == 0 and self.checked + self.cut_off == self.requests

    def as_data(self) -> dict[str, Any]:
        """For JSON."""
        return {**vars(self), "passed": self.passed}


def check_case(case: Case, result: CaseResult, target: str | None = None) -> Verdict:
    """Checks everything that can be checked of a result. `target`: see tb.failure.rerun_command."""
    commands = follow_commands(case, result)
    failures = commands.failures + check_records(case, result, commands)
    finished = np.zeros(0, dtype=np.intp)
    wrong: list[Failure] = []
    if result.responses.size == case.requests.size:
        finished = np.flatnonzero(answered(result.responses))
        wrong = _check_answers(case, result, commands, finished)
    failures += wrong + _check_data(case, result)
    # Of a case that went wrong, cycles say nothing.
    figures, below = bench_figures(case, result) if not failures else ({}, [])
    failures += below
    reasons = np.bincount(result.responses["reason"][finished], minlength=len(Reason)).tolist()
    return Verdict(
        name=case.name,
        seed=case.seed,
        format_name=case.entry_format.name,
        requests=int(case.requests.size),
        checked=int(finished.size),
        mismatches=len(wrong),
        failures=len(failures),
        lines=[failure_line(case, failure, target) for failure in failures[:MOST_FAILURES]],
        reasons={_reason_name(number): int(count) for number, count in enumerate(reasons) if count},
        cycles=result.cycles,
        event_hash=result.event_hash,
        counters=dict(result.counters),
        first_cycle=failures[0].cycle if failures else -1,
        invariants=[failure.invariant for failure in failures[:MOST_FAILURES]],
        parameters=case.parameters,
        cut_off=int(unanswered(result.responses).sum()),
        figures=figures,
    )


def _reason_name(number: int) -> str:
    known = [reason.value for reason in Reason]
    if number == Reason.NONE:
        return "OK"
    return Reason(number).name if number in known else f"reason {number}"


def _check_answers(case: Case, result: CaseResult, commands: Commands, rows: NDArray[np.intp]) -> list[Failure]:
    """Failures of the answers to the complete requests `rows`, in the order in which they came."""
    memory = PhysicalMemory(case.memory.size, case.memory.base)
    fill_memory(memory, case.image)
    switching = follow_switching(case, result)
    models = [
        GoldenMmu(memory, fmt, case.window, case.context_base, case.context_count, va_bits=case.va_bits)
        for fmt in switching.formats
    ]
    history = History(case, result, memory)
    rows = rows[np.argsort(result.responses["finish_cycle"][rows], kind="stable")]
    suspects = _unlike_memory_at_the_end(case, result, history, models, switching, memory, rows)
    ends = protections(case, result, commands.forgetting)
    allowed = [AllowedAnswers(golden, memory, history, ends) for golden in models]
    judge = _Judge(case, result, commands, allowed, models, switching)
    failures: list[Failure] = []
    # Where nothing was stored or invalidated, an answer unlike the tables is wrong: words for the first ones do.
    still = not history.stores and not commands.forgetting
    for number, row in enumerate(suspects.tolist()):
        if len(failures) >= (MOST_FAILURES if still else MOST_EXAMINED_FAILURES):
            rest = len(suspects) - number
            text = f"{rest} further answers differ from the tables at their time; they were not examined one by one"
            failures.extend([Failure("ANSWER", text)] * rest)
            break
        failures.extend(judge.failures_of(row))
    return failures


def _check_data(case: Case, result: CaseResult) -> list[Failure]:
    """Every byte that clients moved, and what the host loaded from pages of data."""
    if not case.request_data.size:
        return []
    memory = PhysicalMemory(case.memory.size, case.memory.base)
    fill_memory(memory, case.image)
    others = []
    done = (result.action_results["done"] != 0) & (result.action_results["status"] == OKAY)
    chosen = done & np.isin(case.actions["kind"], [ActionKind.WRITE_MEMORY, ActionKind.READ_MEMORY])
    for action, outcome in zip(case.actions[chosen], result.action_results[chosen], strict=True):
        address = int(action["address"])
        stores = int(action["kind"]) == ActionKind.WRITE_MEMORY
        # The device itself writes elsewhere, at times that nobody writes down.
        owner = int(memory.owners[(address - memory.base) // WORD_BYTES]) & OWNER_CLASS_MASK
        if owner == Owner.DATA or stores:
            data = (action if stores else outcome)["data"].tobytes()
            others.append(OtherAccess(int(outcome["start_cycle"]), HOST_RANK, address, data, stores))
    return replay_data(
        case.requests,
        result.responses,
        case.request_data,
        result.request_data,
        [DataMemory(memory.base, memory.buffer)],
        others,
    )


def _unlike_memory_at_the_end(
    case: Case,
    result: CaseResult,
    history: History,
    models: list[GoldenMmu],
    switching: Switching,
    memory: PhysicalMemory,
    rows: NDArray[np.intp],
) -> NDArray[np.intp]:
    """The rows (sorted by finish) whose answer is not what the tables say at its finish: wrong, or to be explained.

    Leaves the memory as the last store made it.
    """
    finish = result.responses["finish_cycle"][rows].astype(np.int64)
    store_cycles = np.array([cycle for cycle, _, _ in history.stores], dtype=np.int64)
    states = np.searchsorted(store_cycles, finish, side="right")
    epochs = np.searchsorted(np.array(switching.starts), finish, side="right") - 1
    suspects = []
    applied = 0
    for state, epoch in np.unique(np.stack([states, epochs]), axis=1).T.tolist():
        for _, address, word in history.stores[applied:state]:
            memory.write_words(address, [word])
        applied = state
        group = rows[(states == state) & (epochs == epoch)]
        requests = case.requests[group]
        outcomes = models[epoch].translate(requests["pasid"], requests["va"], requests["access"])
        suspects.append(group[~_equal(result.responses[group], outcomes)])
    return np.concatenate(suspects) if suspects else rows


def _equal(responses: NDArray[np.void], outcomes: Outcomes) -> Flags:
    equal: Flags = responses["status"] == outcomes.status
    equal &= responses["reason"] == outcomes.reason
    equal &= responses["pa"] == outcomes.pa
    equal &= responses["order"] == outcomes.order
    equal &= responses["permissions"] == outcomes.permissions
    equal &= responses["memory"] == outcomes.memory
    return equal


@dataclass(frozen=True)
class _Clip:
    """A translation that covers less than its entry says, because an invalidation passed by while it was made."""

    pasid: int
    va: int
    cycle: int


class _Judge:
    """Decides about answers one by one, in the order in which they came."""

    def __init__(
        self,
        case: Case,
        result: CaseResult,
        commands: Commands,
        allowed: list[AllowedAnswers],
        models: list[GoldenMmu],
        switching: Switching,
    ) -> None:
        self._case = case
        self._result = result
        self._dropping: list[Command] = commands.forgetting
        self._allowed = allowed
        self._models = models
        self._switching = switching
        self._granted = grants_of(case, result, answered(result.responses))
        self._clips: dict[tuple[int, int, int], _Clip] = {}

    def failures_of(self, row: int) -> list[Failure]:
        """What is wrong with one answer; empty if it is allowed after all."""
        asked, came = self._asked(row), self._came(row)
        if self._given_up(asked, came):
            return []
        smaller_allowed = self._may_be_smaller(asked, came)
        answers: list[Answer] = []
        for answer in self._allowed_at(asked).answers(asked):
            if answer == came:
                return []
            if answer._replace(order=came.order) == came and came.order < answer.order and smaller_allowed:
                page = asked.va >> PAGE_SHIFT >> came.order
                self._clips[asked.pasid, came.order, page] = _Clip(asked.pasid, asked.va, asked.finish)
                return []
            if answer not in answers:
                answers.append(answer)
        invariant = self._invariant(asked, came, answers)
        response = self._result.responses[row]
        expected = " or ".join(answer_text(answer) for answer in answers[:3]) or "no translation at all"
        text = f"{asked_text(self._case, row)}, id {int(response['id'])}, accepted in cycle {asked.accept}: came "
        text += f"{answer_text(came)}, expected {expected}"
        return [Failure(invariant, text, asked.finish)]

    def _asked(self, row: int) -> Asked:
        request, response = self._case.requests[row], self._result.responses[row]
        finish = int(response["finish_cycle"])
        return Asked(
            pasid=int(request["pasid"]),
            va=int(request["va"]),
            access=int(request["access"]),
            accept=int(response["accept_cycle"]),
            finish=finish,
            release=int(response["release_cycle"]) if self._granted[row] else finish,
        )

    def _came(self, row: int) -> Answer:
        response = self._result.responses[row]
        return Answer(*(int(response[name]) for name in Answer._fields))

    def _allowed_at(self, asked: Asked) -> AllowedAnswers:
        return self._allowed[self._switching.epoch(asked.finish)]

    def _given_up(self, asked: Asked, came: Answer) -> bool:
        """Whether it waited for the host, who switched translation off instead."""
        waits = asked.access != Access.PREFETCH and self._switching.off_within(asked.accept, asked.finish)
        return waits and came == Answer(STATUS_ABORTED, Reason.NO_CONTEXT, 0, 0, 0, 0)

    def _may_be_smaller(self, asked: Asked, came: Answer) -> bool:
        """Whether an invalidation of the context passed by, now or when the translation in use was made."""
        if came.status != STATUS_OK:
            return False
        if any(asked.accept <= each.taken <= asked.finish and each.concerns(asked.pasid) for each in self._dropping):
            return True
        clip = self._clips.get((asked.pasid, came.order, asked.va >> PAGE_SHIFT >> came.order))
        return clip is not None and not any(
            clip.cycle <= each.taken < asked.accept and each.covers(asked.pasid, asked.va) for each in self._dropping
        )

    def _invariant(self, asked: Asked, came: Answer, answers: list[Answer]) -> str:
        """The name of what is broken."""
        # An old translation may cover less than its entry said.
        allowed = [answer._replace(order=0) for answer in answers]
        if came._replace(order=0) not in allowed:
            old = self._allowed_at(asked).answers(asked, protected=False)
            if any(each._replace(order=min(each.order, came.order)) == came for each in old):
                return "I1"
        if came.status != STATUS_OK:
            return "REASON"
        translations = [answer for answer in answers if answer.status == STATUS_OK]
        if not translations:
            reasons = {answer.reason for answer in answers}
            if reasons & {Reason.WRITE_PROTECT, Reason.ATOMIC_DENIED}:
                return "I5"
            return "I6" if reasons & set(NEVER_USABLE) else self._wrong_address(asked, came)
        same_place = [each for each in translations if (each.pa, each.memory) == (came.pa, came.memory)]
        if not same_place:
            return self._wrong_address(asked, came)
        if all(came.permissions & ~each.permissions for each in same_place):
            return "I5"
        return "I11" if all(came.order != each.order for each in same_place) else "ANSWER"

    def _wrong_address(self, asked: Asked, came: Answer) -> str:
        others = [pasid for pasid in range(min(self._case.context_count, OTHER_CONTEXTS)) if pasid != asked.pasid]
        if others:
            outcomes = self._models[self._switching.epoch(asked.finish)].translate(others, asked.va, asked.access)
            leaked = _same_place(outcomes, came)
            if leaked:
                return "I20"
        return "I10"


def _same_place(outcomes: Outcomes, came: Answer) -> bool:
    answers: Iterable[Answer] = (answer_at(outcomes, index) for index in range(len(outcomes)))
    return any((each.status, each.pa, each.memory) == (STATUS_OK, came.pa, came.memory) for each in answers)


def answer_text(answer: Answer) -> str:
    """An answer in words."""
    if answer.status == STATUS_ABORTED and not (answer.pa or answer.order or answer.permissions or answer.memory):
        return f"ABORTED {_reason_name(answer.reason)}"
    write = "w" if answer.permissions & PERMISSION_WRITE else "-"
    atomic = "a" if answer.permissions & PERMISSION_ATOMIC else "-"
    memory = "device" if answer.memory else "system"
    name = "OK" if answer.status == STATUS_OK else f"ABORTED {_reason_name(answer.reason)} with"
    text = f"{name} pa {answer.pa:#x} of {memory} memory, order {answer.order}, permissions r{write}{atomic}"
    return text if answer.status != STATUS_OK or answer.reason == Reason.NONE else f"{text}, reason {answer.reason}"
