# SPDX-License-Identifier: Apache-2.0
"""Pictures for the documents, drawn from the data of real runs. The data lie in the picture; a test compares them.

Source: docs/testbench.md, "Pictures".
"""

from __future__ import annotations

import json
import xml.etree.ElementTree as ElementTree
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import FancyArrowPatch, FancyBboxPatch

from models.errors import UserError
from models.files import write_atomically
from sim.build import build
from sim.paths import BUILD, ROOT
from sim.simulation import simulate
from tb.fault_life import LIFE_FILE, Life, Step

FAULT_PICTURE = ROOT / "docs" / "life_of_a_fault.svg"
MODULE = "tb.fault_life"
DESCRIPTION = "{http://purl.org/dc/elements/1.1/}description"
LICENCE = "<!-- SPDX-License-Identifier: Apache-2.0 -->\n"
STYLE: dict[Any, Any] = {
    "svg.hashsalt": "life of a fault",
    "svg.fonttype": "none",
    "font.family": "sans-serif",
    "font.size": 10.0,
}
"""What makes two drawings of the same data the same file."""

LANES = {
    "client": ("device", "#2b6ca3"),
    "walk": ("device", "#2b6ca3"),
    "fault ring": ("memory", "#7a5a9c"),
    "command ring": ("memory", "#7a5a9c"),
    "driver": ("host", "#4c8a3f"),
    "HMM": ("host", "#4c8a3f"),
}
"""From the top: whose a lane is, and its colour."""
BANDS = {"device": "#eaf2f9", "memory": "#f2eef7", "host": "#ebf4e8"}
HALF_BAR = 0.23
MOMENT = 1.0
"""Cycles that a moment is drawn wide."""
COLUMNS = 2
MARGIN = 0.06
"""Of the time drawn, left free on both sides."""


def run_fault(out: Path) -> Life:
    """Lets one fault happen to the RTL, and returns its life. Errors: UserError if the run fails."""
    outcome = simulate(build("fast"), MODULE, out=out)
    if not outcome.passed:
        raise UserError(f"The run for the picture failed; look at {outcome.log}. {outcome.failure}")
    return Life.of_data(json.loads((out / LIFE_FILE).read_text(encoding="utf-8")))


def draw_fault(life: Life, path: Path) -> None:
    """Draws the lanes of a fault's life into an SVG file; the same life gives the same bytes."""
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(11.0, 6.2))
        lanes = figure.add_axes((0.15, 0.395, 0.835, 0.515))
        _draw_lanes(lanes, life)
        for number, step in enumerate(life.steps, start=1):
            _draw_step(lanes, number, step)
        for before, after in zip(life.steps, life.steps[1:], strict=False):
            _draw_arrow(lanes, before, after)
        _draw_list(figure, life)
        figure.suptitle(
            f"The life of a fault: {life.facts['request']}", x=0.02, y=0.975, ha="left", fontsize=14, fontweight="bold"
        )
        partial = path.with_suffix(".partial.svg")
        figure.savefig(
            partial,
            format="svg",
            metadata={"Date": None, "Title": "The life of a fault", "Description": json.dumps(life.as_data())},
        )
    text = partial.read_text(encoding="utf-8")
    partial.unlink()
    head, _, rest = text.partition("\n")
    lines = [line.rstrip() for line in (head + "\n" + LICENCE + rest).splitlines()]
    write_atomically(path, ("\n".join(lines) + "\n").encode("utf-8"))


def life_in(path: Path) -> Life:
    """The data that a picture was drawn from. Errors: UserError if it holds none."""
    try:
        texts = [element.text for element in ElementTree.parse(path).iter(DESCRIPTION)]
        data: dict[str, Any] = json.loads(texts[0] or "")
        return Life.of_data(data)
    except (OSError, ElementTree.ParseError, IndexError, KeyError, TypeError, ValueError):
        raise UserError(f"{path} holds no life of a fault; draw it with: python -m sim picture fault") from None


def picture(name: str, out: Path | None = None) -> Path:
    """Makes a picture by its name; returns its file. Errors: UserError for an unknown name, or if the run fails."""
    if name != "fault":
        raise UserError(f"There is no picture {name}; choose fault.")
    path = out or FAULT_PICTURE
    if not path.parent.is_dir():
        raise UserError(f"Make the folder {path.parent} first, or give another file.")
    draw_fault(run_fault(BUILD / "runs" / "picture-fault"), path)
    return path


def _height(lane: str) -> float:
    return float(len(LANES) - 1 - list(LANES).index(lane))


