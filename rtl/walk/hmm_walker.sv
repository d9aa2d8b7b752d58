// SPDX-License-Identifier: Apache-2.0
// Walks the context table, the directories and the pfns array for one request at a time, and tells
// the translation or the reason why there is none. An invalidation of what it reads drops the walk,
// which then starts anew; nothing that was read before is used. A walk that ends in a reason fills
// no cache. Does not keep translations. See docs/interface.md, "The walk".

module hmm_walker
  import hmm_structures_pkg::*;
  import hmm_pkg::*;
#(
  parameter int unsigned VaBits = 48
) (
  input  logic            clk_i,
  input  logic            rst_ni,
  // Configuration, stable while translation is on
  input  entry_format_t   format_i,
  input  logic [51:0]     context_base_i,
  input  logic [20:0]     context_count_i,
  input  invalidation_t   invalidation_i,
  // The request: start is one cycle, the request is stable until done
  input  logic            start_i,
  input  client_request_t request_i,
  output logic            done_o,
  output reason_e         reason_o,
  output translation_t    translation_o,
  output logic            drop_o,
  output logic            busy_o,
  output logic            stale_read_o,  // a bus read of a dropped walk is not over yet
  // Context cache
  input  logic            context_hit_i,
  input  pa_t             context_root_i,
  output logic            context_fill_o,
  output pa_t             context_fill_root_o,
  // Bus reads of whole lines, one at a time
  output logic            read_valid_o,
  input  logic            read_ready_i,
  output pa_t             read_address_o,
  input  logic            read_done_i,
  input  line_t           read_line_i,
  input  logic            read_error_i
);

  localparam int unsigned Levels = (VaBits - PageShift) / LevelBits - 1;

  typedef enum logic [1:0] {
    StateIdle,
    StateStart,  // look for the context
    StateRead,   // offer the address to the bus
    StateData    // wait for the data and act on it
  } state_e;

  typedef enum logic [1:0] {
    StepContext,
    StepDirectory,
    StepArray
  } step_e;

  typedef struct packed {
    step_e      step;
    logic [2:0] level;           // of the directory being read
    pa_t        address;         // of the word being read
    pa_t        root;
    logic       root_is_new;     // read from memory, not from the cache
    logic [5:0] page_shift;      // of the array being read
    logic [4:0] max_order;
    order_t     span_order;
  } walk_t;

  state_e state_q, state_d;
  walk_t  walk_q, walk_d;
  logic   dropped_q, dropped_d;      // an invalidation hit what was read: read on, use nothing
  logic   page_only_q, page_only_d;  // an invalidation hit a neighbour: trust this page alone

  // ---- Invalidations ----------------------------------------------------------------------------

  logic same_context, covers_page, drop_now, page_only_now;

  assign same_context  = invalidation_i.valid &&
                         (invalidation_i.all_contexts || invalidation_i.pasid == request_i.pasid);
  assign covers_page   = ({request_i.va[63:12], 12'h000} <= invalidation_i.last) &&
                         ({request_i.va[63:12], 12'hfff} >= invalidation_i.first);
  assign drop_now      = same_context && (invalidation_i.drop_context ||
                                          (invalidation_i.drop_range && covers_page));
  assign page_only_now = same_context && invalidation_i.drop_range;

  // ---- What was read ----------------------------------------------------------------------------

  logic [63:0]      word;
  logic [127:0]     context_words;
  context_entry_t   context_entry;
  directory_entry_t directory_entry;

  assign word            = read_line_i[{walk_q.address[5:3], 6'd0} +: 64];
  assign context_words   = read_line_i[{walk_q.address[5:4], 7'd0} +: 128];
  assign context_entry   = context_entry_t'(context_words);
  assign directory_entry = directory_entry_t'(word);

  logic context_malformed;
  assign context_malformed = (context_entry.reserved_0 != '0) ||
                             (context_entry.reserved_1 != '0) ||
                             (context_entry.reserved_2 != '0) ||
                             (context_entry.root[39:PaBits-12] != '0);

  logic   directory_absent, directory_array, directory_malformed;
  order_t directory_span_order;
  pa_t    directory_next;

  hmm_directory_decoder u_directory_decoder (
    .entry_i        (directory_entry),
    .level_i        (walk_q.level),
    .va_i           (request_i.va),
    .absent_o       (directory_absent),
    .array_o        (directory_array),
    .malformed_o    (directory_malformed),
    .span_order_o   (directory_span_order),
    .next_address_o (directory_next)
  );

  reason_e      entry_reason;
  translation_t entry_translation;

  hmm_entry_decoder u_entry_decoder (
    .format_i      (format_i),
    .entry_i       (word),
    .vpn_i         ({12'd0, request_i.va[63:12]}),
    .page_shift_i  (walk_q.page_shift),
    .max_order_i   (walk_q.max_order),
    .span_order_i  (walk_q.span_order),
    .page_only_i   (page_only_q || page_only_now),
    .reason_o      (entry_reason),
    .translation_o (entry_translation)
  );

  // ---- Addresses --------------------------------------------------------------------------------

  logic [52:0]          context_address;
  logic [LevelBits-1:0] root_index;

  assign context_address = {1'b0, context_base_i} + 53'({request_i.pasid, 4'd0});
  assign root_index      = request_i.va[VaBits-1 -: LevelBits];

  // ---- The walk ---------------------------------------------------------------------------------

  logic    finished;       // the walk ends in this cycle, unless it was dropped
  reason_e walk_reason;

  // Where the walk goes when data arrives, unless it was dropped:
  //   step       error  data              | next
  //   any          1     -                | ends: BUS_ERROR
  //   CONTEXT      0    not valid         | ends: NO_CONTEXT
  //   CONTEXT      0    malformed         | ends: MALFORMED
  //   CONTEXT      0    good              | DIRECTORY: the root
  //   DIRECTORY    0    malformed         | ends: MALFORMED
  //   DIRECTORY    0    absent            | ends: NOT_PRESENT
  //   DIRECTORY    0    array             | ARRAY
  //   DIRECTORY    0    directory         | DIRECTORY, one level down
  //   ARRAY        0     -                | ends: what the entry says of the access
  always_comb begin
    state_d     = state_q;
    walk_d      = walk_q;
    dropped_d   = dropped_q;
    page_only_d = page_only_q;
    finished    = 1'b0;
    walk_reason = REASON_NONE;

    unique case (state_q)
      StateIdle: begin
        if (start_i) state_d = StateStart;
      end

      StateStart: begin
        dropped_d   = 1'b0;
        page_only_d = 1'b0;
        walk_d.level = 3'(Levels);
        if (request_i.va[63:VaBits] != '0) begin
          finished    = 1'b1;
          walk_reason = REASON_OUT_OF_RANGE;
          state_d     = StateIdle;
        end else if ({1'b0, request_i.pasid} >= context_count_i) begin
          finished    = 1'b1;
          walk_reason = REASON_NO_CONTEXT;
          state_d     = StateIdle;
        end else if (context_hit_i) begin
          walk_d.step        = StepDirectory;
          walk_d.root        = context_root_i;
          walk_d.root_is_new = 1'b0;
          walk_d.address     = {context_root_i[PaBits-1:12], root_index, 3'd0};
          state_d            = StateRead;
        end else if (context_address[52:PaBits] != '0) begin
          finished    = 1'b1;
          walk_reason = REASON_MALFORMED;
          state_d     = StateIdle;
        end else begin
          walk_d.step        = StepContext;
          walk_d.root_is_new = 1'b1;
          walk_d.address     = context_address[PaBits-1:0];
          state_d            = StateRead;
        end
        // The context may have changed in this cycle: look again.
        if (drop_now) begin
          finished = 1'b0;
          state_d  = StateStart;
        end
      end

      StateRead: begin
        if (read_ready_i) state_d = StateData;
        dropped_d   = dropped_q || drop_now;
        page_only_d = page_only_q || page_only_now;
      end

      StateData: begin
        dropped_d   = dropped_q || drop_now;
        page_only_d = page_only_q || page_only_now;
        if (read_done_i) begin
          state_d = StateRead;
          if (read_error_i) begin
            finished    = 1'b1;
            walk_reason = REASON_BUS_ERROR;
          end else begin
            unique case (walk_q.step)
              StepContext: begin
                walk_d.step    = StepDirectory;
                walk_d.root    = {context_entry.root[PaBits-13:0], 12'd0};
                walk_d.address = {context_entry.root[PaBits-13:0], root_index, 3'd0};
                if (!context_entry.valid) begin
                  finished    = 1'b1;
                  walk_reason = REASON_NO_CONTEXT;
                end else if (context_malformed) begin
                  finished    = 1'b1;
                  walk_reason = REASON_MALFORMED;
                end
              end
              StepDirectory: begin
                walk_d.step       = directory_array ? StepArray : StepDirectory;
                walk_d.level      = walk_q.level - 3'd1;
                walk_d.address    = directory_next;
                walk_d.page_shift = directory_entry.page_shift;
                walk_d.max_order  = directory_entry.max_order;
                walk_d.span_order = directory_span_order;
                if (directory_malformed) begin
                  finished    = 1'b1;
                  walk_reason = REASON_MALFORMED;
                end else if (directory_absent) begin
                  finished    = 1'b1;
                  walk_reason = REASON_NOT_PRESENT;
                end
              end
              StepArray: begin
                finished    = 1'b1;
                walk_reason = (entry_reason != REASON_NONE) ? entry_reason :
                              permission_reason(request_i.access, entry_translation.write,
                                                entry_translation.atomic);
              end
              default: ;
            endcase
          end
          if (finished) state_d = StateIdle;
          if (dropped_q || drop_now) begin
            finished = 1'b0;
            state_d  = StateStart;
          end
        end
      end

      default: ;
    endcase
  end

  assign done_o        = finished;
  assign reason_o      = walk_reason;
  assign translation_o = entry_translation;
  assign drop_o        = (state_q == StateData) && read_done_i && (dropped_q || drop_now);
  assign busy_o        = (state_q != StateIdle);
  assign stale_read_o  = ((state_q == StateRead) || (state_q == StateData)) && dropped_q;

  assign context_fill_o      = finished && (walk_reason == REASON_NONE) && walk_q.root_is_new;
  assign context_fill_root_o = walk_q.root;

  assign read_valid_o   = (state_q == StateRead);
  assign read_address_o = {walk_q.address[PaBits-1:6], 6'd0};

  always_ff @(posedge clk_i or negedge rst_ni) begin
    if (!rst_ni) begin
      state_q     <= StateIdle;
      walk_q      <= '0;
      dropped_q   <= 1'b0;
      page_only_q <= 1'b0;
    end else begin
      state_q     <= state_d;
      walk_q      <= walk_d;
      dropped_q   <= dropped_d;
      page_only_q <= page_only_d;
    end
  end

  WalkStartsIdle: assert property (@(posedge clk_i) disable iff (!rst_ni)
      start_i |-> (state_q == StateIdle))
    else $error("a walk was started while another one runs");
  WalkRequestStable: assert property (@(posedge clk_i) disable iff (!rst_ni)
      (busy_o && !done_o) |=> $stable(request_i))
    else $error("the request changed under its walk");
  WalkReadStable: assert property (@(posedge clk_i) disable iff (!rst_ni)
      (read_valid_o && !read_ready_i) |=> (read_valid_o && $stable(read_address_o)))
    else $error("a bus read was withdrawn or changed before it was taken");
  WalkDataExpected: assert property (@(posedge clk_i) disable iff (!rst_ni)
      read_done_i |-> (state_q == StateData))
    else $error("read data came for a walk that does not wait for it");

  if (VaBits != 48 && VaBits != 57) begin : gen_va_bits_check
    $error("VaBits must be 48 or 57");
  end

  logic unused_page_offset;
  assign unused_page_offset = ^walk_q.address[2:0];

endmodule
