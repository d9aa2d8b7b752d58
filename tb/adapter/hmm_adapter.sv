// SPDX-License-Identifier: Apache-2.0
// The device under test behind the testbench's own types. The only place that names signals of
// hmm_device: for another MMU, write another adapter.

module hmm_adapter #(
  parameter int unsigned VaBits            = 48,
  parameter int unsigned Clients           = 2,  // client 0 included, which has no port
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
  input  logic clk_i,
  input  logic rst_ni,
  // Registers: AXI4-Lite
  input  logic                             axil_aw_valid_i,
  output logic                             axil_aw_ready_o,
  input  logic [tb_pkg::RegisterWidth-1:0] axil_aw_addr_i,
  input  logic                             axil_w_valid_i,
  output logic                             axil_w_ready_o,
  input  tb_pkg::axil_w_t                  axil_w_i,
  output logic                             axil_b_valid_o,
  input  logic                             axil_b_ready_i,
  output logic [1:0]                       axil_b_resp_o,
  input  logic                             axil_ar_valid_i,
  output logic                             axil_ar_ready_o,
  input  logic [tb_pkg::RegisterWidth-1:0] axil_ar_addr_i,
  output logic                             axil_r_valid_o,
  input  logic                             axil_r_ready_i,
  output tb_pkg::axil_r_t                  axil_r_o,
  // Memory: AXI4
  output logic           axi_aw_valid_o,
  input  logic           axi_aw_ready_i,
  output tb_pkg::axi_a_t axi_aw_o,
  output logic           axi_w_valid_o,
  input  logic           axi_w_ready_i,
  output tb_pkg::axi_w_t axi_w_o,
  input  logic           axi_b_valid_i,
  output logic           axi_b_ready_o,
  input  tb_pkg::axi_b_t axi_b_i,
  output logic           axi_ar_valid_o,
  input  logic           axi_ar_ready_i,
  output tb_pkg::axi_a_t axi_ar_o,
  input  logic           axi_r_valid_i,
  output logic           axi_r_ready_o,
  input  tb_pkg::axi_r_t axi_r_i,
  // Client ports
  input  logic              [Clients-1:1] req_valid_i,
  output logic              [Clients-1:1] req_ready_o,
  input  tb_pkg::request_t  [Clients-1:1] req_i,
  output logic              [Clients-1:1] rsp_valid_o,
  input  logic              [Clients-1:1] rsp_ready_i,
  output tb_pkg::response_t [Clients-1:1] rsp_o,
  input  logic              [Clients-1:1] rel_valid_i,
  input  tb_pkg::id_t       [Clients-1:1] rel_id_i,
  output logic                            clients_reset_o,
  // Interrupt lines
  output logic irq_o,
  output logic irq_edge_o,
  // For an observer
  output tb_pkg::probe_t probe_o
);

  hmm_pkg::client_request_t  [Clients-1:1] req;
  hmm_pkg::client_response_t [Clients-1:1] rsp;
  hmm_pkg::probe_t                         probe;

  function automatic tb_pkg::response_t response_of(hmm_pkg::client_response_t response);
    return '{
      id:      response.id,
      aborted: response.status == hmm_pkg::STATUS_ABORTED,
      reason:  response.reason,
      pa:      response.pa,
      order:   response.order,
      write:   response.write,
      atomic:  response.atomic,
      memory:  response.memory == hmm_pkg::MEMORY_DEVICE
    };
  endfunction

  for (genvar i = 1; i < Clients; i++) begin : gen_clients
    assign req[i] = '{
      id:     req_i[i].id,
      pasid:  req_i[i].pasid,
      va:     req_i[i].va,
      access: hmm_structures_pkg::access_e'(req_i[i].access)
    };

    assign rsp_o[i] = response_of(rsp[i]);
  end

  always_comb begin
    probe_o = '{
      command_valid:     probe.command_valid,
      command_malformed: probe.command_malformed,
      command_drops:     1'b0,
      command_opcode:    probe.command_opcode,
      command_index:     probe.command_index,
      command_all:       probe.command_all,
      command_pasid:     probe.command_pasid,
      command_first:     probe.command_first,
      command_last:      probe.command_last,
      fence_valid:       probe.fence_valid,
      fence_sequence:    probe.fence_sequence,
      record_valid:      probe.record_valid,
      record_tag:        probe.record_tag,
      inner_request:     probe.engine_request,
      inner_asked:       '{
        id:     probe.engine_asked.id,
        pasid:  probe.engine_asked.pasid,
        va:     probe.engine_asked.va,
        access: tb_pkg::access_e'(probe.engine_asked.access)
      },
      inner_response:    probe.engine_response,
      inner_answer:      response_of(probe.engine_answer),
      inner_release:     probe.engine_release,
      inner_released:    probe.engine_released,
      lookup_hit:        probe.lookup_hit,
      lookup_miss:       probe.lookup_miss,
      shared_hit:        probe.shared_hit,
      walk_start:        probe.walk_start,
      walk_drop:         probe.walk_drop,
      walk_fault:        probe.walk_done && !probe.fill,
      fill:              probe.fill,
      merged:            probe.merged,
      replayed:          probe.replayed,
      enable:            probe.enable,
      command_tail:      probe.command_tail,
      fault_get:         probe.fault_get,
      fault_put:         probe.fault_put
    };
    probe_o.command_drops = probe.command_valid && !probe.command_malformed && (probe.command_opcode inside {
        hmm_structures_pkg::OPCODE_INVALIDATE, hmm_structures_pkg::OPCODE_INVALIDATE_CONTEXT,
        hmm_structures_pkg::OPCODE_UNBIND});
  end

  hmm_device #(
    .Clients           (Clients),
    .VaBits            (VaBits),
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
  ) u_device (
    .clk_i,
    .rst_ni,
    .s_axil_awvalid_i (axil_aw_valid_i),
    .s_axil_awready_o (axil_aw_ready_o),
    .s_axil_awaddr_i  (axil_aw_addr_i),
    .s_axil_awprot_i  (3'd0),
    .s_axil_wvalid_i  (axil_w_valid_i),
    .s_axil_wready_o  (axil_w_ready_o),
    .s_axil_wdata_i   (axil_w_i.data),
    .s_axil_wstrb_i   (axil_w_i.strb),
    .s_axil_bvalid_o  (axil_b_valid_o),
    .s_axil_bready_i  (axil_b_ready_i),
    .s_axil_bresp_o   (axil_b_resp_o),
    .s_axil_arvalid_i (axil_ar_valid_i),
    .s_axil_arready_o (axil_ar_ready_o),
    .s_axil_araddr_i  (axil_ar_addr_i),
    .s_axil_arprot_i  (3'd0),
    .s_axil_rvalid_o  (axil_r_valid_o),
    .s_axil_rready_i  (axil_r_ready_i),
    .s_axil_rdata_o   (axil_r_o.data),
    .s_axil_rresp_o   (axil_r_o.resp),
    .m_axi_awvalid_o  (axi_aw_valid_o),
    .m_axi_awready_i  (axi_aw_ready_i),
    .m_axi_awid_o     (axi_aw_o.id),
    .m_axi_awaddr_o   (axi_aw_o.addr),
    .m_axi_awlen_o    (axi_aw_o.len),
    .m_axi_awsize_o   (axi_aw_o.size),
    .m_axi_awburst_o  (axi_aw_o.burst),
    .m_axi_awuser_o   (axi_aw_o.user),
    .m_axi_wvalid_o   (axi_w_valid_o),
    .m_axi_wready_i   (axi_w_ready_i),
    .m_axi_wdata_o    (axi_w_o.data),
    .m_axi_wstrb_o    (axi_w_o.strb),
    .m_axi_wlast_o    (axi_w_o.last),
    .m_axi_bvalid_i   (axi_b_valid_i),
    .m_axi_bready_o   (axi_b_ready_o),
    .m_axi_bid_i      (axi_b_i.id),
    .m_axi_bresp_i    (axi_b_i.resp),
    .m_axi_arvalid_o  (axi_ar_valid_o),
    .m_axi_arready_i  (axi_ar_ready_i),
    .m_axi_arid_o     (axi_ar_o.id),
    .m_axi_araddr_o   (axi_ar_o.addr),
    .m_axi_arlen_o    (axi_ar_o.len),
    .m_axi_arsize_o   (axi_ar_o.size),
    .m_axi_arburst_o  (axi_ar_o.burst),
    .m_axi_aruser_o   (axi_ar_o.user),
    .m_axi_rvalid_i   (axi_r_valid_i),
    .m_axi_rready_o   (axi_r_ready_o),
    .m_axi_rid_i      (axi_r_i.id),
    .m_axi_rdata_i    (axi_r_i.data),
    .m_axi_rresp_i    (axi_r_i.resp),
    .m_axi_rlast_i    (axi_r_i.last),
    .req_valid_i,
    .req_ready_o,
    .req_i            (req),
    .rsp_valid_o,
    .rsp_ready_i,
    .rsp_o            (rsp),
    .rel_valid_i,
    .rel_id_i,
    .clients_reset_o,
    .irq_o,
    .irq_edge_o,
    .probe_o          (probe)
  );

  // The device's observation signals that the event log does not use.
  logic unused_probe;
  assign unused_probe = ^{probe.walk_read, probe.answer_ignored};

endmodule
