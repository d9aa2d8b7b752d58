// SPDX-License-Identifier: Apache-2.0
// Writes fault records into the ring in host memory, many on their way at a time, and publishes
// them in order: first the record's write response, then the put counter, then the cause. A full
// ring makes records wait; nothing is lost.
// See docs/interface.md, "Fault ring".

module hmm_fault_recorder
  import hmm_structures_pkg::*;
  import hmm_pkg::*;
#(
  parameter int unsigned Depth = 16  // records on their way
) (
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
  // The oldest one on its way is in memory, or will not be
  output logic          record_done_o,
  output logic          record_failed_o,
  output logic [31:0]   record_tag_o,
  output logic          busy_o,
  // Bus writes within one line, answered in order
  output logic          write_valid_o,
  input  logic          write_ready_i,
  output pa_t           write_address_o,
  output line_t         write_line_o,
  output logic [63:0]   write_strobe_o,
  input  logic          write_done_i,
  input  logic          write_error_i
);

  localparam int unsigned CountBits = $clog2(Depth + 1);
  localparam int unsigned IndexBits = (Depth > 1) ? $clog2(Depth) : 1;

  typedef logic [IndexBits-1:0] index_t;
  typedef logic [CountBits-1:0] count_t;

  typedef enum logic [1:0] {
    StateOff,
    StateOn,
    StateHalting,  // what is on its way comes home, and counts as not written
    StateHalted
  } state_e;

  state_e                   state_q, state_d;
  logic [31:0]              put_q, put_d;        // records in memory
  logic [31:0]              issued_q, issued_d;  // and on their way
  logic                     offered_q, offered_d;
  fault_record_t            record_q, record_d;
  pa_t                      address_q, address_d;
  logic [Depth-1:0][31:0]   tags_q, tags_d;  // of the records on their way
  index_t                   first_q, first_d, next_q, next_d;
  count_t                   count_q, count_d;
  logic                     off_q, off_d;  // halting because the host switched the ring off

  logic [31:0] used, ring_size, slot;
  logic [52:0] slot_address;
  logic        beyond_bus, has_room, may_take, answered;

  assign ring_size    = 32'd1 << ring_log2_i;
  assign used         = issued_q - get_i;
  assign slot         = issued_q & (ring_size - 32'd1);
  assign slot_address = {1'b0, ring_base_i} + {16'd0, slot, 5'd0};
  assign beyond_bus   = (slot_address[52:PaBits] != '0);
  assign has_room     = (count_q != count_t'(Depth)) && (!offered_q || write_ready_i);
  assign may_take     = record_valid_i && has_room;
  assign answered     = write_done_i;

  //   state    and                                  | next
  //   Off      enabled                              | On
  //   On       switched off                         | Halting, then Off
  //   On       put - get above the size             | Halting: OVERRUN
  //   On       a write failed                       | Halting: BUS_ERROR
  //   On       a record, the ring beyond the bus    | Halting: BUS_ERROR
  //   On       a record, the ring full              | On: FULL
  //   On       a record                             | On, it is on its way
  //   Halting  nothing on its way                   | Off, or Halted
  //   Halted   switched off                         | Off
  always_comb begin
    state_d         = state_q;
    off_d           = off_q;
    full_o          = 1'b0;
    overrun_o       = 1'b0;
    bus_error_o     = 1'b0;
    record_taken_o  = 1'b0;
    record_done_o   = 1'b0;
    record_failed_o = 1'b0;
    unique case (state_q)
      StateOff: begin
        off_d = 1'b0;
        if (enable_i) state_d = StateOn;
      end
      StateOn: begin
        record_done_o   = answered && !write_error_i && enable_i;
        record_failed_o = answered && !record_done_o;
        if (!enable_i) begin
          off_d   = 1'b1;
          state_d = StateHalting;
        end else if (answered && write_error_i) begin
          bus_error_o = 1'b1;
          state_d     = StateHalting;
        end else if ((put_q - get_i) > ring_size) begin
          overrun_o = 1'b1;
          state_d   = StateHalting;
        end else if (record_valid_i && beyond_bus) begin
          bus_error_o = 1'b1;
          state_d     = StateHalting;
        end else if (record_valid_i && (used == ring_size)) begin
          full_o = 1'b1;
        end else if (may_take) begin
          record_taken_o = 1'b1;
        end
      end
      StateHalting: begin
        record_failed_o = answered;
        if (!enable_i) off_d = 1'b1;
        if (count_q == '0) state_d = off_d ? StateOff : StateHalted;
      end
      StateHalted: begin
        if (!enable_i) state_d = StateOff;
      end
    endcase
  end

  assign published_o = record_done_o;

  always_comb begin
    put_d     = record_done_o ? put_q + 32'd1 : put_q;
    issued_d  = record_taken_o ? issued_q + 32'd1 : issued_q;
    offered_d = record_taken_o || (offered_q && !write_ready_i);
    record_d  = record_q;
    address_d = address_q;
    tags_d    = tags_q;
    first_d   = first_q;
    next_d    = next_q;
    count_d   = count_q;
    if (record_taken_o) begin
      record_d       = record_i;
      record_d.phase = !issued_q[{1'b0, ring_log2_i}];
      address_d      = slot_address[PaBits-1:0];
      tags_d[next_q] = record_i.tag;
      next_d         = (next_q == index_t'(Depth - 1)) ? '0 : next_q + 1'b1;
      count_d        = count_d + 1'b1;
    end
    if (answered) begin
      first_d = (first_q == index_t'(Depth - 1)) ? '0 : first_q + 1'b1;
      count_d = count_d - 1'b1;
    end
    // Each life of the ring begins at 0.
    if (state_d == StateOff) begin
      put_d    = '0;
      issued_d = '0;
    end
  end

  assign put_o           = put_q;
  assign active_o        = (state_q == StateOn);
  assign halted_o        = (state_q == StateHalted);
  assign busy_o          = (count_q != '0);
  assign record_tag_o    = tags_q[first_q];
  assign write_valid_o   = offered_q;
  assign write_address_o = address_q;
  assign write_line_o    = {2{record_q}};
  assign write_strobe_o  = address_q[5] ? {32'hffff_ffff, 32'h0} : {32'h0, 32'hffff_ffff};

  always_ff @(posedge clk_i or negedge rst_ni) begin
    if (!rst_ni) begin
      state_q   <= StateOff;
      off_q     <= 1'b0;
      put_q     <= '0;
      issued_q  <= '0;
      offered_q <= 1'b0;
      record_q  <= '0;
      address_q <= '0;
      tags_q    <= '0;
      first_q   <= '0;
      next_q    <= '0;
      count_q   <= '0;
    end else begin
      state_q   <= state_d;
      off_q     <= off_d;
      put_q     <= put_d;
      issued_q  <= issued_d;
      offered_q <= offered_d;
      record_q  <= record_d;
      address_q <= address_d;
      tags_q    <= tags_d;
      first_q   <= first_d;
      next_q    <= next_d;
      count_q   <= count_d;
    end
  end

  RecordWriteStable: assert property (@(posedge clk_i) disable iff (!rst_ni)
      (write_valid_o && !write_ready_i) |=>
      (write_valid_o && $stable(write_address_o) && $stable(write_line_o)))
    else $error("a fault record's write was withdrawn or changed before it was taken");
  RecordNeverOverwrites: assert property (@(posedge clk_i) disable iff (!rst_ni)
      record_taken_o |-> (used < ring_size))
    else $error("a fault record would overwrite one that the host has not taken");
  RecordAnswerExpected: assert property (@(posedge clk_i) disable iff (!rst_ni)
      write_done_i |-> (count_q != '0))
    else $error("a write was answered that no record waits for");

  if (Depth < 1) begin : gen_depth_check
    $error("a recorder needs room for at least one record");
  end

endmodule
