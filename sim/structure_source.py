# SPDX-License-Identifier: Apache-2.0
"""rtl/regs/structures.yaml, read, checked and laid out for the templates.

Fields are put into words here, once, so that the SystemVerilog, C and Python forms cannot differ.
"""

from __future__ import annotations

from pathlib import Path

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from models.errors import UserError

WORD_BITS = 64
WORD_MASK = (1 << WORD_BITS) - 1


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class EnumValue(_Strict):
    """One name of an enumeration."""

    value: int = Field(ge=0)
    desc: str


class EnumSource(_Strict):
    """One enumeration: names that a field or a signal can take; with `flags` they are bits that can be combined."""

    prefix: str
    width: int = Field(ge=1, le=WORD_BITS)
    desc: str
    flags: bool = False
    values: dict[str, EnumValue]

    @model_validator(mode="after")
    def _values_fit(self) -> EnumSource:
        numbers = [value.value for value in self.values.values()]
        if len(set(numbers)) != len(numbers):
            raise ValueError(f"two values of {self.prefix} are equal")
        if max(numbers) >> self.width:
            raise ValueError(f"a value of {self.prefix} does not fit in {self.width} bits")
        return self


class FieldSource(_Strict):
    """One field. `bits` is (high, low) inside the 64-bit word; `address` fields hold bits high:low of a bus address."""

    word: int = Field(ge=0)
    bits: tuple[int, int]
    desc: str
    enum: str | None = None
    address: bool = False

    @property
    def high(self) -> int:
        """Highest bit inside the word."""
        return self.bits[0]

    @property
    def low(self) -> int:
        """Lowest bit inside the word."""
        return self.bits[1]

    @property
    def width(self) -> int:
        """Bits of the field."""
        return self.high - self.low + 1

    @property
    def mask(self) -> int:
        """The field's bits inside its word."""
        return ((1 << self.width) - 1) << self.low

    @model_validator(mode="after")
    def _bits_in_word(self) -> FieldSource:
        if not 0 <= self.low <= self.high < WORD_BITS:
            raise ValueError(f"bits {list(self.bits)} are not [high, low] inside a 64-bit word")
        return self


class StructureSource(_Strict):
    """One structure in memory: whole 64-bit words, little-endian."""

    bytes: int = Field(gt=0, multiple_of=8)
    desc: str
    fields: dict[str, FieldSource]

    @property
    def words(self) -> int:
        """Number of 64-bit words."""
        return self.bytes // 8

    @property
    def reserved(self) -> list[int]:
        """For each word the mask of the bits that no field names."""
        masks = [WORD_MASK] * self.words
        for field in self.fields.values():
            masks[field.word] &= ~field.mask
        return masks

    @model_validator(mode="after")
    def _fields_apart(self) -> StructureSource:
        taken = [0] * self.words
        for name, field in self.fields.items():
            if field.word >= self.words:
                raise ValueError(f"field {name} is in word {field.word}, but there are only {self.words}")
            if taken[field.word] & field.mask:
                raise ValueError(f"field {name} overlaps another field")
            taken[field.word] |= field.mask
        return self


class Member(_Strict):
    """A piece of a packed structure: a field, or the reserved bits between two fields."""

    name: str
    word: int
    high: int
    low: int
    field: FieldSource | None
    enum: str | None = None

    @property
    def width(self) -> int:
        """Bits of the piece."""
        return self.high - self.low + 1


class StructuresSource(_Strict):
    """The whole file."""

    enums: dict[str, EnumSource]
    structures: dict[str, StructureSource]

    @model_validator(mode="after")
    def _enums_known(self) -> StructuresSource:
        for structure_name, structure in self.structures.items():
            for name, field in structure.fields.items():
                if field.enum is None:
                    continue
                if field.enum not in self.enums:
                    raise ValueError(f"{structure_name}.{name} names the unknown enum {field.enum}")
                if self.enums[field.enum].width != field.width:
                    raise ValueError(f"{structure_name}.{name} and enum {field.enum} differ in width")
        return self


def members(structure: StructureSource) -> list[Member]:
    """Every bit of a structure as named pieces, from bit 0 of word 0 upwards; gaps are reserved_0, reserved_1..."""
    pieces: list[Member] = []
    reserved = 0
    for word in range(structure.words):
        position = 0
        here = sorted(((f.low, n, f) for n, f in structure.fields.items() if f.word == word), key=lambda item: item[0])
        for low, name, field in here:
            if low > position:
                pieces.append(Member(name=f"reserved_{reserved}", word=word, high=low - 1, low=position, field=None))
                reserved += 1
            pieces.append(Member(name=name, word=word, high=field.high, low=low, field=field, enum=field.enum))
            position = field.high + 1
        if position < WORD_BITS:
            pieces.append(Member(name=f"reserved_{reserved}", word=word, high=WORD_BITS - 1, low=position, field=None))
            reserved += 1
    return pieces


def load_structures(path: Path) -> StructuresSource:
    """Reads the structure data file.

    Errors: UserError if it is not YAML or breaks a rule (overlap, unknown enum, bits outside a word...).
    """
    try:
        return StructuresSource.model_validate(yaml.safe_load(path.read_text(encoding="utf-8")))
    except yaml.YAMLError as error:
        raise UserError(f"{path} is not YAML: {str(error).splitlines()[0]}; mend the file.") from error
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"]) or "the file"
        raise UserError(f"{path}: {where}: {first['msg']}; mend the file.") from error
