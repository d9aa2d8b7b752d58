// SPDX-License-Identifier: Apache-2.0
// Brings the line reads of several readers onto one AXI4 read channel. A reader may have many reads
// open, one under each tag; the id is {reader, tag}, and lines come home in any order. An address
// goes out in the cycle in which it is offered, a line goes home in the cycle in which it comes.
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

  // In turn over the readers; an address that was offered stays until it is taken.
  logic    held_q, held_d;
  source_t choice_q, choice_d, choice;

  always_comb begin
    logic found;
    found  = 1'b0;
    choice = choice_q;
    for (int unsigned i = 0; i < 2 * Readers; i++) begin
      if (!found && (i > 32'(choice_q)) && read_valid_i[(i >= Readers) ? i - Readers : i]) begin
        found  = 1'b1;
        choice = source_t'((i >= Readers) ? i - Readers : i);
      end
    end
    if (held_q) choice = choice_q;
  end

  always_comb begin
    arvalid_o    = 1'b0;
    arid_o       = '0;
    araddr_o     = '0;
    aruser_o     = 1'b0;
    read_ready_o = '0;
    read_done_o  = '0;
    for (int unsigned i = 0; i < Readers; i++) begin
      if (choice == source_t'(i)) begin
        arvalid_o       = read_valid_i[i];
        arid_o          = {source_t'(i), read_tag_i[i]};
        araddr_o        = read_address_i[i];
        aruser_o        = read_device_i[i];
        read_ready_o[i] = arready_i;
      end
      read_done_o[i] = rvalid_i && (rid_i[AxiIdBits-1:TagBits] == source_t'(i));
    end
  end

  assign held_d          = arvalid_o && !arready_i;
  assign choice_d        = arvalid_o ? choice : choice_q;
  assign rready_o        = 1'b1;
  assign read_done_tag_o = rid_i[TagBits-1:0];
  assign read_line_o     = rdata_i;
  assign read_error_o    = (rresp_i != 2'b00);

  always_ff @(posedge clk_i or negedge rst_ni) begin
    if (!rst_ni) begin
      held_q   <= 1'b0;
      choice_q <= '0;
    end else begin
      held_q   <= held_d;
      choice_q <= choice_d;
    end
  end

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
  // Round-robin: a reader waits for at most one address of each other reader.
  for (genvar i = 0; i < Readers; i++) begin : gen_fair
    logic [2:0] passed_q, passed_d;
    assign passed_d = (!read_valid_i[i] || read_ready_o[i]) ? '0 :
                      passed_q + 3'(arvalid_o && arready_i);
    always_ff @(posedge clk_i or negedge rst_ni) begin
      if (!rst_ni) passed_q <= '0;
      else         passed_q <= passed_d;
    end
    ArFair: assert property (@(posedge clk_i) disable iff (!rst_ni) 32'(passed_q) < Readers)
      else $error("a reader was passed over more often than there are others");
  end

endmodule
