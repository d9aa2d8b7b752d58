# SPDX-License-Identifier: Apache-2.0
"""Formats as data: worked vectors both ways, refusals, files of a user's own."""

from __future__ import annotations

from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.entries import decode, encode, none_word
from models.errors import UserError
from models.formats import (
    REFUSAL_WORDS,
    EntryFormat,
    FormatVector,
    format_by_name,
    load_format_file,
    load_formats,
    load_vectors,
    refusals,
    require_consistent,
)
from models.pages import PageKind, Pages
from models.structures import Refusal

VECTORS = [(name, vector) for name, vectors in load_vectors().items() for vector in vectors]
REQUIRED = {
    "hmm_2017_fixed",
    "hmm_2018_flags",
    "nouveau",
    "amdgpu",
    "i915_rfc",
    "odp_rfc",
    "test_hmm_2019",
    "test_hmm_2020",
    "linux_5_8",
    "linux_6_16",
}

GOOD = EntryFormat(
    "good", valid=1, write=2, pfn_shift=12, pfn_width=40, order_shift=56, order_width=5, none_is_value=True
)


@pytest.mark.parametrize(("name", "vector"), VECTORS, ids=[f"{name}-{vector.name}" for name, vector in VECTORS])
def test_formats_worked_vector(name: str, vector: FormatVector) -> None:
    """Stimulus: one worked vector.
    Checking: its properties encode into its word, and its word decodes into its properties.
    Covers: FMT-VECTOR
    """
    fmt = format_by_name(name)
    page = Pages.of(
        vector.kind,
        vector.pfn,
        write=vector.write,
        device_private=vector.device_private,
        atomic=vector.atomic,
        order=vector.order,
    )
    if not vector.decode_only:
        assert hex(encode(fmt, page)[0]) == hex(vector.word)
    decoded = decode(fmt, [vector.word], vector.window)
    valid = vector.decodes_as is PageKind.VALID
    assert decoded.kind[0] == vector.decodes_as
    assert decoded.reason[0] == vector.reason
    assert bool(decoded.write[0]) == (vector.write and valid)
    assert bool(decoded.atomic[0]) == (vector.atomic and valid)
    assert decoded.order[0] == vector.order
    if valid or not vector.decode_only:
        assert decoded.pfn[0] == vector.pfn
    assert bool(decoded.device_private[0]) == (vector.device_private and bool(fmt.device_private))
    if vector.reason == 0:
        offset = vector.pfn - vector.window.base if vector.device_private else vector.pfn
        assert bool(decoded.device[0]) == vector.device_private
        assert decoded.page_address[0] == offset << 12


