// SPDX-License-Identifier: Apache-2.0
// The device: registers, the MMU with the access engine as its client 0, and the memory bus. Holds
// no logic of translation.
// See docs/interface.md.

module hmm_device
  import hmm_structures_pkg::*;
  import hmm_pkg::*;
#(
  parameter int unsigned VaBits            = 48,  // 48 or 57
  parameter int unsigned Clients           = 5,   // ports of the MMU, the access engine's included
  parameter int unsigned TlbEntries        = 16,  // first-level translation cache, of each port
  parameter int unsigned SharedSets        = 64,  // second-level translation cache:
  parameter int unsigned SharedWays        = 4,   // its entries are lines of eight pages
  parameter int unsigned LargeEntries      = 16,  // and larger blocks
  parameter int unsigned DirectoryEntries  = 64,  // cached directory entries that point to arrays
  parameter int unsigned TableEntries      = 8,   // cached directories
  parameter int unsigned ContextEntries    = 4,
  parameter int unsigned Walks             = 16,  // in flight
  parameter int unsigned FaultSlots        = 64,  // requests that may be walked or wait
  parameter int unsigned FenceDepth        = 4,
  parameter int unsigned EngineDescriptors = 4  // of the access engine, in flight
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
  // Client ports: request, response, release; client 0 is inside
  input  logic             [Clients-1:1] req_valid_i,
  output logic             [Clients-1:1] req_ready_o,
  input  client_request_t  [Clients-1:1] req_i,
  output logic             [Clients-1:1] rsp_valid_o,
  input  logic             [Clients-1:1] rsp_ready_i,
  output client_response_t [Clients-1:1] rsp_o,
  input  logic             [Clients-1:1] rel_valid_i,
  input  id_t              [Clients-1:1] rel_id_i,
  output logic                           clients_reset_o,  // a soft reset: see docs/interface.md
  // Interrupt lines
  output logic                 irq_o,
  output logic                 irq_edge_o,
  // For an observer
  output probe_t               probe_o
);

  localparam int unsigned Counters = 16;
  localparam int unsigned Readers  = 3;  // the MMU's two, the engine
  localparam int unsigned Writers  = 3;  // the MMU's two, the engine

  logic                      inner_rst_n, soft_reset;
  logic                      enable, command_enable, fault_enable, engine_enable, counter_latch;
  entry_format_t             entry_format;
  logic [51:0]               context_base, command_base, fault_base, engine_base;
  logic [51:0]               engine_completion_base;
  logic [20:0]               context_count;
  logic [3:0]                command_log2, fault_log2, engine_log2;
  logic [31:0]               command_tail, fault_get, engine_tail;
  mmu_status_t               mmu_status, status;
  engine_status_t            engine_status;
  logic                      engine_busy;
  mmu_events_t               events;
  logic [Counters-1:0][63:0] counters;

  hmm_register_file #(
    .VaBits            (VaBits),
    .TlbEntries        (TlbEntries),
    .ContextEntries    (ContextEntries),
    .FenceDepth        (FenceDepth),
    .Counters       (Counters)
  ) u_register_file (
    .clk_i,
    .rst_ni,
    .inner_rst_ni     (inner_rst_n),
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
    .soft_reset_o     (soft_reset),
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
    .engine_enable_o  (engine_enable),
    .engine_base_o    (engine_base),
    .engine_log2_o    (engine_log2),
    .engine_tail_o    (engine_tail),
    .engine_completion_base_o (engine_completion_base),
    .counter_latch_o  (counter_latch),
    .status_i         (status),
    .engine_status_i  (engine_status),
    .events_i         (events),
    .counters_i       (counters),
    .irq_o,
    .irq_edge_o
  );

  // While the engine has a descriptor, memory is used.
  always_comb begin
    status      = mmu_status;
    status.busy = mmu_status.busy || engine_busy;
  end

  logic  [Readers-1:0]       read_valid, read_ready, read_device, read_done;
  pa_t   [Readers-1:0]       read_address;
  tag_t  [Readers-1:0]       read_tag;
  line_t                     read_line;
  logic                      read_error;
  logic  [Writers-1:0]       write_valid, write_ready, write_device, write_done;
  pa_t   [Writers-1:0]       write_address;
  line_t [Writers-1:0]       write_line;
  logic  [Writers-1:0][63:0] write_strobe;
  tag_t  [Writers-1:0]       write_tag;
  tag_t                      read_done_tag, write_done_tag;
  logic                      write_error;

  // ---- Clients ----------------------------------------------------------------------------------

  logic             engine_req_valid, engine_req_ready, engine_rsp_valid, engine_rsp_ready;
  logic             engine_rel_valid;
  client_request_t  engine_req;
  client_response_t engine_rsp;
  id_t              engine_rel_id;

  hmm_engine #(
    .Descriptors (EngineDescriptors)
  ) u_engine (
    .clk_i,
    .rst_ni            (inner_rst_n),
    .enable_i          (engine_enable),
    .ring_base_i       (engine_base),
    .ring_log2_i       (engine_log2),
    .tail_i            (engine_tail),
    .completion_base_i (engine_completion_base),
    .head_o            (engine_status.head),
    .active_o          (engine_status.active),
    .halted_o          (engine_status.halted),
    .busy_o            (engine_busy),
    .done_o            (engine_status.done),
    .error_o           (engine_status.error),
    .overrun_o         (engine_status.overrun),
    .bus_error_o       (engine_status.bus_error),
    .req_valid_o       (engine_req_valid),
    .req_ready_i       (engine_req_ready),
    .req_o             (engine_req),
    .rsp_valid_i       (engine_rsp_valid),
    .rsp_ready_o       (engine_rsp_ready),
    .rsp_i             (engine_rsp),
    .rel_valid_o       (engine_rel_valid),
    .rel_id_o          (engine_rel_id),
    .read_valid_o      (read_valid[2]),
    .read_ready_i      (read_ready[2]),
    .read_address_o    (read_address[2]),
    .read_device_o     (read_device[2]),
    .read_tag_o        (read_tag[2]),
    .read_done_i       (read_done[2]),
    .read_done_tag_i   (read_done_tag),
    .read_line_i       (read_line),
    .read_error_i      (read_error),
    .write_valid_o     (write_valid[2]),
    .write_ready_i     (write_ready[2]),
    .write_address_o   (write_address[2]),
    .write_device_o    (write_device[2]),
    .write_line_o      (write_line[2]),
    .write_strobe_o    (write_strobe[2]),
    .write_tag_o       (write_tag[2]),
    .write_done_i      (write_done[2]),
    .write_done_tag_i  (write_done_tag),
    .write_error_i     (write_error)
  );

  // From the start of a soft reset to its end the ports outside take and give nothing.
  logic [Clients-1:1] port_req_valid, port_req_ready, port_rsp_valid;

  assign port_req_valid = clients_reset_o ? '0 : req_valid_i;
  assign req_ready_o    = clients_reset_o ? '0 : port_req_ready;
  assign rsp_valid_o    = clients_reset_o ? '0 : port_rsp_valid;

  for (genvar c = 1; c < Clients; c++) begin : gen_promises
    ReqStable: assert property (@(posedge clk_i) disable iff (!rst_ni || clients_reset_o)
        (req_valid_i[c] && !req_ready_o[c]) |=> (req_valid_i[c] && $stable(req_i[c])))
      else $error("a request was withdrawn or changed before it was taken");
  end

  // Tables, rings and fence values are in system memory.
  assign read_device[1:0]  = '0;
  assign write_device[1:0] = '0;

  // The MMU's writes need no tag: one at a time, or several that are answered in order.
  assign write_tag[1:0] = '0;

  hmm_mmu #(
    .VaBits            (VaBits),
    .Clients           (Clients),
    .TlbEntries        (TlbEntries),
    .SharedSets        (SharedSets),
    .SharedWays        (SharedWays),
    .LargeEntries      (LargeEntries),
    .DirectoryEntries  (DirectoryEntries),
    .TableEntries      (TableEntries),
    .ContextEntries    (ContextEntries),
    .Walks             (Walks),
    .FaultSlots        (FaultSlots),
    .FenceDepth        (FenceDepth)
  ) u_mmu (
    .clk_i,
    .rst_ni           (inner_rst_n),
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
    .status_o         (mmu_status),
    .events_o         (events),
    .req_valid_i      ({port_req_valid, engine_req_valid}),
    .req_ready_o      ({port_req_ready, engine_req_ready}),
    .req_i            ({req_i, engine_req}),
    .rsp_valid_o      ({port_rsp_valid, engine_rsp_valid}),
    .rsp_ready_i      ({rsp_ready_i, engine_rsp_ready}),
    .rsp_o            ({rsp_o, engine_rsp}),
    .rel_valid_i      ({rel_valid_i, engine_rel_valid}),
    .rel_id_i         ({rel_id_i, engine_rel_id}),
    .read_valid_o     (read_valid[1:0]),
    .read_ready_i     (read_ready[1:0]),
    .read_address_o   (read_address[1:0]),
    .read_tag_o       (read_tag[1:0]),
    .read_done_i      (read_done[1:0]),
    .read_done_tag_i  (read_done_tag),
    .read_line_i      (read_line),
    .read_error_i     (read_error),
    .write_valid_o    (write_valid[1:0]),
    .write_ready_i    (write_ready[1:0]),
    .write_address_o  (write_address[1:0]),
    .write_line_o     (write_line[1:0]),
    .write_strobe_o   (write_strobe[1:0]),
    .write_done_i     (write_done[1:0]),
    .write_error_i    (write_error),
    .probe_o
  );

  // ---- Memory bus -------------------------------------------------------------------------------

  logic arvalid, arready, awvalid, awready, wvalid, wready;

  hmm_read_mux #(
    .Readers (Readers)
  ) u_read_mux (
    .clk_i,
    .rst_ni         (inner_rst_n),
    .read_valid_i   (read_valid),
    .read_ready_o   (read_ready),
    .read_address_i (read_address),
    .read_device_i  (read_device),
    .read_tag_i     (read_tag),
    .read_done_o    (read_done),
    .read_done_tag_o (read_done_tag),
    .read_line_o    (read_line),
    .read_error_o   (read_error),
    .arvalid_o      (arvalid),
    .arready_i      (arready),
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
    .rst_ni          (inner_rst_n),
    .write_valid_i   (write_valid),
    .write_ready_o   (write_ready),
    .write_address_i (write_address),
    .write_device_i  (write_device),
    .write_line_i    (write_line),
    .write_strobe_i  (write_strobe),
    .write_tag_i     (write_tag),
    .write_done_o    (write_done),
    .write_done_tag_o (write_done_tag),
    .write_error_o   (write_error),
    .awvalid_o       (awvalid),
    .awready_i       (awready),
    .awid_o          (m_axi_awid_o),
    .awaddr_o        (m_axi_awaddr_o),
    .awuser_o        (m_axi_awuser_o),
    .wvalid_o        (wvalid),
    .wready_i        (wready),
    .wdata_o         (m_axi_wdata_o),
    .wstrb_o         (m_axi_wstrb_o),
    .bvalid_i        (m_axi_bvalid_i),
    .bready_o        (m_axi_bready_o),
    .bid_i           (m_axi_bid_i),
    .bresp_i         (m_axi_bresp_i)
  );

  hmm_soft_reset u_soft_reset (
    .clk_i,
    .rst_ni,
    .soft_reset_i    (soft_reset),
    .inner_rst_no    (inner_rst_n),
    .clients_reset_o,
    .inner_arvalid_i (arvalid),
    .inner_arready_o (arready),
    .inner_awvalid_i (awvalid),
    .inner_awready_o (awready),
    .inner_wvalid_i  (wvalid),
    .inner_wready_o  (wready),
    .arvalid_o       (m_axi_arvalid_o),
    .arready_i       (m_axi_arready_i),
    .rvalid_i        (m_axi_rvalid_i),
    .rready_i        (m_axi_rready_o),
    .rlast_i         (m_axi_rlast_i),
    .awvalid_o       (m_axi_awvalid_o),
    .awready_i       (m_axi_awready_i),
    .wvalid_o        (m_axi_wvalid_o),
    .wready_i        (m_axi_wready_i),
    .wlast_i         (m_axi_wlast_o),
    .bvalid_i        (m_axi_bvalid_i),
    .bready_i        (m_axi_bready_o)
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
    .rst_ni    (inner_rst_n),
    // In the order of the registers COUNTER_CYCLES to COUNTER_SHARED_HITS, the first in the lowest
    // bits.
    .events_i  ({8'(events.shared_hit), events.unrecorded, 8'(events.answer_ignored),
                 8'(events.replayed),
                 8'(events.merged), 8'(events.fault_published), 8'($countones(events.stalled)),
                 8'(events.walk_drop), 8'(events.fence_complete), 8'(events.invalidation),
                 8'($countones(events.aborted)), 8'(events.walk_read), 8'(events.walk_begin),
                 8'($countones(events.hit)), 8'($countones(events.request)), 8'd1}),
    .latch_i   (counter_latch),
    .latched_o (counters)
  );

  if (Clients < 2 || Clients > MaxClients) begin : gen_clients_check
    $error("Clients must be 2 to 8: the access engine is one of them");
  end

endmodule
