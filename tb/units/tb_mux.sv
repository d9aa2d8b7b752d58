// SPDX-License-Identifier: Apache-2.0
// Bench of the bus multiplexers alone: three readers and three writers, and the far end of the bus,
// all driven by Python. Lines are cut to their lowest 64 bits.

module tb_mux
  import hmm_pkg::*;
#(
  parameter int unsigned Sources = 3
) (
  output logic                       clk,
  input  logic                       rst_n,
  // Readers
  input  logic [Sources-1:0]         read_valid,
  output logic [Sources-1:0]         read_ready,
  input  logic [Sources*PaBits-1:0]  read_address,
  input  logic [Sources-1:0]         read_device,
  input  logic [Sources*TagBits-1:0] read_tag,
  output logic [Sources-1:0]         read_done,
  output logic [TagBits-1:0]         read_done_tag,
  output logic [63:0]                read_line,
  output logic                       read_error,
  output logic                       arvalid,
  input  logic                       arready,
  output logic [AxiIdBits-1:0]       arid,
  output logic [PaBits-1:0]          araddr,
  output logic                       aruser,
  input  logic                       rvalid,
  output logic                       rready,
  input  logic [AxiIdBits-1:0]       rid,
  input  logic [63:0]                rdata,
  input  logic [1:0]                 rresp,
  input  logic                       rlast,
  // Writers
  input  logic [Sources-1:0]         write_valid,
  output logic [Sources-1:0]         write_ready,
  input  logic [Sources*PaBits-1:0]  write_address,
  input  logic [Sources-1:0]         write_device,
  input  logic [Sources*64-1:0]      write_data,
  input  logic [Sources*64-1:0]      write_strobe,
  input  logic [Sources*TagBits-1:0] write_tag,
  output logic [Sources-1:0]         write_done,
  output logic [TagBits-1:0]         write_done_tag,
  output logic                       write_error,
  output logic                       awvalid,
  input  logic                       awready,
  output logic [AxiIdBits-1:0]       awid,
  output logic [PaBits-1:0]          awaddr,
  output logic                       awuser,
  output logic                       wvalid,
  input  logic                       wready,
  output logic [63:0]                wdata,
  output logic [63:0]                wstrb,
  input  logic                       bvalid,
  output logic                       bready,
  input  logic [AxiIdBits-1:0]       bid,
  input  logic [1:0]                 bresp
);

  initial clk = 1'b0;
  always #5 clk = !clk;

  line_t                line_read, line_written;
  line_t  [Sources-1:0] write_line;

  for (genvar i = 0; i < Sources; i++) begin : gen_line
    assign write_line[i] = line_t'(write_data[64*i +: 64]);
  end

  assign read_line = line_read[63:0];
  assign wdata     = line_written[63:0];

  hmm_read_mux #(
    .Readers (Sources)
  ) u_read_mux (
    .clk_i           (clk),
    .rst_ni          (rst_n),
    .read_valid_i    (read_valid),
    .read_ready_o    (read_ready),
    .read_address_i  (read_address),
    .read_device_i   (read_device),
    .read_tag_i      (read_tag),
    .read_done_o     (read_done),
    .read_done_tag_o (read_done_tag),
    .read_line_o     (line_read),
    .read_error_o    (read_error),
    .arvalid_o       (arvalid),
    .arready_i       (arready),
    .arid_o          (arid),
    .araddr_o        (araddr),
    .aruser_o        (aruser),
    .rvalid_i        (rvalid),
    .rready_o        (rready),
    .rid_i           (rid),
    .rdata_i         (line_t'(rdata)),
    .rresp_i         (rresp),
    .rlast_i         (rlast)
  );

  hmm_write_mux #(
    .Writers (Sources)
  ) u_write_mux (
    .clk_i            (clk),
    .rst_ni           (rst_n),
    .write_valid_i    (write_valid),
    .write_ready_o    (write_ready),
    .write_address_i  (write_address),
    .write_device_i   (write_device),
    .write_line_i     (write_line),
    .write_strobe_i   (write_strobe),
    .write_tag_i      (write_tag),
    .write_done_o     (write_done),
    .write_done_tag_o (write_done_tag),
    .write_error_o    (write_error),
    .awvalid_o        (awvalid),
    .awready_i        (awready),
    .awid_o           (awid),
    .awaddr_o         (awaddr),
    .awuser_o         (awuser),
    .wvalid_o         (wvalid),
    .wready_i         (wready),
    .wdata_o          (line_written),
    .wstrb_o          (wstrb),
    .bvalid_i         (bvalid),
    .bready_o         (bready),
    .bid_i            (bid),
    .bresp_i          (bresp)
  );

endmodule
