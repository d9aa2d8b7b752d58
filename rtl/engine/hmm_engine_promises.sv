// SPDX-License-Identifier: Apache-2.0
// What the access engine promises as a client and on the bus, and what it is promised there, as
// assertions. Only watches; no logic of the device depends on it. See docs/engine.md, "How bytes
// are moved".

module hmm_engine_promises
  import hmm_structures_pkg::*;
  import hmm_pkg::*;
(
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
  // Bus
  input logic             read_valid_i,
  input logic             read_ready_i,
  input pa_t              read_address_i,
  input logic             read_device_i,
  input logic             read_done_i,
  input logic             write_valid_i,
  input logic             write_ready_i,
  input pa_t              write_address_i,
  input logic             write_device_i,
  input line_t            write_line_i,
  input logic [63:0]      write_strobe_i,
  input logic             write_done_i
);

  typedef logic [PaBits-7:0] line_number_t;

  logic         request_open_q, request_open_d;  // asked and not answered
  id_t          request_id_q, request_id_d;
  logic         grant_q, grant_d;
  line_number_t grant_line_q, grant_line_d;
  memory_e      grant_memory_q, grant_memory_d;
  logic         read_open_q, read_open_d, write_open_q, write_open_d;

  logic request_taken, granted;

  assign request_taken = req_valid_i && req_ready_i;
  assign granted       = rsp_valid_i && (rsp_i.status == STATUS_OK);

  assign request_open_d = request_taken || (request_open_q && !rsp_valid_i);
  assign request_id_d   = request_taken ? req_i.id : request_id_q;
  assign grant_d        = granted || (grant_q && !rel_valid_i);
  assign grant_line_d   = granted ? rsp_i.pa[PaBits-1:6] : grant_line_q;
  assign grant_memory_d = granted ? rsp_i.memory : grant_memory_q;
  assign read_open_d    = (read_valid_i && read_ready_i) || (read_open_q && !read_done_i);
  assign write_open_d   = (write_valid_i && write_ready_i) || (write_open_q && !write_done_i);

  always_ff @(posedge clk_i or negedge rst_ni) begin
    if (!rst_ni) begin
      request_open_q <= 1'b0;
      request_id_q   <= '0;
      grant_q        <= 1'b0;
      grant_line_q   <= '0;
      grant_memory_q <= MEMORY_SYSTEM;
      read_open_q    <= 1'b0;
      write_open_q   <= 1'b0;
    end else begin
      request_open_q <= request_open_d;
      request_id_q   <= request_id_d;
      grant_q        <= grant_d;
      grant_line_q   <= grant_line_d;
      grant_memory_q <= grant_memory_d;
      read_open_q    <= read_open_d;
      write_open_q   <= write_open_d;
    end
  end

  logic unused_response;
  assign unused_response = ^{rsp_i.reason, rsp_i.pa[5:0], rsp_i.order, rsp_i.write, rsp_i.atomic};

  // ---- No hold and wait -------------------------------------------------------------------------

  GrantAlone: assert property (@(posedge clk_i) disable iff (!rst_ni)
      grant_q |-> (!req_valid_i && !request_open_q))
    else $error("the engine asks for a translation while it holds a grant");
  GrantOnBus: assert property (@(posedge clk_i) disable iff (!rst_ni)
      grant_q |-> (read_valid_i || read_open_q || write_valid_i || write_open_q))
    else $error("the engine holds a grant without a bus transaction");
  GrantReleased: assert property (@(posedge clk_i) disable iff (!rst_ni)
      rel_valid_i |-> (grant_q && (rel_id_i == request_id_q) && !read_valid_i && !write_valid_i &&
                       (!read_open_q || read_done_i) && (!write_open_q || write_done_i)))
    else $error("the engine releases what it does not hold, or before its bus transaction is done");

  // ---- Only what was granted --------------------------------------------------------------------

  ReadGranted: assert property (@(posedge clk_i) disable iff (!rst_ni)
      (read_valid_i && grant_q) |->
      ((read_address_i[PaBits-1:6] == grant_line_q) &&
       (read_device_i == (grant_memory_q == MEMORY_DEVICE))))
    else $error("the engine reads another line than the one it was granted");
  WriteGranted: assert property (@(posedge clk_i) disable iff (!rst_ni)
      (write_valid_i && grant_q) |->
      ((write_address_i[PaBits-1:6] == grant_line_q) &&
       (write_device_i == (grant_memory_q == MEMORY_DEVICE))))
    else $error("the engine writes another line than the one it was granted");
  DeviceGranted: assert property (@(posedge clk_i) disable iff (!rst_ni)
      ((read_valid_i && read_device_i) || (write_valid_i && write_device_i)) |-> grant_q)
    else $error("the engine reaches for device memory without a grant");

  // ---- Valid and ready --------------------------------------------------------------------------

  EngineReqStable: assert property (@(posedge clk_i) disable iff (!rst_ni)
      (req_valid_i && !req_ready_i) |=> (req_valid_i && $stable(req_i)))
    else $error("the engine withdrew or changed a request before it was taken");
  EngineRspExpected: assert property (@(posedge clk_i) disable iff (!rst_ni)
      rsp_valid_i |-> (request_open_q && (rsp_i.id == request_id_q)))
    else $error("the engine was answered what it did not ask");
  EngineReadStable: assert property (@(posedge clk_i) disable iff (!rst_ni)
      (read_valid_i && !read_ready_i) |=>
      (read_valid_i && $stable({read_address_i, read_device_i})))
    else $error("the engine withdrew or changed a read before it was taken");
  EngineWriteStable: assert property (@(posedge clk_i) disable iff (!rst_ni)
      (write_valid_i && !write_ready_i) |=>
      (write_valid_i && $stable({write_address_i, write_device_i, write_line_i, write_strobe_i})))
    else $error("the engine withdrew or changed a write before it was taken");
  EngineReadOne: assert property (@(posedge clk_i) disable iff (!rst_ni)
      (read_valid_i |-> !read_open_q) and (read_done_i |-> read_open_q))
    else $error("a second read of the engine is open, or data came that it did not ask for");
  EngineWriteOne: assert property (@(posedge clk_i) disable iff (!rst_ni)
      (write_valid_i |-> !write_open_q) and (write_done_i |-> write_open_q))
    else $error("a second write of the engine is open, or an answer came to none");
  EngineLines: assert property (@(posedge clk_i) disable iff (!rst_ni)
      (!read_valid_i || (read_address_i[5:0] == '0)) &&
      (!write_valid_i || ((write_address_i[5:0] == '0) && (write_strobe_i != '0))))
    else $error("the engine's access is not one of a whole line, or writes nothing");

endmodule
