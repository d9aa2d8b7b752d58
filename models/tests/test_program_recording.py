# SPDX-License-Identifier: Apache-2.0
"""Tests of the file of a recorded program: everything comes back, and nothing that is damaged is taken."""

from __future__ import annotations

import io
import zipfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from models.errors import UserError
from models.files import write_atomically
from models.program_recording import (
    ADDRESS_LIMIT,
    EVENT_DTYPE,
    MAPPING_DTYPE,
    PAGE_BYTES,
    Array,
    EventKind,
    ProgramRecording,
    Protection,
    encode_program,
    load_program,
    save_program,
)

READ_WRITE = int(Protection.READ | Protection.WRITE)


def drawn_events(rng: np.random.Generator, count: int) -> Array:
    """EVENT_DTYPE[count]: legal events of every kind in a drawn order."""
    events = np.zeros(count, dtype=EVENT_DTYPE)
    events["kind"] = rng.integers(0, len(EventKind), count)
    access = events["kind"] <= EventKind.MODIFY
    offsets = rng.integers(0, PAGE_BYTES - 64, count)
    pages = rng.integers(0, ADDRESS_LIMIT // PAGE_BYTES - 1000, count) * PAGE_BYTES
    events["address"] = pages + np.where(access, offsets, 0)
    events["length"] = np.where(access, rng.integers(1, 65, count), rng.integers(1, 1000, count) * PAGE_BYTES)
    events["repeats"] = np.where(access, rng.integers(1, 1 << 32, count), 0)
    second = np.isin(events["kind"], (EventKind.BRK, EventKind.MREMAP))
    events["new_address"] = np.where(second, rng.integers(0, 1 << 30, count) * PAGE_BYTES, 0)
    events["new_length"] = np.where(events["kind"] == EventKind.MREMAP, rng.integers(1, 1000, count) * PAGE_BYTES, 0)
    events["protection"] = np.where(access, 0, rng.integers(0, 8, count))
    events["flags"] = np.where(events["kind"] == EventKind.MMAP, 0x21, 0)
    return events


def recording_of(events: Array) -> ProgramRecording:
    """A recording with two mappings at the start."""
    mappings = np.array([(0x1000, 0x2000, READ_WRITE), (0x3000, 0x1000, Protection.READ)], dtype=MAPPING_DTYPE)
    return ProgramRecording(
        command=("program", "an argument", "ä\n"),
        tools={"valgrind": "3.19.0"},
        window=7,
        cut="more than 5 merged accesses",
        exit_status=None,
        refused_calls=2,
        refused_accesses=1,
        events=events,
        initial_mappings=mappings,
    )


@pytest.fixture
def recording(seed: int) -> ProgramRecording:
    """500 events of every kind."""
    return recording_of(drawn_events(np.random.default_rng(seed), 500))


def rewritten(content: bytes, name: str, values: Array | None) -> bytes:
    """The same archive with one column replaced, or without it."""
    result = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(content)) as old, zipfile.ZipFile(result, "w") as new:
        for entry in old.namelist():
            if entry != f"{name}.npy":
                new.writestr(entry, old.read(entry))
            elif values is not None:
                column = io.BytesIO()
                np.lib.format.write_array(column, values)
                new.writestr(entry, column.getvalue())
    return result.getvalue()


def column_of(content: bytes, name: str) -> Array:
    """A column of an archive."""
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        values: Array = np.lib.format.read_array(io.BytesIO(archive.read(f"{name}.npy")))
        return values


@pytest.mark.parametrize("count", [0, 1, 2, 500])
def test_program_recording_round_trip(tmp_path: Path, seed: int, count: int) -> None:
    """Stimulus: recordings of 0 to 500 drawn events written and read.
    Checking: every field and event comes back in its place; the same recording gives the same bytes.
    Covers: PROGRAM-FILE.
    """
    written = recording_of(drawn_events(np.random.default_rng(seed), count))
    path = tmp_path / "program.npz"
    assert save_program(written, path) == path.stat().st_size
    read = load_program(path)
    assert np.array_equal(read.events, written.events)
    assert np.array_equal(read.initial_mappings, written.initial_mappings)
    for name in ("command", "tools", "window", "cut", "exit_status", "refused_calls", "refused_accesses"):
        assert vars(read)[name] == vars(written)[name], name
    assert encode_program(read) == path.read_bytes()
    assert read.accesses + read.calls == count == len(read.events)
    assert [entry.name for entry in tmp_path.iterdir()] == ["program.npz"]


