# SPDX-License-Identifier: Apache-2.0
"""Random tables by seed: any format, any shape, shared and damaged directories, and a memory that is slow or fails.

Promises are always honest, because a dishonest driver may be answered anything; everything else may be wrong.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from models.arrays import LINE_BYTES, PAGE_BYTES, PAGE_SHIFT, WORD_BYTES, Words
from models.device_tables import largest_honest_max_order
from models.entries import encode
from models.errors import UserError
from models.formats import EntryFormat, load_formats
from models.geometry import DEFAULT_PA_BITS, span_bits
from models.pages import PageKind, Pages, Window
from models.structures import Access, DirectoryType, pack_directory_entry
from tb.case import Case, MemorySettings
from tb.host_script import make_requests
from tb.records import Requests
from tb.scenarios.builder import CaseBuilder, chosen_format

CONTEXTS = 12
BOUND = 8
ARRAYS = 24
REQUESTS = 3000
HOT_PLACES = 48
DAMAGES = 6
"""Most places that are damaged."""
VALID_RUNS = 8
"""Runs of VALID entries for one of each other kind."""
LARGEST_SLOTS_LOG2 = 12
OUTSIDE_MEMORY = 1 << 44


def random_memory(rng: np.random.Generator, *, fast: bool = False) -> MemorySettings:
    """Latencies and pauses of any size; `fast` keeps them small."""
    least, span = int(rng.integers(4)), int(rng.integers(3 if fast else 24))
    pauses = rng.integers(4 if fast else 13, size=5) * rng.integers(2, size=5)
    return MemorySettings(
        read_latency=(least, least + span),
        write_latency=(least, least + span),
        ar_pause=int(pauses[0]),
        r_pause=int(pauses[1]),
        aw_pause=int(pauses[2]),
        w_pause=int(pauses[3]),
        b_pause=int(pauses[4]),
    )


def random_words(fmt: EntryFormat, slots: int, slot_order: int, window: Window, rng: np.random.Generator) -> Words:
    """An array of runs: consecutive pfns with one order, pages of other kinds, and now and then any 64 bits at all."""
    words = np.zeros(slots, dtype=np.uint64)
    pfn_bits = min(fmt.pfn_width, DEFAULT_PA_BITS - PAGE_SHIFT)
    kinds = [PageKind.VALID] * VALID_RUNS + [PageKind.NONE, PageKind.NOT_VALID]
    if fmt.error_is_value or fmt.error:
        kinds.append(PageKind.ERROR)
    if fmt.special_is_value or fmt.special:
        kinds.append(PageKind.SPECIAL)
    done = 0
    while done < slots:
        count = min(slots - done, int(rng.choice([1, 2, 7, 8, 64, 512, 1 << 12])))
        kind = kinds[int(rng.integers(len(kinds)))]
        device = bool(rng.integers(8) == 0)
        align = int(rng.choice([slot_order, slot_order, 9, 12]))
        top = (1 << pfn_bits) - (count << slot_order)
        first = window.base + int(rng.integers(window.count)) if device else int(rng.integers(max(top, 1)))
        # Pages of a run lie where their slots do, so that orders mean something.
        first = (first >> align << align) + ((done << slot_order) & ((1 << align) - 1))
        pfn = (np.uint64(first) + (np.arange(count, dtype=np.uint64) << np.uint64(slot_order))) & np.uint64(
            (1 << pfn_bits) - 1
        )
        order = int(rng.integers(1 << min(fmt.order_width, 4))) if fmt.order_width else 0
        words[done : done + count] = encode(
            fmt,
            Pages.of(
                np.full(count, kind),
                pfn,
                write=bool(rng.integers(2)),
                device_private=device != bool(rng.integers(8) == 0),
                atomic=bool(rng.integers(2)),
                order=order,
            ),
        )
        done += count
    wild = rng.random(slots) < float(rng.choice([0.0, 0.02]))
    words[wild] = rng.integers(1 << 64, size=int(wild.sum()), dtype=np.uint64)
    return words


def random_tables(seed: int, parameters: dict[str, Any]) -> Case:
    """Random tables and requests. `format`: which format, else drawn; `requests`: how many."""
    rng = np.random.default_rng(seed)
    names = list(load_formats())
    fmt = chosen_format(str(parameters.get("format", names[int(rng.integers(len(names)))])))
    window = Window(int(rng.integers(1 << 30)), int(rng.integers(1, 1 << 14)))
    builder = CaseBuilder(
        "random_tables",
        seed,
        fmt,
        context_count=CONTEXTS,
        parameters=parameters,
        window=window,
        settings=random_memory(rng, fast=True),
    )
    places = build_random_tables(builder, rng)
    damage(builder, places, rng)
    requests = random_requests(places, int(parameters.get("requests", REQUESTS)), CONTEXTS, rng)
    builder.ask(builder.spread(requests, rng))
    return builder.build(format=fmt.name)


def build_random_tables(builder: CaseBuilder, rng: np.random.Generator) -> list[tuple[int, int]]:
    """Binds contexts and links arrays; returns (pasid, address) of places that are worth asking for."""
    pasids = rng.permutation(builder.tables.context_count)[:BOUND].tolist()
    for pasid in pasids:
        builder.tables.bind(pasid)
    places: list[tuple[int, int]] = []
    for _ in range(ARRAYS):
        pasid = int(rng.choice(pasids))
        level = int(rng.choice([1, 1, 1, 2, 3]))
        span = span_bits(level)
        page_shift = int(rng.integers(max(PAGE_SHIFT, span - LARGEST_SLOTS_LOG2), span + 1))
        # Few different upper addresses, so that directories are shared by arrays and by contexts.
        va = int(rng.integers(3)) << span_bits(3) | int(rng.integers(4)) << span_bits(2)
        va |= int(rng.integers(8)) << span_bits(1)
        va = va >> span << span
        words = random_words(builder.format, 1 << (span - page_shift), page_shift - PAGE_SHIFT, builder.window, rng)
        promise = 0
        if rng.integers(4):
            promise = largest_honest_max_order(builder.format, words, page_shift=page_shift)
        try:
            builder.tables.link_array(pasid, va, level=level, page_shift=page_shift, max_order=promise, words=words)
        except UserError:
            continue  # something is linked there already, above or below
        places += [(pasid, va + int(rng.integers(1 << span))) for _ in range(HOT_PLACES // ARRAYS)]
        places += [(pasid, va), (pasid, va + (1 << span) - 1)]
    return places


def damage(builder: CaseBuilder, places: list[tuple[int, int]], rng: np.random.Generator) -> None:
    """Makes some directory entries and lines bad, each in one way; nothing then leads to memory that is not a table."""
    failing: list[int] = []
    for _ in range(int(rng.integers(DAMAGES))):
        pasid, va = places[int(rng.integers(len(places)))]
        link = builder.tables.find_array(pasid, va)
        if link is None or not builder.memory.contains(link.address, link.slots * WORD_BYTES):
            continue
        address = builder.tables.directory_entry_address(pasid, va, link.level)
        word = int(builder.memory.shadow_read([address])[0][0])
        kind = int(rng.choice(7, p=[0.2, 0.1, 0.02, 0.17, 0.17, 0.17, 0.17]))
        if kind == 0:
            failing.append(link.address + int(rng.integers(link.slots)) * WORD_BYTES)
        elif kind == 1:
            failing.append(address)
        elif kind == 2:
            failing.append(builder.tables.context_entry_address(pasid))
        elif kind == 3:
            reserved = [1 << bit for bit in (2, 3, 4, 5, 63)]
            builder.memory.write_words(address, [word | reserved[int(rng.integers(5))]])
        elif kind == 4:
            builder.memory.write_words(address, [word | 3])
        elif kind == 5:
            bad_shift = int(rng.choice([0, PAGE_SHIFT - 1, span_bits(link.level) + 1, 63]))
            entry = pack_directory_entry(entry_type=DirectoryType.ARRAY, address=link.address, page_shift=bad_shift)
            builder.memory.write_words(address, entry)
        else:
            away = int(rng.choice([OUTSIDE_MEMORY, 1 << DEFAULT_PA_BITS, (1 << DEFAULT_PA_BITS) - LINE_BYTES]))
            entry = pack_directory_entry(
                entry_type=DirectoryType.ARRAY, address=away, page_shift=link.page_shift, max_order=link.max_order
            )
            builder.memory.write_words(address, entry)
    # Last, because no table can be looked up through a line that fails.
    for address in failing:
        builder.memory.set_read_error(address)


def random_requests(
    places: list[tuple[int, int]], count: int, context_count: int, rng: np.random.Generator
) -> Requests:
    """Requests around the places: the same pages again and again, neighbours, other contexts, addresses too wide."""
    chosen = rng.integers(len(places), size=count)
    pasid = np.array([place[0] for place in places], dtype=np.uint64)[chosen]
    va = np.array([place[1] for place in places], dtype=np.uint64)[chosen]
    step = rng.choice([0, 0, 0, 0, 0, 1, 7, 8, 512], size=count).astype(np.uint64) * np.uint64(PAGE_BYTES)
    va += step + rng.integers(PAGE_BYTES, size=count, dtype=np.uint64)
    va &= np.uint64((1 << 48) - 1)
    stray = rng.random(count)
    pasid[stray < 0.04] = rng.integers(context_count + 2, size=int((stray < 0.04).sum()), dtype=np.uint64)
    wide = stray > 0.99
    va[wide] |= np.uint64(1) << rng.integers(48, 64, size=int(wide.sum()), dtype=np.uint64)
    access = rng.choice([Access.READ, Access.READ, Access.WRITE, Access.ATOMIC, Access.PREFETCH], size=count)
    busy = rng.random(count) < 0.2
    return make_requests(
        va,
        pasid,
        access,
        pause=np.where(busy, rng.integers(20, size=count), 0),
        hold=np.where(busy, rng.integers(200, size=count), rng.integers(4, size=count)),
    )


def pressure(seed: int, parameters: dict[str, Any]) -> Case:
    """Random tables without damage, under latencies, pauses and long-held grants of every size."""
    rng = np.random.default_rng(seed)
    names = list(load_formats())
    fmt = chosen_format(str(parameters.get("format", names[int(rng.integers(len(names)))])))
    builder = CaseBuilder(
        "pressure",
        seed,
        fmt,
        context_count=CONTEXTS,
        parameters=parameters,
        window=Window(1 << 20, 1 << 10),
        settings=random_memory(rng),
    )
    places = build_random_tables(builder, rng)
    requests = random_requests(places, int(parameters.get("requests", REQUESTS // 2)), CONTEXTS, rng)
    if rng.integers(2):
        # All ids in use at once: every grant is held until long after the next requests.
        requests["hold"] = rng.integers(2000, size=requests.size)
        requests["pause"] = 0
    builder.ask(builder.spread(requests, rng))
    return builder.build(format=fmt.name)
