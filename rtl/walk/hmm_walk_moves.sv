// SPDX-License-Identifier: Apache-2.0
// What becomes of each walk in flight in a cycle: who begins, whose address goes out, whose data
// comes, who ends, and who was reached by an invalidation. Purely combinational.
// See docs/theory_of_operation.md, "The walk".

module hmm_walk_moves
  import hmm_structures_pkg::*;
  import hmm_pkg::*;
#(
  parameter  int unsigned Walks    = 16,
  localparam int unsigned WalkBits = (Walks > 1) ? $clog2(Walks) : 1
) (
  // The walks, now and in the next cycle
  input  walk_t               walks_i [Walks],
  output walk_t               walks_o [Walks],
  output logic [Walks-1:0]    anew_o,  // dropped, and begins anew
  // An invalidation: of what a walk stands for; of anything in its context
  input  logic [Walks-1:0]    covered_i,
  input  logic [Walks-1:0]    touched_i,
  // A walk begins
  input  logic                start_i,
  input  logic [WalkBits-1:0] start_walk_i,
  input  client_request_t     start_request_i,
  input  logic [7:0]          start_place_i,
  // One whose turn it is hears where to begin, and whom to follow
  input  logic                begin_i,
  input  logic [WalkBits-1:0] begin_walk_i,
  input  reason_e             begin_reason_i,
  input  pointer_t            begin_pointer_i,
  input  logic                follow_i,
  input  logic [WalkBits-1:0] follow_walk_i,
  input  logic                follow_late_i,  // whose read is on its way already
  // One shows its address to the bus
  input  logic [Walks-1:0]    issue_shown_i,
  input  logic                issue_beyond_i,
  input  logic [2:0]          issue_word_i,
  input  logic                read_ready_i,
  // The data of one comes, and says where to read next
  input  logic                back_i,
  input  logic [WalkBits-1:0] back_walk_i,
  input  logic [Walks-1:0]    reads_i,  // who has a read of its own
  input  reason_e             step_reason_i,
  input  pointer_t            step_next_i,
  // One that ended with a reason has told it
  input  logic                ended_served_i,
  input  logic [WalkBits-1:0] ended_walk_i
);

  typedef logic [WalkBits-1:0] walk_index_t;

  walk_t  back;
  logic   shared_on;  // who shared this read shares the next, if that is of the same entry
  order_t next_shift;

  assign back       = walks_i[back_walk_i];
  assign shared_on  = !back.dropped && !covered_i[back_walk_i] &&
                      (step_next_i.kind == PointerDirectory);
  assign next_shift = span_order(step_next_i.level) + 6'd12;

  //   a walk in  | and                                         | goes to
  //   Free       | it is begun                                 | Start
  //   Start      | its turn, nothing to read                   | Ended
  //   Start      | its turn, another reads the same entry      | Wait, under that one
  //   Start      | its turn                                    | Issue
  //   Issue      | dropped and not on offer                    | Start
  //   Issue      | its address is beyond the bus               | Ended: MALFORMED
  //   Issue      | its address is taken                        | Wait
  //   Wait       | its leader does not read (any more)         | Start
  //   Wait       | its data comes, dropped                     | Start
  //   Wait       | data comes that may be older than its       | Start, and follows nobody
  //              | request: a reason                           |
  //   Wait       | its data comes: a reason                    | Ended
  //   Wait       | its data comes: an entry, the next shared   | Wait
  //   Wait       | its data comes: an entry                    | Issue
  //   Wait       | its data comes: the line of an array        | Line
  //   Line       | dropped                                     | Start
  //   Line       | else                                        | Free
  //   Ended      | dropped                                     | Start
  //   Ended      | its turn                                    | Free
  always_comb begin
    anew_o = '0;
    for (int unsigned i = 0; i < Walks; i++) begin
      automatic logic leads;
      walks_o[i] = walks_i[i];
      leads = reads_i[walk_index_t'(walks_i[i].leader)];
      walks_o[i].dropped   = walks_i[i].dropped || covered_i[i];
      walks_o[i].page_only = walks_i[i].page_only || touched_i[i];

      unique case (walks_i[i].state)
        WalkFree: ;
        WalkStart: begin
          walks_o[i].dropped   = 1'b0;
          walks_o[i].page_only = 1'b0;
          if (begin_i && (begin_walk_i == walk_index_t'(i)) && !covered_i[i]) begin
            walks_o[i].pointer   = begin_pointer_i;
            walks_o[i].leader    = follow_i ? tag_t'(follow_walk_i) : tag_t'(i);
            walks_o[i].late      = follow_i && follow_late_i;
            walks_o[i].root_new  = 1'b0;
            walks_o[i].array_new = 1'b0;
            walks_o[i].table_new = 1'b0;
            walks_o[i].reason    = begin_reason_i;
            walks_o[i].state     = (begin_reason_i != REASON_NONE) ? WalkEnded :
                                   follow_i                        ? WalkWait : WalkIssue;
          end
        end
        WalkIssue: begin
          if (issue_shown_i[i] && !issue_beyond_i) begin
            walks_o[i].word = issue_word_i;
            if (read_ready_i) walks_o[i].state = WalkWait;
          end else if (walks_o[i].dropped) begin
            walks_o[i].state = WalkStart;
            anew_o[i]        = 1'b1;
          end else if (issue_shown_i[i]) begin
            walks_o[i].reason = REASON_MALFORMED;
            walks_o[i].state  = WalkEnded;
          end
        end
        WalkWait: begin
          if (!leads) begin
            walks_o[i].state = WalkStart;
            anew_o[i]        = walks_o[i].dropped;
          end else if (back_i && (tag_t'(back_walk_i) == walks_i[i].leader)) begin
            walks_o[i].leader = tag_t'(i);
            if (walks_o[i].dropped) begin
              walks_o[i].state = WalkStart;
              anew_o[i]        = 1'b1;
            end else if (walks_i[i].pointer.kind == PointerArray) begin
              walks_o[i].state = WalkLine;
            end else if ((step_reason_i != REASON_NONE) && walks_i[i].late) begin
              walks_o[i].alone = 1'b1;
              walks_o[i].state = WalkStart;
            end else if (step_reason_i != REASON_NONE) begin
              walks_o[i].reason = step_reason_i;
              walks_o[i].state  = WalkEnded;
            end else begin
              walks_o[i].pointer = step_next_i;
              walks_o[i].late    = 1'b0;
              walks_o[i].state   = WalkIssue;
              if (walks_i[i].pointer.kind == PointerContext) begin
                walks_o[i].root_new = 1'b1;
                walks_o[i].root     = step_next_i.base;
              end else begin
                walks_o[i].array_new  = (step_next_i.kind == PointerArray);
                walks_o[i].table_new  = (step_next_i.kind == PointerArray);
                walks_o[i].table_base = walks_i[i].pointer.base;
              end
              if ((walks_i[i].leader != tag_t'(i)) && shared_on &&
                  (((walks_i[i].va ^ back.va) >> next_shift) == '0)) begin
                walks_o[i].state  = WalkWait;
                walks_o[i].leader = tag_t'(back_walk_i);
              end
            end
          end
        end
        WalkLine: begin
          walks_o[i].state = walks_o[i].dropped ? WalkStart : WalkFree;
          anew_o[i]        = walks_o[i].dropped;
        end
        WalkEnded: begin
          if (covered_i[i]) begin
            walks_o[i].state = WalkStart;
            anew_o[i]        = 1'b1;
          end else if (ended_served_i && (ended_walk_i == walk_index_t'(i))) begin
            walks_o[i].state = WalkFree;
          end
        end
        default: ;
      endcase
    end

    if (start_i) begin
      walks_o[start_walk_i]        = '0;
      walks_o[start_walk_i].state  = WalkStart;
      walks_o[start_walk_i].leader = tag_t'(start_walk_i);
      walks_o[start_walk_i].place  = start_place_i;
      walks_o[start_walk_i].pasid  = start_request_i.pasid;
      walks_o[start_walk_i].va     = start_request_i.va;
      walks_o[start_walk_i].access = start_request_i.access;
    end
  end

endmodule
