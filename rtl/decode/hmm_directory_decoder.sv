// SPDX-License-Identifier: Apache-2.0
// Gives one directory entry its meaning: absent, malformed, or where the walk goes on: the next
// directory or a pfns array. Whether the slot of an array is beyond the bus is judged where its
// address is made. Purely combinational. See docs/interface.md, "Directories".

module hmm_directory_decoder
  import hmm_structures_pkg::*;
  import hmm_pkg::*;
(
  input  directory_entry_t entry_i,
  input  logic [2:0]       level_i,      // 1 = the lowest directory
  output logic             absent_o,
  output logic             malformed_o,
  output pointer_t         pointer_o
);

  logic [5:0]  span_log2;  // of this entry
  logic [51:0] base;
  logic        common_bad, directory_bad, array_bad;

  assign span_log2 = span_order(level_i) + 6'd12;
  assign base      = {entry_i.address, 6'd0};

  assign common_bad    = (entry_i.reserved_0 != '0) || (entry_i.reserved_1 != '0) ||
                         (base[51:PaBits] != '0);
  assign directory_bad = (base[11:0] != '0) || (entry_i.page_shift != '0) ||
                         (entry_i.max_order != '0) || (level_i == 3'd1);
  assign array_bad     = (entry_i.page_shift < 6'd12) || (entry_i.page_shift > span_log2);

  //   type        | absent  malformed                                     | goes on at
  //   ABSENT      |   1       0      (all other bits are ignored)         | -
  //   DIRECTORY   |   0     reserved bits, alignment, lowest level, bus   | the next level
  //   ARRAY       |   0     reserved bits, page shift, bus                | the array
  //   other       |   0       1                                           | -
  always_comb begin
    absent_o    = 1'b0;
    malformed_o = 1'b0;
    pointer_o   = '{
      kind:       PointerDirectory,
      level:      level_i - 3'd1,
      base:       base[PaBits-1:0],
      page_shift: '0,
      max_order:  '0
    };
    unique case (entry_i.entry_type)
      DIRECTORY_TYPE_ABSENT: absent_o = 1'b1;
      DIRECTORY_TYPE_DIRECTORY: malformed_o = common_bad || directory_bad;
      DIRECTORY_TYPE_ARRAY: begin
        malformed_o          = common_bad || array_bad;
        pointer_o.kind       = PointerArray;
        pointer_o.level      = level_i;
        pointer_o.page_shift = entry_i.page_shift;
        pointer_o.max_order  = entry_i.max_order;
      end
      default: malformed_o = 1'b1;
    endcase
  end

endmodule
