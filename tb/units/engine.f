// SPDX-License-Identifier: Apache-2.0
tb/units/tb_engine_channel.sv
tb/units/tb_engine.sv
