// SPDX-License-Identifier: Apache-2.0
// Switches translation on and off: takes a format only if nothing speaks against it, and on the way
// down lets what is open end before the caches are dropped. See docs/interface.md, "Enable and
// disable".

module hmm_enable
  import hmm_pkg::*;
(
  input  logic       clk_i,
  input  logic       rst_ni,
  input  logic       enable_i,   // CONTROL.ENABLE
  input  logic [5:0] refused_i,  // what speaks against the format
  input  logic       busy_i,     // a request, walk or grant is open
  output logic       enabled_o,  // requests are taken
  output logic       stopping_o, // on the way down: what waits is given up
  output logic       locked_o,   // the format and the context table must not change
  output logic       flush_o,    // drop the caches
  output logic       refuse_o,   // one cycle: an enable was refused
  output logic [5:0] refused_o   // why the last enable was refused
);

  typedef enum logic [1:0] {
    StateOff,
    StateOn,
    StateStopping,  // takes no requests, waits for what is open
    StateRefused    // off until the host takes its wish back
  } state_e;

  state_e     state_q, state_d;
  logic [5:0] refused_q, refused_d;

  //   state     enable  else                 | next
  //   Off          0     -                   | Off
  //   Off          1    format refused       | Refused
  //   Off          1    format good          | On
  //   On           1     -                   | On
  //   On           0     -                   | Stopping
  //   Stopping     -    something open       | Stopping
  //   Stopping     -    nothing open         | Off, caches dropped
  //   Refused      1     -                   | Refused
  //   Refused      0     -                   | Off
  always_comb begin
    state_d   = state_q;
    refused_d = refused_q;
    flush_o   = 1'b0;
    refuse_o  = 1'b0;
    unique case (state_q)
      StateOff: begin
        if (enable_i) begin
          refused_d = refused_i;
          refuse_o  = (refused_i != '0);
          state_d   = (refused_i != '0) ? StateRefused : StateOn;
        end
      end
      StateOn: begin
        if (!enable_i) state_d = StateStopping;
      end
      StateStopping: begin
        if (!busy_i) begin
          flush_o = 1'b1;
          state_d = StateOff;
        end
      end
      StateRefused: begin
        if (!enable_i) state_d = StateOff;
      end
    endcase
  end

  assign enabled_o = (state_q == StateOn);
  assign stopping_o = (state_q == StateStopping);
  assign locked_o  = (state_q == StateOn) || (state_q == StateStopping);
  assign refused_o = refused_q;

  always_ff @(posedge clk_i or negedge rst_ni) begin
    if (!rst_ni) begin
      state_q   <= StateOff;
      refused_q <= '0;
    end else begin
      state_q   <= state_d;
      refused_q <= refused_d;
    end
  end

  EnableOffAfterReset: assert property (@(posedge clk_i) $rose(rst_ni) |-> (state_q == StateOff))
    else $error("translation is not off after a reset");

endmodule
