// SPDX-License-Identifier: Apache-2.0
// Lets several users share one channel in turn, like hmm_arbiter, but holds its choice: what was
// shown and not taken stays. No cycle is added when nobody else wants the channel. A user is passed
// over by each other one at most once.

module hmm_held_arbiter #(
  parameter  int unsigned Inputs    = 2,
  localparam int unsigned IndexBits = (Inputs > 1) ? $clog2(Inputs) : 1
) (
  input  logic                 clk_i,
  input  logic                 rst_ni,
  input  logic [Inputs-1:0]    request_i,  // stays until taken, once it was shown
  output logic                 valid_o,
  output logic [IndexBits-1:0] index_o,
  output logic [Inputs-1:0]    shown_o,    // the one of index_o, if valid
  input  logic                 ready_i
);

  logic                 held_q, held_d;
  logic [IndexBits-1:0] index_q, index_d, choice;
  logic                 found;

  // Its turn is over for the arbiter when a choice is shown: while it is held others may come.
  hmm_arbiter #(.Inputs (Inputs)) u_arbiter (
    .clk_i,
    .rst_ni,
    .request_i (request_i),
    .served_i  (!held_q),
    .valid_o   (found),
    .index_o   (choice)
  );

  assign index_o = held_q ? index_q : choice;
  assign valid_o = (shown_o != '0);
  assign held_d  = valid_o && !ready_i;
  assign index_d = index_o;

  always_comb begin
    for (int unsigned i = 0; i < Inputs; i++) begin
      shown_o[i] = request_i[i] && (index_o == IndexBits'(i));
    end
  end

  always_ff @(posedge clk_i or negedge rst_ni) begin
    if (!rst_ni) begin
      held_q  <= 1'b0;
      index_q <= '0;
    end else begin
      held_q  <= held_d;
      index_q <= index_d;
    end
  end

  // ---- Promises ---------------------------------------------------------------------------------

  HeldShowsOneThatAsks: assert property (@(posedge clk_i) disable iff (!rst_ni)
      found |-> (valid_o && $onehot(shown_o)))
    else $error("somebody asks for a channel and nobody is shown");
  HeldStable: assert property (@(posedge clk_i) disable iff (!rst_ni)
      (valid_o && !ready_i) |=> (valid_o && $stable(index_o)))
    else $error("what was shown was withdrawn before it was taken");
  for (genvar i = 0; i < Inputs; i++) begin : gen_fair
    logic [IndexBits:0] passed_q, passed_d;
    assign passed_d = (!request_i[i] || shown_o[i]) ? '0 :
                      passed_q + (IndexBits + 1)'(valid_o && ready_i);
    always_ff @(posedge clk_i or negedge rst_ni) begin
      if (!rst_ni) passed_q <= '0;
      else         passed_q <= passed_d;
    end
    HeldFair: assert property (@(posedge clk_i) disable iff (!rst_ni) 32'(passed_q) < Inputs)
      else $error("a user of a channel was passed over more often than there are others");
  end

endmodule
