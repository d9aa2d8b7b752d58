// SPDX-License-Identifier: Apache-2.0
// Takes descriptors from their ring in order, one at a time, hands the well-formed ones to the
// mover, and writes a completion for each. Does not look at virtual memory. See docs/engine.md,
// "Rings".

module hmm_engine_ring
  import hmm_structures_pkg::*;
  import hmm_pkg::*;
(
  input  logic        clk_i,
  input  logic        rst_ni,
  // Registers
  input  logic        enable_i,
  input  logic [51:0] ring_base_i,
  input  logic [3:0]  ring_log2_i,
  input  logic [31:0] tail_i,
  input  logic [51:0] completion_base_i,
  output logic [31:0] head_o,
  output logic        active_o,
  output logic        halted_o,
  output logic        busy_o,  // a descriptor is read, performed or completed
  // Causes, one cycle each
  output logic        done_o,
  output logic        error_o,
  output logic        overrun_o,
  output logic        bus_error_o,
  // Mover
  output logic        move_start_o,
  output logic        move_stop_o,
  output descriptor_t descriptor_o,
  input  logic        move_done_i,
  input  completion_t move_completion_i,
  // Bus reads of whole lines, one at a time
  output logic        read_valid_o,
  input  logic        read_ready_i,
  output pa_t         read_address_o,
  input  logic        read_done_i,
  input  line_t       read_line_i,
  input  logic        read_error_i,
  // Bus writes of parts of a line, one at a time
  output logic        write_valid_o,
  input  logic        write_ready_i,
  output pa_t         write_address_o,
  output line_t       write_line_o,
  output logic [63:0] write_strobe_o,
  input  logic        write_done_i,
  input  logic        write_error_i
);

  typedef enum logic [3:0] {
    StateOff,
    StateIdle,
    StateRead,       // offer the descriptor's address to the bus
    StateReadData,   // wait for the descriptor
    StateCheck,
    StateMove,       // the mover performs it
    StateWrite,      // offer the completion to the bus
    StateWriteData,  // wait for its response
    StatePublish,    // the head has counted it: tell the host
    StateHalted
  } state_e;

  state_e      state_q, state_d;
  logic        abandoned_q, abandoned_d;  // the engine was switched off under a descriptor
  logic [31:0] head_q, head_d;
  descriptor_t descriptor_q, descriptor_d;
  completion_t completion_q, completion_d;
  logic [51:0] ring_base_q, ring_base_d, completion_base_q, completion_base_d;
  logic [3:0]  ring_log2_q, ring_log2_d;

  logic        malformed;
  logic [31:0] waiting, ring_size, slot;
  logic [52:0] slot_address, completion_address;

  hmm_engine_check u_check (
    .descriptor_i (descriptor_q),
    .malformed_o  (malformed)
  );

  assign waiting            = tail_i - head_q;
  assign ring_size          = 32'd1 << ring_log2_q;
  assign slot               = head_q & (ring_size - 32'd1);
  assign slot_address       = {1'b0, ring_base_q} + {15'd0, slot, 6'd0};
  assign completion_address = {1'b0, completion_base_q} + {16'd0, slot, 5'd0};

  // Both ends of a descriptor's way must be on the bus before anything is moved for it.
  logic off_bus;
  assign off_bus = (slot_address[52:PaBits] != '0) || (completion_address[52:PaBits] != '0);

  // A descriptor that was abandoned is not reported: no completion is begun, the head does not
  // count it.
  always_comb begin
    state_d           = state_q;
    abandoned_d       = abandoned_q || !enable_i;
    head_d            = head_q;
    descriptor_d      = descriptor_q;
    completion_d      = completion_q;
    ring_base_d       = ring_base_q;
    ring_log2_d       = ring_log2_q;
    completion_base_d = completion_base_q;
    bus_error_o       = 1'b0;
    overrun_o         = 1'b0;
    unique case (state_q)
      StateOff: begin
        head_d            = '0;
        abandoned_d       = 1'b0;
        ring_base_d       = ring_base_i;
        ring_log2_d       = ring_log2_i;
        completion_base_d = completion_base_i;
        if (enable_i) state_d = StateIdle;
      end
      StateIdle: begin
        if (!enable_i) begin
          state_d = StateOff;
        end else if (waiting > ring_size) begin
          overrun_o = 1'b1;
          state_d   = StateHalted;
        end else if (waiting != '0 && off_bus) begin
          bus_error_o = 1'b1;
          state_d     = StateHalted;
        end else if (waiting != '0) begin
          state_d = StateRead;
        end
      end
      StateRead: begin
        if (read_ready_i) state_d = StateReadData;
      end
      StateReadData: begin
        descriptor_d = descriptor_t'(read_line_i);
        if (read_done_i) begin
          bus_error_o = read_error_i && !abandoned_d;
          state_d     = abandoned_d ? StateOff : (read_error_i ? StateHalted : StateCheck);
        end
      end
      StateCheck: begin
        completion_d        = '0;
        completion_d.index  = head_q;
        completion_d.status = COMPLETION_STATUS_MALFORMED;
        state_d = abandoned_d ? StateOff : (malformed ? StateWrite : StateMove);
      end
      StateMove: begin
        completion_d       = move_completion_i;
        completion_d.index = head_q;
        if (move_done_i) state_d = abandoned_d ? StateOff : StateWrite;
      end
      StateWrite: begin
        if (write_ready_i) state_d = StateWriteData;
      end
      StateWriteData: begin
        if (write_done_i) begin
          bus_error_o = write_error_i && !abandoned_d;
          state_d     = abandoned_d ? StateOff : (write_error_i ? StateHalted : StatePublish);
          if (state_d == StatePublish) head_d = head_q + 32'd1;
        end
      end
      StatePublish: state_d = abandoned_d ? StateOff : StateIdle;
      StateHalted: begin
        if (!enable_i) state_d = StateOff;
      end
      default: ;
    endcase
  end

  assign head_o   = head_q;
  assign active_o = (state_q != StateOff) && (state_q != StateHalted);
  assign halted_o = (state_q == StateHalted);
  assign busy_o   = active_o && (state_q != StateIdle);
  assign done_o   = (state_q == StatePublish) && descriptor_q.interrupt;
  assign error_o  = (state_q == StatePublish) && (completion_q.status != COMPLETION_STATUS_OK);

  assign move_start_o = (state_q == StateCheck) && (state_d == StateMove);
  assign move_stop_o  = abandoned_d;
  assign descriptor_o = descriptor_q;

  assign read_valid_o   = (state_q == StateRead);
  assign read_address_o = {slot_address[PaBits-1:6], 6'd0};

  assign write_valid_o   = (state_q == StateWrite);
  assign write_address_o = {completion_address[PaBits-1:6], 6'd0};
  assign write_line_o    = {2{completion_q}};
  assign write_strobe_o  = completion_address[5] ? {32'hffff_ffff, 32'd0} : {32'd0, 32'hffff_ffff};

  always_ff @(posedge clk_i or negedge rst_ni) begin
    if (!rst_ni) begin
      state_q           <= StateOff;
      abandoned_q       <= 1'b0;
      head_q            <= '0;
      descriptor_q      <= '0;
      completion_q      <= '0;
      ring_base_q       <= '0;
      ring_log2_q       <= '0;
      completion_base_q <= '0;
    end else begin
      state_q           <= state_d;
      abandoned_q       <= abandoned_d;
      head_q            <= head_d;
      descriptor_q      <= descriptor_d;
      completion_q      <= completion_d;
      ring_base_q       <= ring_base_d;
      ring_log2_q       <= ring_log2_d;
      completion_base_q <= completion_base_d;
    end
  end

  RingMoveExpected: assert property (@(posedge clk_i) disable iff (!rst_ni)
      move_done_i |-> (state_q == StateMove))
    else $error("the mover ended a descriptor that it was not given");
  RingHeadAfterCompletion: assert property (@(posedge clk_i) disable iff (!rst_ni)
      (head_q == $past(head_q)) || (head_q == '0) ||
      ((head_q == $past(head_q) + 32'd1) && $past(write_done_i && !write_error_i)))
    else $error("the head counted a descriptor whose completion is not in memory");
  RingDoneAfterHead: assert property (@(posedge clk_i) disable iff (!rst_ni)
      (done_o || error_o) |-> (head_q == completion_q.index + 32'd1))
    else $error("a descriptor was reported before the head counted it");

  logic unused_address;
  assign unused_address = ^{slot_address[5:0], completion_address[4:0]};

endmodule
