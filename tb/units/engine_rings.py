# SPDX-License-Identifier: Apache-2.0
"""What a session of the engine's unit bench is given: its rings, and how slow the far ends are."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from models.arrays import LINE_BYTES, PAGE_BYTES
from models.structures import COMPLETION_BYTES, DESCRIPTOR_BYTES
from tb.units.engine_world import RINGS_END, RINGS_START

FAULT_CYCLES = 3000
COMPLETIONS = range(RINGS_START + (1 << 38), RINGS_END)
"""Where completion rings are."""


@dataclass(frozen=True)
class Timing:
    """How slow the far ends are. Chances are of 256."""

    pause_chance: int = 0
    delay_chance: int = 0
    fault_chance: int = 0
    """That a translation waits for the host."""
    least: int = 0
    """Cycles that every read and write takes more."""
    fault_va: int = -1
    """A translation in this page waits for the host very long."""

    def pause(self, rng: np.random.Generator) -> int:
        """Cycles from valid to ready."""
        return int(rng.integers(1, 8)) if rng.integers(256) < self.pause_chance else 0

    def delay(self, rng: np.random.Generator) -> int:
        """Cycles beyond the least."""
        return self.least + (int(rng.integers(1, 12)) if rng.integers(256) < self.delay_chance else 0)

    def answer(self, rng: np.random.Generator, va: int) -> int:
        """Cycles beyond the least until a translation's answer."""
        if va // PAGE_BYTES == self.fault_va // PAGE_BYTES:
            return FAULT_CYCLES
        return int(rng.integers(50, 400)) if rng.integers(256) < self.fault_chance else self.delay(rng)


@dataclass(frozen=True)
class Ring:
    """Where descriptors and completions are."""

    base: int
    completion_base: int
    log2: int

    def slot(self, index: int) -> int:
        """Bus address of the index-th descriptor."""
        return self.base + index % (1 << self.log2) * DESCRIPTOR_BYTES

    def completion(self, index: int) -> int:
        """Bus address of the index-th completion."""
        return self.completion_base + index % (1 << self.log2) * COMPLETION_BYTES


def random_ring(rng: np.random.Generator, least: int = 0) -> Ring:
    """A ring of 2^least to 16 descriptors."""
    base, completion_base = (int(line) * LINE_BYTES for line in rng.integers(1 << 30, size=2))
    return Ring(RINGS_START + base, COMPLETIONS.start + completion_base, int(rng.integers(least, 5)))
