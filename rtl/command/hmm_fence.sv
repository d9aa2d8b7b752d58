// SPDX-License-Identifier: Apache-2.0
// Fences that wait aside while later commands run: each for the grants of its epoch and those before,
// for bus reads of dropped walks, and for the sweep of the second-level cache. They complete in
// order: value write, sequence number, interrupt.
// See docs/interface.md, "Invalidation and fence".

module hmm_fence
  import hmm_structures_pkg::*;
  import hmm_pkg::*;
#(
  parameter int unsigned Walks     = 16,
  parameter int unsigned Depth     = 4,
  parameter int unsigned Epochs    = 5,
  parameter int unsigned EpochBits = 3
) (
  input  logic           clk_i,
  input  logic           rst_ni,
  // A fence is taken
  input  logic           fence_valid_i,
  output logic           fence_ready_o,
  input  command_t       fence_i,
  // What it waits for
  input  logic [EpochBits-1:0] epoch_i,       // of the grants that are given now
  input  logic [Epochs-1:0]    epoch_open_i,  // a grant of it is open
  input  logic [Walks-1:0]     stale_reads_i,
  input  logic                 sweeping_i,
  input  logic                 quiesce_i,  // no requests are taken: wait for all walks and grants
  input  logic                 walks_open_i,
  // A fence is complete
  output logic           complete_o,
  output logic           interrupt_o,
  output logic           bus_error_o,
  output logic [63:0]    sequence_o,       // fences completed
  output logic [63:0]    next_sequence_o,  // the number that complete_o brings
  output logic           busy_o,
  // Bus write of 8 bytes, one at a time
  output logic           write_valid_o,
  input  logic           write_ready_i,
  output pa_t            write_address_o,
  output logic [63:0]    write_data_o,
  input  logic           write_done_i,
  input  logic           write_error_i
);

  localparam int unsigned CountBits = $clog2(Depth + 1);

  typedef struct packed {
    logic [EpochBits-1:0] epoch;  // those before it are over: fences complete in order
    logic [Walks-1:0] stale_reads;
    logic           sweeping;
    logic           quiesce;
    logic           write_value;
    logic           raise_interrupt;
    pa_t            address;
    logic [63:0]    value;
  } waiting_t;

  typedef enum logic [1:0] {
    StateWait,   // for the grants
    StateWrite,  // offer the value to the bus
    StateAnswer  // wait for the write's response
  } state_e;

  waiting_t [Depth-1:0]   waiting_q, waiting_d;  // the oldest is entry 0
  logic [CountBits-1:0]   count_q, count_d;
  state_e                 state_q, state_d;
  logic [63:0]            sequence_q, sequence_d;

  logic oldest_done;

  assign oldest_done = (count_q != '0) && !epoch_open_i[waiting_q[0].epoch] &&
                       (waiting_q[0].stale_reads == '0) && !waiting_q[0].sweeping &&
                       !waiting_q[0].quiesce;

  always_comb begin
    state_d    = state_q;
    complete_o = 1'b0;
    unique case (state_q)
      StateWait: begin
        if (oldest_done) begin
          if (waiting_q[0].write_value) state_d = StateWrite;
          else                          complete_o = 1'b1;
        end
      end
      StateWrite: begin
        if (write_ready_i) state_d = StateAnswer;
      end
      StateAnswer: begin
        if (write_done_i) begin
          complete_o = 1'b1;
          state_d    = StateWait;
        end
      end
      default: ;
    endcase
  end

  assign fence_ready_o = (count_q != CountBits'(Depth));

  always_comb begin
    waiting_d = waiting_q;
    count_d   = count_q;
    for (int unsigned i = 0; i < Depth; i++) begin
      // A walk whose read is over shows none for at least a cycle before it reads again.
      waiting_d[i].stale_reads = waiting_q[i].stale_reads & stale_reads_i;
      waiting_d[i].sweeping    = waiting_q[i].sweeping && sweeping_i;
      waiting_d[i].quiesce     = waiting_q[i].quiesce && (walks_open_i || (epoch_open_i != '0));
    end
    if (complete_o) begin
      count_d = count_d - 1'b1;
      for (int unsigned i = 0; i + 1 < Depth; i++) waiting_d[i] = waiting_d[i+1];
    end
    if (fence_valid_i && fence_ready_o) begin
      for (int unsigned i = 0; i < Depth; i++) begin
        if (count_d == CountBits'(i)) begin
          waiting_d[i] = '{
            epoch:           epoch_i,
            stale_reads:     stale_reads_i,
            sweeping:        sweeping_i,
            quiesce:         quiesce_i,
            write_value:     fence_i.write_value,
            raise_interrupt: fence_i.interrupt,
            address:         fence_i.first[PaBits-1:0],
            value:           fence_i.last
          };
        end
      end
      count_d = count_d + 1'b1;
    end
    sequence_d = complete_o ? sequence_q + 64'd1 : sequence_q;
  end

  assign interrupt_o     = complete_o && waiting_q[0].raise_interrupt;
  assign bus_error_o     = (state_q == StateAnswer) && write_done_i && write_error_i;
  assign sequence_o      = sequence_q;
  assign next_sequence_o = sequence_q + 64'd1;
  assign busy_o          = (count_q != '0);
  assign write_valid_o   = (state_q == StateWrite);
  assign write_address_o = waiting_q[0].address;
  assign write_data_o    = waiting_q[0].value;

  always_ff @(posedge clk_i or negedge rst_ni) begin
    if (!rst_ni) begin
      waiting_q  <= '0;
      count_q    <= '0;
      state_q    <= StateWait;
      sequence_q <= '0;
    end else begin
      waiting_q  <= waiting_d;
      count_q    <= count_d;
      state_q    <= state_d;
      sequence_q <= sequence_d;
    end
  end

  FenceCount: assert property (@(posedge clk_i) disable iff (!rst_ni)
      count_q <= CountBits'(Depth))
    else $error("more fences wait than there is room for");
  FenceWriteStable: assert property (@(posedge clk_i) disable iff (!rst_ni)
      (write_valid_o && !write_ready_i) |=>
      (write_valid_o && $stable(write_address_o) && $stable(write_data_o)))
    else $error("a fence's value write was withdrawn or changed before it was taken");

  if (Depth < 1) begin : gen_depth_check
    $error("FenceDepth must be at least 1");
  end

  logic unused_fence;
  assign unused_fence = ^{fence_i.opcode, fence_i.all_contexts, fence_i.cancel, fence_i.access,
                          fence_i.pasid, fence_i.reserved_0, fence_i.reserved_1, fence_i.reserved_2,
                          fence_i.first[63:PaBits]};

endmodule
