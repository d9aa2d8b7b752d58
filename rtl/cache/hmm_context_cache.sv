// SPDX-License-Identifier: Apache-2.0
// Cached context entries: PASID to root directory. Holds only bound, well-formed contexts.
// See docs/interface.md, "Contexts".

module hmm_context_cache
  import hmm_structures_pkg::*;
  import hmm_pkg::*;
#(
  parameter int unsigned Entries = 4
) (
  input  logic          clk_i,
  input  logic          rst_ni,
  input  logic          flush_i,
  input  invalidation_t invalidation_i,
  // Lookup, in the same cycle
  input  pasid_t        lookup_pasid_i,
  output logic          lookup_hit_o,
  output pa_t           lookup_root_o,
  // Fill
  input  logic          fill_i,
  input  pasid_t        fill_pasid_i,
  input  pa_t           fill_root_i
);

  localparam int unsigned IndexBits = (Entries > 1) ? $clog2(Entries) : 1;

  typedef logic [IndexBits-1:0] index_t;

  typedef struct packed {
    pasid_t pasid;
    pa_t    root;
  } entry_t;

  logic   [Entries-1:0] valid_q, valid_d;
  entry_t [Entries-1:0] entries_q, entries_d;
  index_t               next_victim_q, next_victim_d;

  logic [Entries-1:0] hit, invalidated, known;
  index_t             victim;

  always_comb begin
    lookup_root_o = '0;
    for (int unsigned i = 0; i < Entries; i++) begin
      hit[i] = valid_q[i] && (entries_q[i].pasid == lookup_pasid_i);
      invalidated[i] = invalidation_i.valid && invalidation_i.drop_context &&
                       (invalidation_i.all_contexts ||
                        invalidation_i.pasid == entries_q[i].pasid);
      if (hit[i]) lookup_root_o |= entries_q[i].root;
    end
  end

  assign lookup_hit_o = |hit;

  // Several walks may bring the same context: it stays where it is.
  always_comb begin
    victim = next_victim_q;
    for (int unsigned i = 0; i < Entries; i++) begin
      known[i] = valid_q[i] && (entries_q[i].pasid == fill_pasid_i);
      if (known[i]) victim = index_t'(i);
    end
  end

  always_comb begin
    valid_d       = valid_q & ~invalidated;
    entries_d     = entries_q;
    next_victim_d = next_victim_q;
    if (fill_i) begin
      valid_d[victim]   = 1'b1;
      entries_d[victim] = '{pasid: fill_pasid_i, root: fill_root_i};
      if (known == '0) begin
        next_victim_d = (next_victim_q == index_t'(Entries - 1)) ? '0 : next_victim_q + 1'b1;
      end
    end
    if (flush_i) valid_d = '0;
  end

  always_ff @(posedge clk_i or negedge rst_ni) begin
    if (!rst_ni) begin
      valid_q       <= '0;
      entries_q     <= '0;
      next_victim_q <= '0;
    end else begin
      valid_q       <= valid_d;
      entries_q     <= entries_d;
      next_victim_q <= next_victim_d;
    end
  end

  ContextOneHit: assert property (@(posedge clk_i) disable iff (!rst_ni) $onehot0(hit))
    else $error("two entries of the context cache hold one PASID");

  if (Entries < 1) begin : gen_entries_check
    $error("ContextEntries must be at least 1");
  end

  logic unused_range;
  assign unused_range = ^{invalidation_i.drop_range, invalidation_i.first, invalidation_i.last};

endmodule
