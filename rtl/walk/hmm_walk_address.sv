// SPDX-License-Identifier: Apache-2.0
// The bus address of the word that a walk reads next. Purely combinational.
// See docs/interface.md, "Directories".

module hmm_walk_address
  import hmm_pkg::*;
(
  input  pointer_t pointer_i,
  input  va_t      va_i,
  output pa_t      address_o,  // of the word
  output logic     beyond_o    // it is beyond the bus
);

  logic [5:0]    span_log2;
  logic [63:0]   index;
  logic [PaBits:0] address;

  assign span_log2 = span_order(pointer_i.level) + 6'd12;

  //   reads a    | at
  //   context    | the entry
  //   directory  | the entry of the address, by the 9 bits above the entry's span
  //   array      | the slot of the address in the span of the array
  always_comb begin
    unique case (pointer_i.kind)
      PointerContext:   index = '0;
      PointerDirectory: index = (va_i >> span_log2) & 64'h1ff;
      PointerArray:     index = (va_i & low_ones({1'b0, span_log2})) >> pointer_i.page_shift;
      default:          index = '0;
    endcase
  end

  assign address   = {1'b0, pointer_i.base} + {index[PaBits-3:0], 3'd0};
  assign address_o = address[PaBits-1:0];
  assign beyond_o  = (index[63:PaBits-3] != '0) || address[PaBits];

endmodule
