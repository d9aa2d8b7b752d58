// SPDX-License-Identifier: Apache-2.0
// Event counters and the copies that the host reads: one write latches all of them in one cycle.
// See docs/interface.md, "Counters".

module hmm_counters #(
  parameter int unsigned Counters = 16
) (
  input  logic                      clk_i,
  input  logic                      rst_ni,
  input  logic [Counters-1:0][7:0]  events_i,  // how many of each in this cycle
  input  logic                      latch_i,
  output logic [Counters-1:0][63:0] latched_o
);

  logic [Counters-1:0][63:0] count_q, count_d, latched_q, latched_d;

  always_comb begin
    for (int unsigned i = 0; i < Counters; i++) begin
      count_d[i] = count_q[i] + 64'(events_i[i]);
    end
    latched_d = latch_i ? count_q : latched_q;
  end

  assign latched_o = latched_q;

  always_ff @(posedge clk_i or negedge rst_ni) begin
    if (!rst_ni) begin
      count_q   <= '0;
      latched_q <= '0;
    end else begin
      count_q   <= count_d;
      latched_q <= latched_d;
    end
  end

endmodule
