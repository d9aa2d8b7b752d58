// SPDX-License-Identifier: Apache-2.0
// Soft reset: from the cycle of CONTROL.SOFT_RESET on nothing new is offered to the memory bus, what
// was offered goes on, and when every response is home, one cycle of reset reaches everything but
// the bus and register interfaces. Stands between the units that share the memory bus and its pins,
// and counts there, so that it need not know who uses it. See docs/interface.md, "Reset".

module hmm_soft_reset #(
  parameter int unsigned CountBits = 8  // fewer than 2**CountBits accesses of a kind are open
) (
  input  logic clk_i,
  input  logic rst_ni,
  input  logic soft_reset_i,  // CONTROL.SOFT_RESET; the reset itself ends it
  output logic inner_rst_no,  // reset of everything inside: the hard one, or one cycle of the soft
  output logic clients_reset_o,  // the soft reset is on its way: ports are dead
  // From inside
  input  logic inner_arvalid_i,
  output logic inner_arready_o,
  input  logic inner_awvalid_i,
  output logic inner_awready_o,
  input  logic inner_wvalid_i,
  output logic inner_wready_o,
  // Memory bus
  output logic arvalid_o,
  input  logic arready_i,
  input  logic rvalid_i,
  input  logic rready_i,
  input  logic rlast_i,
  output logic awvalid_o,
  input  logic awready_i,
  output logic wvalid_o,
  input  logic wready_i,
  input  logic wlast_i,
  input  logic bvalid_i,
  input  logic bready_i
);

  typedef logic [CountBits-1:0] count_t;

  // Offered in the cycle before and not taken: stays offered.
  logic   ar_offered_q, ar_offered_d, aw_offered_q, aw_offered_d, w_offered_q, w_offered_d;
  count_t reads_q, reads_d;          // read addresses taken, data not home
  count_t addresses_q, addresses_d;  // write addresses taken, response not home
  count_t data_q, data_d;            // write data taken, response not home
  logic   resetting_q, resetting_d;
  logic [CountBits:0] addresses_begun, data_begun;
  logic   drains, quiet;
  logic   ar_goes, aw_goes, w_goes;
  logic   ar_taken, r_taken, aw_taken, w_taken, b_taken;

  assign drains = soft_reset_i || resetting_q;

  // Writes of which one half was offered: the other half follows, and nothing beyond it.
  assign addresses_begun = {1'b0, addresses_q} + (CountBits + 1)'(aw_offered_q);
  assign data_begun      = {1'b0, data_q} + (CountBits + 1)'(w_offered_q);

  assign ar_goes = !drains || ar_offered_q;
  assign aw_goes = !drains || aw_offered_q || (data_begun > addresses_begun);
  assign w_goes  = !drains || w_offered_q || (addresses_begun > data_begun);

  assign arvalid_o       = inner_arvalid_i && ar_goes;
  assign awvalid_o       = inner_awvalid_i && aw_goes;
  assign wvalid_o        = inner_wvalid_i && w_goes;
  assign inner_arready_o = arready_i && ar_goes;
  assign inner_awready_o = awready_i && aw_goes;
  assign inner_wready_o  = wready_i && w_goes;

  assign ar_taken = arvalid_o && arready_i;
  assign r_taken  = rvalid_i && rready_i && rlast_i;
  assign aw_taken = awvalid_o && awready_i;
  assign w_taken  = wvalid_o && wready_i && wlast_i;
  assign b_taken  = bvalid_i && bready_i;

  assign ar_offered_d = arvalid_o && !arready_i;
  assign aw_offered_d = awvalid_o && !awready_i;
  assign w_offered_d  = wvalid_o && !wready_i;
  assign reads_d      = reads_q + count_t'(ar_taken) - count_t'(r_taken);
  assign addresses_d  = addresses_q + count_t'(aw_taken) - count_t'(b_taken);
  assign data_d       = data_q + count_t'(w_taken) - count_t'(b_taken);

  assign quiet = !ar_offered_q && !aw_offered_q && !w_offered_q && (reads_q == '0) &&
                 (addresses_q == '0) && (data_q == '0);

  assign resetting_d     = soft_reset_i && quiet && !resetting_q;
  assign inner_rst_no    = rst_ni && !resetting_q;
  assign clients_reset_o = drains;

  always_ff @(posedge clk_i or negedge rst_ni) begin
    if (!rst_ni) begin
      ar_offered_q <= 1'b0;
      aw_offered_q <= 1'b0;
      w_offered_q  <= 1'b0;
      reads_q      <= '0;
      addresses_q  <= '0;
      data_q       <= '0;
      resetting_q  <= 1'b0;
    end else begin
      ar_offered_q <= ar_offered_d;
      aw_offered_q <= aw_offered_d;
      w_offered_q  <= w_offered_d;
      reads_q      <= reads_d;
      addresses_q  <= addresses_d;
      data_q       <= data_d;
      resetting_q  <= resetting_d;
    end
  end

  IdleAfterReset: assert property (@(posedge clk_i) $rose(rst_ni) |-> !clients_reset_o)
    else $error("a soft reset is on its way after a hard one");
  Transparent: assert property (@(posedge clk_i) disable iff (!rst_ni)
      !clients_reset_o |->
      ({arvalid_o, awvalid_o, wvalid_o, inner_arready_o, inner_awready_o, inner_wready_o} ==
       {inner_arvalid_i, inner_awvalid_i, inner_wvalid_i, arready_i, awready_i, wready_i}))
    else $error("the memory bus is held up although there is no soft reset");
  CountsFit: assert property (@(posedge clk_i) disable iff (!rst_ni)
      !(ar_taken && !r_taken && (reads_q == '1)) &&
      !(aw_taken && !b_taken && (addresses_q == '1)) && !(w_taken && !b_taken && (data_q == '1)))
    else $error("more accesses are open on the memory bus than are counted");
  ResponsesAsked: assert property (@(posedge clk_i) disable iff (!rst_ni)
      (r_taken |-> (reads_q != '0)) and (b_taken |-> ((addresses_q != '0) && (data_q != '0))))
    else $error("a response came on the memory bus that nobody waits for");
  QuietInReset: assert property (@(posedge clk_i) disable iff (!rst_ni)
      resetting_q |-> (quiet && !arvalid_o && !awvalid_o && !wvalid_o))
    else $error("a soft reset came over a memory bus in use");

endmodule
