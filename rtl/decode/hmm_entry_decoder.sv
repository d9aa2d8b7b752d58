// SPDX-License-Identifier: Apache-2.0
// Gives one entry of a pfns array its meaning under the entry format: a translation, or the reason
// why there is none. Does not judge the access: permission_reason() does. Purely combinational.
// See docs/interface.md, "Decoding an entry".

module hmm_entry_decoder
  import hmm_structures_pkg::*;
  import hmm_pkg::*;
(
  input  entry_format_t format_i,
  // The entry and where it was found
  input  logic [63:0]   entry_i,
  input  logic [63:0]   vpn_i,         // 4 KiB page number of the access
  input  logic [5:0]    page_shift_i,  // of one slot, at least 12
  input  logic [4:0]    max_order_i,
  input  order_t        span_order_i,  // of the directory entry that points to the array
  input  logic          page_only_i,   // translate this 4 KiB page alone
  // Its meaning
  output reason_e       reason_o,
  output translation_t  translation_o
);

  logic   is_none, is_error, is_special, is_valid;
  logic   device_private, write, atomic;
  order_t slot_order, promised_order, wide_order, order;

  logic [63:0] pfn;  // of the slot
  logic [63:0] page_pfn, block_first;
  logic [63:0] slot_last;
  logic [63:0] slot_mask, wide_mask, block_mask;
  logic [63:0] entry_order;
  logic [63:0] offset;
  logic        misaligned, beyond_bus, slot_inside, slot_straddles, wide_differs, wide_straddles;
  logic        unmarked;

  assign is_none    = format_i.none_is_value    ? (entry_i == format_i.none_value)
                                                : mask_matches(entry_i, format_i.none);
  assign is_error   = format_i.error_is_value   ? (entry_i == format_i.error_value)
                                                : mask_matches(entry_i, format_i.error);
  assign is_special = format_i.special_is_value ? (entry_i == format_i.special_value)
                                                : mask_matches(entry_i, format_i.special);
  assign is_valid   = mask_matches(entry_i, format_i.valid);

  assign write          = mask_matches(entry_i, format_i.write);
  assign atomic         = write && ((format_i.atomic == 64'd0) ||
                                    mask_matches(entry_i, format_i.atomic));
  assign device_private = mask_matches(entry_i, format_i.device_private);

  // The pages of the slot.
  assign pfn        = (entry_i >> format_i.pfn_shift) & low_ones(format_i.pfn_width);
  assign slot_order = page_shift_i - 6'd12;
  assign slot_mask  = low_ones({1'b0, slot_order});
  assign slot_last  = pfn | slot_mask;
  assign page_pfn   = pfn | (vpn_i & slot_mask);
  assign misaligned = (pfn & slot_mask) != 64'd0;

  // The device's own memory. A block lies inside the window, outside, or across its edge.
  logic [63:0] window_first, window_end;
  logic [63:0] wide_first, wide_last;
  logic        window_empty;

  assign window_first = {12'd0, format_i.window_base};
  assign window_end   = window_first + {28'd0, format_i.window_count};
  assign window_empty = (format_i.window_count == 36'd0);

  assign slot_inside    = (pfn >= window_first) && (slot_last < window_end);
  assign slot_straddles = !slot_inside && !window_empty &&
                          (slot_last >= window_first) && (pfn < window_end);
  assign unmarked       = slot_inside && (format_i.device_private != 64'd0) && !device_private;
  assign beyond_bus     = !slot_inside && (pfn[63:PfnBits] != '0);

  // The largest block that the entry and the driver vouch for; the slot alone where pfn and virtual
  // address, or the block's two sides of the window, do not agree.
  assign entry_order = (entry_i >> format_i.order_shift) &
                       low_ones({2'b0, format_i.order_width});
  assign promised_order = (entry_order < {59'd0, max_order_i}) ? entry_order[5:0]
                                                               : {1'b0, max_order_i};
  assign wide_order = (promised_order <= slot_order)   ? slot_order :
                      (promised_order >= span_order_i) ? span_order_i : promised_order;
  assign wide_mask      = low_ones({1'b0, wide_order});
  assign wide_differs   = ((pfn ^ vpn_i) & wide_mask & ~slot_mask) != 64'd0;
  assign wide_first     = pfn & ~wide_mask;
  assign wide_last      = pfn | wide_mask;
  assign wide_straddles = !((wide_first >= window_first) && (wide_last < window_end)) &&
                          !window_empty &&
                          (wide_last >= window_first) && (wide_first < window_end);
  assign order = page_only_i                    ? 6'd0 :
                 (wide_differs || wide_straddles) ? slot_order : wide_order;

  assign block_mask  = low_ones({1'b0, order});
  assign block_first = page_pfn & ~block_mask;
  assign offset      = block_first - (slot_inside ? {12'd0, format_i.window_base} : 64'd0);

  assign translation_o = '{
    base:   offset[PfnBits-1:0],
    order:  order,
    write:  write,
    atomic: atomic,
    memory: slot_inside ? MEMORY_DEVICE : MEMORY_SYSTEM
  };

  // First match wins:
  //   NONE                                             | NOT_PRESENT
  //   ERROR                                            | POISON
  //   SPECIAL                                          | SPECIAL
  //   no VALID                                         | NOT_VALID
  //   pfn misaligned, across the window's edge or beyond the bus,
  //   or in the window without DEVICE_PRIVATE          | MALFORMED
  //   DEVICE_PRIVATE outside the window                | NOT_VALID (a foreign device's page)
  //   else                                             | NONE: translated
  always_comb begin
    if (is_none)                                                     reason_o = REASON_NOT_PRESENT;
    else if (is_error)                                               reason_o = REASON_POISON;
    else if (is_special)                                             reason_o = REASON_SPECIAL;
    else if (!is_valid)                                              reason_o = REASON_NOT_VALID;
    else if (misaligned || slot_straddles || unmarked || beyond_bus) reason_o = REASON_MALFORMED;
    else if (device_private && !slot_inside)                         reason_o = REASON_NOT_VALID;
    else                                                             reason_o = REASON_NONE;
  end

  // A pfn beyond the bus is MALFORMED, and a window is never larger than the bus.
  logic unused_offset;
  assign unused_offset = ^offset[63:PfnBits];

endmodule
