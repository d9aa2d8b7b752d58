# SPDX-License-Identifier: Apache-2.0
"""The named configurations: what they hold, and mistakes in their file."""

from __future__ import annotations

from pathlib import Path

import pytest

from models.errors import UserError
from tb.configurations import configurations, named_configuration, read_configurations

SECOND_LEVEL_TRANSLATIONS = 2048
"""The table of bars speaks of a second level of at most so many."""
SLOTS_OF_LINE = 8


def test_configurations_are_those_that_the_table_speaks_of() -> None:
    """
    Stimulus: the configurations of the project.
    Checking: default has at least 4 external ports and 64 places for faults, tiny one of everything and 2 places,
        large more than default of all; the second level of default is not larger than the bars allow.
    Covers: BUILD-CONFIGURATION
    """
    assert list(configurations()) == ["default", "tiny", "large", "va57"]
    default, tiny, large = (named_configuration(name) for name in ("default", "tiny", "large"))
    assert default.ports >= 4 and default.fault_slots == 64
    assert tiny.ports == 1 and tiny.fault_slots == 2
    others = {name: value for name, value in tiny.parameters.items() if name not in ("VaBits", "Clients", "FaultSlots")}
    assert set(others.values()) == {1}
    assert all(large.parameters[name] > default.parameters[name] for name in default.parameters if name != "VaBits")
    assert default.of("SharedSets", 0) * default.of("SharedWays", 0) * SLOTS_OF_LINE <= SECOND_LEVEL_TRANSLATIONS
    assert named_configuration("va57").va_bits == 57 and default.va_bits == 48


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("a: {VaBits: 48, Clients: 2}", ["configuration a", "FaultSlots"]),
        ("a: {VaBits: 48, Clients: two, FaultSlots: 2}", ["configuration a", "Clients", "'two'"]),
        ("a: {VaBits: 48, Clients: true, FaultSlots: 2}", ["Clients", "True"]),
        ("a: 48", ["configuration a", "NAME: NUMBER"]),
        ("- a", ["each configuration a name"]),
        ("a: {", ["cannot be read"]),
    ],
)
def test_configurations_file_errors_are_sentences(tmp_path: Path, text: str, words: list[str]) -> None:
    """
    Stimulus: files with a mistake each, and one that is not there.
    Checking: UserErrors of one line that say what is wrong.
    Covers: CLI-ERRORS
    """
    path = tmp_path / "configurations.yaml"
    with pytest.raises(UserError, match="cannot be read"):
        read_configurations(path)
    path.write_text(text, encoding="utf-8")
    with pytest.raises(UserError) as caught:
        read_configurations(path)
    assert "\n" not in str(caught.value)
    assert all(word in str(caught.value) for word in words), caught.value


def test_configurations_unknown_is_a_sentence() -> None:
    """
    Stimulus: a configuration that is not there.
    Checking: a UserError with the known ones.
    Covers: CLI-ERRORS
    """
    with pytest.raises(UserError, match="no configuration huge; choose one of default, large, tiny, va57"):
        named_configuration("huge")
