// SPDX-License-Identifier: Apache-2.0
// The second-level translation cache, shared by all ports: a set-associative part whose entries are
// lines of eight neighbouring 4 KiB pages, and a small fully associative part for larger blocks. A
// lookup takes its key in one cycle and has its result from the next on. An invalidation acts at
// once on results; the sets are swept one a cycle behind it.
// See docs/theory_of_operation.md, "The caches".

module hmm_shared_tlb
  import hmm_structures_pkg::*;
  import hmm_pkg::*;
#(
  parameter int unsigned VaBits       = 48,
  parameter int unsigned Sets         = 64,
  parameter int unsigned Ways         = 4,
  parameter int unsigned LargeEntries = 16
) (
  input  logic          clk_i,
  input  logic          rst_ni,
  input  logic          flush_i,
  input  invalidation_t invalidation_i,
  output logic          sweeping_o,  // an invalidation is still on its way through the sets
  // Lookup: the key is taken; the result is good until the next is
  input  logic          take_i,
  input  pasid_t        take_pasid_i,
  input  va_t           take_va_i,
  input  access_e       take_access_i,
  output logic          hit_o,     // and the access is permitted
  output cached_t       cached_o,
  // Fill: a line, or a block
  input  logic          fill_line_i,
  input  logic          fill_block_i,
  input  pasid_t        fill_pasid_i,
  input  va_t           fill_va_i,
  input  line_slots_t   fill_slots_i,
  input  cached_t       fill_cached_i
);

  localparam int unsigned SetBits  = (Sets > 1) ? $clog2(Sets) : 1;
  localparam int unsigned WayBits  = (Ways > 1) ? $clog2(Ways) : 1;
  localparam int unsigned NumberBits = VaBits - LineShift;  // of a line's number

  typedef logic [SetBits-1:0]    set_t;
  typedef logic [WayBits-1:0]    way_t;
  typedef logic [NumberBits-1:0] number_t;
  typedef logic [63:LineShift]   wide_number_t;

  typedef struct packed {
    pasid_t  pasid;
    number_t number;
  } tag_t;

  // An invalidation on its way through the sets.
  typedef struct packed {
    logic         active;
    logic         all_contexts;
    pasid_t       pasid;
    wide_number_t first;
    wide_number_t last;
    set_t         set;
    logic [SetBits:0] left;  // sets still to do
  } sweep_t;

  function automatic set_t set_of(va_t va);
    return (Sets > 1) ? va[LineShift +: SetBits] : '0;
  endfunction

  function automatic tag_t tag_of(pasid_t pasid, va_t va);
    return '{pasid: pasid, number: va[VaBits-1:LineShift]};
  endfunction

  function automatic logic sweeps(sweep_t sweep, pasid_t pasid, wide_number_t number);
    return sweep.active && (sweep.all_contexts || (sweep.pasid == pasid)) &&
           (number >= sweep.first) && (number <= sweep.last);
  endfunction

  logic [Ways-1:0][Sets-1:0] valid_q, valid_d;
  sweep_t                    sweep_q, sweep_d;
  way_t                      next_way_q, next_way_d;

  // The key of the lookup and what was read for it.
  logic                   key_valid_q, key_valid_d;
  pasid_t                 key_pasid_q, key_pasid_d;
  va_t                    key_va_q, key_va_d;
  access_e                key_access_q, key_access_d;
  logic                   key_dropped_q, key_dropped_d;
  logic        [Ways-1:0] read_valid_q, read_valid_d;
  tag_t        [Ways-1:0] read_tag;
  line_slots_t [Ways-1:0] read_slots;

  // ---- Memories, one of tags and one of lines a way ---------------------------------------------

  tag_t [Ways-1:0] sweep_tag, fill_old_tag;
  logic [Ways-1:0] written;
  set_t            fill_set, take_set;
  way_t            fill_way;
  tag_t            fill_tag;

  assign fill_set = set_of(fill_va_i);
  assign take_set = set_of(take_va_i);
  assign fill_tag = tag_of(fill_pasid_i, fill_va_i);

  for (genvar w = 0; w < Ways; w++) begin : gen_way
    tag_t        tags  [Sets];
    line_slots_t lines [Sets];
    tag_t        read_tag_q;
    line_slots_t read_slots_q;
    logic        write, forward;

    // A lookup that is taken in the cycle of a fill sees the fill.
    assign write      = fill_line_i && (fill_way == way_t'(w));
    assign forward    = write && (fill_set == take_set);
    assign written[w] = forward;

    always_ff @(posedge clk_i) begin
      if (write) begin
        tags[fill_set]  <= fill_tag;
        lines[fill_set] <= fill_slots_i;
      end
    end

    always_ff @(posedge clk_i) begin
      if (take_i) begin
        read_tag_q   <= forward ? fill_tag : tags[take_set];
        read_slots_q <= forward ? fill_slots_i : lines[take_set];
      end
    end

    assign read_tag[w]     = read_tag_q;
    assign read_slots[w]   = read_slots_q;
    assign sweep_tag[w]    = tags[sweep_q.set];
    assign fill_old_tag[w] = tags[fill_set];
  end

  // ---- Lookup -----------------------------------------------------------------------------------

  logic key_dropped_now, take_dropped;

  assign key_dropped_now = invalidates_line(invalidation_i, key_pasid_q, key_va_q) ||
                           sweeps(sweep_q, key_pasid_q, key_va_q[63:LineShift]);
  assign take_dropped    = invalidates_line(invalidation_i, take_pasid_i, take_va_i) ||
                           sweeps(sweep_q, take_pasid_i, take_va_i[63:LineShift]);

  always_comb begin
    key_valid_d   = key_valid_q || take_i;
    key_pasid_d   = take_i ? take_pasid_i : key_pasid_q;
    key_va_d      = take_i ? take_va_i : key_va_q;
    key_access_d  = take_i ? take_access_i : key_access_q;
    key_dropped_d = take_i ? take_dropped : (key_dropped_q || key_dropped_now);
    for (int unsigned w = 0; w < Ways; w++) begin
      read_valid_d[w] = take_i ? (valid_q[w][take_set] || written[w]) : read_valid_q[w];
    end
  end

  logic        [Ways-1:0] way_hit;
  line_slots_t            slots;
  logic                   line_hit;
  cached_t                line_cached;

  always_comb begin
    way_hit = '0;
    slots   = '0;
    for (int unsigned w = 0; w < Ways; w++) begin
      way_hit[w] = key_valid_q && read_valid_q[w] &&
                   (read_tag[w] == tag_of(key_pasid_q, key_va_q)) && (key_va_q[63:VaBits] == '0);
      if (way_hit[w]) slots |= read_slots[w];
    end
  end

  logic line_valid;

  hmm_coalesce u_coalesce (
    .slots_i  (slots),
    .index_i  (key_va_q[PageShift +: LineOrder]),
    .valid_o  (line_valid),
    .cached_o (line_cached)
  );

  assign line_hit = line_valid &&
                    (permission_reason(key_access_q, line_cached.write, line_cached.atomic) ==
                     REASON_NONE);

  logic    large_found, large_dropped, large_hit;
  cached_t large_cached;

  hmm_block_cache #(
    .VaBits      (VaBits),
    .Entries     (LargeEntries),
    .PayloadBits ($bits(cached_t))
  ) u_large (
    .clk_i,
    .rst_ni,
    .flush_i        (flush_i),
    .invalidation_i (invalidation_i),
    .lookup_i       (key_valid_q),
    .lookup_pasid_i (key_pasid_q),
    .lookup_va_i    (key_va_q),
    .hit_o          (large_found),
    .dropped_o      (large_dropped),
    .payload_o      (large_cached),
    .fill_i         (fill_block_i),
    .fill_pasid_i   (fill_pasid_i),
    .fill_va_i      (fill_va_i),
    .fill_reach_i   (fill_cached_i.reach),
    .fill_payload_i (fill_cached_i)
  );

  assign large_hit = large_found && !large_dropped &&
                     (permission_reason(key_access_q, large_cached.write, large_cached.atomic) ==
                      REASON_NONE);

  // What an invalidation reaches is a miss from its own cycle on.
  assign hit_o    = (line_hit || large_hit) && !key_dropped_q && !key_dropped_now;
  assign cached_o = large_hit ? large_cached : line_cached;

  // ---- Fill and sweep ---------------------------------------------------------------------------

  // A line goes where it stands already, else into an empty way, else into the next in turn.
  always_comb begin
    fill_way = next_way_q;
    if (fill_line_i) begin
      for (int unsigned w = 0; w < Ways; w++) begin
        if (!valid_q[w][fill_set]) fill_way = way_t'(w);
      end
      for (int unsigned w = 0; w < Ways; w++) begin
        if (valid_q[w][fill_set] && (fill_old_tag[w] == fill_tag)) fill_way = way_t'(w);
      end
    end
    next_way_d = next_way_q;
    if (fill_line_i && (fill_way == next_way_q)) begin
      next_way_d = (next_way_q == way_t'(Ways - 1)) ? '0 : next_way_q + 1'b1;
    end
  end

  wide_number_t first_number, last_number;
  logic [63-LineShift:0] numbers;  // lines that an invalidation reaches, less one

  assign first_number = invalidation_i.first[63:LineShift];
  assign last_number  = invalidation_i.last[63:LineShift];
  assign numbers      = last_number - first_number;

  always_comb begin
    sweep_d = sweep_q;
    if (sweep_q.active) begin
      sweep_d.set    = (sweep_q.set == set_t'(Sets - 1)) ? '0 : sweep_q.set + 1'b1;
      sweep_d.left   = sweep_q.left - 1'b1;
      sweep_d.active = (sweep_d.left != '0);
    end
    if (invalidation_i.valid && invalidation_i.drop_range) begin
      sweep_d.active       = 1'b1;
      sweep_d.all_contexts = invalidation_i.all_contexts;
      sweep_d.pasid        = invalidation_i.pasid;
      sweep_d.first        = first_number;
      sweep_d.last         = last_number;
      sweep_d.set          = set_of(invalidation_i.first);
      sweep_d.left         = (numbers >= (64-LineShift)'(Sets)) ? (SetBits + 1)'(Sets)
                                                              : (SetBits + 1)'(numbers) + 1'b1;
    end
  end

  always_comb begin
    valid_d = valid_q;
    if (sweep_q.active) begin
      for (int unsigned w = 0; w < Ways; w++) begin
        if (sweeps(sweep_q, sweep_tag[w].pasid, wide_number_t'(sweep_tag[w].number))) begin
          valid_d[w][sweep_q.set] = 1'b0;
        end
      end
    end
    if (fill_line_i) valid_d[fill_way][fill_set] = 1'b1;
    if (flush_i) valid_d = '0;
  end

  assign sweeping_o = sweep_q.active;

  always_ff @(posedge clk_i or negedge rst_ni) begin
    if (!rst_ni) begin
      valid_q       <= '0;
      sweep_q       <= '0;
      next_way_q    <= '0;
      key_valid_q   <= 1'b0;
      key_pasid_q   <= '0;
      key_va_q      <= '0;
      key_access_q  <= ACCESS_READ;
      key_dropped_q <= 1'b0;
      read_valid_q  <= '0;
    end else begin
      valid_q       <= valid_d;
      sweep_q       <= sweep_d;
      next_way_q    <= next_way_d;
      key_valid_q   <= key_valid_d;
      key_pasid_q   <= key_pasid_d;
      key_va_q      <= key_va_d;
      key_access_q  <= key_access_d;
      key_dropped_q <= key_dropped_d;
      read_valid_q  <= read_valid_d;
    end
  end

  SharedOneHit: assert property (@(posedge clk_i) disable iff (!rst_ni) $onehot0(way_hit))
    else $error("two ways of the second-level cache hold one line");
  SharedOneSweep: assert property (@(posedge clk_i) disable iff (!rst_ni)
      (invalidation_i.valid && invalidation_i.drop_range) |-> !sweep_q.active)
    else $error("an invalidation came while the one before it was on its way through the sets");
  SharedNoFillInFlush: assert property (@(posedge clk_i) disable iff (!rst_ni)
      !(fill_line_i && flush_i))
    else $error("the second-level cache is filled while it is flushed");

  if ((Sets < 1) || ((Sets & (Sets - 1)) != 0)) begin : gen_sets_check
    $error("SharedSets must be a power of two");
  end
  if (Ways < 1) begin : gen_ways_check
    $error("SharedWays must be at least 1");
  end

endmodule
