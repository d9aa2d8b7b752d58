// SPDX-License-Identifier: Apache-2.0
// What the access engine promises as a client and on the bus, and what it is promised there, as
// assertions, for each lane. Only watches; no logic of the device depends on it. See docs/engine.md,
// "How bytes are moved".

module hmm_engine_promises
  import hmm_structures_pkg::*;
  import hmm_pkg::*;
#(
  parameter int unsigned Lanes = 4
) (
  input logic             clk_i,
  input logic             rst_ni,
  // Client port
  input logic             req_valid_i,
  input logic             req_ready_i,
  input client_request_t  req_i,
  input logic             rsp_valid_i,
  input client_response_t rsp_i,
  input logic             rel_valid_i,
  input id_t              rel_id_i,
  // What the lanes want of the bus, shown there or not; a grant that is over
  input logic [Lanes-1:0] lane_read_i,
  input logic [Lanes-1:0] lane_write_i,
  input logic [Lanes-1:0] lane_release_i,
  // Bus
  input logic             read_valid_i,
  input logic             read_ready_i,
  input pa_t              read_address_i,
  input logic             read_device_i,
  input tag_t             read_tag_i,
  input logic             read_done_i,
  input tag_t             read_done_tag_i,
  input logic             read_error_i,
  input logic             write_valid_i,
  input logic             write_ready_i,
  input pa_t              write_address_i,
  input logic             write_device_i,
  input line_t            write_line_i,
  input logic [63:0]      write_strobe_i,
  input tag_t             write_tag_i,
  input logic             write_done_i,
  input tag_t             write_done_tag_i
);

  // ---- Promises ---------------------------------------------------------------------------------

  typedef logic [PaBits-6:0] place_t;  // a line: {device memory, line number}

  place_t read_place, write_place, rsp_place;

  assign read_place  = {read_device_i, read_address_i[PaBits-1:6]};
  assign write_place = {write_device_i, write_address_i[PaBits-1:6]};
  assign rsp_place   = {rsp_i.memory == MEMORY_DEVICE, rsp_i.pa[PaBits-1:6]};

  logic   [Lanes-1:0] asked_q, asked_d;        // and not answered
  logic   [Lanes-1:0] grant_q, grant_d;
  logic   [Lanes-1:0] for_atomic_q, for_atomic_d, for_write_q, for_write_d;
  place_t [Lanes-1:0] grant_place_q, grant_place_d;
  logic   [Lanes-1:0] read_open_q, read_open_d, write_open_q, write_open_d;
  place_t [Lanes-1:0] write_place_q, write_place_d;
  logic   [Lanes-1:0] adding_q, adding_d;      // between the read and the write of an atomic add

  logic [Lanes-1:0] request_shown, request_taken, answered, granted, released;
  logic [Lanes-1:0] read_shown, read_taken, read_done, write_shown, write_taken, write_done;

  for (genvar i = 0; i < Lanes; i++) begin : gen_lane
    assign request_shown[i] = req_valid_i && (req_i.id == id_t'(i));
    assign request_taken[i] = request_shown[i] && req_ready_i;
    assign answered[i]      = rsp_valid_i && (rsp_i.id == id_t'(i));
    assign granted[i]       = answered[i] && (rsp_i.status == STATUS_OK);
    assign released[i]      = rel_valid_i && (rel_id_i == id_t'(i));
    assign read_shown[i]    = read_valid_i && (read_tag_i == tag_t'(i));
    assign read_taken[i]    = read_shown[i] && read_ready_i;
    assign read_done[i]     = read_done_i && (read_done_tag_i == tag_t'(i));
    assign write_shown[i]   = write_valid_i && (write_tag_i == tag_t'(i));
    assign write_taken[i]   = write_shown[i] && write_ready_i;
    assign write_done[i]    = write_done_i && (write_done_tag_i == tag_t'(i));

    assign asked_d[i]       = request_taken[i] || (asked_q[i] && !answered[i]);
    assign for_atomic_d[i]  = request_taken[i] ? (req_i.access == ACCESS_ATOMIC) : for_atomic_q[i];
    assign for_write_d[i]   = request_taken[i] ? (req_i.access != ACCESS_READ) : for_write_q[i];
    assign grant_d[i]       = granted[i] || (grant_q[i] && !released[i]);
    assign grant_place_d[i] = granted[i] ? rsp_place : grant_place_q[i];
    assign read_open_d[i]   = read_taken[i] || (read_open_q[i] && !read_done[i]);
    assign write_open_d[i]  = write_taken[i] || (write_open_q[i] && !write_done[i]);
    assign write_place_d[i] = write_taken[i] ? write_place : write_place_q[i];
    assign adding_d[i]      = (read_taken[i] && grant_q[i] && for_atomic_q[i]) ||
                              (adding_q[i] && !write_done[i] && !(read_done[i] && read_error_i));

    // ---- No hold and wait -----------------------------------------------------------------------

    GrantAlone: assert property (@(posedge clk_i) disable iff (!rst_ni)
        grant_q[i] |-> (!request_shown[i] && !asked_q[i]))
      else $error("a descriptor asks for a translation while it holds a grant");
    GrantOnBus: assert property (@(posedge clk_i) disable iff (!rst_ni)
        grant_q[i] |-> (lane_read_i[i] || read_open_q[i] || lane_write_i[i] || write_open_q[i] ||
                        lane_release_i[i]))
      else $error("the engine holds a grant without a bus transaction");
    GrantReleased: assert property (@(posedge clk_i) disable iff (!rst_ni)
        released[i] |-> (grant_q[i] && !adding_d[i] &&
                         (for_write_q[i] || !read_open_q[i] || read_done[i]) &&
                         !(for_write_q[i] && write_open_q[i] && !write_done[i])))
      else $error("the engine releases what it does not hold, or before its access is done");
    // One release leaves in a cycle, and at most two come: nobody waits longer than for all others.
    GrantReleasedSoon: assert property (@(posedge clk_i) disable iff (!rst_ni)
        lane_release_i[i] |-> ##[0:Lanes] !lane_release_i[i])
      else $error("the engine keeps a grant that is over");

    // ---- Only what was granted ------------------------------------------------------------------

    ReadGranted: assert property (@(posedge clk_i) disable iff (!rst_ni)
        (read_shown[i] && grant_q[i] && !lane_release_i[i]) |-> (read_place == grant_place_q[i]))
      else $error("the engine reads another line than the one it was granted");
    WriteGranted: assert property (@(posedge clk_i) disable iff (!rst_ni)
        (write_shown[i] && grant_q[i] && for_write_q[i] && !lane_release_i[i]) |->
        (write_place == grant_place_q[i]))
      else $error("the engine writes another line than the one it was granted");
    DeviceGranted: assert property (@(posedge clk_i) disable iff (!rst_ni)
        ((read_shown[i] && read_device_i) || (write_shown[i] && write_device_i)) |-> grant_q[i])
      else $error("the engine reaches for device memory without a grant");

    // ---- Nobody between the read and the write of an atomic add ---------------------------------

    for (genvar j = 0; j < Lanes; j++) begin : gen_other
      if (j != i) begin : gen_pair
        AtomicAlone: assert property (@(posedge clk_i) disable iff (!rst_ni)
            (write_taken[j] && adding_q[i]) |-> (write_place != grant_place_q[i]))
          else $error("a write came between the read and the write of an atomic add");
        AtomicAfter: assert property (@(posedge clk_i) disable iff (!rst_ni)
            (read_taken[i] && grant_q[i] && for_atomic_q[i] && write_open_q[j]) |->
            (write_place_q[j] != grant_place_q[i]))
          else $error("an atomic add reads while a write of its line is open");
      end
    end

    // ---- Valid and ready ------------------------------------------------------------------------

    EngineRspExpected: assert property (@(posedge clk_i) disable iff (!rst_ni)
        answered[i] |-> asked_q[i])
      else $error("the engine was answered what it did not ask");
    EngineReadOne: assert property (@(posedge clk_i) disable iff (!rst_ni)
        (read_shown[i] |-> !read_open_q[i]) and (read_done[i] |-> read_open_q[i]))
      else $error("a second read of a tag is open, or data came that nobody asked for");
    EngineWriteOne: assert property (@(posedge clk_i) disable iff (!rst_ni)
        (write_shown[i] |-> !write_open_q[i]) and (write_done[i] |-> write_open_q[i]))
      else $error("a second write of a descriptor is open, or an answer came to none");
  end

  always_ff @(posedge clk_i or negedge rst_ni) begin
    if (!rst_ni) begin
      asked_q       <= '0;
      for_atomic_q  <= '0;
      for_write_q   <= '0;
      grant_q       <= '0;
      grant_place_q <= '0;
      read_open_q   <= '0;
      write_open_q  <= '0;
      write_place_q <= '0;
      adding_q      <= '0;
    end else begin
      asked_q       <= asked_d;
      for_atomic_q  <= for_atomic_d;
      for_write_q   <= for_write_d;
      grant_q       <= grant_d;
      grant_place_q <= grant_place_d;
      read_open_q   <= read_open_d;
      write_open_q  <= write_open_d;
      write_place_q <= write_place_d;
      adding_q      <= adding_d;
    end
  end

  logic unused_response;
  assign unused_response = ^{rsp_i.reason, rsp_i.pa[5:0], rsp_i.order, rsp_i.write, rsp_i.atomic};

  EngineIds: assert property (@(posedge clk_i) disable iff (!rst_ni)
      (!req_valid_i || (32'(req_i.id) < Lanes)) && (!rsp_valid_i || (32'(rsp_i.id) < Lanes)))
    else $error("the engine asks, or is answered, under an id that it does not have");
  EngineReqStable: assert property (@(posedge clk_i) disable iff (!rst_ni)
      (req_valid_i && !req_ready_i) |=> (req_valid_i && $stable(req_i)))
    else $error("the engine withdrew or changed a request before it was taken");
  EngineReadStable: assert property (@(posedge clk_i) disable iff (!rst_ni)
      (read_valid_i && !read_ready_i) |=>
      (read_valid_i && $stable({read_address_i, read_device_i, read_tag_i})))
    else $error("the engine withdrew or changed a read before it was taken");
  EngineWriteStable: assert property (@(posedge clk_i) disable iff (!rst_ni)
      (write_valid_i && !write_ready_i) |=>
      (write_valid_i && $stable({write_address_i, write_device_i, write_line_i, write_strobe_i,
                                 write_tag_i})))
    else $error("the engine withdrew or changed a write before it was taken");
  EngineLines: assert property (@(posedge clk_i) disable iff (!rst_ni)
      (!read_valid_i || (read_address_i[5:0] == '0)) &&
      (!write_valid_i || ((write_address_i[5:0] == '0) && (write_strobe_i != '0))))
    else $error("the engine's access is not one of a whole line, or writes nothing");

endmodule
