// SPDX-License-Identifier: Apache-2.0
// Where a walk begins: the nearest of what the caches of contexts and directories hold for it, or
// the reason why it need not begin. Holds those caches.
// See docs/theory_of_operation.md, "The walk".

module hmm_walk_start
  import hmm_structures_pkg::*;
  import hmm_pkg::*;
#(
  parameter int unsigned VaBits           = 48,
  parameter int unsigned DirectoryEntries = 64,  // directory entries that point to arrays
  parameter int unsigned TableEntries     = 8,   // directories
  parameter int unsigned ContextEntries   = 4
) (
  input  logic          clk_i,
  input  logic          rst_ni,
  input  logic          flush_i,
  input  invalidation_t invalidation_i,
  input  logic [51:0]   context_base_i,
  input  logic [20:0]   context_count_i,
  // The walk that begins
  input  logic          lookup_i,
  input  pasid_t        pasid_i,
  input  va_t           va_i,
  output reason_e       reason_o,   // NONE: it reads at the pointer
  output pointer_t      pointer_o,
  // What a walk found that ended well
  input  pasid_t        fill_pasid_i,
  input  va_t           fill_va_i,
  input  logic          fill_array_i,
  input  pointer_t      fill_array_pointer_i,
  input  logic          fill_directory_i,  // and the directory in which the array's entry stands
  input  pa_t           fill_directory_base_i,
  input  logic          fill_context_i,
  input  pa_t           fill_root_i
);

  localparam int unsigned Levels = (VaBits - PageShift) / LevelBits - 1;

  logic     array_hit, directory_hit, context_hit;
  pointer_t array_pointer, directory_pointer;
  pa_t      context_root;
  logic     array_dropped, directory_dropped;
  pointer_t fill_directory_pointer;

  assign fill_directory_pointer = '{
    kind:       PointerDirectory,
    level:      fill_array_pointer_i.level,
    base:       fill_directory_base_i,
    page_shift: '0,
    max_order:  '0
  };

  hmm_block_cache #(
    .VaBits          (VaBits),
    .Entries         (DirectoryEntries),
    .PayloadBits     ($bits(pointer_t)),
    .DropWithContext (1'b1)
  ) u_arrays (
    .clk_i,
    .rst_ni,
    .flush_i        (flush_i),
    .invalidation_i (invalidation_i),
    .lookup_i       (lookup_i),
    .lookup_pasid_i (pasid_i),
    .lookup_va_i    (va_i),
    .hit_o          (array_hit),
    .dropped_o      (array_dropped),
    .payload_o      (array_pointer),
    .fill_i         (fill_array_i),
    .fill_pasid_i   (fill_pasid_i),
    .fill_va_i      (fill_va_i),
    .fill_reach_i   (span_order(fill_array_pointer_i.level)),
    .fill_payload_i (fill_array_pointer_i)
  );

  hmm_block_cache #(
    .VaBits          (VaBits),
    .Entries         (TableEntries),
    .PayloadBits     ($bits(pointer_t)),
    .DropWithContext (1'b1)
  ) u_directories (
    .clk_i,
    .rst_ni,
    .flush_i        (flush_i),
    .invalidation_i (invalidation_i),
    .lookup_i       (lookup_i),
    .lookup_pasid_i (pasid_i),
    .lookup_va_i    (va_i),
    .hit_o          (directory_hit),
    .dropped_o      (directory_dropped),
    .payload_o      (directory_pointer),
    .fill_i         (fill_directory_i),
    .fill_pasid_i   (fill_pasid_i),
    .fill_va_i      (fill_va_i),
    .fill_reach_i   (span_order(fill_directory_pointer.level + 3'd1)),
    .fill_payload_i (fill_directory_pointer)
  );

  hmm_context_cache #(
    .Entries (ContextEntries)
  ) u_contexts (
    .clk_i,
    .rst_ni,
    .flush_i        (flush_i),
    .invalidation_i (invalidation_i),
    .lookup_pasid_i (pasid_i),
    .lookup_hit_o   (context_hit),
    .lookup_root_o  (context_root),
    .fill_i         (fill_context_i),
    .fill_pasid_i   (fill_pasid_i),
    .fill_root_i    (fill_root_i)
  );

  logic [52:0] context_address;

  assign context_address = {1'b0, context_base_i} + 53'({pasid_i, 4'd0});

  // The first row that applies:
  //   the request's                               | the walk
  //   address is beyond the width                 | ends: OUT_OF_RANGE
  //   PASID is beyond the table                   | ends: NO_CONTEXT
  //   directory entry of the array is cached      | reads the slot
  //   directory above it is cached                | reads that directory entry
  //   context is cached                           | reads the root directory
  //   context entry is beyond the bus             | ends: MALFORMED
  //   else                                        | reads the context entry
  always_comb begin
    reason_o  = REASON_NONE;
    pointer_o = '{
      kind:       PointerContext,
      level:      '0,
      base:       context_address[PaBits-1:0],
      page_shift: '0,
      max_order:  '0
    };
    if (va_i[63:VaBits] != '0) begin
      reason_o = REASON_OUT_OF_RANGE;
    end else if ({1'b0, pasid_i} >= context_count_i) begin
      reason_o = REASON_NO_CONTEXT;
    end else if (array_hit && !array_dropped) begin
      pointer_o = array_pointer;
    end else if (directory_hit && !directory_dropped) begin
      pointer_o = directory_pointer;
    end else if (context_hit) begin
      pointer_o.kind  = PointerDirectory;
      pointer_o.level = 3'(Levels);
      pointer_o.base  = context_root;
    end else if (context_address[52:PaBits] != '0) begin
      reason_o = REASON_MALFORMED;
    end
  end

endmodule
