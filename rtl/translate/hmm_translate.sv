// SPDX-License-Identifier: Apache-2.0
// One client port: takes requests one after the other, answers hits at once, sends misses to the walker and holds the
// port until the walk ends. Keeps the table of grants. Does not cache and does not walk.
// See docs/interface.md, "Client port".

module hmm_translate
  import hmm_structures_pkg::*;
  import hmm_pkg::*;
#(
  parameter int unsigned VaBits = 48
) (
  input  logic             clk_i,
  input  logic             rst_ni,
  input  logic             enabled_i,       // requests are taken
  input  logic [20:0]      context_count_i,
  // Client port
  input  logic             req_valid_i,
  output logic             req_ready_o,
  input  client_request_t  req_i,
  output logic             rsp_valid_o,
  input  logic             rsp_ready_i,
  output client_response_t rsp_o,
  input  logic             rel_valid_i,
  input  id_t              rel_id_i,
  // Translation cache
  output pasid_t           lookup_pasid_o,
  output va_t              lookup_va_o,
  input  logic             lookup_hit_i,
  input  translation_t     lookup_translation_i,
  output logic             fill_o,
  // Walker
  output logic             walk_start_o,
  output client_request_t  walk_request_o,
  input  logic             walk_done_i,
  input  reason_e          walk_reason_i,
  input  translation_t     walk_translation_i,
  // Grants
  output logic [Ids-1:0]   grants_o,
  // Events
  output logic             busy_o,
  output logic             hit_o,
  output logic             aborted_o
);

  logic             request_valid_q, request_valid_d;
  client_request_t  request_q, request_d;
  logic             walking_q, walking_d;
  logic             response_valid_q, response_valid_d;
  client_response_t response_q, response_d;
  logic [Ids-1:0]   grants_q, grants_d;

  // ---- The request in hand -------------------------------------------------------------------------------------------

  logic         out_of_range, no_context, hit, answered;
  reason_e      reason;
  translation_t translation;
  pfn_t         pfn;

  assign out_of_range = (request_q.va[63:VaBits] != '0);
  assign no_context   = ({1'b0, request_q.pasid} >= context_count_i);
  assign hit = lookup_hit_i &&
               (permission_reason(request_q.access, lookup_translation_i.write,
                                  lookup_translation_i.atomic) == REASON_NONE);

  // First match wins:
  //   walking, done            | answered by the walk
  //   walking                  | not yet
  //   out of range             | answered OUT_OF_RANGE
  //   PASID beyond the table   | answered NO_CONTEXT
  //   hit that permits         | answered by the translation cache
  //   else                     | a walk starts
  always_comb begin
    answered     = 1'b0;
    hit_o        = 1'b0;
    reason       = REASON_NONE;
    translation  = lookup_translation_i;
    if (request_valid_q) begin
      if (walking_q) begin
        answered    = walk_done_i;
        reason      = walk_reason_i;
        translation = walk_translation_i;
      end else if (out_of_range) begin
        answered = 1'b1;
        reason   = REASON_OUT_OF_RANGE;
      end else if (no_context) begin
        answered = 1'b1;
        reason   = REASON_NO_CONTEXT;
      end else if (hit) begin
        answered = 1'b1;
        hit_o    = 1'b1;
      end
    end
  end

  // Not in the process above: a walk's end must not seem to depend on its own start.
  assign walk_start_o = request_valid_q && !walking_q && !out_of_range && !no_context && !hit;

  assign walking_d = (walking_q || walk_start_o) && !answered;
  assign fill_o    = walking_q && answered && (reason == REASON_NONE);
  assign aborted_o = answered && (reason != REASON_NONE);

  assign pfn = translation.base +
               (pfn_t'(request_q.va[63:12]) & pfn_t'(low_ones({1'b0, translation.order})));

  always_comb begin
    response_valid_d = answered;
    response_d       = '0;
    response_d.id    = request_q.id;
    if (reason != REASON_NONE) begin
      response_d.status = STATUS_ABORTED;
      response_d.reason = reason;
    end else begin
      response_d.status = STATUS_OK;
      response_d.pa     = {pfn, request_q.va[11:0]};
      response_d.order  = translation.order;
      response_d.write  = translation.write;
      response_d.atomic = translation.atomic;
      response_d.memory = translation.memory;
    end
  end

  // ---- The next request ----------------------------------------------------------------------------------------------

  assign req_ready_o = enabled_i && (!request_valid_q || answered);

  always_comb begin
    request_valid_d = request_valid_q && !answered;
    request_d       = request_q;
    if (req_valid_i && req_ready_o) begin
      request_valid_d = 1'b1;
      request_d       = req_i;
    end
  end

  // ---- Grants --------------------------------------------------------------------------------------------------------

  always_comb begin
    grants_d = grants_q;
    if (rel_valid_i) grants_d[rel_id_i] = 1'b0;
    if (answered && (reason == REASON_NONE) && (request_q.access != ACCESS_PREFETCH)) begin
      grants_d[request_q.id] = 1'b1;
    end
  end

  assign lookup_pasid_o = request_q.pasid;
  assign lookup_va_o    = request_q.va;
  assign walk_request_o = request_q;
  assign rsp_valid_o    = response_valid_q;
  assign rsp_o          = response_q;
  assign grants_o       = grants_q;
  assign busy_o         = request_valid_q || response_valid_q || (grants_q != '0);

  always_ff @(posedge clk_i or negedge rst_ni) begin
    if (!rst_ni) begin
      request_valid_q  <= 1'b0;
      request_q        <= '0;
      walking_q        <= 1'b0;
      response_valid_q <= 1'b0;
      response_q       <= '0;
      grants_q         <= '0;
    end else begin
      request_valid_q  <= request_valid_d;
      request_q        <= request_d;
      walking_q        <= walking_d;
      response_valid_q <= response_valid_d;
      response_q       <= response_d;
      grants_q         <= grants_d;
    end
  end

  // ---- What client and device promise each other ---------------------------------------------------------------------

  ReqStable: assert property (@(posedge clk_i) disable iff (!rst_ni)
      (req_valid_i && !req_ready_o) |=> (req_valid_i && $stable(req_i)))
    else $error("a request was withdrawn or changed before it was taken");
  ReqIdFree: assert property (@(posedge clk_i) disable iff (!rst_ni)
      (req_valid_i && req_ready_o) |->
      (!grants_q[req_i.id] && !(request_valid_q && request_q.id == req_i.id) &&
       !(response_valid_q && response_q.id == req_i.id)))
    else $error("a request carries an id that is still busy");
  RspReady: assert property (@(posedge clk_i) disable iff (!rst_ni) rsp_valid_o |-> rsp_ready_i)
    else $error("a client held back a response");
  RelGranted: assert property (@(posedge clk_i) disable iff (!rst_ni)
      rel_valid_i |-> grants_q[rel_id_i])
    else $error("a client released an id without a grant");
  WalkHasRequest: assert property (@(posedge clk_i) disable iff (!rst_ni)
      walk_done_i |-> (request_valid_q && walking_q))
    else $error("a walk ended that no request waits for");

endmodule
