# SPDX-License-Identifier: Apache-2.0
"""What is a command, what a host script submits, and which versions of a word a request may see."""

from __future__ import annotations

import numpy as np
import pytest

from models.arrays import PAGE_BYTES
from models.errors import UserError
from models.formats import EntryFormat, format_by_name
from models.registers import Register
from models.structures import DirectoryType, Opcode, pack_command, pack_directory_entry
from tb.case import CommandRing
from tb.commands import follow_commands, is_malformed, submitted_commands
from tb.host_script import HostScript, When, join_requests, make_requests
from tb.records import REQUEST_DTYPE, ActionKind
from tb.scenarios.fences import malformed_commands
from tb.scoreboard import check_case
from tb.tests.fake_device import Behaviour, run_fake
from tb.tests.scoreboard_cases import BASE_VA, NONE, PASID, Small, words

ALL = (1 << 64) - 1


def test_commands_good_ones_are_good() -> None:
    """
    Stimulus: Every command that is served, with the extremes of its fields.
    Checking: None is malformed.
    Covers: CMD-GOOD
    """
    good = [
        pack_command(opcode=Opcode.INVALIDATE, pasid=(1 << 20) - 1, first=0, last=ALL),
        pack_command(opcode=Opcode.INVALIDATE, all_contexts=1, first=ALL, last=ALL),
        pack_command(opcode=Opcode.INVALIDATE),
        pack_command(opcode=Opcode.INVALIDATE_CONTEXT, pasid=1),
        pack_command(opcode=Opcode.INVALIDATE_CONTEXT, all_contexts=1),
        pack_command(opcode=Opcode.FENCE),
        pack_command(opcode=Opcode.FENCE, interrupt=1),
        pack_command(opcode=Opcode.FENCE, write_value=1, first=(1 << 48) - 8, last=ALL),
        pack_command(opcode=Opcode.FENCE, write_value=1, interrupt=1),
        pack_command(opcode=Opcode.BIND, pasid=(1 << 20) - 1),
        pack_command(opcode=Opcode.UNBIND),
        pack_command(opcode=Opcode.REPLAY_ALL),
        pack_command(opcode=Opcode.RESUME, first=(1 << 32) - 1),
        pack_command(opcode=Opcode.RESUME, cancel=1),
        pack_command(opcode=Opcode.CANCEL, pasid=(1 << 20) - 1, access=3, last=ALL),
        pack_command(opcode=Opcode.QUIESCE),
        pack_command(opcode=Opcode.RUN),
    ]
    assert [is_malformed(command) for command in good] == [False] * len(good)


def test_commands_malformed_ones_are_malformed() -> None:
    """
    Stimulus: Every way of being none that the scenario of fences sends.
    Checking: All are malformed.
    Covers: CMD-MALFORMED
    """
    bad = malformed_commands()
    assert len(bad) > 25
    assert all(is_malformed(command) for command in bad)


def test_commands_submitted_by_tail_and_over_a_restart() -> None:
    """
    Stimulus: Commands stored one by one and told together, a ring that wraps, and one that is restarted.
    Checking: Order, indices and contents of what was submitted; what a restart forgot is not expected.
    Covers: CMD-SUBMIT
    """
    small = Small.new()
    script = small.builder.script
    script.bind(1, tail=False)
    script.bind(2, tail=False)
    script.invalidate(3, 4, 5)
    for number in range(9):
        script.unbind(number)
    script.wait_taken()
    case = small.builder.build()
    result = run_fake(case)
    commands = submitted_commands(case, result)
    assert [command.index for command in commands] == list(range(12))
    assert [command.pasid for command in commands] == [1, 2, 3, *range(9)]
    assert commands[0].submitted == commands[2].submitted
    followed = follow_commands(case, result)
    assert followed.failures == []
    assert [command.taken for command in followed.submitted] == sorted(command.taken for command in followed.submitted)


def test_host_script_waits_for_room() -> None:
    """
    Stimulus: More commands than the ring has slots.
    Checking: Before the ring would be overrun, the script waits until the device has taken all.
    Covers: HOST-RING
    """
    script = HostScript(CommandRing(base=0x1000, log2=1))
    for _ in range(5):
        script.bind(1)
    kinds = script.actions()["kind"].tolist()
    assert kinds.count(ActionKind.WAIT_REGISTER) == 2
    waits = [index for index, kind in enumerate(kinds) if kind == ActionKind.WAIT_REGISTER]
    assert script.actions()["data"][waits].tolist() == [2, 4]
    with pytest.raises(UserError, match="command ring"):
        HostScript().bind(1)


def test_host_script_set_up_of_a_refused_format() -> None:
    """
    Stimulus: The set-up with a good format, and with one that the device must refuse.
    Checking: It ends with the wait for ENABLED; or with a look at STATUS that must show every reason.
    Covers: HOST-SETUP
    """
    script = HostScript()
    script.set_up(format_by_name("amdgpu"), context_base=0x40, context_count=9)
    actions = script.actions()
    written = dict(zip(actions["address"].tolist(), actions["data"].tolist(), strict=True))
    assert written[Register.FORMAT_ERROR_VALUE] == (1 << 64) - 2
    assert written[Register.FORMAT_LAYOUT] == 12 | 52 << 8 | 7 << 32
    assert written[Register.CONTEXT_BASE] == 0x40
    assert actions["kind"][-1] == ActionKind.WAIT_REGISTER
    assert script.expectations().size == 0
    script = HostScript()
    script.set_up(EntryFormat("bad", valid=0, pfn_shift=13, pfn_width=1), context_base=0, context_count=1)
    assert script.expectations().tolist() == [((1 | 8) << 16, 0x3F << 16 | 1, len(script) - 1, 0)]


