# SPDX-License-Identifier: Apache-2.0
"""The twenty invariants by name: what each says, and the checks over a journal that look whether it holds.

A name that is not here is no invariant; docs/invariants.md has the same list, and a test compares the two.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import wraps

from models.invariants.answers import check_answer_after_commit, check_no_hasty_cancel, check_one_answer
from models.invariants.calls import (
    check_call_orders,
    check_call_places,
    check_call_success,
    check_error_means_failure,
    check_look_is_pure,
)
from models.invariants.fences import check_fence_waits, check_invalidation_harmless
from models.invariants.notifiers import check_read_waits, check_release, check_sequence_parity
from models.invariants.pages import (
    check_agreement,
    check_dirty,
    check_no_page_no_grant,
    check_permissions,
    check_slot_orders,
)
from models.invariants.state import Events
from models.invariants.translations import (
    check_fresh_commit,
    check_isolation,
    check_no_install_in_window,
    check_no_stale_access,
)


@dataclass(frozen=True)
class RunFacts:
    """What a journal does not tell. `deadline`: cycles that the driver gives a fault; `finished`: everything that began
    should have ended; `device`: the device wrote its part of the journal (the golden one does, the RTL has a log);
    `promises`: a replay says that the entry is there (models.driver.AnswerPolicy).
    """

    deadline: int
    finished: bool = True
    device: bool = True
    promises: bool = True


Check = Callable[[Events, RunFacts], list[str]]


@dataclass(frozen=True)
class Invariant:
    """`says`: one sentence. `checks`: over the journal; each returns one line for whatever breaks it."""

    name: str
    says: str
    checks: tuple[Check, ...]


def _plain(check: Callable[[Events], list[str]]) -> Check:
    """A check that needs nothing but the journal."""

    @wraps(check)
    def with_facts(events: Events, facts: RunFacts) -> list[str]:
        return check(events)

    return with_facts


@wraps(check_no_hasty_cancel)
def _hasty_cancel(events: Events, facts: RunFacts) -> list[str]:
    return check_no_hasty_cancel(events, facts.deadline)


@wraps(check_answer_after_commit)
def _promised(events: Events, facts: RunFacts) -> list[str]:
    return check_answer_after_commit(events) if facts.promises else []


@wraps(check_one_answer)
def _one_answer(events: Events, facts: RunFacts) -> list[str]:
    return check_one_answer(events, finished=facts.finished) if facts.device else []


@wraps(check_invalidation_harmless)
def _harmless(events: Events, facts: RunFacts) -> list[str]:
    return check_invalidation_harmless(events, finished=facts.finished)


INVARIANTS: dict[str, Invariant] = {
    invariant.name: invariant
    for invariant in (
        Invariant(
            "I1",
            "No stale translation: once an invalidation is answered, nothing that was granted before it is in use.",
            (_plain(check_no_stale_access),),
        ),
        Invariant(
            "I2",
            "No install in the window: while an invalidation is open, no slot of its range begins to grant anything.",
            (_plain(check_no_install_in_window),),
        ),
        Invariant(
            "I3",
            "Fresh commits: slots are filled by commits, only with what was not invalidated since it was asked for.",
            (_plain(check_fresh_commit),),
        ),
        Invariant(
            "I4",
            "Agreement: CPU and device have the same page at an address, or one of them has none.",
            (_plain(check_agreement),),
        ),
        Invariant(
            "I5",
            "Permissions only shrink on the way: the device may do no more than entry and CPU allow.",
            (_plain(check_permissions),),
        ),
        Invariant(
            "I6",
            "ERROR, SPECIAL and NONE never become a usable translation, whatever bits their values have.",
            (_plain(check_no_page_no_grant),),
        ),
        Invariant(
            "I7",
            "Success means success: a call, or a replay, succeeds only with everything there that was asked for.",
            (_promised, _plain(check_call_success)),
        ),
        Invariant(
            "I8",
            "ERROR only where a fault would fail.",
            (_plain(check_error_means_failure),),
        ),
        Invariant(
            "I9",
            "A look is pure: it changes no entry, tells no notifier and takes no fault.",
            (_plain(check_look_is_pure),),
        ),
        Invariant(
            "I10",
            "Index arithmetic: entry i of an array is page i after its first address, and so is its pfn in a block.",
            (_plain(check_call_places),),
        ),
        Invariant(
            "I11",
            "Orders are clipped: one translation covers only what entry, promise and span of the array all allow.",
            (_plain(check_call_orders), _plain(check_slot_orders)),
        ),
        Invariant(
            "I12",
            "Progress: everything that was asked for is done in bounded time, and nothing is given up before it.",
            (_hasty_cancel,),
        ),
        Invariant(
            "I13",
            "One answer: every request, and every fault, is answered exactly once.",
            (_one_answer,),
        ),
        Invariant(
            "I14",
            "A fence is complete only when every grant that was open when it was taken has been released, and what a "
            "walk read before the invalidation is not used.",
            (_plain(check_fence_waits),),
        ),
        Invariant(
            "I15",
            "Any invalidation is harmless: of holes, twice, in part, of everything; it takes nothing else away.",
            (_harmless,),
        ),
        Invariant(
            "I16",
            "Parity: a notifier's sequence is odd; that of the space is even just while nothing is being invalidated.",
            (_plain(check_sequence_parity),),
        ),
        Invariant(
            "I17",
            "Reading begins only when the range is not, or has not been all the time, under invalidation.",
            (_plain(check_read_waits),),
        ),
        Invariant(
            "I18",
            "After its release nothing of an address space remains on the device.",
            (_plain(check_release),),
        ),
        Invariant(
            "I19",
            "A page that the device could write is marked dirty before its entry is gone.",
            (_plain(check_dirty),),
        ),
        Invariant(
            "I20",
            "Isolation: one address space never sees or changes translations of another.",
            (_plain(check_isolation),),
        ),
    )
}
"""By name, in their order."""


def check_by_name(name: str, events: Events, facts: RunFacts) -> list[str]:
    """What breaks one invariant. Errors: KeyError if there is no such."""
    return [line for check in INVARIANTS[name].checks for line in check(events, facts)]


def check_all(
    events: Events, *, deadline: int, finished: bool = True, device: bool = True, promises: bool = True
) -> list[str]:
    """Everything that breaks any of them, by their order. See RunFacts."""
    facts = RunFacts(deadline, finished, device, promises)
    return [line for name in INVARIANTS for line in check_by_name(name, events, facts)]
