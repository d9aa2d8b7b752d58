# SPDX-License-Identifier: Apache-2.0
"""Tests of pictures of waves, from a small VCD file."""

from __future__ import annotations

from pathlib import Path

import pytest

from models.errors import UserError
from sim.wave_picture import Trace, find_signal, read_traces, runs_of, wave_picture

CYCLES = 20
VCD = """$timescale 1ps $end
$scope module tb_top $end
$var wire 64 ! cycle_q $end
$var wire 1 " busy $end
$scope module u_one $end
$var wire 1 # valid $end
$var wire 8 $ data $end
$upscope $end
$scope module u_two $end
$var wire 1 % valid $end
$upscope $end
$upscope $end
$enddefinitions $end
"""


def small_vcd(path: Path) -> Path:
    """Cycles of 10 ps from time 5 on; u_one.valid is high in cycles 4 and 5, with data a7, and x in cycle 8."""
    lines = [VCD]
    for cycle in range(CYCLES):
        lines.append(f"#{5 + 10 * cycle}\nb{cycle:b} !")
        changes = {0: ["0#", '0"', "0%", "b0 $"], 4: ["1#", "b10100111 $"], 6: ["0#"], 8: ["x#", "bx $"]}
        lines += changes.get(cycle, [])
        # A glitch in the middle of a cycle, which no edge takes.
        if cycle == 10:
            lines.append('#107\n1"\n#109\n0"')
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def test_wave_picture_reads_what_edges_take(tmp_path: Path) -> None:
    """
    Stimulus: a VCD file with a bit, a bus, an unknown value, and a glitch in the middle of a cycle.
    Checking: the values of each cycle are those at its end; unknown ones are told apart; the glitch is not seen.
    Covers: WAVE-PICTURE
    """
    waves = small_vcd(tmp_path / "small.vcd")
    valid, data, busy = read_traces(waves, ["u_one.valid", "data", "busy"], 2, 11)
    assert valid == Trace("u_one.valid", 1, (0, 0, 1, 1, 0, 0, None, None, None, None))
    assert data == Trace("data", 8, (0, 0, *[0xA7] * 4, None, None, None, None))
    assert busy.values == (0,) * 10
    assert runs_of(data) == [(0, 2, 0), (2, 6, 0xA7), (6, 10, None)]


def test_wave_picture_drawn_twice_is_the_same(tmp_path: Path) -> None:
    """
    Stimulus: the same signals drawn twice, and other cycles.
    Checking: the same bytes; names and values stand in the picture; the other one differs; nothing else is left.
    Covers: WAVE-PICTURE
    """
    waves = small_vcd(tmp_path / "small.vcd")
    signals = ["u_one.valid", "data"]
    one, two, other = (
        wave_picture(waves, signals, cycles, tmp_path / name, "a title")
        for name, cycles in (("one.svg", "2:11"), ("two.svg", "2:11"), ("other.svg", "2:7"))
    )
    assert one.read_bytes() == two.read_bytes() != other.read_bytes()
    text = one.read_text(encoding="utf-8")
    assert all(word in text for word in (">u_one.valid<", ">data<", ">a7<", ">a title<"))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["one.svg", "other.svg", "small.vcd", "two.svg"]


@pytest.mark.parametrize(
    ("signals", "cycles", "sentence"),
    [
        (["nothing"], "2:5", "no signal nothing"),
        (["valid"], "2:5", "may be"),
        (["data"], "2:50", "no cycle 51"),
        (["data"], "5:2", "FIRST:LAST"),
        (["data"], "all", "two numbers"),
        ([], "2:5", "at least one"),
    ],
)
def test_wave_picture_bad_input(signals: list[str], cycles: str, sentence: str, tmp_path: Path) -> None:
    """
    Stimulus: signals that are not there or more than one, cycles that are not there or no cycles, nothing.
    Checking: UserError that says what to do.
    Covers: WAVE-PICTURE, CLI-ERRORS
    """
    waves = small_vcd(tmp_path / "small.vcd")
    with pytest.raises(UserError, match=sentence):
        wave_picture(waves, signals, cycles, tmp_path / "out.svg", "")


def test_wave_picture_bad_files(tmp_path: Path) -> None:
    """
    Stimulus: no file, a file that holds no waves, a folder that is not there.
    Checking: UserError that says what to do.
    Covers: WAVE-PICTURE, CLI-ERRORS
    """
    text = tmp_path / "text.fst"
    text.write_text("no waves", encoding="utf-8")
    for path, out, sentence in (
        (tmp_path / "absent.fst", tmp_path / "out.svg", "no file"),
        (text, tmp_path / "out.svg", "can be read"),
        (small_vcd(tmp_path / "small.vcd"), tmp_path / "nowhere" / "out.svg", "Make the folder"),
    ):
        with pytest.raises(UserError, match=sentence):
            wave_picture(path, ["data"], "2:5", out, "")


def test_wave_picture_signal_by_its_end() -> None:
    """
    Stimulus: ends of names.
    Checking: the one that ends so; of several the one that is highest up.
    Covers: WAVE-PICTURE
    """
    names = ["top.a.valid", "top.b.c.valid", "top.b.c.invalid"]
    assert find_signal(names, "valid") == "top.a.valid"
    assert find_signal(names, "c.valid") == "top.b.c.valid"
    assert find_signal(names, "top.a.valid") == "top.a.valid"
