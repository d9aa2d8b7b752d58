// SPDX-License-Identifier: Apache-2.0
// What becomes of each place of the fault buffer in a cycle. Purely combinational.
// See docs/theory_of_operation.md, "Life of a fault".

module hmm_fault_moves
  import hmm_structures_pkg::*;
  import hmm_pkg::*;
#(
  parameter  int unsigned Places    = 17,
  localparam int unsigned PlaceBits = $clog2(Places)
) (
  // The places, now and in the next cycle
  input  place_e [Places-1:0]    state_i,
  input  logic   [Places-1:0]    given_up_i,
  output place_e [Places-1:0]    state_o,
  output logic   [Places-1:0]    given_up_o,
  output logic   [7:0]           unrecorded_o,  // faults given up without a record
  // A miss takes a place
  input  logic                   take_i,
  input  logic   [PlaceBits-1:0] take_place_i,
  // A lookup begins; one is over
  input  logic                   lookup_i,
  input  logic   [PlaceBits-1:0] lookup_place_i,
  input  logic   [PlaceBits-1:0] looked_place_i,
  input  logic                   looked_hit_i,    // and answered
  input  logic                   looked_start_i,
  input  logic                   looked_again_i,
  input  logic                   looked_merge_i,
  // A walk ends: for those that wait for its line, and for its own place
  input  logic   [Places-1:0]    line_ends_i,
  input  logic                   walk_done_i,
  input  logic   [PlaceBits-1:0] walk_place_i,
  input  logic                   walk_answers_i,  // its client is answered now
  input  logic                   walk_reports_i,  // and a record is owed
  input  logic                   walk_merges_i,   // it waits under another's tag
  input  logic                   walk_again_i,    // that other one is answered just now
  // An answer ABORTED goes out
  input  logic                   abort_i,
  input  logic   [PlaceBits-1:0] abort_place_i,
  // A record is taken; one of this life of its place is in memory, or could not be written
  input  logic                   record_taken_i,
  input  logic   [PlaceBits-1:0] record_place_i,
  input  logic                   record_done_i,
  input  logic                   record_failed_i,
  input  logic   [PlaceBits-1:0] recorded_place_i,
  // The host's answer: to leaders, and to all of a context
  input  logic   [Places-1:0]    replayed_i,
  input  logic   [Places-1:0]    cancelled_i,
  input  logic   [Places-1:0]    abandoned_i,
  input  logic   [Places-1:0]    report_dropped_i,
  input  logic   [PlaceBits-1:0] leaders_i  [Places],  // of merged ones
  input  client_request_t        requests_i [Places]
);

  //   a place that is  | and                                            | becomes
  //   Free             | a miss is taken                                | Lookup
  //   Lookup           | its turn                                       | Looking
  //   Looking          | found: answered                                | Free
  //   Looking          | a walk is begun                                | Walk
  //   Looking          | its line is on its way                         | Line
  //   Looking          | its line arrives just now                      | Lookup
  //   Line             | the walk of its line ends                      | Lookup
  //   Walk             | its walk ends: answered, no record owed        | Free
  //   Walk             | its walk ends: ABORTED at once                 | Report
  //   Walk             | its walk ends in a fault that another leads    | Merged
  //   Walk             | ... whose leader is answered in this cycle     | Lookup
  //   Walk             | its walk ends in a new fault                   | Fault
  //   Fault, Report    | its record is taken                            | Recording, Reporting
  //   Recording        | its record is in memory, or its write failed   | Waiting, or Fault
  //   Reporting        | its record is in memory, or its write failed   | Free, or Report
  //   Waiting, Merged  | the leader is replayed                         | Lookup
  //   Waiting, Merged  | the leader is cancelled, of its access or not  | Abort, or Lookup
  //   any that waits   | the context is given up                        | Abort
  //   Report           | the context is given up                        | Free
  //   Abort            | its answer goes out                            | Free
  always_comb begin
    state_o      = state_i;
    given_up_o   = given_up_i;
    unrecorded_o = '0;

    if (lookup_i)       state_o[lookup_place_i] = PlaceLooking;
    if (looked_hit_i)   state_o[looked_place_i] = PlaceFree;
    if (looked_start_i) state_o[looked_place_i] = PlaceWalk;
    if (looked_again_i) state_o[looked_place_i] = PlaceLookup;
    if (looked_merge_i) state_o[looked_place_i] = PlaceLine;

    if (walk_done_i) begin
      for (int unsigned i = 0; i < Places; i++) begin
        if (line_ends_i[i]) state_o[i] = PlaceLookup;
      end
      if (walk_answers_i) begin
        state_o[walk_place_i] = walk_reports_i ? PlaceReport : PlaceFree;
      end else if (walk_merges_i) begin
        state_o[walk_place_i] = PlaceMerged;
      end else begin
        state_o[walk_place_i] = walk_again_i ? PlaceLookup : PlaceFault;
      end
    end

    if (abort_i) state_o[abort_place_i] = PlaceFree;

    if (record_taken_i) begin
      state_o[record_place_i] = (state_i[record_place_i] == PlaceReport) ? PlaceReporting
                                                                         : PlaceRecording;
    end
    if (record_done_i || record_failed_i) begin
      if (state_i[recorded_place_i] == PlaceRecording) begin
        state_o[recorded_place_i] = record_done_i ? PlaceWaiting : PlaceFault;
      end
      if (state_i[recorded_place_i] == PlaceReporting) begin
        state_o[recorded_place_i] = record_done_i ? PlaceFree : PlaceReport;
      end
    end

    if ((replayed_i | cancelled_i | abandoned_i | report_dropped_i) != '0) begin
      for (int unsigned i = 0; i < Places; i++) begin
        automatic logic                 being_recorded;
        automatic logic [PlaceBits-1:0] leader;
        leader         = (state_i[i] == PlaceMerged) ? leaders_i[i] : PlaceBits'(i);
        being_recorded = record_taken_i && (record_place_i == PlaceBits'(i));
        if ((state_i[i] == PlaceWaiting) || (state_i[i] == PlaceMerged)) begin
          if (replayed_i[leader]) state_o[i] = PlaceLookup;
          if (cancelled_i[leader]) begin
            state_o[i] = (requests_i[i].access == requests_i[leader].access) ? PlaceAbort
                                                                             : PlaceLookup;
          end
        end
        if (abandoned_i[i]) begin
          state_o[i]    = PlaceAbort;
          given_up_o[i] = 1'b1;
          if ((state_i[i] == PlaceFault) && !being_recorded) unrecorded_o = unrecorded_o + 8'd1;
        end
        if (report_dropped_i[i] && !being_recorded) begin
          state_o[i]   = PlaceFree;
          unrecorded_o = unrecorded_o + 8'd1;
        end
      end
    end

    if (take_i) begin
      state_o[take_place_i]    = PlaceLookup;
      given_up_o[take_place_i] = 1'b0;
    end
  end

endmodule
