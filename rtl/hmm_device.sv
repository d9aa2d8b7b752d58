// SPDX-License-Identifier: Apache-2.0
// The device: registers, the MMU, and the memory bus. Holds no logic of translation.
// See docs/interface.md.

module hmm_device
  import hmm_structures_pkg::*;
  import hmm_pkg::*;
#(
  parameter int unsigned VaBits         = 48,  // 48 or 57
  parameter int unsigned Clients        = 1,
  parameter int unsigned TlbEntries     = 16,
  parameter int unsigned ContextEntries = 4,
  parameter int unsigned FaultSlots     = 16,
  parameter int unsigned FenceDepth     = 4
) (
  input  logic                 clk_i,
  input  logic                 rst_ni,
  // Registers: AXI4-Lite subordinate
  input  logic                 s_axil_awvalid_i,
  output logic                 s_axil_awready_o,
  input  logic [9:0]           s_axil_awaddr_i,
  input  logic [2:0]           s_axil_awprot_i,
  input  logic                 s_axil_wvalid_i,
  output logic                 s_axil_wready_o,
  input  logic [63:0]          s_axil_wdata_i,
  input  logic [7:0]           s_axil_wstrb_i,
  output logic                 s_axil_bvalid_o,
  input  logic                 s_axil_bready_i,
  output logic [1:0]           s_axil_bresp_o,
  input  logic                 s_axil_arvalid_i,
  output logic                 s_axil_arready_o,
  input  logic [9:0]           s_axil_araddr_i,
  input  logic [2:0]           s_axil_arprot_i,
  output logic                 s_axil_rvalid_o,
  input  logic                 s_axil_rready_i,
  output logic [63:0]          s_axil_rdata_o,
  output logic [1:0]           s_axil_rresp_o,
  // Memory: AXI4 manager, single beats of one line
  output logic                 m_axi_awvalid_o,
  input  logic                 m_axi_awready_i,
  output logic [AxiIdBits-1:0] m_axi_awid_o,
  output pa_t                  m_axi_awaddr_o,
  output logic [7:0]           m_axi_awlen_o,
  output logic [2:0]           m_axi_awsize_o,
  output logic [1:0]           m_axi_awburst_o,
  output logic                 m_axi_awuser_o,  // the device's own memory
  output logic                 m_axi_wvalid_o,
  input  logic                 m_axi_wready_i,
  output line_t                m_axi_wdata_o,
  output logic [63:0]          m_axi_wstrb_o,
  output logic                 m_axi_wlast_o,
  input  logic                 m_axi_bvalid_i,
  output logic                 m_axi_bready_o,
  input  logic [AxiIdBits-1:0] m_axi_bid_i,
  input  logic [1:0]           m_axi_bresp_i,
  output logic                 m_axi_arvalid_o,
  input  logic                 m_axi_arready_i,
  output logic [AxiIdBits-1:0] m_axi_arid_o,
  output pa_t                  m_axi_araddr_o,
  output logic [7:0]           m_axi_arlen_o,
  output logic [2:0]           m_axi_arsize_o,
  output logic [1:0]           m_axi_arburst_o,
  output logic                 m_axi_aruser_o,
  input  logic                 m_axi_rvalid_i,
  output logic                 m_axi_rready_o,
  input  logic [AxiIdBits-1:0] m_axi_rid_i,
  input  line_t                m_axi_rdata_i,
  input  logic [1:0]           m_axi_rresp_i,
  input  logic                 m_axi_rlast_i,
  // Client ports: request, response, release
  input  logic             [Clients-1:0] req_valid_i,
  output logic             [Clients-1:0] req_ready_o,
  input  client_request_t  [Clients-1:0] req_i,
  output logic             [Clients-1:0] rsp_valid_o,
  input  logic             [Clients-1:0] rsp_ready_i,
  output client_response_t [Clients-1:0] rsp_o,
  input  logic             [Clients-1:0] rel_valid_i,
  input  id_t              [Clients-1:0] rel_id_i,
  // Interrupt lines
  output logic                 irq_o,
  output logic                 irq_edge_o,
  // For an observer
  output probe_t               probe_o
);

  localparam int unsigned Counters = 15;
  localparam int unsigned Readers  = 2;
  localparam int unsigned Writers  = 2;

  logic                      enable, command_enable, fault_enable, counter_latch;
  entry_format_t             entry_format;
  logic [51:0]               context_base, command_base, fault_base;
  logic [20:0]               context_count;
  logic [3:0]                command_log2, fault_log2;
  logic [31:0]               command_tail, fault_get;
  mmu_status_t               status;
  mmu_events_t               events;
  logic [Counters-1:0][63:0] counters;

  hmm_register_file #(
    .VaBits         (VaBits),
    .TlbEntries     (TlbEntries),
    .ContextEntries (ContextEntries),
    .FenceDepth     (FenceDepth),
    .Counters       (Counters)
  ) u_register_file (
    .clk_i,
    .rst_ni,
    .s_axil_awvalid_i,
    .s_axil_awready_o,
    .s_axil_awaddr_i,
    .s_axil_awprot_i,
    .s_axil_wvalid_i,
    .s_axil_wready_o,
    .s_axil_wdata_i,
    .s_axil_wstrb_i,
    .s_axil_bvalid_o,
    .s_axil_bready_i,
    .s_axil_bresp_o,
    .s_axil_arvalid_i,
    .s_axil_arready_o,
    .s_axil_araddr_i,
    .s_axil_arprot_i,
    .s_axil_rvalid_o,
    .s_axil_rready_i,
    .s_axil_rdata_o,
    .s_axil_rresp_o,
    .enable_o         (enable),
    .command_enable_o (command_enable),
    .fault_enable_o   (fault_enable),
    .format_o         (entry_format),
    .context_base_o   (context_base),
    .context_count_o  (context_count),
    .command_base_o   (command_base),
    .command_log2_o   (command_log2),
    .command_tail_o   (command_tail),
    .fault_base_o     (fault_base),
    .fault_log2_o     (fault_log2),
    .fault_get_o      (fault_get),
    .counter_latch_o  (counter_latch),
    .status_i         (status),
    .events_i         (events),
    .counters_i       (counters),
    .irq_o,
    .irq_edge_o
  );

  logic  [Readers-1:0]       read_valid, read_ready, read_done;
  pa_t   [Readers-1:0]       read_address;
  line_t                     read_line;
  logic                      read_error;
  logic  [Writers-1:0]       write_valid, write_ready, write_done;
  pa_t   [Writers-1:0]       write_address;
  line_t [Writers-1:0]       write_line;
  logic  [Writers-1:0][63:0] write_strobe;
  logic                      write_error;

  hmm_mmu #(
    .VaBits         (VaBits),
    .Clients        (Clients),
    .TlbEntries     (TlbEntries),
    .ContextEntries (ContextEntries),
    .FaultSlots     (FaultSlots),
    .FenceDepth     (FenceDepth)
  ) u_mmu (
    .clk_i,
    .rst_ni,
    .enable_i         (enable),
    .format_i         (entry_format),
    .context_base_i   (context_base),
    .context_count_i  (context_count),
    .command_enable_i (command_enable),
    .command_base_i   (command_base),
    .command_log2_i   (command_log2),
    .command_tail_i   (command_tail),
    .fault_enable_i   (fault_enable),
    .fault_base_i     (fault_base),
    .fault_log2_i     (fault_log2),
    .fault_get_i      (fault_get),
    .status_o         (status),
    .events_o         (events),
    .req_valid_i,
    .req_ready_o,
    .req_i,
    .rsp_valid_o,
    .rsp_ready_i,
    .rsp_o,
    .rel_valid_i,
    .rel_id_i,
    .read_valid_o     (read_valid),
    .read_ready_i     (read_ready),
    .read_address_o   (read_address),
    .read_done_i      (read_done),
    .read_line_i      (read_line),
    .read_error_i     (read_error),
    .write_valid_o    (write_valid),
    .write_ready_i    (write_ready),
    .write_address_o  (write_address),
    .write_line_o     (write_line),
    .write_strobe_o   (write_strobe),
    .write_done_i     (write_done),
    .write_error_i    (write_error),
    .probe_o
  );

  // ---- Memory bus -------------------------------------------------------------------------------

  hmm_read_mux #(
    .Readers (Readers)
  ) u_read_mux (
    .clk_i,
    .rst_ni,
    .read_valid_i   (read_valid),
    .read_ready_o   (read_ready),
    .read_address_i (read_address),
    .read_device_i  ('0),
    .read_done_o    (read_done),
    .read_line_o    (read_line),
    .read_error_o   (read_error),
    .arvalid_o      (m_axi_arvalid_o),
    .arready_i      (m_axi_arready_i),
    .arid_o         (m_axi_arid_o),
    .araddr_o       (m_axi_araddr_o),
    .aruser_o       (m_axi_aruser_o),
    .rvalid_i       (m_axi_rvalid_i),
    .rready_o       (m_axi_rready_o),
    .rid_i          (m_axi_rid_i),
    .rdata_i        (m_axi_rdata_i),
    .rresp_i        (m_axi_rresp_i),
    .rlast_i        (m_axi_rlast_i)
  );

  hmm_write_mux #(
    .Writers (Writers)
  ) u_write_mux (
    .clk_i,
    .rst_ni,
    .write_valid_i   (write_valid),
    .write_ready_o   (write_ready),
    .write_address_i (write_address),
    .write_device_i  ('0),
    .write_line_i    (write_line),
    .write_strobe_i  (write_strobe),
    .write_done_o    (write_done),
    .write_error_o   (write_error),
    .awvalid_o       (m_axi_awvalid_o),
    .awready_i       (m_axi_awready_i),
    .awid_o          (m_axi_awid_o),
    .awaddr_o        (m_axi_awaddr_o),
    .awuser_o        (m_axi_awuser_o),
    .wvalid_o        (m_axi_wvalid_o),
    .wready_i        (m_axi_wready_i),
    .wdata_o         (m_axi_wdata_o),
    .wstrb_o         (m_axi_wstrb_o),
    .bvalid_i        (m_axi_bvalid_i),
    .bready_o        (m_axi_bready_o),
    .bid_i           (m_axi_bid_i),
    .bresp_i         (m_axi_bresp_i)
  );

  assign m_axi_awlen_o   = 8'd0;
  assign m_axi_awsize_o  = 3'd6;
  assign m_axi_awburst_o = 2'b01;
  assign m_axi_wlast_o   = 1'b1;
  assign m_axi_arlen_o   = 8'd0;
  assign m_axi_arsize_o  = 3'd6;
  assign m_axi_arburst_o = 2'b01;

  // ---- Counters ---------------------------------------------------------------------------------

  hmm_counters #(
    .Counters (Counters)
  ) u_counters (
    .clk_i,
    .rst_ni,
    // In the order of the registers COUNTER_CYCLES to COUNTER_UNRECORDED, the first in the lowest
    // bits.
    .events_i  ({events.unrecorded, 8'(events.answer_ignored), 8'(events.replayed),
                 8'(events.merged), 8'(events.fault_published), 8'($countones(events.stalled)),
                 8'(events.walk_drop), 8'(events.fence_complete), 8'(events.invalidation),
                 8'($countones(events.aborted)), 8'(events.walk_read), 8'(events.walk_begin),
                 8'($countones(events.hit)), 8'($countones(events.request)), 8'd1}),
    .latch_i   (counter_latch),
    .latched_o (counters)
  );

endmodule
