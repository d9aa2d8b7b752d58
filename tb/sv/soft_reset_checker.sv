// SPDX-License-Identifier: Apache-2.0
// What a device must keep on its memory bus in a soft reset: nothing new begins from its first cycle
// on, and nothing is on its way when it is over. Counts for itself; serves any AXI4 manager.

module soft_reset_checker (
  input logic clk_i,
  input logic rst_ni,
  input logic reset_i,  // a soft reset, from its first cycle to its last
  input logic awvalid_i,
  input logic awready_i,
  input logic wvalid_i,
  input logic wready_i,
  input logic wlast_i,
  input logic bvalid_i,
  input logic bready_i,
  input logic arvalid_i,
  input logic arready_i,
  input logic rvalid_i,
  input logic rready_i,
  input logic rlast_i
);

  typedef logic [31:0] count_t;

  // Since the hard reset: handshakes of addresses and of last beats of data, and responses.
  count_t reads_q, read_ends_q, addresses_q, data_q, write_ends_q;
  // Begun by now, an offer included. A write begins with whichever half is first.
  count_t reads_begun, addresses_begun, data_begun, writes_begun, reads_before_q, writes_before_q;

  assign reads_begun     = reads_q + count_t'(arvalid_i);
  assign addresses_begun = addresses_q + count_t'(awvalid_i);
  assign data_begun      = data_q + count_t'(wvalid_i && wlast_i);
  assign writes_begun    = (addresses_begun > data_begun) ? addresses_begun : data_begun;

  always_ff @(posedge clk_i or negedge rst_ni) begin
    if (!rst_ni) begin
      reads_q         <= '0;
      read_ends_q     <= '0;
      addresses_q     <= '0;
      data_q          <= '0;
      write_ends_q    <= '0;
      reads_before_q  <= '0;
      writes_before_q <= '0;
    end else begin
      reads_q         <= reads_q + count_t'(arvalid_i && arready_i);
      read_ends_q     <= read_ends_q + count_t'(rvalid_i && rready_i && rlast_i);
      addresses_q     <= addresses_q + count_t'(awvalid_i && awready_i);
      data_q          <= data_q + count_t'(wvalid_i && wready_i && wlast_i);
      write_ends_q    <= write_ends_q + count_t'(bvalid_i && bready_i);
      reads_before_q  <= reads_begun;
      writes_before_q <= writes_begun;
    end
  end

  default clocking @(posedge clk_i); endclocking
  default disable iff (!rst_ni);

  soft_reset_no_new_read: assert property (reset_i |-> reads_begun == reads_before_q)
    else $error("a read begins in a soft reset");
  soft_reset_no_new_write: assert property (reset_i |-> writes_begun == writes_before_q)
    else $error("a write begins in a soft reset");
  soft_reset_quiet_end: assert property ($fell(reset_i) |->
      (reads_q == read_ends_q) && (addresses_q == write_ends_q) && (data_q == write_ends_q))
    else $error("a soft reset is over while something is on its way on the memory bus");

endmodule
