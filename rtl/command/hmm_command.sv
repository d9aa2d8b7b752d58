// SPDX-License-Identifier: Apache-2.0
// Reads the command ring and executes its commands in ring order, one at a time: invalidations take
// effect in the cycle of their execution, fences are handed to hmm_fence. No command waits for the
// host.
// See docs/interface.md, "Commands".

module hmm_command
  import hmm_structures_pkg::*;
  import hmm_pkg::*;
(
  input  logic          clk_i,
  input  logic          rst_ni,
  // Registers
  input  logic          enable_i,
  input  logic [51:0]   ring_base_i,
  input  logic [3:0]    ring_log2_i,
  input  logic [31:0]   tail_i,
  output logic [31:0]   head_o,
  output logic          active_o,
  output logic          halted_o,
  output logic          busy_o,  // a command is being read or executed
  // Causes, one cycle each
  output logic          malformed_o,
  output logic          bus_error_o,
  output logic          overrun_o,
  // The command in the cycle in which it takes effect
  output logic          execute_o,
  output command_t      command_o,
  output invalidation_t invalidation_o,
  output answer_t       answer_o,
  output logic          quiesce_o,  // between QUIESCE and RUN
  // Fences
  output logic          fence_valid_o,
  input  logic          fence_ready_i,
  // Bus reads of whole lines, one at a time
  output logic          read_valid_o,
  input  logic          read_ready_i,
  output pa_t           read_address_o,
  input  logic          read_done_i,
  input  line_t         read_line_i,
  input  logic          read_error_i
);

  typedef enum logic [2:0] {
    StateOff,
    StateIdle,
    StateRead,    // offer the address to the bus
    StateData,    // wait for the data
    StateExecute,
    StateHalted
  } state_e;

  state_e      state_q, state_d;
  logic        abandoned_q, abandoned_d;  // the ring was switched off under a read
  logic [31:0] head_q, head_d;
  command_t    command_q, command_d;

  logic [31:0] waiting, ring_size, slot;
  logic [52:0] slot_address;

  assign waiting      = tail_i - head_q;
  assign ring_size    = 32'd1 << ring_log2_i;
  assign slot         = head_q & (ring_size - 32'd1);
  assign slot_address = {1'b0, ring_base_i} + {16'd0, slot, 5'd0};

  // ---- Is it a command? -------------------------------------------------------------------------

  logic reserved_set, known, fence_bad, malformed;
  logic pasid_used, all_used, fence_used, cancel_used, access_used, first_used, last_used;

  assign reserved_set = (command_q.reserved_0 != '0) || (command_q.reserved_1 != '0) ||
                        (command_q.reserved_2 != '0);
  assign fence_bad = command_q.write_value ? ((command_q.first[2:0] != '0) ||
                                              (command_q.first[63:PaBits] != '0))
                                           : ((command_q.first != '0) || (command_q.last != '0));

  // Which fields a command uses; every other field must be 0.
  //   opcode              | pasid  all  fence flags  cancel  access  first  last
  //   INVALIDATE          |   1     1        0          0       0       1     1
  //   INVALIDATE_CONTEXT  |   1     1        0          0       0       0     0
  //   FENCE               |   0     0        1          0       0       1     1
  //   BIND, UNBIND        |   1     0        0          0       0       0     0
  //   REPLAY_ALL          |   0     0        0          0       0       0     0
  //   RESUME              |   0     0        0          1       0       1     0
  //   CANCEL              |   1     0        0          0       1       1     1
  //   QUIESCE, RUN        |   0     0        0          0       0       0     0
  //   other               | not a command
  always_comb begin
    known       = 1'b1;
    pasid_used  = 1'b0;
    all_used    = 1'b0;
    fence_used  = 1'b0;
    cancel_used = 1'b0;
    access_used = 1'b0;
    first_used  = 1'b0;
    last_used   = 1'b0;
    unique case (command_q.opcode)
      OPCODE_INVALIDATE: begin
        pasid_used = 1'b1;
        all_used   = 1'b1;
        first_used = 1'b1;
        last_used  = 1'b1;
      end
      OPCODE_INVALIDATE_CONTEXT: begin
        pasid_used = 1'b1;
        all_used   = 1'b1;
      end
      OPCODE_FENCE: begin
        fence_used = 1'b1;
        first_used = 1'b1;
        last_used  = 1'b1;
      end
      OPCODE_BIND, OPCODE_UNBIND: begin
        pasid_used = 1'b1;
      end
      OPCODE_REPLAY_ALL: ;
      OPCODE_RESUME: begin
        cancel_used = 1'b1;
        first_used  = 1'b1;
      end
      OPCODE_CANCEL: begin
        pasid_used  = 1'b1;
        access_used = 1'b1;
        first_used  = 1'b1;
        last_used   = 1'b1;
      end
      OPCODE_QUIESCE, OPCODE_RUN: ;
      default: known = 1'b0;
    endcase
  end

  assign malformed = !known || reserved_set ||
                     (command_q.pasid != '0 && (!pasid_used || command_q.all_contexts)) ||
                     (command_q.all_contexts && !all_used) ||
                     ((command_q.write_value || command_q.interrupt) && !fence_used) ||
                     (command_q.cancel && !cancel_used) ||
                     (command_q.access != ACCESS_READ && !access_used) ||
                     (command_q.first != '0 && !first_used) ||
                     (command_q.last != '0 && !last_used) ||
                     (command_q.opcode == OPCODE_RESUME && command_q.first[63:32] != '0) ||
                     (fence_used && fence_bad) ||
                     (last_used && !fence_used && command_q.first > command_q.last);

  // ---- The ring ---------------------------------------------------------------------------------

  logic taken, is_fence;

  assign is_fence = (command_q.opcode == OPCODE_FENCE) && !malformed;
  assign taken    = (state_q == StateExecute) && (!is_fence || fence_ready_i);

  always_comb begin
    state_d     = state_q;
    abandoned_d = abandoned_q;
    head_d      = head_q;
    command_d   = command_q;
    bus_error_o = 1'b0;
    overrun_o   = 1'b0;
    unique case (state_q)
      StateOff: begin
        head_d      = '0;
        abandoned_d = 1'b0;
        if (enable_i) state_d = StateIdle;
      end
      StateIdle: begin
        if (waiting > ring_size) begin
          overrun_o = 1'b1;
          state_d   = StateHalted;
        end else if (waiting != '0 && slot_address[52:PaBits] != '0) begin
          bus_error_o = 1'b1;
          state_d     = StateHalted;
        end else if (waiting != '0) begin
          state_d = StateRead;
        end
        if (!enable_i) begin
          overrun_o   = 1'b0;
          bus_error_o = 1'b0;
          state_d     = StateOff;
        end
      end
      StateRead: begin
        abandoned_d = abandoned_q || !enable_i;
        if (read_ready_i) state_d = StateData;
      end
      StateData: begin
        abandoned_d = abandoned_q || !enable_i;
        command_d   = command_t'(read_line_i[{slot_address[5], 8'd0} +: 256]);
        if (read_done_i) begin
          state_d = StateExecute;
          if (read_error_i) begin
            bus_error_o = 1'b1;
            state_d     = StateHalted;
          end
          if (abandoned_d) begin
            bus_error_o = 1'b0;
            state_d     = StateOff;
          end
        end
      end
      StateExecute: begin
        if (taken) begin
          head_d  = head_q + 32'd1;
          state_d = StateIdle;
        end
        if (!enable_i) state_d = StateOff;
      end
      StateHalted: begin
        if (!enable_i) state_d = StateOff;
      end
      default: ;
    endcase
  end

  assign head_o      = head_q;
  assign active_o    = (state_q != StateOff) && (state_q != StateHalted);
  assign halted_o    = (state_q == StateHalted);
  assign busy_o      = (state_q == StateRead) || (state_q == StateData) ||
                       (state_q == StateExecute);
  assign malformed_o = taken && malformed;
  assign execute_o   = taken;
  assign command_o   = command_q;

  assign fence_valid_o = (state_q == StateExecute) && is_fence;

  // What a command drops and answers:
  //   opcode              | range  context entry | answers
  //   INVALIDATE          |  own         0       | -
  //   INVALIDATE_CONTEXT  |  all         1       | -
  //   BIND                |   0          1       | -
  //   UNBIND              |  all         1       | gives up
  //   REPLAY_ALL          |   0          0       | replays
  //   RESUME              |   0          0       | by tag
  //   CANCEL              |   0          0       | cancels
  //   other               |   0          0       | -
  always_comb begin
    invalidation_o = '{
      valid:        1'b0,
      drop_range:   1'b0,
      drop_context: 1'b0,
      all_contexts: command_q.all_contexts,
      pasid:        command_q.pasid,
      first:        first_used ? command_q.first : '0,
      last:         last_used ? command_q.last : '1
    };
    answer_o = '{
      valid:  1'b0,
      kind:   AnswerReplayAll,
      cancel: command_q.cancel,
      tag:    command_q.first[31:0],
      pasid:  command_q.pasid,
      access: command_q.access,
      first:  command_q.first,
      last:   command_q.last
    };
    if (taken && !malformed) begin
      unique case (command_q.opcode)
        OPCODE_INVALIDATE: begin
          invalidation_o.valid      = 1'b1;
          invalidation_o.drop_range = 1'b1;
        end
        OPCODE_INVALIDATE_CONTEXT: begin
          invalidation_o.valid        = 1'b1;
          invalidation_o.drop_range   = 1'b1;
          invalidation_o.drop_context = 1'b1;
        end
        OPCODE_BIND: begin
          invalidation_o.valid        = 1'b1;
          invalidation_o.drop_context = 1'b1;
        end
        OPCODE_UNBIND: begin
          invalidation_o.valid        = 1'b1;
          invalidation_o.drop_range   = 1'b1;
          invalidation_o.drop_context = 1'b1;
          answer_o.valid              = 1'b1;
          answer_o.kind               = AnswerGiveUp;
        end
        OPCODE_REPLAY_ALL: begin
          answer_o.valid = 1'b1;
        end
        OPCODE_RESUME: begin
          answer_o.valid = 1'b1;
          answer_o.kind  = AnswerResume;
        end
        OPCODE_CANCEL: begin
          answer_o.valid = 1'b1;
          answer_o.kind  = AnswerCancel;
        end
        default: ;
      endcase
    end
  end

  // ---- Quiesce ----------------------------------------------------------------------------------

  logic quiesce_q, quiesce_d;

  always_comb begin
    quiesce_d = quiesce_q;
    if (taken && !malformed) begin
      if (command_q.opcode == OPCODE_QUIESCE) quiesce_d = 1'b1;
      if (command_q.opcode == OPCODE_RUN) quiesce_d = 1'b0;
    end
    // A ring that is switched off can send no RUN.
    if (state_q == StateOff) quiesce_d = 1'b0;
  end

  assign quiesce_o = quiesce_q;

  assign read_valid_o   = (state_q == StateRead);
  assign read_address_o = {slot_address[PaBits-1:6], 6'd0};

  always_ff @(posedge clk_i or negedge rst_ni) begin
    if (!rst_ni) begin
      state_q     <= StateOff;
      abandoned_q <= 1'b0;
      head_q      <= '0;
      command_q   <= '0;
      quiesce_q   <= 1'b0;
    end else begin
      state_q     <= state_d;
      abandoned_q <= abandoned_d;
      head_q      <= head_d;
      command_q   <= command_d;
      quiesce_q   <= quiesce_d;
    end
  end

  CommandReadStable: assert property (@(posedge clk_i) disable iff (!rst_ni)
      (read_valid_o && !read_ready_i) |=> (read_valid_o && $stable(read_address_o)))
    else $error("a read of the command ring was withdrawn or changed before it was taken");
  CommandDataExpected: assert property (@(posedge clk_i) disable iff (!rst_ni)
      read_done_i |-> (state_q == StateData))
    else $error("read data came for a command that was not asked for");

  logic unused_slot_address;
  assign unused_slot_address = ^slot_address[4:0];

endmodule
