# SPDX-License-Identifier: Apache-2.0
"""The cases of the bench by name: each brings the device into the state that a row of the table speaks of."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from models.arrays import PAGE_BYTES, PAGE_SHIFT
from models.errors import UserError
from tb.bench.fault_cases import hits_while_full, many_faults, replay
from tb.bench.plan import ARRAY_PAGES, IDLE_CYCLES, LEAF_SPAN, PASID, ROOT_SPAN, Plan, page_addresses
from tb.case import Case
from tb.host_script import LAST_ADDRESS, When

HIT_PAGES = 4
HITS = 600
"""Requests of each port."""
WALKS = 8
"""Walks that are measured one after the other."""
SLOTS_OF_LINE = 8
SEQUENTIAL_PAGES = 4096
RANDOM_SMALL = (64 << 20) >> PAGE_SHIFT
RANDOM_LARGE = (1 << 30) >> PAGE_SHIFT
RANDOM_CYCLES = 48_000
RANDOM_LEAST, RANDOM_MOST = 800, 6000
"""Requests of a random case: as many as a good device answers in RANDOM_CYCLES, within these bounds."""
WARM_PAGES = 32
ROUNDS = 4
"""How often each command is measured."""


def hits(seed: int, parameters: dict[str, Any], latency: int) -> Case:
    """Every port asks for pages that its first level holds, as fast as it can."""
    plan = Plan(seed, parameters, latency)
    pages = np.arange(min(HIT_PAGES, plan.device.of("TlbEntries", 1)))
    base = 5 * ROOT_SPAN
    plan.map_pages(base, ARRAY_PAGES)
    plan.builder.script.nop()
    for port in range(1, plan.ports + 1):
        plan.ask(page_addresses(base, np.repeat(pages, 2)), client=port)
    plan.wait_for_answers()
    chosen = page_addresses(base, np.resize(pages, HITS))
    first, end = plan.ask_all_ports([chosen] * plan.ports)
    return plan.build(rows=[first, end])


def _alone(plan: Plan) -> int:
    """The pause between requests that must each find the device idle."""
    return 8 * (plan.latency + 25) + IDLE_CYCLES


def cold_walk(seed: int, parameters: dict[str, Any], latency: int) -> Case:
    """Walks of four dependent reads, one at a time, each below another entry of the root; the context is cached."""
    plan = Plan(seed, parameters, latency)
    roots = np.arange(1, WALKS + 2) * ROOT_SPAN
    offsets = plan.rng.integers(ARRAY_PAGES, size=roots.size) * PAGE_BYTES
    for root, offset in zip(roots.tolist(), offsets.tolist(), strict=True):
        plan.map_pages(root + offset, 1)
    va = (roots + offsets).astype(np.uint64)
    plan.ask(va[:1])
    plan.wait_for_answers()
    first, end = plan.ask(va[1:], pause=_alone(plan))
    return plan.build(rows=[first, end])


def directory_cached(seed: int, parameters: dict[str, Any], latency: int) -> Case:
    """Misses in one array, each of another line, one at a time: only the slot has to be read."""
    plan = Plan(seed, parameters, latency)
    base = 7 * ROOT_SPAN
    plan.map_pages(base, ARRAY_PAGES)
    lines = plan.rng.permutation(ARRAY_PAGES // SLOTS_OF_LINE)[: WALKS + 1]
    va = page_addresses(base, lines * SLOTS_OF_LINE + plan.rng.integers(SLOTS_OF_LINE, size=lines.size))
    plan.ask(va[:1])
    plan.wait_for_answers()
    first, end = plan.ask(va[1:], pause=_alone(plan))
    return plan.build(rows=[first, end])


def sequential(seed: int, parameters: dict[str, Any], latency: int) -> Case:
    """One port asks for one page after the other, as fast as it can; nothing is cached but the context."""
    plan = Plan(seed, parameters, latency)
    base = 9 * ROOT_SPAN
    plan.map_pages(base, SEQUENTIAL_PAGES)
    plan.map_pages(3 * ROOT_SPAN, 1)
    plan.ask(page_addresses(3 * ROOT_SPAN, np.arange(1)))
    plan.wait_for_answers()
    first, end = plan.ask(page_addresses(base, np.arange(SEQUENTIAL_PAGES)))
    return plan.build(rows=[first, end])


def _random(seed: int, parameters: dict[str, Any], latency: int, pages: int) -> Case:
    plan = Plan(seed, parameters, latency)
    base = 11 * ROOT_SPAN
    plan.map_pages(base, pages)
    total = max(RANDOM_LEAST, min(RANDOM_MOST, RANDOM_CYCLES // (latency + 8)))
    each = -(-total // plan.ports)
    first, end = plan.ask_all_ports(
        [page_addresses(base, plan.rng.integers(pages, size=each)) for _ in range(plan.ports)]
    )
    return plan.build(rows=[first, end])


def random_64_mib(seed: int, parameters: dict[str, Any], latency: int) -> Case:
    """All ports ask for drawn pages of 64 MiB."""
    return _random(seed, parameters, latency, RANDOM_SMALL)


def random_1_gib(seed: int, parameters: dict[str, Any], latency: int) -> Case:
    """All ports ask for drawn pages of 1 GiB."""
    return _random(seed, parameters, latency, RANDOM_LARGE)


def _commands(seed: int, parameters: dict[str, Any], latency: int, kinds: list[Callable[[Plan, int], int]]) -> Case:
    """Each command with a fence behind it, told with one doorbell, on an idle device that has translations cached."""
    plan = Plan(seed, parameters, latency)
    base = 13 * ROOT_SPAN
    plan.map_pages(base, 2 * ARRAY_PAGES)
    doorbells, words = [], []
    for number in range(ROUNDS * len(kinds)):
        plan.ask(page_addresses(base, plan.rng.permutation(2 * ARRAY_PAGES)[:WARM_PAGES]))
        plan.wait_for_answers()
        word = plan.builder.fence_word()
        kinds[number % len(kinds)](plan, base)
        doorbells.append(plan.script.fence(address=word, value=number + 1) - 1)
        words.append(word)
        plan.script.wait_memory(word, number + 1)
        plan.script.wait_taken()
    return plan.build(doorbells=doorbells, words=words)


def _invalidate(first: int, size: int) -> Callable[[Plan, int], int]:
    return lambda plan, base: plan.script.invalidate(PASID, base + first, base + first + size - 1, tail=False)


def invalidate_page(seed: int, parameters: dict[str, Any], latency: int) -> Case:
    """INVALIDATE of one page and FENCE."""
    return _commands(seed, parameters, latency, [_invalidate(3 * PAGE_BYTES, PAGE_BYTES)])


def invalidate_range(seed: int, parameters: dict[str, Any], latency: int) -> Case:
    """INVALIDATE of ranges from some pages to everything, of a context, of every context; and FENCE."""
    kinds: list[Callable[[Plan, int], int]] = [
        _invalidate(5 * PAGE_BYTES, 100 * PAGE_BYTES),
        _invalidate(0, LEAF_SPAN),
        _invalidate(-ROOT_SPAN, 3 * ROOT_SPAN),
        lambda plan, base: plan.script.invalidate(PASID, 0, LAST_ADDRESS, tail=False),
        lambda plan, base: plan.script.invalidate(None, 0, LAST_ADDRESS, tail=False),
        lambda plan, base: plan.script.invalidate_context(PASID, tail=False),
        lambda plan, base: plan.script.invalidate_context(None, When(), tail=False),
    ]
    return _commands(seed, parameters, latency, kinds)


BENCH_CASES: dict[str, Callable[[int, dict[str, Any], int], Case]] = {
    "hits": hits,
    "cold_walk": cold_walk,
    "directory_cached": directory_cached,
    "sequential": sequential,
    "random_64_mib": random_64_mib,
    "random_1_gib": random_1_gib,
    "hits_while_full": hits_while_full,
    "invalidate_page": invalidate_page,
    "invalidate_range": invalidate_range,
    "many_faults": many_faults,
    "replay": replay,
}
"""In the order of the table of bars."""
LARGEST_LATENCY = 1000


def build_bench_case(seed: int, parameters: dict[str, Any]) -> Case:
    """A case of the bench. `parameters`: `case`, by default one that the seed chooses; `latency` L, 2 by default.

    Errors: UserError for a case or a latency that is not there.
    """
    names = list(BENCH_CASES)
    name = str(parameters.get("case", names[seed % len(names)]))
    if name not in BENCH_CASES:
        raise UserError(f"The bench has no case {name}; choose one of {', '.join(names)}.")
    latency = parameters.get("latency", 2)
    if not isinstance(latency, int) or not 0 <= latency <= LARGEST_LATENCY:
        raise UserError(f"Give the bench a latency from 0 to {LARGEST_LATENCY} cycles, not {latency}.")
    return BENCH_CASES[name](seed, {**parameters, "case": name, "latency": latency}, latency)
