// SPDX-License-Identifier: Apache-2.0
// The places of requests that missed: each is walked, and waits here when its walk ends in a fault
// that the host must answer. Merges requests that fault on one page of one context under one tag,
// and carries answers out. Does not walk and does not write records. See docs/interface.md,
// "Faults".

module hmm_fault_buffer
  import hmm_structures_pkg::*;
  import hmm_pkg::*;
#(
  parameter int unsigned Clients = 2,
  parameter int unsigned Slots   = 16  // for requests that may wait; one more is kept for PREFETCH
) (
  input  logic                                clk_i,
  input  logic                                rst_ni,
  input  logic                                wait_i,  // faults wait; else all are ABORTED at once
  input  logic                                abandon_i,  // abort every waiting fault
  // Requests that missed, at most one taken a cycle
  input  logic            [Clients-1:0]       miss_valid_i,
  output logic            [Clients-1:0]       miss_ready_o,
  input  client_request_t [Clients-1:0]       miss_i,
  // Answers to clients, one a cycle, always taken
  output logic            [Clients-1:0]       answer_valid_o,
  output client_request_t                     answer_request_o,
  output reason_e                             answer_reason_o,
  output translation_t                        answer_translation_o,
  // Walker
  output logic                                walk_start_o,
  output client_request_t                     walk_request_o,
  input  logic                                walk_busy_i,
  input  logic                                walk_done_i,
  input  reason_e                             walk_reason_i,
  input  translation_t                        walk_translation_i,
  // Records: one is offered until it is written
  output logic                                record_valid_o,
  output fault_record_t                       record_o,
  input  logic                                record_taken_i,   // its write has begun
  input  logic                                record_done_i,    // it is in memory
  input  logic                                record_failed_i,  // its write failed: offer it again
  // The host's answers, in the cycle in which they take effect
  input  answer_t                             answer_i,
  output logic                                answer_ignored_o,
  // Time
  input  logic [63:0]                         timestamp_i,
  // Events
  output logic                                busy_o,
  output logic                                walks_open_o,
  output logic                                waiting_o,  // a request waits for the host
  output logic                                merged_o,
  output logic                                replayed_o,
  output logic [7:0]                          unrecorded_o  // faults given up without a record
);

  localparam int unsigned Places     = Slots + 1;
  localparam int unsigned Prefetch   = Slots;  // the place kept for PREFETCH
  localparam int unsigned IndexBits  = $clog2(Places);
  localparam int unsigned ClientBits = (Clients > 1) ? $clog2(Clients) : 1;

  typedef logic [IndexBits-1:0]  index_t;
  typedef logic [ClientBits-1:0] client_t;

  // What a place is doing.
  typedef enum logic [2:0] {
    PlaceFree,
    PlaceWalk,       // to be walked, or being walked
    PlaceFault,      // leads a fault that is not recorded yet
    PlaceRecording,  // leads a fault whose record is being written
    PlaceWaiting,    // leads a fault that waits for its answer
    PlaceMerged,     // waits under another place's tag
    PlaceReport,     // answered; only its record is still owed
    PlaceAbort       // to be answered ABORTED
  } place_e;

  typedef struct packed {
    place_e          state;
    client_t         client;
    client_request_t request;
    reason_e         reason;
    logic [23:0]     generation;
    index_t          leader;
    logic [63:0]     timestamp;
  } place_t;

  place_t [Places-1:0] places_q, places_d;
  logic                walking_q, walking_d;
  index_t              walk_index_q, walk_index_d;
  logic                recording_q, recording_d;  // a record is being written
  index_t              record_index_q, record_index_d;
  logic                recording_report_q, recording_report_d;
  index_t              next_walk_q, next_walk_d, next_record_q, next_record_d;
  client_t             next_client_q, next_client_d;

  function automatic logic immediate(reason_e reason);
    return (reason == REASON_OUT_OF_RANGE) || (reason == REASON_NO_CONTEXT) ||
           (reason == REASON_BUS_ERROR) || (reason == REASON_MALFORMED);
  endfunction

  // ---- Taking a miss ----------------------------------------------------------------------------

  logic    room, prefetch_room;
  index_t  free_index;
  logic    take;
  client_t take_client;
  index_t  take_index;

  always_comb begin
    room       = 1'b0;
    free_index = '0;
    for (int unsigned i = 0; i < Slots; i++) begin
      if (places_q[i].state == PlaceFree) begin
        room       = 1'b1;
        free_index = index_t'(i);
      end
    end
    prefetch_room = (places_q[Prefetch].state == PlaceFree);
  end

  // In turn over the clients; a client without room does not hold up the others.
  always_comb begin
    take        = 1'b0;
    take_client = '0;
    for (int unsigned i = 0; i < 2 * Clients; i++) begin
      automatic int unsigned c = (i >= Clients) ? i - Clients : i;
      if (!take && (i >= 32'(next_client_q)) && miss_valid_i[c] &&
          ((miss_i[c].access == ACCESS_PREFETCH) ? prefetch_room : room)) begin
        take        = 1'b1;
        take_client = client_t'(c);
      end
    end
    miss_ready_o = '0;
    if (take) miss_ready_o[take_client] = 1'b1;
  end

  assign take_index = (miss_i[take_client].access == ACCESS_PREFETCH) ? index_t'(Prefetch)
                                                                      : free_index;

  // ---- Walks ------------------------------------------------------------------------------------

  logic   walk_wanted;
  index_t walk_choice;

  // In turn over the places, so that no request waits for ever.
  always_comb begin
    walk_wanted = 1'b0;
    walk_choice = '0;
    for (int unsigned i = 0; i < 2 * Places; i++) begin
      automatic int unsigned p = (i >= Places) ? i - Places : i;
      if (!walk_wanted && (i >= 32'(next_walk_q)) && (places_q[p].state == PlaceWalk)) begin
        walk_wanted = 1'b1;
        walk_choice = index_t'(p);
      end
    end
  end

  assign walk_start_o   = !walking_q && !walk_busy_i && walk_wanted;
  assign walk_request_o = places_q[walk_index_q].request;

  // ---- The host's answers -----------------------------------------------------------------------

  logic [Places-1:0] replayed, cancelled, given_up, tag_matches;

  always_comb begin
    for (int unsigned i = 0; i < Places; i++) begin
      logic waiting, led, overlaps;
      waiting  = (places_q[i].state == PlaceWaiting);
      led      = waiting || (places_q[i].state == PlaceFault) ||
                 (places_q[i].state == PlaceRecording) || (places_q[i].state == PlaceMerged);
      overlaps = ({places_q[i].request.va[63:12], 12'h000} <= answer_i.last) &&
                 ({places_q[i].request.va[63:12], 12'hfff} >= answer_i.first);

      tag_matches[i] = waiting && (answer_i.tag == {places_q[i].generation, 8'(i)});

      //   answer      | a waiting leader is
      //   REPLAY_ALL  | replayed
      //   RESUME      | replayed or cancelled, if it is its tag
      //   CANCEL      | cancelled, if context, access and page match
      //   GIVE_UP     | given up with all of its context, recorded or not
      replayed[i]  = 1'b0;
      cancelled[i] = 1'b0;
      given_up[i]  = abandon_i && led;
      if (answer_i.valid) begin
        unique case (answer_i.kind)
          AnswerReplayAll: replayed[i] = waiting;
          AnswerResume: begin
            replayed[i]  = tag_matches[i] && !answer_i.cancel;
            cancelled[i] = tag_matches[i] && answer_i.cancel;
          end
          AnswerCancel: cancelled[i] = waiting && overlaps &&
                                       (places_q[i].request.pasid == answer_i.pasid) &&
                                       (places_q[i].request.access == answer_i.access);
          AnswerGiveUp: given_up[i] = given_up[i] ||
                                      (led && (places_q[i].request.pasid == answer_i.pasid));
          default: ;
        endcase
      end
    end
  end

  assign answer_ignored_o = answer_i.valid && (answer_i.kind == AnswerResume) &&
                            (tag_matches == '0);
  assign replayed_o       = (replayed != '0);

  // ---- Answers to clients -----------------------------------------------------------------------

  logic   walk_ends, walk_answers, walk_merges, leader_found, leader_answered;
  index_t leader, abort_choice;
  logic   abort_wanted;

  assign walk_ends    = walking_q && walk_done_i;
  assign walk_answers = walk_ends && ((walk_reason_i == REASON_NONE) || immediate(walk_reason_i) ||
                                      (walk_request_o.access == ACCESS_PREFETCH) || !wait_i);

  always_comb begin
    leader_found    = 1'b0;
    leader_answered = 1'b0;
    leader          = '0;
    for (int unsigned i = 0; i < Slots; i++) begin
      if (((places_q[i].state == PlaceFault) || (places_q[i].state == PlaceRecording) ||
           (places_q[i].state == PlaceWaiting)) &&
          (places_q[i].request.pasid == walk_request_o.pasid) &&
          (places_q[i].request.va[63:12] == walk_request_o.va[63:12])) begin
        leader_found    = 1'b1;
        leader          = index_t'(i);
        leader_answered = replayed[i] || cancelled[i] || given_up[i];
      end
    end
  end

  assign walk_merges = walk_ends && !walk_answers && leader_found && !leader_answered;
  assign merged_o    = walk_merges;

  always_comb begin
    abort_wanted = 1'b0;
    abort_choice = '0;
    for (int unsigned i = 0; i < Places; i++) begin
      if (places_q[i].state == PlaceAbort) begin
        abort_wanted = 1'b1;
        abort_choice = index_t'(i);
      end
    end
  end

  index_t answered_index;
  logic   abort_answers;

  assign abort_answers        = abort_wanted && !walk_answers;
  assign answered_index       = walk_answers ? walk_index_q : abort_choice;
  assign answer_request_o     = places_q[answered_index].request;
  assign answer_reason_o      = walk_answers ? walk_reason_i : places_q[abort_choice].reason;
  assign answer_translation_o = walk_translation_i;

  always_comb begin
    answer_valid_o = '0;
    if (walk_answers || abort_answers) answer_valid_o[places_q[answered_index].client] = 1'b1;
  end

  // ---- Records ----------------------------------------------------------------------------------

  logic        record_wanted;
  index_t      record_choice;
  logic [15:0] merged_count;

  always_comb begin
    record_wanted = 1'b0;
    record_choice = '0;
    for (int unsigned i = 0; i < 2 * Places; i++) begin
      automatic int unsigned p = (i >= Places) ? i - Places : i;
      if (!record_wanted && (i >= 32'(next_record_q)) &&
          ((places_q[p].state == PlaceFault) || (places_q[p].state == PlaceReport))) begin
        record_wanted = 1'b1;
        record_choice = index_t'(p);
      end
    end
    merged_count = 16'd1;
    for (int unsigned i = 0; i < Places; i++) begin
      if ((places_q[i].state == PlaceMerged) && (places_q[i].leader == record_choice)) begin
        merged_count = merged_count + 16'd1;
      end
    end
  end

  client_request_t recorded_request;
  logic            recorded_waits;
  logic            unused_recorded_id;

  assign unused_recorded_id = ^recorded_request.id;

  assign recorded_request = places_q[record_choice].request;
  assign recorded_waits   = (places_q[record_choice].state == PlaceFault);
  assign record_valid_o = record_wanted && !recording_q;

  always_comb begin
    record_o                 = '0;
    record_o.tag             = {places_q[record_choice].generation, 8'(record_choice)};
    record_o.pasid           = recorded_request.pasid;
    record_o.access          = recorded_request.access;
    record_o.answer_expected = recorded_waits;
    record_o.reason          = places_q[record_choice].reason;
    record_o.va              = recorded_request.va;
    record_o.timestamp       = places_q[record_choice].timestamp;
    record_o.merged_count    = merged_count;
  end

  // ---- The places -------------------------------------------------------------------------------

  //   a place that is  | and                                            | becomes
  //   Free             | a miss is taken                                | Walk
  //   Walk             | its walk ends: answered, no record owed        | Free
  //   Walk             | its walk ends: ABORTED at once                 | Report
  //   Walk             | its walk ends in a fault that another leads    | Merged
  //   Walk             | ... whose leader is answered in this cycle     | Walk
  //   Walk             | its walk ends in a new fault                   | Fault
  //   Fault            | its record's write begins                      | Recording
  //   Recording        | its record is in memory, or its write failed   | Waiting, or Fault
  //   Report           | its record is in memory                        | Free
  //   Waiting, Merged  | the leader is replayed                         | Walk
  //   Waiting, Merged  | the leader is cancelled, of its access or not  | Abort, or Walk
  //   any that waits   | the context is given up                        | Abort
  //   Report           | the context is given up, write not begun       | Free
  //   Abort            | its answer goes out                            | Free
  always_comb begin
    logic being_recorded;
    index_t lead;
    places_d     = places_q;
    unrecorded_o = '0;

    if (walk_ends) begin
      places_d[walk_index_q].reason    = walk_reason_i;
      places_d[walk_index_q].timestamp = timestamp_i;
      if (walk_answers) begin
        places_d[walk_index_q].state =
            (immediate(walk_reason_i) && (walk_request_o.access != ACCESS_PREFETCH) && wait_i)
            ? PlaceReport : PlaceFree;
      end else if (walk_merges) begin
        places_d[walk_index_q].state  = PlaceMerged;
        places_d[walk_index_q].leader = leader;
      end else if (!leader_found) begin
        places_d[walk_index_q].state = PlaceFault;
      end
      if (places_d[walk_index_q].state == PlaceFault ||
          places_d[walk_index_q].state == PlaceReport) begin
        places_d[walk_index_q].generation = places_q[walk_index_q].generation + 24'd1;
      end
    end

    if (abort_answers) places_d[abort_choice].state = PlaceFree;

    if (record_taken_i && recorded_waits) begin
      places_d[record_choice].state = PlaceRecording;
    end
    if (record_done_i || record_failed_i) begin
      if (places_q[record_index_q].state == PlaceRecording) begin
        places_d[record_index_q].state = record_done_i ? PlaceWaiting : PlaceFault;
      end
      if (recording_report_q && record_done_i) places_d[record_index_q].state = PlaceFree;
    end

    for (int unsigned i = 0; i < Places; i++) begin
      lead = (places_q[i].state == PlaceMerged) ? places_q[i].leader : index_t'(i);
      being_recorded = (record_taken_i && (record_choice == index_t'(i))) ||
                       (recording_q && (record_index_q == index_t'(i)));
      if ((places_q[i].state == PlaceWaiting) || (places_q[i].state == PlaceMerged)) begin
        if (replayed[lead]) places_d[i].state = PlaceWalk;
        if (cancelled[lead]) begin
          places_d[i].state = (places_q[i].request.access == places_q[lead].request.access)
                              ? PlaceAbort : PlaceWalk;
        end
      end
      if (given_up[i]) begin
        places_d[i].state  = PlaceAbort;
        places_d[i].reason = REASON_NO_CONTEXT;
        if ((places_q[i].state == PlaceFault) && !being_recorded) begin
          unrecorded_o = unrecorded_o + 8'd1;
        end
      end
      if ((places_q[i].state == PlaceReport) && !being_recorded &&
          (abandon_i || (answer_i.valid && (answer_i.kind == AnswerGiveUp) &&
                         (places_q[i].request.pasid == answer_i.pasid)))) begin
        places_d[i].state = PlaceFree;
        unrecorded_o      = unrecorded_o + 8'd1;
      end
    end

    if (take) begin
      places_d[take_index].state   = PlaceWalk;
      places_d[take_index].client  = take_client;
      places_d[take_index].request = miss_i[take_client];
    end
  end

  assign walking_d    = walk_start_o ? 1'b1 : (walking_q && !walk_done_i);
  assign walk_index_d = walk_start_o ? walk_choice : walk_index_q;
  assign next_walk_d  = !walk_start_o ? next_walk_q :
                        (walk_choice == index_t'(Places - 1)) ? '0 : walk_choice + 1'b1;

  assign recording_d        = record_taken_i ? 1'b1
                                             : (recording_q && !record_done_i && !record_failed_i);
  assign record_index_d     = record_taken_i ? record_choice : record_index_q;
  assign recording_report_d = record_taken_i ? !recorded_waits
                                             : recording_report_q;
  assign next_record_d      = !record_taken_i ? next_record_q :
                              (record_choice == index_t'(Places - 1)) ? '0 : record_choice + 1'b1;

  assign next_client_d = !take ? next_client_q :
                         (take_client == client_t'(Clients - 1)) ? '0 : take_client + 1'b1;

  always_comb begin
    busy_o       = 1'b0;
    walks_open_o = 1'b0;
    waiting_o    = 1'b0;
    for (int unsigned i = 0; i < Places; i++) begin
      if (places_q[i].state != PlaceFree) busy_o = 1'b1;
      if (places_q[i].state == PlaceWalk) walks_open_o = 1'b1;
      if ((places_q[i].state == PlaceFault) || (places_q[i].state == PlaceRecording) ||
          (places_q[i].state == PlaceWaiting) || (places_q[i].state == PlaceMerged)) begin
        waiting_o = 1'b1;
      end
    end
  end

  always_ff @(posedge clk_i or negedge rst_ni) begin
    if (!rst_ni) begin
      places_q           <= '0;
      walking_q          <= 1'b0;
      walk_index_q       <= '0;
      recording_q        <= 1'b0;
      record_index_q     <= '0;
      recording_report_q <= 1'b0;
      next_walk_q        <= '0;
      next_record_q      <= '0;
      next_client_q      <= '0;
    end else begin
      places_q           <= places_d;
      walking_q          <= walking_d;
      walk_index_q       <= walk_index_d;
      recording_q        <= recording_d;
      record_index_q     <= record_index_d;
      recording_report_q <= recording_report_d;
      next_walk_q        <= next_walk_d;
      next_record_q      <= next_record_d;
      next_client_q      <= next_client_d;
    end
  end

  // ---- Assertions -------------------------------------------------------------------------------

  for (genvar g = 0; g < Places; g++) begin : gen_place_assert
    // A place waits under a tag only while the tag is there.
    MergedHasLeader: assert property (@(posedge clk_i) disable iff (!rst_ni)
        (places_q[g].state == PlaceMerged) |->
        ((places_q[places_q[g].leader].state == PlaceFault) ||
         (places_q[places_q[g].leader].state == PlaceRecording) ||
         (places_q[places_q[g].leader].state == PlaceWaiting)))
      else $error("a merged request waits under a tag that is gone");
  end
  PrefetchNeverWaits: assert property (@(posedge clk_i) disable iff (!rst_ni)
      (places_q[Prefetch].state == PlaceFree) || (places_q[Prefetch].state == PlaceWalk))
    else $error("a PREFETCH waits for the host");

  if (Slots < 1 || Slots > 254) begin : gen_slots_check
    $error("FaultSlots must be 1 to 254");
  end

endmodule
