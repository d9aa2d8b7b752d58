// SPDX-License-Identifier: Apache-2.0
// The access engine, a client of the MMU: performs descriptors from a ring in host memory (read,
// write, copy and atomic add over virtual addresses) in order, one at a time. See docs/engine.md.

module hmm_engine
  import hmm_structures_pkg::*;
  import hmm_pkg::*;
(
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
  // Bus reads of whole lines, one at a time
  output logic             read_valid_o,
  input  logic             read_ready_i,
  output pa_t              read_address_o,
  output logic             read_device_o,  // the device's own memory
  input  logic             read_done_i,
  input  line_t            read_line_i,
  input  logic             read_error_i,
  // Bus writes of parts of a line, one at a time
  output logic             write_valid_o,
  input  logic             write_ready_i,
  output pa_t              write_address_o,
  output logic             write_device_o,  // the device's own memory
  output line_t            write_line_o,
  output logic [63:0]      write_strobe_o,
  input  logic             write_done_i,
  input  logic             write_error_i
);

  logic        move_start, move_stop, move_done;
  descriptor_t descriptor;
  completion_t move_completion;

  logic        ring_read_valid, ring_write_valid;
  pa_t         ring_read_address, ring_write_address;
  line_t       ring_write_line;
  logic [63:0] ring_write_strobe;

  logic        move_read_valid, move_read_device, move_write_valid, move_write_device;
  pa_t         move_read_address, move_write_address;
  line_t       move_write_line;
  logic [63:0] move_write_strobe;

  // The ring uses the bus only between two descriptors; an answer goes to the one that a descriptor
  // is with.
  logic moving_q, moving_d;

  assign moving_d = move_start || (moving_q && !move_done);

  hmm_engine_ring u_ring (
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
    .move_start_o      (move_start),
    .move_stop_o       (move_stop),
    .descriptor_o      (descriptor),
    .move_done_i       (move_done),
    .move_completion_i (move_completion),
    .read_valid_o      (ring_read_valid),
    .read_ready_i      (read_ready_i && !moving_q),
    .read_address_o    (ring_read_address),
    .read_done_i       (read_done_i && !moving_q),
    .read_line_i,
    .read_error_i,
    .write_valid_o     (ring_write_valid),
    .write_ready_i     (write_ready_i && !moving_q),
    .write_address_o   (ring_write_address),
    .write_line_o      (ring_write_line),
    .write_strobe_o    (ring_write_strobe),
    .write_done_i      (write_done_i && !moving_q),
    .write_error_i
  );

  hmm_engine_mover u_mover (
    .clk_i,
    .rst_ni,
    .start_i         (move_start),
    .stop_i          (move_stop),
    .descriptor_i    (descriptor),
    .done_o          (move_done),
    .completion_o    (move_completion),
    .req_valid_o,
    .req_ready_i,
    .req_o,
    .rsp_valid_i,
    .rsp_ready_o,
    .rsp_i,
    .rel_valid_o,
    .rel_id_o,
    .read_valid_o    (move_read_valid),
    .read_ready_i    (read_ready_i && moving_q),
    .read_address_o  (move_read_address),
    .read_device_o   (move_read_device),
    .read_done_i     (read_done_i && moving_q),
    .read_line_i,
    .read_error_i,
    .write_valid_o   (move_write_valid),
    .write_ready_i   (write_ready_i && moving_q),
    .write_address_o (move_write_address),
    .write_device_o  (move_write_device),
    .write_line_o    (move_write_line),
    .write_strobe_o  (move_write_strobe),
    .write_done_i    (write_done_i && moving_q),
    .write_error_i
  );

  assign read_valid_o    = moving_q ? move_read_valid : ring_read_valid;
  assign read_address_o  = moving_q ? move_read_address : ring_read_address;
  assign read_device_o   = moving_q && move_read_device;
  assign write_valid_o   = moving_q ? move_write_valid : ring_write_valid;
  assign write_address_o = moving_q ? move_write_address : ring_write_address;
  assign write_device_o  = moving_q && move_write_device;
  assign write_line_o    = moving_q ? move_write_line : ring_write_line;
  assign write_strobe_o  = moving_q ? move_write_strobe : ring_write_strobe;

  always_ff @(posedge clk_i or negedge rst_ni) begin
    if (!rst_ni) moving_q <= 1'b0;
    else         moving_q <= moving_d;
  end

  hmm_engine_promises u_promises (
    .clk_i,
    .rst_ni,
    .req_valid_i     (req_valid_o),
    .req_ready_i,
    .req_i           (req_o),
    .rsp_valid_i,
    .rsp_i,
    .rel_valid_i     (rel_valid_o),
    .rel_id_i        (rel_id_o),
    .read_valid_i    (read_valid_o),
    .read_ready_i,
    .read_address_i  (read_address_o),
    .read_device_i   (read_device_o),
    .read_done_i,
    .write_valid_i   (write_valid_o),
    .write_ready_i,
    .write_address_i (write_address_o),
    .write_device_i  (write_device_o),
    .write_line_i    (write_line_o),
    .write_strobe_i  (write_strobe_o),
    .write_done_i
  );

endmodule
