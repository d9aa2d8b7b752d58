// SPDX-License-Identifier: Apache-2.0
// Takes requests that missed in their port one after the other to the second-level cache, and says
// what becomes of each: a hit, a walk of its own, or a wait for a walk that is on its way for the
// same line. A request that finds no free walk holds up those behind it: in this order none is
// overtaken. See docs/theory_of_operation.md, "The life of a translation".

module hmm_lookup
  import hmm_structures_pkg::*;
  import hmm_pkg::*;
#(
  parameter int unsigned VaBits       = 48,
  parameter int unsigned Sets         = 64,
  parameter int unsigned Ways         = 4,
  parameter int unsigned LargeEntries = 16,
  parameter int unsigned PlaceBits    = 7,
  parameter int unsigned WalkBits     = 4
) (
  input  logic                 clk_i,
  input  logic                 rst_ni,
  input  logic                 flush_i,
  input  invalidation_t        invalidation_i,
  output logic                 sweeping_o,
  // A request is taken
  input  logic                 request_valid_i,
  output logic                 request_ready_o,
  input  logic [PlaceBits-1:0] request_place_i,
  input  client_request_t      request_i,
  // What becomes of it, one of four at a time
  output logic [PlaceBits-1:0] place_o,
  output logic                 hit_o,
  input  logic                 hit_ready_i,
  output cached_t              cached_o,
  output logic                 start_o,
  output client_request_t      start_request_o,
  output logic                 merge_o,
  output logic [WalkBits-1:0]  merge_walk_o,
  output logic                 again_o,   // the walk of its line ends just now: look again
  // Walks
  input  logic                 hold_i,    // begin none now
  input  logic                 walk_free_i,
  input  logic                 match_i,
  input  logic [WalkBits-1:0]  match_walk_i,
  input  logic                 walk_done_i,
  input  logic [WalkBits-1:0]  walk_done_index_i,
  // What may be kept of a walk
  input  logic                 fill_line_i,
  input  logic                 fill_block_i,
  input  pasid_t               fill_pasid_i,
  input  va_t                  fill_va_i,
  input  line_slots_t          fill_slots_i,
  input  cached_t              fill_cached_i
);

  logic                 valid_q, valid_d;
  logic [PlaceBits-1:0] place_q, place_d;
  client_request_t      request_q, request_d;
  logic                 take, leaves, found, ending;

  assign take            = request_valid_i && request_ready_o;
  assign request_ready_o = !valid_q || leaves;

  hmm_shared_tlb #(
    .VaBits       (VaBits),
    .Sets         (Sets),
    .Ways         (Ways),
    .LargeEntries (LargeEntries)
  ) u_shared_tlb (
    .clk_i,
    .rst_ni,
    .flush_i        (flush_i),
    .invalidation_i (invalidation_i),
    .sweeping_o     (sweeping_o),
    .take_i         (take),
    .take_pasid_i   (request_i.pasid),
    .take_va_i      (request_i.va),
    .take_access_i  (request_i.access),
    .hit_o          (found),
    .cached_o       (cached_o),
    .fill_line_i    (fill_line_i),
    .fill_block_i   (fill_block_i),
    .fill_pasid_i   (fill_pasid_i),
    .fill_va_i      (fill_va_i),
    .fill_slots_i   (fill_slots_i),
    .fill_cached_i  (fill_cached_i)
  );

  assign ending = match_i && walk_done_i && (walk_done_index_i == match_walk_i);

  //   found  walk of the line        | the request
  //     1     -                      | is answered, when there is room for the answer
  //     0     ends in this cycle     | looks again
  //     0     on its way             | waits for it
  //     0     none                   | is walked, when there is a free walk
  always_comb begin
    hit_o   = 1'b0;
    again_o = 1'b0;
    merge_o = 1'b0;
    start_o = 1'b0;
    if (valid_q) begin
      if (found)        hit_o   = 1'b1;
      else if (ending)  again_o = 1'b1;
      else if (match_i) merge_o = 1'b1;
      else              start_o = walk_free_i && !hold_i;
    end
  end

  assign leaves          = (hit_o && hit_ready_i) || again_o || merge_o || start_o;
  assign place_o         = place_q;
  assign start_request_o = request_q;
  assign merge_walk_o    = match_walk_i;

  assign valid_d   = take || (valid_q && !leaves);
  assign place_d   = take ? request_place_i : place_q;
  assign request_d = take ? request_i : request_q;

  always_ff @(posedge clk_i or negedge rst_ni) begin
    if (!rst_ni) begin
      valid_q   <= 1'b0;
      place_q   <= '0;
      request_q <= '0;
    end else begin
      valid_q   <= valid_d;
      place_q   <= place_d;
      request_q <= request_d;
    end
  end

  LookupOneEnd: assert property (@(posedge clk_i) disable iff (!rst_ni)
      $onehot0({hit_o, again_o, merge_o, start_o}))
    else $error("a lookup ends in two ways");

endmodule
