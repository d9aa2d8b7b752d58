// SPDX-License-Identifier: Apache-2.0
// Keeps the read and the write of an atomic add together: while one goes on in a line, no other
// descriptor writes into that line. Who comes to a line first goes first, so nobody waits for more
// than the accesses that were there before it, and those wait for the bus only.
// See docs/engine.md, "What is ordered".

module hmm_engine_order
  import hmm_pkg::*;
#(
  parameter int unsigned Lanes = 4
) (
  input  logic               clk_i,
  input  logic               rst_ni,
  // A lane at the bus: with a write, or with an atomic add from before its read to behind its write
  input  logic [Lanes-1:0]   at_line_i,
  input  logic [Lanes-1:0]   atomic_i,
  input  pa_t  [Lanes-1:0]   line_i,
  input  logic [Lanes-1:0]   device_i,
  // It must not show its access to the bus yet; once it may, it may until it leaves
  output logic [Lanes-1:0]   wait_o
);

  // ahead[i][j]: lane j was at the line of lane i when lane i came, and is there still.
  logic [Lanes-1:0]            came_q;
  logic [Lanes-1:0][Lanes-1:0] ahead_q, ahead_d, ahead;

  always_comb begin
    for (int unsigned i = 0; i < Lanes; i++) begin
      for (int unsigned j = 0; j < Lanes; j++) begin
        ahead[i][j] = ahead_q[i][j];
        // Of two that come in one cycle, the lower one is first.
        if (!came_q[i]) ahead[i][j] = (came_q[j] || (j < i)) && (j != i);
        if (!at_line_i[i] || !at_line_i[j] || !(atomic_i[i] || atomic_i[j]) ||
            (device_i[i] != device_i[j]) ||
            (line_i[i][PaBits-1:6] != line_i[j][PaBits-1:6])) ahead[i][j] = 1'b0;
      end
      wait_o[i] = (ahead[i] != '0);
    end
    ahead_d = ahead;
  end

  always_ff @(posedge clk_i or negedge rst_ni) begin
    if (!rst_ni) begin
      came_q   <= '0;
      ahead_q <= '0;
    end else begin
      came_q   <= at_line_i;
      ahead_q <= ahead_d;
    end
  end

  logic unused_offset;
  always_comb begin
    unused_offset = 1'b0;
    for (int unsigned i = 0; i < Lanes; i++) unused_offset ^= ^line_i[i][5:0];
  end

  // The first that came waits for nobody.
  OrderGoesOn: assert property (@(posedge clk_i) disable iff (!rst_ni)
      (at_line_i != '0) |-> ((at_line_i & ~wait_o) != '0))
    else $error("every descriptor at the bus waits for another one");
  for (genvar i = 0; i < Lanes; i++) begin : gen_lane
    OrderKept: assert property (@(posedge clk_i) disable iff (!rst_ni)
        (at_line_i[i] && !wait_o[i]) |=> (!at_line_i[i] || !wait_o[i]))
      else $error("a descriptor that was let to a line is held back again");
  end

endmodule
