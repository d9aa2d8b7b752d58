// SPDX-License-Identifier: Apache-2.0
// The grants of all ports, and how many of each epoch are open. A fence closes the epoch: what is
// granted later counts in the next one and never holds that fence up.
// See docs/interface.md, "Invalidation and fence".

module hmm_grants
  import hmm_pkg::*;
#(
  parameter  int unsigned Clients   = 2,
  parameter  int unsigned Epochs    = 5,
  localparam int unsigned EpochBits = (Epochs > 1) ? $clog2(Epochs) : 1
) (
  input  logic                          clk_i,
  input  logic                          rst_ni,
  // A grant begins, a grant ends
  input  logic [Clients-1:0]            grant_i,
  input  id_t  [Clients-1:0]            grant_id_i,
  input  logic [Clients-1:0]            release_i,
  input  id_t  [Clients-1:0]            release_id_i,
  output logic [Clients-1:0][Ids-1:0]   granted_o,
  // Epochs
  input  logic                          close_i,
  output logic [EpochBits-1:0]          epoch_o,
  output logic [Epochs-1:0]             open_o
);

  localparam int unsigned CountBits = $clog2(Clients * Ids + 1);

  typedef logic [EpochBits-1:0] epoch_t;
  typedef logic [CountBits-1:0] count_t;

  logic   [Clients-1:0][Ids-1:0] granted_q, granted_d;
  epoch_t [Clients-1:0][Ids-1:0] epochs_q, epochs_d;
  count_t [Epochs-1:0]           counts_q, counts_d;
  epoch_t                        epoch_q, epoch_d, epoch_now;

  // A grant in the cycle of a fence is of the next epoch already.
  assign epoch_d   = !close_i ? epoch_q : (epoch_q == epoch_t'(Epochs - 1)) ? '0 : epoch_q + 1'b1;
  assign epoch_now = epoch_d;

  always_comb begin
    granted_d = granted_q;
    epochs_d  = epochs_q;
    counts_d  = counts_q;
    for (int unsigned c = 0; c < Clients; c++) begin
      if (release_i[c]) begin
        granted_d[c][release_id_i[c]] = 1'b0;
        counts_d[epochs_q[c][release_id_i[c]]] = counts_d[epochs_q[c][release_id_i[c]]] - 1'b1;
      end
      if (grant_i[c]) begin
        granted_d[c][grant_id_i[c]] = 1'b1;
        epochs_d[c][grant_id_i[c]]  = epoch_now;
        counts_d[epoch_now]         = counts_d[epoch_now] + 1'b1;
      end
    end
  end

  always_comb begin
    for (int unsigned e = 0; e < Epochs; e++) open_o[e] = (counts_q[e] != '0);
  end

  assign granted_o = granted_q;
  assign epoch_o   = epoch_q;

  always_ff @(posedge clk_i or negedge rst_ni) begin
    if (!rst_ni) begin
      granted_q <= '0;
      epochs_q  <= '0;
      counts_q  <= '0;
      epoch_q   <= '0;
    end else begin
      granted_q <= granted_d;
      epochs_q  <= epochs_d;
      counts_q  <= counts_d;
      epoch_q   <= epoch_d;
    end
  end

  for (genvar g = 0; g < Clients; g++) begin : gen_port_assert
    RelGranted: assert property (@(posedge clk_i) disable iff (!rst_ni)
        release_i[g] |-> granted_q[g][release_id_i[g]])
      else $error("a client released an id without a grant");
    GrantFree: assert property (@(posedge clk_i) disable iff (!rst_ni)
        grant_i[g] |-> !granted_q[g][grant_id_i[g]])
      else $error("an id was granted that holds a grant already");
  end
  EpochFree: assert property (@(posedge clk_i) disable iff (!rst_ni)
      close_i |-> !open_o[epoch_d])
    else $error("an epoch begins whose grants of last time are still open");

endmodule
