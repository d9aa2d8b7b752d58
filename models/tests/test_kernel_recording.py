# SPDX-License-Identifier: Apache-2.0
"""Reading of kernel recordings: what is in them, and one clear sentence for every way in which they can be bad."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from models.errors import UserError
from models.kernel_recording import KERNEL_DATA, read_recording, recordings

INFORMATION: dict[str, Any] = {
    "k": "info", "kernel": "6.1-test", "VALID": "0x8000000000000000", "WRITE": "0x4000000000000000",
    "ERROR": "0x2000000000000000", "ORDER_SHIFT": 56, "FLAGS": "0xff00000000000000", "zero_pfn": 77,
    "dev_pfn0": 4096, "dev_npfn": 16,
}  # fmt: skip
REQUEST: dict[str, Any] = {
    "k": "req", "kernel": "6.1-test", "state": "anon", "req": "rd", "addr": "0x7f0000001000", "n": 4, "owner": 0,
    "backing": [["0x7f0000000000", "0x7f0000003000", "anon", 0, 0, [], 4096, ""],
                ["0x7f0000003000", "0x7f0000009000", "pfnmap", 0, 0, [], 4096, ""]],
    "pages": [[0, 1, "anon m=1"], [1, 1, "marker pfn"], [2, 2, "none"]],
    "tries": [{"ret": -16, "retry": 1, "out": [[0, 4, "0x0", 0]]},
              {"ret": 0, "retry": 0, "out": [[0, 3, "0x8000000000000005", 1], [3, 1, "0x2000000000000000", 0]]}],
}  # fmt: skip
STALE: dict[str, Any] = {
    "k": "stale", "kernel": "6.1-test", "op": "munmap", "addr": "0x7f0000001000", "n": 1, "owner": 1, "backing": [],
    "pages": [[0, 1, "unmapped"]], "ret": -16, "retry": 1, "out": [[0, 1, "0x0", 0]],
}  # fmt: skip
OPERATION: dict[str, Any] = {"k": "op", "op": "munmap"}
SKIP: dict[str, Any] = {"k": "skip", "state": "x", "why": "y"}
END: dict[str, Any] = {"k": "end", "ms": 1}


def written(path: Path, *records: dict[str, Any]) -> Path:
    text = "".join(json.dumps(record) + "\n" for record in records)
    if path.suffix == ".gz":
        path.write_bytes(gzip.compress(text.encode()))
    else:
        path.write_text(text)
    return path


@pytest.mark.parametrize("name", ["a.jsonl", "a.jsonl.gz"])
def test_recording_arrays_of_all_kinds(tmp_path: Path, name: str) -> None:
    """
    Stimulus: A small recording, plain and compressed, with a repeated request, a lost sequence and other records.
    Checking: Every array with its words, its place in the file, whether a driver may use it, its special pages.
    Covers: REC-READ
    """
    path = written(tmp_path / name, INFORMATION, SKIP, REQUEST, OPERATION, STALE, END)
    recording = read_recording(path)
    assert recording.information.dev_pfn0 == 4096
    first, second, third = recording.arrays
    assert [array.line for array in recording.arrays] == [3, 3, 5]
    assert (first.attempt, first.result, first.retry, first.good) == (0, -16, True, False)
    assert (second.attempt, second.result, second.retry, second.good) == (1, 0, False, True)
    assert (third.name, third.request, third.owner, third.good) == ("munmap", "stale", True, False)
    valid = 1 << 63
    np.testing.assert_array_equal(second.words, np.array([valid + 5, valid + 6, valid + 7, 1 << 61], dtype=np.uint64))
    assert second.words.dtype == np.uint64
    np.testing.assert_array_equal(second.special, [False, True, True, True])
    assert recording.good_arrays == (second,)
    assert recording.bad_arrays == (first, third)


def test_recording_good_needs_both_result_and_sequence(tmp_path: Path) -> None:
    """
    Stimulus: A call that succeeded but lost its sequence, and one that failed with its sequence intact.
    Checking: Neither is good.
    Covers: REC-GOOD
    """
    lost = {**STALE, "ret": 0}
    failed = {**STALE, "retry": 0}
    path = written(tmp_path / "a.jsonl", INFORMATION, lost, failed, END)
    assert read_recording(path).good_arrays == ()


def test_recording_negative_step_and_wrap(tmp_path: Path) -> None:
    """
    Stimulus: A run that counts down and one that passes 2^64.
    Checking: Entries are value + index * step, modulo 2^64.
    Covers: REC-RUN
    """
    runs = [[0, 2, "0x10", -1], [2, 2, "0xffffffffffffffff", 1]]
    path = written(tmp_path / "a.jsonl", INFORMATION, {**REQUEST, "tries": [{"ret": 0, "retry": 0, "out": runs}]}, END)
    np.testing.assert_array_equal(
        read_recording(path).arrays[0].words, np.array([0x10, 0xF, (1 << 64) - 1, 0], dtype=np.uint64)
    )


def without(record: dict[str, Any], key: str) -> dict[str, Any]:
    return {name: value for name, value in record.items() if name != key}


def one_try(runs: list[list[Any]]) -> dict[str, Any]:
    return {**REQUEST, "tries": [{"ret": 0, "retry": 0, "out": runs}]}


@pytest.mark.parametrize(
    ("records", "line", "words"),
    [
        ([REQUEST, END], 1, 'first line is not an "info" record'),
        ([without(INFORMATION, "dev_pfn0"), END], 1, 'lacks the key "dev_pfn0"'),
        ([{**INFORMATION, "ORDER_SHIFT": 64}, END], 1, 'bad "ORDER_SHIFT"'),
        ([INFORMATION, without(REQUEST, "tries"), END], 2, 'lacks the key "tries"'),
        ([INFORMATION, SKIP, without(STALE, "ret"), END], 3, 'lacks the key "ret"'),
        ([INFORMATION, {**REQUEST, "tries": []}, END], 2, 'bad "tries"'),
        ([INFORMATION, {**REQUEST, "n": 0}, END], 2, 'bad "n"'),
        ([INFORMATION, {**REQUEST, "n": 1 << 40}, END], 2, 'bad "n"'),
        ([INFORMATION, {**REQUEST, "addr": "0x7f0000001008"}, END], 2, 'impossible "addr"'),
        ([INFORMATION, {**REQUEST, "addr": "0xfffffffffffff000"}, END], 2, 'impossible "addr"'),
        ([INFORMATION, {**REQUEST, "addr": "0x10000000000000000"}, END], 2, 'bad "addr"'),
        ([INFORMATION, {**REQUEST, "kernel": "5.19"}, END], 2, "is of kernel 5.19"),
        ([INFORMATION, {**REQUEST, "backing": [["x", 0, "anon"]]}, END], 2, 'bad "backing"'),
        ([INFORMATION, {**REQUEST, "pages": [[0, 1, "anon"]]}, END], 2, '"pages" runs for 1 pages'),
        ([INFORMATION, one_try([[0, 3, "0x0", 0]]), END], 2, '"out" runs for 3 pages where the array has 4'),
        ([INFORMATION, one_try([[0, 5, "0x0", 0]]), END], 2, '"out" runs for 5 pages where the array has 4'),
        ([INFORMATION, one_try([[0, 2, "0x0", 0], [3, 1, "0x0", 0]]), END], 2, "page 3 where page 2 comes next"),
        ([INFORMATION, one_try([[1, 4, "0x0", 0]]), END], 2, "page 1 where page 0 comes next"),
        ([INFORMATION, one_try([[0, 4, "zero", 0]]), END], 2, 'bad "tries.0.out.0.2"'),
        ([INFORMATION, {"k": "request"}, END], 2, "unknown kind 'request'"),
        ([INFORMATION, END, REQUEST], 3, "goes on after its end record"),
        ([INFORMATION, REQUEST], 2, "is cut: the end record is missing"),
    ],
)
def test_recording_defect_is_one_sentence(tmp_path: Path, records: list[dict[str, Any]], line: int, words: str) -> None:
    """
    Stimulus: Recordings with one defect each.
    Checking: A UserError with the file, the line, what is wrong and what to do, in one sentence.
    Covers: REC-DEFECT
    """
    path = written(tmp_path / "a.jsonl", *records)
    with pytest.raises(UserError) as caught:
        read_recording(path)
    text = str(caught.value)
    assert f"{path}, line {line}," in text
    assert words in text
    assert "; give" in text or "; copy" in text
    assert text.endswith(".")
    assert "\n" not in text


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b'{"k":"info","ker', "line 1, is cut in the middle of the line"),
        (b"hello\n", "line 1, is not JSON"),
        (b"\xff\xfe\n", "line 1, is not JSON"),
        (b"[1]\n", "line 1, is not a JSON object"),
        (b"", 'first line is not an "info" record'),
    ],
)
def test_recording_foreign_text(tmp_path: Path, content: bytes, words: str) -> None:
    """
    Stimulus: Files that are cut, empty or not JSON.
    Checking: A UserError that says so.
    Covers: REC-FOREIGN
    """
    path = tmp_path / "a.jsonl"
    path.write_bytes(content)
    with pytest.raises(UserError, match=words):
        read_recording(path)


def test_recording_damaged_gzip(tmp_path: Path) -> None:
    """
    Stimulus: A compressed recording that is cut, damaged in the middle, not compressed at all, and one that is absent.
    Checking: A UserError that says so, never another exception.
    Covers: REC-GZIP
    """
    original = recordings()[0].read_bytes()
    path = tmp_path / "a.jsonl.gz"
    path.write_bytes(original[: len(original) // 2])
    with pytest.raises(UserError, match=r"line \d+, is cut"):
        read_recording(path)
    path.write_bytes(original[:5000] + b"\xff" * 64 + original[5064:])
    with pytest.raises(UserError, match=r"line \d+, "):
        read_recording(path)
    path.write_text(json.dumps(INFORMATION) + "\n")
    with pytest.raises(UserError, match="line 1, is not readable as gzip"):
        read_recording(path)
    path.unlink()
    with pytest.raises(UserError, match="cannot be read"):
        read_recording(path)
    with pytest.raises(UserError, match="holds no kernel recording"):
        recordings(tmp_path)


def test_recording_project_files_are_whole() -> None:
    """
    Stimulus: The recordings of the project.
    Checking: Number of arrays and entries, of those that may be linked, and of not-accessible special pages.
    Covers: REC-DATA
    """
    figures = {}
    for path in recordings():
        recording = read_recording(path)
        error = np.uint64(recording.information.ERROR)
        special = sum(int(((array.words & error != 0) & array.special).sum()) for array in recording.good_arrays)
        figures[path.name] = (
            len(recording.arrays),
            sum(array.pages for array in recording.arrays),
            len(recording.good_arrays),
            sum(array.pages for array in recording.good_arrays),
            special,
        )
    assert figures == {
        "linux-6.1-hmm.jsonl.gz": (874, 880935, 654, 867853, 70),
        "linux-6.12-hmm.jsonl.gz": (879, 880905, 654, 867860, 70),
    }
    assert (KERNEL_DATA / "README.md").is_file()
