// SPDX-License-Identifier: Apache-2.0
// Writes one 8-byte word at a time onto the AXI4 write channels, as a line with strobes.
// See docs/interface.md, "Memory bus".

module hmm_word_writer
  import hmm_pkg::*;
(
  input  logic                 clk_i,
  input  logic                 rst_ni,
  // The word; taken when address and data have both been taken by the bus
  input  logic                 write_valid_i,
  output logic                 write_ready_o,
  input  pa_t                  write_address_i,
  input  logic [63:0]          write_data_i,
  output logic                 write_done_o,
  output logic                 write_error_o,
  // AXI4 write channels
  output logic                 awvalid_o,
  input  logic                 awready_i,
  output pa_t                  awaddr_o,
  output logic                 wvalid_o,
  input  logic                 wready_i,
  output line_t                wdata_o,
  output logic [63:0]          wstrb_o,
  input  logic                 bvalid_i,
  output logic                 bready_o,
  input  logic [1:0]           bresp_i
);

  // Address and data go their own ways; each is offered until it is taken.
  logic address_taken_q, address_taken_d, data_taken_q, data_taken_d;
  logic address_taken, data_taken;

  assign awvalid_o = write_valid_i && !address_taken_q;
  assign wvalid_o  = write_valid_i && !data_taken_q;
  assign awaddr_o  = {write_address_i[PaBits-1:6], 6'd0};
  assign wdata_o   = {(LineBits / 64) {write_data_i}};
  assign wstrb_o   = 64'hff << {write_address_i[5:3], 3'd0};

  assign address_taken = address_taken_q || (awvalid_o && awready_i);
  assign data_taken    = data_taken_q || (wvalid_o && wready_i);
  assign write_ready_o = address_taken && data_taken;

  assign address_taken_d = address_taken && !write_ready_o;
  assign data_taken_d    = data_taken && !write_ready_o;

  assign bready_o      = 1'b1;
  assign write_done_o  = bvalid_i;
  assign write_error_o = (bresp_i != 2'b00);

  always_ff @(posedge clk_i or negedge rst_ni) begin
    if (!rst_ni) begin
      address_taken_q <= 1'b0;
      data_taken_q    <= 1'b0;
    end else begin
      address_taken_q <= address_taken_d;
      data_taken_q    <= data_taken_d;
    end
  end

  AwStable: assert property (@(posedge clk_i) disable iff (!rst_ni)
      (awvalid_o && !awready_i) |=> (awvalid_o && $stable(awaddr_o)))
    else $error("a write address was withdrawn or changed before it was taken");
  WStable: assert property (@(posedge clk_i) disable iff (!rst_ni)
      (wvalid_o && !wready_i) |=> (wvalid_o && $stable({wdata_o, wstrb_o})))
    else $error("write data was withdrawn or changed before it was taken");

  logic unused_address;
  assign unused_address = ^write_address_i[2:0];

endmodule
