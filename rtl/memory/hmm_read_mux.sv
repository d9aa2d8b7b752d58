// SPDX-License-Identifier: Apache-2.0
// Brings the line reads of the walker and of the command ring onto one AXI4 read channel. Each has at most one read
// open; the id tells them apart. See docs/interface.md, "Memory bus".

module hmm_read_mux
  import hmm_pkg::*;
(
  input  logic                 clk_i,
  input  logic                 rst_ni,
  // Walker
  input  logic                 walk_valid_i,
  output logic                 walk_ready_o,
  input  pa_t                  walk_address_i,
  output logic                 walk_done_o,
  // Command ring
  input  logic                 command_valid_i,
  output logic                 command_ready_o,
  input  pa_t                  command_address_i,
  output logic                 command_done_o,
  // Data for both
  output line_t                line_o,
  output logic                 error_o,
  // AXI4 read channels
  output logic                 arvalid_o,
  input  logic                 arready_i,
  output logic [AxiIdBits-1:0] arid_o,
  output pa_t                  araddr_o,
  input  logic                 rvalid_i,
  output logic                 rready_o,
  input  logic [AxiIdBits-1:0] rid_i,
  input  line_t                rdata_i,
  input  logic [1:0]           rresp_i,
  input  logic                 rlast_i
);

  // An address that was offered stays: the choice is held until it is taken.
  logic held_q, held_d, held_command_q, held_command_d, choose_command;

  assign choose_command = held_q ? held_command_q : !walk_valid_i;

  assign arvalid_o = choose_command ? command_valid_i : walk_valid_i;
  assign arid_o    = choose_command ? AxiIdCommand : AxiIdWalk;
  assign araddr_o  = choose_command ? command_address_i : walk_address_i;

  assign walk_ready_o    = arready_i && !choose_command;
  assign command_ready_o = arready_i && choose_command;

  assign held_d         = arvalid_o && !arready_i;
  assign held_command_d = choose_command;

  assign rready_o       = 1'b1;
  assign walk_done_o    = rvalid_i && (rid_i == AxiIdWalk);
  assign command_done_o = rvalid_i && (rid_i == AxiIdCommand);
  assign line_o         = rdata_i;
  assign error_o        = (rresp_i != 2'b00);

  always_ff @(posedge clk_i or negedge rst_ni) begin
    if (!rst_ni) begin
      held_q         <= 1'b0;
      held_command_q <= 1'b0;
    end else begin
      held_q         <= held_d;
      held_command_q <= held_command_d;
    end
  end

  ArStable: assert property (@(posedge clk_i) disable iff (!rst_ni)
      (arvalid_o && !arready_i) |=> (arvalid_o && $stable({arid_o, araddr_o})))
    else $error("a read address was withdrawn or changed before it was taken");
  RKnown: assert property (@(posedge clk_i) disable iff (!rst_ni)
      rvalid_i |-> (rlast_i && (walk_done_o || command_done_o)))
    else $error("read data came that nobody asked for");

endmodule
