# SPDX-License-Identifier: Apache-2.0
"""A program that stands in for a simulator: it answers for cases and cocotb tests as their names tell it to.

A case does what its parameter `do` says: pass, fail, crash, hang, late (passes, but the process then ends badly).
A cocotb test does what its name begins with. $FAKE_PROCESSES names a file that gets a line for each start.
"""

from __future__ import annotations

import stat
import sys
from pathlib import Path

from sim.regression.case import ProcessKind, RegressionCase

PROGRAM = """\
#!{python} -SE
import json, os, re, sys, time

def say(text):
    print(text, flush=True)

def act(do):
    if do == "crash":
        say("the last words")
        os.abort()
    if do == "hang":
        say("for ever")
        time.sleep(600)

def results(tests):
    cases = "".join(
        '<testcase classname="%s" name="%s" time="1">%s</testcase>'
        % (*name.rsplit(".", 1), "" if good else '<failure message="was wrong"/>')
        for name, good in tests
    )
    with open(os.environ["COCOTB_RESULTS_FILE"], "w") as file:
        file.write("<testsuites><testsuite>" + cases + "</testsuite></testsuites>")
    sys.exit(0 if all(good for _, good in tests) else 1)

with open({counter!r}, "a") as file:
    file.write("started\\n")
if "HMM_SPEC" in os.environ:
    with open(os.environ["HMM_SPEC"]) as file:
        entries = json.load(file)["cases"]
    if any(entry["parameters"]["do"] == "mute" for entry in entries):
        say("cannot even start")
        sys.exit(3)
    good = True
    for index, entry in enumerate(entries):
        say("@begin %d" % index)
        do = entry["parameters"]["do"]
        act(do)
        passed = do != "fail"
        good = good and passed
        events = str(time.time_ns()) if do == "unstable" else "abcd" + str(entry["seed"])
        told = dict(index=index, passed=passed, cycles=100, cpu_seconds=0.5, event_hash=events)
        say("@progress " + json.dumps(dict(told, lines=[] if passed else ["it was wrong"])))
        if do == "late":
            sys.exit(9)
    results([("tb.run_cases.run_cases", good)])
tests = []
for name in re.findall(r"[a-z_.]+", os.environ["COCOTB_TEST_FILTER"].replace("\\\\", "")):
    if "." in name.strip("."):
        say("0.00ns INFO cocotb.regression running %s (1/9)" % name)
        do = name.rsplit(".", 1)[1].split("_")[0]
        act(do)
        if do != "skip":
            tests.append((name, do != "fail"))
results(tests)
"""


def write_fake(directory: Path) -> Path:
    """The program; each start adds a line to the file `processes` beside it."""
    path = directory / "fake_simulator"
    path.write_text(PROGRAM.format(python=sys.executable, counter=str(directory / "processes")), encoding="utf-8")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return path


def started(directory: Path) -> int:
    """How many times the program was started."""
    path = directory / "processes"
    return len(path.read_text(encoding="utf-8").splitlines()) if path.is_file() else 0


def fake_case(do: str, seed: int = 1, *, configuration: str = "default", limit: float = 60.0) -> RegressionCase:
    """A case that does what it is told."""
    return RegressionCase(
        id=f"{do}.s{seed}",
        kind=ProcessKind("device", "fast", configuration, "batch", tests=False),
        seed=seed,
        entry_format="",
        tags=(),
        limit_seconds=limit,
        entry={"builder": "fake", "parameters": {"do": do}, "seed": seed},
    )


def fake_test(name: str, *, limit: float = 60.0) -> RegressionCase:
    """A cocotb test that does what its name begins with."""
    return RegressionCase(
        id=name,
        kind=ProcessKind("device", "fast", "default", "batch", tests=True, seed=1),
        seed=1,
        entry_format="",
        tags=(),
        limit_seconds=limit,
        module="some.module",
        test=name,
    )
