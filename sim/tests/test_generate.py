# SPDX-License-Identifier: Apache-2.0
"""Tests of the generated files: up to date, and the same meaning in every language."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest
import yaml

from models import registers, structures
from models.errors import UserError
from models.registers import Register
from sim.generate import (
    DEFECTS_SOURCE,
    REGISTERS_SOURCE,
    STRUCTURES_SOURCE,
    generated_files,
    notice,
    stale_files,
    write_files,
)
from sim.paths import ROOT
from sim.structure_source import load_structures, members

C_FLAGS = ["-Wall", "-Wextra", "-Werror", "-std=gnu11", "-pedantic"]


def _sources_only(target: Path) -> Path:
    for source in (REGISTERS_SOURCE, STRUCTURES_SOURCE):
        (target / source).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / source, target / source)
    shutil.copytree(ROOT / DEFECTS_SOURCE, target / DEFECTS_SOURCE)
    return target


def test_generate_committed_files_are_current() -> None:
    """Stimulus: the sources of the register map and the structures.
    Checking: every generated file is byte for byte what they give.
    Covers: GENERATE-CURRENT.
    """
    assert stale_files() == []


def test_generate_headers_licence_and_notice() -> None:
    """Stimulus: all generated texts.
    Checking: the first two lines are the licence and the sources.
    Covers: GENERATE-HEADER.
    """
    for path, text in generated_files().items():
        first, second = text.splitlines()[:2]
        assert "SPDX-License-Identifier: Apache-2.0" in first, path
        assert notice(REGISTERS_SOURCE)[:32] in second and "do not edit" in second, path


def test_generate_changed_source_makes_files_stale(tmp_path: Path) -> None:
    """Stimulus: a copy of the sources, written once; then one enum value and one register offset are changed.
    Checking: nothing is stale before, exactly the files that follow from each source after, nothing after writing.
    Covers: GENERATE-STALE.
    """
    root = _sources_only(tmp_path)
    assert len(write_files(root)) == 9
    assert stale_files(root) == []
    structures_file = root / STRUCTURES_SOURCE
    structures_file.write_text(structures_file.read_text().replace("FENCE: {value: 3", "FENCE: {value: 33"))
    stale = {path.name for path in stale_files(root)}
    assert stale == {"hmm_structures_pkg.sv", "hmm_device.h", "structures.py", "structures.md"}
    write_files(root)
    registers_file = root / REGISTERS_SOURCE
    registers_file.write_text(registers_file.read_text().replace("CONTROL @ 0x010", "CONTROL @ 0x0F0"))
    stale = {path.name for path in stale_files(root)}
    assert stale == {"hmm_regs.sv", "hmm_regs_pkg.sv", "hmm_device.h", "registers.py", "registers.md"}
    write_files(root)
    assert stale_files(root) == []


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("valid: {word: 0, bits: [0, 0]", "valid: {word: 0, bits: [12, 0]", "overlaps"),
        ("enum: opcode", "enum: opcodes", "unknown enum"),
        ("bytes: 16", "bytes: 12", "bytes"),
        ("root: {word: 0, bits: [51, 12]", "root: {word: 0, bits: [12, 51]", "inside a 64-bit word"),
        ("READ: {value: 0", "READ: {value: 1", "equal"),
        ("RUN: {value: 10", "RUN: {value: 1000", "does not fit"),
        ("enums:", "enums: [", "YAML"),
    ],
)
def test_generate_wrong_source_is_one_sentence(tmp_path: Path, old: str, new: str, said: str) -> None:
    """Stimulus: the structure data file with one mistake.
    Checking: a UserError of one line that names the file and the mistake.
    Covers: GENERATE-ERRORS.
    """
    text = (ROOT / STRUCTURES_SOURCE).read_text()
    assert old in text
    path = tmp_path / "structures.yaml"
    path.write_text(text.replace(old, new, 1))
    with pytest.raises(UserError) as caught:
        load_structures(path)
    assert said in str(caught.value) and str(path) in str(caught.value) and "\n" not in str(caught.value)


def test_generate_wrong_registers_is_one_sentence(tmp_path: Path) -> None:
    """Stimulus: a register map with an unknown property.
    Checking: a UserError of one line with the compiler's words.
    Covers: GENERATE-ERRORS.
    """
    root = _sources_only(tmp_path)
    path = root / REGISTERS_SOURCE
    path.write_text(path.read_text().replace("littleendian;", "sideways;"))
    with pytest.raises(UserError) as caught:
        generated_files(root)
    assert "sideways" in str(caught.value) and "\n" not in str(caught.value)


def test_generate_members_cover_every_bit() -> None:
    """Stimulus: every structure.
    Checking: its members follow each other without gap or overlap, and reserved members give the reserved masks.
    Covers: GENERATE-LAYOUT.
    """
    for structure in load_structures(ROOT / STRUCTURES_SOURCE).structures.values():
        position = 0
        reserved = [0] * structure.words
        for member in members(structure):
            assert 64 * member.word + member.low == position
            position += member.width
            if member.field is None:
                assert member.name.startswith("reserved_")
                reserved[member.word] |= ((1 << member.width) - 1) << member.low
        assert position == 8 * structure.bytes
        assert reserved == structure.reserved


def _compile_and_run(tmp_path: Path, program: str) -> dict[str, int]:
    source = tmp_path / "program.c"
    source.write_text('#include <stddef.h>\n#include <stdio.h>\n#include "hmm_device.h"\n' + program)
    executable = tmp_path / "program"
    include = f"-I{ROOT / 'rtl/regs'}"
    subprocess.run(["gcc", *C_FLAGS, include, str(source), "-o", str(executable)], check=True)
    output = subprocess.run([str(executable)], check=True, capture_output=True, text=True).stdout
    return {name: int(value, 0) for name, value in (line.split() for line in output.splitlines())}


def test_generate_c_register_offsets_equal_python(tmp_path: Path) -> None:
    """Stimulus: a C program, compiled with every warning an error, that prints the offset of each register.
    Checking: the offsets equal models.registers.
    Covers: GENERATE-C-REGISTERS.
    """
    lines = [f'printf("{register.name} %zu\\n", offsetof(hmm_regs_t, {register.name}));\n' for register in Register]
    assert _compile_and_run(tmp_path, "int main(void)\n{\n" + "".join(lines) + "return 0;\n}\n") == {
        register.name: int(register) for register in Register
    }


def test_generate_c_structures_equal_python(tmp_path: Path) -> None:
    """Stimulus: a C program that prints sizes, enum values, and a command packed with the header's masks and shifts.
    Checking: they equal models.structures.
    Covers: GENERATE-C-STRUCTURES.
    """
    program = """
