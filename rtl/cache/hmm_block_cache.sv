// SPDX-License-Identifier: Apache-2.0
// A fully associative cache of aligned blocks of pages, of mixed orders, tagged with the PASID. A
// fill drops every entry that it overlaps, so at most one entry matches. What is kept of a block is
// the user's. See docs/interface.md, "Invalidation and fence".

module hmm_block_cache
  import hmm_pkg::*;
#(
  parameter int unsigned VaBits          = 48,
  parameter int unsigned Entries         = 16,
  parameter int unsigned PayloadBits     = 8,
  parameter bit          DropWithContext = 1'b0  // drop_context alone drops the context's entries
) (
  input  logic                   clk_i,
  input  logic                   rst_ni,
  input  logic                   flush_i,  // drop everything
  input  invalidation_t          invalidation_i,
  // Lookup, in the same cycle
  input  logic                   lookup_i,
  input  pasid_t                 lookup_pasid_i,
  input  va_t                    lookup_va_i,
  output logic                   hit_o,
  output logic                   dropped_o,  // what is hit is being invalidated in this cycle
  output logic [PayloadBits-1:0] payload_o,
  // Fill
  input  logic                   fill_i,
  input  pasid_t                 fill_pasid_i,
  input  va_t                    fill_va_i,
  input  order_t                 fill_reach_i,
  input  logic [PayloadBits-1:0] fill_payload_i
);

  localparam int unsigned VpnBits   = VaBits - PageShift;
  localparam int unsigned IndexBits = (Entries > 1) ? $clog2(Entries) : 1;

  typedef logic [VpnBits-1:0]     vpn_t;
  typedef logic [IndexBits-1:0]   index_t;
  typedef logic [PayloadBits-1:0] payload_t;

  typedef struct packed {
    pasid_t   pasid;
    vpn_t     vpn;
    vpn_t     offset_mask;  // bits of the page number that do not tell blocks apart
    payload_t payload;
  } entry_t;

  logic   [Entries-1:0] valid_q, valid_d;
  entry_t               entries_q [Entries];  // good where valid
  entry_t               filled;
  index_t               next_victim_q, next_victim_d;

  logic [Entries-1:0] hit, overlapped, invalidated;
  vpn_t               lookup_vpn, fill_vpn, fill_offset_mask;
  index_t             victim;

  assign lookup_vpn  = lookup_va_i[VaBits-1:PageShift];
  assign fill_vpn    = fill_va_i[VaBits-1:PageShift];
  assign fill_offset_mask = vpn_t'(low_ones({1'b0, fill_reach_i}));

  always_comb begin
    hit       = '0;
    payload_o = '0;
    if (lookup_i) begin
      for (int unsigned i = 0; i < Entries; i++) begin
        hit[i] = valid_q[i] && (entries_q[i].pasid == lookup_pasid_i) &&
                 (((entries_q[i].vpn ^ lookup_vpn) & ~entries_q[i].offset_mask) == '0);
        if (hit[i]) payload_o |= entries_q[i].payload;
      end
    end
    hit_o     = (hit != '0) && (lookup_va_i[63:VaBits] == '0);
    dropped_o = ((hit & invalidated) != '0);
  end

  always_comb begin
    invalidated = '0;
    if (invalidation_i.valid) begin
      for (int unsigned i = 0; i < Entries; i++) begin
        invalidated[i] =
            invalidates(invalidation_i, entries_q[i].pasid,
                        va_t'({entries_q[i].vpn & ~entries_q[i].offset_mask, 12'h000}),
                        va_t'({entries_q[i].vpn | entries_q[i].offset_mask, 12'hfff})) ||
            (DropWithContext && invalidation_i.drop_context &&
             (invalidation_i.all_contexts || (invalidation_i.pasid == entries_q[i].pasid)));
      end
    end
  end

  // The victim: an entry that the fill replaces anyway, else an empty one, else the next in turn.
  always_comb begin
    overlapped = '0;
    victim     = next_victim_q;
    if (fill_i) begin
      for (int unsigned i = 0; i < Entries; i++) begin
        overlapped[i] = valid_q[i] && (entries_q[i].pasid == fill_pasid_i) &&
                        (((entries_q[i].vpn ^ fill_vpn) &
                          ~(entries_q[i].offset_mask | fill_offset_mask)) == '0);
      end
      for (int unsigned i = 0; i < Entries; i++) begin
        if (!valid_q[i]) victim = index_t'(i);
      end
      for (int unsigned i = 0; i < Entries; i++) begin
        if (overlapped[i]) victim = index_t'(i);
      end
    end
  end

  always_comb begin
    valid_d       = valid_q & ~invalidated;
    next_victim_d = next_victim_q;
    if (fill_i) begin
      valid_d         = valid_d & ~overlapped;
      valid_d[victim] = 1'b1;
      if (victim == next_victim_q) begin
        next_victim_d = (next_victim_q == index_t'(Entries - 1)) ? '0 : next_victim_q + 1'b1;
      end
    end
    if (flush_i) valid_d = '0;
  end

  assign filled = '{
    pasid:       fill_pasid_i,
    vpn:         fill_vpn,
    offset_mask: fill_offset_mask,
    payload:     fill_payload_i
  };

  always_ff @(posedge clk_i) begin
    if (fill_i) entries_q[victim] <= filled;
  end

  always_ff @(posedge clk_i or negedge rst_ni) begin
    if (!rst_ni) begin
      valid_q       <= '0;
      next_victim_q <= '0;
    end else begin
      valid_q       <= valid_d;
      next_victim_q <= next_victim_d;
    end
  end

  BlockOneHit: assert property (@(posedge clk_i) disable iff (!rst_ni) $onehot0(hit))
    else $error("two entries of a cache match one address");
  BlockNoFillInFlush: assert property (@(posedge clk_i) disable iff (!rst_ni)
      !(fill_i && flush_i))
    else $error("a cache is filled while it is flushed");

  if (Entries < 1) begin : gen_entries_check
    $error("a cache needs at least one entry");
  end

  logic unused_inputs;
  assign unused_inputs = ^{lookup_va_i, fill_va_i};

endmodule
