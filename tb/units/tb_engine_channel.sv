// SPDX-License-Identifier: Apache-2.0
// The far end of one of the access engine's channels: takes a transfer after a pause, tells the
// Python side, which looks up the answer while time stands still, and answers after a delay.

module tb_engine_channel (
  input  logic        clk,
  input  logic        rst_n,
  // The engine
  input  logic        valid,
  output logic        ready,
  output logic        done,   // one cycle, with the answer that Python put beside it
  // Python
  input  logic [15:0] pause,  // cycles from valid to ready; 0: ready is there before valid
  input  logic [15:0] delay,  // cycles more than the least from the transfer to done
  output logic        asked   // changes with each transfer
);

  logic        open_q;
  logic [15:0] paused_q, delayed_q;

  assign ready = !open_q && (paused_q == pause);
  assign done  = open_q && (delayed_q == delay);

  always_ff @(posedge clk or negedge rst_n) begin
    if (!rst_n) begin
      open_q    <= 1'b0;
      paused_q  <= '0;
      delayed_q <= '0;
    end else begin
      if (valid && ready) open_q <= 1'b1;
      else if (done)      open_q <= 1'b0;
      paused_q  <= (open_q || !valid) ? '0 : (ready ? paused_q : paused_q + 16'd1);
      delayed_q <= (open_q && !done) ? delayed_q + 16'd1 : '0;
    end
  end

  // A reset is no transfer.
  initial asked = 1'b0;
  always_ff @(posedge clk) begin
    if (rst_n && valid && ready) asked <= !asked;
  end

endmodule
