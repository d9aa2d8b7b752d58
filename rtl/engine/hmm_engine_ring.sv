// SPDX-License-Identifier: Apache-2.0
// Takes descriptors from their ring and gives each a lane: reads them ahead, lets them begin in ring
// order, and writes their completions in ring order. The lanes are used in turn, so the ring's order
// is theirs. Does not look at virtual memory. See docs/engine.md, "Rings".

module hmm_engine_ring
  import hmm_structures_pkg::*;
  import hmm_pkg::*;
#(
  parameter int unsigned Lanes = 4
) (
  input  logic                    clk_i,
  input  logic                    rst_ni,
  // Registers
  input  logic                    enable_i,
  input  logic        [51:0]      ring_base_i,
  input  logic        [3:0]       ring_log2_i,
  input  logic        [31:0]      tail_i,
  input  logic        [51:0]      completion_base_i,
  output logic        [31:0]      head_o,
  output logic                    active_o,
  output logic                    halted_o,
  output logic                    busy_o,  // a descriptor is read, performed or completed
  // Causes, one cycle each
  output logic                    done_o,
  output logic                    error_o,
  output logic                    overrun_o,
  output logic                    bus_error_o,
  // Lanes
  output logic        [Lanes-1:0] load_o,   // the line that comes is its descriptor
  output logic        [Lanes-1:0] start_o,
  output logic                    malformed_o,
  output logic                    stop_o,
  output logic        [Lanes-1:0] clear_o,
  input  descriptor_t [Lanes-1:0] descriptor_i,
  input  logic        [Lanes-1:0] done_i,
  input  completion_t [Lanes-1:0] completion_i,
  // Bus reads of whole lines, under the tag of the lane that it is for
  output logic                    read_valid_o,
  input  logic                    read_ready_i,
  output pa_t                     read_address_o,
  output tag_t                    read_tag_o,
  input  logic        [Lanes-1:0] read_done_i,
  input  logic                    read_error_i,
  // Bus writes of parts of a line, several at a time, answered in order
  output logic                    write_valid_o,
  input  logic                    write_ready_i,
  output pa_t                     write_address_o,
  output line_t                   write_line_o,
  output logic        [63:0]      write_strobe_o,
  input  logic                    write_done_i,
  input  logic                    write_error_i
);

  localparam int unsigned LaneBits = (Lanes > 1) ? $clog2(Lanes) : 1;

  typedef logic [LaneBits-1:0] lane_t;

  function automatic lane_t next_lane(lane_t lane);
    return (32'(lane) == Lanes - 1) ? '0 : lane + lane_t'(1);
  endfunction

  typedef enum logic [1:0] {
    StateOff,
    StateRun,
    StateStop,  // begin nothing, end what is in hand
    StateHalted
  } state_e;

  // The life of a descriptor
  typedef enum logic [2:0] {
    LaneEmpty,
    LaneRead,      // its line is asked for
    LaneWaits,     // here, not begun
    LaneFailed,    // cannot be read, or has no place: the ring halts when it is the first
    LaneMoves,     // begun; when the lane says so, done
    LaneCompletes  // its completion is on its way
  } lane_e;

  state_e            state_q, state_d;
  logic              abandoned_q, abandoned_d;  // switched off under a descriptor
  logic              overrun_q, overrun_d;      // the tail was too far ahead
  lane_e [Lanes-1:0] lane_q, lane_d;
  // Free-running: completed; the next to read; the next to write a completion for
  logic [31:0]       head_q, head_d, fetch_q, fetch_d, complete_q, complete_d;
  // The lanes of these, and of the next to begin
  lane_t             head_lane_q, head_lane_d, fetch_lane_q, fetch_lane_d;
  lane_t             complete_lane_q, complete_lane_d, start_lane_q, start_lane_d;
  logic              fetch_held_q, fetch_held_d, complete_held_q, complete_held_d;
  logic              publish_q, publish_d, interrupt_q, interrupt_d, failed_q, failed_d;
  logic [51:0]       ring_base_q, ring_base_d, completion_base_q, completion_base_d;
  logic [3:0]        ring_log2_q, ring_log2_d;

  // ---- Places -----------------------------------------------------------------------------------

  logic [31:0] waiting, given, ring_size, fetch_slot, complete_slot;
  logic [52:0] slot_address, far_address, completion_address;
  logic        off_bus;

  assign waiting            = tail_i - head_q;
  // A host that polls memory knows a completion before the head counts it.
  assign given              = tail_i - complete_q;
  assign ring_size          = 32'd1 << ring_log2_q;
  assign fetch_slot         = fetch_q & (ring_size - 32'd1);
  assign complete_slot      = complete_q & (ring_size - 32'd1);
  assign slot_address       = {1'b0, ring_base_q} + {15'd0, fetch_slot, 6'd0};
  assign far_address        = {1'b0, completion_base_q} + {16'd0, fetch_slot, 5'd0};
  assign completion_address = {1'b0, completion_base_q} + {16'd0, complete_slot, 5'd0};

  // Both ends of a descriptor's way must be on the bus before anything is moved for it.
  assign off_bus = (slot_address[52:PaBits] != '0) || (far_address[52:PaBits] != '0);

  // ---- What may happen in this cycle ------------------------------------------------------------

  logic              run;       // new things may begin
  logic              wanted;    // a descriptor is there, and a lane for it
  logic              fetch_taken, complete_taken, started, malformed, first_starts;
  logic              begun;     // a descriptor has begun and is not complete
  logic              at_rest;
  descriptor_t       next;

  assign run    = (state_q == StateRun) && !abandoned_d;
  assign wanted = run && !overrun_d && (lane_q[fetch_lane_q] == LaneEmpty) &&
                  (waiting > fetch_q - head_q);

  assign read_valid_o   = fetch_held_q || (wanted && !off_bus);
  assign read_address_o = {slot_address[PaBits-1:6], 6'd0};
  assign read_tag_o     = tag_t'(fetch_lane_q);
  assign fetch_taken    = read_valid_o && read_ready_i;
  assign fetch_held_d   = read_valid_o && !read_ready_i;

  // Begins in ring order; an ordered one when it is the first.
  assign next         = descriptor_i[start_lane_q];
  assign first_starts = (start_lane_q == head_lane_q);
  assign started      = run && !overrun_d && (lane_q[start_lane_q] == LaneWaits) &&
                        (first_starts || !next.ordered);

  hmm_engine_check u_check (
    .descriptor_i (next),
    .malformed_o  (malformed)
  );

  assign write_valid_o   = complete_held_q || (run && (lane_q[complete_lane_q] == LaneMoves) &&
                                               done_i[complete_lane_q]);
  assign complete_taken  = write_valid_o && write_ready_i;
  assign complete_held_d = write_valid_o && !write_ready_i;

  completion_t completion;

  always_comb begin
    completion       = completion_i[complete_lane_q];
    completion.index = complete_q;
  end

  assign write_address_o = {completion_address[PaBits-1:6], 6'd0};
  assign write_line_o    = {2{completion}};
  assign write_strobe_o  = completion_address[5] ? {32'hffff_ffff, 32'd0} : {32'd0, 32'hffff_ffff};

  always_comb begin
    begun   = 1'b0;
    at_rest = !fetch_held_q && !complete_held_q;
    for (int unsigned i = 0; i < Lanes; i++) begin
      if ((lane_q[i] == LaneMoves) || (lane_q[i] == LaneCompletes)) begun = 1'b1;
      if ((lane_q[i] == LaneRead) || (lane_q[i] == LaneCompletes) ||
          ((lane_q[i] == LaneMoves) && !done_i[i])) at_rest = 1'b0;
    end
  end

  // ---- Lanes ------------------------------------------------------------------------------------

  logic answered;  // the completion of the first one

  assign answered = write_done_i && (lane_q[head_lane_q] == LaneCompletes);

  always_comb begin
    lane_d          = lane_q;
    fetch_d         = fetch_q;
    complete_d      = complete_q;
    fetch_lane_d    = fetch_lane_q;
    start_lane_d    = start_lane_q;
    complete_lane_d = complete_lane_q;
    head_lane_d     = head_lane_q;
    load_o          = '0;
    start_o         = '0;
    clear_o         = '0;
    if (fetch_taken || (wanted && !fetch_held_q && off_bus)) begin
      lane_d[fetch_lane_q] = fetch_taken ? LaneRead : LaneFailed;
      fetch_d              = fetch_q + 32'd1;
      fetch_lane_d         = next_lane(fetch_lane_q);
    end
    for (int unsigned i = 0; i < Lanes; i++) begin
      if (read_done_i[i] && (lane_q[i] == LaneRead)) begin
        load_o[i] = 1'b1;
        lane_d[i] = read_error_i ? LaneFailed : LaneWaits;
      end
    end
    if (started) begin
      start_o[start_lane_q] = 1'b1;
      lane_d[start_lane_q]  = LaneMoves;
      start_lane_d          = next_lane(start_lane_q);
    end
    if (complete_taken) begin
      lane_d[complete_lane_q] = LaneCompletes;
      complete_d              = complete_q + 32'd1;
      complete_lane_d         = next_lane(complete_lane_q);
    end
    if (answered) begin
      clear_o[head_lane_q] = 1'b1;
      lane_d[head_lane_q]  = LaneEmpty;
      head_lane_d          = next_lane(head_lane_q);
    end
    if ((state_q == StateStop) && at_rest) begin
      lane_d          = {Lanes{LaneEmpty}};
      clear_o         = '1;
      fetch_d         = '0;
      complete_d      = '0;
      fetch_lane_d    = '0;
      start_lane_d    = '0;
      complete_lane_d = '0;
      head_lane_d     = '0;
    end
  end

  // ---- The ring ---------------------------------------------------------------------------------

  // A descriptor that was abandoned is not reported: no completion is begun, the head does not
  // count it.
  always_comb begin
    state_d           = state_q;
    abandoned_d       = abandoned_q || !enable_i;
    overrun_d         = overrun_q;
    head_d            = head_q;
    publish_d         = 1'b0;
    ring_base_d       = ring_base_q;
    ring_log2_d       = ring_log2_q;
    completion_base_d = completion_base_q;
    bus_error_o       = 1'b0;
    overrun_o         = 1'b0;
    unique case (state_q)
      StateOff: begin
        head_d            = '0;
        abandoned_d       = 1'b0;
        overrun_d         = 1'b0;
        ring_base_d       = ring_base_i;
        ring_log2_d       = ring_log2_i;
        completion_base_d = completion_base_i;
        if (enable_i) state_d = StateRun;
      end
      StateRun: begin
        if (given > ring_size) overrun_d = 1'b1;
        if (abandoned_d) begin
          state_d = StateStop;
        end else if (answered && write_error_i) begin
          bus_error_o = 1'b1;
          state_d     = StateStop;
        end else if (answered) begin
          head_d    = head_q + 32'd1;
          publish_d = 1'b1;
        end else if (overrun_d && !begun) begin
          overrun_o = 1'b1;
          state_d   = StateStop;
        end else if (first_starts && (lane_q[head_lane_q] == LaneFailed)) begin
          bus_error_o = 1'b1;
          state_d     = StateStop;
        end
      end
      StateStop: begin
        if (at_rest) state_d = abandoned_d ? StateOff : StateHalted;
      end
      StateHalted: begin
        if (!enable_i) state_d = StateOff;
      end
    endcase
  end

  assign interrupt_d = descriptor_i[head_lane_q].interrupt;
  assign failed_d    = (completion_i[head_lane_q].status != COMPLETION_STATUS_OK);

  assign head_o      = head_q;
  assign active_o    = (state_q == StateRun) || (state_q == StateStop);
  assign halted_o    = (state_q == StateHalted);
  assign busy_o      = (lane_q != {Lanes{LaneEmpty}}) || read_valid_o || publish_q ||
                       (state_q == StateStop);
  assign done_o      = publish_q && interrupt_q;
  assign error_o     = publish_q && failed_q;
  assign malformed_o = malformed;
  assign stop_o      = (state_q == StateStop) || abandoned_d;

  always_ff @(posedge clk_i or negedge rst_ni) begin
    if (!rst_ni) begin
      state_q           <= StateOff;
      abandoned_q       <= 1'b0;
      overrun_q         <= 1'b0;
      lane_q            <= {Lanes{LaneEmpty}};
      head_q            <= '0;
      fetch_q           <= '0;
      complete_q        <= '0;
      head_lane_q       <= '0;
      fetch_lane_q      <= '0;
      start_lane_q      <= '0;
      complete_lane_q   <= '0;
      fetch_held_q      <= 1'b0;
      complete_held_q   <= 1'b0;
      publish_q         <= 1'b0;
      interrupt_q       <= 1'b0;
      failed_q          <= 1'b0;
      ring_base_q       <= '0;
      ring_log2_q       <= '0;
      completion_base_q <= '0;
    end else begin
      state_q           <= state_d;
      abandoned_q       <= abandoned_d;
      overrun_q         <= overrun_d;
      lane_q            <= lane_d;
      head_q            <= head_d;
      fetch_q           <= fetch_d;
      complete_q        <= complete_d;
      head_lane_q       <= head_lane_d;
      fetch_lane_q      <= fetch_lane_d;
      start_lane_q      <= start_lane_d;
      complete_lane_q   <= complete_lane_d;
      fetch_held_q      <= fetch_held_d;
      complete_held_q   <= complete_held_d;
      publish_q         <= publish_d;
      interrupt_q       <= interrupt_d;
      failed_q          <= failed_d;
      ring_base_q       <= ring_base_d;
      ring_log2_q       <= ring_log2_d;
      completion_base_q <= completion_base_d;
    end
  end

  RingHeadAfterCompletion: assert property (@(posedge clk_i) disable iff (!rst_ni)
      (head_q == $past(head_q)) || (head_q == '0) ||
      ((head_q == $past(head_q) + 32'd1) && $past(write_done_i && !write_error_i)))
    else $error("the head counted a descriptor whose completion is not in memory");
  RingDoneAfterHead: assert property (@(posedge clk_i) disable iff (!rst_ni)
      (done_o || error_o) |-> (head_q == $past(head_q) + 32'd1))
    else $error("a descriptor was reported before the head counted it");
  RingAnswerExpected: assert property (@(posedge clk_i) disable iff (!rst_ni)
      write_done_i |-> (lane_q[head_lane_q] == LaneCompletes))
    else $error("an answer came to no completion");
  RingOrderedAlone: assert property (@(posedge clk_i) disable iff (!rst_ni)
      (started && next.ordered) |-> !begun)
    else $error("an ordered descriptor begins while one before it goes on");
  RingNotAhead: assert property (@(posedge clk_i) disable iff (!rst_ni)
      fetch_taken |-> (fetch_held_q || (fetch_q - complete_q < ring_size)))
    else $error("a descriptor is read that the host has not given");

  logic unused_address;
  assign unused_address = ^{slot_address[5:0], far_address[PaBits-1:0], completion_address[4:0],
                            completion_address[52:PaBits]};

endmodule
