// SPDX-License-Identifier: Apache-2.0
// Tells the C++ side what the host writes to registers, whoever drives them: in the cycle in which
// the bus has taken address and data, which is before the device acts on it. So the memory can be
// judged by what the host set, and not by what the device made of it.

module tb_register_writes
  import tb_pkg::*;
  import tb_dpi_pkg::*;
(
  input logic                     clk_i,
  input logic                     rst_ni,
  input logic                     reset_i,  // a soft reset: registers take nothing until it is over
  input logic                     aw_valid_i,
  input logic                     aw_ready_i,
  input logic [RegisterWidth-1:0] aw_addr_i,
  input logic                     w_valid_i,
  input logic                     w_ready_i,
  input axil_w_t                  w_i
);

  logic [RegisterWidth-1:0] addresses[$];
  axil_w_t                  beats[$];
  logic                     reset_q;

  always_ff @(posedge clk_i or negedge rst_ni) begin : p_writes
    if (!rst_ni) begin
      addresses = {};
      beats     = {};
      reset_q  <= 1'b0;
      tb_registers_reset(1'b0);
    end else begin
      if (aw_valid_i && aw_ready_i) addresses.push_back(aw_addr_i);
      if (w_valid_i && w_ready_i) beats.push_back(w_i);
      if (addresses.size() != 0 && beats.size() != 0) begin : p_write
        automatic logic [RegisterWidth-1:0] address = addresses.pop_front();
        automatic axil_w_t                  beat = beats.pop_front();
        tb_register_write(32'(address), beat.data, beat.strb);
      end
      if (reset_i != reset_q) tb_registers_reset(reset_i);
      reset_q <= reset_i;
    end
  end

endmodule
