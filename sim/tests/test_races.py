# SPDX-License-Identifier: Apache-2.0
"""Tests of the command that explores races: what it takes, what it draws."""

from __future__ import annotations

from pathlib import Path

import pytest

from models.errors import UserError
from sim.race_picture import GOOD, INCOMPLETE, WRONG, cell_colour, draw_matrix
from sim.races import chosen_pairs, chosen_run
from tb.races.actions import HOST_ACTIONS
from tb.races.events import DEVICE_EVENTS
from tb.races.explore import CellResult, rerun_line


def test_races_pairs_by_name() -> None:
    """
    Stimulus: nothing, one pair, a row, the same cell twice; names that are not there.
    Checking: the cells in the order of the matrix, each once; one sentence that lists what there is.
    Covers: CLI-RACES
    """
    assert len(chosen_pairs(())) == len(HOST_ACTIONS) * len(DEVICE_EVENTS)
    assert chosen_pairs(("fence,fill", "bind,fill", "fence,fill")) == [("fence", "fill"), ("bind", "fill")]
    assert [event for _, event in chosen_pairs(("unbind,all",))] == list(DEVICE_EVENTS)
    for text in ("fence", "fence,nothing", "nothing,fill"):
        with pytest.raises(UserError, match="give ACTION,EVENT"):
            chosen_pairs((text,))


def test_races_rerun_line_is_understood() -> None:
    """
    Stimulus: the line of a failing run; places that are none.
    Checking: its words name the same cell and run; the others are refused in a sentence.
    Covers: CLI-RACES
    """
    words = rerun_line("fence", "fill", 3, 2, 217).split()
    pairs = chosen_pairs((words[words.index("--pair") + 1],))
    assert pairs == [("fence", "fill")]
    assert chosen_run(words[words.index("--at") + 1], pairs) == [2, 217]
    assert chosen_run(None, pairs) is None
    for text in ("2", "x:3", "999:3", "1:-4"):
        with pytest.raises(UserError, match="VARIANT:CYCLE"):
            chosen_run(text, pairs)
    with pytest.raises(UserError, match="one --pair"):
        chosen_run("0:1", chosen_pairs(()))


def test_races_picture(tmp_path: Path) -> None:
    """
    Stimulus: a good cell, one that lacks a meeting, one with a failing run.
    Checking: three colours; the picture has them and the counts, and is the same file twice.
    Covers: CLI-RACES
    """
    good = CellResult("fence", "fill", 1, before=4, behind=5, met=[2])
    lacks = CellResult("fence", "grant", 1, problems=["never met"])
    fails = CellResult("bind", "fill", 1, failures=1, problems=["wrong"])
    cells = [cell.as_data() for cell in (good, lacks, fails)]
    assert [cell_colour(cell) for cell in cells] == [GOOD, INCOMPLETE, WRONG]
    draw_matrix(cells, tmp_path / "one.svg")
    draw_matrix(cells, tmp_path / "two.svg")
    text = (tmp_path / "one.svg").read_text(encoding="utf-8")
    assert all(colour in text for colour in (GOOD, INCOMPLETE, WRONG))
    assert text == (tmp_path / "two.svg").read_text(encoding="utf-8")
