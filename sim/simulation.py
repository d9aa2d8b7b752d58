# SPDX-License-Identifier: Apache-2.0
"""One simulator process: started, watched, and judged by everything that it leaves behind.

A run passed only if the process ended by itself with status 0, wrote results that can be read, executed at least one
test, and every test passed. Anything else (a crash, a time limit, no results) is a failure with the last lines of the
log.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
import xml.etree.ElementTree as ElementTree
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sim import toolchain
from sim.build import records_waves
from sim.paths import ROOT

LAST_LINES = 15
DEFAULT_TIMEOUT = 600.0
"""Seconds."""
POLL_SECONDS = 0.1
PROGRESS_MARK = "@progress "
"""A line of the log that begins so tells, as JSON, how far a run is."""

WAVES_DIRECTORY = "HMM_WAVES_DIRECTORY"
"""Environment variable: every run of a build that can record waves does, into this directory."""

Progress = Callable[[dict[str, Any]], None]


@dataclass(frozen=True)
class TestOutcome:
    """One test of the process. `message` is empty if it passed; skipped tests are not listed."""

    __test__ = False  # not a test class, whatever pytest thinks of the name

    name: str
    message: str

    @property
    def passed(self) -> bool:
        """The test ran and found nothing."""
        return not self.message


@dataclass(frozen=True)
class SimulationOutcome:
    """What a process left. `failure` is empty if the run passed; times in seconds."""

    failure: str
    tests: tuple[TestOutcome, ...]
    exit_status: int
    timed_out: bool
    seconds: float
    log: Path
    out: Path
    waves: Path | None

    @property
    def passed(self) -> bool:
        """Everything ran and nothing failed."""
        return not self.failure


def read_results(path: Path) -> tuple[TestOutcome, ...]:
    """Tests of a JUnit XML file. Errors: OSError or ParseError if it cannot be read."""
    outcomes = []
    for case in ElementTree.parse(path).getroot().iter("testcase"):
        if case.find("skipped") is not None:
            continue
        bad = case.find("failure") if case.find("failure") is not None else case.find("error")
        message = "" if bad is None else (bad.get("message") or bad.text or "failed without a message").strip()
        outcomes.append(TestOutcome(f"{case.get('classname')}.{case.get('name')}", message))
    return tuple(outcomes)


def last_lines(log: Path, count: int = LAST_LINES) -> str:
    """The end of a log, for a failure's message."""
    return "\n".join(log.read_text(encoding="utf-8", errors="replace").splitlines()[-count:])


def _judge(results: Path, exit_status: int, timeout: float | None, log: Path) -> tuple[str, tuple[TestOutcome, ...]]:
    """(failure, tests): the first reason why the run does not count as passed, or an empty text."""
    tail = f"; the last lines of {log} are:\n{last_lines(log)}"
    if timeout is not None:
        return f"The simulator did not end within {timeout:.0f} s{tail}", ()
    if exit_status < 0:
        return f"The simulator was ended by {signal.Signals(-exit_status).name}{tail}", ()
    try:
        tests = read_results(results)
    except (OSError, ElementTree.ParseError):
        return f"The simulator ended with status {exit_status} and left no results{tail}", ()
    failed = [test for test in tests if not test.passed]
    if failed:
        return "\n".join(f"{test.name}: {test.message}" for test in failed), tests
    if not tests:
        return f"No test was executed{tail}", tests
    if exit_status != 0:
        return f"All tests passed, but the simulator ended with status {exit_status}{tail}", tests
    return "", tests


def _environment(module: str, top: str, out: Path, seed: int, spec: Path | None) -> dict[str, str]:
    environment = {**os.environ, **toolchain.simulator_environment()}
    # What an outer pytest or cocotb left must not reach this one.
    for name in ("COCOTB_TEST_FILTER", "COCOTB_TESTCASE", "HMM_SPEC"):
        environment.pop(name, None)
    environment.update(
        COCOTB_TOPLEVEL=top,
        COCOTB_TEST_MODULES=module,
        COCOTB_RESULTS_FILE=str(out / "results.xml"),
        COCOTB_RANDOM_SEED=str(seed),
        PYTHONPATH=os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH", "")])),
        HMM_OUT=str(out),
    )
    if spec is not None:
        environment["HMM_SPEC"] = str(spec.resolve())
    return environment