def test_program_recording_counts(recording: ProgramRecording) -> None:
    """Stimulus: a recording of drawn events.
    Checking: its counts against plain loops over the events.
    Covers: PROGRAM-FILE.
    """
    accesses = [event for event in recording.events if event["kind"] <= EventKind.MODIFY]
    assert recording.accesses == len(accesses)
    assert recording.raw_accesses == sum(int(event["repeats"]) for event in accesses)
    assert recording.pages == len({int(event["address"]) // PAGE_BYTES for event in accesses})


def test_program_recording_cut_short_is_refused(tmp_path: Path, recording: ProgramRecording) -> None:
    """Stimulus: a good file cut at 40 places.
    Checking: each is refused in one sentence that names the file.
    Covers: PROGRAM-FILE-REFUSED.
    """
    content = encode_program(recording)
    path = tmp_path / "program.npz"
    for length in np.linspace(0, len(content) - 1, 40, dtype=int):
        path.write_bytes(content[:length])
        with pytest.raises(UserError) as caught:
            load_program(path)
        assert str(caught.value).startswith(f"{path} is ") and str(caught.value).endswith(".")
        assert "\n" not in str(caught.value)


def test_program_recording_flipped_bits_are_refused(tmp_path: Path, recording: ProgramRecording, seed: int) -> None:
    """Stimulus: a good file with one bit flipped inside the packed columns, 60 draws.
    Checking: each is refused.
    Covers: PROGRAM-FILE-REFUSED.
    """
    content = encode_program(recording)
    path = tmp_path / "program.npz"
    rng = np.random.default_rng(seed)
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        entries = [entry for entry in archive.infolist() if entry.compress_size > 100]
    for _ in range(60):
        entry = entries[rng.integers(len(entries))]
        place = entry.header_offset + 30 + len(entry.filename) + int(rng.integers(entry.compress_size))
        damaged = bytearray(content)
        damaged[place] ^= 1 << int(rng.integers(8))
        path.write_bytes(damaged)
        with pytest.raises(UserError, match="cut off or damaged"):
            load_program(path)


@pytest.mark.parametrize("content", [b"", b"text\n", b"\x1f\x8b\x08", b"\x93NUMPY\x01\x00"])
def test_program_recording_foreign_file_is_refused(tmp_path: Path, content: bytes) -> None:
    """Stimulus: an empty file, text, gzip, a plain array; an archive with other columns; no file; a folder.
    Checking: one sentence that says what to give.
    Covers: PROGRAM-FILE-REFUSED.
    """
    path = tmp_path / "program.npz"
    path.write_bytes(content)
    with pytest.raises(UserError, match="is no recorded program; give a file that `python -m sim record` wrote"):
        load_program(path)
    np.savez(path, other=np.zeros(3))
    with pytest.raises(UserError, match="is no recorded program"):
        load_program(path)
    for place in (tmp_path / "absent.npz", tmp_path):
        with pytest.raises(UserError, match="cannot be read"):
            load_program(place)


def test_program_recording_absent_column_is_refused(tmp_path: Path, recording: ProgramRecording) -> None:
    """Stimulus: a good file without one of its columns, each in turn; with one as floating point; one value short;
        with a column more.
    Checking: each is refused.
    Covers: PROGRAM-FILE-REFUSED.
    """
    content = encode_program(recording)
    path = tmp_path / "program.npz"
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        names = [name.removesuffix(".npy") for name in archive.namelist()]
    for name in names:
        values = column_of(content, name)
        for changed in (None, values.astype(np.float64), values[:-1], values.reshape(1, -1)):
            path.write_bytes(rewritten(content, name, changed))
            with pytest.raises(UserError):
                load_program(path)
    more = io.BytesIO(content)
    with zipfile.ZipFile(more, "a") as archive:
        archive.writestr("more.npy", archive.read("pages.npy"))
    path.write_bytes(more.getvalue())
    with pytest.raises(UserError, match="is no recorded program"):
        load_program(path)


@pytest.mark.parametrize(
    ("name", "place", "value", "message"),
    [
        ("access_kind", 0, EventKind.MMAP, "no known kind"),
        ("access_length", 0, 0, "does not lie in one page"),
        ("access_length", 0, PAGE_BYTES + 1, "does not lie in one page"),
        ("access_offset", 0, PAGE_BYTES, "past its page"),
        ("access_page", 0, 1 << 20, "does not list"),
        ("access_repeats", 0, 0, "repeats"),
        ("pages", 0, ADDRESS_LIMIT, "does not lie in one page"),
        ("call_kind", 0, EventKind.READ, "no known kind"),
        ("call_kind", 0, max(EventKind) + 1, "no known kind"),
        ("call_place", -1, 1 << 20, "not in order"),
        ("call_place", 0, 1 << 20, "not in order"),
        ("call_protection", 0, 8, "no known kind"),
        ("call_address", 0, 1, "whole number of pages"),
        ("call_address", 0, ADDRESS_LIMIT, "whole number of pages"),
        ("call_length", 0, 1, "whole number of pages"),
        ("call_length", 0, 0, "is empty"),
        ("call_new_address", 0, 1, "whole number of pages"),
        ("call_new_length", 0, (1 << 64) - PAGE_BYTES, "whole number of pages"),
        ("mapping_address", 1, 0x2000, "not in order"),
        ("mapping_address", 1, 0x3001, "whole number of pages"),
        ("mapping_length", 0, 0, "whole number of pages"),
        ("mapping_protection", 0, 8, "not in order"),
        ("header", 0, ord("x"), "header"),
    ],
)
def test_program_recording_impossible_value_is_refused(
    tmp_path: Path, seed: int, name: str, place: int, value: int, message: str
) -> None:
    """Stimulus: a well-formed file in which one value cannot be.
    Checking: it is refused, with what is wrong.
    Covers: PROGRAM-FILE-REFUSED.
    """
    events = drawn_events(np.random.default_rng(seed), 50)
    first_call = np.flatnonzero(events["kind"] > EventKind.MODIFY)[0]
    events[first_call] = (EventKind.MUNMAP, 0, 0, 0, 0x5000, 0x1000, 0, 0)
    content = encode_program(recording_of(events))
    values = column_of(content, name)
    values[place] = value
    path = tmp_path / "program.npz"
    path.write_bytes(rewritten(content, name, values))
    with pytest.raises(UserError, match=message):
        load_program(path)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('"version":1', '"version":2', "version"),
        ('"window":7', '"window":0', "window"),
        ('"window":7', '"window":"7"', "window"),
        ('"page_bytes":4096', '"page_bytes":8192', "page_bytes"),
        ('"refused_calls":2,', "", "refused_calls"),
        ('"refused_calls":2', '"refused_calls":2,"more":1', "more"),
        ('"mappings":2', '"mappings":3', "counts other events"),
    ],
)
def test_program_recording_bad_header_is_refused(
    tmp_path: Path, recording: ProgramRecording, old: str, new: str, message: str
) -> None:
    """Stimulus: a header of another version, without a key, with one more, with a wrong count.
    Checking: it is refused, with the key.
    Covers: PROGRAM-FILE-REFUSED.
    """
    content = encode_program(recording)
    text = column_of(content, "header").tobytes().decode()
    assert old in text
    header = np.frombuffer(text.replace(old, new).encode(), dtype=np.uint8)
    path = tmp_path / "program.npz"
    path.write_bytes(rewritten(content, "header", header))
    with pytest.raises(UserError, match=message):
        load_program(path)


