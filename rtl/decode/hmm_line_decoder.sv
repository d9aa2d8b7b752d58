// SPDX-License-Identifier: Apache-2.0
// Gives a line of a pfns array its meaning: what the walk's own slot says, and, for slots of 4 KiB,
// what all eight say that may be kept with it. Purely combinational.
// See docs/interface.md, "Decoding an entry".

module hmm_line_decoder
  import hmm_structures_pkg::*;
  import hmm_pkg::*;
(
  input  entry_format_t format_i,
  input  line_t         line_i,
  input  va_t           va_i,
  input  pointer_t      array_i,
  input  logic          page_only_i,  // the neighbours may have changed: trust this page alone
  output reason_e       reason_o,
  output cached_t       cached_o,
  output logic          fill_line_o,   // the line may be kept
  output logic          fill_block_o,  // the block may be kept
  output line_slots_t   slots_o
);

  localparam logic [1:0] SmallOrders = 2'd3;  // orders below it are kept in lines

  logic [63:0]  vpn;
  logic [2:0]   index;
  translation_t own;
  order_t       span;
  logic         small_slots, own_small;

  assign vpn         = {12'd0, va_i[63:12]};
  assign span        = span_order(array_i.level);
  assign index       = 3'((va_i & low_ones({1'b0, span + 6'd12})) >> array_i.page_shift);
  assign small_slots = (array_i.page_shift == 6'd12);

  hmm_entry_decoder u_own (
    .format_i      (format_i),
    .entry_i       (line_i[{index, 6'd0} +: 64]),
    .vpn_i         (vpn),
    .page_shift_i  (array_i.page_shift),
    .max_order_i   (array_i.max_order),
    .span_order_i  (span),
    .page_only_i   (page_only_i),
    .reason_o      (reason_o),
    .translation_o (own)
  );

  for (genvar i = 0; i < 8; i++) begin : gen_slot
    reason_e      reason;
    translation_t translation;

    hmm_entry_decoder u_slot (
      .format_i      (format_i),
      .entry_i       (line_i[64*i +: 64]),
      .vpn_i         ({vpn[63:3], 3'(i)}),
      .page_shift_i  (6'd12),
      .max_order_i   (array_i.max_order),
      .span_order_i  (span),
      .page_only_i   (1'b0),
      .reason_o      (reason),
      .translation_o (translation)
    );

    assign slots_o[i] = '{
      valid:  (reason == REASON_NONE) && (translation.order < order_t'(SmallOrders)),
      pfn:    translation.base + (pfn_t'(i) & pfn_t'(low_ones({1'b0, translation.order}))),
      order:  translation.order[1:0],
      write:  translation.write,
      atomic: translation.atomic,
      memory: translation.memory
    };
  end

  logic    neighbours_valid;
  cached_t neighbours, block;

  hmm_coalesce u_coalesce (
    .slots_i  (slots_o),
    .index_i  (va_i[PageShift +: LineOrder]),
    .valid_o  (neighbours_valid),
    .cached_o (neighbours)
  );

  assign block = '{
    base:   own.base,
    reach:  own.order,
    order:  own.order,
    write:  own.write,
    atomic: own.atomic,
    memory: own.memory
  };

  assign own_small    = small_slots && neighbours_valid;
  assign fill_line_o  = (reason_o == REASON_NONE) && !page_only_i && own_small;
  assign fill_block_o = (reason_o == REASON_NONE) && !page_only_i && !own_small;
  assign cached_o     = fill_line_o ? neighbours : block;

endmodule
