// SPDX-License-Identifier: Apache-2.0
// Executes the commands of the ring in ring order, one a cycle: invalidations take effect in the
// cycle of their execution, fences are handed to hmm_fence. No command waits for the host; an
// invalidation waits until the one before it has gone through the second-level cache.
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
  // The invalidation before is still on its way through the second-level cache
  input  logic          sweeping_i,
  // Bus reads of whole lines
  output logic          read_valid_o,
  input  logic          read_ready_i,
  output pa_t           read_address_o,
  output tag_t          read_tag_o,
  input  logic          read_done_i,
  input  tag_t          read_done_tag_i,
  input  line_t         read_line_i,
  input  logic          read_error_i
);

  typedef enum logic [1:0] {
    StateOff,
    StateOn,
    StateStopping,  // switched off, a read is not over yet
    StateHalted
  } state_e;

  state_e      state_q, state_d;
  logic [31:0] head_q, head_d;

  logic [31:0] ring_size;
  logic        run, here, failed, fetching, taken;
  command_t    command;  // the one at the head

  assign ring_size = 32'd1 << ring_log2_i;
  assign run       = (state_q == StateOn) && enable_i;

  hmm_command_fetch u_fetch (
    .clk_i,
    .rst_ni,
    .run_i           (run),
    .off_i           (state_q == StateOff),
    .ring_base_i     (ring_base_i),
    .ring_log2_i     (ring_log2_i),
    .tail_i          (tail_i),
    .head_i          (head_q),
    .taken_i         (taken),
    .valid_o         (here),
    .error_o         (failed),
    .command_o       (command),
    .busy_o          (fetching),
    .read_valid_o    (read_valid_o),
    .read_ready_i    (read_ready_i),
    .read_address_o  (read_address_o),
    .read_tag_o      (read_tag_o),
    .read_done_i     (read_done_i),
    .read_done_tag_i (read_done_tag_i),
    .read_line_i     (read_line_i),
    .read_error_i    (read_error_i)
  );

  // ---- Is it a command? -------------------------------------------------------------------------

  logic reserved_set, known, fence_bad, malformed;
  logic pasid_used, all_used, fence_used, cancel_used, access_used, first_used, last_used;

  assign reserved_set = (command.reserved_0 != '0) || (command.reserved_1 != '0) ||
                        (command.reserved_2 != '0);
  assign fence_bad = command.write_value ? ((command.first[2:0] != '0) ||
                                              (command.first[63:PaBits] != '0))
                                           : ((command.first != '0) || (command.last != '0));

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
    unique case (command.opcode)
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
                     (command.pasid != '0 && (!pasid_used || command.all_contexts)) ||
                     (command.all_contexts && !all_used) ||
                     ((command.write_value || command.interrupt) && !fence_used) ||
                     (command.cancel && !cancel_used) ||
                     (command.access != ACCESS_READ && !access_used) ||
                     (command.first != '0 && !first_used) ||
                     (command.last != '0 && !last_used) ||
                     (command.opcode == OPCODE_RESUME && command.first[63:32] != '0) ||
                     (fence_used && fence_bad) ||
                     (last_used && !fence_used && command.first > command.last);

  // ---- The ring ---------------------------------------------------------------------------------

  logic is_fence, is_invalidation, overrun, may_execute;

  assign is_fence        = (command.opcode == OPCODE_FENCE) && !malformed;
  assign is_invalidation = !malformed && ((command.opcode == OPCODE_INVALIDATE) ||
                                          (command.opcode == OPCODE_INVALIDATE_CONTEXT) ||
                                          (command.opcode == OPCODE_UNBIND));
  assign overrun         = (tail_i - head_q) > ring_size;
  assign may_execute     = run && !overrun && here && !failed;
  assign taken           = may_execute && (!is_fence || fence_ready_i) &&
                           (!is_invalidation || !sweeping_i);

  //   state     and                                        | next
  //   Off       enabled                                    | On
  //   On        switched off                               | Stopping
  //   On        the tail is too far ahead                  | Halted: OVERRUN
  //   On        the command at the head could not be read  | Halted: BUS_ERROR
  //   Stopping  no read is on its way                      | Off
  //   Halted    switched off                               | Stopping
  always_comb begin
    state_d     = state_q;
    head_d      = taken ? head_q + 32'd1 : head_q;
    bus_error_o = 1'b0;
    overrun_o   = 1'b0;
    unique case (state_q)
      StateOff: begin
        head_d = '0;
        if (enable_i) state_d = StateOn;
      end
      StateOn: begin
        if (!enable_i) begin
          state_d = StateStopping;
        end else if (overrun) begin
          overrun_o = 1'b1;
          state_d   = StateHalted;
        end else if (here && failed) begin
          bus_error_o = 1'b1;
          state_d     = StateHalted;
        end
      end
      StateStopping: begin
        if (!fetching) state_d = StateOff;
      end
      StateHalted: begin
        if (!enable_i) state_d = StateStopping;
      end
    endcase
  end

  assign head_o      = head_q;
  assign active_o    = (state_q == StateOn);
  assign halted_o    = (state_q == StateHalted);
  assign busy_o      = fetching || here;
  assign malformed_o = taken && malformed;
  assign execute_o   = taken;
  assign command_o   = command;

  assign fence_valid_o = may_execute && is_fence;

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
      all_contexts: command.all_contexts,
      pasid:        command.pasid,
      first:        first_used ? command.first : '0,
      last:         last_used ? command.last : '1
    };
    answer_o = '{
      valid:  1'b0,
      kind:   AnswerReplayAll,
      cancel: command.cancel,
      tag:    command.first[31:0],
      pasid:  command.pasid,
      access: command.access,
      first:  command.first,
      last:   command.last
    };
    if (taken && !malformed) begin
      unique case (command.opcode)
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
      if (command.opcode == OPCODE_QUIESCE) quiesce_d = 1'b1;
      if (command.opcode == OPCODE_RUN) quiesce_d = 1'b0;
    end
    // A ring that is switched off can send no RUN.
    if (state_q == StateOff) quiesce_d = 1'b0;
  end

  assign quiesce_o = quiesce_q;

  always_ff @(posedge clk_i or negedge rst_ni) begin
    if (!rst_ni) begin
      state_q   <= StateOff;
      head_q    <= '0;
      quiesce_q <= 1'b0;
    end else begin
      state_q   <= state_d;
      head_q    <= head_d;
      quiesce_q <= quiesce_d;
    end
  end

endmodule