def test_program_recording_illegal_is_not_written(tmp_path: Path, recording: ProgramRecording) -> None:
    """Stimulus: a recording with an empty access.
    Checking: it is not written, and what was there stays.
    Covers: PROGRAM-FILE.
    """
    path = tmp_path / "program.npz"
    save_program(recording, path)
    before = path.read_bytes()
    events = recording.events.copy()
    events["length"][recording.is_access] = 0
    with pytest.raises(ValueError, match="one page"):
        save_program(replace(recording, events=events), path)
    assert path.read_bytes() == before


def test_program_recording_failed_write_loses_nothing(tmp_path: Path, recording: ProgramRecording) -> None:
    """Stimulus: a file written where a folder stands, and into a folder that is absent.
    Checking: one sentence; no half-written file is left.
    Covers: PROGRAM-FILE, CLI-ERRORS.
    """
    folder = tmp_path / "folder"
    (folder / "inside").mkdir(parents=True)
    for path in (folder, tmp_path / "absent" / "program.npz"):
        with pytest.raises(UserError, match=r"cannot be written .*; name a file in a folder"):
            save_program(recording, path)
    assert [entry.name for entry in tmp_path.iterdir()] == ["folder"]
    path = tmp_path / "program.npz"
    write_atomically(path, b"1")
    write_atomically(path, b"22")
    assert path.read_bytes() == b"22" and path.stat().st_mode & 0o111 == 0
