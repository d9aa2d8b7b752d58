// SPDX-License-Identifier: Apache-2.0
// The event log: one row for everything of meaning, by cycle, and within a cycle in the order in
// which it stands here: of responses, and of releases, by client. The rows' fields are said in
// tb/records.py (EventKind).

module tb_events
  import tb_pkg::*;
  import tb_dpi_pkg::*;
#(
  parameter int unsigned Clients = 2
) (
  input logic         clk_i,
  input logic         rst_ni,
  input cycle_t       cycle_i,
  // Client ports
  input logic      [Clients-1:1] req_valid_i,
  input logic      [Clients-1:1] req_ready_i,
  input request_t  [Clients-1:1] req_i,
  input logic      [Clients-1:1] rsp_valid_i,
  input logic      [Clients-1:1] rsp_ready_i,
  input response_t [Clients-1:1] rsp_i,
  input logic      [Clients-1:1] rel_valid_i,
  input id_t       [Clients-1:1] rel_id_i,
  input logic                    reset_i,  // a soft reset
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

  asked_t asked_q [Clients][Ids];  // what the request that was accepted last under an id asked for
  logic   irq_q, reset_q;

  // Client 0 is inside the device and shows at the probe.
  logic      [Clients-1:0] accepted, responded, released;
  request_t  [Clients-1:0] req;
  response_t [Clients-1:0] rsp;
  id_t       [Clients-1:0] rel_id;

  assign accepted  = {req_valid_i & req_ready_i, probe_i.inner_request};
  assign responded = {rsp_valid_i & rsp_ready_i, probe_i.inner_response};
  assign released  = {rel_valid_i, probe_i.inner_release};
  assign req       = {req_i, probe_i.inner_asked};
  assign rsp       = {rsp_i, probe_i.inner_answer};
  assign rel_id    = {rel_id_i, probe_i.inner_released};

  function automatic void log_command(event_e kind);
    tb_event(cycle_i, kind, 8'd0, 8'd0, probe_i.command_opcode, 8'(probe_i.command_malformed),
             32'(probe_i.command_pasid), probe_i.command_first, probe_i.command_last,
             64'({probe_i.command_all, probe_i.command_index}));
  endfunction

  function automatic void log_response(int unsigned client, response_t rsp, asked_t asked);
    tb_event(cycle_i, rsp.aborted ? EVENT_FAULT : EVENT_TRANSLATION, 8'(client), 8'(rsp.id), 8'(asked.access),
             8'(rsp.reason), 32'(asked.pasid), asked.va, 64'(rsp.pa),
             64'({rsp.memory, rsp.atomic, rsp.write, 8'(rsp.order)}));
  endfunction

  function automatic void log_release(int unsigned client, id_t id, asked_t asked);
    tb_event(cycle_i, EVENT_GRANT_END, 8'(client), 8'(id), 8'(asked.access), 8'd0, 32'(asked.pasid), asked.va,
             64'd0, 64'd0);
  endfunction

  always_ff @(posedge clk_i or negedge rst_ni) begin : p_events
    if (!rst_ni) begin
      irq_q   <= 1'b0;
      reset_q <= 1'b0;
    end else begin
      if (reset_i != reset_q) begin
        tb_event(cycle_i, EVENT_SOFT_RESET, 8'd0, 8'd0, 8'd0, 8'd0, 32'd0, 64'd0, 64'd0, 64'(reset_i));
      end
      if (probe_i.command_valid) begin
        log_command(EVENT_COMMAND);
        if (probe_i.command_drops) log_command(EVENT_INVALIDATION);
      end
      if (probe_i.fence_valid) begin
        tb_event(cycle_i, EVENT_FENCE, 8'd0, 8'd0, 8'd0, 8'd0, 32'd0, 64'd0, 64'd0, probe_i.fence_sequence);
      end
      if (probe_i.record_valid) begin
        tb_event(cycle_i, EVENT_FAULT_RECORD, 8'd0, 8'd0, 8'd0, 8'd0, 32'd0, 64'd0, 64'd0,
                 64'(probe_i.record_tag));
      end
      for (int unsigned i = 0; i < Clients; i++) begin
        if (responded[i]) log_response(i, rsp[i], asked_q[i][rsp[i].id]);
      end
      for (int unsigned i = 0; i < Clients; i++) begin
        if (released[i]) log_release(i, rel_id[i], asked_q[i][rel_id[i]]);
      end
      if (done_i) begin
        tb_event(cycle_i, EVENT_ACTION, 8'd0, 8'd0, done_action_i.kind[7:0], 8'(done_action_i.status), 32'd0,
                 done_action_i.address, done_action_i.start_cycle, done_action_i.data);
      end
      if (irq_i && !irq_q) begin
        tb_event(cycle_i, EVENT_INTERRUPT, 8'd0, 8'd0, 8'd0, 8'd0, 32'd0, 64'd0, 64'd0, 64'd0);
      end
      irq_q   <= irq_i;
      reset_q <= reset_i;
      for (int unsigned i = 0; i < Clients; i++) begin
        if (accepted[i]) asked_q[i][req[i].id] <= '{pasid: req[i].pasid, va: req[i].va, access: req[i].access};
      end
    end
  end

endmodule
