# SPDX-License-Identifier: Apache-2.0
"""What became of a case."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from sim.regression.case import RegressionCase


class Verdict(StrEnum):
    """The ways in which a case ends. Everything but `passed` is a failure."""

    PASSED = "passed"
    FAILED = "failed"
    CRASHED = "crashed"
    HUNG = "hung"


@dataclass(frozen=True)
class CaseResult:
    """One case that ended. Times in processor seconds; `cycles` 0 and `event_hash` "" where they are not known."""

    case: RegressionCase
    verdict: Verdict
    seconds: float = 0.0
    cycles: int = 0
    message: str = ""
    event_hash: str = ""
    log: Path | None = None
    round: int = 1

    @property
    def passed(self) -> bool:
        """Nothing was wrong."""
        return self.verdict is Verdict.PASSED
