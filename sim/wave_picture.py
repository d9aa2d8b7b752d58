# SPDX-License-Identifier: Apache-2.0
"""A picture of some signals over some cycles, from a wave file (FST or VCD) that a run recorded.

Files are read with wellen (pywellen), as Surfer does.
Source: docs/regressions.md, "From the first line to the picture".
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby, pairwise
from pathlib import Path
from typing import Any

from models.errors import UserError
from models.files import write_atomically

CYCLE_SIGNAL = "tb_top.cycle_q"
"""Counts the cycles of a case; its changes are the rising edges of the clock."""
LICENCE = "<!-- SPDX-License-Identifier: Apache-2.0 -->\n"
MOST_CYCLES = 400
ROW_INCHES, CYCLE_INCHES, NAME_INCHES = 0.36, 0.11, 2.3
LEAST_WIDTH, MOST_WIDTH = 6.0, 10.0
CHARACTER_INCHES = 0.085
LINE, FILL, UNKNOWN = "#2b6ca3", "#c3d9ec", "#e58b88"
STYLE: dict[Any, Any] = {
    "svg.hashsalt": "waves",
    "svg.fonttype": "none",
    "font.family": "sans-serif",
    "font.size": 9.0,
}
"""What makes two drawings of the same waves the same file."""
Value = int | None
"""None where nothing is known."""


@dataclass(frozen=True)
class Trace:
    """One signal: what it was at the end of each cycle, which is what the rising edge there takes."""

    name: str
    width: int
    values: tuple[Value, ...]


def find_signal(names: Sequence[str], wanted: str) -> str:
    """The full name that ends with `wanted`, after a dot or from its beginning.

    Errors: UserError if there is none, or more than one and none of them is shorter than all others.
    """
    found = sorted(
        (name for name in names if name == wanted or name.endswith(f".{wanted}")), key=lambda each: each.count(".")
    )
    if not found:
        raise UserError(f"There is no signal {wanted} in the waves; give the end of its full name.")
    if len(found) > 1 and found[0].count(".") == found[1].count("."):
        raise UserError(f"{wanted} may be {found[0]} or {found[1]}; give more of its name.")
    return found[0]


def read_traces(path: Path, wanted: Sequence[str], first: int, last: int) -> list[Trace]:
    """The signals in the cycles `first` to `last`. Errors: UserError if file, signals or cycles are not there."""
    # Only needed here.
    from pywellen import Waveform

    if last < first or last - first >= MOST_CYCLES:
        raise UserError(f"Give cycles as FIRST:LAST, at most {MOST_CYCLES} of them, not {first}:{last}.")
    if not path.is_file():
        raise UserError(f"There is no file {path}; record one with: python -m sim run CASE --waves")
    try:
        variables = {str(each.full_name): each for each in Waveform(str(path)).all_vars()}
    except (RuntimeError, ValueError, OSError) as error:
        raise UserError(f"{path} holds no waves that can be read ({error}); record them anew.") from None
    names = list(variables)
    edges = {int(cycle): int(time) for time, cycle in variables[find_signal(names, CYCLE_SIGNAL)].signal}
    missing = [cycle for cycle in (first, last + 1) if cycle not in edges]
    if missing:
        raise UserError(
            f"The waves have no cycle {missing[0]}: they are of {min(edges)} to {max(edges) - 1}; give others, or"
            " record them anew with another --waves-from."
        )
    traces = []
    for name in wanted:
        variable = variables[find_signal(names, name)]
        values = [variable.signal.value_at(edges[cycle + 1] - 1) for cycle in range(first, last + 1)]
        traces.append(Trace(name, int(variable.bitwidth or 1), tuple(_number(value) for value in values)))
    return traces


def _number(value: object) -> Value:
    if isinstance(value, str):
        return int(value, 2) if value and set(value) <= {"0", "1"} else None
    return int(value) if isinstance(value, int) else None


def runs_of(trace: Trace) -> list[tuple[int, int, Value]]:
    """(first, one behind the last, value) of each stretch of cycles with one value, from 0."""
    runs = []
    for value, group in groupby(enumerate(trace.values), key=lambda item: item[1]):
        numbers = [number for number, _ in group]
        runs.append((numbers[0], numbers[-1] + 1, value))
    return runs


def draw_waves(traces: Sequence[Trace], first: int, path: Path, title: str) -> None:
    """Writes an SVG. The same traces give the same bytes."""
    # Slow to load, and only needed here.
    import matplotlib as mpl
    from matplotlib.figure import Figure

    count = len(traces[0].values)
    width = min(max(LEAST_WIDTH, CYCLE_INCHES * count), MOST_WIDTH)
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(NAME_INCHES + width, ROW_INCHES * (len(traces) + 2) + 0.5), layout="constrained")
        axes = figure.add_subplot()
        for row, trace in enumerate(traces):
            base = len(traces) - 1 - row
            if trace.width == 1:
                _draw_bit(axes, trace, base)
            else:
                _draw_bus(axes, trace, base, width / count)
        axes.set_xlim(0, count)
        axes.set_ylim(-0.3, len(traces))
        axes.set_yticks([len(traces) - 0.65 - row for row in range(len(traces))], [trace.name for trace in traces])
        step = max(1, count // 12)
        marks = [number for number in range(count) if (first + number) % step == 0]
        axes.set_xticks(marks, [str(first + number) for number in marks])
        axes.grid(axis="x", color="#e4e4e4", linewidth=0.6)
        axes.set_axisbelow(True)
        axes.tick_params(axis="y", length=0)
        axes.set_xlabel("cycle")
        for side in ("top", "right", "left"):
            axes.spines[side].set_visible(False)
        axes.set_title(title, loc="left", fontsize=10)
        partial = path.with_suffix(".partial.svg")
        figure.savefig(partial, format="svg", metadata={"Date": None, "Title": title})
    text = partial.read_text(encoding="utf-8")
    partial.unlink()
    head, _, rest = text.partition("\n")
    lines = [line.rstrip() for line in (head + "\n" + LICENCE + rest).splitlines()]
    write_atomically(path, ("\n".join(lines) + "\n").encode("utf-8"))


def _draw_bit(axes: Any, trace: Trace, base: int) -> None:
    for begin, end, value in runs_of(trace):
        if value is None:
            axes.fill_between([begin, end], base, base + 0.6, color=UNKNOWN, linewidth=0)
        else:
            height = base + 0.6 * value
            axes.plot([begin, end], [height, height], color=LINE, linewidth=1.4, solid_capstyle="butt")
            if value:
                axes.fill_between([begin, end], base, height, color=FILL, linewidth=0)
    for (_, end, before), (_, _, after) in pairwise(runs_of(trace)):
        if before is not None and after is not None:
            axes.plot([end, end], [base, base + 0.6], color=LINE, linewidth=1.4)


def _draw_bus(axes: Any, trace: Trace, base: int, inches: float) -> None:
    for begin, end, value in runs_of(trace):
        colour = UNKNOWN if value is None else FILL if value else "#f2f2f2"
        axes.fill_between([begin, end], base, base + 0.6, facecolor=colour, edgecolor=LINE, linewidth=0.8)
        text = "?" if value is None else f"{value:x}"
        if len(text) * CHARACTER_INCHES < (end - begin) * inches:
            axes.text((begin + end) / 2, base + 0.28, text, ha="center", va="center", fontsize=8)


def wave_picture(path: Path, signals: Sequence[str], cycles: str, out: Path, title: str) -> Path:
    """Draws `signals` of a wave file over `cycles`, "FIRST:LAST". Errors: UserError for bad input."""
    first, _, last = cycles.partition(":")
    if not (first.isdecimal() and last.isdecimal()):
        raise UserError(f"Give cycles as FIRST:LAST, two numbers, not {cycles}.")
    if not signals:
        raise UserError("Give at least one --signal.")
    if not out.parent.is_dir():
        raise UserError(f"Make the folder {out.parent} first, or give another file.")
    draw_waves(read_traces(path, signals, int(first), int(last)), int(first), out, title or path.name)
    return out
