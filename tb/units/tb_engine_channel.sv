// SPDX-License-Identifier: Apache-2.0
// The far end of one of the access engine's channels: takes transfers, any number under way, each
// after a pause; tells the Python side, which looks up the answer while time stands still; and
// answers each after a delay of its own, in any order, but those of one tag in theirs.

module tb_engine_channel #(
  parameter int unsigned Width = 1,  // of an answer
  parameter int unsigned TagWidth = 5
) (
  input  logic                clk,
  input  logic                rst_n,
  // The engine
  input  logic                valid,
  output logic                ready,
  input  logic [TagWidth-1:0] tag,
  output logic                done,    // one cycle
  output logic [TagWidth-1:0] done_tag,
  output logic [Width-1:0]    done_answer,
  // Python
  input  logic [15:0]         pause,   // cycles from valid to ready; 0: ready is there before valid
  input  logic [15:0]         delay,   // cycles more than the least from the transfer to done
  input  logic [Width-1:0]    answer,
  output logic                asked,   // changes with each transfer
  output logic                under_way
);

  typedef struct packed {
    logic [63:0]         due;
    logic [TagWidth-1:0] tag;
    logic [Width-1:0]    answer;
  } entry_t;

  entry_t              entries[$];  // by due cycle
  logic [63:0]         cycle_q;
  logic                fresh_q;     // taken at the last edge; its answer is Python's now
  logic [TagWidth-1:0] fresh_tag_q;
  logic                out_q, tag_open_q, open_q;
  entry_t              entry_q;
  logic [15:0]         paused_q;
  logic                direct;

  assign ready     = (paused_q == pause);
  assign under_way = open_q || fresh_q || out_q;

  // At once, if nothing else is due and nothing older of its tag is under way.
  assign direct      = fresh_q && (delay == '0) && !out_q && !tag_open_q;
  assign done        = out_q || direct;
  assign done_tag    = out_q ? entry_q.tag : fresh_tag_q;
  assign done_answer = out_q ? entry_q.answer : answer;

  always_ff @(posedge clk or negedge rst_n) begin : p_entries
    automatic entry_t      entry;
    automatic int unsigned place;
    if (!rst_n) begin
      entries      = {};
      cycle_q     <= '0;
      fresh_q     <= 1'b0;
      fresh_tag_q <= '0;
      tag_open_q  <= 1'b0;
      open_q      <= 1'b0;
      out_q       <= 1'b0;
      entry_q     <= '0;
      paused_q    <= '0;
    end else begin
      cycle_q <= cycle_q + 64'd1;
      if (fresh_q && !direct) begin
        entry = '{due: cycle_q + 64'(delay), tag: fresh_tag_q, answer: answer};
        place = entries.size();
        for (int unsigned i = 0; i < entries.size(); i++) begin
          if (entries[i].tag == entry.tag && entries[i].due > entry.due) entry.due = entries[i].due;
        end
        while (place != 0 && entries[place-1].due > entry.due) place--;
        entries.insert(place, entry);
      end
      out_q <= 1'b0;
      if (entries.size() != 0 && entries[0].due <= cycle_q + 64'd1) begin
        out_q   <= 1'b1;
        entry_q <= entries.pop_front();
      end
      open_q      <= (entries.size() != 0);
      fresh_q     <= valid && ready;
      fresh_tag_q <= tag;
      tag_open_q  <= 1'b0;
      for (int unsigned i = 0; i < entries.size(); i++) begin
        if (entries[i].tag == tag) tag_open_q <= 1'b1;
      end
      paused_q <= (!valid || ready) ? '0 : paused_q + 16'd1;
    end
  end

  // A reset is no transfer.
  initial asked = 1'b0;
  always_ff @(posedge clk) begin
    if (rst_n && valid && ready) asked <= !asked;
  end

endmodule
