# SPDX-License-Identifier: Apache-2.0
"""Whole recordings judged, and the figures that come of it.

Source: docs/conformance.md.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from models.conform.judge import judge_request, judge_stale
from models.conform.judge_operation import judge_operation
from models.conform.judgement import Judgement, Verdict
from models.conform.records import (
    ConformRecording,
    RecordedOperation,
    RecordedRequest,
    RecordedStale,
    read_conform_recording,
)
from models.conform.state import machine_of
from models.recorded_pages import recorded_format

HASH_LETTERS = 10


@dataclass(frozen=True)
class JudgedRecord:
    """One record's verdict. `name`: of the state or operation; `request`: the kind of request; both only for people."""

    line: int
    kind: str
    name: str
    request: str
    judgement: Judgement

    @property
    def row(self) -> str:
        """The row of the table that it belongs to."""
        return f"{self.kind} {self.request}".strip()


@dataclass(frozen=True)
class JudgedRecording:
    """All verdicts on one recording."""

    path: Path
    kernel: str
    records: tuple[JudgedRecord, ...]

    def figures(self) -> dict[str, Counter[Verdict]]:
        """How many records of each row got each verdict, rows in the order of the file."""
        rows: dict[str, Counter[Verdict]] = {}
        for record in self.records:
            rows.setdefault(record.row, Counter())[record.judgement.verdict] += 1
        return rows

    def total(self) -> Counter[Verdict]:
        """How many records got each verdict."""
        return Counter(record.judgement.verdict for record in self.records)

    def reasons(self, verdict: Verdict) -> Counter[str]:
        """What was said of the records with a verdict, and how often."""
        return Counter(record.judgement.why for record in self.records if record.judgement.verdict is verdict)


def judge_recording(
    path: Path, *, anonymous: bool = False, advance: Callable[[], None] = lambda: None
) -> JudgedRecording:
    """Judge every record of a recording. `advance` is called after each.

    `anonymous`: names of states, operations and requests are replaced by hashes before anything is judged.
    Errors: UserError as read_conform_recording(), or if the kernel has a format that is not known.
    """
    recording = read_conform_recording(path)
    return judge_records(recording, anonymous=anonymous, advance=advance)


def judge_records(
    recording: ConformRecording, *, anonymous: bool = False, advance: Callable[[], None] = lambda: None
) -> JudgedRecording:
    """The same for a recording that was read already. Errors: UserError if the kernel or its format is not known."""
    machine = machine_of(recording)
    fmt = recorded_format(recording.information)
    judged: list[JudgedRecord] = []
    for record in recording.records:
        what = _anonymous(record.what) if anonymous else record.what
        if isinstance(what, RecordedRequest):
            judgement = judge_request(what, machine, fmt)
            judged.append(JudgedRecord(record.line, record.kind, what.state, what.req, judgement))
        elif isinstance(what, RecordedStale):
            judgement = judge_stale(what, machine, fmt)
            judged.append(JudgedRecord(record.line, record.kind, what.op, "", judgement))
        else:
            judgement = judge_operation(what, machine, fmt)
            judged.append(JudgedRecord(record.line, record.kind, what.op, "", judgement))
        advance()
    return JudgedRecording(recording.path, recording.information.kernel, tuple(judged))


def _anonymous(
    what: RecordedRequest | RecordedStale | RecordedOperation,
) -> RecordedRequest | RecordedStale | RecordedOperation:
    if isinstance(what, RecordedRequest):
        return what.model_copy(update={"state": _hash(what.state), "req": _hash(what.req)})
    return what.model_copy(update={"op": _hash(what.op)})


def _hash(name: str) -> str:
    return hashlib.sha256(name.encode()).hexdigest()[:HASH_LETTERS]


def as_data(judged: list[JudgedRecording], anonymous: bool) -> dict[str, Any]:
    """Everything as plain data for a JSON file: figures, and each record's verdict."""
    total = sum((recording.total() for recording in judged), Counter())
    return {
        "anonymous": anonymous,
        "total": _named(total),
        "files": [
            {
                "file": str(recording.path),
                "kernel": recording.kernel,
                "total": _named(recording.total()),
                "rows": {row: _named(figures) for row, figures in recording.figures().items()},
                "records": [
                    {
                        "line": record.line,
                        "kind": record.kind,
                        "name": record.name,
                        "request": record.request,
                        "verdict": record.judgement.verdict.value,
                        "why": record.judgement.why,
                    }
                    for record in recording.records
                ],
            }
            for recording in judged
        ],
    }


def _named(figures: Counter[Verdict]) -> dict[str, int]:
    return {verdict.value: figures[verdict] for verdict in Verdict}


def not_exact_share(judged: list[JudgedRecording]) -> float:
    """The share of records that are equal only in relation, or undetermined, in percent."""
    total = sum((recording.total() for recording in judged), Counter())
    loose = total[Verdict.BY_RELATION] + total[Verdict.UNDETERMINED]
    return 100 * loose / max(1, total.total())
