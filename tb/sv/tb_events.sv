// SPDX-License-Identifier: Apache-2.0
// The event log: one row for everything of meaning, by cycle, and within a cycle in the order in
// which it stands here. The rows' fields are said in tb/records.py (EventKind).

module tb_events
  import tb_pkg::*;
  import tb_dpi_pkg::*;
(
  input logic         clk_i,
  input logic         rst_ni,
  input cycle_t       cycle_i,
  // Client port
  input logic         req_valid_i,
  input logic         req_ready_i,
  input request_t     req_i,
  input logic         rsp_valid_i,
  input logic         rsp_ready_i,
  input response_t    rsp_i,
  input logic         rel_valid_i,
  input id_t          rel_id_i,
  // Device
  input probe_t       probe_i,
  input logic         irq_i,
  // Host
  input logic         done_i,
  input action_done_t done_action_i
);

  typedef struct packed {
    pasid_t      pasid;
    logic [63:0] va;
    access_e     access;
  } asked_t;

  asked_t asked_q [Ids];  // by id: what the request that was accepted last asked for
  logic   irq_q;

  function automatic void log_command(event_e kind);
    tb_event(cycle_i, kind, 8'd0, probe_i.command_opcode, 8'(probe_i.command_malformed), 32'(probe_i.command_pasid),
             probe_i.command_first, probe_i.command_last, 64'({probe_i.command_all, probe_i.command_index}));
  endfunction

  always_ff @(posedge clk_i or negedge rst_ni) begin : p_events
    if (!rst_ni) begin
      irq_q <= 1'b0;
    end else begin
      if (probe_i.command_valid) begin
        log_command(EVENT_COMMAND);
        if (probe_i.command_drops) log_command(EVENT_INVALIDATION);
      end
      if (probe_i.fence_valid) begin
        tb_event(cycle_i, EVENT_FENCE, 8'd0, 8'd0, 8'd0, 32'd0, 64'd0, 64'd0, probe_i.fence_sequence);
      end
      if (probe_i.record_valid) begin
        tb_event(cycle_i, EVENT_FAULT_RECORD, 8'd0, 8'd0, 8'd0, 32'd0, 64'd0, 64'd0, 64'(probe_i.record_tag));
      end
      if (rsp_valid_i && rsp_ready_i) begin : p_response
        automatic asked_t asked = asked_q[rsp_i.id];
        tb_event(cycle_i, rsp_i.aborted ? EVENT_FAULT : EVENT_TRANSLATION, 8'(rsp_i.id), 8'(asked.access),
                 8'(rsp_i.reason), 32'(asked.pasid), asked.va, 64'(rsp_i.pa),
                 64'({rsp_i.memory, rsp_i.atomic, rsp_i.write, 8'(rsp_i.order)}));
      end
      if (rel_valid_i) begin : p_release
        automatic asked_t asked = asked_q[rel_id_i];
        tb_event(cycle_i, EVENT_GRANT_END, 8'(rel_id_i), 8'(asked.access), 8'd0, 32'(asked.pasid), asked.va,
                 64'd0, 64'd0);
      end
      if (done_i) begin
        tb_event(cycle_i, EVENT_ACTION, 8'd0, done_action_i.kind[7:0], 8'(done_action_i.status), 32'd0,
                 done_action_i.address, done_action_i.start_cycle, done_action_i.data);
      end
      if (irq_i && !irq_q) begin
        tb_event(cycle_i, EVENT_INTERRUPT, 8'd0, 8'd0, 8'd0, 32'd0, 64'd0, 64'd0, 64'd0);
      end
      irq_q <= irq_i;
      if (req_valid_i && req_ready_i) begin
        asked_q[req_i.id] <= '{pasid: req_i.pasid, va: req_i.va, access: req_i.access};
      end
    end
  end

endmodule
