// SPDX-License-Identifier: Apache-2.0
// Judges an entry format before it is taken: every reason to refuse it is one bit.
// Does not hold the format. See docs/interface.md, "Entry formats".

module hmm_format_check
  import hmm_structures_pkg::*;
  import hmm_pkg::*;
(
  input  entry_format_t format_i,
  output logic [5:0]    refused_o
);

  function automatic logic contains(logic [63:0] outer, logic [63:0] inner);
    return (inner != 64'd0) && ((outer & inner) == inner);
  endfunction

  logic [63:0] pfn_field;
  logic [63:0] order_field;
  logic [63:0] flags;

  assign pfn_field   = low_ones(format_i.pfn_width) << format_i.pfn_shift;
  assign order_field = low_ones({2'b0, format_i.order_width}) << format_i.order_shift;
  assign flags       = format_i.valid | format_i.write | format_i.atomic | format_i.device_private;

  always_comb begin
    refused_o = '0;
    if (format_i.valid == 64'd0) begin
      refused_o |= REFUSAL_VALID_ZERO;
    end
    if (contains(format_i.valid, format_i.write) || contains(format_i.valid, format_i.atomic) ||
        contains(format_i.valid, format_i.device_private)) begin
      refused_o |= REFUSAL_VALID_CONTAINS;
    end
    if ((pfn_field & (flags | order_field)) != 64'd0) begin
      refused_o |= REFUSAL_PFN_OVERLAP;
    end
    if (format_i.pfn_shift > 6'd12) begin
      refused_o |= REFUSAL_PFN_SHIFT;
    end
    if (({2'b0, format_i.pfn_shift} + {1'b0, format_i.pfn_width} > 8'd64) ||
        ({2'b0, format_i.order_shift} + {3'b0, format_i.order_width} > 8'd64)) begin
      refused_o |= REFUSAL_FIELD_RANGE;
    end
    if (format_i.none_is_value &&
        ((format_i.error_is_value && format_i.none_value == format_i.error_value) ||
         (format_i.special_is_value && format_i.none_value == format_i.special_value))) begin
      refused_o |= REFUSAL_NONE_ALIAS;
    end
  end

  // How ERROR, NONE and SPECIAL are matched as flags, and where the window lies, cannot contradict.
  logic unused_format;
  assign unused_format = ^{format_i.error, format_i.none, format_i.special, format_i.window_base,
                           format_i.window_count};

endmodule
