# SPDX-License-Identifier: Apache-2.0
"""Every defect of the list is found by the rule or check that the list names; without it the scenario is clean."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import pytest

from models.driver import Driver
from models.tests import driver_mutants as mutants
from models.tests import planted_drivers as planted
from models.tests.mutant_scenarios import (
    Scenario,
    array_becomes_empty,
    array_of_an_invalidated_range,
    context_goes_while_unmapping,
    fault_behind_a_race,
    fault_behind_an_unmapping,
    fault_that_invalidates,
    holes_beside_pages,
    invalidation_is_refused,
    one_of_many_fails,
    own_page_stays,
    page_comes_back,
    races,
    read_only_area,
    reads_neighbours,
    stale_fault,
    unmaps_while_unbinding,
    write_during_migration,
    written_page_is_reclaimed,
)


@dataclass(frozen=True)
class Mutant:
    """`row`: of the list of known defects; `finds`: what the line begins with by which it is found (a pattern)."""

    row: str
    plant: type[Driver] | mutants.Plant
    scenario: Scenario
    finds: str

    @property
    def name(self) -> str:
        """Of the class or patch."""
        return self.plant.__name__


MUTANTS = [
    Mutant("1", mutants.invalidates_at_the_end, races, "I1"),
    Mutant("2", mutants.zeroes_invalidated_ranges, array_of_an_invalidated_range, "array"),
    Mutant("3", mutants.UnregistersFirst, unmaps_while_unbinding, "unbind"),
    Mutant("4", mutants.leaks_refused_invalidation, invalidation_is_refused, "refused|StuckError"),
    Mutant("23", mutants.StoresInvalidAsValid, holes_beside_pages, "I6"),
    Mutant("24", mutants.links_arrays_as_one_slot, reads_neighbours, "read"),
    Mutant("25", mutants.TakesNoPageForItsOwn, own_page_stays, "own"),
    Mutant("26", mutants.refuses_stale_faults, stale_fault, "read"),
    Mutant("26", mutants.filter_keeps_raced_faults, fault_behind_a_race, "filter|StuckError"),
    Mutant("26", mutants.filter_keeps_invalidated_faults, fault_behind_an_unmapping, "filter|StuckError"),
    Mutant("27", mutants.WritesWhereReadingIsAllowed, read_only_area, "I5"),
    Mutant("28", mutants.copies_before_the_device_stops, write_during_migration, "lost"),
    Mutant("28", mutants.reclaims_as_if_clean, written_page_is_reclaimed, "read"),
    Mutant("29", mutants.frees_pages_that_come_back, page_comes_back, "back|RuntimeError"),
    Mutant("30", mutants.loses_write_in_migration, own_page_stays, "own"),
    Mutant("31", mutants.InvalidatesGoneContext, context_goes_while_unmapping, "KeyError"),
    Mutant("32", mutants.FreesEmptyArrayTwice, array_becomes_empty, "UserError|RuntimeError"),
    Mutant("33", mutants.asks_with_uninitialised_array, holes_beside_pages, "asked"),
    Mutant("34", mutants.UsesEntriesEarly, races, "I2|I3"),
    Mutant("34", planted.ForgetsNone, races, "I1"),
    Mutant("35", mutants.KillsOnFailure, one_of_many_fails, "I12"),
    Mutant("35", mutants.LoopsOnFailure, one_of_many_fails, "StuckError"),
    Mutant("36", mutants.ExtendsBlocks, reads_neighbours, "I3"),
    Mutant("38", mutants.FaultsUnderItsLock, fault_that_invalidates, "StuckError"),
]


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: f"{mutant.row}-{mutant.name}")
def test_driver_mutants_is_found(mutant: Mutant, monkeypatch: pytest.MonkeyPatch) -> None:
    """
    Stimulus: a scenario with the right driver, then with one defect planted.
    Checking: nothing is found without the defect; with it the rule, or the check, that the list names finds it.
    Covers: MUTANTS
    """
    assert mutant.scenario(Driver) == []
    driver: type[Driver] = Driver
    if isinstance(mutant.plant, type):
        driver = cast("type[Driver]", mutant.plant)
    else:
        mutant.plant(monkeypatch)
    found = mutant.scenario(driver)
    assert any(re.match(f"(?:{mutant.finds}):", line) for line in found), found


def test_driver_mutants_table_is_complete() -> None:
    """
    Stimulus: the table of docs/mutants.md, the list of this file, the rows that concern drivers and races.
    Checking: the table has these rows and no others, each with its mutants and what finds them; a row without any says
    why; everything that driver_mutants.py has is in the list.
    Covers: MUTANTS, DOCS
    """
    text = (Path(__file__).parents[2] / "docs" / "mutants.md").read_text(encoding="utf-8")
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in text.splitlines() if line.startswith("|")]
    table = rows[2:]
    assert sorted({int(row[0]) for row in table}) == [*range(1, 5), *range(23, 39)]
    for row in table:
        expected = [mutant for mutant in MUTANTS if mutant.row == row[0] and f"`{mutant.name}`" == row[2]]
        if row[2] == "-":
            assert len(row[3]) > 20 and not [mutant for mutant in MUTANTS if mutant.row == row[0]], row
        else:
            (mutant,) = expected
            assert all(name in row[4] for name in re.findall(r"I\d+", mutant.finds)), row
            assert f"`{mutant.scenario.__name__}`" in row[4], row
    assert len([row for row in table if row[2] != "-"]) == len(MUTANTS)
    planted_here = {
        name
        for name, value in vars(mutants).items()
        if getattr(value, "__module__", "") == mutants.__name__ and not name.startswith("_")
    }
    assert planted_here == {mutant.name for mutant in MUTANTS if mutant.plant.__module__ == mutants.__name__}
