// SPDX-License-Identifier: Apache-2.0
// What a walk ends in. A line of an array is kept for one cycle and decoded in it; a walk that
// ended before with a reason tells it when no line is here. Says what the caches may keep of it: of
// a walk that ends in a reason, nothing. See docs/theory_of_operation.md, "The walk".

module hmm_walk_end
  import hmm_structures_pkg::*;
  import hmm_pkg::*;
#(
  parameter int unsigned WalkBits = 4
) (
  input  logic                clk_i,
  input  logic                rst_ni,
  input  entry_format_t       format_i,
  // A line of an array comes
  input  logic                line_valid_i,
  input  logic [WalkBits-1:0] line_walk_i,
  input  line_t               line_i,
  input  logic                line_error_i,
  // It is here, in the cycle behind
  output logic                line_here_o,
  output logic [WalkBits-1:0] line_walk_o,
  // The walk that ends now: the line's, if one is here
  input  logic                line_used_i,  // and nothing dropped it
  input  va_t                 va_i,
  input  access_e             access_i,
  input  pointer_t            array_i,
  input  logic                page_only_i,  // trust the slot of the page alone
  input  reason_e             reason_i,     // of a walk without a line
  // What it ends in
  output reason_e             reason_o,
  output cached_t             cached_o,
  output logic                fill_o,       // well: its context may be kept
  output logic                fill_directories_o,
  output logic                fill_line_o,
  output logic                fill_block_o,
  output line_slots_t         fill_slots_o
);

  logic                line_here_q, line_here_d, line_error_q, line_error_d;
  logic [WalkBits-1:0] line_walk_q, line_walk_d;
  line_t               line_q, line_d;

  assign line_here_d  = line_valid_i;
  assign line_walk_d  = line_walk_i;
  assign line_error_d = line_error_i;
  assign line_d       = line_valid_i ? line_i : line_q;
  assign line_here_o  = line_here_q;
  assign line_walk_o  = line_walk_q;

  reason_e entry_reason;
  logic    may_keep_line, may_keep_block;

  hmm_line_decoder u_line_decoder (
    .format_i     (format_i),
    .line_i       (line_q),
    .va_i         (va_i),
    .array_i      (array_i),
    .page_only_i  (page_only_i),
    .reason_o     (entry_reason),
    .cached_o     (cached_o),
    .fill_line_o  (may_keep_line),
    .fill_block_o (may_keep_block),
    .slots_o      (fill_slots_o)
  );

  // The first row that applies:
  //   the walk                                | ends in
  //   has no line                             | its own reason
  //   could not read it                       | BUS_ERROR
  //   has a slot that grants nothing          | the slot's reason
  //   has a slot that does not grant this     | the permission that is missing
  //   else                                    | NONE
  always_comb begin
    if (!line_here_q)                      reason_o = reason_i;
    else if (line_error_q)                 reason_o = REASON_BUS_ERROR;
    else if (entry_reason != REASON_NONE)  reason_o = entry_reason;
    else reason_o = permission_reason(access_i, cached_o.write, cached_o.atomic);
  end

  assign fill_o             = line_used_i && (reason_o == REASON_NONE);
  assign fill_directories_o = fill_o && !page_only_i;
  assign fill_line_o        = fill_o && may_keep_line;
  assign fill_block_o       = fill_o && may_keep_block;

  always_ff @(posedge clk_i or negedge rst_ni) begin
    if (!rst_ni) begin
      line_here_q  <= 1'b0;
      line_error_q <= 1'b0;
      line_walk_q  <= '0;
      line_q       <= '0;
    end else begin
      line_here_q  <= line_here_d;
      line_error_q <= line_error_d;
      line_walk_q  <= line_walk_d;
      line_q       <= line_d;
    end
  end

  WalkLineUsedHere: assert property (@(posedge clk_i) disable iff (!rst_ni)
      line_used_i |-> line_here_q)
    else $error("a walk ends with a line that is not here");

endmodule
