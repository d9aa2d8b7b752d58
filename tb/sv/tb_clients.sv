// SPDX-License-Identifier: Apache-2.0
// The clients. Client 0, the engine inside the device, has no port: its grants are told to the
// memory. Each of the others is a transactor, or pins on port 1 while the others are idle; and the
// rules of each port are checked.

module tb_clients
  import tb_pkg::*;
  import tb_dpi_pkg::*;
#(
  parameter int unsigned Clients = 2  // client 0 included, which has no port
) (
  input  logic                    clk_i,
  input  logic                    rst_ni,
  input  cycle_t                  cycle_i,
  input  pins_t                   pin_i,
  input  probe_t                  probe_i,
  // Client ports
  output logic      [Clients-1:1] req_valid_o,
  input  logic      [Clients-1:1] req_ready_i,
  output request_t  [Clients-1:1] req_o,
  input  logic      [Clients-1:1] rsp_valid_i,
  output logic      [Clients-1:1] rsp_ready_o,
  input  response_t [Clients-1:1] rsp_i,
  output logic      [Clients-1:1] rel_valid_o,
  output id_t       [Clients-1:1] rel_id_o,
  input  logic                    clients_reset_i,  // a soft reset of the device
  // In this cycle the bytes of the request under rel_id_o move
  output logic      [Clients-1:1] data_valid_o,
  // Order between requests and the host's actions
  input  count_t                  actions_complete_i,
  output count_t                  responses_complete_o,  // of all ports
  output logic                    progress_o,            // a response or a release somewhere
  output logic                    waits_by_plan_o        // a pause or a hold runs on some port
);

  if (Clients < 2 || Clients > 255) begin : gen_bad_clients
    $error("Clients counts the engine and at least one port: give 2 to 255.");
  end

  logic   [Clients-1:1] waits_by_plan;
  count_t [Clients-1:1] responses_complete;

  always_ff @(posedge clk_i) begin : p_announce
    if (!rst_ni) tb_announce_clients(8'(Clients));
  end

  for (genvar i = 1; i < Clients; i++) begin : gen_clients
    logic     req_valid, rsp_ready, rel_valid;
    request_t req;
    id_t      rel_id;

    tb_transactor #(
      .Client (i)
    ) u_transactor (
      .clk_i,
      .rst_ni,
      .cycle_i,
      .enable_i             (!pin_i.client),
      .req_valid_o          (req_valid),
      .req_ready_i          (req_ready_i[i]),
      .req_o                (req),
      .rsp_valid_i          (rsp_valid_i[i]),
      .rsp_ready_o          (rsp_ready),
      .rsp_i                (rsp_i[i]),
      .rel_valid_o          (rel_valid),
      .rel_id_o             (rel_id),
      .data_valid_o         (data_valid_o[i]),
      .reset_i              (clients_reset_i),
      .actions_complete_i,
      .responses_complete_o (responses_complete[i]),
      .waits_by_plan_o      (waits_by_plan[i])
    );

    if (i == 1) begin : gen_pins
      assign req_valid_o[i] = pin_i.client ? pin_i.req_valid : req_valid;
      assign req_o[i]       = pin_i.client ? pin_i.req : req;
      assign rsp_ready_o[i] = pin_i.client ? pin_i.rsp_ready : rsp_ready;
      assign rel_valid_o[i] = pin_i.client ? pin_i.rel_valid : rel_valid;
      assign rel_id_o[i]    = pin_i.client ? pin_i.rel_id : rel_id;
    end else begin : gen_no_pins
      assign req_valid_o[i] = req_valid;
      assign req_o[i]       = req;
      assign rsp_ready_o[i] = rsp_ready;
      assign rel_valid_o[i] = rel_valid;
      assign rel_id_o[i]    = rel_id;
    end

    tb_client_checker #(
      .Client (i)
    ) u_client_checker (
      .clk_i,
      .rst_ni,
      .req_valid_i (req_valid_o[i]),
      .req_ready_i (req_ready_i[i]),
      .req_i       (req_o[i]),
      .rsp_valid_i (rsp_valid_i[i]),
      .rsp_ready_i (rsp_ready_o[i]),
      .rsp_i       (rsp_i[i]),
      .rel_valid_i (rel_valid_o[i]),
      .rel_id_i    (rel_id_o[i]),
      .reset_i     (clients_reset_i)
    );
  end

  tb_inner_grants u_inner_grants (
    .clk_i,
    .rst_ni,
    .reset_i (clients_reset_i),
    .probe_i
  );

  always_comb begin
    responses_complete_o = '0;
    for (int unsigned i = 1; i < Clients; i++) responses_complete_o += responses_complete[i];
  end

  assign waits_by_plan_o = waits_by_plan != '0;
  assign progress_o      = rsp_valid_i != '0 || rel_valid_o != '0 || probe_i.inner_response ||
      probe_i.inner_release;

endmodule
