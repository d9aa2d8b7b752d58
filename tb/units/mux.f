// SPDX-License-Identifier: Apache-2.0
tb/units/tb_mux.sv