class _ProgressReader:
    """Follows a log that another process writes, and hands on what its progress lines say."""

    def __init__(self, log: Path, progress: Progress | None) -> None:
        self._log = log
        self._progress = progress
        self._read = 0

    def poll(self) -> None:
        """Hands on the whole lines that came since the last call."""
        if self._progress is None:
            return
        with self._log.open("rb") as opened:
            opened.seek(self._read)
            fresh = opened.read()
        whole = fresh[: fresh.rfind(b"\n") + 1]
        self._read += len(whole)
        for line in whole.decode("utf-8", "replace").splitlines():
            if line.startswith(PROGRESS_MARK):
                self._progress(json.loads(line.removeprefix(PROGRESS_MARK)))


def _run(
    command: list[str], environment: dict[str, str], log: Path, timeout: float, progress: Progress | None
) -> tuple[int, bool]:
    """(exit status, timed out), in the log's directory. The process ends with us, also when we are interrupted."""
    deadline = time.monotonic() + timeout
    reader = _ProgressReader(log, progress)
    with log.open("wb") as output:
        process = subprocess.Popen(
            command, cwd=log.parent, env=environment, stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT
        )
        try:
            while time.monotonic() < deadline:
                try:
                    status = process.wait(POLL_SECONDS if progress else deadline - time.monotonic())
                    reader.poll()
                    return status, False
                except subprocess.TimeoutExpired:
                    reader.poll()
            return -signal.SIGKILL, True
        finally:
            if process.poll() is None:
                process.kill()
                process.wait()


def simulate(
    executable: Path,
    module: str,
    *,
    out: Path,
    spec: Path | None = None,
    seed: int = 1,
    waves: bool = False,
    waves_from: int = 0,
    testcase: str | None = None,
    timeout: float = DEFAULT_TIMEOUT,
    top: str = "tb_top",
    environment: Mapping[str, str] | None = None,
    progress: Progress | None = None,
) -> SimulationOutcome:
    """Runs the cocotb tests of `module` in one process; the log, results and waves are left in `out`.

    `spec` is handed to the tests as $HMM_SPEC, `out` as $HMM_OUT. `waves_from` is a clock cycle. `testcase` is a
    regular expression over `module.test`. `timeout` in seconds of wall clock. `progress` gets the JSON of each
    progress line as it is written.
    """
    out = out.resolve()
    out.mkdir(parents=True, exist_ok=True)
    results = out / "results.xml"
    everywhere = os.environ.get(WAVES_DIRECTORY)
    waves_file = Path(everywhere) / f"{out.parent.name}-{out.name}.fst" if everywhere else out / "waves.fst"
    waves = waves or (everywhere is not None and records_waves(executable))
    for stale in (results, waves_file, out / "summary.json"):
        stale.unlink(missing_ok=True)
    variables = {**_environment(module, top, out, seed, spec), **(environment or {})}
    if testcase is not None:
        variables["COCOTB_TEST_FILTER"] = testcase
    command = [
        str(executable.resolve()),
        # Every build starts from the same kind of random state, so that nothing can lean on zeros after power-up.
        "+verilator+rand+reset+2",
        f"+verilator+seed+{seed % 0x7FFF_FFFE + 1}",
        f"+verilator+coverage+file+{out / 'coverage.dat'}",
    ]
    if waves:
        command += ["--waves", str(waves_file), "--waves-from", str(waves_from)]
    log = out / "simulation.log"
    started = time.monotonic()
    status, timed_out = _run(command, variables, log, timeout, progress)
    seconds = time.monotonic() - started
    failure, tests = _judge(results, status, timeout if timed_out else None, log)
    if failure and waves_file.is_file():
        failure += f"\nwaves: {waves_file}"
    return SimulationOutcome(
        failure=failure,
        tests=tests,
        exit_status=status,
        timed_out=timed_out,
        seconds=seconds,
        log=log,
        out=out,
        waves=waves_file if waves_file.is_file() else None,
    )


def write_spec(
    path: Path, cases: list[dict[str, Any]], case_path: str, out: Path, *, keep_arrays: bool = False
) -> Path:
    """Writes the list of cases that tb.run_cases reads; `case_path` is batch or agent. Returns `path`.

    `keep_arrays`: the event log and the responses of cases that passed are kept too.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    spec = {"cases": cases, "path": case_path, "out": str(out.resolve()), "keep_arrays": keep_arrays}
    path.write_text(json.dumps(spec, indent=1) + "\n", encoding="utf-8")
    return path


def read_summaries(out: Path) -> list[dict[str, Any]]:
    """The verdicts that tb.run_cases left, in the order of the list; empty if it did not come that far."""
    path = out / "summary.json"
    if not path.is_file():
        return []
    loaded: list[dict[str, Any]] = json.loads(path.read_text(encoding="utf-8"))
    return loaded
