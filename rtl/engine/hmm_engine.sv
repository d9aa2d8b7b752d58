// SPDX-License-Identifier: Apache-2.0
// The access engine, a client of the MMU: performs descriptors from a ring in host memory (read,
// write, copy and atomic add over virtual addresses), several at a time, each in a lane of its own.
// A lane's translations have its number for their id, its accesses of the bus have it for their
// tag. See docs/engine.md.

module hmm_engine
  import hmm_structures_pkg::*;
  import hmm_pkg::*;
#(
  parameter int unsigned Descriptors = 4  // in flight
) (
  input  logic             clk_i,
  input  logic             rst_ni,
  // Registers
  input  logic             enable_i,
  input  logic [51:0]      ring_base_i,
  input  logic [3:0]       ring_log2_i,
  input  logic [31:0]      tail_i,
  input  logic [51:0]      completion_base_i,
  output logic [31:0]      head_o,
  output logic             active_o,
  output logic             halted_o,
  output logic             busy_o,  // a descriptor is read, performed or completed
  // Causes, one cycle each
  output logic             done_o,
  output logic             error_o,
  output logic             overrun_o,
  output logic             bus_error_o,
  // Client port
  output logic             req_valid_o,
  input  logic             req_ready_i,
  output client_request_t  req_o,
  input  logic             rsp_valid_i,
  output logic             rsp_ready_o,
  input  client_response_t rsp_i,
  output logic             rel_valid_o,
  output id_t              rel_id_o,
  // Bus reads of whole lines, one under each tag
  output logic             read_valid_o,
  input  logic             read_ready_i,
  output pa_t              read_address_o,
  output logic             read_device_o,  // the device's own memory
  output tag_t             read_tag_o,
  input  logic             read_done_i,
  input  tag_t             read_done_tag_i,
  input  line_t            read_line_i,
  input  logic             read_error_i,
  // Bus writes of parts of a line; those of one tag are answered in order
  output logic             write_valid_o,
  input  logic             write_ready_i,
  output pa_t              write_address_o,
  output logic             write_device_o,  // the device's own memory
  output line_t            write_line_o,
  output logic [63:0]      write_strobe_o,
  output tag_t             write_tag_o,
  input  logic             write_done_i,
  input  tag_t             write_done_tag_i,
  input  logic             write_error_i
);

  if (Descriptors < 1 || Descriptors > 16) begin : gen_descriptors_check
    $error("Descriptors must be 1 to 16: each needs an id and a tag of its own");
  end

  localparam int unsigned Lanes    = Descriptors;
  localparam int unsigned LaneBits = (Lanes > 1) ? $clog2(Lanes) : 1;
  localparam int unsigned Users    = Lanes + 1;  // of the bus: the lanes, then the ring
  localparam int unsigned UserBits = $clog2(Users);
  // Lanes use tags 0 to Lanes - 1 for reads and writes, the ring the lane's own for its descriptor.
  localparam tag_t CompletionTag = tag_t'(Lanes);

  logic        [Lanes-1:0]      load, start, clear, done;
  logic                         malformed, stop;
  descriptor_t [Lanes-1:0]      descriptor;
  completion_t [Lanes-1:0]      completion;

  client_request_t [Lanes-1:0]  req;
  logic        [Lanes-1:0]      req_valid, req_shown, rsp_valid, rel_valid;
  logic        [Lanes-1:0]      at_line, atomic, line_wait;
  pa_t         [Lanes-1:0]      line_address;
  logic        [Lanes-1:0]      line_device;

  // Of the lanes, then of the ring
  logic        [Users-1:0]       read_valid, read_shown, read_device;
  pa_t         [Users-1:0]       read_address;
  tag_t        [Users-1:0]       read_tag;
  logic        [Users-1:0]       write_valid, write_shown, write_device;
  pa_t         [Users-1:0]       write_address;
  line_t       [Users-1:0]       write_line;
  logic        [Users-1:0][63:0] write_strobe;
  logic        [UserBits-1:0]    reader, writer;
  logic        [Lanes-1:0]       lane_read_valid, lane_write_valid, read_done, write_done;

  // ---- The ring ---------------------------------------------------------------------------------

  hmm_engine_ring #(
    .Lanes (Lanes)
  ) u_ring (
    .clk_i,
    .rst_ni,
    .enable_i,
    .ring_base_i,
    .ring_log2_i,
    .tail_i,
    .completion_base_i,
    .head_o,
    .active_o,
    .halted_o,
    .busy_o,
    .done_o,
    .error_o,
    .overrun_o,
    .bus_error_o,
    .load_o          (load),
    .start_o         (start),
    .malformed_o     (malformed),
    .stop_o          (stop),
    .clear_o         (clear),
    .descriptor_i    (descriptor),
    .done_i          (done),
    .completion_i    (completion),
    .read_valid_o    (read_valid[Lanes]),
    .read_ready_i    (read_shown[Lanes] && read_ready_i),
    .read_address_o  (read_address[Lanes]),
    .read_tag_o      (read_tag[Lanes]),
    .read_done_i     (read_done),
    .read_error_i,
    .write_valid_o   (write_valid[Lanes]),
    .write_ready_i   (write_shown[Lanes] && write_ready_i),
    .write_address_o (write_address[Lanes]),
    .write_line_o    (write_line[Lanes]),
    .write_strobe_o  (write_strobe[Lanes]),
    .write_done_i    (write_done_i && (write_done_tag_i == CompletionTag)),
    .write_error_i
  );

  assign read_device[Lanes]  = 1'b0;
  assign write_device[Lanes] = 1'b0;

  // ---- Lanes ------------------------------------------------------------------------------------

  // Bytes of a line turned round by `count` places towards the higher ones.
  function automatic line_t rotate_bytes(line_t line, logic [5:0] count);
    logic [9:0] up;
    up = {1'b0, count, 3'd0};
    return (line << up) | (line >> (10'(LineBits) - up));
  endfunction

  // One line comes in a cycle: one unit turns it for whoever it is for.
  logic  [Lanes-1:0][5:0] lane_turn;
  logic  [5:0]            turn;
  line_t                  turned_line;

  always_comb begin
    turn = '0;
    for (int unsigned i = 0; i < Lanes; i++) begin
      read_done[i]  = read_done_i && (read_done_tag_i == tag_t'(i));
      write_done[i] = write_done_i && (write_done_tag_i == tag_t'(i));
      rsp_valid[i]  = rsp_valid_i && (rsp_i.id == id_t'(i));
      if (read_done_tag_i == tag_t'(i)) turn = lane_turn[i];
    end
  end

  assign turned_line = rotate_bytes(read_line_i, turn);

  for (genvar i = 0; i < Lanes; i++) begin : gen_lane
    hmm_engine_mover #(
      .Id (id_t'(i))
    ) u_mover (
      .clk_i,
      .rst_ni,
      .load_i          (load[i]),
      .start_i         (start[i]),
      .malformed_i     (malformed),
      .stop_i          (stop),
      .clear_i         (clear[i]),
      .descriptor_o    (descriptor[i]),
      .done_o          (done[i]),
      .completion_o    (completion[i]),
      .req_valid_o     (req_valid[i]),
      .req_shown_i     (req_shown[i]),
      .req_ready_i     (req_shown[i] && req_ready_i),
      .req_o           (req[i]),
      .rsp_valid_i     (rsp_valid[i]),
      .rsp_i,
      .rel_valid_o     (rel_valid[i]),
      .read_valid_o    (lane_read_valid[i]),
      .read_ready_i    (read_shown[i] && read_ready_i),
      .read_address_o  (read_address[i]),
      .read_device_o   (read_device[i]),
      .read_done_i     (read_done[i]),
      .read_line_i,
      .turned_line_i   (turned_line),
      .turn_o          (lane_turn[i]),
      .read_error_i,
      .write_valid_o   (lane_write_valid[i]),
      .write_ready_i   (write_shown[i] && write_ready_i),
      .write_address_o (write_address[i]),
      .write_device_o  (write_device[i]),
      .write_line_o    (write_line[i]),
      .write_strobe_o  (write_strobe[i]),
      .write_done_i    (write_done[i]),
      .write_error_i,
      .at_line_o       (at_line[i]),
      .atomic_o        (atomic[i])
    );

    assign read_tag[i]     = tag_t'(i);
    assign read_valid[i]   = lane_read_valid[i] && !line_wait[i];
    assign write_valid[i]  = lane_write_valid[i] && !line_wait[i];
    assign line_address[i] = write_address[i];
    assign line_device[i]  = write_device[i];
  end

  hmm_engine_order #(
    .Lanes (Lanes)
  ) u_order (
    .clk_i,
    .rst_ni,
    .at_line_i (at_line),
    .atomic_i  (atomic),
    .line_i    (line_address),
    .device_i  (line_device),
    .wait_o    (line_wait)
  );

  // ---- Client port ------------------------------------------------------------------------------

  logic [LaneBits-1:0] asker, releaser;
  logic [Lanes-1:0]    release_q, release_d, releasing, release_shown;

  hmm_held_arbiter #(
    .Inputs (Lanes)
  ) u_request_turn (
    .clk_i,
    .rst_ni,
    .request_i (req_valid & ~release_q),  // an id is asked under again when it is released
    .valid_o   (req_valid_o),
    .index_o   (asker),
    .shown_o   (req_shown),
    .ready_i   (req_ready_i)
  );

  assign req_o       = req[asker];
  assign rsp_ready_o = 1'b1;

  // A read and a write may end in one cycle; the port takes one release.
  hmm_held_arbiter #(
    .Inputs (Lanes)
  ) u_release_turn (
    .clk_i,
    .rst_ni,
    .request_i (releasing),
    .valid_o   (rel_valid_o),
    .index_o   (releaser),
    .shown_o   (release_shown),
    .ready_i   (1'b1)
  );

  assign releasing = release_q | rel_valid;
  assign release_d = releasing & ~release_shown;
  assign rel_id_o  = id_t'(releaser);

  always_ff @(posedge clk_i or negedge rst_ni) begin
    if (!rst_ni) release_q <= '0;
    else         release_q <= release_d;
  end

  // ---- Bus --------------------------------------------------------------------------------------

  hmm_held_arbiter #(
    .Inputs (Users)
  ) u_read_turn (
    .clk_i,
    .rst_ni,
    .request_i (read_valid),
    .valid_o   (read_valid_o),
    .index_o   (reader),
    .shown_o   (read_shown),
    .ready_i   (read_ready_i)
  );

  hmm_held_arbiter #(
    .Inputs (Users)
  ) u_write_turn (
    .clk_i,
    .rst_ni,
    .request_i (write_valid),
    .valid_o   (write_valid_o),
    .index_o   (writer),
    .shown_o   (write_shown),
    .ready_i   (write_ready_i)
  );

  assign read_address_o  = read_address[reader];
  assign read_device_o   = read_device[reader];
  assign read_tag_o      = read_tag[reader];
  assign write_address_o = write_address[writer];
  assign write_device_o  = write_device[writer];
  assign write_line_o    = write_line[writer];
  assign write_strobe_o  = write_strobe[writer];
  assign write_tag_o     = tag_t'(writer);

  hmm_engine_promises #(
    .Lanes (Lanes)
  ) u_promises (
    .clk_i,
    .rst_ni,
    .req_valid_i      (req_valid_o),
    .req_ready_i,
    .req_i            (req_o),
    .rsp_valid_i,
    .rsp_i,
    .rel_valid_i      (rel_valid_o),
    .rel_id_i         (rel_id_o),
    .lane_read_i      (lane_read_valid),
    .lane_write_i     (lane_write_valid),
    .lane_release_i   (releasing),
    .read_valid_i     (read_valid_o),
    .read_ready_i,
    .read_address_i   (read_address_o),
    .read_device_i    (read_device_o),
    .read_tag_i       (read_tag_o),
    .read_done_i,
    .read_done_tag_i,
    .read_error_i,
    .write_valid_i    (write_valid_o),
    .write_ready_i,
    .write_address_i  (write_address_o),
    .write_device_i   (write_device_o),
    .write_line_i     (write_line_o),
    .write_strobe_i   (write_strobe_o),
    .write_tag_i      (write_tag_o),
    .write_done_i,
    .write_done_tag_i
  );

endmodule
