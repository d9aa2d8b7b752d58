// SPDX-License-Identifier: Apache-2.0
// Reads the command ring ahead: up to two lines, with up to two commands each, are here or on their
// way. Reads only what the host has handed over by its tail. Does not look into commands.
// See docs/interface.md, "Commands".

module hmm_command_fetch
  import hmm_structures_pkg::*;
  import hmm_pkg::*;
(
  input  logic        clk_i,
  input  logic        rst_ni,
  input  logic        run_i,  // else nothing is read, and what was read is forgotten
  input  logic        off_i,  // the ring begins anew at index 0
  input  logic [51:0] ring_base_i,
  input  logic [3:0]  ring_log2_i,
  input  logic [31:0] tail_i,
  // The command at the head
  input  logic [31:0] head_i,
  input  logic        taken_i,
  output logic        valid_o,
  output logic        error_o,  // its read failed, or it lies beyond the bus
  output command_t    command_o,
  output logic        busy_o,   // a read is on its way
  // Bus reads of whole lines; the tag is the buffer
  output logic        read_valid_o,
  input  logic        read_ready_i,
  output pa_t         read_address_o,
  output tag_t        read_tag_o,
  input  logic        read_done_i,
  input  tag_t        read_done_tag_i,
  input  line_t       read_line_i,
  input  logic        read_error_i
);

  typedef enum logic [1:0] {
    BufferEmpty,
    BufferOffer,  // offers its address to the bus
    BufferWait,   // for data
    BufferFull
  } buffer_state_e;

  typedef struct packed {
    buffer_state_e state;
    logic          abandoned;  // what comes is forgotten
    pa_t           address;
    logic          two;        // holds two commands that were handed over, not one
    logic          error;
    line_t         line;
  } buffer_t;

  buffer_t [1:0] buffers_q, buffers_d;
  logic          fill_q, fill_d;    // the buffer that is filled next
  logic          first_q, first_d;  // the buffer that holds the command at the head
  logic          second_q, second_d;  // its second command is at the head
  logic [31:0]   fetch_q, fetch_d;  // index of the command that is read next

  logic [31:0] ring_size, ahead, slot;
  logic [52:0] slot_address;
  logic        beyond_bus, wanted, two, offer;

  assign ring_size    = 32'd1 << ring_log2_i;
  assign ahead        = tail_i - fetch_q;
  assign slot         = fetch_q & (ring_size - 32'd1);
  assign slot_address = {1'b0, ring_base_i} + {16'd0, slot, 5'd0};
  assign beyond_bus   = (slot_address[52:PaBits] != '0);
  assign two          = (ring_size != 32'd1) && !slot_address[5] && (ahead != 32'd1);
  // A tail further ahead than the ring is long is nothing to go by.
  assign wanted       = run_i && (ahead != '0) && ((tail_i - head_i) <= ring_size) &&
                        (buffers_q[fill_q].state == BufferEmpty);
  assign offer        = wanted && !beyond_bus;

  assign valid_o   = (buffers_q[first_q].state == BufferFull);
  assign error_o   = buffers_q[first_q].error;
  assign command_o = command_t'(buffers_q[first_q].line[
                         {buffers_q[first_q].address[5] | second_q, 8'd0} +: 256]);
  assign busy_o    = (buffers_q[0].state == BufferOffer) || (buffers_q[0].state == BufferWait) ||
                     (buffers_q[1].state == BufferOffer) || (buffers_q[1].state == BufferWait);

  // The one that was offered first goes on being offered until it is taken.
  logic offering;
  assign offering       = (buffers_q[first_q].state == BufferOffer) ? first_q : !first_q;
  assign read_valid_o   = (buffers_q[offering].state == BufferOffer);
  assign read_address_o = {buffers_q[offering].address[PaBits-1:6], 6'd0};
  assign read_tag_o     = tag_t'(offering);

  //   a buffer  and                                   | becomes
  //   Empty     a command ahead                       | Offer, or Full of an error beyond the bus
  //   Offer     taken                                 | Wait
  //   Wait      data comes                            | Full, or Empty if nobody wants it any more
  //   Full      its last command is taken             | Empty
  //   Full      the ring does not run                 | Empty
  always_comb begin
    buffers_d = buffers_q;
    fill_d    = fill_q;
    first_d   = first_q;
    second_d  = second_q;
    fetch_d   = fetch_q;
    for (int unsigned i = 0; i < 2; i++) begin
      unique case (buffers_q[i].state)
        BufferEmpty: ;
        BufferOffer: begin
          if (!run_i) buffers_d[i].abandoned = 1'b1;
          if (read_ready_i && (offering == 1'(i))) buffers_d[i].state = BufferWait;
        end
        BufferWait: begin
          if (!run_i) buffers_d[i].abandoned = 1'b1;
          if (read_done_i && (read_done_tag_i == tag_t'(i))) begin
            buffers_d[i].line  = read_line_i;
            buffers_d[i].error = read_error_i;
            buffers_d[i].state = buffers_d[i].abandoned ? BufferEmpty : BufferFull;
          end
        end
        BufferFull: begin
          if (!run_i) buffers_d[i].state = BufferEmpty;
        end
      endcase
    end

    if (taken_i) begin
      second_d = buffers_q[first_q].two && !second_q;
      if (!second_d) begin
        buffers_d[first_q].state = BufferEmpty;
        first_d                  = !first_q;
      end
    end

    if (wanted) begin
      buffers_d[fill_q].state     = offer ? BufferOffer : BufferFull;
      buffers_d[fill_q].abandoned = 1'b0;
      buffers_d[fill_q].address   = slot_address[PaBits-1:0];
      buffers_d[fill_q].two       = two && offer;
      buffers_d[fill_q].error     = !offer;
      fill_d                      = !fill_q;
      fetch_d                     = fetch_q + (two ? 32'd2 : 32'd1);
    end

    if (!run_i) second_d = 1'b0;
    if (off_i) begin
      fetch_d = '0;
      fill_d  = 1'b0;
      first_d = 1'b0;
    end
  end

  always_ff @(posedge clk_i or negedge rst_ni) begin
    if (!rst_ni) begin
      buffers_q <= '0;
      fill_q    <= 1'b0;
      first_q   <= 1'b0;
      second_q  <= 1'b0;
      fetch_q   <= '0;
    end else begin
      buffers_q <= buffers_d;
      fill_q    <= fill_d;
      first_q   <= first_d;
      second_q  <= second_d;
      fetch_q   <= fetch_d;
    end
  end

  CommandReadStable: assert property (@(posedge clk_i) disable iff (!rst_ni)
      (read_valid_o && !read_ready_i) |=> (read_valid_o && $stable({read_address_o, read_tag_o})))
    else $error("a read of the command ring was withdrawn or changed before it was taken");
  CommandDataExpected: assert property (@(posedge clk_i) disable iff (!rst_ni)
      read_done_i |-> (buffers_q[read_done_tag_i[0]].state == BufferWait))
    else $error("read data came for a command that was not asked for");
  CommandTakenValid: assert property (@(posedge clk_i) disable iff (!rst_ni) taken_i |-> valid_o)
    else $error("a command was taken that is not here");

  logic unused_slot_address;
  assign unused_slot_address = ^slot_address[4:0];

endmodule
