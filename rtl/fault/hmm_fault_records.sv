// SPDX-License-Identifier: Apache-2.0
// Which fault is recorded next, in turn over the places, and what its record says. Does not write
// records: hmm_fault_recorder does. See docs/interface.md, "Faults".

module hmm_fault_records
  import hmm_structures_pkg::*;
  import hmm_pkg::*;
#(
  parameter  int unsigned Places    = 17,
  localparam int unsigned PlaceBits = $clog2(Places)
) (
  input  logic                 clk_i,
  input  logic                 rst_ni,
  // The places
  input  logic [Places-1:0]    unrecorded_i,  // has a fault that wants a record
  input  logic [Places-1:0]    report_i,      // and nobody waits for its answer
  input  logic [Places-1:0]    merged_i,      // waits under another place's tag
  input  logic [PlaceBits-1:0] leaders_i     [Places],  // of merged ones
  input  client_request_t      requests_i    [Places],
  input  reason_e              reasons_i     [Places],
  input  logic [23:0]          generations_i [Places],
  input  logic [63:0]          timestamps_i  [Places],
  // The next record, offered until taken
  output logic                 valid_o,
  output logic [PlaceBits-1:0] place_o,
  output fault_record_t        record_o,
  input  logic                 taken_i
);

  client_request_t request;
  logic [15:0]     merged_count;

  hmm_arbiter #(
    .Inputs (Places)
  ) u_arbiter (
    .clk_i,
    .rst_ni,
    .request_i (unrecorded_i),
    .served_i  (taken_i),
    .valid_o   (valid_o),
    .index_o   (place_o)
  );

  always_comb begin
    merged_count = 16'd1;
    if (valid_o) begin
      for (int unsigned i = 0; i < Places; i++) begin
        if (merged_i[i] && (leaders_i[i] == place_o)) merged_count = merged_count + 16'd1;
      end
    end
  end

  assign request = requests_i[place_o];

  always_comb begin
    record_o                 = '0;
    record_o.tag             = {generations_i[place_o], 8'(place_o)};
    record_o.pasid           = request.pasid;
    record_o.access          = request.access;
    record_o.answer_expected = !report_i[place_o];
    record_o.reason          = reasons_i[place_o];
    record_o.va              = request.va;
    record_o.timestamp       = timestamps_i[place_o];
    record_o.merged_count    = merged_count;
  end

endmodule
