# SPDX-License-Identifier: Apache-2.0
"""The named configurations of the device: which parameters of tb_top each sets. The data are configurations.yaml."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Literal

import yaml

from models.errors import UserError

CONFIGURATIONS_FILE = Path(__file__).resolve().parent / "data" / "configurations.yaml"


@dataclass(frozen=True)
class Configuration:
    """One configuration. `parameters`: what it sets, by the name of tb_top's parameter; all else is as tb_top has it."""

    name: str
    parameters: Mapping[str, int]

    @property
    def va_bits(self) -> Literal[48, 57]:
        """Width of a virtual address."""
        return 57 if self.parameters["VaBits"] == 57 else 48

    @property
    def ports(self) -> int:
        """External client ports: they are numbered from 1. Client 0, the engine, is inside the device."""
        return self.parameters["Clients"] - 1

    @property
    def fault_slots(self) -> int:
        """Requests that can wait for the host at a time; a place for PREFETCH comes on top."""
        return self.parameters["FaultSlots"]

    def of(self, parameter: str, otherwise: int) -> int:
        """The value of a parameter, `otherwise` if the configuration does not set it."""
        return self.parameters.get(parameter, otherwise)


NEEDED = ("VaBits", "Clients", "FaultSlots")
"""Parameters that every configuration sets: scenarios ask for them."""


def read_configurations(path: Path) -> dict[str, Configuration]:
    """The configurations of a file, by name, in its order.

    Errors: UserError if the file is none, sets something that is no number, or leaves out one of NEEDED.
    """
    try:
        loaded = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        first = str(error).splitlines()[0]
        raise UserError(f"{path} cannot be read ({first}); give parameters of the device by configuration.") from None
    if not isinstance(loaded, dict) or not loaded:
        raise UserError(f"{path}: give each configuration a name, and its parameters behind it.")
    found = {}
    for name, parameters in loaded.items():
        if not isinstance(parameters, dict):
            raise UserError(f"{path}: give configuration {name} parameters, as NAME: NUMBER.")
        for key, value in parameters.items():
            if not isinstance(value, int) or isinstance(value, bool) or value < 0:
                raise UserError(f"{path}: configuration {name} sets {key} to {value!r}; give a whole number.")
        for key in NEEDED:
            if key not in parameters:
                raise UserError(f"{path}: configuration {name} does not set {key}, which scenarios ask for; add it.")
        found[str(name)] = Configuration(str(name), parameters)
    return found


@cache
def configurations() -> dict[str, Configuration]:
    """The configurations of the project, by name."""
    return read_configurations(CONFIGURATIONS_FILE)


def named_configuration(name: str) -> Configuration:
    """One configuration. Errors: UserError listing the known ones."""
    known = configurations()
    if name not in known:
        raise UserError(f"There is no configuration {name}; choose one of {', '.join(sorted(known))}.")
    return known[name]