def test_host_script_requests_keep_their_layout() -> None:
    """
    Stimulus: Requests made of arrays and scalars, joined.
    Checking: Values, and the dtype with its padding.
    Covers: HOST-REQUESTS
    """
    joined = join_requests([make_requests([1, 2], 3, hold=[4, 5]), make_requests((1 << 64) - 1)])
    assert joined.dtype == REQUEST_DTYPE
    assert joined["va"].tolist() == [1, 2, (1 << 64) - 1]
    assert joined["pasid"].tolist() == [3, 3, 0]
    assert joined["hold"].tolist() == [4, 5, 0]
    assert join_requests([]).size == 0


def replaced_array_case(*, invalidate: bool) -> tuple[Small, int]:
    """The array is read, then the directory entry points to another one, then its old slot becomes NONE."""
    small = Small.new()
    builder = small.builder
    other = builder.spare_array(np.concatenate([words(0x7000), np.full(496, NONE, dtype=np.uint64)]))
    entry = builder.tables.directory_entry_address(PASID, BASE_VA, 1)
    old_slot = small.slot(1)
    small.ask(1)
    word = int(pack_directory_entry(entry_type=DirectoryType.ARRAY, address=other, page_shift=12)[0])
    builder.script.write_memory(entry, word, When(after_request=1))
    if invalidate:
        builder.script.invalidate(PASID, BASE_VA, BASE_VA + (1 << 21) - 1)
        small.fence(1)
    builder.script.write_memory(old_slot, NONE)
    small.ask(1, after=len(builder.script))
    return small, other


def test_versions_mix_only_within_reason() -> None:
    """
    Stimulus: A new array is linked, and then the old array's slot becomes NONE; the page cached or not.
    Checking: The new array is right; the old one, cached, until the fence, and then it is I1.
    Covers: VERSIONS-MIX
    """
    small, _ = replaced_array_case(invalidate=False)
    case = small.builder.build()
    cached = run_fake(case)
    assert cached.responses["pa"].tolist() == [0x1001123, 0x1001123]
    assert check_case(case, cached).lines == []
    walked = run_fake(case, Behaviour(caches=False))
    assert walked.responses["pa"].tolist() == [0x1001123, 0x7001123]
    assert check_case(case, walked).lines == []
    small, _ = replaced_array_case(invalidate=True)
    case = small.builder.build()
    assert check_case(case, run_fake(case)).lines == []
    stale = check_case(case, run_fake(case, Behaviour(drops_cached=False)))
    assert len(stale.lines) == 1
    assert "| I1: " in stale.lines[0]


def unbind_case(*, unbind: bool) -> Small:
    """A context is used, then cleared, then (if `unbind`) UNBIND and FENCE; then used again, then bound again."""
    small = Small.new()
    script, tables = small.builder.script, small.builder.tables
    entry = tables.context_entry_address(PASID)
    bound = int(tables.memory.shadow_read([entry])[0][0])
    small.ask(1)
    script.write_memory(entry, 0, When(after_request=1))
    fences = 0
    if unbind:
        script.unbind(PASID)
        fences += 1
        small.fence(fences)
    small.ask(1, after=len(script))
    script.write_memory(entry, bound, When(after_request=2))
    script.bind(PASID)
    small.ask(2, after=len(script))
    return small


def test_versions_of_a_context() -> None:
    """
    Stimulus: A context entry is cleared, with and without UNBIND and FENCE, and written again.
    Checking: A cached translation is right until the fence and breaks I1 after it.
    Covers: VERSIONS-CONTEXT
    """
    for unbind in (False, True):
        case = unbind_case(unbind=unbind).builder.build()
        right = run_fake(case)
        assert right.responses["status"].tolist() == ([0, 1, 0] if unbind else [0, 0, 0])
        assert check_case(case, right).lines == []
        wrong = check_case(case, run_fake(case, Behaviour(drops_cached=False)))
        assert ["| I1: " in line for line in wrong.lines] == ([True] if unbind else [])


def test_versions_invalidate_does_not_reach_a_context() -> None:
    """
    Stimulus: A context entry gets another root; INVALIDATE of everything it maps, and FENCE; a device that caches it.
    Checking: The old root may still be used (only INVALIDATE_CONTEXT and UNBIND drop it); after those it is I1.
    Covers: VERSIONS-CONTEXT
    """
    for whole_context in (False, True):
        small = Small.new()
        script, tables = small.builder.script, small.builder.tables
        tables.bind(5)
        tables.link_range(5, BASE_VA, words(0x7000), small.builder.format)
        entries = [tables.context_entry_address(pasid) for pasid in (PASID, 5)]
        new_root = int(tables.memory.shadow_read(entries)[0][1])
        small.ask(1)
        script.write_memory(entries[0], new_root, When(after_request=1))
        if whole_context:
            script.invalidate_context(PASID)
        else:
            script.invalidate(PASID, BASE_VA, BASE_VA + 16 * PAGE_BYTES)
        small.fence(1)
        small.ask(1, after=len(script))
        case = small.builder.build()
        old = run_fake(case, Behaviour(drops_cached=False))
        assert old.responses["pa"].tolist() == [0x1001123, 0x1001123]
        assert len(check_case(case, old).lines) == int(whole_context)
        new = run_fake(case)
        assert new.responses["pa"].tolist() == [0x1001123, 0x7001123]
        assert check_case(case, new).lines == []
