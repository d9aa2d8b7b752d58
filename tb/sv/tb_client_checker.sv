// SPDX-License-Identifier: Apache-2.0
// Rules of one client port, for both sides of it: requests, responses, grants, releases.

module tb_client_checker
  import tb_pkg::*;
#(
  parameter int unsigned Client = 1
) (
  input logic      clk_i,
  input logic      rst_ni,
  input logic      req_valid_i,
  input logic      req_ready_i,
  input request_t  req_i,
  input logic      rsp_valid_i,
  input logic      rsp_ready_i,
  input response_t rsp_i,
  input logic      rel_valid_i,
  input id_t       rel_id_i,
  input logic      reset_i  // a soft reset of the device: nothing is open any more
);

  // By id: a request waits for its response; a grant waits for its release; the request was a
  // prefetch.
  logic [Ids-1:0] asked_q, asked_d, granted_q, granted_d, prefetch_q, prefetch_d;

  always_comb begin
    asked_d    = asked_q;
    granted_d  = granted_q;
    prefetch_d = prefetch_q;
    if (rel_valid_i) granted_d[rel_id_i] = 1'b0;
    if (rsp_valid_i) begin
      asked_d[rsp_i.id]   = 1'b0;
      granted_d[rsp_i.id] = !rsp_i.aborted && !prefetch_q[rsp_i.id];
    end
    if (req_valid_i && req_ready_i) begin
      asked_d[req_i.id]    = 1'b1;
      prefetch_d[req_i.id] = req_i.access == ACCESS_PREFETCH;
    end
    if (reset_i) begin
      asked_d   = '0;
      granted_d = '0;
    end
  end

  always_ff @(posedge clk_i or negedge rst_ni) begin
    if (!rst_ni) begin
      asked_q    <= '0;
      granted_q  <= '0;
      prefetch_q <= '0;
    end else begin
      asked_q    <= asked_d;
      granted_q  <= granted_d;
      prefetch_q <= prefetch_d;
    end
  end

  default clocking @(posedge clk_i); endclocking
  default disable iff (!rst_ni);

  request_stable: assert property (
      req_valid_i && !req_ready_i && !reset_i |=> reset_i || (req_valid_i && $stable(req_i)))
    else $error("client %0d: a request changed before it was taken", Client);
  request_id_free: assert property (req_valid_i |-> !asked_q[req_i.id] && !granted_q[req_i.id])
    else $error("client %0d: request under id %0d, which is busy", Client, req_i.id);
  release_granted: assert property (rel_valid_i |-> granted_q[rel_id_i])
    else $error("client %0d: release of id %0d, which holds no grant", Client, rel_id_i);
  response_taken: assert property (rsp_valid_i |-> rsp_ready_i)
    else $error("client %0d: ready is withheld from the response of id %0d", Client, rsp_i.id);
  response_asked: assert property (rsp_valid_i |-> asked_q[rsp_i.id])
    else $error("device, client %0d: response for id %0d, which has no request", Client, rsp_i.id);
  response_reason: assert property (rsp_valid_i |-> rsp_i.aborted == (rsp_i.reason != '0))
    else $error("device, client %0d: status and reason %0d of id %0d do not go together", Client, rsp_i.reason, rsp_i.id);
  response_aborted_empty: assert property (
      rsp_valid_i && rsp_i.aborted |-> {rsp_i.pa, rsp_i.order, rsp_i.write, rsp_i.atomic, rsp_i.memory} == '0)
    else $error("device, client %0d: the ABORTED response of id %0d carries a translation", Client, rsp_i.id);
  reset_silent: assert property (reset_i |-> !req_ready_i && !rsp_valid_i)
    else $error("device, client %0d: the port takes or gives something in a soft reset", Client);

endmodule
