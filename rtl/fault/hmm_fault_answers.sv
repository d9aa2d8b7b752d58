// SPDX-License-Identifier: Apache-2.0
// Says which waiting faults an answer of the host is for. Purely combinational.
// See docs/interface.md, "Answers".

module hmm_fault_answers
  import hmm_structures_pkg::*;
  import hmm_pkg::*;
#(
  parameter int unsigned Places = 17
) (
  input  answer_t                      answer_i,
  input  logic                         abandon_i,  // give up every one
  // The places: whose record is in memory, and all that lead or follow a fault
  input  logic [Places-1:0]            waiting_i,
  input  logic [Places-1:0]            faulting_i,
  input  logic [Places-1:0]            report_i,
  input  client_request_t              requests_i    [Places],
  input  logic [23:0]                  generations_i [Places],
  output logic [Places-1:0]            replayed_o,
  output logic [Places-1:0]            cancelled_o,
  output logic [Places-1:0]            given_up_o,
  output logic [Places-1:0]            dropped_o,  // a record that nobody will read
  output logic                         ignored_o
);

  logic [Places-1:0] tag_matches;

  //   answer      | a waiting leader is
  //   REPLAY_ALL  | replayed
  //   RESUME      | replayed or cancelled, if it is its tag
  //   CANCEL      | cancelled, if context, access and page match
  //   GIVE_UP     | given up with all of its context, recorded or not
  always_comb begin
    tag_matches = '0;
    replayed_o  = '0;
    cancelled_o = '0;
    given_up_o  = abandon_i ? faulting_i : '0;
    dropped_o   = abandon_i ? report_i : '0;
    if (answer_i.valid) begin
      for (int unsigned i = 0; i < Places; i++) begin
        automatic logic overlaps, same_context;
        same_context   = (requests_i[i].pasid == answer_i.pasid);
        overlaps       = ({requests_i[i].va[63:12], 12'h000} <= answer_i.last) &&
                         ({requests_i[i].va[63:12], 12'hfff} >= answer_i.first);
        tag_matches[i] = waiting_i[i] && (answer_i.tag == {generations_i[i], 8'(i)});
        unique case (answer_i.kind)
          AnswerReplayAll: replayed_o[i] = waiting_i[i];
          AnswerResume: begin
            replayed_o[i]  = tag_matches[i] && !answer_i.cancel;
            cancelled_o[i] = tag_matches[i] && answer_i.cancel;
          end
          AnswerCancel: cancelled_o[i] = waiting_i[i] && overlaps && same_context &&
                                         (requests_i[i].access == answer_i.access);
          AnswerGiveUp: begin
            given_up_o[i] = given_up_o[i] || (faulting_i[i] && same_context);
            dropped_o[i]  = dropped_o[i] || (report_i[i] && same_context);
          end
          default: ;
        endcase
      end
    end
  end

  assign ignored_o = answer_i.valid && (answer_i.kind == AnswerResume) && (tag_matches == '0);

endmodule
