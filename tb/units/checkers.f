// SPDX-License-Identifier: Apache-2.0
-CFLAGS -DVL_TIME_CONTEXT
tb/sv/waivers.vlt
tb/sv/tb_pkg.sv
tb/sv/tb_dpi_pkg.sv
tb/sv/axi4_checker.sv
tb/sv/axi4_lite_checker.sv
tb/units/tb_checkers.sv
