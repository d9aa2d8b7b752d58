// SPDX-License-Identifier: Apache-2.0
// Finds a walk in flight that reads what a new one would read: the same context entry, or the same
// directory entry. An array's line is never shared here: requests of one line share a whole walk.
// Purely combinational. See docs/theory_of_operation.md, "The walk".

module hmm_walk_share
  import hmm_structures_pkg::*;
  import hmm_pkg::*;
#(
  parameter  int unsigned Walks    = 16,
  localparam int unsigned WalkBits = (Walks > 1) ? $clog2(Walks) : 1
) (
  // What the new walk would read
  input  logic                valid_i,
  input  pointer_t            pointer_i,
  input  pasid_t              pasid_i,
  input  va_t                 va_i,
  // The walks whose read may be shared, and what they read
  input  logic [Walks-1:0]    reads_i,
  input  pointer_t            pointers_i [Walks],
  input  pasid_t              pasids_i   [Walks],
  input  va_t                 vas_i      [Walks],
  // The one to follow
  output logic                follow_o,
  output logic [WalkBits-1:0] follow_walk_o
);

  order_t span;  // of what an entry of the directory covers

  assign span = span_order(pointer_i.level);

  always_comb begin
    follow_o      = 1'b0;
    follow_walk_o = '0;
    for (int unsigned i = 0; i < Walks; i++) begin
      automatic logic same_context, same_entry;
      same_context = (pointer_i.kind == PointerContext) &&
                     (pointers_i[i].kind == PointerContext);
      same_entry   = (pointer_i.kind == PointerDirectory) &&
                     (pointers_i[i].kind == PointerDirectory) &&
                     (pointers_i[i].level == pointer_i.level) &&
                     (((va_i ^ vas_i[i]) >> (span + 6'd12)) == '0);
      if (valid_i && reads_i[i] && (pasids_i[i] == pasid_i) && (same_context || same_entry)) begin
        follow_o      = 1'b1;
        follow_walk_o = WalkBits'(i);
      end
    end
  end

endmodule
