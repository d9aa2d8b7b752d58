# SPDX-License-Identifier: Apache-2.0
"""Tests of builds and of the simulator process, with a counter in the place of the device."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from models.errors import UserError
from sim import build as build_module
from sim.build import (
    Design,
    build,
    build_by_name,
    configuration_parameters,
    content_key,
    first_error,
    source_files,
    top_parameters,
)
from sim.simulation import WAVES_DIRECTORY, SimulationOutcome, read_results, simulate
from tb.configurations import named_configuration

PARAMETERS = ", ".join(f"{name} = 1" for name in named_configuration("default").parameters)
COUNTER = f"""\
module tb_top #(
    parameter int unsigned {PARAMETERS},
    parameter int unsigned Step = 1
) (input logic clk, input logic rst_n, output logic [15:0] count, output logic [15:0] entries);
  assign entries = 16'(TlbEntries);
  always_ff @(posedge clk or negedge rst_n) if (!rst_n) count <= '0; else count <= count + 16'(Step);
endmodule
"""

TESTS = """\
import os, signal, time
import cocotb
from cocotb.clock import Clock
from cocotb.triggers import ClockCycles

async def start(dut):
    Clock(dut.clk, 10, unit="ns").start()
    dut.rst_n.value = 0
    await ClockCycles(dut.clk, 2)
    dut.rst_n.value = 1
    await ClockCycles(dut.clk, 11)

@cocotb.test()
async def counts(dut):
    await start(dut)
    assert dut.count.value == 10
    assert os.environ["HMM_OUT"] and dut.entries.value == int(os.environ.get("ENTRIES", 16))

@cocotb.test()
async def finds_a_mistake(dut):
    assert False, "this is the mistake"

@cocotb.test()
async def crashes(dut):
    os.kill(os.getpid(), signal.SIGSEGV)

@cocotb.test()
async def hangs(dut):
    time.sleep(100)

@cocotb.test()
async def leaves_early(dut):
    print("leaving now", flush=True)
    os._exit(3)
"""


@pytest.fixture(scope="module")
def counter(tmp_path_factory: pytest.TempPathFactory) -> Design:
    """A counter as the design, with cocotb's own main program."""
    root = tmp_path_factory.mktemp("counter")
    for folder in ("rtl", "tb/cpp"):
        (root / folder).mkdir(parents=True)
    (root / "rtl/counter.sv").write_text(COUNTER)
    (root / "rtl/counter.f").write_text("rtl/counter.sv\n")
    from cocotb_tools import config

    main = (Path(config.share_dir) / "lib/verilator/verilator.cpp").read_text()
    main = main.replace('"Vtop.h"', '"Vtb_top.h"').replace("<Vtop>", "<Vtb_top>").replace("new Vtop", "new Vtb_top")
    main = main.replace('arg == "--trace-file"', 'arg == "--waves"').replace(
        "traceFile = argv[i];", "traceFile = argv[i]; traceOn = true; i += 2;"
    )
    (root / "tb/cpp/main.cpp").write_text(main + "\nvoid vl_stop(const char*, int, const char*) {}\n")
    (root / "counter_tests.py").write_text(TESTS)
    return Design(
        root=root,
        file_lists=("rtl/counter.f",),
        source_folders=("rtl", "tb/cpp"),
        extra_flags=("--public-depth", "1", "-CFLAGS", "-DVL_USER_STOP"),
    )


def _simulate(
    design: Design, executable: Path, out: Path, testcase: str, timeout: float = 60.0, waves: bool = False
) -> SimulationOutcome:
    return simulate(
        executable,
        "counter_tests",
        out=out,
        testcase=rf"counter_tests\.{testcase}$",
        timeout=timeout,
        waves=waves,
        environment={"PYTHONPATH": str(design.root)},
    )


@pytest.mark.simulation
def test_build_is_done_once(counter: Design, monkeypatch: pytest.MonkeyPatch) -> None:
    """Stimulus: the same design built twice; then with a changed source; then with the old source again.
    Checking: the compiler runs for the first and for the change only, and the two executables have different places.
    Covers: BUILD-CACHE.
    """
    first = build("fast", "default", counter)
    compiled: list[Path] = []
    really = build_module._compile

    def counted(design: Design, flags: list[str], directory: Path, log: Path) -> None:
        compiled.append(directory)
        really(design, flags, directory, log)

    monkeypatch.setattr(build_module, "_compile", counted)
    assert build("fast", "default", counter) == first
    assert compiled == []
    source = counter.root / "rtl/counter.sv"
    try:
        source.write_text(COUNTER + "// changed\n")
        second = build("fast", "default", counter)
        assert second != first and second.is_file() and len(compiled) == 1
    finally:
        source.write_text(COUNTER)
    assert build("fast", "default", counter) == first
    assert len(compiled) == 1


