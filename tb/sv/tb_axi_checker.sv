// SPDX-License-Identifier: Apache-2.0
// Rules of AXI4 that both sides of the memory bus keep. Serves any device.

module tb_axi_checker
  import tb_pkg::*;
(
  input logic   clk_i,
  input logic   rst_ni,
  input logic   aw_valid_i,
  input logic   aw_ready_i,
  input axi_a_t aw_i,
  input logic   w_valid_i,
  input logic   w_ready_i,
  input axi_w_t w_i,
  input logic   b_valid_i,
  input logic   b_ready_i,
  input axi_b_t b_i,
  input logic   ar_valid_i,
  input logic   ar_ready_i,
  input axi_a_t ar_i,
  input logic   r_valid_i,
  input logic   r_ready_i,
  input axi_r_t r_i
);

  localparam int unsigned AxiIds = 1 << AxiIdWidth;

  default clocking @(posedge clk_i); endclocking
  default disable iff (!rst_ni);

  aw_stable: assert property (aw_valid_i && !aw_ready_i |=> aw_valid_i && $stable(aw_i))
    else $error("AXI: a write address changed before it was taken");
  w_stable: assert property (w_valid_i && !w_ready_i |=> w_valid_i && $stable(w_i))
    else $error("AXI: write data changed before it was taken");
  b_stable: assert property (b_valid_i && !b_ready_i |=> b_valid_i && $stable(b_i))
    else $error("AXI: a write response changed before it was taken");
  ar_stable: assert property (ar_valid_i && !ar_ready_i |=> ar_valid_i && $stable(ar_i))
    else $error("AXI: a read address changed before it was taken");
  r_stable: assert property (r_valid_i && !r_ready_i |=> r_valid_i && $stable(r_i))
    else $error("AXI: read data changed before it was taken");

  // Answers belong to a question: open transactions of each id.
  logic [AxiIds-1:0][7:0] open_reads_q, open_reads_d, open_writes_q, open_writes_d;

  always_comb begin
    open_reads_d  = open_reads_q;
    open_writes_d = open_writes_q;
    if (ar_valid_i && ar_ready_i) open_reads_d[ar_i.id] = open_reads_d[ar_i.id] + 8'd1;
    if (r_valid_i && r_ready_i) open_reads_d[r_i.id] = open_reads_d[r_i.id] - 8'd1;
    if (aw_valid_i && aw_ready_i) open_writes_d[aw_i.id] = open_writes_d[aw_i.id] + 8'd1;
    if (b_valid_i && b_ready_i) open_writes_d[b_i.id] = open_writes_d[b_i.id] - 8'd1;
  end

  always_ff @(posedge clk_i or negedge rst_ni) begin
    if (!rst_ni) begin
      open_reads_q  <= '0;
      open_writes_q <= '0;
    end else begin
      open_reads_q  <= open_reads_d;
      open_writes_q <= open_writes_d;
    end
  end

  r_asked: assert property (r_valid_i |-> open_reads_q[r_i.id] != 8'd0)
    else $error("AXI: read data without a read");
  b_asked: assert property (b_valid_i |-> open_writes_q[b_i.id] != 8'd0)
    else $error("AXI: a write response without a write");

endmodule
