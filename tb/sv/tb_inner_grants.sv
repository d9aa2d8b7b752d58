// SPDX-License-Identifier: Apache-2.0
// Tells the memory which grants a client inside the device holds: its data may touch the bus only
// under one of them.

module tb_inner_grants
  import tb_pkg::*;
  import tb_dpi_pkg::*;
(
  input logic   clk_i,
  input logic   rst_ni,
  input logic   reset_i,  // a soft reset of the device; what runs goes on until its last cycle
  input probe_t probe_i
);

  access_e access_q [Ids];  // by id: what the request that was taken last is for
  logic    reset_q;

  always_ff @(posedge clk_i) begin : p_grants
    reset_q <= rst_ni && reset_i;
    if (rst_ni) begin
      if (reset_q && !reset_i) tb_inner_reset();
      if (probe_i.inner_release) tb_inner_release(8'(probe_i.inner_released));
      if (probe_i.inner_response && !probe_i.inner_answer.aborted &&
          access_q[probe_i.inner_answer.id] != ACCESS_PREFETCH) begin
        tb_inner_grant(8'(probe_i.inner_answer.id), 64'(probe_i.inner_answer.pa),
                       access_q[probe_i.inner_answer.id] != ACCESS_READ, probe_i.inner_answer.memory);
      end
      if (probe_i.inner_request) access_q[probe_i.inner_asked.id] <= probe_i.inner_asked.access;
    end
  end

endmodule
