// SPDX-License-Identifier: Apache-2.0
// Brings the line reads of several readers onto one AXI4 read channel. Each has at most one read
// open; the id is the reader's number. See docs/interface.md, "Memory bus".

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
  output logic   [Readers-1:0] read_done_o,
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

  // In turn over the readers; an address that was offered stays until it is taken.
  logic                 held_q, held_d;
  logic [AxiIdBits-1:0] choice_q, choice_d, choice;

  always_comb begin
    logic found;
    found  = 1'b0;
    choice = choice_q;
    for (int unsigned i = 0; i < 2 * Readers; i++) begin
      if (!found && (i > 32'(choice_q)) && read_valid_i[(i >= Readers) ? i - Readers : i]) begin
        found  = 1'b1;
        choice = AxiIdBits'((i >= Readers) ? i - Readers : i);
      end
    end
    if (held_q) choice = choice_q;
  end

  always_comb begin
    arvalid_o    = 1'b0;
    araddr_o     = '0;
    aruser_o     = 1'b0;
    read_ready_o = '0;
    read_done_o  = '0;
    for (int unsigned i = 0; i < Readers; i++) begin
      if (choice == AxiIdBits'(i)) begin
        arvalid_o       = read_valid_i[i];
        araddr_o        = read_address_i[i];
        aruser_o        = read_device_i[i];
        read_ready_o[i] = arready_i;
      end
      read_done_o[i] = rvalid_i && (rid_i == AxiIdBits'(i));
    end
  end

  assign arid_o       = choice;
  assign held_d       = arvalid_o && !arready_i;
  assign choice_d     = arvalid_o ? choice : choice_q;
  assign rready_o     = 1'b1;
  assign read_line_o  = rdata_i;
  assign read_error_o = (rresp_i != 2'b00);

  always_ff @(posedge clk_i or negedge rst_ni) begin
    if (!rst_ni) begin
      held_q   <= 1'b0;
      choice_q <= '0;
    end else begin
      held_q   <= held_d;
      choice_q <= choice_d;
    end
  end

  ArStable: assert property (@(posedge clk_i) disable iff (!rst_ni)
      (arvalid_o && !arready_i) |=> (arvalid_o && $stable({arid_o, araddr_o, aruser_o})))
    else $error("a read address was withdrawn or changed before it was taken");
  RKnown: assert property (@(posedge clk_i) disable iff (!rst_ni)
      rvalid_i |-> (rlast_i && (read_done_o != '0)))
    else $error("read data came that nobody asked for");

endmodule
