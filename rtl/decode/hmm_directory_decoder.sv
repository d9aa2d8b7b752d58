// SPDX-License-Identifier: Apache-2.0
// Gives one directory entry its meaning: absent, the next directory, a pfns array, or malformed;
// and tells the address of the word that the walk reads next. Purely combinational. See
// docs/interface.md, "Directories".

module hmm_directory_decoder
  import hmm_structures_pkg::*;
  import hmm_pkg::*;
(
  input  directory_entry_t entry_i,
  input  logic [2:0]       level_i,        // 1 = the lowest directory
  input  va_t              va_i,
  output logic             absent_o,
  output logic             array_o,        // else the next directory
  output logic             malformed_o,
  output order_t           span_order_o,   // of this entry, in 4 KiB pages
  output pa_t              next_address_o  // of the next directory entry or of the slot
);

  logic [5:0]  span_log2;
  logic [51:0] base;
  logic [63:0] array_index, directory_index;
  logic [63:0] array_address, directory_address;
  logic        common_bad, directory_bad, array_bad;

  // span of an entry: 2 MiB at level 1, then 512 times more a level
  assign span_order_o = order_t'(level_i * LevelBits);
  assign span_log2    = span_order_o + 6'd12;
  assign base         = {entry_i.address, 6'd0};

  assign array_index     = (va_i & low_ones({1'b0, span_log2})) >> entry_i.page_shift;
  assign directory_index = (va_i & low_ones({1'b0, span_log2})) >> (span_log2 - 6'd9);

  assign array_address     = {12'd0, base} + (array_index << 3);
  assign directory_address = {12'd0, base} + (directory_index << 3);

  assign common_bad    = (entry_i.reserved_0 != '0) || (entry_i.reserved_1 != '0) ||
                         (base[51:PaBits] != '0);
  assign directory_bad = (base[11:0] != '0) || (entry_i.page_shift != '0) ||
                         (entry_i.max_order != '0) || (level_i == 3'd1);
  assign array_bad     = (entry_i.page_shift < 6'd12) || (entry_i.page_shift > span_log2) ||
                         (array_address[63:PaBits] != '0);

  //   type        | absent  array  malformed
  //   ABSENT      |   1       0      0          (all other bits are ignored)
  //   DIRECTORY   |   0       0      reserved bits, alignment, the lowest level, beyond the bus
  //   ARRAY       |   0       1      reserved bits, page shift, beyond the bus
  //   other       |   0       0      1
  always_comb begin
    absent_o       = 1'b0;
    array_o        = 1'b0;
    malformed_o    = 1'b0;
    next_address_o = directory_address[PaBits-1:0];
    unique case (entry_i.entry_type)
      DIRECTORY_TYPE_ABSENT: absent_o = 1'b1;
      DIRECTORY_TYPE_DIRECTORY: malformed_o = common_bad || directory_bad;
      DIRECTORY_TYPE_ARRAY: begin
        array_o        = 1'b1;
        malformed_o    = common_bad || array_bad;
        next_address_o = array_address[PaBits-1:0];
      end
      default: malformed_o = 1'b1;
    endcase
  end

  // A directory is 4 KiB and aligned to it, so its entries cannot reach past the bus when its base
  // does not.
  logic unused_directory_address;
  assign unused_directory_address = ^directory_address[63:PaBits];

endmodule
