// SPDX-License-Identifier: Apache-2.0
// The log of what happens inside the device and on its memory bus, for cases that ask for it: one
// row an event, by cycle, and within a cycle in the order in which it stands here. The rows' fields
// are said in tb/records.py (DeviceEventKind).

module tb_device_events
  import tb_pkg::*;
  import tb_dpi_pkg::*;
(
  input logic   clk_i,
  input logic   rst_ni,
  input cycle_t cycle_i,
  // Memory bus
  input logic   aw_valid_i,
  input logic   aw_ready_i,
  input axi_a_t aw_i,
  input logic   b_valid_i,
  input logic   b_ready_i,
  input axi_b_t b_i,
  input logic   ar_valid_i,
  input logic   ar_ready_i,
  input axi_a_t ar_i,
  input logic   r_valid_i,
  input logic   r_ready_i,
  input axi_r_t r_i,
  // Device
  input logic   reset_i,  // a soft reset
  input probe_t probe_i
);

  logic        wanted_q;  // the case asks for the log
  logic        enable_q, reset_q;
  logic [31:0] tail_q, get_q, put_q;

  always_ff @(posedge clk_i) begin : p_settings
    if (!rst_ni) wanted_q <= tb_load_device_events();
  end

  function automatic void log_plain(device_event_e kind, logic [63:0] extra);
    tb_device_event(cycle_i, kind, 8'd0, 8'd0, 64'd0, extra);
  endfunction

  always_ff @(posedge clk_i or negedge rst_ni) begin : p_events
    if (!rst_ni) begin
      enable_q <= 1'b0;
      reset_q  <= 1'b0;
      tail_q   <= '0;
      get_q    <= '0;
      put_q    <= '0;
    end else if (wanted_q) begin
      if (ar_valid_i && ar_ready_i) begin
        tb_device_event(cycle_i, DEVICE_BUS_READ, 8'(ar_i.id), 8'd0, 64'(ar_i.addr), 64'd0);
      end
      if (r_valid_i && r_ready_i) begin
        tb_device_event(cycle_i, DEVICE_BUS_READ_DATA, 8'(r_i.id), 8'(r_i.resp), 64'd0, 64'd0);
      end
      if (aw_valid_i && aw_ready_i) begin
        tb_device_event(cycle_i, DEVICE_BUS_WRITE, 8'(aw_i.id), 8'd0, 64'(aw_i.addr), 64'd0);
      end
      if (b_valid_i && b_ready_i) begin
        tb_device_event(cycle_i, DEVICE_BUS_WRITE_DONE, 8'(b_i.id), 8'(b_i.resp), 64'd0, 64'd0);
      end
      if (probe_i.lookup_hit) log_plain(DEVICE_LOOKUP_HIT, 64'd0);
      if (probe_i.lookup_miss) log_plain(DEVICE_LOOKUP_MISS, 64'd0);
      if (probe_i.shared_hit) log_plain(DEVICE_SHARED_HIT, 64'd0);
      if (probe_i.walk_start) log_plain(DEVICE_WALK_START, 64'd0);
      if (probe_i.walk_drop) log_plain(DEVICE_WALK_DROP, 64'd0);
      if (probe_i.fill) log_plain(DEVICE_FILL, 64'd0);
      if (probe_i.walk_fault) log_plain(DEVICE_WALK_FAULT, 64'd0);
      if (probe_i.merged) log_plain(DEVICE_MERGE, 64'd0);
      if (probe_i.replayed) log_plain(DEVICE_REPLAY, 64'd0);
      if (probe_i.enable != enable_q) log_plain(DEVICE_ENABLE, 64'(probe_i.enable));
      if (probe_i.command_tail != tail_q) log_plain(DEVICE_COMMAND_TAIL, 64'(probe_i.command_tail));
      if (probe_i.fault_get != get_q) log_plain(DEVICE_FAULT_GET, 64'(probe_i.fault_get));
      if (probe_i.fault_put != put_q) log_plain(DEVICE_FAULT_PUT, 64'(probe_i.fault_put));
      if (reset_i != reset_q) log_plain(DEVICE_SOFT_RESET, 64'(reset_i));
      enable_q <= probe_i.enable;
      reset_q  <= reset_i;
      tail_q   <= probe_i.command_tail;
      get_q    <= probe_i.fault_get;
      put_q    <= probe_i.fault_put;
    end
  end

endmodule
