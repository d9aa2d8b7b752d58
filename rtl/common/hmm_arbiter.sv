// SPDX-License-Identifier: Apache-2.0
// Chooses one of several in turn: the next one behind the last that was served. Every input that
// goes on asking is served after at most Inputs - 1 others. Does not hold its choice.

module hmm_arbiter #(
  parameter  int unsigned Inputs    = 4,
  localparam int unsigned IndexBits = (Inputs > 1) ? $clog2(Inputs) : 1
) (
  input  logic                 clk_i,
  input  logic                 rst_ni,
  input  logic [Inputs-1:0]    request_i,
  input  logic                 served_i,  // the choice is served in this cycle
  output logic                 valid_o,
  output logic [IndexBits-1:0] index_o
);

  typedef logic [Inputs-1:0]               inputs_t;
  typedef inputs_t [IndexBits-1:0]         masks_t;

  // For each bit of an index, the inputs whose index has it set.
  function automatic masks_t index_masks();
    masks_t masks;
    masks = '0;
    for (int unsigned b = 0; b < IndexBits; b++) begin
      for (int unsigned i = 0; i < Inputs; i++) masks[b][i] = 1'((i >> b) & 1);
    end
    return masks;
  endfunction

  localparam masks_t IndexMasks = index_masks();

  inputs_t passed_q, passed_d;  // up to and with the last that was served
  inputs_t behind, candidates, choice;

  assign behind     = request_i & ~passed_q;
  assign candidates = (behind != '0) ? behind : request_i;
  assign choice     = candidates & (~candidates + inputs_t'(1));
  assign valid_o    = (request_i != '0);

  always_comb begin
    for (int unsigned b = 0; b < IndexBits; b++) index_o[b] = |(choice & IndexMasks[b]);
  end

  assign passed_d = (served_i && valid_o) ? (choice | (choice - inputs_t'(1))) : passed_q;

  always_ff @(posedge clk_i or negedge rst_ni) begin
    if (!rst_ni) passed_q <= '0;
    else         passed_q <= passed_d;
  end

  ArbiterServesOneThatAsks: assert property (@(posedge clk_i) disable iff (!rst_ni)
      valid_o |-> ($onehot(choice) && request_i[index_o]))
    else $error("the arbiter chose an input that does not ask");

  if (Inputs < 1) begin : gen_inputs_check
    $error("Inputs must be at least 1");
  end

endmodule
