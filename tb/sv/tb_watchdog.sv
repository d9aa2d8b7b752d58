// SPDX-License-Identifier: Apache-2.0
// Forward progress: while something of the case is open, a response, a release or an action's end
// must come every so many cycles. Cycles in which a pause, hold or delay of the case itself runs do
// not count.

module tb_watchdog
  import tb_pkg::*;
  import tb_dpi_pkg::*;
(
  input logic clk_i,
  input logic rst_ni,
  input logic progress_i,
  input logic waits_by_plan_i
);

  logic [63:0] limit_q, quiet_q;  // limit 0: off

  always_ff @(posedge clk_i) begin : p_settings
    if (!rst_ni) limit_q <= tb_load_watchdog_cycles();
  end

  always_ff @(posedge clk_i or negedge rst_ni) begin : p_quiet
    if (!rst_ni) begin
      quiet_q <= '0;
    end else if (progress_i) begin
      quiet_q <= '0;
    end else if (!waits_by_plan_i) begin
      quiet_q <= quiet_q + 64'd1;
      if ((limit_q != '0) && (quiet_q + 64'd1 >= limit_q)) begin
        quiet_q <= '0;
        if (tb_case_is_open()) tb_stalled();
      end
    end
  end

endmodule
