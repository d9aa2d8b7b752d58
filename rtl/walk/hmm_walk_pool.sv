// SPDX-License-Identifier: Apache-2.0
// The walks in flight: each reads contexts, directories and one line of a pfns array for one
// request, side by side with the others; walks that need the same directory entry share its read.
// An invalidation of what a walk stands for drops it, and it begins anew; nothing that it read is
// used. A walk that ends in a reason fills no cache. Does not keep translations.
// See docs/theory_of_operation.md, "The walk".

module hmm_walk_pool
  import hmm_structures_pkg::*;
  import hmm_pkg::*;
#(
  parameter  int unsigned VaBits           = 48,
  parameter  int unsigned Walks            = 16,
  parameter  int unsigned DirectoryEntries = 64,
  parameter  int unsigned TableEntries     = 8,
  parameter  int unsigned ContextEntries   = 4,
  parameter  int unsigned PlaceBits        = 7,
  localparam int unsigned WalkBits         = (Walks > 1) ? $clog2(Walks) : 1
) (
  input  logic                 clk_i,
  input  logic                 rst_ni,
  // Configuration, stable while translation is on
  input  entry_format_t        format_i,
  input  logic [51:0]          context_base_i,
  input  logic [20:0]          context_count_i,
  input  logic                 flush_i,
  input  invalidation_t        invalidation_i,
  // A walk begins
  input  logic                 start_i,
  output logic                 free_o,  // there is a walk to begin
  input  client_request_t      start_request_i,
  input  logic [PlaceBits-1:0] start_place_i,
  // Is a walk on its way for the line of an address?
  input  pasid_t               match_pasid_i,
  input  va_t                  match_va_i,
  output logic                 match_o,
  output logic [WalkBits-1:0]  match_walk_o,
  // A walk ends, at most one a cycle
  output logic                 done_o,
  output logic [WalkBits-1:0]  done_walk_o,
  output logic [PlaceBits-1:0] done_place_o,
  output reason_e              reason_o,
  output cached_t              cached_o,
  // What may be kept of it
  output logic                 fill_line_o,
  output logic                 fill_block_o,
  output pasid_t               fill_pasid_o,
  output va_t                  fill_va_o,
  output line_slots_t          fill_slots_o,
  // Events and state
  output logic [WalkBits:0]    dropped_o,  // walks that begin anew in this cycle
  output logic [Walks-1:0]     stale_o,    // dropped, and their bus read is not over
  output logic                 busy_o,
  // Bus reads of whole lines; the tag is the walk
  output logic                 read_valid_o,
  input  logic                 read_ready_i,
  output pa_t                  read_address_o,
  output tag_t                 read_tag_o,
  input  logic                 read_done_i,
  input  tag_t                 read_done_tag_i,
  input  line_t                read_line_i,
  input  logic                 read_error_i
);

  typedef logic [WalkBits-1:0] walk_index_t;

  walk_t walks_q [Walks];
  walk_t walks_d [Walks];

  // ---- Invalidations ----------------------------------------------------------------------------

  logic [Walks-1:0] covered, touched;  // in this cycle

  always_comb begin
    covered = '0;
    touched = '0;
    if (invalidation_i.valid) begin
      for (int unsigned i = 0; i < Walks; i++) begin
        automatic logic same;
        same = invalidation_i.all_contexts || (invalidation_i.pasid == walks_q[i].pasid);
        covered[i] = (walks_q[i].state != WalkFree) && same &&
                     (invalidation_i.drop_context ||
                      invalidates_line(invalidation_i, walks_q[i].pasid, walks_q[i].va));
        touched[i] = (walks_q[i].state != WalkFree) && same && invalidation_i.drop_range;
      end
    end
  end

  // ---- Who is where -----------------------------------------------------------------------------

  logic [Walks-1:0] is_free, is_start, is_issue, is_ended, matching;
  logic [Walks-1:0] reads;  // of its own, which others may share

  always_comb begin
    for (int unsigned i = 0; i < Walks; i++) begin
      is_free[i]  = (walks_q[i].state == WalkFree);
      is_start[i] = (walks_q[i].state == WalkStart);
      is_issue[i] = (walks_q[i].state == WalkIssue);
      is_ended[i] = (walks_q[i].state == WalkEnded);
      reads[i]    = ((walks_q[i].state == WalkIssue) || (walks_q[i].state == WalkWait)) &&
                    (walks_q[i].leader == tag_t'(i));
      matching[i]  = !is_free[i] && (walks_q[i].pasid == match_pasid_i) &&
                    (walks_q[i].va[63:LineShift] == match_va_i[63:LineShift]);
    end
  end

  walk_index_t free_walk, start_walk, issue_walk, back_walk, ended_walk;
  logic        start_wanted, issue_wanted, ended_wanted, ended_served;

  always_comb begin
    free_walk    = '0;
    match_walk_o = '0;
    for (int unsigned i = 0; i < Walks; i++) begin
      if (is_free[i]) free_walk = walk_index_t'(i);
      if (matching[i]) match_walk_o = walk_index_t'(i);
    end
  end

  assign back_walk = walk_index_t'(read_done_tag_i);

  // While a reason waits for its turn no walk begins: so its turn comes.
  assign free_o  = (is_free != '0) && (!ended_wanted || ended_served);
  assign match_o = (matching != '0);

  hmm_arbiter #(
    .Inputs (Walks)
  ) u_start_arbiter (
    .clk_i,
    .rst_ni,
    .request_i (is_start),
    .served_i  (1'b1),
    .valid_o   (start_wanted),
    .index_o   (start_walk)
  );

  hmm_arbiter #(
    .Inputs (Walks)
  ) u_ended_arbiter (
    .clk_i,
    .rst_ni,
    .request_i (is_ended),
    .served_i  (ended_served),
    .valid_o   (ended_wanted),
    .index_o   (ended_walk)
  );

  // ---- The beginning ----------------------------------------------------------------------------

  walk_t    starting, done_walk;
  reason_e  start_reason;
  pointer_t start_pointer;
  logic     fill, fill_directories;

  assign starting = walks_q[start_walk];

  hmm_walk_start #(
    .VaBits           (VaBits),
    .DirectoryEntries (DirectoryEntries),
    .TableEntries     (TableEntries),
    .ContextEntries   (ContextEntries)
  ) u_start (
    .clk_i,
    .rst_ni,
    .flush_i               (flush_i),
    .invalidation_i        (invalidation_i),
    .context_base_i        (context_base_i),
    .context_count_i       (context_count_i),
    .lookup_i              (start_wanted),
    .pasid_i               (starting.pasid),
    .va_i                  (starting.va),
    .reason_o              (start_reason),
    .pointer_o             (start_pointer),
    .fill_pasid_i          (done_walk.pasid),
    .fill_va_i             (done_walk.va),
    .fill_array_i          (fill_directories && done_walk.array_new),
    .fill_array_pointer_i  (done_walk.pointer),
    .fill_directory_i      (fill_directories && done_walk.table_new),
    .fill_directory_base_i (done_walk.table_base),
    .fill_context_i        (fill && done_walk.root_new),
    .fill_root_i           (done_walk.root)
  );

  logic             follow;
  walk_index_t      follow_walk;
  logic [Walks-1:0] may_share;
  pointer_t         pointers [Walks];
  pasid_t           pasids   [Walks];
  va_t              vas      [Walks];

  always_comb begin
    for (int unsigned i = 0; i < Walks; i++) begin
      pointers[i]  = walks_q[i].pointer;
      pasids[i]    = walks_q[i].pasid;
      vas[i]       = walks_q[i].va;
      may_share[i] = reads[i] && !walks_q[i].dropped && !covered[i] &&
                     !(read_done_i && (back_walk == walk_index_t'(i)));
    end
  end

  hmm_walk_share #(
    .Walks (Walks)
  ) u_share (
    .valid_i       (start_wanted && !starting.alone),
    .pointer_i     (start_pointer),
    .pasid_i       (starting.pasid),
    .va_i          (starting.va),
    .reads_i       (may_share),
    .pointers_i    (pointers),
    .pasids_i      (pasids),
    .vas_i         (vas),
    .follow_o      (follow),
    .follow_walk_o (follow_walk)
  );

  // ---- The bus ----------------------------------------------------------------------------------

  walk_t            issuing;
  pa_t              issue_address;  // of the word
  logic             issue_beyond, offered;
  logic [Walks-1:0] issue_shown;

  // An address that is beyond the bus is not offered: its walk ends at once.
  hmm_held_arbiter #(
    .Inputs (Walks)
  ) u_issue_arbiter (
    .clk_i,
    .rst_ni,
    .request_i (is_issue),
    .valid_o   (issue_wanted),
    .index_o   (issue_walk),
    .shown_o   (issue_shown),
    .ready_i   (read_ready_i || issue_beyond)
  );

  hmm_walk_address u_address (
    .pointer_i (issuing.pointer),
    .va_i      (issuing.va),
    .address_o (issue_address),
    .beyond_o  (issue_beyond)
  );

  assign issuing        = walks_q[issue_walk];
  assign offered        = issue_wanted && !issue_beyond;
  assign read_valid_o   = offered;
  assign read_address_o = {issue_address[PaBits-1:6], 6'd0};
  assign read_tag_o     = tag_t'(issue_walk);

  // ---- What comes back --------------------------------------------------------------------------

  walk_t    back;
  reason_e  step_reason;
  pointer_t step_next;

  assign back = walks_q[back_walk];

  hmm_walk_step #(
    .VaBits (VaBits)
  ) u_step (
    .pointer_i (back.pointer),
    .word_i    (back.word),
    .line_i    (read_line_i),
    .error_i   (read_error_i),
    .reason_o  (step_reason),
    .next_o    (step_next)
  );

  // ---- The end ----------------------------------------------------------------------------------

  walk_index_t line_walk;
  logic        line_valid, line_here, line_done, ended_done, page_only;

  assign line_valid   = read_done_i && (back.pointer.kind == PointerArray) && !back.dropped &&
                        !covered[back_walk];
  assign line_done    = line_here && !walks_q[line_walk].dropped && !covered[line_walk];
  assign ended_served = ended_wanted && !line_here;
  assign ended_done   = ended_served && !covered[ended_walk];
  assign done_o       = line_done || ended_done;
  assign done_walk_o  = line_here ? line_walk : ended_walk;
  assign done_walk    = walks_q[done_walk_o];
  assign done_place_o = PlaceBits'(done_walk.place);
  assign page_only    = done_walk.page_only || touched[done_walk_o];
  assign fill_pasid_o = done_walk.pasid;
  assign fill_va_o    = done_walk.va;

  hmm_walk_end #(
    .WalkBits (WalkBits)
  ) u_end (
    .clk_i,
    .rst_ni,
    .format_i           (format_i),
    .line_valid_i       (line_valid),
    .line_walk_i        (back_walk),
    .line_i             (read_line_i),
    .line_error_i       (read_error_i),
    .line_here_o        (line_here),
    .line_walk_o        (line_walk),
    .line_used_i        (line_done),
    .va_i               (done_walk.va),
    .access_i           (done_walk.access),
    .array_i            (done_walk.pointer),
    .page_only_i        (page_only),
    .reason_i           (done_walk.reason),
    .reason_o           (reason_o),
    .cached_o           (cached_o),
    .fill_o             (fill),
    .fill_directories_o (fill_directories),
    .fill_line_o        (fill_line_o),
    .fill_block_o       (fill_block_o),
    .fill_slots_o       (fill_slots_o)
  );

  // ---- The walks --------------------------------------------------------------------------------

  logic [Walks-1:0] anew;

  hmm_walk_moves #(
    .Walks (Walks)
  ) u_moves (
    .walks_i         (walks_q),
    .walks_o         (walks_d),
    .anew_o          (anew),
    .covered_i       (covered),
    .touched_i       (touched),
    .start_i         (start_i),
    .start_walk_i    (free_walk),
    .start_request_i (start_request_i),
    .start_place_i   (8'(start_place_i)),
    .begin_i         (start_wanted),
    .begin_walk_i    (start_walk),
    .begin_reason_i  (start_reason),
    .begin_pointer_i (start_pointer),
    .follow_i        (follow),
    .follow_walk_i   (follow_walk),
    .follow_late_i   (walks_q[follow_walk].state == WalkWait),
    .issue_shown_i   (issue_shown),
    .issue_beyond_i  (issue_beyond),
    .issue_word_i    (issue_address[5:3]),
    .read_ready_i    (read_ready_i),
    .back_i          (read_done_i),
    .back_walk_i     (back_walk),
    .reads_i         (reads),
    .step_reason_i   (step_reason),
    .step_next_i     (step_next),
    .ended_served_i  (ended_served),
    .ended_walk_i    (ended_walk)
  );

  always_comb begin
    dropped_o = (WalkBits + 1)'($countones(anew));
    busy_o    = (is_free != '1);
    for (int unsigned i = 0; i < Walks; i++) begin
      stale_o[i] = walks_q[i].dropped &&
                   ((walks_q[i].state == WalkIssue) || (walks_q[i].state == WalkWait));
    end
  end

  always_ff @(posedge clk_i or negedge rst_ni) begin
    if (!rst_ni) begin
      for (int unsigned i = 0; i < Walks; i++) walks_q[i] <= '0;
    end else begin
      for (int unsigned i = 0; i < Walks; i++) walks_q[i] <= walks_d[i];
    end
  end

  WalkStartsFree: assert property (@(posedge clk_i) disable iff (!rst_ni)
      start_i |-> (walks_q[free_walk].state == WalkFree))
    else $error("a walk was started while there is none to start");
  WalkOneALine: assert property (@(posedge clk_i) disable iff (!rst_ni) $onehot0(matching))
    else $error("two walks are on their way for one line");
  WalkReadStable: assert property (@(posedge clk_i) disable iff (!rst_ni)
      (read_valid_o && !read_ready_i) |=> (read_valid_o && $stable({read_address_o, read_tag_o})))
    else $error("a walk's read was withdrawn or changed before it was taken");
  WalkDataExpected: assert property (@(posedge clk_i) disable iff (!rst_ni)
      read_done_i |-> ((back.state == WalkWait) && (back.leader == read_done_tag_i)))
    else $error("read data came for a walk that does not wait for it");

  if (VaBits != 48 && VaBits != 57) begin : gen_va_bits_check
    $error("VaBits must be 48 or 57");
  end
  if (Walks < 1 || Walks > (1 << TagBits)) begin : gen_walks_check
    $error("Walks must be 1 to 32");
  end

endmodule
