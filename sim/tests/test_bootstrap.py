# SPDX-License-Identifier: Apache-2.0
"""Tests of the set-up script: done once, done again after an interruption, and one sentence for each thing missing.

It runs in a copy of the project with stand-ins for Python, apt-get and sudo on a PATH of its own.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from sim.paths import ROOT

HARMLESS = (
    "sh",
    "true",
    "cat",
    "cksum",
    "dirname",
    "env",
    "id",
    "mkdir",
    "mv",
    "rm",
    "sed",
    "tr",
    "printf",
    "pwd",
    "ln",
)
PYTHON = """\
#!/bin/sh
# A Python that notes what it is asked for. NETWORK=down: pip cannot fetch. VERSION_OK=no: it is too old.
echo "$*" >>"{log}"
case "$*" in
    *version_info*3,\\ 11*) [ "${{VERSION_OK:-yes}}" = yes ] ;;
    *sys.base_prefix*) echo "3.11 stand-in" ;;
    "-m venv"*) mkdir -p .venv/bin && ln -sf "{python}" .venv/bin/python && rm -f .venv/complete ;;
    "-m pip"*) if [ "${{NETWORK:-up}}" = down ]; then echo "could not connect" >&2; exit 1; fi ;;
    *) exit 0 ;;
esac
"""


class Sandbox:
    """A project directory with a PATH that holds only stand-ins."""

    def __init__(self, directory: Path) -> None:
        self.project = directory / "project"
        self.programs = directory / "programs"
        self.log = directory / "python.log"
        (self.project / "sim").mkdir(parents=True)
        self.programs.mkdir()
        for name in ("sim/bootstrap.sh", "requirements.txt", "requirements-dev.txt"):
            shutil.copy(ROOT / name, self.project / name)
        for name in HARMLESS:
            found = shutil.which(name)
            if found:
                (self.programs / name).symlink_to(found)
        for name in ("g++", "make", "perl", "ccache", "valgrind"):
            self.program(name, "exit 0")
        self.program("python3", "")
        python = self.programs / "python3"
        python.write_text(PYTHON.format(log=self.log, python=python))

    def program(self, name: str, body: str) -> None:
        """Puts a stand-in on the PATH."""
        path = self.programs / name
        path.write_text(f"#!/bin/sh\n{body}\n")
        path.chmod(0o755)

    def root_user(self, yes: bool) -> None:
        """Decides who the script thinks it is."""
        (self.programs / "id").unlink()
        self.program("id", f"echo {0 if yes else 1000}")

    def run(self, **variables: str) -> subprocess.CompletedProcess[str]:
        """Runs the script."""
        environment = {"PATH": str(self.programs), "HOME": os.environ.get("HOME", "/"), **variables}
        return subprocess.run(
            ["/bin/sh", "sim/bootstrap.sh"],
            cwd=self.project,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
            stdin=subprocess.DEVNULL,
            timeout=60,
        )

    def installs(self) -> int:
        """How often pip was asked so far."""
        return self.log.read_text().count("-m pip install") if self.log.is_file() else 0


@pytest.fixture
def sandbox(tmp_path: Path) -> Sandbox:
    """A project in which nothing was set up yet."""
    if not Path("/usr/include/lz4.h").is_file() or not Path("/usr/include/zlib.h").is_file():
        pytest.fail("liblz4-dev and zlib1g-dev are not installed, though set-up installs them")
    return Sandbox(tmp_path)


def test_bootstrap_is_done_once(sandbox: Sandbox) -> None:
    """Stimulus: the script three times, the requirements changed before the third.
    Checking: packages are installed by the first and the third.
    Covers: SETUP-REPEAT.
    """
    first = sandbox.run()
    assert first.returncode == 0, first.stderr
    assert sandbox.installs() == 1
    assert sandbox.run().returncode == 0
    assert sandbox.installs() == 1
    with (sandbox.project / "requirements.txt").open("a") as requirements:
        requirements.write("another==1\n")
    assert sandbox.run().returncode == 0
    assert sandbox.installs() == 2


def test_bootstrap_interrupted_is_made_anew(sandbox: Sandbox) -> None:
    """Stimulus: a .venv without the mark that it is complete; then a project moved to another place.
    Checking: it is installed again each time.
    Covers: SETUP-INTERRUPTED.
    """
    (sandbox.project / ".venv/bin").mkdir(parents=True)
    assert sandbox.run().returncode == 0
    assert sandbox.installs() == 1
    moved = sandbox.project.with_name("moved")
    sandbox.project.rename(moved)
    sandbox.project = moved
    assert sandbox.run().returncode == 0
    assert sandbox.installs() == 2


def test_bootstrap_no_network_is_one_sentence(sandbox: Sandbox) -> None:
    """Stimulus: pip cannot fetch; then the network is back.
    Checking: one sentence and a status other than 0, nothing marked complete; then success.
    Covers: CLI-ERRORS.
    """
    done = sandbox.run(NETWORK="down")
    errors = [line for line in done.stderr.splitlines() if line.startswith("error:")]
    assert done.returncode == 2 and len(errors) == 1 and "check the network" in errors[0]
    assert not (sandbox.project / ".venv/complete").exists()
    assert sandbox.run().returncode == 0


def test_bootstrap_missing_compiler_without_root_is_one_sentence(sandbox: Sandbox) -> None:
    """Stimulus: no compiler, an ordinary user, sudo that wants a password.
    Checking: one sentence with the exact line to type; apt-get was not called.
    Covers: CLI-ERRORS.
    """
    (sandbox.programs / "g++").unlink()
    sandbox.root_user(False)
    called = sandbox.project / "called"
    sandbox.program("sudo", "exit 1")
    sandbox.program("apt-get", f"touch {called}")
    done = sandbox.run()
    assert done.returncode == 2 and not called.exists()
    assert done.stderr.strip().splitlines() == [
        "error: these system packages are missing: g++; type: sudo apt-get install -y --no-install-recommends g++"
    ]


@pytest.mark.parametrize("root", [True, False])
def test_bootstrap_missing_compiler_is_installed_when_allowed(sandbox: Sandbox, root: bool) -> None:
    """Stimulus: no compiler; root, or a user whose sudo asks for no password.
    Checking: apt-get installs it, then the set-up goes on.
    Covers: SETUP-SYSTEM-PACKAGES.
    """
    compiler = sandbox.programs / "g++"
    compiler.unlink()
    sandbox.root_user(root)
    sandbox.program("sudo", 'shift; exec "$@"')
    asked = sandbox.project / "asked"
    (sandbox.programs / "cp").symlink_to("/bin/cp")
    sandbox.program("apt-get", f'echo "$*" >>{asked}; case "$*" in *install*) cp "$0" {compiler};; esac')
    done = sandbox.run()
    assert done.returncode == 0, done.stderr
    update, install = asked.read_text().splitlines()
    assert update.endswith("update") and install.endswith("install -y --no-install-recommends g++")
    assert sandbox.installs() == 1


def test_bootstrap_failed_apt_get_is_one_sentence(sandbox: Sandbox) -> None:
    """Stimulus: no compiler, root, apt-get that cannot fetch.
    Checking: one sentence that names the package and the network.
    Covers: CLI-ERRORS.
    """
    (sandbox.programs / "g++").unlink()
    sandbox.root_user(True)
    sandbox.program("apt-get", "exit 100")
    done = sandbox.run()
    errors = [line for line in done.stderr.splitlines() if line.startswith("error:")]
    assert done.returncode == 2 and len(errors) == 1 and "g++" in errors[0] and "check the network" in errors[0]


def test_bootstrap_old_python_without_root_is_one_sentence(sandbox: Sandbox) -> None:
    """Stimulus: only a Python older than 3.11.
    Checking: one sentence that says which packages to install.
    Covers: CLI-ERRORS.
    """
    sandbox.root_user(False)
    sandbox.program("apt-get", "exit 1")
    done = sandbox.run(VERSION_OK="no")
    errors = [line for line in done.stderr.splitlines() if line.startswith("error:")]
    assert done.returncode == 2 and len(errors) == 1 and "python3" in errors[0]


def test_bootstrap_absent_ccache_does_not_stop(sandbox: Sandbox) -> None:
    """Stimulus: only the compiler cache is missing, and it cannot be installed.
    Checking: the set-up says so and goes on.
    Covers: SETUP-SYSTEM-PACKAGES.
    """
    (sandbox.programs / "ccache").unlink()
    sandbox.root_user(False)
    sandbox.program("apt-get", "exit 1")
    done = sandbox.run()
    assert done.returncode == 0 and "ccache is missing" in done.stderr, done.stderr


def test_bootstrap_path_with_a_space_is_one_sentence(sandbox: Sandbox) -> None:
    """Stimulus: the project in a folder with a space in its name.
    Checking: one sentence; make could not build there.
    Covers: CLI-ERRORS.
    """
    spaced = sandbox.project.with_name("a project")
    sandbox.project.rename(spaced)
    sandbox.project = spaced
    done = sandbox.run()
    assert done.returncode == 2 and "has a space in it" in done.stderr
