// SPDX-License-Identifier: Apache-2.0
// What a walk learns from a context entry or a directory entry that it read: where it goes on, or
// the reason why it ends. Purely combinational. See docs/interface.md, "The walk".

module hmm_walk_step
  import hmm_structures_pkg::*;
  import hmm_pkg::*;
#(
  parameter int unsigned VaBits = 48
) (
  input  pointer_t   pointer_i,  // what was read
  input  logic [2:0] word_i,     // the word of the line that was wanted
  input  line_t      line_i,
  input  logic       error_i,
  output reason_e    reason_o,
  output pointer_t   next_o
);

  localparam int unsigned Levels = (VaBits - PageShift) / LevelBits - 1;

  context_entry_t   context_entry;
  directory_entry_t directory_entry;
  logic             context_malformed, directory_absent, directory_malformed;
  pointer_t         directory_next;

  assign context_entry   = context_entry_t'(line_i[{word_i[2:1], 7'd0} +: 128]);
  assign directory_entry = directory_entry_t'(line_i[{word_i, 6'd0} +: 64]);

  assign context_malformed = (context_entry.reserved_0 != '0) ||
                             (context_entry.reserved_1 != '0) ||
                             (context_entry.reserved_2 != '0) ||
                             (context_entry.root[39:PaBits-12] != '0);

  hmm_directory_decoder u_directory_decoder (
    .entry_i     (directory_entry),
    .level_i     (pointer_i.level),
    .absent_o    (directory_absent),
    .malformed_o (directory_malformed),
    .pointer_o   (directory_next)
  );

  //   read       error  what came         | the walk
  //   any          1     -                | ends: BUS_ERROR
  //   context      0    not valid         | ends: NO_CONTEXT
  //   context      0    malformed         | ends: MALFORMED
  //   context      0    good              | goes on at the root directory
  //   directory    0    malformed         | ends: MALFORMED
  //   directory    0    absent            | ends: NOT_PRESENT
  //   directory    0    good              | goes on where the entry points
  always_comb begin
    reason_o = REASON_NONE;
    next_o   = directory_next;
    if (pointer_i.kind == PointerContext) begin
      next_o = '{
        kind:       PointerDirectory,
        level:      3'(Levels),
        base:       {context_entry.root[PaBits-13:0], 12'd0},
        page_shift: '0,
        max_order:  '0
      };
      if (error_i)                     reason_o = REASON_BUS_ERROR;
      else if (!context_entry.valid)   reason_o = REASON_NO_CONTEXT;
      else if (context_malformed)      reason_o = REASON_MALFORMED;
    end else begin
      if (error_i)                     reason_o = REASON_BUS_ERROR;
      else if (directory_malformed)    reason_o = REASON_MALFORMED;
      else if (directory_absent)       reason_o = REASON_NOT_PRESENT;
    end
  end

endmodule
