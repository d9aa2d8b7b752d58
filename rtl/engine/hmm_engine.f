// SPDX-License-Identifier: Apache-2.0
// The access engine alone, for its bench.
rtl/waivers.vlt
rtl/regs/waivers.vlt
rtl/regs/hmm_structures_pkg.sv
rtl/pkg/hmm_pkg.sv
rtl/common/hmm_arbiter.sv
rtl/common/hmm_held_arbiter.sv
rtl/engine/hmm_engine_check.sv
rtl/engine/hmm_engine_order.sv
rtl/engine/hmm_engine_mover.sv
rtl/engine/hmm_engine_ring.sv
rtl/engine/hmm_engine_promises.sv
rtl/engine/hmm_engine.sv
