# SPDX-License-Identifier: Apache-2.0
"""Results of regressions in an SQLite file. Each result is a transaction of its own, so whatever ends the process,
what had been reported is there, and the file opens."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from models.errors import UserError
from sim.regression.results import CaseResult, Verdict

SCHEMA_VERSION = 1
WAIT_SECONDS = 30.0
"""For another process that writes."""
_TABLES = """
CREATE TABLE run (
    id INTEGER PRIMARY KEY,
    started REAL NOT NULL,          -- seconds since 1970
    regression TEXT NOT NULL,       -- the list
    revision TEXT NOT NULL,         -- of the sources, with -dirty if they were changed since
    tools TEXT NOT NULL,            -- names and versions
    command TEXT NOT NULL,
    finished REAL,                  -- null: it was interrupted
    cpu_seconds REAL                -- of all processes
);
CREATE TABLE result (
    id INTEGER PRIMARY KEY,
    run INTEGER NOT NULL REFERENCES run(id),
    round INTEGER NOT NULL,
    case_id TEXT NOT NULL,
    seed INTEGER NOT NULL,
    bench TEXT NOT NULL,
    build TEXT NOT NULL,
    configuration TEXT NOT NULL,
    format TEXT NOT NULL,           -- "": the scenario's own
    verdict TEXT NOT NULL,          -- passed, failed, crashed, hung
    cycles INTEGER NOT NULL,
    cpu_seconds REAL NOT NULL,
    event_hash TEXT NOT NULL,
    message TEXT NOT NULL,
    rerun TEXT NOT NULL,
    ended REAL NOT NULL
);
CREATE INDEX result_by_case ON result (case_id, id);
CREATE VIEW report AS
    SELECT result.*, run.regression, run.revision, run.tools FROM result JOIN run ON run.id = result.run;
"""


class ResultStore:
    """The results of all runs. Several processes may write at once; in this process, one thread at a time."""

    def __init__(self, path: Path) -> None:
        """Opens the file, or makes it. Errors: UserError if it is no such file."""
        self.path = path
        path.parent.mkdir(parents=True, exist_ok=True)
        self._database = sqlite3.connect(path, timeout=WAIT_SECONDS, isolation_level=None, check_same_thread=False)
        try:
            self._database.execute("PRAGMA journal_mode = WAL")
            with self._transaction():
                version = self._database.execute("PRAGMA user_version").fetchone()[0]
                if version == 0:
                    for statement in _TABLES.split(";\n"):
                        if statement.strip():
                            self._database.execute(statement)
                    self._database.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")
                    version = SCHEMA_VERSION
        except sqlite3.DatabaseError as error:
            self._database.close()
            raise UserError(f"{path} holds no results of regressions ({error}); move it away.") from None
        if version != SCHEMA_VERSION:
            self._database.close()
            raise UserError(f"{path} is of another version of this project; move it away.")

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        self._database.execute("BEGIN IMMEDIATE")
        try:
            yield
        except BaseException:
            self._database.execute("ROLLBACK")
            raise
        self._database.execute("COMMIT")

    def close(self) -> None:
        """Closes the file."""
        self._database.close()

    def begin_run(self, regression: str, revision: str, tools: str, command: str) -> int:
        """A new run; returns its number."""
        with self._transaction():
            cursor = self._database.execute(
                "INSERT INTO run (started, regression, revision, tools, command) VALUES (?, ?, ?, ?, ?)",
                (time.time(), regression, revision, tools, command),
            )
        return int(cursor.lastrowid or 0)

    def end_run(self, run: int, cpu_seconds: float) -> None:
        """The run came to its end."""
        with self._transaction():
            self._database.execute(
                "UPDATE run SET finished = ?, cpu_seconds = ? WHERE id = ?", (time.time(), cpu_seconds, run)
            )

    def add(self, run: int, result: CaseResult, rerun: str) -> None:
        """Keeps one result."""
        case = result.case
        where = (case.kind.bench, case.kind.build, case.kind.configuration, case.entry_format)
        found = (str(result.verdict), result.cycles, result.seconds, result.event_hash, result.message)
        row = (run, result.round, case.id, case.seed, *where, *found, rerun, time.time())
        with self._transaction():
            self._database.execute(
                "INSERT INTO result (run, round, case_id, seed, bench, build, configuration, format, verdict, cycles,"
                " cpu_seconds, event_hash, message, rerun, ended) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                row,
            )

    def last_verdicts(self, cases: Sequence[str]) -> dict[str, Verdict]:
        """How each case ended the last time, by id; only those that ever ran. In one run, a failure counts."""
        verdicts: dict[str, Verdict] = {}
        for case in cases:
            rows = self._database.execute(
                "SELECT verdict FROM result WHERE case_id = ?1 AND run ="
                " (SELECT max(run) FROM result WHERE case_id = ?1)",
                (case,),
            ).fetchall()
            found = [Verdict(row[0]) for row in rows]
            if found:
                verdicts[case] = next((verdict for verdict in found if verdict is not Verdict.PASSED), Verdict.PASSED)
        return verdicts

    def seconds(self) -> Mapping[str, float]:
        """Processor seconds of the last time that each case passed, by id."""
        rows = self._database.execute(
            "SELECT case_id, cpu_seconds FROM result WHERE id IN"
            " (SELECT max(id) FROM result WHERE verdict = 'passed' GROUP BY case_id)"
        )
        return {str(case): float(seconds) for case, seconds in rows}
