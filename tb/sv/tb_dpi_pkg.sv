// SPDX-License-Identifier: Apache-2.0
// The C++ functions that the testbench calls; they stand in tb/cpp/dpi_*.cpp. None of them calls
// Python.

package tb_dpi_pkg;

  // Case
  import "DPI-C" function void tb_load_memory_settings(
    output longint unsigned random, output shortint unsigned read_latency_min,
    output shortint unsigned read_latency_max, output shortint unsigned write_latency_min,
    output shortint unsigned write_latency_max, output byte unsigned ar_pause, output byte unsigned r_pause,
    output byte unsigned aw_pause, output byte unsigned w_pause, output byte unsigned b_pause);
  import "DPI-C" function longint unsigned tb_load_watchdog_cycles();
  import "DPI-C" function bit tb_case_is_open();
  import "DPI-C" function void tb_stalled();
  import "DPI-C" function void tb_event(
    input longint unsigned cycle, input byte unsigned kind, input byte unsigned client, input byte unsigned id,
    input byte unsigned code, input byte unsigned reason, input int unsigned pasid, input longint unsigned va,
    input longint unsigned pa, input longint unsigned extra);
  import "DPI-C" function bit tb_load_device_events();
  import "DPI-C" function void tb_device_event(
    input longint unsigned cycle, input byte unsigned kind, input byte unsigned id, input byte unsigned reason,
    input longint unsigned pa, input longint unsigned extra);

  // Clients
  import "DPI-C" function void tb_announce_clients(input byte unsigned clients);
  // FETCH_NONE, FETCH_ROW or FETCH_END of tb_pkg
  import "DPI-C" function byte unsigned tb_fetch_request(
    input byte unsigned client, output longint unsigned va, output int unsigned pasid,
    output byte unsigned access, output shortint unsigned pause, output shortint unsigned hold,
    output int unsigned after_action, output bit moves_data);
  import "DPI-C" function void tb_request_accepted(
    input longint unsigned cycle, input byte unsigned client, input byte unsigned id);
  import "DPI-C" function void tb_response(
    input longint unsigned cycle, input byte unsigned client, input byte unsigned id,
    input byte unsigned status, input byte unsigned reason, input longint unsigned pa,
    input byte unsigned order, input byte unsigned permissions, input byte unsigned memory,
    input bit grant);
  import "DPI-C" function void tb_release(
    input longint unsigned cycle, input byte unsigned client, input byte unsigned id);
  // Ends all requests of a port; returns how many of them had no response.
  import "DPI-C" function int unsigned tb_client_reset(
    input longint unsigned cycle, input byte unsigned client);

  // A client inside the device: what its data on the bus is judged by
  import "DPI-C" function void tb_inner_grant(
    input byte unsigned id, input longint unsigned pa, input bit write, input bit memory);
  import "DPI-C" function void tb_inner_release(input byte unsigned id);
  import "DPI-C" function void tb_inner_reset();

  // Host
  import "DPI-C" function bit tb_fetch_action(
    output int unsigned kind, output int unsigned after_request, output longint unsigned not_before,
    output longint unsigned address, output longint unsigned data, output longint unsigned mask,
    output int unsigned delay);
  import "DPI-C" function void tb_action_done(
    input longint unsigned start_cycle, input longint unsigned done_cycle, input longint unsigned data,
    input byte unsigned status);

  // What the host writes to registers, in the cycle in which the bus has taken it
  import "DPI-C" function void tb_register_write(
    input int unsigned offset, input longint unsigned data, input byte unsigned strobe);
  // They have their values of reset: a soft one begins, or (0) a reset is over.
  import "DPI-C" function void tb_registers_reset(input bit begins);

  // Memory. A client moves the bytes of the request that holds `id`.
  import "DPI-C" function void tb_move_data(
    input longint unsigned cycle, input byte unsigned client, input byte unsigned id);
  // Each of these returns the AXI response.
  import "DPI-C" function byte unsigned tb_host_access(
    input int unsigned kind, input longint unsigned address, input longint unsigned data,
    input longint unsigned mask, output longint unsigned value);
  import "DPI-C" function byte unsigned tb_read_line(
    input longint unsigned cycle, input bit device_memory, input longint unsigned address, input bit single_beat,
    output bit [511:0] data);
  // Whether a line of system memory is a table or a ring, which the device reads as it likes.
  import "DPI-C" function bit tb_is_table(input longint unsigned address);
  // How many cycles a read of a line of system memory takes beside its latency: some lines are slow.
  import "DPI-C" function int unsigned tb_more_read_cycles(input longint unsigned address);
  // The data of such a line goes home: it must be one still.
  import "DPI-C" function void tb_table_goes_home(input longint unsigned cycle, input longint unsigned address);
  import "DPI-C" function byte unsigned tb_write_line(
    input longint unsigned cycle, input bit device_memory, input longint unsigned address, input bit single_beat,
    input longint unsigned strobe, input bit [511:0] data);

endpackage
