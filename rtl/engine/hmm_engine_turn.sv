// SPDX-License-Identifier: Apache-2.0
// Lets several users share one channel, in turn: the next user behind the last one goes first. What
// was shown and not taken stays. No cycle is added when nobody else wants the channel.

module hmm_engine_turn #(
  parameter int unsigned Users = 2,
  localparam int unsigned UserBits = (Users > 1) ? $clog2(Users) : 1
) (
  input  logic                clk_i,
  input  logic                rst_ni,
  input  logic [Users-1:0]    valid_i,   // stays until taken, once it was shown
  output logic [Users-1:0]    shown_o,   // the one whose turn it is, if it is valid
  output logic [UserBits-1:0] choice_o,
  output logic                valid_o,
  input  logic                ready_i
);

  logic                held_q, held_d;
  logic [UserBits-1:0] choice_q, choice_d, choice;

  always_comb begin
    logic found;
    found  = 1'b0;
    choice = choice_q;
    for (int unsigned i = 0; i < 2 * Users; i++) begin
      if (!found && (i > 32'(choice_q)) && valid_i[(i >= Users) ? i - Users : i]) begin
        found  = 1'b1;
        choice = UserBits'((i >= Users) ? i - Users : i);
      end
    end
    if (held_q) choice = choice_q;
  end

  always_comb begin
    for (int unsigned i = 0; i < Users; i++) begin
      shown_o[i] = valid_i[i] && (choice == UserBits'(i));
    end
  end

  assign choice_o = choice;
  assign valid_o  = (shown_o != '0);
  assign held_d   = valid_o && !ready_i;
  assign choice_d = valid_o ? choice : choice_q;

  always_ff @(posedge clk_i or negedge rst_ni) begin
    if (!rst_ni) begin
      held_q   <= 1'b0;
      choice_q <= '0;
    end else begin
      held_q   <= held_d;
      choice_q <= choice_d;
    end
  end

  TurnStable: assert property (@(posedge clk_i) disable iff (!rst_ni)
      (valid_o && !ready_i) |=> (valid_o && $stable(choice_o)))
    else $error("what was shown was withdrawn before it was taken");

endmodule
