// SPDX-License-Identifier: Apache-2.0
// The interrupt lines. The level is high while an enabled cause is set. The edge output pulses when
// the level rises, and again after a clear that leaves an enabled cause set, so that no event is
// lost on it. The causes themselves are registers. See docs/interface.md, "Interrupts".

module hmm_interrupt #(
  parameter int unsigned Causes = 14
) (
  input  logic              clk_i,
  input  logic              rst_ni,
  input  logic [Causes-1:0] cause_i,
  input  logic [Causes-1:0] enable_i,
  input  logic              clear_i,  // the host writes the causes in this cycle
  output logic              irq_o,
  output logic              irq_edge_o
);

  logic level, level_q, cleared_q;

  assign level      = (cause_i & enable_i) != '0;
  assign irq_o      = level;
  assign irq_edge_o = level && (!level_q || cleared_q);

  always_ff @(posedge clk_i or negedge rst_ni) begin
    if (!rst_ni) begin
      level_q   <= 1'b0;
      cleared_q <= 1'b0;
    end else begin
      level_q   <= level;
      cleared_q <= clear_i;
    end
  end

endmodule
