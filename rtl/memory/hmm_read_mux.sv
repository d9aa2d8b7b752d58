// SPDX-License-Identifier: Apache-2.0
// Brings the line reads of several readers onto one AXI4 read channel. A reader may have many reads
// open, one under each tag; the id is {reader, tag}, and lines come home in any order. An address
// goes out in the cycle in which it is offered, a line goes home in the cycle in which it comes. A
// reader waits for at most one address of each other reader.
// See docs/interface.md, "Memory bus".

module hmm_read_mux
  import hmm_pkg::*;
#(
  parameter int unsigned Readers = 3
) (
  input  logic                 clk_i,
  input  logic                 rst_ni,
  // Readers, the first in bit 0
  input  logic   [Readers-1:0] read_valid_i,
  output logic   [Readers-1:0] read_ready_o,
  input  pa_t    [Readers-1:0] read_address_i,
  input  logic   [Readers-1:0] read_device_i,  // the device's own memory
  input  tag_t   [Readers-1:0] read_tag_i,     // of no open read of this reader
  output logic   [Readers-1:0] read_done_o,
  output tag_t                 read_done_tag_o,
  output line_t                read_line_o,
  output logic                 read_error_o,
  // AXI4 read channels
  output logic                 arvalid_o,
  input  logic                 arready_i,
  output logic [AxiIdBits-1:0] arid_o,
  output pa_t                  araddr_o,
  output logic                 aruser_o,
  input  logic                 rvalid_i,
  output logic                 rready_o,
  input  logic [AxiIdBits-1:0] rid_i,
  input  line_t                rdata_i,
  input  logic [1:0]           rresp_i,
  input  logic                 rlast_i
);

  if (Readers < 1 || Readers > (1 << SourceBits)) begin : gen_readers_check
    $error("Readers must be 1 to 4: the id has two bits for them");
  end

  typedef logic [SourceBits-1:0] source_t;

  localparam int unsigned ReaderBits = (Readers > 1) ? $clog2(Readers) : 1;

  logic [ReaderBits-1:0] reader;
  logic [Readers-1:0]    shown;

  hmm_held_arbiter #(
    .Inputs (Readers)
  ) u_turn (
    .clk_i,
    .rst_ni,
    .request_i (read_valid_i),
    .valid_o   (arvalid_o),
    .index_o   (reader),
    .shown_o   (shown),
    .ready_i   (arready_i)
  );

  assign arid_o   = {source_t'(reader), read_tag_i[reader]};
  assign araddr_o = read_address_i[reader];
  assign aruser_o = read_device_i[reader];

  always_comb begin
    for (int unsigned i = 0; i < Readers; i++) begin
      read_ready_o[i] = shown[i] && arready_i;
      read_done_o[i]  = rvalid_i && (rid_i[AxiIdBits-1:TagBits] == source_t'(i));
    end
  end

  assign rready_o        = 1'b1;
  assign read_done_tag_o = rid_i[TagBits-1:0];
  assign read_line_o     = rdata_i;
  assign read_error_o    = (rresp_i != 2'b00);

  // ---- Promises ---------------------------------------------------------------------------------

  // One bit for each id that is open.
  logic [(1 << AxiIdBits)-1:0] open_q, open_d;

  always_comb begin
    open_d = open_q;
    if (rvalid_i) open_d[rid_i] = 1'b0;
    if (arvalid_o && arready_i) open_d[arid_o] = 1'b1;
  end

  always_ff @(posedge clk_i or negedge rst_ni) begin
    if (!rst_ni) open_q <= '0;
    else         open_q <= open_d;
  end

  ArStable: assert property (@(posedge clk_i) disable iff (!rst_ni)
      (arvalid_o && !arready_i) |=> (arvalid_o && $stable({arid_o, araddr_o, aruser_o})))
    else $error("a read address was withdrawn or changed before it was taken");
  ArOne: assert property (@(posedge clk_i) disable iff (!rst_ni)
      arvalid_o |-> (!open_q[arid_o] || (rvalid_i && (rid_i == arid_o))))
    else $error("a reader asks a second time under a tag whose line has not come");
  RKnown: assert property (@(posedge clk_i) disable iff (!rst_ni)
      rvalid_i |-> (rlast_i && (read_done_o != '0) && open_q[rid_i]))
    else $error("read data came that nobody asked for");

endmodule
