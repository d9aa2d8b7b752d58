// SPDX-License-Identifier: Apache-2.0
// The testbench's memory alone, with its AXI4 port at pins: a bench of its own, and a part of
// tb_axi_ram.sv.

module tb_memory_bench
  import tb_pkg::*;
(
  input  logic                  clk,
  input  logic                  rst_n,
  input  logic                  wake_i,
  input  logic                  pins_written_i,
  output logic [63:0]           cycle_o,
  input  logic                  awvalid_i,
  output logic                  awready_o,
  input  logic [AxiIdWidth-1:0] awid_i,
  input  pa_t                   awaddr_i,
  input  logic [7:0]            awlen_i,
  input  logic [2:0]            awsize_i,
  input  logic [1:0]            awburst_i,
  input  logic                  wvalid_i,
  output logic                  wready_o,
  input  line_t                 wdata_i,
  input  logic [63:0]           wstrb_i,
  input  logic                  wlast_i,
  output logic                  bvalid_o,
  input  logic                  bready_i,
  output logic [AxiIdWidth-1:0] bid_o,
  output logic [1:0]            bresp_o,
  input  logic                  arvalid_i,
  output logic                  arready_o,
  input  logic [AxiIdWidth-1:0] arid_i,
  input  pa_t                   araddr_i,
  input  logic [7:0]            arlen_i,
  input  logic [2:0]            arsize_i,
  input  logic [1:0]            arburst_i,
  output logic                  rvalid_o,
  input  logic                  rready_i,
  output logic [AxiIdWidth-1:0] rid_o,
  output line_t                 rdata_o,
  output logic [1:0]            rresp_o,
  output logic                  rlast_o
);

  cycle_t       cycle_q;
  axi_a_t       aw, ar;
  axi_w_t       w;
  axi_b_t       b;
  axi_r_t       r;
  host_access_t no_access;
  logic [63:0]  unused_value;
  logic [1:0]   unused_status;

  always_ff @(posedge clk or negedge rst_n) begin
    if (!rst_n) cycle_q <= '0;
    else cycle_q <= cycle_q + 64'd1;
  end

  assign cycle_o   = cycle_q;
  assign aw        = '{id: awid_i, addr: awaddr_i, len: awlen_i, size: awsize_i, burst: awburst_i,
                        user: 1'b0};
  assign ar        = '{id: arid_i, addr: araddr_i, len: arlen_i, size: arsize_i, burst: arburst_i,
                        user: 1'b0};
  assign w         = '{data: wdata_i, strb: wstrb_i, last: wlast_i};
  assign bid_o     = b.id;
  assign bresp_o   = b.resp;
  assign rid_o     = r.id;
  assign rdata_o   = r.data;
  assign rresp_o   = r.resp;
  assign rlast_o   = r.last;
  assign no_access = '0;

  tb_memory u_memory (
    .clk_i           (clk),
    .rst_ni          (rst_n),
    .cycle_i         (cycle_q),
    .access_valid_i  (1'b0),
    .access_i        (no_access),
    .access_value_o  (unused_value),
    .access_status_o (unused_status),
    .data_valid_i    (1'b0),
    .data_id_i       ('0),
    .aw_valid_i      (awvalid_i),
    .aw_ready_o      (awready_o),
    .aw_i            (aw),
    .w_valid_i       (wvalid_i),
    .w_ready_o       (wready_o),
    .w_i             (w),
    .b_valid_o       (bvalid_o),
    .b_ready_i       (bready_i),
    .b_o             (b),
    .ar_valid_i      (arvalid_i),
    .ar_ready_o      (arready_o),
    .ar_i            (ar),
    .r_valid_o       (rvalid_o),
    .r_ready_i       (rready_i),
    .r_o             (r)
  );

endmodule
