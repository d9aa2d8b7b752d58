# SPDX-License-Identifier: Apache-2.0
"""Conformance to recordings: the model gives what the kernels gave, and every kind of difference is found."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from models.conform.judgement import Verdict
from models.conform.records import ConformRecording, read_conform_recording
from models.conform.tally import as_data, judge_recording, judge_records, not_exact_share
from models.errors import UserError
from models.kernel_recording import KERNEL_DATA

OLD = KERNEL_DATA / "linux-6.1-hmm.jsonl.gz"
NEW = KERNEL_DATA / "linux-6.12-hmm.jsonl.gz"
SAMPLE_STEP = 11
LARGEST_SHARE = 3.0

Raw = dict[str, Any]


def lines_of(path: Path) -> list[Raw]:
    """The records as plain data."""
    with gzip.open(path) as stream:
        return [json.loads(line) for line in stream]


def written(path: Path, records: list[Raw]) -> Path:
    """A plain recording."""
    path.write_text("".join(json.dumps(record) + "\n" for record in records))
    return path


def with_record(tmp_path: Path, records: list[Raw], chosen: Raw) -> Path:
    """A recording with one record."""
    return written(tmp_path / "one.jsonl", [records[0], chosen, records[-1]])


def sampled(recording: ConformRecording, step: int) -> ConformRecording:
    """Every `step`-th record of a recording."""
    return ConformRecording(
        recording.path, recording.information, recording.records[::step], recording.tracks_soft_dirty
    )


@pytest.mark.parametrize("path", [OLD, NEW], ids=["old", "new"])
def test_conform_sample(path: Path) -> None:
    """
    Stimulus: Every eleventh record of a recording, with names and without.
    Checking: None is wrong; the figures are the same without names.
    Covers: CONFORM
    """
    recording = sampled(read_conform_recording(path), SAMPLE_STEP)
    judged = judge_records(recording)
    assert judged.total()[Verdict.WRONG] == 0, judged.reasons(Verdict.WRONG)
    assert judged.total()[Verdict.EXACT] > 60
    nameless = judge_records(recording, anonymous=True)
    assert nameless.total() == judged.total()
    names = {record.name for record in judged.records}
    assert not names & {record.name for record in nameless.records}


@pytest.mark.slow
@pytest.mark.parametrize("path", [OLD, NEW], ids=["old", "new"])
def test_conform_every_record(path: Path) -> None:
    """
    Stimulus: Every record of a recording.
    Checking: None is wrong; few are equal only in relation or undetermined, and all of those say why.
    Covers: CONFORM
    """
    judged = judge_recording(path)
    assert judged.total()[Verdict.WRONG] == 0, judged.reasons(Verdict.WRONG)
    assert judged.total().total() == 923
    assert not_exact_share([judged]) <= LARGEST_SHARE
    loose = [record for record in judged.records if record.judgement.verdict is not Verdict.EXACT]
    assert all(record.judgement.why for record in loose)


def first_of(records: list[Raw], state: str, request: str) -> Raw:
    """A record by its name (only tests choose by name). A copy."""
    found = next(
        record for record in records if record["k"] == "req" and (record["state"], record["req"]) == (state, request)
    )
    copy: Raw = json.loads(json.dumps(found))
    return copy


def verdict_of(tmp_path: Path, records: list[Raw], chosen: Raw) -> tuple[Verdict, str]:
    """How one record fares."""
    judged = judge_recording(with_record(tmp_path, records, chosen))
    return judged.records[0].judgement.verdict, judged.records[0].judgement.why


def _other_result(record: Raw) -> None:
    record["tries"][0]["ret"] = -14


def _sequence_kept(record: Raw) -> None:
    record["tries"][0]["retry"] = 0


def _other_sequence(record: Raw) -> None:
    record["tries"][1]["seq"] += 2


def _event_missing(record: Raw) -> None:
    record["tries"][0]["ev"].pop()


def _event_more(record: Raw) -> None:
    record["tries"][0]["ev"].append(dict(record["tries"][0]["ev"][-1]))


def _other_event(record: Raw) -> None:
    record["tries"][0]["ev"][0]["e"] = "UNMAP"


def _longer_event(record: Raw) -> None:
    record["tries"][0]["ev"][0]["t"] = record["tries"][0]["ev"][1]["t"]


def _event_of_own_device(record: Raw) -> None:
    record["tries"][0]["ev"][0]["own"] = 1


def _event_that_may_not_block(record: Raw) -> None:
    record["tries"][0]["ev"][0]["fl"] = 0


def _event_of_other_process(record: Raw) -> None:
    record["tries"][0]["ev"][0]["pid"] += 1


def _event_out_of_sequence(record: Raw) -> None:
    record["tries"][0]["ev"][0]["seq"] += 2


def _no_write_permission(record: Raw) -> None:
    run = record["tries"][-1]["out"][0]
    run[2] = hex(int(run[2], 16) & ~(1 << 62))


def _result_after_error(record: Raw) -> None:
    record["tries"][0]["out"] = [[0, record["n"], "0x8000000000000001", 0]]


def _same_page_twice(record: Raw) -> None:
    record["tries"][-1]["out"] = [[0, record["n"], record["tries"][-1]["out"][0][2], 0]]


def _page_of_zeros_kept(record: Raw) -> None:
    record["tries"][-1]["out"] = [[0, record["n"], hex((3 << 62) | int(record["pre"][0][2], 16) >> 12 & 0xFFFFFF), 0]]


def _one_try_more(record: Raw) -> None:
    record["tries"].append(dict(record["tries"][-1]))


def _one_try_less(record: Raw) -> None:
    record["tries"].pop()


def _page_table_kept(record: Raw) -> None:
    record["post"] = record["pre"]


def _page_table_read_only(record: Raw) -> None:
    for run in record["post"]:
        run[2] = hex(int(run[2], 16) & ~2)


def _page_table_other_pages(record: Raw) -> None:
    for run in record["post"]:
        run[2] = hex(int(run[2], 16) ^ 1 << 20)


def _page_table_deeper(record: Raw) -> None:
    for run in record["post"]:
        run[3] = 2


def _page_table_empty(record: Raw) -> None:
    record["post"] = [[0, record["n"], "0x0", 1, 0]]


def _page_table_special(record: Raw) -> None:
    for run in record["post"]:
        run[2] = hex(int(run[2], 16) | 1 << 9)


CHANGES: list[Callable[[Raw], None]] = [
    _other_result, _sequence_kept, _other_sequence, _event_missing, _event_more, _other_event, _longer_event,
    _event_of_own_device, _event_that_may_not_block, _event_of_other_process, _event_out_of_sequence,
    _no_write_permission, _result_after_error, _same_page_twice, _page_of_zeros_kept, _one_try_more, _one_try_less,
    _page_table_kept, _page_table_read_only, _page_table_other_pages, _page_table_deeper, _page_table_empty,
    _page_table_special,
]  # fmt: skip


def test_conform_finds_every_difference(tmp_path: Path) -> None:
    """
    Stimulus: A write request on pages of zeros, as recorded and with one thing changed each time.
    Checking: The record as it is is exact; each change is wrong.
    Covers: CONFORM
    """
    records = lines_of(OLD)
    assert verdict_of(tmp_path, records, first_of(records, "anon_read", "wr"))[0] is Verdict.EXACT
    for change in CHANGES:
        record = first_of(records, "anon_read", "wr")
        change(record)
        verdict, why = verdict_of(tmp_path, records, record)
        assert verdict is Verdict.WRONG and why, change.__name__


def test_conform_finds_lost_sequence_differences(tmp_path: Path) -> None:
    """
    Stimulus: Lost sequences as recorded, with another result, another call, an unknown call, a failing call.
    Checking: As recorded exact, all else wrong.
    Covers: CONFORM
    """
    records = lines_of(NEW)
    stale = [record for record in records if record["k"] == "stale" and record["calls"]]
    for record in stale:
        assert verdict_of(tmp_path, records, record)[0] is Verdict.EXACT
        for calls in ([], [["frobnicate", 0, 1]], [["munmap", 100, 0]], [[*record["calls"][0], "errno=12"]]):
            outcome = verdict_of(tmp_path, records, record | {"calls": calls})
            if calls or record["ret"]:
                assert outcome[0] is Verdict.WRONG
        assert verdict_of(tmp_path, records, record | {"ret": 7})[0] is Verdict.WRONG
        assert verdict_of(tmp_path, records, record | {"retry": 1 - record["retry"]})[0] is Verdict.WRONG


def test_conform_says_what_it_cannot_express(tmp_path: Path) -> None:
    """
    Stimulus: Records with an unknown note, an unknown kind of area, huge pages of an unknown size, a move without end.
    Checking: Each is wrong, with a sentence, and the program goes on.
    Covers: CONFORM
    """
    records = lines_of(NEW)
    for state, change, part in (
        ("anon_read", {"pages": [[0, 8, "frobnicated"]]}, "no word that is known"),
        ("anon_read", {"pages": [[0, 8, "zero frobnicated"]]}, "unknown word"),
        ("anon_read", {"backing": "frob"}, "unknown kind"),
        ("htlb", {"backing": 12345}, "huge pages of 12345 bytes"),
    ):
        record = first_of(records, state, "snap")
        for key, value in change.items():
            if key == "pages":
                record[key] = value
            else:
                record["backing"][0][2 if isinstance(value, str) else 6] = value
        verdict, why = verdict_of(tmp_path, records, record)
        assert verdict is Verdict.WRONG and part in why
    moving = first_of(records, "migrating", "snap") | {"def": "0x8000000000000000"}
    assert "nobody finishes" in verdict_of(tmp_path, records, moving)[1]


def test_conform_undetermined_and_by_relation(tmp_path: Path) -> None:
    """
    Stimulus: Pages with more references than known, reused and copied; a large empty area beside which others made
    tables.
    Checking: Undetermined whichever came, wrong if anything else differs; by relation only where tables are shared.
    Covers: CONFORM
    """
    records = lines_of(NEW)
    for request in ("wr", "rd+w"):
        record = first_of(records, "fork_exited", request)
        assert verdict_of(tmp_path, records, record)[0] is Verdict.UNDETERMINED
        record["tries"][-1]["ret"] = -14
        assert verdict_of(tmp_path, records, record)[0] is Verdict.WRONG
    records = lines_of(OLD)
    record = first_of(records, "big_untouched_1g", "snap")
    assert verdict_of(tmp_path, records, record)[0] is Verdict.BY_RELATION
    count = record["n"]
    # A table in the middle would have to be made by the call itself.
    record["post"] = [[0, 11220, "0x0", 2, 0], [11220, 512, "0x0", 1, 0], [11732, count - 11732, "0x0", 3, 0]]
    assert verdict_of(tmp_path, records, record)[0] is Verdict.WRONG


def test_conform_nothing_hangs_on_the_recording_address(tmp_path: Path) -> None:
    """
    Stimulus: A recorded request moved to another address by whole gigabytes, with other new pages.
    Checking: It stays exact.
    Covers: CONFORM
    """
    records = lines_of(OLD)
    record = first_of(records, "memfd_priv", "mix")
    shift = 5 << 30
    record["addr"] = hex(int(record["addr"], 16) + shift)
    for area in (*record["vmas"], *record["backing"]):
        area[0], area[1] = hex(int(area[0], 16) + shift), hex(int(area[1], 16) + shift)
    for call in record["tries"]:
        for event in call["ev"]:
            event["s"], event["t"] = hex(int(event["s"], 16) + shift), hex(int(event["t"], 16) + shift)
    assert verdict_of(tmp_path, records, record)[0] is Verdict.EXACT


def test_conform_json_data() -> None:
    """
    Stimulus: A few records as plain data.
    Checking: Figures and verdicts agree and can be written as JSON.
    Covers: CONFORM
    """
    judged = judge_records(sampled(read_conform_recording(OLD), 200))
    data = json.loads(json.dumps(as_data([judged], anonymous=False)))
    file = data["files"][0]
    assert data["total"] == file["total"] and sum(file["total"].values()) == len(file["records"])
    assert sum(sum(row.values()) for row in file["rows"].values()) == len(file["records"])
    assert file["kernel"].startswith("6.1") and file["records"][0]["verdict"] == "exact"


@pytest.mark.parametrize("key", ["def", "mask", "vmas", "pre", "in", "tries", "post", "pages", "backing", "addr", "n"])
def test_conform_missing_field(tmp_path: Path, key: str) -> None:
    """
    Stimulus: A request without one of its keys.
    Checking: One sentence with file, line and key.
    Covers: CONFORM-INPUT
    """
    records = lines_of(OLD)
    record = first_of(records, "anon_read", "wr")
    del record[key]
    with pytest.raises(UserError, match=rf'one.jsonl, line 2, lacks the key "{key}"'):
        read_conform_recording(with_record(tmp_path, records, record))


def test_conform_bad_input(tmp_path: Path) -> None:
    """
    Stimulus: Files that are cut, of another kind, with unknown or inconsistent records, of an unknown kernel.
    Checking: One sentence each, with the line where there is one.
    Covers: CONFORM-INPUT
    """
    records = lines_of(OLD)
    good = first_of(records, "anon_read", "wr")

    def refused(path: Path, part: str) -> None:
        with pytest.raises(UserError, match=part):
            judge_recording(path)

    cut = tmp_path / "cut.jsonl.gz"
    cut.write_bytes(OLD.read_bytes()[:40000])
    refused(cut, "is cut: the compressed data end too early")
    refused(tmp_path / "nothing.jsonl", "cannot be read")
    refused(
        written(tmp_path / "a.jsonl", records[1:3]),
        'line 1, is not a kernel recording: its first line is not an "info"',
    )
    refused(written(tmp_path / "b.jsonl", [records[0], good]), "is cut: the end record is missing")
    refused(written(tmp_path / "c.jsonl", [records[0], {"k": "odd"}]), "line 2, has a record of unknown kind 'odd'")
    refused(written(tmp_path / "d.jsonl", [records[0], records[-1], good]), "goes on after its end record")
    for change, part in (
        ({"pre": [[0, 7, "0x0", 1, 0]]}, '"pre" runs for 7 pages'),
        ({"pre": [[1, 8, "0x0", 1, 0]]}, '"pre" run that starts at page 1'),
        ({"pages": [[0, 9, "zero"]]}, '"pages" runs for 9 pages'),
        ({"in": []}, '"in" runs for 0 pages'),
        ({"post": []}, '"post" runs for 0 pages'),
        ({"addr": "0x1001"}, 'impossible "addr"'),
        ({"vmas": []}, 'a "backing" that does not go with its "vmas"'),
        ({"kernel": "5.15"}, "is of kernel 5.15"),
        ({"pre": [[0, 8, "0x0", 6, 0]]}, 'has a bad "pre'),
    ):
        refused(with_record(tmp_path, records, good | change), part)
    backwards = [["0x2000", "0x1000", *good["backing"][0][2:]]]
    refused(
        with_record(tmp_path, records, good | {"vmas": [["0x2000", "0x1000", "0x0"]], "backing": backwards}),
        "not one after another",
    )
    strange = records[0] | {"kernel": "next"}
    refused(written(tmp_path / "e.jsonl", [strange, records[-1]]), "Give a kernel release")
    unknown = records[0] | {"ORDER_SHIFT": 40}
    refused(written(tmp_path / "f.jsonl", [unknown, records[-1]]), "No known entry format")
