// SPDX-License-Identifier: Apache-2.0
// What stands behind the ports: the second-level cache, and the walks that fill it. Each lookup is a
// hit, begins a walk, waits for the walk of its line, or is to be looked up again.
// See docs/theory_of_operation.md.

module hmm_second_level
  import hmm_structures_pkg::*;
  import hmm_pkg::*;
#(
  parameter  int unsigned VaBits           = 48,
  parameter  int unsigned Sets             = 64,
  parameter  int unsigned Ways             = 4,  // lines of eight pages
  parameter  int unsigned LargeEntries     = 16,
  parameter  int unsigned Walks            = 16,
  parameter  int unsigned DirectoryEntries = 64,
  parameter  int unsigned TableEntries     = 8,
  parameter  int unsigned ContextEntries   = 4,
  parameter  int unsigned PlaceBits        = 7,
  localparam int unsigned WalkBits         = (Walks > 1) ? $clog2(Walks) : 1
) (
  input  logic                 clk_i,
  input  logic                 rst_ni,
  // Configuration, stable while translation is on
  input  entry_format_t        format_i,
  input  logic [51:0]          context_base_i,
  input  logic [20:0]          context_count_i,
  input  logic                 flush_i,
  input  invalidation_t        invalidation_i,
  // Lookups
  input  logic                 lookup_valid_i,
  output logic                 lookup_ready_o,
  input  logic [PlaceBits-1:0] lookup_place_i,
  input  client_request_t      lookup_i,
  // What becomes of one
  output logic [PlaceBits-1:0] looked_place_o,
  output logic                 hit_o,
  input  logic                 hit_ready_i,
  output cached_t              hit_cached_o,
  output logic                 start_o,  // a walk begins for it
  output logic                 merge_o,  // this walk brings its line
  output logic [WalkBits-1:0]  merge_walk_o,
  output logic                 again_o,
  input  logic                 hold_i,   // no walk begins
  // A walk ends, at most one a cycle
  output logic                 done_o,
  output logic [WalkBits-1:0]  done_walk_o,
  output logic [PlaceBits-1:0] done_place_o,
  output reason_e              done_reason_o,
  output cached_t              done_cached_o,
  // Events and state
  output logic [WalkBits:0]    dropped_o,  // walks that begin anew in this cycle
  output logic [Walks-1:0]     stale_o,    // dropped, and their bus read is not over
  output logic                 walking_o,
  output logic                 sweeping_o,  // an invalidation is still on its way through the sets
  // Bus reads of whole lines; the tag is the walk
  output logic                 read_valid_o,
  input  logic                 read_ready_i,
  output pa_t                  read_address_o,
  output tag_t                 read_tag_o,
  input  logic                 read_done_i,
  input  tag_t                 read_done_tag_i,
  input  line_t                read_line_i,
  input  logic                 read_error_i
);

  client_request_t     walk_request;
  logic                walk_free, match;
  logic [WalkBits-1:0] match_walk;
  logic                fill_line, fill_block;
  pasid_t              fill_pasid;
  va_t                 fill_va;
  line_slots_t         fill_slots;

  hmm_lookup #(
    .VaBits       (VaBits),
    .Sets         (Sets),
    .Ways         (Ways),
    .LargeEntries (LargeEntries),
    .PlaceBits    (PlaceBits),
    .WalkBits     (WalkBits)
  ) u_lookup (
    .clk_i,
    .rst_ni,
    .flush_i           (flush_i),
    .invalidation_i    (invalidation_i),
    .sweeping_o        (sweeping_o),
    .request_valid_i   (lookup_valid_i),
    .request_ready_o   (lookup_ready_o),
    .request_place_i   (lookup_place_i),
    .request_i         (lookup_i),
    .place_o           (looked_place_o),
    .hit_o             (hit_o),
    .hit_ready_i       (hit_ready_i),
    .cached_o          (hit_cached_o),
    .start_o           (start_o),
    .start_request_o   (walk_request),
    .merge_o           (merge_o),
    .merge_walk_o      (merge_walk_o),
    .again_o           (again_o),
    .hold_i            (hold_i),
    .walk_free_i       (walk_free),
    .match_i           (match),
    .match_walk_i      (match_walk),
    .walk_done_i       (done_o),
    .walk_done_index_i (done_walk_o),
    .fill_line_i       (fill_line),
    .fill_block_i      (fill_block),
    .fill_pasid_i      (fill_pasid),
    .fill_va_i         (fill_va),
    .fill_slots_i      (fill_slots),
    .fill_cached_i     (done_cached_o)
  );

  hmm_walk_pool #(
    .VaBits           (VaBits),
    .Walks            (Walks),
    .DirectoryEntries (DirectoryEntries),
    .TableEntries     (TableEntries),
    .ContextEntries   (ContextEntries),
    .PlaceBits        (PlaceBits)
  ) u_walk_pool (
    .clk_i,
    .rst_ni,
    .format_i        (format_i),
    .context_base_i  (context_base_i),
    .context_count_i (context_count_i),
    .flush_i         (flush_i),
    .invalidation_i  (invalidation_i),
    .start_i         (start_o),
    .free_o          (walk_free),
    .start_request_i (walk_request),
    .start_place_i   (looked_place_o),
    .match_pasid_i   (walk_request.pasid),
    .match_va_i      (walk_request.va),
    .match_o         (match),
    .match_walk_o    (match_walk),
    .done_o          (done_o),
    .done_walk_o     (done_walk_o),
    .done_place_o    (done_place_o),
    .reason_o        (done_reason_o),
    .cached_o        (done_cached_o),
    .fill_line_o     (fill_line),
    .fill_block_o    (fill_block),
    .fill_pasid_o    (fill_pasid),
    .fill_va_o       (fill_va),
    .fill_slots_o    (fill_slots),
    .dropped_o       (dropped_o),
    .stale_o         (stale_o),
    .busy_o          (walking_o),
    .read_valid_o    (read_valid_o),
    .read_ready_i    (read_ready_i),
    .read_address_o  (read_address_o),
    .read_tag_o      (read_tag_o),
    .read_done_i     (read_done_i),
    .read_done_tag_i (read_done_tag_i),
    .read_line_i     (read_line_i),
    .read_error_i    (read_error_i)
  );

endmodule