def _draw_lanes(axes: Axes, life: Life) -> None:
    last = max(step.end for step in life.steps)
    left, right = -MARGIN * last / 2, last * (1 + MARGIN / 2)
    axes.set_xlim(left, right)
    axes.set_ylim(-0.5, len(LANES) - 0.5)
    for lane, (owner, _) in LANES.items():
        axes.axhspan(_height(lane) - 0.5, _height(lane) + 0.5, color=BANDS[owner], linewidth=0)
    for height in range(1, len(LANES)):
        axes.axhline(height - 0.5, color="white", linewidth=1.5)
    axes.set_yticks([_height(lane) for lane in LANES], list(LANES), fontsize=11)
    axes.tick_params(axis="y", length=0, pad=26)
    axes.set_xlabel("clock cycles since the request was accepted")
    for side in ("top", "right", "left"):
        axes.spines[side].set_visible(False)
    for owner in BANDS:
        heights = [_height(lane) for lane, (whose, _) in LANES.items() if whose == owner]
        axes.text(
            left - 0.012 * (right - left),
            (min(heights) + max(heights)) / 2,
            owner,
            rotation=90,
            ha="center",
            va="center",
            color="#555555",
            fontsize=10,
        )
    _draw_wait(axes, life)


def _draw_wait(axes: Axes, life: Life) -> None:
    """In the client's lane: how long the request waits, and how long the grant lasts."""
    accepted, answered, released = (step.begin for step in life.steps if step.lane == "client")
    height = _height("client")
    for begin, end, text, colour in (
        (accepted, answered, "the request waits", "#c3d9ec"),
        (answered, released, "grant", "#7fb07a"),
    ):
        _bar(axes, begin, end, height, colour)
        axes.text((begin + end) / 2, height, text, ha="center", va="center", fontsize=10)


def _bar(axes: Axes, begin: float, end: float, height: float, colour: str) -> None:
    axes.add_patch(
        FancyBboxPatch(
            (begin, height - HALF_BAR),
            max(end - begin, MOMENT),
            2 * HALF_BAR,
            boxstyle="round,pad=0,rounding_size=0.6",
            mutation_aspect=0.08,
            facecolor=colour,
            edgecolor="none",
        )
    )


def _draw_step(axes: Axes, number: int, step: Step) -> None:
    colour = LANES[step.lane][1]
    height = _height(step.lane)
    if step.end > step.begin:
        _bar(axes, step.begin, step.end, height, colour)
        middle = (step.begin + step.end) / 2
        axes.text(middle, height, str(number), ha="center", va="center", color="white", fontweight="bold", fontsize=10)
        return
    axes.plot([step.begin], [height], marker="o", markersize=15, color=colour, markeredgecolor="white", zorder=5)
    axes.text(
        step.begin,
        height,
        str(number),
        ha="center",
        va="center",
        color="white",
        fontweight="bold",
        fontsize=10,
        zorder=6,
    )


def _draw_arrow(axes: Axes, before: Step, after: Step) -> None:
    """From the end of a step to the begin of the next one, where that is in another lane."""
    if before.lane == after.lane:
        return
    start, end = _height(before.lane), _height(after.lane)
    down = 1 if end < start else -1
    axes.add_patch(
        FancyArrowPatch(
            (before.end, start - down * HALF_BAR),
            (after.begin, end + down * HALF_BAR),
            arrowstyle="-|>",
            mutation_scale=9,
            shrinkA=0,
            shrinkB=0,
            color="#444444",
            linewidth=1.0,
            zorder=4,
        )
    )


def _draw_list(figure: Figure, life: Life) -> None:
    """The steps in words, and the facts."""
    rows = -(-len(life.steps) // COLUMNS)
    for number, step in enumerate(life.steps, start=1):
        column, row = divmod(number - 1, rows)
        x, y = 0.045 + column * 0.365, 0.255 - row * 0.044
        cycles = f"{step.begin}" if step.begin == step.end else f"{step.begin} - {step.end}"
        colour = LANES[step.lane][1]
        figure.text(x, y, f"{number}", ha="right", fontweight="bold", color=colour)
        figure.text(x + 0.075, y, cycles, ha="right", color="#555555")
        figure.text(x + 0.09, y, step.name)
    facts = [f"{name}: {life.facts[name]}" for name in ("fault", "entry", "answer")]
    figure.text(0.775, 0.255 + 0.022, "\n".join(facts), va="top", fontsize=9, color="#555555", linespacing=1.7)
