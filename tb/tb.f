// SPDX-License-Identifier: Apache-2.0
-CFLAGS -DVL_TIME_CONTEXT
tb/sv/waivers.vlt
tb/sv/public.vlt
tb/sv/tb_pkg.sv
tb/sv/tb_dpi_pkg.sv
tb/sv/tb_transactor.sv
tb/sv/tb_host.sv
tb/sv/axi4_checker.sv
tb/sv/axi4_lite_checker.sv
tb/sv/tb_memory.sv
tb/sv/tb_client_checker.sv
tb/sv/soft_reset_checker.sv
tb/sv/tb_clients.sv
tb/sv/tb_events.sv
tb/sv/tb_device_events.sv
tb/sv/tb_inner_grants.sv
tb/sv/tb_register_writes.sv
tb/sv/tb_watchdog.sv
tb/adapter/hmm_adapter.sv
tb/sv/tb_top.sv
