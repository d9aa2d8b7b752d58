// SPDX-License-Identifier: Apache-2.0
// The places of requests that missed in their port: each is looked up and walked from here, and
// waits here when its walk ends in a fault that the host must answer. Merges requests that fault on
// one page of one context under one tag, and carries answers out. Does not walk and does not write
// records. See docs/interface.md, "Faults".

module hmm_fault_buffer
  import hmm_structures_pkg::*;
  import hmm_pkg::*;
#(
  parameter  int unsigned Clients   = 2,
  parameter  int unsigned Slots     = 16,  // for requests that may wait; one more for PREFETCH
  parameter  int unsigned WalkBits  = 4,
  localparam int unsigned Places    = Slots + 1,
  localparam int unsigned PlaceBits = $clog2(Places)
) (
  input  logic                          clk_i,
  input  logic                          rst_ni,
  input  logic                          wait_i,  // faults wait; else all are ABORTED at once
  input  logic                          abandon_i,  // abort every waiting fault
  // Requests that missed, at most one taken a cycle
  input  logic            [Clients-1:0] miss_valid_i,
  output logic            [Clients-1:0] miss_ready_o,
  input  client_request_t [Clients-1:0] miss_i,
  // Answers to clients, always taken: one a cycle from walks and aborts, one from lookups, not both
  // for one client
  output logic            [Clients-1:0] answer_valid_o,
  output client_request_t               answer_request_o,
  output reason_e                       answer_reason_o,
  output cached_t                       answer_cached_o,
  output logic            [Clients-1:0] hit_valid_o,
  output client_request_t               hit_request_o,
  // Lookups, one taken a cycle, and what became of one
  output logic                          lookup_valid_o,
  input  logic                          lookup_ready_i,
  output logic [PlaceBits-1:0]          lookup_place_o,
  output client_request_t               lookup_request_o,
  input  logic [PlaceBits-1:0]          looked_place_i,
  input  logic                          looked_hit_i,
  output logic                          looked_hit_ready_o,
  input  logic                          looked_start_i,
  input  logic                          looked_merge_i,
  input  logic [WalkBits-1:0]           looked_walk_i,
  input  logic                          looked_again_i,
  output logic                          hold_walks_o,  // an abort waits for its turn
  // Walks that end
  input  logic                          walk_done_i,
  input  logic [WalkBits-1:0]           walk_index_i,
  input  logic [PlaceBits-1:0]          walk_place_i,
  input  reason_e                       walk_reason_i,
  input  cached_t                       walk_cached_i,
  // Records: offered until taken; then written or not, in the same order
  output logic                          record_valid_o,
  output fault_record_t                 record_o,
  input  logic                          record_taken_i,
  input  logic                          record_done_i,
  input  logic                          record_failed_i,
  input  logic [31:0]                   record_tag_i,  // of the one that is written or not
  // The host's answers, in the cycle in which they take effect
  input  answer_t                       answer_i,
  output logic                          answer_ignored_o,
  // Time
  input  logic [63:0]                   timestamp_i,
  // Events
  output logic                          busy_o,
  output logic                          walks_open_o,
  output logic                          waiting_o,  // a request waits for the host
  output logic                          merged_o,
  output logic                          replayed_o,
  output logic [7:0]                    unrecorded_o  // faults given up without a record
);

  localparam int unsigned Prefetch   = Slots;  // the place kept for PREFETCH
  localparam int unsigned ClientBits = (Clients > 1) ? $clog2(Clients) : 1;

  typedef logic [PlaceBits-1:0]  place_t;
  typedef logic [ClientBits-1:0] client_t;
  typedef logic [Places-1:0]     places_t;

  place_e [Places-1:0] state_q, state_d;

  // What a request is: written when it takes its place.
  typedef struct packed {
    client_t         client;
    client_request_t request;
  } owner_t;

  // What its last walk ended in: written when that ends.
  typedef struct packed {
    reason_e     reason;
    logic [23:0] generation;
    logic [63:0] timestamp;
  } fault_t;

  owner_t              owners_q   [Places];
  fault_t              faults_q   [Places];
  place_t              leaders_q  [Places];  // of merged ones
  logic [WalkBits-1:0] walks_q    [Places];  // of those that wait for a line
  places_t             given_up_q, given_up_d;  // the reason is NO_CONTEXT, whatever the walk said
  fault_t              ended;
  logic                fault_ends;

  function automatic logic immediate(reason_e reason);
    return (reason == REASON_OUT_OF_RANGE) || (reason == REASON_NO_CONTEXT) ||
           (reason == REASON_BUS_ERROR) || (reason == REASON_MALFORMED);
  endfunction

  // ---- Who is where -----------------------------------------------------------------------------

  places_t is_free, is_lookup, is_walking, is_unrecorded, is_waiting, is_leading, is_merged;
  places_t is_report, is_abort;

  always_comb begin
    for (int unsigned i = 0; i < Places; i++) begin
      is_free[i]       = (state_q[i] == PlaceFree);
      is_lookup[i]     = (state_q[i] == PlaceLookup);
      is_walking[i]    = (state_q[i] == PlaceLookup) || (state_q[i] == PlaceLooking) ||
                         (state_q[i] == PlaceWalk) || (state_q[i] == PlaceLine);
      is_unrecorded[i] = (state_q[i] == PlaceFault) || (state_q[i] == PlaceReport);
      is_waiting[i]    = (state_q[i] == PlaceWaiting);
      is_leading[i]    = (state_q[i] == PlaceFault) || (state_q[i] == PlaceRecording) ||
                         (state_q[i] == PlaceWaiting);
      is_merged[i]     = (state_q[i] == PlaceMerged);
      is_report[i]     = (state_q[i] == PlaceReport);
      is_abort[i]      = (state_q[i] == PlaceAbort);
    end
  end

  assign busy_o       = (is_free != '1);
  assign walks_open_o = (is_walking != '0);
  assign waiting_o    = ((is_leading | is_merged) != '0);

  // ---- Taking a miss ----------------------------------------------------------------------------

  logic               room, prefetch_room, take;
  place_t             free_place, take_place;
  logic [Clients-1:0] miss_fits;
  client_t            take_client;

  always_comb begin
    free_place = '0;
    for (int unsigned i = 0; i < Slots; i++) begin
      if (is_free[i]) free_place = place_t'(i);
    end
    room          = (is_free[Slots-1:0] != '0);
    prefetch_room = is_free[Prefetch];
    for (int unsigned c = 0; c < Clients; c++) begin
      miss_fits[c] = miss_valid_i[c] &&
                     ((miss_i[c].access == ACCESS_PREFETCH) ? prefetch_room : room);
    end
  end

  // In turn over the clients; a client without room does not hold up the others.
  hmm_arbiter #(.Inputs (Clients)) u_miss_arbiter (
    .clk_i,
    .rst_ni,
    .request_i (miss_fits),
    .served_i  (1'b1),
    .valid_o   (take),
    .index_o   (take_client)
  );

  always_comb begin
    miss_ready_o = '0;
    if (take) miss_ready_o[take_client] = 1'b1;
  end

  assign take_place = (miss_i[take_client].access == ACCESS_PREFETCH) ? place_t'(Prefetch)
                                                                      : free_place;

  // ---- Lookups, in turn over the places ---------------------------------------------------------

  // Neighbours in place are often neighbours in address. They are taken apart, so that the line of
  // the first is here when the next looks for it.
  hmm_apart_arbiter #(.Inputs (Places)) u_lookup_arbiter (
    .clk_i,
    .rst_ni,
    .request_i (is_lookup),
    .served_i  (lookup_ready_i),
    .valid_o   (lookup_valid_o),
    .index_o   (lookup_place_o)
  );

  assign lookup_request_o = owners_q[lookup_place_o].request;

  // ---- The host's answers -----------------------------------------------------------------------

  places_t replayed, cancelled, given_up, report_dropped;

  client_request_t requests    [Places];
  reason_e         reasons     [Places];
  logic [23:0]     generations [Places];
  logic [63:0]     timestamps  [Places];

  always_comb begin
    for (int unsigned i = 0; i < Places; i++) begin
      requests[i]    = owners_q[i].request;
      reasons[i]     = faults_q[i].reason;
      generations[i] = faults_q[i].generation;
      timestamps[i]  = faults_q[i].timestamp;
    end
  end

  hmm_fault_answers #(
    .Places (Places)
  ) u_answers (
    .answer_i      (answer_i),
    .abandon_i     (abandon_i),
    .waiting_i     (is_waiting),
    .faulting_i    (is_leading | is_merged),
    .report_i      (is_report),
    .requests_i    (requests),
    .generations_i (generations),
    .replayed_o    (replayed),
    .cancelled_o   (cancelled),
    .given_up_o    (given_up),
    .dropped_o     (report_dropped),
    .ignored_o     (answer_ignored_o)
  );

  assign replayed_o = (replayed != '0);

  // ---- Walks that end ---------------------------------------------------------------------------

  client_request_t walk_request;
  logic            walk_answers, walk_reports, walk_merges, leader_found, leader_answered;
  place_t          leader;

  assign walk_request = owners_q[walk_place_i].request;
  assign walk_answers = walk_done_i && ((walk_reason_i == REASON_NONE) ||
                                        immediate(walk_reason_i) ||
                                        (walk_request.access == ACCESS_PREFETCH) || !wait_i);
  assign walk_reports = walk_answers && immediate(walk_reason_i) &&
                        (walk_request.access != ACCESS_PREFETCH) && wait_i;

  always_comb begin
    leader_found    = 1'b0;
    leader_answered = 1'b0;
    leader          = '0;
    if (walk_done_i && !walk_answers) begin
      for (int unsigned i = 0; i < Slots; i++) begin
        if (is_leading[i] && (owners_q[i].request.pasid == walk_request.pasid) &&
            (owners_q[i].request.va[63:12] == walk_request.va[63:12])) begin
          leader_found    = 1'b1;
          leader          = place_t'(i);
          leader_answered = replayed[i] || cancelled[i] || given_up[i];
        end
      end
    end
  end

  assign walk_merges = leader_found && !leader_answered;
  assign merged_o    = walk_merges;

  // ---- Answers to clients: walks first, they cannot wait ----------------------------------------

  logic   abort_wanted, abort_answers, hit_answers;
  place_t abort_place, answered_place;

  hmm_arbiter #(.Inputs (Places)) u_abort_arbiter (
    .clk_i,
    .rst_ni,
    .request_i (is_abort),
    .served_i  (abort_answers),
    .valid_o   (abort_wanted),
    .index_o   (abort_place)
  );

  reason_e reason_of_abort;

  assign reason_of_abort = given_up_q[abort_place] ? REASON_NO_CONTEXT
                                                   : faults_q[abort_place].reason;

  assign abort_answers = abort_wanted && !walk_answers;
  assign hold_walks_o  = abort_wanted;

  assign answered_place   = walk_answers ? walk_place_i : abort_place;
  assign answer_request_o = owners_q[answered_place].request;
  assign answer_reason_o  = walk_answers ? walk_reason_i : reason_of_abort;
  assign answer_cached_o  = walk_cached_i;

  always_comb begin
    answer_valid_o = '0;
    if (walk_answers || abort_answers) answer_valid_o[owners_q[answered_place].client] = 1'b1;
  end

  // A hit waits while another answer goes to its client.
  assign looked_hit_ready_o = !answer_valid_o[owners_q[looked_place_i].client];
  assign hit_answers        = looked_hit_i && looked_hit_ready_o;
  assign hit_request_o      = owners_q[looked_place_i].request;

  always_comb begin
    hit_valid_o = '0;
    if (hit_answers) hit_valid_o[owners_q[looked_place_i].client] = 1'b1;
  end

  // ---- Records ----------------------------------------------------------------------------------

  place_t record_place, recorded_place;
  logic   recorded_matches;

  hmm_fault_records #(
    .Places (Places)
  ) u_records (
    .clk_i,
    .rst_ni,
    .unrecorded_i  (is_unrecorded),
    .report_i      (is_report),
    .merged_i      (is_merged),
    .leaders_i     (leaders_q),
    .requests_i    (requests),
    .reasons_i     (reasons),
    .generations_i (generations),
    .timestamps_i  (timestamps),
    .valid_o       (record_valid_o),
    .place_o       (record_place),
    .record_o      (record_o),
    .taken_i       (record_taken_i)
  );

  // A place may have been given up and taken anew while its record was on its way.
  assign recorded_place   = place_t'(record_tag_i[7:0]);
  assign recorded_matches = (faults_q[recorded_place].generation == record_tag_i[31:8]);

  // ---- The places -------------------------------------------------------------------------------

  places_t line_ends;

  always_comb begin
    for (int unsigned i = 0; i < Places; i++) begin
      line_ends[i] = (state_q[i] == PlaceLine) && (walks_q[i] == walk_index_i);
    end
  end

  hmm_fault_moves #(
    .Places (Places)
  ) u_moves (
    .state_i          (state_q),
    .given_up_i       (given_up_q),
    .state_o          (state_d),
    .given_up_o       (given_up_d),
    .unrecorded_o     (unrecorded_o),
    .take_i           (take),
    .take_place_i     (take_place),
    .lookup_i         (lookup_valid_o && lookup_ready_i),
    .lookup_place_i   (lookup_place_o),
    .looked_place_i   (looked_place_i),
    .looked_hit_i     (hit_answers),
    .looked_start_i   (looked_start_i),
    .looked_again_i   (looked_again_i),
    .looked_merge_i   (looked_merge_i),
    .line_ends_i      (line_ends),
    .walk_done_i      (walk_done_i),
    .walk_place_i     (walk_place_i),
    .walk_answers_i   (walk_answers),
    .walk_reports_i   (walk_reports),
    .walk_merges_i    (walk_merges),
    .walk_again_i     (leader_found),
    .abort_i          (abort_answers),
    .abort_place_i    (abort_place),
    .record_taken_i   (record_taken_i),
    .record_place_i   (record_place),
    .record_done_i    (record_done_i && recorded_matches),
    .record_failed_i  (record_failed_i && recorded_matches),
    .recorded_place_i (recorded_place),
    .replayed_i       (replayed),
    .cancelled_i      (cancelled),
    .abandoned_i      (given_up),
    .report_dropped_i (report_dropped),
    .leaders_i        (leaders_q),
    .requests_i       (requests)
  );

  // A new fault, and each one that is reported, has a tag of its own.
  assign fault_ends = walk_done_i && ((state_d[walk_place_i] == PlaceFault) ||
                                      (state_d[walk_place_i] == PlaceReport));
  assign ended = '{
    reason:     walk_reason_i,
    generation: faults_q[walk_place_i].generation + 24'(fault_ends),
    timestamp:  timestamp_i
  };

  always_ff @(posedge clk_i) begin
    if (take) owners_q[take_place] <= '{client: take_client, request: miss_i[take_client]};
    if (looked_merge_i) walks_q[looked_place_i] <= looked_walk_i;
    if (walk_merges) leaders_q[walk_place_i] <= leader;
  end

  always_ff @(posedge clk_i or negedge rst_ni) begin
    if (!rst_ni) begin
      for (int unsigned i = 0; i < Places; i++) faults_q[i] <= '0;
    end else if (walk_done_i) begin
      faults_q[walk_place_i] <= ended;
    end
  end

  always_ff @(posedge clk_i or negedge rst_ni) begin
    if (!rst_ni) begin
      for (int unsigned i = 0; i < Places; i++) state_q[i] <= PlaceFree;
      given_up_q <= '0;
    end else begin
      state_q    <= state_d;
      given_up_q <= given_up_d;
    end
  end

  // ---- Assertions -------------------------------------------------------------------------------

  for (genvar g = 0; g < Places; g++) begin : gen_place_assert
    // A place waits under a tag only while the tag is there.
    MergedHasLeader: assert property (@(posedge clk_i) disable iff (!rst_ni)
        (state_q[g] == PlaceMerged) |-> is_leading[leaders_q[g]])
      else $error("a merged request waits under a tag that is gone");
  end
  WalkHasPlace: assert property (@(posedge clk_i) disable iff (!rst_ni)
      walk_done_i |-> (state_q[walk_place_i] == PlaceWalk))
    else $error("a walk ends for a place that is not being walked");
  PrefetchNeverWaits: assert property (@(posedge clk_i) disable iff (!rst_ni)
      is_free[Prefetch] || is_walking[Prefetch])
    else $error("a PREFETCH waits for the host");

  if (Slots < 1 || Slots > 254) begin : gen_slots_check
    $error("FaultSlots must be 1 to 254");
  end

endmodule