def test_formats_all_known_are_consistent() -> None:
    """Stimulus: every format that comes with the project.
    Checking: the device takes it; the required names are there; each has vectors for VALID and NONE.
    Covers: FMT-TABLE
    """
    formats = load_formats()
    assert set(formats) >= REQUIRED
    for name, fmt in formats.items():
        assert require_consistent(fmt) is fmt
        kinds = {vector.kind for vector in load_vectors()[name]}
        assert {PageKind.VALID, PageKind.NONE} <= kinds, name
        assert none_word(fmt) in {vector.word for vector in load_vectors()[name]}


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({}, Refusal(0)),
        ({"valid": 0}, Refusal.VALID_ZERO),
        ({"valid": 0, "write": 0}, Refusal.VALID_ZERO),
        ({"valid": 3}, Refusal.VALID_CONTAINS),
        ({"valid": 7, "write": 8, "atomic": 4}, Refusal.VALID_CONTAINS),
        ({"valid": 7, "write": 8, "device_private": 6}, Refusal.VALID_CONTAINS),
        ({"valid": 3, "write": 6}, Refusal(0)),
        ({"valid": 1, "write": 3}, Refusal(0)),
        ({"valid": (1 << 64) - 1}, Refusal.VALID_CONTAINS | Refusal.PFN_OVERLAP),
        ({"valid": 1 << 12}, Refusal.PFN_OVERLAP),
        ({"write": 1 << 51}, Refusal.PFN_OVERLAP),
        ({"write": 1 << 52}, Refusal(0)),
        ({"atomic": 1 << 30}, Refusal.PFN_OVERLAP),
        ({"device_private": 1 << 30}, Refusal.PFN_OVERLAP),
        ({"error": 1 << 30, "none": 1 << 30, "none_is_value": False, "special": 1 << 30}, Refusal(0)),
        ({"order_shift": 51}, Refusal.PFN_OVERLAP),
        ({"order_shift": 8}, Refusal.PFN_OVERLAP),
        ({"order_shift": 7}, Refusal(0)),
        ({"order_shift": 1}, Refusal(0)),  # order over VALID and WRITE is the driver's own business
        ({"order_shift": 20, "order_width": 0}, Refusal(0)),
        ({"pfn_width": 0, "write": 1 << 12}, Refusal(0)),
        ({"pfn_shift": 13, "pfn_width": 30}, Refusal.PFN_SHIFT),
        ({"pfn_shift": 12, "pfn_width": 52, "order_width": 0}, Refusal(0)),
        ({"pfn_shift": 12, "pfn_width": 53, "order_width": 0}, Refusal.FIELD_RANGE),
        ({"pfn_shift": 63, "pfn_width": 1, "order_width": 0}, Refusal.PFN_SHIFT),
        ({"pfn_shift": 63, "pfn_width": 127, "order_width": 0}, Refusal.PFN_SHIFT | Refusal.FIELD_RANGE),
        ({"pfn_shift": 63, "pfn_width": 2, "order_shift": 63, "order_width": 2},
         Refusal.PFN_SHIFT | Refusal.FIELD_RANGE | Refusal.PFN_OVERLAP),
        ({"order_shift": 59}, Refusal(0)),
        ({"order_shift": 60}, Refusal.FIELD_RANGE),
        ({"order_shift": 63, "order_width": 0}, Refusal(0)),
        ({"error_is_value": True}, Refusal.NONE_ALIAS),
        ({"special_is_value": True}, Refusal.NONE_ALIAS),
        ({"error_is_value": True, "error_value": 8}, Refusal(0)),
        ({"error_is_value": True, "error_value": 8, "special_is_value": True, "special_value": 8}, Refusal(0)),
        ({"error_is_value": True, "none_is_value": False}, Refusal(0)),
        ({"none_value": 16, "error_value": 16}, Refusal(0)),  # ERROR is a flag: its value is not looked at
        ({"none_value": 16, "special": 16}, Refusal(0)),
    ],
)  # fmt: skip
def test_formats_refusal(change: dict[str, Any], expected: Refusal) -> None:
    """Stimulus: a good format with one thing changed.
    Checking: exactly the refusals of the contract, and words for each of them.
    Covers: FMT-REFUSAL
    """
    fmt = replace(GOOD, **change)
    assert refusals(fmt) == expected
    if expected:
        with pytest.raises(UserError) as caught:
            require_consistent(fmt)
        for refusal, text in REFUSAL_WORDS.items():
            assert (text in str(caught.value)) == (refusal in expected)


MASKS = st.one_of(st.just(0), st.integers(0, (1 << 64) - 1), st.integers(0, 63).map(lambda bit: 1 << bit))


@settings(max_examples=300, deadline=None)
@given(
    st.builds(
        EntryFormat, st.just("random"), valid=MASKS, write=MASKS, device_private=MASKS, atomic=MASKS,
        error_value=st.integers(0, 2), none_value=st.integers(0, 2), special_value=st.integers(0, 2),
        error_is_value=st.booleans(), none_is_value=st.booleans(), special_is_value=st.booleans(),
        pfn_shift=st.integers(0, 63), pfn_width=st.integers(0, 127),
        order_shift=st.integers(0, 63), order_width=st.integers(0, 31),
    )
)  # fmt: skip
def test_formats_refusals_agree_with_sets_of_bits(fmt: EntryFormat) -> None:
    """Stimulus: random formats.
    Checking: the refusals equal those found with sets of bit numbers instead of masks.
    Covers: FMT-REFUSAL
    """

    def bits(mask: int) -> set[int]:
        return {bit for bit in range(64) if mask >> bit & 1}

    pfn = set(range(fmt.pfn_shift, fmt.pfn_shift + fmt.pfn_width))
    order = set(range(fmt.order_shift, fmt.order_shift + fmt.order_width))
    flags = [bits(fmt.write), bits(fmt.atomic), bits(fmt.device_private)]
    alias = {
        value
        for value, is_value in ((fmt.error_value, fmt.error_is_value), (fmt.special_value, fmt.special_is_value))
        if is_value
    }
    expected = {
        Refusal.VALID_ZERO: not fmt.valid,
        Refusal.VALID_CONTAINS: any(flag and flag <= bits(fmt.valid) for flag in flags),
        Refusal.PFN_OVERLAP: bool(pfn & set().union(bits(fmt.valid), order, *flags)),
        Refusal.PFN_SHIFT: fmt.pfn_shift > 12,
        Refusal.FIELD_RANGE: max(pfn | order, default=0) > 63,
        Refusal.NONE_ALIAS: fmt.none_is_value and fmt.none_value in alias,
    }
    found = refusals(fmt)
    assert {refusal: refusal in found for refusal in Refusal} == expected


