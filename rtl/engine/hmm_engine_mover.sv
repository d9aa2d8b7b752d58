// SPDX-License-Identifier: Apache-2.0
// One lane of the access engine: holds one descriptor and performs it. Moves its bytes in pieces
// that cross no 64-byte line of either side, each with translations of its own. Holds a grant only
// while the bus transaction of that grant runs. Does not know the rings, nor the other lanes.
// See docs/engine.md, "How bytes are moved".

module hmm_engine_mover
  import hmm_structures_pkg::*;
  import hmm_pkg::*;
#(
  parameter id_t Id = '0  // of all its translations
) (
  input  logic             clk_i,
  input  logic             rst_ni,
  // The descriptor: loaded from the line that comes home, started, done, cleared
  input  logic             load_i,
  input  logic             start_i,
  input  logic             malformed_i,   // with start_i: nothing is to be done for it
  input  logic             stop_i,        // begin no translation and no piece any more
  input  logic             clear_i,
  output descriptor_t      descriptor_o,
  output logic             done_o,        // until it is cleared
  output completion_t      completion_o,  // with done_o; all but the index
  // Client port
  output logic             req_valid_o,
  input  logic             req_shown_i,   // the MMU sees it now: it cannot be taken back
  input  logic             req_ready_i,
  output client_request_t  req_o,
  input  logic             rsp_valid_i,
  input  client_response_t rsp_i,
  output logic             rel_valid_o,
  // Bus reads of whole lines, one at a time
  output logic             read_valid_o,
  input  logic             read_ready_i,
  output pa_t              read_address_o,
  output logic             read_device_o,
  input  logic             read_done_i,
  input  line_t            read_line_i,
  input  line_t            turned_line_i,  // the same, its bytes turned round by `turn_o`
  output logic [5:0]       turn_o,
  input  logic             read_error_i,
  // Bus writes of parts of a line, one at a time
  output logic             write_valid_o,
  input  logic             write_ready_i,
  output pa_t              write_address_o,
  output logic             write_device_o,
  output line_t            write_line_o,
  output logic [63:0]      write_strobe_o,
  input  logic             write_done_i,
  input  logic             write_error_i,
  // Order: with a write, or with an atomic add from before its read to behind its write
  output logic             at_line_o,
  output logic             atomic_o
);

  localparam int unsigned LineBytes = LineBits / 8;

  typedef enum logic [2:0] {
    StateIdle,
    StateRequest,   // offer a translation request
    StateResponse,  // wait for its response, without anything in hand
    StateRead,      // offer the address of a read to the bus
    StateReadData,  // wait for the line
    StateWrite,     // offer a write to the bus
    StateWriteData, // wait for its response
    StateDone
  } state_e;

  // The virtual side in hand; a buffer has no side of its own.
  typedef enum logic {
    SideSource,
    SideDestination
  } side_e;

  state_e             state_q, state_d;
  side_e              side_q, side_d;
  logic [63:0]        source_q, source_d, destination_q, destination_d;  // of the next byte
  logic [31:0]        remaining_q, remaining_d;
  pa_t                pa_q, pa_d;
  memory_e            memory_q, memory_d;
  line_t              data_q, data_d;  // the piece, where the destination wants it
  logic [63:0]        old_value_q, old_value_d;
  descriptor_t        descriptor_q, descriptor_d;
  completion_status_e status_q, status_d;
  reason_e            reason_q, reason_d;

  logic is_read, is_write, is_copy, is_atomic;

  assign is_read   = (descriptor_q.opcode == ENGINE_OPCODE_READ);
  assign is_write  = (descriptor_q.opcode == ENGINE_OPCODE_WRITE);
  assign is_copy   = (descriptor_q.opcode == ENGINE_OPCODE_COPY);
  assign is_atomic = (descriptor_q.opcode == ENGINE_OPCODE_ATOMIC_ADD);

  // ---- The piece --------------------------------------------------------------------------------

  logic [5:0]  source_offset, destination_offset;
  logic [6:0]  source_room, destination_room, room, piece;
  logic        last_piece;
  logic [63:0] old_value;

  assign source_offset      = source_q[5:0];
  assign destination_offset = destination_q[5:0];
  assign source_room        = 7'(LineBytes) - {1'b0, source_offset};
  assign destination_room   = 7'(LineBytes) - {1'b0, destination_offset};
  assign room       = (source_room < destination_room) ? source_room : destination_room;
  assign last_piece = (remaining_q <= {25'd0, room});
  assign piece      = last_piece ? remaining_q[6:0] : room;
  assign old_value  = read_line_i[{destination_offset[5:3], 6'd0} +: 64];

  // ---- The steps --------------------------------------------------------------------------------

  //   opcode      | the steps of a piece
  //   READ        | translate source, read, release; write the buffer
  //   WRITE       | read the buffer; translate destination, write, release
  //   COPY        | translate source, read, release; translate destination, write, release
  //   ATOMIC_ADD  | translate destination, read, write, release
  logic read_virtual, write_virtual, read_ends, write_ends;

  assign read_virtual  = (side_q == SideSource) || is_atomic;
  assign write_virtual = (side_q == SideDestination);
  assign read_ends     = (state_q == StateReadData) && read_done_i;
  assign write_ends    = (state_q == StateWriteData) && write_done_i;

  always_comb begin
    state_d       = state_q;
    side_d        = side_q;
    source_d      = source_q;
    destination_d = destination_q;
    remaining_d   = remaining_q;
    pa_d          = pa_q;
    memory_d      = memory_q;
    data_d        = data_q;
    old_value_d   = old_value_q;
    status_d      = status_q;
    reason_d      = reason_q;
    descriptor_d  = load_i ? descriptor_t'(read_line_i) : descriptor_q;
    unique case (state_q)
      StateIdle: begin
        side_d        = (is_read || is_copy) ? SideSource : SideDestination;
        source_d      = is_write ? descriptor_q.buffer :
                        is_atomic ? descriptor_q.destination_va : descriptor_q.source_va;
        destination_d = is_read ? descriptor_q.buffer : descriptor_q.destination_va;
        remaining_d   = descriptor_q.length;
        old_value_d   = '0;
        status_d      = COMPLETION_STATUS_OK;
        reason_d      = REASON_NONE;
        if (start_i) state_d = is_write ? StateRead : StateRequest;
        if (start_i && malformed_i) begin
          status_d = COMPLETION_STATUS_MALFORMED;
          state_d  = StateDone;
        end
      end
      StateRequest: begin
        if (req_ready_i) state_d = StateResponse;
        else if (stop_i && !req_shown_i) state_d = StateDone;
      end
      StateResponse: begin
        pa_d     = {rsp_i.pa[PaBits-1:6], 6'd0};
        memory_d = rsp_i.memory;
        if (rsp_valid_i) begin
          state_d = read_virtual ? StateRead : StateWrite;
          if (rsp_i.status == STATUS_ABORTED) begin
            status_d = COMPLETION_STATUS_ABORTED;
            reason_d = rsp_i.reason;
            state_d  = StateDone;
          end
        end
      end
      StateRead: begin
        if (read_ready_i) state_d = StateReadData;
      end
      StateReadData: begin
        if (read_done_i) begin
          old_value_d = is_atomic ? old_value : '0;
          data_d      = is_atomic ? {(LineBytes / 8) {old_value + descriptor_q.operand}}
                                  : turned_line_i;
          if (read_error_i) begin
            status_d = COMPLETION_STATUS_BUS_ERROR;
            state_d  = StateDone;
          end else if (is_read || is_atomic) begin
            state_d = StateWrite;
          end else begin
            side_d  = SideDestination;
            state_d = stop_i ? StateDone : StateRequest;
          end
        end
      end
      StateWrite: begin
        if (write_ready_i) state_d = StateWriteData;
      end
      StateWriteData: begin
        if (write_done_i) begin
          if (write_error_i) begin
            status_d = COMPLETION_STATUS_BUS_ERROR;
            state_d  = StateDone;
          end else begin
            source_d      = source_q + {57'd0, piece};
            destination_d = destination_q + {57'd0, piece};
            remaining_d   = remaining_q - {25'd0, piece};
            side_d        = (is_read || is_copy) ? SideSource : SideDestination;
            state_d       = (last_piece || stop_i) ? StateDone :
                            is_write ? StateRead : StateRequest;
          end
        end
      end
      StateDone: begin
        if (clear_i) state_d = StateIdle;
      end
    endcase
  end

  // ---- Ports ------------------------------------------------------------------------------------

  assign req_valid_o  = (state_q == StateRequest);
  assign req_o.id     = Id;
  assign req_o.pasid  = (side_q == SideSource) ? descriptor_q.source_pasid
                                               : descriptor_q.destination_pasid;
  assign req_o.va     = (side_q == SideSource) ? source_q : destination_q;
  assign req_o.access = (side_q == SideSource) ? ACCESS_READ :
                        is_atomic ? ACCESS_ATOMIC : ACCESS_WRITE;

  assign turn_o = destination_offset - source_offset;

  // The grant of an atomic add goes on from its read to its write.
  assign rel_valid_o = (read_ends && read_virtual && (read_error_i || !is_atomic)) ||
                       (write_ends && write_virtual);

  assign read_valid_o   = (state_q == StateRead);
  assign read_address_o = read_virtual ? pa_q : {source_q[PaBits-1:6], 6'd0};
  assign read_device_o  = read_virtual && (memory_q == MEMORY_DEVICE);

  assign write_valid_o   = (state_q == StateWrite);
  assign write_address_o = write_virtual ? pa_q : {destination_q[PaBits-1:6], 6'd0};
  assign write_device_o  = write_virtual && (memory_q == MEMORY_DEVICE);
  assign write_line_o    = data_q;
  assign write_strobe_o  = low_ones(piece) << destination_offset;

  assign at_line_o = (state_q == StateWrite) || (state_q == StateWriteData) ||
                     (is_atomic && ((state_q == StateRead) || (state_q == StateReadData)));
  assign atomic_o  = is_atomic;

  logic failed, failed_there;

  assign failed       = (status_q != COMPLETION_STATUS_OK);
  assign failed_there = failed && (status_q != COMPLETION_STATUS_MALFORMED);
  assign done_o       = (state_q == StateDone);
  assign descriptor_o = descriptor_q;

  always_comb begin
    completion_o             = '0;
    completion_o.status      = status_q;
    completion_o.reason      = reason_q;
    completion_o.bytes_moved = descriptor_q.length - remaining_q;  // MALFORMED: nothing
    completion_o.old_value   = failed ? '0 : old_value_q;
    completion_o.access      = failed_there ? req_o.access : ACCESS_READ;
    completion_o.va          = failed_there ? req_o.va : '0;
  end

  always_ff @(posedge clk_i or negedge rst_ni) begin
    if (!rst_ni) begin
      state_q       <= StateIdle;
      side_q        <= SideSource;
      source_q      <= '0;
      destination_q <= '0;
      remaining_q   <= '0;
      pa_q          <= '0;
      memory_q      <= MEMORY_SYSTEM;
      data_q        <= '0;
      old_value_q   <= '0;
      status_q      <= COMPLETION_STATUS_OK;
      reason_q      <= REASON_NONE;
      descriptor_q  <= '0;
    end else begin
      state_q       <= state_d;
      side_q        <= side_d;
      source_q      <= source_d;
      destination_q <= destination_d;
      remaining_q   <= remaining_d;
      pa_q          <= pa_d;
      memory_q      <= memory_d;
      data_q        <= data_d;
      old_value_q   <= old_value_d;
      status_q      <= status_d;
      reason_q      <= reason_d;
      descriptor_q  <= descriptor_d;
    end
  end

  MoverStart: assert property (@(posedge clk_i) disable iff (!rst_ni)
      (start_i || load_i) |-> (state_q == StateIdle))
    else $error("a descriptor came to a lane before the one before it was done");
  MoverAnswer: assert property (@(posedge clk_i) disable iff (!rst_ni)
      (rsp_valid_i |-> (state_q == StateResponse)) and
      (write_done_i |-> (state_q == StateWriteData)))
    else $error("a lane was answered what it did not ask");
  MoverPieceInside: assert property (@(posedge clk_i) disable iff (!rst_ni)
      (read_valid_o || write_valid_o) |->
      ((piece != '0) && (piece <= source_room) && (piece <= destination_room)))
    else $error("a piece is empty or crosses a line");
  MoverTranslation: assert property (@(posedge clk_i) disable iff (!rst_ni)
      (rsp_valid_i && (rsp_i.status == STATUS_OK)) |->
      ((rsp_i.pa[PageShift-1:0] == req_o.va[PageShift-1:0]) &&
       (permission_reason(req_o.access, rsp_i.write, rsp_i.atomic) == REASON_NONE)))
    else $error("a translation is of another place in its page, or does not permit the access");

  logic unused;
  assign unused = ^{descriptor_q.interrupt, descriptor_q.ordered, descriptor_q.reserved_0, descriptor_q.reserved_1,
                    descriptor_q.reserved_2, descriptor_q.reserved_3, descriptor_q.reserved_4,
                    rsp_i.id, rsp_i.order, rsp_i.pa[5:0], rsp_i.write, rsp_i.atomic};

endmodule
