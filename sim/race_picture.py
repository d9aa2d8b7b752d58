# SPDX-License-Identifier: Apache-2.0
"""The race matrix as a picture: a square for each cell, green if it is good."""

from __future__ import annotations

from pathlib import Path
from typing import Any

GOOD, INCOMPLETE, WRONG, ABSENT = "#8fce9f", "#f3d27a", "#e58b88", "#eeeeee"
CELL_INCHES = 0.62


def cell_colour(cell: dict[str, Any] | None) -> str:
    """Good; something was never seen; a run failed; not explored."""
    if cell is None:
        return ABSENT
    if cell["failures"]:
        return WRONG
    return GOOD if cell["passed"] else INCOMPLETE


def cell_text(cell: dict[str, Any]) -> str:
    """Runs with the action before the event, in its cycle (the fewest of its marks), and behind it."""
    return f"{cell['before']}·{min(cell['met'], default=0)}·{cell['behind']}"


def draw_matrix(cells: list[dict[str, Any]], path: Path) -> None:
    """Writes an SVG. The cells are rows of matrix.json."""
    # Slow to load, and only needed here.
    import matplotlib

    matplotlib.use("svg")
    # The same cells give the same file.
    matplotlib.rcParams["svg.hashsalt"] = "races"
    from matplotlib import pyplot
    from matplotlib.patches import Rectangle

    actions = list(dict.fromkeys(cell["action"] for cell in cells))
    events = list(dict.fromkeys(cell["event"] for cell in cells))
    by_pair = {(cell["action"], cell["event"]): cell for cell in cells}
    size = (CELL_INCHES * len(events) + 2.2, CELL_INCHES * 0.6 * len(actions) + 1.9)
    figure, axes = pyplot.subplots(figsize=size, layout="constrained")
    for row, action in enumerate(actions):
        for column, event in enumerate(events):
            cell = by_pair.get((action, event))
            axes.add_patch(Rectangle((column, row), 1, 1, facecolor=cell_colour(cell), edgecolor="white"))
            if cell is not None:
                axes.text(column + 0.5, row + 0.5, cell_text(cell), ha="center", va="center", fontsize=6)
    axes.set_xlim(0, len(events))
    axes.set_ylim(len(actions), 0)
    axes.set_xticks([column + 0.5 for column in range(len(events))], events, rotation=60, ha="left", fontsize=8)
    axes.set_yticks([row + 0.5 for row in range(len(actions))], actions, fontsize=8)
    axes.xaxis.tick_top()
    axes.tick_params(length=0)
    for side in axes.spines.values():
        side.set_visible(False)
    axes.set_title("Runs with the action before · in the cycle of · behind the event", fontsize=9)
    figure.savefig(path, metadata={"Date": None})
    pyplot.close(figure)
