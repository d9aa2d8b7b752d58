# SPDX-License-Identifier: Apache-2.0
"""The benches that lists of regressions may name: the whole device, and single units in simulators of their own."""

from __future__ import annotations

from sim.build import Design

DEVICE = "device"


def _testbench_part(name: str, top: str = "tb_top") -> Design:
    """A part of the testbench alone, with pins that Python drives."""
    return Design(
        name=name,
        top=top,
        file_lists=(f"tb/units/{name}.f",),
        source_folders=("tb/sv", "tb/cpp", "tb/units", "rtl/regs"),
        extra_flags=("--public-depth", "1"),
    )


BENCHES: dict[str, Design] = {
    DEVICE: Design(),
    "decoder": Design(
        name="decoder",
        top="tb_decoder",
        prefix="Vtop",
        file_lists=("rtl/hmm_mmu.f", "tb/units/decoder.f"),
        source_folders=("rtl", "tb/units"),
        cpp_folder=None,
        extra_flags=("--public-depth", "1"),
    ),
    "engine": Design(
        name="engine",
        top="tb_engine",
        prefix="Vtop",
        file_lists=("rtl/engine/hmm_engine.f", "tb/units/engine.f"),
        source_folders=("rtl/engine", "rtl/pkg", "rtl/regs", "tb/units"),
        cpp_folder=None,
    ),
    "engine_single": Design(
        name="engine_single",
        top="tb_engine",
        prefix="Vtop",
        file_lists=("rtl/engine/hmm_engine.f", "tb/units/engine.f"),
        source_folders=("rtl/engine", "rtl/pkg", "rtl/regs", "tb/units"),
        cpp_folder=None,
        extra_flags=("-GDescriptors=1",),
    ),
    "mux": Design(
        name="mux",
        top="tb_mux",
        prefix="Vtop",
        file_lists=("rtl/memory/hmm_memory.f", "tb/units/mux.f"),
        source_folders=("rtl/memory", "rtl/pkg", "rtl/regs", "tb/units"),
        cpp_folder=None,
    ),
    "memory": _testbench_part("memory", "tb_memory_bench"),
    "checkers": _testbench_part("checkers"),
    "axi_ram": _testbench_part("axi_ram"),
}
"""By name. Only the device has configurations."""
