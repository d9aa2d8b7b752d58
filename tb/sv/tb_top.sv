// SPDX-License-Identifier: Apache-2.0
// The top of the simulation. The clock comes from the simulation's program, everything else from
// here or from cocotb.
//
// Client ports and registers have two ways in: transactors and host (pin_client_i, pin_axil_i = 0),
// which work from the case's arrays, or the pin_* inputs, which cocotb drives: those of the client
// drive port 1, and the others are idle then. What is on port 1, on the registers and on the memory
// bus shows at outputs either way.
//
// Logic that depends on an input is evaluated anew at every clock edge, whether the input changed
// or not. So the pins pass through registers, which take them over when the program says that
// cocotb wrote something: in the same instant, and at no cost while nobody uses them.

module tb_top
  import tb_pkg::*;
#(
  parameter int unsigned VaBits            = 48,
  parameter int unsigned Clients           = 5,  // client 0 included, which is inside the device
  parameter int unsigned TlbEntries        = 16,
  parameter int unsigned SharedSets        = 64,
  parameter int unsigned SharedWays        = 4,
  parameter int unsigned LargeEntries      = 16,
  parameter int unsigned DirectoryEntries  = 64,
  parameter int unsigned TableEntries      = 8,
  parameter int unsigned Walks             = 16,
  parameter int unsigned ContextEntries    = 4,
  parameter int unsigned FaultSlots        = 64,
  parameter int unsigned FenceDepth        = 4,
  parameter int unsigned EngineDescriptors = 4
) (
  input  logic        clk,
  input  logic        rst_n,
  // From the simulation's program: an edge says that a cause to wake Python was raised
  input  logic        wake_i,
  // From the simulation's program: an edge says that cocotb wrote to inputs
  input  logic        pins_written_i,
  output logic [63:0] cycle_o,
  // Which way in
  input  logic        pin_client_i,
  input  logic        pin_axil_i,
  // Client port 1, driven by pins
  input  logic        pin_req_valid_i,
  output logic        pin_req_ready_o,
  input  id_t         pin_req_id_i,
  input  pasid_t      pin_req_pasid_i,
  input  logic [63:0] pin_req_va_i,
  input  logic [1:0]  pin_req_access_i,
  input  logic        pin_rsp_ready_i,
  input  logic        pin_rel_valid_i,
  input  id_t         pin_rel_id_i,
  // Registers, driven by pins: AXI4-Lite
  input  logic                     pin_axil_awvalid_i,
  output logic                     pin_axil_awready_o,
  input  logic [RegisterWidth-1:0] pin_axil_awaddr_i,
  input  logic                     pin_axil_wvalid_i,
  output logic                     pin_axil_wready_o,
  input  logic [63:0]              pin_axil_wdata_i,
  input  logic [7:0]               pin_axil_wstrb_i,
  output logic                     pin_axil_bvalid_o,
  input  logic                     pin_axil_bready_i,
  output logic [1:0]               pin_axil_bresp_o,
  input  logic                     pin_axil_arvalid_i,
  output logic                     pin_axil_arready_o,
  input  logic [RegisterWidth-1:0] pin_axil_araddr_i,
  output logic                     pin_axil_rvalid_o,
  input  logic                     pin_axil_rready_i,
  output logic [63:0]              pin_axil_rdata_o,
  output logic [1:0]               pin_axil_rresp_o,
  // Client port 1, as it is
  output logic        client_req_valid_o,
  output logic        client_req_ready_o,
  output id_t         client_req_id_o,
  output pasid_t      client_req_pasid_o,
  output logic [63:0] client_req_va_o,
  output logic [1:0]  client_req_access_o,
  output logic        client_rsp_valid_o,
  output logic        client_rsp_ready_o,
  output id_t         client_rsp_id_o,
  output logic        client_rsp_aborted_o,
  output logic [3:0]  client_rsp_reason_o,
  output pa_t         client_rsp_pa_o,
  output logic [5:0]  client_rsp_order_o,
  output logic        client_rsp_write_o,
  output logic        client_rsp_atomic_o,
  output logic        client_rsp_memory_o,
  output logic        client_rel_valid_o,
  output id_t         client_rel_id_o,
  // Requests of all client ports
  output logic [Clients-1:1] clients_req_valid_o,
  output logic [Clients-1:1] clients_req_ready_o,
  // Memory bus, as it is: AXI4
  output logic                  axi_awvalid_o,
  output logic                  axi_awready_o,
  output logic [AxiIdWidth-1:0] axi_awid_o,
  output pa_t                   axi_awaddr_o,
  output logic                  axi_wvalid_o,
  output logic                  axi_wready_o,
  output line_t                 axi_wdata_o,
  output logic [63:0]           axi_wstrb_o,
  output logic                  axi_bvalid_o,
  output logic                  axi_bready_o,
  output logic [AxiIdWidth-1:0] axi_bid_o,
  output logic [1:0]            axi_bresp_o,
  output logic                  axi_arvalid_o,
  output logic                  axi_arready_o,
  output logic [AxiIdWidth-1:0] axi_arid_o,
  output pa_t                   axi_araddr_o,
  output logic                  axi_rvalid_o,
  output logic                  axi_rready_o,
  output logic [AxiIdWidth-1:0] axi_rid_o,
  output line_t                 axi_rdata_o,
  output logic [1:0]            axi_rresp_o,
  // Interrupt lines
  output logic        irq_o,
  output logic        irq_edge_o
);

  // ---- Time -------------------------------------------------------------------------------------

  cycle_t cycle_q;

  always_ff @(posedge clk or negedge rst_n) begin
    if (!rst_n) cycle_q <= '0;
    else cycle_q <= cycle_q + 64'd1;
  end

  assign cycle_o = cycle_q;

  // ---- Pins -------------------------------------------------------------------------------------

  pins_t pin_q;

  always_ff @(posedge pins_written_i or negedge pins_written_i) begin
    pin_q <= '{
      client:    pin_client_i,
      req_valid: pin_req_valid_i,
      req:       '{
        id:     pin_req_id_i,
        pasid:  pin_req_pasid_i,
        va:     pin_req_va_i,
        access: access_e'(pin_req_access_i)
      },
      rsp_ready: pin_rsp_ready_i,
      rel_valid: pin_rel_valid_i,
      rel_id:    pin_rel_id_i,
      axil:      pin_axil_i,
      aw_valid:  pin_axil_awvalid_i,
      aw_addr:   pin_axil_awaddr_i,
      w_valid:   pin_axil_wvalid_i,
      w:         '{data: pin_axil_wdata_i, strb: pin_axil_wstrb_i},
      b_ready:   pin_axil_bready_i,
      ar_valid:  pin_axil_arvalid_i,
      ar_addr:   pin_axil_araddr_i,
      r_ready:   pin_axil_rready_i
    };
  end

  // ---- Client ports -----------------------------------------------------------------------------

  logic      [Clients-1:1] req_valid, req_ready, rsp_valid, rsp_ready, rel_valid, data_valid;
  request_t  [Clients-1:1] req;
  response_t [Clients-1:1] rsp;
  id_t       [Clients-1:1] rel_id;
  count_t                  responses_complete, actions_complete;
  logic                    client_progress, client_waits, host_waits, clients_reset;
  probe_t                  probe;

  tb_clients #(
    .Clients           (Clients)
  ) u_clients (
    .clk_i                (clk),
    .rst_ni               (rst_n),
    .cycle_i              (cycle_q),
    .pin_i                (pin_q),
    .probe_i              (probe),
    .req_valid_o          (req_valid),
    .req_ready_i          (req_ready),
    .req_o                (req),
    .rsp_valid_i          (rsp_valid),
    .rsp_ready_o          (rsp_ready),
    .rsp_i                (rsp),
    .rel_valid_o          (rel_valid),
    .rel_id_o             (rel_id),
    .clients_reset_i      (clients_reset),
    .data_valid_o         (data_valid),
    .actions_complete_i   (actions_complete),
    .responses_complete_o (responses_complete),
    .progress_o           (client_progress),
    .waits_by_plan_o      (client_waits)
  );

  assign {clients_req_valid_o, clients_req_ready_o} = {req_valid, req_ready};
  assign pin_req_ready_o      = client_req_ready_o && pin_q.client;
  assign client_req_valid_o   = req_valid[1];
  assign client_req_ready_o   = req_ready[1];
  assign client_req_id_o      = req[1].id;
  assign client_req_pasid_o   = req[1].pasid;
  assign client_req_va_o      = req[1].va;
  assign client_req_access_o  = req[1].access;
  assign client_rsp_valid_o   = rsp_valid[1];
  assign client_rsp_ready_o   = rsp_ready[1];
  assign client_rsp_id_o      = rsp[1].id;
  assign client_rsp_aborted_o = rsp[1].aborted;
  assign client_rsp_reason_o  = rsp[1].reason;
  assign client_rsp_pa_o      = rsp[1].pa;
  assign client_rsp_order_o   = rsp[1].order;
  assign client_rsp_write_o   = rsp[1].write;
  assign client_rsp_atomic_o  = rsp[1].atomic;
  assign client_rsp_memory_o  = rsp[1].memory;
  assign client_rel_valid_o   = rel_valid[1];
  assign client_rel_id_o      = rel_id[1];

  // ---- Host and registers -----------------------------------------------------------------------

  logic                     access_valid;
  host_access_t             access;
  logic [63:0]              access_value;
  logic [1:0]               access_status;
  logic                     aw_valid, aw_ready, w_valid, w_ready, b_valid, b_ready;
  logic                     ar_valid, ar_ready, r_valid, r_ready;
  logic                     host_aw_valid, host_w_valid, host_b_ready, host_ar_valid, host_r_ready;
  logic [RegisterWidth-1:0] aw_addr, ar_addr, host_aw_addr, host_ar_addr;
  axil_w_t                  w, host_w;
  logic [1:0]               b_resp;
  axil_r_t                  r;
  logic                     action_done;
  action_done_t             done_action;

  tb_host u_host (
    .clk_i                (clk),
    .rst_ni               (rst_n),
    .cycle_i              (cycle_q),
    .access_valid_o       (access_valid),
    .access_o             (access),
    .access_value_i       (access_value),
    .access_status_i      (access_status),
    .aw_valid_o           (host_aw_valid),
    .aw_ready_i           (aw_ready && !pin_q.axil),
    .aw_addr_o            (host_aw_addr),
    .w_valid_o            (host_w_valid),
    .w_ready_i            (w_ready && !pin_q.axil),
    .w_o                  (host_w),
    .b_valid_i            (b_valid && !pin_q.axil),
    .b_ready_o            (host_b_ready),
    .b_resp_i             (b_resp),
    .ar_valid_o           (host_ar_valid),
    .ar_ready_i           (ar_ready && !pin_q.axil),
    .ar_addr_o            (host_ar_addr),
    .r_valid_i            (r_valid && !pin_q.axil),
    .r_ready_o            (host_r_ready),
    .r_i                  (r),
    .irq_i                (irq_o),
    .responses_complete_i (responses_complete),
    .actions_complete_o   (actions_complete),
    .waits_by_plan_o      (host_waits),
    .done_o               (action_done),
    .done_action_o        (done_action)
  );

  assign aw_valid = pin_q.axil ? pin_q.aw_valid : host_aw_valid;
  assign aw_addr  = pin_q.axil ? pin_q.aw_addr : host_aw_addr;
  assign w_valid  = pin_q.axil ? pin_q.w_valid : host_w_valid;
  assign w        = pin_q.axil ? pin_q.w : host_w;
  assign b_ready  = pin_q.axil ? pin_q.b_ready : host_b_ready;
  assign ar_valid = pin_q.axil ? pin_q.ar_valid : host_ar_valid;
  assign ar_addr  = pin_q.axil ? pin_q.ar_addr : host_ar_addr;
  assign r_ready  = pin_q.axil ? pin_q.r_ready : host_r_ready;

  assign pin_axil_awready_o = aw_ready && pin_q.axil;
  assign pin_axil_wready_o  = w_ready && pin_q.axil;
  assign pin_axil_bvalid_o  = b_valid && pin_q.axil;
  assign pin_axil_bresp_o   = b_resp;
  assign pin_axil_arready_o = ar_ready && pin_q.axil;
  assign pin_axil_rvalid_o  = r_valid && pin_q.axil;
  assign pin_axil_rdata_o   = r.data;
  assign pin_axil_rresp_o   = r.resp;

  axi4_lite_checker #(
    .AddressWidth (RegisterWidth)
  ) u_axi4_lite_checker (
    .clk_i     (clk),
    .rst_ni    (rst_n),
    .awvalid_i (aw_valid),
    .awready_i (aw_ready),
    .awaddr_i  (aw_addr),
    .wvalid_i  (w_valid),
    .wready_i  (w_ready),
    .wdata_i   (w.data),
    .wstrb_i   (w.strb),
    .bvalid_i  (b_valid),
    .bready_i  (b_ready),
    .bresp_i   (b_resp),
    .arvalid_i (ar_valid),
    .arready_i (ar_ready),
    .araddr_i  (ar_addr),
    .rvalid_i  (r_valid),
    .rready_i  (r_ready),
    .rdata_i   (r.data),
    .rresp_i   (r.resp)
  );

  // ---- Memory -----------------------------------------------------------------------------------

  axi_a_t axi_aw, axi_ar;
  axi_w_t axi_w;
  axi_b_t axi_b;
  axi_r_t axi_r;

  tb_memory #(
    .Clients           (Clients)
  ) u_memory (
    .clk_i           (clk),
    .rst_ni          (rst_n),
    .cycle_i         (cycle_q),
    .access_valid_i  (access_valid),
    .access_i        (access),
    .access_value_o  (access_value),
    .access_status_o (access_status),
    .data_valid_i    (data_valid),
    .data_id_i       (rel_id),
    .aw_valid_i      (axi_awvalid_o),
    .aw_ready_o      (axi_awready_o),
    .aw_i            (axi_aw),
    .w_valid_i       (axi_wvalid_o),
    .w_ready_o       (axi_wready_o),
    .w_i             (axi_w),
    .b_valid_o       (axi_bvalid_o),
    .b_ready_i       (axi_bready_o),
    .b_o             (axi_b),
    .ar_valid_i      (axi_arvalid_o),
    .ar_ready_o      (axi_arready_o),
    .ar_i            (axi_ar),
    .r_valid_o       (axi_rvalid_o),
    .r_ready_i       (axi_rready_o),
    .r_o             (axi_r)
  );

  assign axi_awid_o   = axi_aw.id;
  assign axi_awaddr_o = axi_aw.addr;
  assign axi_wdata_o  = axi_w.data;
  assign axi_wstrb_o  = axi_w.strb;
  assign axi_bid_o    = axi_b.id;
  assign axi_bresp_o  = axi_b.resp;
  assign axi_arid_o   = axi_ar.id;
  assign axi_araddr_o = axi_ar.addr;
  assign axi_rid_o    = axi_r.id;
  assign axi_rdata_o  = axi_r.data;
  assign axi_rresp_o  = axi_r.resp;

  // ---- Device -----------------------------------------------------------------------------------

  hmm_adapter #(
    .VaBits            (VaBits),
    .Clients           (Clients),
    .TlbEntries        (TlbEntries),
    .SharedSets        (SharedSets),
    .SharedWays        (SharedWays),
    .LargeEntries      (LargeEntries),
    .DirectoryEntries  (DirectoryEntries),
    .TableEntries      (TableEntries),
    .Walks             (Walks),
    .ContextEntries    (ContextEntries),
    .FaultSlots        (FaultSlots),
    .FenceDepth        (FenceDepth),
    .EngineDescriptors (EngineDescriptors)
  ) u_adapter (
    .clk_i           (clk),
    .rst_ni          (rst_n),
    .axil_aw_valid_i (aw_valid),
    .axil_aw_ready_o (aw_ready),
    .axil_aw_addr_i  (aw_addr),
    .axil_w_valid_i  (w_valid),
    .axil_w_ready_o  (w_ready),
    .axil_w_i        (w),
    .axil_b_valid_o  (b_valid),
    .axil_b_ready_i  (b_ready),
    .axil_b_resp_o   (b_resp),
    .axil_ar_valid_i (ar_valid),
    .axil_ar_ready_o (ar_ready),
    .axil_ar_addr_i  (ar_addr),
    .axil_r_valid_o  (r_valid),
    .axil_r_ready_i  (r_ready),
    .axil_r_o        (r),
    .axi_aw_valid_o  (axi_awvalid_o),
    .axi_aw_ready_i  (axi_awready_o),
    .axi_aw_o        (axi_aw),
    .axi_w_valid_o   (axi_wvalid_o),
    .axi_w_ready_i   (axi_wready_o),
    .axi_w_o         (axi_w),
    .axi_b_valid_i   (axi_bvalid_o),
    .axi_b_ready_o   (axi_bready_o),
    .axi_b_i         (axi_b),
    .axi_ar_valid_o  (axi_arvalid_o),
    .axi_ar_ready_i  (axi_arready_o),
    .axi_ar_o        (axi_ar),
    .axi_r_valid_i   (axi_rvalid_o),
    .axi_r_ready_o   (axi_rready_o),
    .axi_r_i         (axi_r),
    .req_valid_i     (req_valid),
    .req_ready_o     (req_ready),
    .req_i           (req),
    .rsp_valid_o     (rsp_valid),
    .rsp_ready_i     (rsp_ready),
    .rsp_o           (rsp),
    .rel_valid_i     (rel_valid),
    .rel_id_i        (rel_id),
    .clients_reset_o (clients_reset),
    .irq_o,
    .irq_edge_o,
    .probe_o         (probe)
  );

  // ---- Observers --------------------------------------------------------------------------------

  tb_events #(
    .Clients           (Clients)
  ) u_events (
    .clk_i         (clk),
    .rst_ni        (rst_n),
    .cycle_i       (cycle_q),
    .req_valid_i   (req_valid),
    .req_ready_i   (req_ready),
    .req_i         (req),
    .rsp_valid_i   (rsp_valid),
    .rsp_ready_i   (rsp_ready),
    .rsp_i         (rsp),
    .rel_valid_i   (rel_valid),
    .rel_id_i      (rel_id),
    .reset_i       (clients_reset),
    .probe_i       (probe),
    .irq_i         (irq_o),
    .done_i        (action_done),
    .done_action_i (done_action)
  );

  tb_device_events u_device_events (
    .clk_i      (clk),
    .rst_ni     (rst_n),
    .cycle_i    (cycle_q),
    .aw_valid_i (axi_awvalid_o),
    .aw_ready_i (axi_awready_o),
    .aw_i       (axi_aw),
    .b_valid_i  (axi_bvalid_o),
    .b_ready_i  (axi_bready_o),
    .b_i        (axi_b),
    .ar_valid_i (axi_arvalid_o),
    .ar_ready_i (axi_arready_o),
    .ar_i       (axi_ar),
    .r_valid_i  (axi_rvalid_o),
    .r_ready_i  (axi_rready_o),
    .r_i        (axi_r),
    .reset_i    (clients_reset),
    .probe_i    (probe)
  );

  tb_register_writes u_register_writes (
    .clk_i      (clk),
    .rst_ni     (rst_n),
    .reset_i    (clients_reset),
    .aw_valid_i (aw_valid),
    .aw_ready_i (aw_ready),
    .aw_addr_i  (aw_addr),
    .w_valid_i  (w_valid),
    .w_ready_i  (w_ready),
    .w_i        (w)
  );

  soft_reset_checker u_soft_reset_checker (
    .clk_i     (clk),
    .rst_ni    (rst_n),
    .reset_i   (clients_reset),
    .awvalid_i (axi_awvalid_o),
    .awready_i (axi_awready_o),
    .wvalid_i  (axi_wvalid_o),
    .wready_i  (axi_wready_o),
    .wlast_i   (axi_w.last),
    .bvalid_i  (axi_bvalid_o),
    .bready_i  (axi_bready_o),
    .arvalid_i (axi_arvalid_o),
    .arready_i (axi_arready_o),
    .rvalid_i  (axi_rvalid_o),
    .rready_i  (axi_rready_o),
    .rlast_i   (axi_r.last)
  );

  tb_watchdog u_watchdog (
    .clk_i           (clk),
    .rst_ni          (rst_n),
    .progress_i      (action_done || client_progress),
    .waits_by_plan_i (client_waits || host_waits)
  );

endmodule
