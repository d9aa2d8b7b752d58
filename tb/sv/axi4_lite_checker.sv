// SPDX-License-Identifier: Apache-2.0
// The rules of AXI4-Lite (ARM IHI 0022) that both sides of one port keep: stability, order,
// responses. Passive; serves any design. Each rule has a name and a message of its own.

module axi4_lite_checker #(
  parameter int unsigned AddressWidth = 32,
  parameter int unsigned DataWidth    = 64
) (
  input logic                    clk_i,
  input logic                    rst_ni,
  input logic                    awvalid_i,
  input logic                    awready_i,
  input logic [AddressWidth-1:0] awaddr_i,
  input logic                    wvalid_i,
  input logic                    wready_i,
  input logic [DataWidth-1:0]    wdata_i,
  input logic [DataWidth/8-1:0]  wstrb_i,
  input logic                    bvalid_i,
  input logic                    bready_i,
  input logic [1:0]              bresp_i,
  input logic                    arvalid_i,
  input logic                    arready_i,
  input logic [AddressWidth-1:0] araddr_i,
  input logic                    rvalid_i,
  input logic                    rready_i,
  input logic [DataWidth-1:0]    rdata_i,
  input logic [1:0]              rresp_i
);

  localparam logic [1:0] RespExOkay = 2'd1;

  default clocking @(posedge clk_i); endclocking
  default disable iff (!rst_ni);

  aw_stable: assert property (awvalid_i && !awready_i |=> awvalid_i && $stable(awaddr_i))
    else $error("AXI4-Lite: a write address changed before it was taken");
  w_stable: assert property (wvalid_i && !wready_i |=> wvalid_i && $stable({wdata_i, wstrb_i}))
    else $error("AXI4-Lite: write data changed before it was taken");
  b_stable: assert property (bvalid_i && !bready_i |=> bvalid_i && $stable(bresp_i))
    else $error("AXI4-Lite: a write response changed before it was taken");
  ar_stable: assert property (arvalid_i && !arready_i |=> arvalid_i && $stable(araddr_i))
    else $error("AXI4-Lite: a read address changed before it was taken");
  r_stable: assert property (rvalid_i && !rready_i |=> rvalid_i && $stable({rdata_i, rresp_i}))
    else $error("AXI4-Lite: read data changed before it was taken");

  b_response: assert property (bvalid_i |-> bresp_i != RespExOkay)
    else $error("AXI4-Lite: a write response says EXOKAY");
  r_response: assert property (rvalid_i |-> rresp_i != RespExOkay)
    else $error("AXI4-Lite: read data say EXOKAY");

  // Open accesses: addresses and data that were taken, and not answered.
  logic [7:0] addresses_q, addresses_d, data_q, data_d, reads_q, reads_d;

  always_comb begin
    addresses_d = addresses_q;
    data_d      = data_q;
    reads_d     = reads_q;
    if (awvalid_i && awready_i) addresses_d = addresses_d + 8'd1;
    if (wvalid_i && wready_i) data_d = data_d + 8'd1;
    if (arvalid_i && arready_i) reads_d = reads_d + 8'd1;
    if (bvalid_i && bready_i && addresses_q != '0 && data_q != '0) begin
      addresses_d = addresses_d - 8'd1;
      data_d      = data_d - 8'd1;
    end
    if (rvalid_i && rready_i && reads_q != '0) reads_d = reads_d - 8'd1;
  end

  always_ff @(posedge clk_i or negedge rst_ni) begin
    if (!rst_ni) begin
      addresses_q <= '0;
      data_q      <= '0;
      reads_q     <= '0;
    end else begin
      addresses_q <= addresses_d;
      data_q      <= data_d;
      reads_q     <= reads_d;
    end
  end

  b_asked: assert property (bvalid_i |-> addresses_q != '0 && data_q != '0)
    else $error("AXI4-Lite: a write response without a write");
  r_asked: assert property (rvalid_i |-> reads_q != '0)
    else $error("AXI4-Lite: read data without a read");

  // Two edges in reset have passed: what was there at the very start is gone.
  logic [1:0] reset_q = '0;

  always_ff @(posedge clk_i) reset_q <= {reset_q[0], !rst_ni};

  reset_silent: assert property (@(posedge clk_i) disable iff (1'b0)
      (reset_q == '1 && !rst_ni) |-> !(awvalid_i || wvalid_i || bvalid_i || arvalid_i || rvalid_i))
    else $error("AXI4-Lite: something is valid in reset");

endmodule
