// SPDX-License-Identifier: Apache-2.0
// Brings the writes of several writers, each within one line, onto the AXI4 write channels. A
// writer may have many writes open; the id is {writer, tag}. Those of one tag are answered in
// order, as AXI4 promises for one id; others in any order. A write goes out in the cycle in which
// it is offered, its answer goes home in the cycle in which it comes. A writer waits for at most one
// write of each other writer.
// See docs/interface.md, "Memory bus".

module hmm_write_mux
  import hmm_pkg::*;
#(
  parameter int unsigned Writers = 3
) (
  input  logic                      clk_i,
  input  logic                      rst_ni,
  // Writers, the first in bit 0; taken when address and data have both been taken by the bus
  input  logic  [Writers-1:0]       write_valid_i,
  output logic  [Writers-1:0]       write_ready_o,
  input  pa_t   [Writers-1:0]       write_address_i,
  input  logic  [Writers-1:0]       write_device_i,  // the device's own memory
  input  line_t [Writers-1:0]       write_line_i,
  input  logic  [Writers-1:0][63:0] write_strobe_i,
  input  tag_t  [Writers-1:0]       write_tag_i,
  output logic  [Writers-1:0]       write_done_o,
  output tag_t                      write_done_tag_o,
  output logic                      write_error_o,
  // AXI4 write channels
  output logic                      awvalid_o,
  input  logic                      awready_i,
  output logic [AxiIdBits-1:0]      awid_o,
  output pa_t                       awaddr_o,
  output logic                      awuser_o,
  output logic                      wvalid_o,
  input  logic                      wready_i,
  output line_t                     wdata_o,
  output logic [63:0]               wstrb_o,
  input  logic                      bvalid_i,
  output logic                      bready_o,
  input  logic [AxiIdBits-1:0]      bid_i,
  input  logic [1:0]                bresp_i
);

  if (Writers < 1 || Writers > (1 << SourceBits)) begin : gen_writers_check
    $error("Writers must be 1 to 4: the id has two bits for them");
  end

  typedef logic [SourceBits-1:0] source_t;

  localparam int unsigned WriterBits = (Writers > 1) ? $clog2(Writers) : 1;

  // Address and data go their own ways; a write is taken when both are.
  logic                  address_taken_q, address_taken_d, data_taken_q, data_taken_d;
  logic                  offered, address_taken, data_taken;
  logic [WriterBits-1:0] writer;
  logic [Writers-1:0]    shown;

  hmm_held_arbiter #(
    .Inputs (Writers)
  ) u_turn (
    .clk_i,
    .rst_ni,
    .request_i (write_valid_i),
    .valid_o   (offered),
    .index_o   (writer),
    .shown_o   (shown),
    .ready_i   (address_taken && data_taken)
  );

  assign awid_o   = {source_t'(writer), write_tag_i[writer]};
  assign awaddr_o = {write_address_i[writer][PaBits-1:6], 6'd0};
  assign awuser_o = write_device_i[writer];
  assign wdata_o  = write_line_i[writer];
  assign wstrb_o  = write_strobe_i[writer];

  always_comb begin
    for (int unsigned i = 0; i < Writers; i++) begin
      write_ready_o[i] = shown[i] && address_taken && data_taken;
      write_done_o[i]  = bvalid_i && (bid_i[AxiIdBits-1:TagBits] == source_t'(i));
    end
  end

  assign awvalid_o     = offered && !address_taken_q;
  assign wvalid_o      = offered && !data_taken_q;
  assign address_taken = address_taken_q || (awvalid_o && awready_i);
  assign data_taken    = data_taken_q || (wvalid_o && wready_i);

  assign address_taken_d = address_taken && !data_taken;
  assign data_taken_d    = data_taken && !address_taken;

  assign bready_o         = 1'b1;
  assign write_done_tag_o = bid_i[TagBits-1:0];
  assign write_error_o    = (bresp_i != 2'b00);

  always_ff @(posedge clk_i or negedge rst_ni) begin
    if (!rst_ni) begin
      address_taken_q <= 1'b0;
      data_taken_q    <= 1'b0;
    end else begin
      address_taken_q <= address_taken_d;
      data_taken_q    <= data_taken_d;
    end
  end

  // ---- Promises ---------------------------------------------------------------------------------

  // How many writes are open under each id.
  logic [(1 << AxiIdBits)-1:0][7:0] open_q, open_d;
  logic                             taken;

  assign taken = offered && address_taken && data_taken;

  always_comb begin
    open_d = open_q;
    if (taken)    open_d[awid_o] = open_d[awid_o] + 8'd1;
    if (bvalid_i) open_d[bid_i]  = open_d[bid_i] - 8'd1;
  end

  always_ff @(posedge clk_i or negedge rst_ni) begin
    if (!rst_ni) open_q <= '0;
    else         open_q <= open_d;
  end

  AwStable: assert property (@(posedge clk_i) disable iff (!rst_ni)
      (awvalid_o && !awready_i) |=> (awvalid_o && $stable({awid_o, awaddr_o, awuser_o})))
    else $error("a write address was withdrawn or changed before it was taken");
  WStable: assert property (@(posedge clk_i) disable iff (!rst_ni)
      (wvalid_o && !wready_i) |=> (wvalid_o && $stable({wdata_o, wstrb_o})))
    else $error("write data was withdrawn or changed before it was taken");
  WriteWhole: assert property (@(posedge clk_i) disable iff (!rst_ni)
      (address_taken_q || data_taken_q) |-> offered)
    else $error("a write was withdrawn when half of it was taken");
  AwRoom: assert property (@(posedge clk_i) disable iff (!rst_ni)
      taken |-> (open_q[awid_o] != '1))
    else $error("more writes are open under one tag than can be counted");
  BKnown: assert property (@(posedge clk_i) disable iff (!rst_ni)
      bvalid_i |-> ((write_done_o != '0) && (open_q[bid_i] != '0)))
    else $error("a write response came that nobody waits for");

endmodule
