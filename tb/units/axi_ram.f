// SPDX-License-Identifier: Apache-2.0
-CFLAGS -DVL_TIME_CONTEXT
tb/sv/waivers.vlt
tb/sv/tb_pkg.sv
tb/sv/tb_dpi_pkg.sv
tb/sv/axi4_checker.sv
tb/sv/tb_memory.sv
tb/units/tb_memory_bench.sv
tb/units/tb_axi_ram.sv
