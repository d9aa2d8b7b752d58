# SPDX-License-Identifier: Apache-2.0
"""Options of the test run: `--seed N` and `--waves`, also as `make test SEED=N WAVES=1`."""

from __future__ import annotations

import pytest


def pytest_addoption(parser: pytest.Parser) -> None:
    """Adds the options of this project."""
    group = parser.getgroup("simulation")
    group.addoption("--seed", type=int, default=1, help="seed of everything that tests draw (default 1)")
    group.addoption("--waves", action="store_true", help="simulations leave wave files beside their logs")


@pytest.fixture
def seed(request: pytest.FixtureRequest) -> int:
    """The seed of this run; hand np.random.default_rng(seed) on."""
    value: int = request.config.getoption("--seed")
    return value


@pytest.fixture
def waves(request: pytest.FixtureRequest) -> bool:
    """Whether simulations write waves (checked build only)."""
    value: bool = request.config.getoption("--waves")
    return value