def test_formats_what_is_left_out_is_zero() -> None:
    """Stimulus: a format that is only named.
    Checking: every mask, value, place and width is 0, and nothing is a value of the whole entry.
    Covers: FMT-DEFAULTS
    """
    left_out = asdict(EntryFormat("empty"))
    assert left_out.pop("name") == "empty"
    assert left_out.pop("description") == ""
    assert set(left_out.values()) == {0}, left_out


@pytest.mark.parametrize("field", ["valid", "error_value", "pfn_shift", "pfn_width", "order_shift", "order_width"])
@pytest.mark.parametrize("value", [-1, 1 << 64])
def test_formats_number_outside_its_register(field: str, value: int) -> None:
    """Stimulus: a number that its register cannot hold.
    Checking: UserError that names the field.
    Covers: FMT-RANGE
    """
    with pytest.raises(UserError, match=field):
        replace(GOOD, **dict[str, Any]({field: value}))


def test_formats_unknown_name_lists_the_known() -> None:
    """Stimulus: a format name that does not exist.
    Checking: one sentence with the known names.
    Covers: FMT-NAME
    """
    with pytest.raises(UserError, match=r"radeon is not one of .*nouveau.*linux_6_16"):
        format_by_name("radeon")


OWN = """
name: own
valid: 0x1
write: 0x4
none: {value: 0}
pfn_shift: 12
pfn_width: 40
"""


def test_formats_file_of_ones_own(tmp_path: Path) -> None:
    """Stimulus: a file with one format.
    Checking: it is read, and what it leaves out is zero.
    Covers: FMT-FILE
    """
    path = tmp_path / "own.yaml"
    path.write_text(OWN)
    expected = EntryFormat("own", valid=1, write=4, none_is_value=True, pfn_shift=12, pfn_width=40)
    assert load_format_file(path) == expected
    path.write_text(
        "formats:\n" + "\n".join("  " + line for line in OWN.strip().splitlines()).replace("  name", "- name", 1)
    )
    assert load_formats(path) == {"own": expected}


@pytest.mark.parametrize(
    ("old", "new", "named"),
    [
        ("valid: 0x1", "", "valid"),
        ("valid: 0x1", "valid: -1", "valid"),
        ("valid: 0x1", "valid: 0x10000000000000000", "valid"),
        ("valid: 0x1", "valid: one", "valid"),
        ("write: 0x4", "write: 1.5", "write"),
        ("write: 0x4", "wriet: 0x4", "wriet"),
        ("none: {value: 0}", "none: {value: 0, flag: 1}", "none"),
        ("none: {value: 0}", "none: {}", "none"),
        ("none: {value: 0}", "none: 8", "none"),
        ("pfn_shift: 12", "pfn_shift: 64", "pfn_shift"),
        ("pfn_width: 40", "pfn_width: 0", "pfn_width"),
        ("name: own", "name: 'no name'", "name"),
        (OWN, "", "the file"),
        (OWN, "- 1", "the file"),
        ("name: own", "vectors: [{name: x, word: 1, kind: VALD}]\nname: own", r"vectors\[0\]\.kind"),
    ],
)
def test_formats_file_with_a_mistake(tmp_path: Path, old: str, new: str, named: str) -> None:
    """Stimulus: a format file with one mistake.
    Checking: one sentence that names the field and the file.
    Covers: FMT-FILE
    """
    path = tmp_path / "own.yaml"
    path.write_text(OWN.replace(old, new))
    with pytest.raises(UserError, match=f"^Correct {named} in .*own.yaml: [^\n]*\\.$"):
        load_format_file(path)


def test_formats_file_that_cannot_be_read(tmp_path: Path) -> None:
    """Stimulus: no file, a folder, no YAML, no text, two formats of one name.
    Checking: UserError that names the file.
    Covers: FMT-FILE
    """
    broken = tmp_path / "broken.yaml"
    for content in (b"name: [\n", b"\xff\xfe\x00"):
        broken.write_bytes(content)
        with pytest.raises(UserError, match=r"broken.yaml.* it is not YAML text"):
            load_format_file(broken)
    for missing in (tmp_path / "missing.yaml", tmp_path):
        with pytest.raises(UserError, match=str(missing)):
            load_format_file(missing)
    twice = tmp_path / "twice.yaml"
    row = "  - {name: own, valid: 1, pfn_shift: 12, pfn_width: 40}\n"
    twice.write_text("formats:\n" + row + row)
    with pytest.raises(UserError, match="two formats alike"):
        load_formats(twice)
