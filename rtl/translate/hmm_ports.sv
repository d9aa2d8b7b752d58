// SPDX-License-Identifier: Apache-2.0
// The client ports, each with its own first-level translation cache, and the grants of all of them.
// See docs/interface.md, "Client port".

module hmm_ports
  import hmm_structures_pkg::*;
  import hmm_pkg::*;
#(
  parameter  int unsigned VaBits     = 48,
  parameter  int unsigned Clients    = 2,
  parameter  int unsigned TlbEntries = 16,
  parameter  int unsigned Epochs     = 5,
  localparam int unsigned EpochBits  = (Epochs > 1) ? $clog2(Epochs) : 1
) (
  input  logic                           clk_i,
  input  logic                           rst_ni,
  input  logic                           enabled_i,  // requests are taken
  input  logic                           flush_i,
  input  invalidation_t                  invalidation_i,
  input  logic [20:0]                    context_count_i,
  // Client ports: request, response, release
  input  logic             [Clients-1:0] req_valid_i,
  output logic             [Clients-1:0] req_ready_o,
  input  client_request_t  [Clients-1:0] req_i,
  output logic             [Clients-1:0] rsp_valid_o,
  input  logic             [Clients-1:0] rsp_ready_i,
  output client_response_t [Clients-1:0] rsp_o,
  input  logic             [Clients-1:0] rel_valid_i,
  input  id_t              [Clients-1:0] rel_id_i,
  // Misses, and the answers to them
  output logic             [Clients-1:0] miss_valid_o,
  input  logic             [Clients-1:0] miss_ready_i,
  output client_request_t  [Clients-1:0] miss_o,
  input  logic             [Clients-1:0] answer_valid_i,
  input  client_request_t                answer_request_i,
  input  reason_e                        answer_reason_i,
  input  cached_t                        answer_cached_i,
  input  logic             [Clients-1:0] hit_valid_i,  // of the second-level cache
  input  client_request_t                hit_request_i,
  input  cached_t                        hit_cached_i,
  // Epochs of grants
  input  logic                           close_epoch_i,
  output logic [EpochBits-1:0]           epoch_o,
  output logic [Epochs-1:0]              epoch_open_o,
  // Events
  output logic                           busy_o,
  output logic             [Clients-1:0] hit_o,
  output logic             [Clients-1:0] aborted_o
);

  logic [Clients-1:0]          busy, grant;
  id_t  [Clients-1:0]          grant_id;
  logic [Clients-1:0][Ids-1:0] granted;

  for (genvar c = 0; c < Clients; c++) begin : gen_port
    logic    lookup, found, being_dropped, fill;
    pasid_t  lookup_pasid;
    va_t     lookup_va;
    cached_t found_cached;

    // The answer that comes for this port.
    logic            answer_valid;
    client_request_t answer_request;
    reason_e         answer_reason;
    cached_t         answer_cached;

    assign answer_valid   = answer_valid_i[c] || hit_valid_i[c];
    assign answer_request = hit_valid_i[c] ? hit_request_i : answer_request_i;
    assign answer_reason  = hit_valid_i[c] ? REASON_NONE : answer_reason_i;
    assign answer_cached  = hit_valid_i[c] ? hit_cached_i : answer_cached_i;

    // What is dropped in this very cycle may still be used: its grant is older than the fence.
    logic unused_being_dropped;
    assign unused_being_dropped = being_dropped;

    assign fill = answer_valid && (answer_reason == REASON_NONE);

    hmm_block_cache #(
      .VaBits      (VaBits),
      .Entries     (TlbEntries),
      .PayloadBits ($bits(cached_t))
    ) u_tlb (
      .clk_i,
      .rst_ni,
      .flush_i        (flush_i),
      .invalidation_i (invalidation_i),
      .lookup_i       (lookup),
      .lookup_pasid_i (lookup_pasid),
      .lookup_va_i    (lookup_va),
      .hit_o          (found),
      .dropped_o      (being_dropped),
      .payload_o      (found_cached),
      .fill_i         (fill),
      .fill_pasid_i   (answer_request.pasid),
      .fill_va_i      (answer_request.va),
      .fill_reach_i   (answer_cached.reach),
      .fill_payload_i (answer_cached)
    );

    hmm_translate #(
      .VaBits (VaBits)
    ) u_translate (
      .clk_i,
      .rst_ni,
      .enabled_i        (enabled_i),
      .context_count_i  (context_count_i),
      .req_valid_i      (req_valid_i[c]),
      .req_ready_o      (req_ready_o[c]),
      .req_i            (req_i[c]),
      .rsp_valid_o      (rsp_valid_o[c]),
      .rsp_ready_i      (rsp_ready_i[c]),
      .rsp_o            (rsp_o[c]),
      .lookup_o         (lookup),
      .lookup_pasid_o   (lookup_pasid),
      .lookup_va_o      (lookup_va),
      .lookup_hit_i     (found),
      .lookup_cached_i  (found_cached),
      .miss_valid_o     (miss_valid_o[c]),
      .miss_ready_i     (miss_ready_i[c]),
      .miss_o           (miss_o[c]),
      .answer_valid_i   (answer_valid),
      .answer_request_i (answer_request),
      .answer_reason_i  (answer_reason),
      .answer_cached_i  (answer_cached),
      .grant_o          (grant[c]),
      .grant_id_o       (grant_id[c]),
      .granted_i        (granted[c]),
      .busy_o           (busy[c]),
      .hit_o            (hit_o[c]),
      .aborted_o        (aborted_o[c])
    );
  end

  hmm_grants #(
    .Clients (Clients),
    .Epochs  (Epochs)
  ) u_grants (
    .clk_i,
    .rst_ni,
    .grant_i      (grant),
    .grant_id_i   (grant_id),
    .release_i    (rel_valid_i),
    .release_id_i (rel_id_i),
    .granted_o    (granted),
    .close_i      (close_epoch_i),
    .epoch_o      (epoch_o),
    .open_o       (epoch_open_o)
  );

  assign busy_o = (busy != '0);

  PortOneAnswer: assert property (@(posedge clk_i) disable iff (!rst_ni)
      (answer_valid_i & hit_valid_i) == '0)
    else $error("two answers come for one port");

endmodule
