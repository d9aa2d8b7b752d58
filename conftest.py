# SPDX-License-Identifier: Apache-2.0
"""Options of the test run: `--seed N` and `--waves`, also as `make test SEED=N WAVES=1`."""

from __future__ import annotations

import os
import shutil

import pytest

from sim.paths import BUILD
from sim.simulation import WAVES_DIRECTORY

pytest_plugins = ["sim.regression.pytest_plugin"]

WAVES = BUILD / "waves"


def pytest_addoption(parser: pytest.Parser) -> None:
    """Adds the options of this project."""
    group = parser.getgroup("simulation")
    group.addoption("--seed", type=int, default=1, help="seed of everything that tests draw (default 1)")
    group.addoption("--waves", action="store_true", help="simulations of checked builds record waves in build/waves")


@pytest.fixture
def seed(request: pytest.FixtureRequest) -> int:
    """The seed of this run; hand np.random.default_rng(seed) on."""
    value: int = request.config.getoption("--seed")
    return value


def pytest_configure(config: pytest.Config) -> None:
    """Tells every simulation of this run, also those of worker processes, where waves go."""
    if config.getoption("--waves") and not hasattr(config, "workerinput"):
        shutil.rmtree(WAVES, ignore_errors=True)
        WAVES.mkdir(parents=True)
        os.environ[WAVES_DIRECTORY] = str(WAVES)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """Lists the wave files."""
    if config.getoption("--waves"):
        for path in sorted(WAVES.glob("*.fst")):
            terminalreporter.write_line(f"waves: {path}")
