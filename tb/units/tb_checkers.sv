// SPDX-License-Identifier: Apache-2.0
// Both bus checkers over pins that can say anything. Named as the simulation's program wants the
// top.

module tb_top (
  input  logic        clk,
  input  logic        rst_n,
  input  logic        wake_i,
  input  logic        pins_written_i,
  output logic [63:0] cycle_o,
  // AXI4, 64-bit data, 2-bit ids
  input  logic        awvalid_i,
  input  logic        awready_i,
  input  logic [1:0]  awid_i,
  input  logic [31:0] awaddr_i,
  input  logic [7:0]  awlen_i,
  input  logic [2:0]  awsize_i,
  input  logic [1:0]  awburst_i,
  input  logic        wvalid_i,
  input  logic        wready_i,
  input  logic [63:0] wdata_i,
  input  logic [7:0]  wstrb_i,
  input  logic        wlast_i,
  input  logic        bvalid_i,
  input  logic        bready_i,
  input  logic [1:0]  bid_i,
  input  logic [1:0]  bresp_i,
  input  logic        arvalid_i,
  input  logic        arready_i,
  input  logic [1:0]  arid_i,
  input  logic [31:0] araddr_i,
  input  logic [7:0]  arlen_i,
  input  logic [2:0]  arsize_i,
  input  logic [1:0]  arburst_i,
  input  logic        rvalid_i,
  input  logic        rready_i,
  input  logic [1:0]  rid_i,
  input  logic [63:0] rdata_i,
  input  logic [1:0]  rresp_i,
  input  logic        rlast_i,
  // AXI4-Lite
  input  logic        lite_awvalid_i,
  input  logic        lite_awready_i,
  input  logic [31:0] lite_awaddr_i,
  input  logic        lite_wvalid_i,
  input  logic        lite_wready_i,
  input  logic [63:0] lite_wdata_i,
  input  logic [7:0]  lite_wstrb_i,
  input  logic        lite_bvalid_i,
  input  logic        lite_bready_i,
  input  logic [1:0]  lite_bresp_i,
  input  logic        lite_arvalid_i,
  input  logic        lite_arready_i,
  input  logic [31:0] lite_araddr_i,
  input  logic        lite_rvalid_i,
  input  logic        lite_rready_i,
  input  logic [63:0] lite_rdata_i,
  input  logic [1:0]  lite_rresp_i
);

  always_ff @(posedge clk or negedge rst_n) begin
    if (!rst_n) cycle_o <= '0;
    else cycle_o <= cycle_o + 64'd1;
  end

  axi4_checker #(
    .IdWidth      (2),
    .AddressWidth (32),
    .DataWidth    (64)
  ) u_axi4_checker (
    .clk_i  (clk),
    .rst_ni (rst_n),
    .*
  );

  axi4_lite_checker u_axi4_lite_checker (
    .clk_i     (clk),
    .rst_ni    (rst_n),
    .awvalid_i (lite_awvalid_i),
    .awready_i (lite_awready_i),
    .awaddr_i  (lite_awaddr_i),
    .wvalid_i  (lite_wvalid_i),
    .wready_i  (lite_wready_i),
    .wdata_i   (lite_wdata_i),
    .wstrb_i   (lite_wstrb_i),
    .bvalid_i  (lite_bvalid_i),
    .bready_i  (lite_bready_i),
    .bresp_i   (lite_bresp_i),
    .arvalid_i (lite_arvalid_i),
    .arready_i (lite_arready_i),
    .araddr_i  (lite_araddr_i),
    .rvalid_i  (lite_rvalid_i),
    .rready_i  (lite_rready_i),
    .rdata_i   (lite_rdata_i),
    .rresp_i   (lite_rresp_i)
  );

endmodule
