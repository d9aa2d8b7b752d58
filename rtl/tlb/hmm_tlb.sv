// SPDX-License-Identifier: Apache-2.0
// The translation cache: fully associative, blocks of mixed orders, tagged with the PASID.
// A fill drops every entry that it overlaps, so at most one entry matches. Holds only valid
// translations.
// See docs/interface.md, "Invalidation and fence".

module hmm_tlb
  import hmm_structures_pkg::*;
  import hmm_pkg::*;
#(
  parameter int unsigned VaBits  = 48,
  parameter int unsigned Clients = 2,
  parameter int unsigned Entries = 16
) (
  input  logic          clk_i,
  input  logic          rst_ni,
  input  logic          flush_i,         // drop everything
  input  invalidation_t invalidation_i,
  // Lookup of each client, in the same cycle
  input  pasid_t       [Clients-1:0] lookup_pasid_i,
  input  va_t          [Clients-1:0] lookup_va_i,
  output logic         [Clients-1:0] lookup_hit_o,
  output translation_t [Clients-1:0] lookup_translation_o,
  // Fill
  input  logic          fill_i,
  input  pasid_t        fill_pasid_i,
  input  va_t           fill_va_i,
  input  translation_t  fill_translation_i
);

  localparam int unsigned VpnBits   = VaBits - PageShift;
  localparam int unsigned IndexBits = (Entries > 1) ? $clog2(Entries) : 1;

  typedef logic [VpnBits-1:0]   vpn_t;
  typedef logic [IndexBits-1:0] index_t;

  typedef struct packed {
    pasid_t       pasid;
    vpn_t         vpn;
    translation_t translation;
  } entry_t;

  logic   [Entries-1:0] valid_q, valid_d;
  entry_t [Entries-1:0] entries_q, entries_d;
  index_t               next_victim_q, next_victim_d;

  logic [Clients-1:0][Entries-1:0] hit;
  logic [Entries-1:0]              overlapped, invalidated;
  vpn_t                            fill_vpn;
  index_t                          victim;

  function automatic vpn_t order_mask(order_t order);
    return vpn_t'(low_ones({1'b0, order}));
  endfunction

  assign fill_vpn = fill_va_i[VaBits-1:PageShift];

  always_comb begin
    hit                  = '0;
    lookup_translation_o = '0;
    for (int unsigned c = 0; c < Clients; c++) begin
      for (int unsigned i = 0; i < Entries; i++) begin
        vpn_t differs;
        differs   = entries_q[i].vpn ^ lookup_va_i[c][VaBits-1:PageShift];
        hit[c][i] = valid_q[i] && (entries_q[i].pasid == lookup_pasid_i[c]) &&
                    ((differs & ~order_mask(entries_q[i].translation.order)) == '0);
        if (hit[c][i]) lookup_translation_o[c] |= entries_q[i].translation;
      end
      lookup_hit_o[c] = |hit[c];
    end
  end

  always_comb begin
    for (int unsigned i = 0; i < Entries; i++) begin
      vpn_t own_mask, fill_mask;
      va_t  first, last;
      own_mask  = order_mask(entries_q[i].translation.order);
      fill_mask = order_mask(fill_translation_i.order);
      first     = va_t'({entries_q[i].vpn & ~own_mask, 12'h000});
      last      = va_t'({entries_q[i].vpn | own_mask, 12'hfff});

      overlapped[i] = valid_q[i] && (entries_q[i].pasid == fill_pasid_i) &&
                      (((entries_q[i].vpn ^ fill_vpn) & ~(own_mask | fill_mask)) == '0);
      invalidated[i] = invalidation_i.valid &&
                       (invalidation_i.all_contexts ||
                        invalidation_i.pasid == entries_q[i].pasid) &&
                       invalidation_i.drop_range &&
                       (first <= invalidation_i.last) && (last >= invalidation_i.first);
    end
  end

  // The victim: an entry that the fill replaces anyway, else an empty one, else the next in turn.
  always_comb begin
    victim = next_victim_q;
    for (int unsigned i = 0; i < Entries; i++) begin
      if (!valid_q[i]) victim = index_t'(i);
    end
    for (int unsigned i = 0; i < Entries; i++) begin
      if (overlapped[i]) victim = index_t'(i);
    end
  end

  always_comb begin
    valid_d       = valid_q & ~invalidated;
    entries_d     = entries_q;
    next_victim_d = next_victim_q;
    if (fill_i) begin
      valid_d           = valid_d & ~overlapped;
      valid_d[victim]   = 1'b1;
      entries_d[victim] = '{
        pasid:       fill_pasid_i,
        vpn:         fill_vpn,
        translation: fill_translation_i
      };
      if (victim == next_victim_q) begin
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

  // At most one entry translates an address.
  for (genvar g = 0; g < Clients; g++) begin : gen_one_hit_assert
    TlbOneHit: assert property (@(posedge clk_i) disable iff (!rst_ni) $onehot0(hit[g]))
      else $error("two entries of the translation cache match one address");
  end
  TlbNoFillInFlush: assert property (@(posedge clk_i) disable iff (!rst_ni) !(fill_i && flush_i))
    else $error("a translation is filled while the cache is flushed");

  if (Entries < 1) begin : gen_entries_check
    $error("TlbEntries must be at least 1");
  end

  logic unused_inputs;
  assign unused_inputs = ^{lookup_va_i, fill_va_i, invalidation_i.drop_context};

endmodule
