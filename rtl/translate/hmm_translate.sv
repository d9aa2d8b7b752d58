// SPDX-License-Identifier: Apache-2.0
// One client port: takes requests one after the other, answers hits at once and hands misses to the
// fault buffer, so that hits go on under misses and faults. Does not cache and does not walk.
// See docs/interface.md, "Client port".

module hmm_translate
  import hmm_structures_pkg::*;
  import hmm_pkg::*;
#(
  parameter int unsigned VaBits = 48
) (
  input  logic             clk_i,
  input  logic             rst_ni,
  input  logic             enabled_i,  // requests are taken
  input  logic [20:0]      context_count_i,
  // Client port
  input  logic             req_valid_i,
  output logic             req_ready_o,
  input  client_request_t  req_i,
  output logic             rsp_valid_o,
  input  logic             rsp_ready_i,
  output client_response_t rsp_o,
  // The port's translation cache
  output logic             lookup_o,
  output pasid_t           lookup_pasid_o,
  output va_t              lookup_va_o,
  input  logic             lookup_hit_i,
  input  cached_t          lookup_cached_i,
  // Fault buffer: misses go there, answers come from there at any time
  output logic             miss_valid_o,
  input  logic             miss_ready_i,
  output client_request_t  miss_o,
  input  logic             answer_valid_i,
  input  client_request_t  answer_request_i,
  input  reason_e          answer_reason_i,
  input  cached_t          answer_cached_i,
  // Grants
  output logic             grant_o,  // one begins in the next cycle
  output id_t              grant_id_o,
  input  logic [Ids-1:0]   granted_i,
  // Events
  output logic             busy_o,
  output logic             hit_o,
  output logic             aborted_o
);

  logic             request_valid_q, request_valid_d;
  client_request_t  request_q, request_d;
  logic             response_valid_q, response_valid_d;
  client_response_t response_q, response_d;

  // ---- The request in hand ----------------------------------------------------------------------

  logic hit, done;

  assign hit = lookup_hit_i && (request_q.va[63:VaBits] == '0) &&
               ({1'b0, request_q.pasid} < context_count_i) &&
               (permission_reason(request_q.access, lookup_cached_i.write,
                                  lookup_cached_i.atomic) == REASON_NONE);

  // An answer from the fault buffer goes first: it cannot wait.
  assign hit_o        = request_valid_q && hit && !answer_valid_i;
  assign miss_valid_o = request_valid_q && !hit;
  assign miss_o       = request_q;
  assign done         = hit_o || (miss_valid_o && miss_ready_i);

  assign req_ready_o = enabled_i && (!request_valid_q || done);

  always_comb begin
    request_valid_d = request_valid_q && !done;
    request_d       = request_q;
    if (req_valid_i && req_ready_o) begin
      request_valid_d = 1'b1;
      request_d       = req_i;
    end
  end

  // ---- The response -----------------------------------------------------------------------------

  client_request_t answered;
  reason_e         reason;
  cached_t         cached;

  assign answered    = answer_valid_i ? answer_request_i : request_q;
  assign reason      = answer_valid_i ? answer_reason_i : REASON_NONE;
  assign cached      = answer_valid_i ? answer_cached_i : lookup_cached_i;

  assign aborted_o = answer_valid_i && (reason != REASON_NONE);

  always_comb begin
    response_valid_d = answer_valid_i || hit_o;
    response_d       = '0;
    response_d.id    = answered.id;
    if (reason != REASON_NONE) begin
      response_d.status = STATUS_ABORTED;
      response_d.reason = reason;
    end else begin
      response_d.status = STATUS_OK;
      response_d.pa     = {cached_pfn(cached, answered.va), answered.va[11:0]};
      response_d.order  = cached.order;
      response_d.write  = cached.write;
      response_d.atomic = cached.atomic;
      response_d.memory = cached.memory;
    end
  end

  assign grant_o    = response_valid_d && (reason == REASON_NONE) &&
                      (answered.access != ACCESS_PREFETCH);
  assign grant_id_o = answered.id;

  assign lookup_o       = request_valid_q;
  assign lookup_pasid_o = request_q.pasid;
  assign lookup_va_o    = request_q.va;
  assign rsp_valid_o    = response_valid_q;
  assign rsp_o          = response_q;
  assign busy_o         = request_valid_q || response_valid_q || (granted_i != '0);

  always_ff @(posedge clk_i or negedge rst_ni) begin
    if (!rst_ni) begin
      request_valid_q  <= 1'b0;
      request_q        <= '0;
      response_valid_q <= 1'b0;
      response_q       <= '0;
    end else begin
      request_valid_q  <= request_valid_d;
      request_q        <= request_d;
      response_valid_q <= response_valid_d;
      response_q       <= response_d;
    end
  end

  // ---- What client and device promise each other ------------------------------------------------

  ReqIdFree: assert property (@(posedge clk_i) disable iff (!rst_ni)
      (req_valid_i && req_ready_o) |->
      (!granted_i[req_i.id] && !(request_valid_q && request_q.id == req_i.id) &&
       !(response_valid_q && response_q.id == req_i.id)))
    else $error("a request carries an id that is still busy");
  RspReady: assert property (@(posedge clk_i) disable iff (!rst_ni) rsp_valid_o |-> rsp_ready_i)
    else $error("a client held back a response");

  logic unused_pasid;
  assign unused_pasid = ^answered.pasid;

endmodule
