# SPDX-License-Identifier: Apache-2.0
"""docs/invariants.md against the registry: which invariant is checked where, and that none is missing."""

from __future__ import annotations

from models.invariants import INVARIANTS
from sim.paths import ROOT
from tb.failure import INVARIANTS as NAMES_OF_CASES
from tb.invariants import LOG_CHECKS

TWENTY = [f"I{number}" for number in range(1, 21)]


def listed() -> dict[str, list[str]]:
    """The cells behind each name in the document's table of twenty."""
    text = (ROOT / "docs" / "invariants.md").read_text(encoding="utf-8")
    section = text.split("## The twenty\n")[1].split("\n## ")[0]
    lines = [line for line in section.splitlines() if line.startswith("| I")]
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    return {row[0]: row[1:] for row in rows}


def test_invariants_listed_are_the_registered() -> None:
    """
    Stimulus: the table of the document; the registry of checks over the journal, over the log, in cases.
    Checking: the same twenty names in order; what each says, and where it is checked, word by word.
    Covers: INVARIANTS
    """
    assert list(INVARIANTS) == TWENTY
    expected = {
        name: [
            invariant.says,
            ", ".join(f"`{check.__name__}`" for check in invariant.checks),
            f"`{LOG_CHECKS[name].__name__}`" if name in LOG_CHECKS else "-",
            "yes" if name in NAMES_OF_CASES else "-",
        ]
        for name, invariant in INVARIANTS.items()
    }
    assert listed() == expected


def test_invariants_every_check_names_its_own() -> None:
    """
    Stimulus: the first words of each check's description.
    Checking: they are the name under which it is registered.
    Covers: INVARIANTS
    """
    for name, invariant in INVARIANTS.items():
        assert invariant.checks
        for check in invariant.checks:
            assert (check.__doc__ or "").startswith(f"{name}: "), check.__name__
    for name, log_check in LOG_CHECKS.items():
        assert (log_check.__doc__ or "").startswith(f"{name}: "), log_check.__name__
    assert set(LOG_CHECKS) <= set(TWENTY)
