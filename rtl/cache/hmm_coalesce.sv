// SPDX-License-Identifier: Apache-2.0
// Looks how many of a line's eight pages around one of them can be kept as one block: an aligned
// group of 2, 4 or 8 that lie side by side in memory with equal permissions. Never says more of a
// page than its own slot does. Purely combinational.
// See docs/theory_of_operation.md, "The caches".

module hmm_coalesce
  import hmm_pkg::*;
(
  input  line_slots_t slots_i,
  input  logic [2:0]  index_i,
  output logic        valid_o,   // the slot holds a translation
  output cached_t     cached_o
);

  line_slot_t  slot;
  pfn_t        line_first;  // where the line would begin if all of it lay side by side
  logic [7:0]  alike;
  logic [1:0]  pairs, grouped;
  order_t      reach;

  assign slot       = slots_i[index_i];
  assign line_first = slot.pfn - pfn_t'(index_i);

  always_comb begin
    for (int unsigned i = 0; i < 8; i++) begin
      alike[i] = slots_i[i].valid && (slots_i[i].pfn == line_first + pfn_t'(i)) &&
                 (slots_i[i].order == slot.order) && (slots_i[i].write == slot.write) &&
                 (slots_i[i].atomic == slot.atomic) && (slots_i[i].memory == slot.memory);
    end
    pairs = {alike[{index_i[2:1], 1'b1}], alike[{index_i[2:1], 1'b0}]};
    grouped = '0;
    if (alike == '1) begin
      grouped = 2'd3;
    end else if ((index_i[2] ? alike[7:4] : alike[3:0]) == '1) begin
      grouped = 2'd2;
    end else if (pairs == '1) begin
      grouped = 2'd1;
    end
    reach = (grouped > slot.order) ? order_t'(grouped) : order_t'(slot.order);
  end

  assign valid_o  = slot.valid;
  assign cached_o = '{
    base:   slot.pfn - (pfn_t'(index_i) & pfn_t'(low_ones({1'b0, reach}))),
    reach:  reach,
    order:  order_t'(slot.order),
    write:  slot.write,
    atomic: slot.atomic,
    memory: slot.memory
  };

endmodule