def test_build_key_follows_everything(counter: Design) -> None:
    """Stimulus: other options, a new header, a renamed source.
    Checking: each changes the key; nothing changed leaves it.
    Covers: BUILD-CACHE.
    """
    key = content_key(counter, ["a"])
    assert content_key(counter, ["a"]) == key
    assert content_key(counter, ["b"]) != key
    header = counter.root / "tb/cpp/new.h"
    header.write_text("")
    try:
        added = content_key(counter, ["a"])
        assert added != key
        header = header.rename(counter.root / "tb/cpp/newer.h")
        assert content_key(counter, ["a"]) not in (key, added)
    finally:
        header.unlink()


def test_build_key_follows_listed_files(tmp_path: Path) -> None:
    """Stimulus: a list that names a file outside the design's folders, which changes; then the list itself changes.
    Checking: another key each time; options and comments in the list are no files.
    Covers: BUILD-CACHE.
    """
    unit, common = tmp_path / "rtl/unit/unit.sv", tmp_path / "rtl/common/shared.sv"
    for path in (unit, common):
        path.parent.mkdir(parents=True)
        path.write_text("module m; endmodule\n")
    names = tmp_path / "lists.f"
    names.write_text("// both\n-CFLAGS -DONE\nrtl/common/shared.sv\nrtl/unit/unit.sv\n")
    design = Design(root=tmp_path, file_lists=("lists.f",), source_folders=("rtl/unit",))
    assert source_files(design) == sorted([unit, common, names])
    keys = {content_key(design, ())}
    common.write_text("module other; endmodule\n")
    keys.add(content_key(design, ()))
    names.write_text("rtl/unit/unit.sv\n")
    keys.add(content_key(design, ()))
    assert len(keys) == 3


@pytest.mark.simulation
def test_build_interrupted_is_made_anew(counter: Design) -> None:
    """Stimulus: what an interrupted build leaves: a partial directory, and a final one without an executable.
    Checking: the build takes neither for done.
    Covers: BUILD-INTERRUPTED.
    """
    executable = build("fast", "default", counter)
    executable.unlink()
    (counter.output / "fast-default.partial").mkdir()
    (counter.output / "fast-default.partial" / "simulator").write_text("not a program")
    again = build("fast", "default", counter)
    assert again == executable and again.stat().st_size > 1000
    assert not (counter.output / "fast-default.partial").exists()


@pytest.mark.simulation
def test_build_configuration_reaches_the_top(counter: Design, tmp_path: Path) -> None:
    """Stimulus: the configuration tiny, in a build of its own.
    Checking: the top sees its number of entries.
    Covers: BUILD-CONFIGURATION.
    """
    entries = named_configuration("tiny").parameters["TlbEntries"]
    executable = build("fast", "tiny", counter)
    outcome = simulate(
        executable,
        "counter_tests",
        out=tmp_path,
        testcase="counts",
        environment={"PYTHONPATH": str(counter.root), "ENTRIES": str(entries)},
    )
    assert outcome.passed, outcome.failure


@pytest.mark.simulation
def test_build_error_is_one_sentence(counter: Design) -> None:
    """Stimulus: a source that does not compile; an unknown configuration; an unknown build.
    Checking: UserErrors of one line with the first error, and with the known names.
    Covers: CLI-ERRORS.
    """
    source = counter.root / "rtl/counter.sv"
    try:
        source.write_text(COUNTER.replace("always_ff", "always_fff"))
        with pytest.raises(UserError, match=r"does not build: %Error.*counter\.sv:6") as caught:
            build("fast", "default", counter)
    finally:
        source.write_text(COUNTER)
    assert "\n" not in str(caught.value)
    with pytest.raises(UserError, match="no configuration huge; choose one of default, large, tiny, va57"):
        build("fast", "huge", counter)
    with pytest.raises(UserError, match="no build quick; choose one of fast, checked"):
        build_by_name("quick")


def test_build_first_error_is_found() -> None:
    """Stimulus: outputs of a linker, of make and of nothing.
    Checking: the line that names the cause, not the last one.
    Covers: CLI-ERRORS.
    """
    lines = ["make: going", "x.o: undefined reference to `f'", "collect2: error: ld returned 1", "%Error: make"]
    assert first_error(lines) == lines[1]
    assert first_error(["only this"]) == "only this"
    assert first_error([]) == ""


