# SPDX-License-Identifier: Apache-2.0
"""Saving and loading of cases, and the image of a memory."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from models.errors import UserError
from models.formats import EntryFormat
from models.pages import Window
from models.physical_memory import Owner, PhysicalMemory
from tb.case import (
    ARRAYS_FILE,
    CASE_FILE,
    CLEAN_DTYPE,
    EXPECTATION_DTYPE,
    Case,
    CommandRing,
    MemorySettings,
    Region,
    fill_memory,
    image_of,
)
from tb.records import ACTION_DTYPE, REQUEST_DTYPE, ActionKind

FORMAT = EntryFormat("example", valid=1, write=2, none_is_value=True, pfn_shift=12, pfn_width=52)


def example() -> Case:
    requests = np.zeros(3, dtype=REQUEST_DTYPE)
    requests["va"] = [1, (1 << 64) - 1, 0x7F00_0000_1000]
    requests["hold"] = 7
    actions = np.zeros(1, dtype=ACTION_DTYPE)
    actions["kind"] = ActionKind.NOP
    return Case(
        name="example",
        seed=(1 << 64) - 1,
        entry_format=FORMAT,
        context_base=0x1000,
        context_count=1 << 20,
        window=Window(5, 6),
        memory=MemorySettings(size=1 << 20, base=0x1000, read_latency=(1, 9), r_pause=15),
        command_ring=CommandRing(base=0x2000, log2=3),
        image=[
            Region(0x1000, np.array([1, (1 << 64) - 1], dtype=np.uint64), Owner.CONTEXT),
            Region(0x3000, np.array([5], dtype=np.uint64), Owner.ARRAY | 0x40),
        ],
        requests=requests,
        actions=actions,
        expectations=np.array([(1, 2, 0, 3)], dtype=EXPECTATION_DTYPE),
        clean=np.array([(1, 2, 0, 3)], dtype=CLEAN_DTYPE),
        parameters={"recording": "x", "part": [0, 4]},
    )


def test_case_survives_save_and_load(tmp_path: Path) -> None:
    """
    Stimulus: A case with every field away from its default is saved and loaded.
    Checking: Every field and every array is the same again.
    Covers: CASE-SAVE
    """
    case = example()
    case.save(tmp_path / "new" / "place")
    again = Case.load(tmp_path / "new" / "place")
    for name, value in vars(case).items():
        other = getattr(again, name)
        if isinstance(value, np.ndarray):
            assert value.dtype == other.dtype
            np.testing.assert_array_equal(value, other)
        elif name == "image":
            assert [(region.address, region.owner) for region in other] == [(0x1000, 1), (0x3000, 0x43)]
            for old, new in zip(value, other, strict=True):
                np.testing.assert_array_equal(old.words, new.words)
        else:
            assert value == other, name


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("version", 2),
        ("va_bits", 50),
        ("seed", -1),
        ("name", "../x"),
        ("context_base", 8),
        ("command_ring", {"base": 64, "log2": 16}),
        ("memory", {"r_pause": 16}),
        ("surprise", 1),
    ],
)
def test_case_bad_text_is_refused(tmp_path: Path, key: str, value: object) -> None:
    """
    Stimulus: A saved case with one field of case.json made wrong.
    Checking: A UserError that names the file and the field.
    Covers: CASE-BAD
    """
    example().save(tmp_path)
    path = tmp_path / CASE_FILE
    path.write_text(json.dumps({**json.loads(path.read_text()), key: value}))
    with pytest.raises(UserError, match=key) as caught:
        Case.load(tmp_path)
    assert str(path) in str(caught.value)


def test_case_bad_arrays_are_refused(tmp_path: Path) -> None:
    """
    Stimulus: Saved cases without arrays, with cut arrays, with an array of another type, with parts that disagree.
    Checking: A UserError each time.
    Covers: CASE-BAD
    """
    with pytest.raises(UserError, match="no case that can be read"):
        Case.load(tmp_path)
    case = example()
    case.save(tmp_path)
    path = tmp_path / ARRAYS_FILE
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(UserError, match="no case that can be read"):
        Case.load(tmp_path)
    path.write_bytes(whole)
    with np.load(path) as stored:
        arrays = dict(stored)
    np.savez(path, **{**arrays, "requests": np.zeros(3)})
    with pytest.raises(UserError, match="requests"):
        Case.load(tmp_path)
    np.savez(path, **{**arrays, "image_length": np.array([9, 9], dtype=np.uint64)})
    with pytest.raises(UserError, match="do not belong together"):
        Case.load(tmp_path)
    for name in ("expectations", "clean"):
        np.savez(path, **{**arrays, name: np.ones(1, dtype=arrays[name].dtype)})
        with pytest.raises(UserError, match="not there"):
            Case.load(tmp_path)


def test_case_image_of_memory_and_back() -> None:
    """
    Stimulus: A memory with two allocations, one with an error mark in the middle.
    Checking: The image has one region for each stretch of equal owner bytes and fills another memory alike.
    Covers: CASE-IMAGE
    """
    memory = PhysicalMemory(1 << 16, 0x10000)
    first = memory.allocate(128, owner=Owner.ARRAY)
    second = memory.allocate(4096, align=4096, owner=Owner.DIRECTORY)
    memory.write_words(first, np.arange(16, dtype=np.uint64))
    memory.set_read_error(first + 64)
    image = image_of(memory)
    assert [(region.address, region.words.size, region.owner) for region in image] == [
        (first, 8, 3),
        (first + 64, 1, 0x43),
        (first + 72, 7, 3),
        (second, 512, 2),
    ]
    other = PhysicalMemory(1 << 16, 0x10000)
    fill_memory(other, image)
    np.testing.assert_array_equal(other.words, memory.words)
    np.testing.assert_array_equal(other.shadow_words, memory.shadow_words)
    np.testing.assert_array_equal(other.owners, memory.owners)
