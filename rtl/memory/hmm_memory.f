// SPDX-License-Identifier: Apache-2.0
// The bus multiplexers alone, for their bench.
rtl/waivers.vlt
rtl/regs/waivers.vlt
rtl/regs/hmm_structures_pkg.sv
rtl/pkg/hmm_pkg.sv
rtl/common/hmm_arbiter.sv
rtl/common/hmm_held_arbiter.sv
rtl/memory/hmm_read_mux.sv
rtl/memory/hmm_write_mux.sv
