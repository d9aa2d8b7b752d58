# SPDX-License-Identifier: Apache-2.0
"""Which entries of a recorded array are asked for: all that say something new, and a seeded few of each long run."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from models.arrays import Flags, Words

OWN_FORMAT_INNER = 62
"""Seeded entries between first and last of a run of equal non-VALID entries, in the kernel's own format."""
DRIVER_FORMAT_INNER = 2
"""The same of any run, in the driver formats."""
OWN_FORMAT_RULE = (
    f"kernel's own format: every VALID entry; of a run of equal other entries first, last and {OWN_FORMAT_INNER} seeded"
)
DRIVER_FORMAT_RULE = (
    f"driver formats: of each run (equal entries, or VALID ones with consecutive pfns) first, last and "
    f"{DRIVER_FORMAT_INNER} seeded"
)

Indices = NDArray[np.intp]


@dataclass(frozen=True)
class Runs:
    """Runs of an array: first index and length of each, and how many entries between its ends are drawn."""

    first: Indices
    length: Indices
    inner: Indices

    @property
    def sampled(self) -> int:
        """How many entries sample() gives."""
        return int(np.minimum(self.length, self.inner + 2).sum())

    def sample(self, rng: np.random.Generator) -> Indices:
        """Indices of the entries to ask for, rising."""
        chosen = [self.first, (self.first + self.length - 1)[self.length > 1]]
        longer = self.length > self.inner + 2
        short = (self.length > 2) & ~longer & (self.inner > 0)
        for first, length in zip(self.first[short], self.length[short], strict=True):
            chosen.append(np.arange(first + 1, first + length - 1))
        for first, length, inner in zip(self.first[longer], self.length[longer], self.inner[longer], strict=True):
            chosen.append(first + 1 + rng.choice(length - 2, size=inner, replace=False))
        return np.sort(np.concatenate(chosen))


def _runs(starts: Flags, inner: Indices) -> Runs:
    """Runs that begin where `starts` is set; `inner` for each entry."""
    first = np.flatnonzero(starts)
    length = np.diff(np.append(first, starts.size))
    return Runs(first, length, inner[first])


def own_format_runs(words: Words, valid: Flags) -> Runs:
    """Runs in the kernel's own format: equal non-VALID entries; each VALID entry by itself."""
    starts = np.ones(words.size, dtype=np.bool_)
    starts[1:] = (words[1:] != words[:-1]) | valid[1:]
    return _runs(starts, np.full(words.size, OWN_FORMAT_INNER))


def driver_format_runs(words: Words, valid: Flags, pfn_step: int) -> Runs:
    """Runs in another format: equal entries, or VALID entries that rise by `pfn_step` from page to page."""
    difference = words[1:] - words[:-1]
    equal = difference == 0
    rising = (difference == np.uint64(pfn_step)) & valid[1:] & valid[:-1]
    starts = np.ones(words.size, dtype=np.bool_)
    joined = equal | rising
    starts[1:] = ~joined
    # Where equal entries turn into rising ones, or the other way round, a new run begins.
    starts[2:] |= joined[1:] & joined[:-1] & (equal[1:] != equal[:-1])
    return _runs(starts, np.full(words.size, DRIVER_FORMAT_INNER))
