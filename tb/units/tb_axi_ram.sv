// SPDX-License-Identifier: Apache-2.0
// The testbench's memory at one AXI4 port, and a port between two models of cocotbext-axi, which
// drive both of its sides. Named as the simulation's program wants the top; the ports' names are
// those that cocotbext-axi looks for.

module tb_top
  import tb_pkg::*;
(
  input  logic        clk,
  input  logic        rst_n,
  input  logic        wake_i,
  input  logic        pins_written_i,
  output logic [63:0] cycle_o,
  input  logic         mem_awvalid,
  output logic         mem_awready,
  input  logic [AxiIdWidth-1:0] mem_awid,
  input  logic [47:0]  mem_awaddr,
  input  logic [7:0]   mem_awlen,
  input  logic [2:0]   mem_awsize,
  input  logic [1:0]   mem_awburst,
  input  logic         mem_wvalid,
  output logic         mem_wready,
  input  logic [511:0] mem_wdata,
  input  logic [63:0]  mem_wstrb,
  input  logic         mem_wlast,
  output logic         mem_bvalid,
  input  logic         mem_bready,
  output logic [AxiIdWidth-1:0] mem_bid,
  output logic [1:0]   mem_bresp,
  input  logic         mem_arvalid,
  output logic         mem_arready,
  input  logic [AxiIdWidth-1:0] mem_arid,
  input  logic [47:0]  mem_araddr,
  input  logic [7:0]   mem_arlen,
  input  logic [2:0]   mem_arsize,
  input  logic [1:0]   mem_arburst,
  output logic         mem_rvalid,
  input  logic         mem_rready,
  output logic [AxiIdWidth-1:0] mem_rid,
  output logic [511:0] mem_rdata,
  output logic [1:0]   mem_rresp,
  output logic         mem_rlast,
  input  logic         ram_awvalid,
  input  logic         ram_awready,
  input  logic [AxiIdWidth-1:0] ram_awid,
  input  logic [47:0]  ram_awaddr,
  input  logic [7:0]   ram_awlen,
  input  logic [2:0]   ram_awsize,
  input  logic [1:0]   ram_awburst,
  input  logic         ram_wvalid,
  input  logic         ram_wready,
  input  logic [511:0] ram_wdata,
  input  logic [63:0]  ram_wstrb,
  input  logic         ram_wlast,
  input  logic         ram_bvalid,
  input  logic         ram_bready,
  input  logic [AxiIdWidth-1:0] ram_bid,
  input  logic [1:0]   ram_bresp,
  input  logic         ram_arvalid,
  input  logic         ram_arready,
  input  logic [AxiIdWidth-1:0] ram_arid,
  input  logic [47:0]  ram_araddr,
  input  logic [7:0]   ram_arlen,
  input  logic [2:0]   ram_arsize,
  input  logic [1:0]   ram_arburst,
  input  logic         ram_rvalid,
  input  logic         ram_rready,
  input  logic [AxiIdWidth-1:0] ram_rid,
  input  logic [511:0] ram_rdata,
  input  logic [1:0]   ram_rresp,
  input  logic         ram_rlast
);

  // Python wakes behind the rising edge and must see what was there before it: it sees what the
  // memory offered half a cycle ago.
  logic aw_ready, w_ready, b_valid, ar_ready, r_valid;
  axi_b_t b;
  axi_r_t r;

  always_ff @(negedge clk) begin
    mem_awready <= aw_ready;
    mem_wready  <= w_ready;
    mem_bvalid  <= b_valid;
    mem_bid     <= b.id;
    mem_bresp   <= b.resp;
    mem_arready <= ar_ready;
    mem_rvalid  <= r_valid;
    mem_rid     <= r.id;
    mem_rdata   <= r.data;
    mem_rresp   <= r.resp;
    mem_rlast   <= r.last;
  end

  tb_memory_bench u_memory (
    .clk,
    .rst_n,
    .wake_i,
    .pins_written_i,
    .cycle_o,
    .awvalid_i (mem_awvalid),
    .awready_o (aw_ready),
    .awid_i    (mem_awid),
    .awaddr_i  (mem_awaddr),
    .awlen_i   (mem_awlen),
    .awsize_i  (mem_awsize),
    .awburst_i (mem_awburst),
    .wvalid_i  (mem_wvalid),
    .wready_o  (w_ready),
    .wdata_i   (mem_wdata),
    .wstrb_i   (mem_wstrb),
    .wlast_i   (mem_wlast),
    .bvalid_o  (b_valid),
    .bready_i  (mem_bready),
    .bid_o     (b.id),
    .bresp_o   (b.resp),
    .arvalid_i (mem_arvalid),
    .arready_o (ar_ready),
    .arid_i    (mem_arid),
    .araddr_i  (mem_araddr),
    .arlen_i   (mem_arlen),
    .arsize_i  (mem_arsize),
    .arburst_i (mem_arburst),
    .rvalid_o  (r_valid),
    .rready_i  (mem_rready),
    .rid_o     (r.id),
    .rdata_o   (r.data),
    .rresp_o   (r.resp),
    .rlast_o   (r.last)
  );

  axi4_checker #(
    .IdWidth (AxiIdWidth)
  ) u_ram_checker (
    .clk_i  (clk),
    .rst_ni (rst_n),
    .awvalid_i (ram_awvalid),
    .awready_i (ram_awready),
    .awid_i (ram_awid),
    .awaddr_i (ram_awaddr),
    .awlen_i (ram_awlen),
    .awsize_i (ram_awsize),
    .awburst_i (ram_awburst),
    .wvalid_i (ram_wvalid),
    .wready_i (ram_wready),
    .wdata_i (ram_wdata),
    .wstrb_i (ram_wstrb),
    .wlast_i (ram_wlast),
    .bvalid_i (ram_bvalid),
    .bready_i (ram_bready),
    .bid_i (ram_bid),
    .bresp_i (ram_bresp),
    .arvalid_i (ram_arvalid),
    .arready_i (ram_arready),
    .arid_i (ram_arid),
    .araddr_i (ram_araddr),
    .arlen_i (ram_arlen),
    .arsize_i (ram_arsize),
    .arburst_i (ram_arburst),
    .rvalid_i (ram_rvalid),
    .rready_i (ram_rready),
    .rid_i (ram_rid),
    .rdata_i (ram_rdata),
    .rresp_i (ram_rresp),
    .rlast_i (ram_rlast)
  );

endmodule
