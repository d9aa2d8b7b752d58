# SPDX-License-Identifier: Apache-2.0
"""Tests of changes of SystemVerilog: which are found, how many stand in one source, how they are run and told."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import numpy as np
import pytest

from models.errors import UserError
from sim import toolchain
from sim.mutants import run as run_module
from sim.mutants.find import PROMISES, Mutant, enum_members, find_mutants
from sim.mutants.refused import lint_refuses
from sim.mutants.report import result_data, survivor_line, take_over, unit_table
from sim.mutants.run import MutationRun, Stage, draw_mutants, source_texts, stages_of
from sim.mutants.schema import PACKAGE, number_all, with_mutants
from sim.paths import ROOT
from sim.tests.fake_simulator import fake_case, write_fake

SOURCE = """\
module unit #(parameter int Width = 4) (input logic clk_i, rst_ni, input logic [3:0] a, output logic [3:0] y);
  typedef enum logic [1:0] {StateIdle, StateBusy, StateDone} state_e;
  state_e state_q, state_d;
  logic [Width-1:0] wide;
  assign y = (a[2] && a[3]) ? a + 4'd3 : ~a;
  always_comb begin
    state_d = state_q;
    unique case (state_q)
      StateIdle: if (a == 4'd1) state_d = StateBusy;
      StateBusy: begin wide = '0; end
      default: ;
    endcase
  end
  always_ff @(posedge clk_i or negedge rst_ni) begin
    if (!rst_ni) state_q <= StateIdle;
    else state_q <= state_d;
  end
  assert property (@(posedge clk_i) disable iff (!rst_ni) a != 4'd7 |-> y == 4'd0);
endmodule
"""


def found() -> list[Mutant]:
    return find_mutants("unit.sv", SOURCE, {})


def changed(operator: str) -> list[str]:
    """Lines that a change with this name makes, trimmed."""
    lines = []
    for mutant in found():
        if mutant.operator == operator:
            lines.append(" ".join(mutant.apply(SOURCE).splitlines()[mutant.line - 1].split()))
    return lines


@pytest.mark.parametrize(
    ("operator", "line"),
    [
        ("&& became ||", "assign y = ((a[2]) || (a[3])) ? a + 4'd3 : ~a;"),
        ("term dropped", "assign y = ((a[3])) ? a + 4'd3 : ~a;"),
        ("negated condition", "assign y = !((a[2] && a[3])) ? a + 4'd3 : ~a;"),
        ("+ became -", "assign y = (a[2] && a[3]) ? (a) - (4'd3) : ~a;"),
        ("constant off by one", "assign y = (a[2] && a[3]) ? a + 4'd4 : ~a;"),
        ("negation removed", "assign y = (a[2] && a[3]) ? a + 4'd3 : (a);"),
        ("stuck at '0", "assign y = '0;"),
        ("stuck at '1", "assign y = '1;"),
        ("== became !=", "StateIdle: if ((a) != (4'd1)) state_d = StateBusy;"),
        ("other enum member", "StateIdle: if (a == 4'd1) state_d = StateDone;"),
        ("assignment dropped", "StateIdle: if (a == 4'd1) ;"),
        ("assignment dropped", "else ;"),
        ("wrong reset value", "if (!rst_ni) state_q <= StateBusy;"),
    ],
)
def test_mutant_is_found(operator: str, line: str) -> None:
    """
    Stimulus: a small module.
    Checking: the change of this name makes this line.
    Covers: BREAK-OPERATORS
    """
    assert line in changed(operator), changed(operator)


def test_mutant_case_bodies() -> None:
    """
    Stimulus: the case statement of the module.
    Checking: the bodies of its items change places, the labels stay.
    Covers: BREAK-OPERATORS
    """
    swapped = [mutant for mutant in found() if mutant.operator == "case bodies swapped"]
    assert len(swapped) == 1 and swapped[0].statement
    text = " ".join(swapped[0].after.split())
    assert "StateIdle: begin wide = '0; end StateBusy: if (a == 4'd1) state_d = StateBusy;" in text


def test_mutants_leave_alone_what_does_not_run() -> None:
    """
    Stimulus: all changes of the module, and of every source of the device.
    Checking: none in ports, types, widths, labels or assertions, nor behind the heading of promises; each changes its
        file in one place and keeps the rest.
    Covers: BREAK-OPERATORS
    """
    assert {mutant.line for mutant in found()} <= {5, 7, 8, 9, 10, 15, 16}
    assert not any(mutant.before in ("StateIdle", "StateBusy") and mutant.line == 10 for mutant in found())
    behind = SOURCE.replace("endmodule", f"  {PROMISES} ---\n  logic seen;\n  assign seen = a[0] && a[1];\nendmodule")
    assert find_mutants("unit.sv", behind, {}) == found()
    unread = SOURCE.replace("endmodule", "  logic unused_a;\n  assign unused_a = a[0] ^ a[1];\nendmodule")
    assert find_mutants("unit.sv", unread, {}) == found()
    early = "  function automatic int f();\n    return 3 + 4;\n  endfunction\n"
    constant = SOURCE.replace("endmodule", f"{early}  localparam int Seven = f();\nendmodule")
    assert find_mutants("unit.sv", constant, {}) == found()
    assert len(find_mutants("unit.sv", SOURCE.replace("endmodule", f"{early}endmodule"), {})) > len(found())
    for file, text in source_texts().items():
        for mutant in find_mutants(file, text, {})[::17]:
            after = mutant.apply(text)
            assert after != text and after.startswith(text[: mutant.start]) and after.endswith(text[mutant.end :])
            assert text.splitlines()[mutant.line - 1].strip().split("\n")[0][:1] != ""


def test_mutants_draw_is_the_seeds() -> None:
    """
    Stimulus: draws with a seed, twice, with another, and more than there are lines.
    Checking: the same changes, others, all different; one sentence.
    Covers: BREAK-DRAW
    """
    texts = source_texts()
    assert not any("regs" in file for file in texts) and len(texts) > 20
    first = draw_mutants(texts, [], 1, 50)
    assert first == draw_mutants(texts, [], 1, 50) and first != draw_mutants(texts, [], 2, 50)
    assert len({(mutant.file, mutant.line) for mutant in first}) == 50
    with pytest.raises(UserError, match=r"only .* lines"):
        draw_mutants({"unit.sv": SOURCE}, [], 1, 1000)


def test_mutants_stand_in_one_source(seed: int, tmp_path: Path) -> None:
    """
    Stimulus: all changes of the module in one text; drawn parts of them; changes that overlap.
    Checking: Verilator takes the text; each number is there; without changes the text is as it was; an overlap is
        refused.
    Covers: BREAK-SCHEMA
    """
    assert with_mutants(SOURCE, {}) == SOURCE
    everything = number_all(found())
    text = with_mutants(SOURCE, everything)
    assert all(f"selected == {number})" in text for number in everything)
    rng = np.random.default_rng(seed)
    some = {number: everything[number] for number in rng.choice(list(everything), 5, replace=False).tolist()}
    for chosen in (everything, some):
        elaborates(tmp_path / "unit.sv", PACKAGE + with_mutants(SOURCE, chosen))
    one = Mutant("unit.sv", 1, "x", 10, 20, "", "")
    with pytest.raises(ValueError, match="overlap"):
        with_mutants(SOURCE, {1: one, 2: Mutant("unit.sv", 1, "x", 15, 25, "", "")})


def elaborates(path: Path, text: str) -> None:
    """Errors: AssertionError with Verilator's words."""
    path.write_text(text, encoding="utf-8")
    done = subprocess.run(
        [*toolchain.verilator_command(), *("--lint-only", "--timing", "-Wno-lint", "-Wno-style", str(path))],
        cwd=ROOT,
        env=toolchain.tool_environment(ROOT),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr + text


def test_mutants_enum_members_are_of_their_file() -> None:
    """
    Stimulus: a file and a package that both have a StateIdle.
    Checking: the file's own enumeration is meant.
    Covers: BREAK-OPERATORS
    """
    other = enum_members(["package p; typedef enum logic {StateIdle, StateElsewhere} other_e; endpackage"])
    assert not any("StateElsewhere" in mutant.after for mutant in find_mutants("unit.sv", SOURCE, other))


def test_mutants_stages_are_cheapest_first() -> None:
    """
    Stimulus: the regression pr.
    Checking: the device with assertions comes first and has every case of it once, also those that pr has without;
        benches of units next, other configurations behind; nothing that is only about the test bench.
    Covers: BREAK-STAGES
    """
    stages = stages_of("pr")
    assert stages[0].name == "device checked default"
    names = [stage.name for stage in stages]
    assert len(set(names)) == len(names)
    assert names.index("decoder fast default") < names.index("device fast tiny")
    assert "device fast default" not in names
    modules = {case.module for stage in stages for case in stage.cases}
    assert "tb.tests.cocotb_csr" in modules and "tb.tests.cocotb_failures" not in modules
    main = stages[0].cases
    assert all(case.kind.build == "checked" for case in main)
    assert any(case.module == "tb.tests.cocotb_registers" for case in main), "fast only in pr"


def test_mutant_refused_by_lint(tmp_path: Path) -> None:
    """
    Stimulus: the default of a signal in a combinational block dropped, which makes a latch; a constant off by one.
    Checking: what lint says of the first, in a line; nothing of the second, also when asked behind the first.
    Covers: BREAK-RUN
    """
    texts = source_texts()
    file = "rtl/fault/hmm_fault_recorder.sv"
    found = find_mutants(file, texts[file], {})
    latch = next(
        each for each in found if each.operator == "assignment dropped" and "record_d  = record_q" in each.before
    )
    harmless = next(each for each in found if each.operator == "constant off by one" and each.before == "32'd1")
    refuses = lint_refuses(tmp_path, texts)
    assert "LATCH" in refuses(latch) and "\n" not in refuses(latch)
    assert refuses(harmless) == ""


@pytest.fixture
def fake_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A stand-in for the simulator that fails with change 2, dies with 3 and hangs with 4."""
    program = write_fake(tmp_path)
    text = program.read_text(encoding="utf-8")
    told = 'do = {"+mutant=2": "fail", "+mutant=3": "crash", "+mutant=4": "hang"}.get(sys.argv[-1], "pass")'
    program.write_text(text.replace('do = entry["parameters"]["do"]\n', f"{told}\n"), encoding="utf-8")
    monkeypatch.setattr(run_module, "build", lambda flavour, configuration, design: program)
    monkeypatch.setattr(run_module, "LIMIT_SECONDS", 0.2)
    monkeypatch.setattr(run_module, "LIMIT_FACTOR", 0.0)
    return program


def test_mutants_run(fake_run: Path, tmp_path: Path) -> None:
    """
    Stimulus: five changes of which three are noticed, in different ways, in two stages; then an unchanged design that
        fails.
    Checking: verdicts, who noticed, survivors with file, line and change; only survivors reach the second stage, and
        lint; a later run takes over what was killed, but only of the same sources; one sentence for the last.
    Covers: BREAK-RUN, BREAK-SURVIVOR
    """
    texts = source_texts()
    mutants = draw_mutants(texts, [], 1, 5)
    before = {file: (ROOT / file).read_text(encoding="utf-8") for file in texts}
    told: list[int] = []
    run = MutationRun(mutants, texts, out=tmp_path / "out", jobs=2)
    cases = (fake_case("pass", 1), fake_case("pass", 2))
    stages = [Stage("device", "fast", "default", cases), Stage("device", "checked", "default", cases)]
    run.run(stages, lambda verdict: told.append(verdict.number))
    results = {number: (verdict.result, verdict.how.split(":")[0]) for number, verdict in run.verdicts.items()}
    assert results == {
        1: ("survived", ""),
        2: ("killed", "failed"),
        3: ("killed", "crashed"),
        4: ("killed", "hung"),
        5: ("survived", ""),
    }
    assert sorted(told) == [1, 2, 3, 4, 5]
    assert len(run.verdicts[1].stages) == 2 and len(run.verdicts[2].stages) == 1
    assert {file: (ROOT / file).read_text(encoding="utf-8") for file in texts} == before
    line = survivor_line(run.verdicts[1])
    assert f"{mutants[0].file}:{mutants[0].line}" in line and mutants[0].operator in line
    target = tmp_path / "verdicts.json"
    target.write_text(json.dumps(result_data(1, "pr", run, "key")), encoding="utf-8")
    later = MutationRun(mutants, texts, out=tmp_path / "later", jobs=2)
    assert take_over(later, target, "another key") == 0 and len(later.alive) == 5
    assert take_over(later, tmp_path / "absent.json", "key") == 0
    assert take_over(later, target, "key") == 3
    later.run(stages)
    assert {number: (each.result, each.how.split(":")[0]) for number, each in later.verdicts.items()} == results
    data = result_data(1, "pr", run)
    assert data["survived"] == 2 and len(data["verdicts"]) == 5
    assert sum(int(str(cell)) for cell in unit_table(list(run.verdicts.values())).columns[4].cells) == 2
    strict = MutationRun(
        mutants, texts, out=tmp_path / "strict", only=(1, 5), refuses=lambda mutant: objections[mutant]
    )
    objections = {mutants[0]: "%Error-LATCH: a latch", mutants[4]: ""}
    strict.run(stages)
    assert [(each.result, each.by, each.how) for each in strict.verdicts.values()] == [
        ("killed", "lint", "%Error-LATCH: a latch"),
        ("survived", "", ""),
    ]
    failing = fake_run.read_text(encoding="utf-8").replace('sys.argv[-1], "pass")', 'sys.argv[-1], "fail")')
    fake_run.write_text(failing, encoding="utf-8")
    with pytest.raises(UserError, match=r"unchanged design does not pass pass\.s1"):
        run.run([Stage("device", "fast", "default", cases)])
