# SPDX-License-Identifier: Apache-2.0
"""The counted cases: all are there, all are in the regressions, and what they expect is what they say."""

from __future__ import annotations

import pytest

from models.errors import UserError
from models.registers import Register
from sim.regression.file import load_regression
from tb.configurations import configurations
from tb.scenarios.counted_blocks import Page, line_groups
from tb.scenarios.counted_world import CountedWorld
from tb.scenarios.counts import COUNTS, counts

COUNTERS = {
    Register.COUNTER_HITS,
    Register.COUNTER_SHARED_HITS,
    Register.COUNTER_WALKS,
    Register.COUNTER_WALK_READS,
}


def test_counts_unknown_case() -> None:
    """
    Stimulus: a case that is not there.
    Checking: a sentence that lists the cases.
    Covers: COUNTS
    """
    with pytest.raises(UserError, match="shared_reads"):
        counts(1, {"case": "nothing"})


def test_counts_all_are_in_pr() -> None:
    """
    Stimulus: the seeds that the pr tier runs.
    Checking: each case is among them, on each configuration.
    Covers: COUNTS, REGRESS-TIERS
    """
    found = {
        (case.kind.configuration, counts(case.seed, {}).parameters["case"])
        for case in load_regression("pr").cases
        if case.entry.get("builder") == "counts"
    }
    assert found == {(configuration, name) for configuration in configurations() for name in COUNTS}


@pytest.mark.parametrize("configuration", configurations())
def test_counts_everything_is_counted(configuration: str) -> None:
    """
    Stimulus: every case on every configuration.
    Checking: all four counters are read, and expected to be something, behind the last request; each case asks.
    Covers: COUNTS
    """
    for name in COUNTS:
        case = counts(1, {"case": name, "configuration": configuration})
        assert case.requests.size, name
        last = case.actions[case.requests["after_action"].max() :]
        assert set(last["address"].tolist()) >= COUNTERS, name
        assert case.expectations.size >= len(COUNTERS), name


def test_counts_groups_of_a_line() -> None:
    """
    Stimulus: lines by hand: whole, one page elsewhere, a page that permits less, one that is not there.
    Checking: their groups are the aligned ones of pages that are alike.
    Covers: COUNTS
    """
    whole = [Page(40 + near) for near in range(8)]
    assert line_groups(whole) == [range(8)]
    elsewhere = [*whole[:5], Page(99), *whole[6:]]
    assert line_groups(elsewhere) == [range(4), range(4, 5), range(5, 6), range(6, 8)]
    plain = [Page(40, write=False, atomic=False), *whole[1:]]
    assert line_groups(plain) == [range(1), range(1, 2), range(2, 4), range(4, 8)]
    absent = [*whole[:2], Page(42, valid=False), *whole[3:]]
    assert line_groups(absent) == [range(2), range(3, 4), range(4, 8)]


def test_counts_expectations_add_up() -> None:
    """
    Stimulus: a world that expects twice.
    Checking: the second time it expects the sums, for the device's counters only grow.
    Covers: COUNTS
    """
    world = CountedWorld(1, {})
    world.expect(walks=2, reads=10)
    world.expect(hits=3, walks=1, reads=5)
    expected = world.script.expectations()["value"][-4:].tolist()
    assert expected == [3, 0, 3, 15]
