// SPDX-License-Identifier: Apache-2.0
// Bench of the access engine alone: the MMU and the memory behind its ports are models in Python,
// which is called once a transfer and never once a cycle.

module tb_engine
  import hmm_structures_pkg::*;
  import hmm_pkg::*;
#(
  parameter int unsigned Descriptors = 4
) (
  input  logic         rst_n,
  output logic [7:0]   descriptors,    // in flight at most
  output logic         under_way,      // an answer of the far ends is still to come
  // Registers
  input  logic         enable,
  input  logic [51:0]  ring_base,
  input  logic [3:0]   ring_log2,
  input  logic [31:0]  tail,
  input  logic [51:0]  completion_base,
  output logic [31:0]  head,
  output logic         active,
  output logic         halted,
  output logic         busy,
  // Cycles since reset, and how often each cause came
  output logic [63:0]  cycles,
  output logic [31:0]  done_count,
  output logic [31:0]  error_count,
  output logic [31:0]  overrun_count,
  output logic [31:0]  bus_error_count,
  // Translation requests
  output logic         request_asked,
  output logic [7:0]   request_id,
  output logic [31:0]  request_pasid,
  output logic [63:0]  request_va,
  output logic [7:0]   request_access,
  input  logic [15:0]  request_pause,
  input  logic [15:0]  request_delay,
  input  logic [3:0]   response_reason,  // not 0: ABORTED
  input  logic [47:0]  response_pa,
  input  logic         response_write,
  input  logic         response_atomic,
  input  logic         response_device,
  output logic         released,         // changes with each release
  output logic [7:0]   release_id,
  // Reads
  output logic         read_asked,
  output logic [63:0]  read_address,
  output logic         read_device,
  output logic [7:0]   read_tag,
  input  logic [15:0]  read_pause,
  input  logic [15:0]  read_delay,
  input  logic [511:0] read_line,
  input  logic         read_error,
  // Writes
  output logic         write_asked,
  output logic [63:0]  write_address,
  output logic         write_device,
  output logic [7:0]   write_tag,
  output logic [511:0] write_line,
  output logic [63:0]  write_strobe,
  input  logic [15:0]  write_pause,
  input  logic [15:0]  write_delay,
  input  logic         write_error
);

  typedef struct packed {
    logic [3:0]  reason;
    logic [47:0] pa;
    logic        write;
    logic        atomic;
    logic        device;
  } answer_t;

  logic clk;

  initial clk = 1'b0;
  always #5 clk = !clk;

  client_request_t  request;
  client_response_t response;
  logic             req_valid, req_ready, rsp_valid, rsp_ready, rel_valid;
  id_t              rel_id;
  pa_t              read_pa, write_pa;
  line_t            line, line_read;
  id_t              answered_id;
  answer_t          answer;
  tag_t             tag_of_read, tag_of_write, read_done_tag, write_done_tag;
  logic             read_failed, write_failed;
  logic             request_under_way, read_under_way, write_under_way;
  logic [63:0]      strobe;
  logic             to_device, from_device;
  logic             read_valid, read_ready, read_done, write_valid, write_ready, write_done;
  logic             done, error, overrun, bus_error;

  hmm_engine #(
    .Descriptors (Descriptors)
  ) u_engine (
    .clk_i             (clk),
    .rst_ni            (rst_n),
    .enable_i          (enable),
    .ring_base_i       (ring_base),
    .ring_log2_i       (ring_log2),
    .tail_i            (tail),
    .completion_base_i (completion_base),
    .head_o            (head),
    .active_o          (active),
    .halted_o          (halted),
    .busy_o            (busy),
    .done_o            (done),
    .error_o           (error),
    .overrun_o         (overrun),
    .bus_error_o       (bus_error),
    .req_valid_o       (req_valid),
    .req_ready_i       (req_ready),
    .req_o             (request),
    .rsp_valid_i       (rsp_valid),
    .rsp_ready_o       (rsp_ready),
    .rsp_i             (response),
    .rel_valid_o       (rel_valid),
    .rel_id_o          (rel_id),
    .read_valid_o      (read_valid),
    .read_ready_i      (read_ready),
    .read_address_o    (read_pa),
    .read_device_o     (from_device),
    .read_tag_o        (tag_of_read),
    .read_done_i       (read_done),
    .read_done_tag_i   (read_done_tag),
    .read_line_i       (line_read),
    .read_error_i      (read_failed),
    .write_valid_o     (write_valid),
    .write_ready_i     (write_ready),
    .write_address_o   (write_pa),
    .write_device_o    (to_device),
    .write_line_o      (line),
    .write_strobe_o    (strobe),
    .write_tag_o       (tag_of_write),
    .write_done_i      (write_done),
    .write_done_tag_i  (write_done_tag),
    .write_error_i     (write_failed)
  );

  assign response = '{
    id:     answered_id,
    status: (answer.reason == REASON_NONE) ? STATUS_OK : STATUS_ABORTED,
    reason: reason_e'(answer.reason),
    pa:     answer.pa,
    order:  '0,
    write:  answer.write,
    atomic: answer.atomic,
    memory: memory_e'(answer.device)
  };

  assign descriptors = 8'(Descriptors);
  assign under_way   = request_under_way || read_under_way || write_under_way;

  tb_engine_channel #(
    .Width ($bits(answer_t))
  ) u_request (
    .clk,
    .rst_n,
    .valid       (req_valid),
    .ready       (req_ready),
    .tag         (request.id),
    .done        (rsp_valid),
    .done_tag    (answered_id),
    .done_answer (answer),
    .pause       (request_pause),
    .delay       (request_delay),
    .answer      ({response_reason, response_pa, response_write, response_atomic,
                   response_device}),
    .asked       (request_asked),
    .under_way   (request_under_way)
  );

  tb_engine_channel #(
    .Width (LineBits + 1)
  ) u_read (
    .clk,
    .rst_n,
    .valid       (read_valid),
    .ready       (read_ready),
    .tag         (tag_of_read),
    .done        (read_done),
    .done_tag    (read_done_tag),
    .done_answer ({line_read, read_failed}),
    .pause       (read_pause),
    .delay       (read_delay),
    .answer      ({read_line, read_error}),
    .asked       (read_asked),
    .under_way   (read_under_way)
  );

  tb_engine_channel u_write (
    .clk,
    .rst_n,
    .valid       (write_valid),
    .ready       (write_ready),
    .tag         (tag_of_write),
    .done        (write_done),
    .done_tag    (write_done_tag),
    .done_answer (write_failed),
    .pause       (write_pause),
    .delay       (write_delay),
    .answer      (write_error),
    .asked       (write_asked),
    .under_way   (write_under_way)
  );

  // What Python sees of a transfer stays until the next one of its channel.
  always_ff @(posedge clk) begin
    if (req_valid && req_ready) begin
      request_id     <= 8'(request.id);
      request_pasid  <= 32'(request.pasid);
      request_va     <= request.va;
      request_access <= 8'(request.access);
    end
    if (read_valid && read_ready) begin
      read_address <= 64'(read_pa);
      read_device  <= from_device;
      read_tag     <= 8'(tag_of_read);
    end
    if (write_valid && write_ready) begin
      write_address <= 64'(write_pa);
      write_device  <= to_device;
      write_tag     <= 8'(tag_of_write);
      write_line    <= line;
      write_strobe  <= strobe;
    end
  end

  initial released = 1'b0;
  always_ff @(posedge clk) begin
    if (rst_n && rel_valid) begin
      released   <= !released;
      release_id <= 8'(rel_id);
    end
  end

  always_ff @(posedge clk or negedge rst_n) begin
    if (!rst_n) begin
      cycles          <= '0;
      done_count      <= '0;
      error_count     <= '0;
      overrun_count   <= '0;
      bus_error_count <= '0;
    end else begin
      cycles          <= cycles + 64'd1;
      done_count      <= done_count + 32'(done);
      error_count     <= error_count + 32'(error);
      overrun_count   <= overrun_count + 32'(overrun);
      bus_error_count <= bus_error_count + 32'(bus_error);
    end
  end

  RspReady: assert property (@(posedge clk) disable iff (!rst_n) rsp_valid |-> rsp_ready)
    else $error("the engine held back a response");

endmodule
