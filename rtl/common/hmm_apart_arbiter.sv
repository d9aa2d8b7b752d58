// SPDX-License-Identifier: Apache-2.0
// Chooses one of several in turn, like hmm_arbiter, but takes neighbours apart: every eighth input,
// then every eighth from the next on, and so forth.

module hmm_apart_arbiter #(
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

  localparam int unsigned Apart = 8;

  typedef logic [IndexBits-1:0] index_t;
  typedef index_t [Inputs-1:0]  order_t;

  function automatic order_t inputs_apart();
    order_t      order;
    int unsigned next;
    order = '0;
    next  = 0;
    for (int unsigned r = 0; r < Apart; r++) begin
      for (int unsigned i = r; i < Inputs; i += Apart) begin
        order[next] = index_t'(i);
        next++;
      end
    end
    return order;
  endfunction

  localparam order_t InputsApart = inputs_apart();

  logic [Inputs-1:0] in_order;
  index_t            choice;

  always_comb begin
    for (int unsigned i = 0; i < Inputs; i++) in_order[i] = request_i[InputsApart[i]];
  end

  hmm_arbiter #(.Inputs (Inputs)) u_arbiter (
    .clk_i,
    .rst_ni,
    .request_i (in_order),
    .served_i  (served_i),
    .valid_o   (valid_o),
    .index_o   (choice)
  );

  assign index_o = InputsApart[choice];

endmodule