int main(void)
{
    struct hmm_command command = {{0}};
    struct hmm_directory_entry entry = {{0}};
    command.word[HMM_COMMAND_OPCODE_WORD] |= (uint64_t)HMM_OPCODE_FENCE << HMM_COMMAND_OPCODE_SHIFT;
    command.word[HMM_COMMAND_PASID_WORD] |= (UINT64_C(0xfffff) << HMM_COMMAND_PASID_SHIFT) & HMM_COMMAND_PASID_MASK;
    command.word[HMM_COMMAND_INTERRUPT_WORD] |= HMM_COMMAND_INTERRUPT_MASK;
    command.word[HMM_COMMAND_LAST_WORD] |= UINT64_C(77) << HMM_COMMAND_LAST_SHIFT;
    entry.word[0] = HMM_DIRECTORY_TYPE_ARRAY | (UINT64_C(0x123456789ab40) & HMM_DIRECTORY_ENTRY_ADDRESS_MASK)
        | (UINT64_C(16) << HMM_DIRECTORY_ENTRY_PAGE_SHIFT_SHIFT);
    printf("size %zu\\n", sizeof(struct hmm_command));
    printf("context %zu\\n", sizeof(struct hmm_context_entry));
    printf("word0 0x%llx\\nword2 0x%llx\\n", (unsigned long long)command.word[0], (unsigned long long)command.word[2]);
    printf("entry 0x%llx\\n", (unsigned long long)entry.word[0]);
    printf("reserved 0x%llx\\n", (unsigned long long)HMM_COMMAND_RESERVED_0);
    printf("reason %d\\n", (int)HMM_REASON_ATOMIC_DENIED);
    return 0;
}
"""
    got = _compile_and_run(tmp_path, program)
    command = structures.pack_command(opcode=structures.Opcode.FENCE, pasid=0xFFFFF, interrupt=1, last=77)
    entry = structures.pack_directory_entry(
        entry_type=structures.DirectoryType.ARRAY, address=0x123456789AB40, page_shift=16
    )
    assert got == {
        "size": structures.COMMAND_BYTES,
        "context": structures.CONTEXT_ENTRY_BYTES,
        "word0": int(command[0]),
        "word2": int(command[2]),
        "entry": int(entry[0]),
        "reserved": structures.COMMAND_RESERVED[0],
        "reason": int(structures.Reason.ATOMIC_DENIED),
    }


def test_generate_reset_values_follow_the_map() -> None:
    """Stimulus: models.registers.
    Checking: the identification register resets to "HMM1" and version 1, every other reset is 0.
    Covers: GENERATE-RESET.
    """
    identification = registers.RESET_VALUES[Register.ID]
    assert registers.ID_MAGIC.extract(identification).to_bytes(4, "little") == b"HMM1"
    assert registers.ID_VERSION.extract(identification) == 1
    assert all(value == 0 for register, value in registers.RESET_VALUES.items() if register is not Register.ID)


def test_generate_docs_name_everything() -> None:
    """Stimulus: docs/registers.md and docs/structures.md.
    Checking: every register and every structure field has a row.
    Covers: GENERATE-DOCS.
    """
    registers_text = (ROOT / "docs/registers.md").read_text()
    structures_text = (ROOT / "docs/structures.md").read_text()
    for register in Register:
        assert f"\n## {register.name}\n" in registers_text
    source = yaml.safe_load((ROOT / STRUCTURES_SOURCE).read_text())
    for structure in source["structures"].values():
        for field in structure["fields"]:
            assert f"| {field} |" in structures_text