@pytest.mark.simulation
def test_simulation_judges_each_way_to_end(counter: Design, tmp_path: Path) -> None:
    """Stimulus: tests that pass, fail, crash, hang, leave early, and a name that no test has.
    Checking: only the first passes; each failure says what happened.
    Covers: SIMULATION-JUDGE.
    """
    executable = build("fast", "default", counter)
    good = _simulate(counter, executable, tmp_path / "good", "counts")
    assert good.passed and [test.name for test in good.tests] == ["counter_tests.counts"], good.failure
    bad = _simulate(counter, executable, tmp_path / "bad", "finds_a_mistake")
    assert not bad.passed and "this is the mistake" in bad.failure and "finds_a_mistake" in bad.failure
    crash = _simulate(counter, executable, tmp_path / "crash", "crashes")
    assert not crash.passed and "ended by SIG" in crash.failure
    started = time.monotonic()
    hang = _simulate(counter, executable, tmp_path / "hang", "hangs", timeout=3.0)
    assert not hang.passed and hang.timed_out and "within 3 s" in hang.failure
    assert time.monotonic() - started < 20
    early = _simulate(counter, executable, tmp_path / "early", "leaves_early")
    assert not early.passed and "status 3" in early.failure and "leaving now" in early.failure
    none = _simulate(counter, executable, tmp_path / "none", "absent")
    assert not none.passed


@pytest.mark.simulation
def test_simulation_stale_results_do_not_count(counter: Design, tmp_path: Path) -> None:
    """Stimulus: a run that passes, then one in the same directory that leaves before it writes results.
    Checking: the second fails.
    Covers: SIMULATION-JUDGE.
    """
    executable = build("fast", "default", counter)
    assert _simulate(counter, executable, tmp_path, "counts").passed
    assert not _simulate(counter, executable, tmp_path, "leaves_early").passed


@pytest.mark.simulation
@pytest.mark.slow
def test_simulation_waves_and_coverage_of_the_checked_build(
    counter: Design, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Stimulus: the checked build without waves, with waves, and with a directory for the waves of all runs.
    Checking: a wave file exactly when asked for and where, named in a failure's message; and a coverage file.
    Covers: SIMULATION-WAVES.
    """
    monkeypatch.delenv(WAVES_DIRECTORY, raising=False)
    executable = build("checked", "default", counter)
    plain = _simulate(counter, executable, tmp_path, "counts")
    assert plain.passed and plain.waves is None, plain.failure
    assert (tmp_path / "coverage.dat").is_file()
    waved = _simulate(counter, executable, tmp_path, "counts", waves=True)
    assert waved.passed and waved.waves is not None and waved.waves.stat().st_size > 0, waved.failure
    together = tmp_path / "together"
    together.mkdir()
    monkeypatch.setenv(WAVES_DIRECTORY, str(together))
    bad = _simulate(counter, executable, tmp_path / "bad", "finds_a_mistake")
    assert bad.waves is not None and bad.waves.parent == together and str(bad.waves) in bad.failure
    fast = _simulate(counter, build("fast", "default", counter), tmp_path / "fast", "counts")
    assert fast.passed and fast.waves is None


def test_simulation_results_are_read(tmp_path: Path) -> None:
    """Stimulus: a results file with a pass, a failure, an error and a skipped test.
    Checking: three outcomes with their messages.
    Covers: SIMULATION-JUDGE.
    """
    path = tmp_path / "results.xml"
    path.write_text(
        '<testsuites><testsuite><testcase classname="m" name="a"/>'
        '<testcase classname="m" name="b"><failure message="wrong"/></testcase>'
        '<testcase classname="m" name="c"><error>broken</error></testcase>'
        '<testcase classname="m" name="d"><skipped/></testcase></testsuite></testsuites>'
    )
    assert [(test.name, test.passed, test.message) for test in read_results(path)] == [
        ("m.a", True, ""),
        ("m.b", False, "wrong"),
        ("m.c", False, "broken"),
    ]


def test_build_parameter_that_the_top_lacks_is_one_sentence(tmp_path: Path) -> None:
    """Stimulus: a top without the parameter FaultSlots, which every configuration sets, but for a comment and a use of
        the name; one that has it; a top that no source has.
    Checking: a UserError of one line with configuration, parameter and those that there are; the parameters of the
        configuration; a UserError.
    Covers: BUILD-CONFIGURATION, CLI-ERRORS.
    """
    source = tmp_path / "rtl" / "top.sv"
    source.parent.mkdir()
    design = Design(root=tmp_path, source_folders=("rtl",))
    names = [name for name in named_configuration("tiny").parameters if name != "FaultSlots"]
    text = "module tb_top\n  import p::*;\n#(\n  // FaultSlots = 3,\n  parameter int unsigned MORE"
    text += ",\n    ".join(f"{name} = 1" for name in names)
    text += "\n) (\n  input logic [3:0] FaultSlots_i = 4'd0\n);\nendmodule\n"
    source.write_text(text.replace("MORE", ""))
    with pytest.raises(UserError, match=r"tiny sets FaultSlots, but tb_top has no such parameter; it has VaBits, "):
        configuration_parameters("tiny", design)
    assert top_parameters(design) == names
    source.write_text(text.replace("MORE", "FaultSlots = 1, "))
    assert configuration_parameters("tiny", design) == named_configuration("tiny").parameters
    source.write_text("module other (input logic a);\nendmodule\n")
    with pytest.raises(UserError, match="No source in rtl has the module tb_top"):
        top_parameters(design)
