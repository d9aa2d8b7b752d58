// SPDX-License-Identifier: Apache-2.0
// Writes fault records into the ring in host memory, one at a time, and publishes them: first the
// record's write response, then the put counter, then the cause. A full ring makes records wait;
// nothing is lost.
// See docs/interface.md, "Fault ring".

module hmm_fault_recorder
  import hmm_structures_pkg::*;
  import hmm_pkg::*;
(
  input  logic          clk_i,
  input  logic          rst_ni,
  // Registers
  input  logic          enable_i,
  input  logic [51:0]   ring_base_i,
  input  logic [3:0]    ring_log2_i,
  input  logic [31:0]   get_i,
  output logic [31:0]   put_o,
  output logic          active_o,
  output logic          halted_o,
  // Causes, one cycle each
  output logic          published_o,
  output logic          full_o,
  output logic          overrun_o,
  output logic          bus_error_o,
  // The record that wants to be written
  input  logic          record_valid_i,
  input  fault_record_t record_i,
  output logic          record_taken_o,
  output logic          record_done_o,
  output logic          record_failed_o,
  output logic [31:0]   record_tag_o,    // of the record being written
  output logic          busy_o,
  // Bus write within one line, one at a time
  output logic          write_valid_o,
  input  logic          write_ready_i,
  output pa_t           write_address_o,
  output line_t         write_line_o,
  output logic [63:0]   write_strobe_o,
  input  logic          write_done_i,
  input  logic          write_error_i
);

  typedef enum logic [2:0] {
    StateOff,
    StateIdle,
    StateWrite,   // offer the record to the bus
    StateAnswer,  // wait for the write's response
    StateHalted
  } state_e;

  state_e        state_q, state_d;
  logic          abandoned_q, abandoned_d;  // the ring was switched off under a write
  logic [31:0]   put_q, put_d;
  fault_record_t record_q, record_d;

  logic [31:0] used, ring_size, slot;
  logic [52:0] slot_address;
  logic        beyond_bus;

  assign used         = put_q - get_i;
  assign ring_size    = 32'd1 << ring_log2_i;
  assign slot         = put_q & (ring_size - 32'd1);
  assign slot_address = {1'b0, ring_base_i} + {16'd0, slot, 5'd0};
  assign beyond_bus   = (slot_address[52:PaBits] != '0);

  //   state    and                                  | next
  //   Off      enabled                              | Idle
  //   Idle     switched off                         | Off
  //   Idle     put - get above the size             | Halted: OVERRUN
  //   Idle     a record, the ring beyond the bus    | Halted: BUS_ERROR
  //   Idle     a record, the ring full              | Idle: FULL
  //   Idle     a record                             | Write
  //   Write    taken                                | Answer
  //   Answer   written                              | Idle, put counts
  //   Answer   failed                               | Halted: BUS_ERROR
  //   Halted   switched off                         | Off
  always_comb begin
    state_d         = state_q;
    abandoned_d     = abandoned_q;
    put_d           = put_q;
    record_d        = record_q;
    full_o          = 1'b0;
    overrun_o       = 1'b0;
    bus_error_o     = 1'b0;
    published_o     = 1'b0;
    record_taken_o  = 1'b0;
    record_done_o   = 1'b0;
    record_failed_o = 1'b0;
    unique case (state_q)
      StateOff: begin
        put_d       = '0;
        abandoned_d = 1'b0;
        if (enable_i) state_d = StateIdle;
      end
      StateIdle: begin
        if (!enable_i) begin
          state_d = StateOff;
        end else if (used > ring_size) begin
          overrun_o = 1'b1;
          state_d   = StateHalted;
        end else if (record_valid_i && beyond_bus) begin
          bus_error_o = 1'b1;
          state_d     = StateHalted;
        end else if (record_valid_i && (used == ring_size)) begin
          full_o = 1'b1;
        end else if (record_valid_i) begin
          record_taken_o = 1'b1;
          record_d       = record_i;
          record_d.phase = !put_q[{1'b0, ring_log2_i}];
          state_d        = StateWrite;
        end
      end
      StateWrite: begin
        abandoned_d = abandoned_q || !enable_i;
        if (write_ready_i) state_d = StateAnswer;
      end
      StateAnswer: begin
        abandoned_d = abandoned_q || !enable_i;
        if (write_done_i) begin
          if (abandoned_d) begin
            // The host switched the ring off: it will see the record in the ring's next life.
            record_failed_o = 1'b1;
            state_d         = StateOff;
          end else if (write_error_i) begin
            record_failed_o = 1'b1;
            bus_error_o     = 1'b1;
            state_d         = StateHalted;
          end else begin
            record_done_o = 1'b1;
            published_o   = 1'b1;
            put_d         = put_q + 32'd1;
            state_d       = StateIdle;
          end
        end
      end
      StateHalted: begin
        if (!enable_i) state_d = StateOff;
      end
      default: ;
    endcase
  end

  assign put_o           = put_q;
  assign active_o        = (state_q != StateOff) && (state_q != StateHalted);
  assign halted_o        = (state_q == StateHalted);
  assign busy_o          = (state_q == StateWrite) || (state_q == StateAnswer);
  assign record_tag_o    = record_q.tag;
  assign write_valid_o   = (state_q == StateWrite);
  assign write_address_o = slot_address[PaBits-1:0];
  assign write_line_o    = {2{record_q}};
  assign write_strobe_o  = slot_address[5] ? {32'hffff_ffff, 32'h0} : {32'h0, 32'hffff_ffff};

  always_ff @(posedge clk_i or negedge rst_ni) begin
    if (!rst_ni) begin
      state_q     <= StateOff;
      abandoned_q <= 1'b0;
      put_q       <= '0;
      record_q    <= '0;
    end else begin
      state_q     <= state_d;
      abandoned_q <= abandoned_d;
      put_q       <= put_d;
      record_q    <= record_d;
    end
  end

  RecordWriteStable: assert property (@(posedge clk_i) disable iff (!rst_ni)
      (write_valid_o && !write_ready_i) |=>
      (write_valid_o && $stable(write_address_o) && $stable(write_line_o)))
    else $error("a fault record's write was withdrawn or changed before it was taken");
  RecordNeverOverwrites: assert property (@(posedge clk_i) disable iff (!rst_ni)
      record_taken_o |-> (used < ring_size))
    else $error("a fault record would overwrite one that the host has not taken");

endmodule
