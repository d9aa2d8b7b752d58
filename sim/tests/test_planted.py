# SPDX-License-Identifier: Apache-2.0
"""Tests of the device's planted defects: the list fits the present RTL, lists that are wrong, how a run judges."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml
from pyslang.syntax import SyntaxTree

from models.errors import UserError
from sim.mutants import planted_report
from sim.mutants import run as run_module
from sim.mutants.planted import Defect, NoticedBy, chosen_numbers, is_case_of, load_defects, plant, plant_all
from sim.mutants.planted_report import run_planted
from sim.mutants.run import Stage, source_texts, stages_of
from sim.mutants.schema import number_all, with_mutants
from sim.tests.fake_simulator import fake_case, started, write_fake

UNIT = "rtl/command/hmm_fence.sv"
GOOD = {
    "name": "early",
    "defect": "A fence waits for nothing.",
    "file": "unit.sv",
    "anchor": "assign done = (count != '0) && !open",
    "replaced": "!open",
    "by": "1'b1",
    "no_effect": "none",
}
SOURCE = """\
module unit (input logic open, input logic [1:0] count, output logic done, output logic other);
  assign done = (count != '0) &&
                !open;
  always_comb if (open) other = 1'b0; else other = open;
endmodule
"""


def syntax_errors(text: str) -> list[str]:
    """What a parser has against a source."""
    return [str(each.code) for each in SyntaxTree.fromText(text).diagnostics if each.isError()]


def row(**changes: object) -> Defect:
    """A good row with some fields changed."""
    return Defect.model_validate({**GOOD, **changes})


def test_planted_list_fits_the_rtl() -> None:
    """
    Stimulus: every row of the list, and the present RTL.
    Checking: what it changes is there once and is changed; the file is SystemVerilog with each change alone and with
        all of them to choose from; a text that is none is noticed.
    Covers: PLANTED-FITS
    """
    texts = source_texts()
    defects = load_defects()
    mutants = plant_all(defects, texts)
    assert not [file for file, text in texts.items() if syntax_errors(text)]
    wrong = [mutant.operator for mutant in mutants if syntax_errors(mutant.apply(texts[mutant.file]))]
    assert not wrong
    assert all(mutant.apply(texts[mutant.file]) != texts[mutant.file] for mutant in mutants)
    numbered = number_all(mutants)
    for file in {mutant.file for mutant in mutants}:
        own = {number: mutant for number, mutant in numbered.items() if mutant.file == file}
        text = with_mutants(texts[file], own)
        assert not syntax_errors(text), file
        assert all(f"selected == {number})" in text for number in own)
    assert syntax_errors("module unit; assign a = (1; endmodule")


def test_planted_list_names_cases_of_pr() -> None:
    """
    Stimulus: every row of the list, and the cases of pr.
    Checking: the case that should notice is one of them; both kinds of rows are there; every row is told differently.
    Covers: PLANTED-FITS
    """
    ids = [case.id for stage in stages_of("pr") for case in stage.cases]
    defects = load_defects()
    named = {defect.name: defect.noticed_by.case for defect in defects if defect.noticed_by is not None}
    assert not {name: case for name, case in named.items() if not any(is_case_of(each, case) for each in ids)}
    assert len(named) > 70 and len(defects) - len(named) > 5
    assert len({defect.defect for defect in defects}) == len(defects)
    assert is_case_of("mixed.s18", "mixed") and not is_case_of("mixed_checked.s18", "mixed")


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"file": "rtl/absent.sv"}, "there is no file rtl/absent.sv"),
        ({"anchor": "assign done = count"}, "anchor occurs not in unit.sv"),
        ({"anchor": "open", "replaced": ""}, "anchor occurs 4 times"),
        ({"replaced": "other"}, "replaced occurs not in the anchor"),
        ({"anchor": "if (open) other = 1'b0; else other = open", "replaced": "open"}, "2 times in the anchor"),
        ({"anchor": "if (open) other = 1'b0; else other = open", "replaced": "open", "nth": 3}, "not in the anchor"),
        ({"replaced": "&& !open"}, "no whole expression or statement"),
    ],
)
def test_planted_row_that_does_not_fit(changes: dict[str, object], said: str) -> None:
    """
    Stimulus: a row whose file, anchor or part is not there, is there more than once, or is no whole expression.
    Checking: one sentence that names the row and says which.
    Covers: PLANTED-ERRORS
    """
    with pytest.raises(UserError, match=said) as caught:
        plant(row(**changes), {"unit.sv": SOURCE})
    assert "Defect early" in str(caught.value)


def test_planted_row_is_found() -> None:
    """
    Stimulus: an anchor over two lines; the second of two parts; a statement.
    Checking: just that part is changed, at its line; a statement is known as one.
    Covers: PLANTED-FITS
    """
    mutant = plant(row(), {"unit.sv": SOURCE})
    assert (mutant.line, mutant.before, mutant.statement) == (3, "!open", False)
    assert mutant.apply(SOURCE) == SOURCE.replace("!open", "1'b1")
    second = plant(row(anchor="if (open) other = 1'b0; else other = open", replaced="open", nth=2), {"unit.sv": SOURCE})
    assert "else other = 1'b1;" in second.apply(SOURCE) and "if (open)" in second.apply(SOURCE)
    statement = plant(row(anchor="other = 1'b0;", replaced="", by=";"), {"unit.sv": SOURCE})
    assert statement.statement


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (yaml.safe_dump({"defects": [{**GOOD, "noticed_by": {"case": "a", "check": "b"}}]}), "early.*either"),
        (yaml.safe_dump({"defects": [{**GOOD, "no_effect": ""}]}), "early.*either"),
        (yaml.safe_dump({"defects": [{**GOOD, "nmae": 1}]}), "early.nmae"),
        (yaml.safe_dump({"defects": [GOOD, {"file": "x"}]}), "row 2.name"),
        (yaml.safe_dump({"defects": [GOOD, GOOD]}), "two defects are called early"),
        (yaml.safe_dump({"defects": []}), "defects"),
        ("defects: [", ":1: this is no YAML"),
        ("just words", "the whole"),
    ],
)
def test_planted_list_that_is_wrong(text: str, said: str, tmp_path: Path) -> None:
    """
    Stimulus: lists with a row of both kinds, of none, with an unknown field, without fields, twice; no list; no YAML.
    Checking: one sentence that names the row.
    Covers: PLANTED-ERRORS
    """
    path = tmp_path / "list.yaml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(UserError, match=said):
        load_defects(path)
    with pytest.raises(UserError, match="cannot be read"):
        load_defects(tmp_path / "absent.yaml")


def test_planted_rows_are_chosen() -> None:
    """
    Stimulus: rows by name and by number; a name and a number that are not there.
    Checking: their numbers; one sentence.
    Covers: PLANTED-ERRORS
    """
    rows = [row(name="first"), row(name="second")]
    assert chosen_numbers(rows, ["second", "1"]) == [2, 1]
    for wrong in ("third", "0", "3"):
        with pytest.raises(UserError, match=f"no defect {wrong}"):
            chosen_numbers(rows, [wrong])


FENCE_WAIT = "(count_q != '0) && !epoch_open_i[waiting_q[0].epoch]"


def fence_rows() -> list[Defect]:
    """Three defects of a unit: the first two should be noticed, the third has no effect."""
    base = {**GOOD, "file": UNIT, "anchor": FENCE_WAIT, "no_effect": ""}
    noticed = NoticedBy(case="pass.s2", check="it was wrong")
    return [
        row(**{**base, "name": "one", "replaced": "!epoch_open_i[waiting_q[0].epoch]", "noticed_by": noticed}),
        row(**{**base, "name": "two", "replaced": "(count_q != '0)", "noticed_by": noticed}),
        row(**{**base, "name": "three", "anchor": "count_q != CountBits'(Depth)", "replaced": "", "no_effect": "none"}),
    ]


def test_planted_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """
    Stimulus: three defects of one unit of which the first alone is noticed, in a simulator that only pretends; then the
        second alone; then all, of which the first and the third are noticed.
    Checking: the case that a row names runs first; a survivor and a reason that is wrong end with False and are told
        with the line that tries them again; what was noticed before is not run again, and stays in the file.
    Covers: PLANTED-RUN
    """
    program = write_fake(tmp_path)
    told = 'do = {told}.get(sys.argv[-1], "pass")\n'
    original = program.read_text(encoding="utf-8")
    old = 'do = entry["parameters"]["do"]\n'
    assert old in original

    def fail(*arguments: str) -> None:
        text = original.replace(old, told.replace("{told}", repr(dict.fromkeys(arguments, "fail"))))
        program.write_text(text, encoding="utf-8")

    monkeypatch.setattr(run_module, "build", lambda flavour, configuration, design: program)
    monkeypatch.setattr(run_module, "make_tree", lambda tree, texts, mutants: None)
    monkeypatch.setattr(planted_report, "OUT", tmp_path / "out")
    monkeypatch.setattr(planted_report, "load_defects", fence_rows)
    cases = (fake_case("pass", 1), fake_case("pass", 2))
    monkeypatch.setattr(planted_report, "stages_of", lambda name: [Stage("device", "checked", "default", cases)])
    target = tmp_path / "out" / "pr.json"

    def verdicts() -> dict[str, tuple[str, str]]:
        rows = json.loads(target.read_text(encoding="utf-8"))["verdicts"]
        return {each["name"]: (each["verdict"], each["by"]) for each in rows}

    fail("+mutant=1")
    assert not run_planted(jobs=1, regression="pr", json_file=None)
    assert verdicts() == {"one": ("noticed", "pass.s2"), "two": ("SURVIVED", ""), "three": ("no effect", "")}
    said = capsys.readouterr().out
    assert "survived: rtl/command/hmm_fence.sv" in said and "--planted --defect two" in said
    assert "3 defects, 1 not as they should be" in " ".join(said.split())

    fail("+mutant=1", "+mutant=2")
    assert run_planted(jobs=1, regression="pr", json_file=None, wanted=["two"])
    assert verdicts() == {"two": ("noticed", "pass.s2"), "one": ("noticed", "pass.s2"), "three": ("no effect", "")}

    before = started(tmp_path)
    assert run_planted(jobs=1, regression="pr", json_file=None, wanted=["one", "2"])
    assert started(tmp_path) == before, "what was noticed before ran again"

    fail("+mutant=3")
    assert not run_planted(jobs=1, regression="pr", json_file=None)
    assert verdicts()["three"] == ("NOTICED", "pass.s1")
    assert "noticed, though it should have no effect: three" in " ".join(capsys.readouterr().out.split())
