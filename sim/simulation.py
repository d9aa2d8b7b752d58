# SPDX-License-Identifier: Apache-2.0
"""One simulator process: started, watched, and judged by everything that it leaves behind.

A run passed only if the process ended by itself with status 0, wrote results that can be read, executed at least one
test, and every test passed. Anything else (a crash, a time limit, no results) is a failure with the last lines of the
log.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import time
import xml.etree.ElementTree as ElementTree
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sim import toolchain
from sim.build import records_waves
from sim.paths import ROOT

LAST_LINES = 15
DEFAULT_TIMEOUT = 600.0
"""Seconds."""
POLL_SECONDS = 0.05
PROGRESS_MARK = "@progress "
"""A line of the log that begins so tells, as JSON, how far a run is."""

WAVES_DIRECTORY = "HMM_WAVES_DIRECTORY"
"""Environment variable: every run of a build that can record waves does, into this directory."""

Progress = Callable[[dict[str, Any]], None]
Lines = Callable[[str], None]
Stop = Callable[[float], str]
"""Says why a process must end now, "" while it may go on; gets the processor seconds that it took so far."""


def go_on(cpu_seconds: float) -> str:
    """Never a reason to stop."""
    return ""


@dataclass(frozen=True)
class TestOutcome:
    """One test of the process. `message` is empty if it passed; skipped tests are not listed."""

    __test__ = False  # not a test class, whatever pytest thinks of the name

    name: str
    message: str
    seconds: float = 0.0
    """Of wall clock."""
    simulated_ns: float = 0.0

    @property
    def passed(self) -> bool:
        """The test ran and found nothing."""
        return not self.message


@dataclass(frozen=True)
class SimulationOutcome:
    """What a process left. `failure` is empty if it passed; times in seconds. `stopped`: why it was ended early."""

    failure: str
    tests: tuple[TestOutcome, ...]
    exit_status: int
    timed_out: bool
    seconds: float
    log: Path
    out: Path
    waves: Path | None
    cpu_seconds: float = 0.0
    stopped: str = ""

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
        properties = {each.get("name"): each.get("value") for each in case.iter("property")}
        simulated = float(properties.get("sim_time_duration") or 0.0)
        name = f"{case.get('classname')}.{case.get('name')}"
        outcomes.append(TestOutcome(name, message, float(case.get("time") or 0.0), simulated))
    return tuple(outcomes)


def last_lines(log: Path, count: int = LAST_LINES) -> str:
    """The end of a log, for a failure's message."""
    return "\n".join(log.read_text(encoding="utf-8", errors="replace").splitlines()[-count:])


def _judge(results: Path, exit_status: int, stopped: str, log: Path) -> tuple[str, tuple[TestOutcome, ...]]:
    """(failure, tests): the first reason why the run does not count as passed, or an empty text."""
    tail = f"; the last lines of {log} are:\n{last_lines(log)}"
    if stopped:
        return f"{stopped}{tail}", ()
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


class _LogReader:
    """Follows a log that another process writes, and hands on its lines, and what its progress lines say."""

    def __init__(self, log: Path, progress: Progress | None, lines: Lines | None) -> None:
        self._log = log
        self._progress = progress
        self._lines = lines
        self._read = 0

    def poll(self) -> None:
        """Hands on the whole lines that came since the last call."""
        if self._progress is None and self._lines is None:
            return
        with self._log.open("rb") as opened:
            opened.seek(self._read)
            fresh = opened.read()
        whole = fresh[: fresh.rfind(b"\n") + 1]
        self._read += len(whole)
        for line in whole.decode("utf-8", "replace").splitlines():
            if self._lines is not None:
                self._lines(line)
            if self._progress is not None and line.startswith(PROGRESS_MARK):
                self._progress(json.loads(line.removeprefix(PROGRESS_MARK)))


@dataclass(frozen=True)
class _Ended:
    """How a process ended: its status, its processor time, and why it was ended early if it was."""

    status: int
    cpu_seconds: float
    stopped: str
    timed_out: bool


def _cpu_seconds(process: int) -> float:
    """Processor time that a running process took so far."""
    fields = Path(f"/proc/{process}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _run(
    command: list[str], environment: dict[str, str], log: Path, timeout: float, reader: _LogReader, stop: Stop
) -> _Ended:
    """Runs a command in the log's directory. The process ends with us, also when we are interrupted."""
    deadline = time.monotonic() + timeout
    stopped = ""
    timed_out = False
    with log.open("wb") as output:
        process = subprocess.Popen(
            command, cwd=log.parent, env=environment, stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT
        )
        try:
            while True:
                # Not Popen.wait: the kernel tells the processor time of just this child only here.
                ended, status, usage = os.wait4(process.pid, os.WNOHANG)
                if ended:
                    process.returncode = os.waitstatus_to_exitcode(status)
                    reader.poll()
                    return _Ended(process.returncode, usage.ru_utime + usage.ru_stime, stopped, timed_out)
                reader.poll()
                if not stopped:
                    timed_out = time.monotonic() >= deadline
                    stopped = (
                        f"The simulator did not end within {timeout:.0f} s"
                        if timed_out
                        else stop(_cpu_seconds(process.pid))
                    )
                    if stopped:
                        process.kill()
                time.sleep(POLL_SECONDS)
        finally:
            if process.returncode is None:
                process.kill()
                process.wait()


def tied_to_us() -> list[str]:
    """What to put before a command so that the kernel ends it when we are killed; empty where that is not to be had."""
    return ["setpriv", "--pdeathsig", "KILL", "--"] if shutil.which("setpriv") else []


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
    lines: Lines | None = None,
    stop: Stop = go_on,
    arguments: Sequence[str] = (),
) -> SimulationOutcome:
    """Runs the cocotb tests of `module` in one process; the log, results and waves are left in `out`.

    `spec` is handed to the tests as $HMM_SPEC, `out` as $HMM_OUT. `waves_from` is a clock cycle. `testcase` is a
    regular expression over `module.test`. `timeout` in seconds of wall clock. `progress` gets the JSON of each
    progress line as it is written, `lines` every line. `stop` is asked again and again; a reason ends the process.
    `arguments` are handed to the executable, +NAME=VALUE for $value$plusargs.
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
        *tied_to_us(),
        str(executable.resolve()),
        # Every build starts from the same kind of random state, so that nothing can lean on zeros after power-up.
        "+verilator+rand+reset+2",
        f"+verilator+seed+{seed % 0x7FFF_FFFE + 1}",
        f"+verilator+coverage+file+{out / 'coverage.dat'}",
        *arguments,
    ]
    if waves:
        command += ["--waves", str(waves_file), "--waves-from", str(waves_from)]
    log = out / "simulation.log"
    started = time.monotonic()
    ended = _run(command, variables, log, timeout, _LogReader(log, progress, lines), stop)
    seconds = time.monotonic() - started
    failure, tests = _judge(results, ended.status, ended.stopped, log)
    if failure and waves_file.is_file():
        failure += f"\nwaves: {waves_file}"
    return SimulationOutcome(
        failure=failure,
        tests=tests,
        exit_status=ended.status,
        timed_out=ended.timed_out,
        seconds=seconds,
        log=log,
        out=out,
        waves=waves_file if waves_file.is_file() else None,
        cpu_seconds=ended.cpu_seconds,
        stopped=ended.stopped,
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
