# SPDX-License-Identifier: Apache-2.0
"""Tests of the pictures: what the one in docs/ shows is what a run of today gives."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from models.errors import UserError
from sim.picture import FAULT_PICTURE, draw_fault, life_in, picture, run_fault
from tb.fault_life import Life

README = FAULT_PICTURE.parent.parent / "README.md"


@pytest.mark.simulation
def test_picture_fault_is_of_today(tmp_path: Path) -> None:
    """
    Stimulus: the run behind the picture, once more.
    Checking: the same steps, cycles and facts as in the picture of the documents, which the README shows.
    Covers: FAULT-LIFE
    """
    assert run_fault(tmp_path) == life_in(FAULT_PICTURE), "draw it anew with: python -m sim picture fault"
    text = README.read_text(encoding="utf-8")
    assert f"docs/{FAULT_PICTURE.name}" in text and "sim picture fault" in text


def test_picture_fault_drawn_twice_is_the_same(tmp_path: Path) -> None:
    """
    Stimulus: one life drawn twice, and another life.
    Checking: the same bytes; the data come back out of the picture; every step and fact stands in it as text; the other
    life's picture differs.
    Covers: FAULT-LIFE
    """
    life = life_in(FAULT_PICTURE)
    paths = [tmp_path / name for name in ("one.svg", "two.svg", "other.svg")]
    other = Life([*life.steps[:-1], replace(life.steps[-1], begin=300, end=300)], life.facts)
    for path, drawn in zip(paths, (life, life, other), strict=True):
        draw_fault(drawn, path)
    assert paths[0].read_bytes() == paths[1].read_bytes() != paths[2].read_bytes()
    assert [life_in(path) for path in paths] == [life, life, other]
    shown = paths[0].read_text(encoding="utf-8").split("</metadata>")[1]
    assert all(f">{step.name}<" in shown for step in life.steps)
    assert all(fact in shown for fact in life.facts.values())
    assert sorted(path.name for path in tmp_path.iterdir()) == ["one.svg", "other.svg", "two.svg"]


def test_picture_bad_input_is_one_sentence(tmp_path: Path) -> None:
    """
    Stimulus: an unknown picture, a file in a folder that is not there, a file without data, no file.
    Checking: UserError that says what to do.
    Covers: CLI-ERRORS
    """
    with pytest.raises(UserError, match="choose fault"):
        picture("sunset")
    with pytest.raises(UserError, match="Make the folder"):
        picture("fault", tmp_path / "nowhere" / "life.svg")
    plain = tmp_path / "plain.svg"
    plain.write_text("<svg/>", encoding="utf-8")
    for path in (plain, tmp_path / "absent.svg"):
        with pytest.raises(UserError, match="sim picture fault"):
            life_in(path)
