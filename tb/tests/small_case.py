# SPDX-License-Identifier: Apache-2.0
"""A small address space for tests of the testbench itself: one context, one array of pages that permit everything."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from models.arrays import Words
from models.formats import format_by_name
from models.registers import STATUS_ENABLED, Register
from tb.case import Case, MemorySettings
from tb.host_script import make_requests
from tb.records import ACTION_DTYPE, ActionKind, Requests
from tb.scenarios.builder import CaseBuilder

FORMAT_NAME = "hmm_2018_flags"
PASID = 3
PAGE_BYTES = 4096
FIRST_VA = 0x1000_0000
PAGES = 512
FIRST_PFN = 100
READ_WRITE = 0x3
SMALL_MEMORY = 1 << 22
DIRECTORY_READS = 3
"""Reads of a walk before the array, when the context is cached."""


def page_words() -> Words:
    """uint64[PAGES]: page i of the array is pfn FIRST_PFN + 2 i, readable and writable."""
    pfn = FIRST_PFN + 2 * np.arange(PAGES, dtype=np.uint64)
    return (pfn << np.uint64(12)) | np.uint64(READ_WRITE)


def page_va(page: int) -> int:
    """The first address of a page of the array."""
    return FIRST_VA + page * PAGE_BYTES


def small_builder(
    name: str, *, settings: MemorySettings | None = None, seed: int = 1, ring_log2: int | None = None
) -> CaseBuilder:
    """A builder whose tables hold the one array."""
    chosen = (settings or MemorySettings()).model_copy(update={"size": SMALL_MEMORY})
    builder = CaseBuilder(
        name, seed, format_by_name(FORMAT_NAME), context_count=8, settings=chosen, ring_log2=ring_log2
    )
    builder.tables.bind(PASID)
    builder.tables.link_range(PASID, FIRST_VA, page_words(), builder.format)
    return builder


def page_requests(pages: list[int], **columns: object) -> Requests:
    """READ requests of pages; `columns` as of tb.host_script.make_requests."""
    va = np.array([page_va(page) for page in pages], dtype=np.uint64)
    return make_requests(va, PASID, **columns)  # type: ignore[arg-type]


def hot_pages_case(name: str, requests: Requests, *, settings: MemorySettings | None = None) -> tuple[Case, int]:
    """(case, first own request): requests whose pages are cached before they come, so that answers are quick.

    The pages of the first 8 are read and released before.
    """
    builder = small_builder(name, settings=settings)
    warm = page_requests(list(range(8)), after_action=len(builder.script))
    builder.ask(warm)
    builder.script.nop()
    actions = builder.script.actions()
    actions["after_request"][-1] = warm.size
    own = requests.copy()
    own["after_action"] = np.maximum(own["after_action"], actions.size)
    builder.ask(own)
    return replace(builder.build(), actions=actions), int(warm.size)


def with_actions(case: Case, *rows: tuple[ActionKind, dict[str, int]]) -> Case:
    """The case with more actions at the end."""
    more = np.zeros(len(rows), dtype=ACTION_DTYPE)
    for row, (kind, columns) in zip(more, rows, strict=True):
        row["kind"] = kind
        for column, value in columns.items():
            row[column] = value
    return replace(case, actions=np.concatenate([case.actions, more]))


def stalled_case() -> Case:
    """A case that cannot end: its last action waits for something that never comes."""
    builder = small_builder("stalled")
    builder.ask(page_requests([0, 1], after_action=len(builder.script)))
    builder.script.wait_register(Register.STATUS, 0, mask=STATUS_ENABLED.mask)
    return replace(builder.build(), watchdog_cycles=500)
