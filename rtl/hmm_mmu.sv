// SPDX-License-Identifier: Apache-2.0
// The device MMU: translates virtual addresses of contexts through directories whose leaf tables are the pfns arrays
// that Linux HMM writes. One client port, one walk at a time, one translation cache.
// Faults are decided and answered ABORTED with their reason. See docs/interface.md.

module hmm_mmu
  import hmm_structures_pkg::*;
  import hmm_pkg::*;
#(
  parameter int unsigned VaBits         = 48,  // 48 or 57
  parameter int unsigned TlbEntries     = 16,
  parameter int unsigned ContextEntries = 4,
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
  input  logic                 m_axi_rvalid_i,
  output logic                 m_axi_rready_o,
  input  logic [AxiIdBits-1:0] m_axi_rid_i,
  input  line_t                m_axi_rdata_i,
  input  logic [1:0]           m_axi_rresp_i,
  input  logic                 m_axi_rlast_i,
  // Client port: request, response, release
  input  logic                 req_valid_i,
  output logic                 req_ready_o,
  input  client_request_t      req_i,
  output logic                 rsp_valid_o,
  input  logic                 rsp_ready_i,
  output client_response_t     rsp_o,
  input  logic                 rel_valid_i,
  input  id_t                  rel_id_i,
  // Interrupt lines
  output logic                 irq_o,
  output logic                 irq_edge_o,
  // For an observer
  output probe_t               probe_o
);

  localparam int unsigned Counters = 10;

  // ---- Registers -----------------------------------------------------------------------------------------------------

  logic                      enable, command_enable, counter_latch;
  entry_format_t             entry_format;
  logic [51:0]               context_base, command_base;
  logic [20:0]               context_count;
  logic [3:0]                command_log2;
  logic [31:0]               command_tail, command_head;
  logic                      locked, enabled, busy, command_active, command_halted;
  logic [5:0]                format_refused, last_refused;
  logic [63:0]               fence_sequence, next_fence_sequence;
  logic [Counters-1:0][63:0] counters;
  logic                      fence_complete, fence_interrupt, fence_bus_error, fence_busy;
  logic                      command_malformed, command_bus_error, command_overrun;
  logic                      enable_refused, flush;
  command_t                  command;
  logic                      command_execute;

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
    .enable_o            (enable),
    .command_enable_o    (command_enable),
    .format_o            (entry_format),
    .context_base_o      (context_base),
    .context_count_o     (context_count),
    .command_base_o      (command_base),
    .command_log2_o      (command_log2),
    .command_tail_o      (command_tail),
    .counter_latch_o     (counter_latch),
    .locked_i            (locked),
    .enabled_i           (enabled),
    .busy_i              (busy),
    .command_active_i    (command_active),
    .command_halted_i    (command_halted),
    .refused_i           (last_refused),
    .command_head_i      (command_head),
    .fence_sequence_i    (fence_sequence),
    .counters_i          (counters),
    .fence_interrupt_i   (fence_interrupt),
    .command_malformed_i (command_malformed),
    .malformed_index_i   (command_head),
    .malformed_opcode_i  (command.opcode),
    .command_bus_error_i (command_bus_error),
    .command_overrun_i   (command_overrun),
    .fence_bus_error_i   (fence_bus_error),
    .enable_refused_i    (enable_refused),
    .irq_o,
    .irq_edge_o
  );

  hmm_format_check u_format_check (
    .format_i  (entry_format),
    .refused_o (format_refused)
  );

  logic translate_busy, walk_busy;

  hmm_enable u_enable (
    .clk_i,
    .rst_ni,
    .enable_i  (enable),
    .refused_i (format_refused),
    .busy_i    (translate_busy || walk_busy),
    .enabled_o (enabled),
    .locked_o  (locked),
    .flush_o   (flush),
    .refuse_o  (enable_refused),
    .refused_o (last_refused)
  );

  // ---- Translation ---------------------------------------------------------------------------------------------------

  invalidation_t   invalidation;
  pasid_t          lookup_pasid;
  va_t             lookup_va;
  logic            lookup_hit, fill;
  translation_t    lookup_translation, walk_translation;
  logic            walk_start, walk_done, walk_drop, walk_stale_read;
  client_request_t walk_request;
  reason_e         walk_reason;
  logic [Ids-1:0]  grants;
  logic            hit, aborted;

  hmm_translate #(
    .VaBits (VaBits)
  ) u_translate (
    .clk_i,
    .rst_ni,
    .enabled_i            (enabled),
    .context_count_i      (context_count),
    .req_valid_i,
    .req_ready_o,
    .req_i,
    .rsp_valid_o,
    .rsp_ready_i,
    .rsp_o,
    .rel_valid_i,
    .rel_id_i,
    .lookup_pasid_o       (lookup_pasid),
    .lookup_va_o          (lookup_va),
    .lookup_hit_i         (lookup_hit),
    .lookup_translation_i (lookup_translation),
    .fill_o               (fill),
    .walk_start_o         (walk_start),
    .walk_request_o       (walk_request),
    .walk_done_i          (walk_done),
    .walk_reason_i        (walk_reason),
    .walk_translation_i   (walk_translation),
    .grants_o             (grants),
    .busy_o               (translate_busy),
    .hit_o                (hit),
    .aborted_o            (aborted)
  );

  hmm_tlb #(
    .VaBits  (VaBits),
    .Entries (TlbEntries)
  ) u_tlb (
    .clk_i,
    .rst_ni,
    .flush_i              (flush),
    .invalidation_i       (invalidation),
    .lookup_pasid_i       (lookup_pasid),
    .lookup_va_i          (lookup_va),
    .lookup_hit_o         (lookup_hit),
    .lookup_translation_o (lookup_translation),
    .fill_i               (fill),
    .fill_pasid_i         (walk_request.pasid),
    .fill_va_i            (walk_request.va),
    .fill_translation_i   (walk_translation)
  );

  logic  context_hit, context_fill;
  pa_t   context_root, context_fill_root;
  logic  walk_read_valid, walk_read_ready, walk_read_done;
  pa_t   walk_read_address;
  line_t read_line;
  logic  read_error;

  hmm_walker #(
    .VaBits (VaBits)
  ) u_walker (
    .clk_i,
    .rst_ni,
    .format_i            (entry_format),
    .context_base_i      (context_base),
    .invalidation_i      (invalidation),
    .start_i             (walk_start),
    .request_i           (walk_request),
    .done_o              (walk_done),
    .reason_o            (walk_reason),
    .translation_o       (walk_translation),
    .drop_o              (walk_drop),
    .busy_o              (walk_busy),
    .stale_read_o        (walk_stale_read),
    .context_hit_i       (context_hit),
    .context_root_i      (context_root),
    .context_fill_o      (context_fill),
    .context_fill_root_o (context_fill_root),
    .read_valid_o        (walk_read_valid),
    .read_ready_i        (walk_read_ready),
    .read_address_o      (walk_read_address),
    .read_done_i         (walk_read_done),
    .read_line_i         (read_line),
    .read_error_i        (read_error)
  );

  hmm_context_cache #(
    .Entries (ContextEntries)
  ) u_context_cache (
    .clk_i,
    .rst_ni,
    .flush_i        (flush),
    .invalidation_i (invalidation),
    .lookup_pasid_i (walk_request.pasid),
    .lookup_hit_o   (context_hit),
    .lookup_root_o  (context_root),
    .fill_i         (context_fill),
    .fill_pasid_i   (walk_request.pasid),
    .fill_root_i    (context_fill_root)
  );

  // ---- Commands ------------------------------------------------------------------------------------------------------

  logic fence_valid, fence_ready, command_busy;
  logic command_read_valid, command_read_ready, command_read_done;
  pa_t  command_read_address;

  hmm_command u_command (
    .clk_i,
    .rst_ni,
    .enable_i       (command_enable),
    .ring_base_i    (command_base),
    .ring_log2_i    (command_log2),
    .tail_i         (command_tail),
    .head_o         (command_head),
    .active_o       (command_active),
    .halted_o       (command_halted),
    .busy_o         (command_busy),
    .malformed_o    (command_malformed),
    .bus_error_o    (command_bus_error),
    .overrun_o      (command_overrun),
    .execute_o      (command_execute),
    .command_o      (command),
    .invalidation_o (invalidation),
    .fence_valid_o  (fence_valid),
    .fence_ready_i  (fence_ready),
    .read_valid_o   (command_read_valid),
    .read_ready_i   (command_read_ready),
    .read_address_o (command_read_address),
    .read_done_i    (command_read_done),
    .read_line_i    (read_line),
    .read_error_i   (read_error)
  );

  logic        fence_write_valid, fence_write_ready, fence_write_done, fence_write_error;
  pa_t         fence_write_address;
  logic [63:0] fence_write_data;

  hmm_fence #(
    .Depth (FenceDepth)
  ) u_fence (
    .clk_i,
    .rst_ni,
    .fence_valid_i   (fence_valid),
    .fence_ready_o   (fence_ready),
    .fence_i         (command),
    .grants_i        (grants),
    .rel_valid_i,
    .rel_id_i,
    .stale_read_i    (walk_stale_read),
    .complete_o      (fence_complete),
    .interrupt_o     (fence_interrupt),
    .bus_error_o     (fence_bus_error),
    .sequence_o      (fence_sequence),
    .next_sequence_o (next_fence_sequence),
    .busy_o          (fence_busy),
    .write_valid_o   (fence_write_valid),
    .write_ready_i   (fence_write_ready),
    .write_address_o (fence_write_address),
    .write_data_o    (fence_write_data),
    .write_done_i    (fence_write_done),
    .write_error_i   (fence_write_error)
  );

  // ---- Memory --------------------------------------------------------------------------------------------------------

  hmm_read_mux u_read_mux (
    .clk_i,
    .rst_ni,
    .walk_valid_i      (walk_read_valid),
    .walk_ready_o      (walk_read_ready),
    .walk_address_i    (walk_read_address),
    .walk_done_o       (walk_read_done),
    .command_valid_i   (command_read_valid),
    .command_ready_o   (command_read_ready),
    .command_address_i (command_read_address),
    .command_done_o    (command_read_done),
    .line_o            (read_line),
    .error_o           (read_error),
    .arvalid_o         (m_axi_arvalid_o),
    .arready_i         (m_axi_arready_i),
    .arid_o            (m_axi_arid_o),
    .araddr_o          (m_axi_araddr_o),
    .rvalid_i          (m_axi_rvalid_i),
    .rready_o          (m_axi_rready_o),
    .rid_i             (m_axi_rid_i),
    .rdata_i           (m_axi_rdata_i),
    .rresp_i           (m_axi_rresp_i),
    .rlast_i           (m_axi_rlast_i)
  );

  hmm_word_writer u_word_writer (
    .clk_i,
    .rst_ni,
    .write_valid_i   (fence_write_valid),
    .write_ready_o   (fence_write_ready),
    .write_address_i (fence_write_address),
    .write_data_i    (fence_write_data),
    .write_done_o    (fence_write_done),
    .write_error_o   (fence_write_error),
    .awvalid_o       (m_axi_awvalid_o),
    .awready_i       (m_axi_awready_i),
    .awaddr_o        (m_axi_awaddr_o),
    .wvalid_o        (m_axi_wvalid_o),
    .wready_i        (m_axi_wready_i),
    .wdata_o         (m_axi_wdata_o),
    .wstrb_o         (m_axi_wstrb_o),
    .bvalid_i        (m_axi_bvalid_i),
    .bready_o        (m_axi_bready_o),
    .bresp_i         (m_axi_bresp_i)
  );

  assign m_axi_awid_o    = '0;
  assign m_axi_awlen_o   = 8'd0;
  assign m_axi_awsize_o  = 3'd6;
  assign m_axi_awburst_o = 2'b01;
  assign m_axi_wlast_o   = 1'b1;
  assign m_axi_arlen_o   = 8'd0;
  assign m_axi_arsize_o  = 3'd6;
  assign m_axi_arburst_o = 2'b01;

  // ---- Events --------------------------------------------------------------------------------------------------------

  logic walk_read, walk_begin;

  assign walk_read  = walk_read_valid && walk_read_ready;
  assign walk_begin = walk_start || walk_drop;
  assign busy       = translate_busy || walk_busy || fence_busy || command_busy;

  hmm_counters #(
    .Counters (Counters)
  ) u_counters (
    .clk_i,
    .rst_ni,
    // In the order of the registers COUNTER_CYCLES to COUNTER_STALLED, the first in the lowest bit.
    .event_i   ({req_valid_i && !req_ready_o, walk_drop, fence_complete, invalidation.valid, aborted,
                 walk_read, walk_begin, hit, req_valid_i && req_ready_o, 1'b1}),
    .latch_i   (counter_latch),
    .latched_o (counters)
  );

  assign probe_o = '{
    command_valid:     command_execute,
    command_malformed: command_malformed,
    command_opcode:    command.opcode,
    command_index:     command_head,
    command_all:       command.all_contexts,
    command_pasid:     command.pasid,
    command_first:     command.first,
    command_last:      command.last,
    fence_valid:       fence_complete,
    fence_sequence:    next_fence_sequence,
    walk_start:        walk_start,
    walk_read:         walk_read,
    walk_done:         walk_done,
    walk_drop:         walk_drop,
    fill:              fill
  };

  logic unused_bid;
  assign unused_bid = ^m_axi_bid_i;

endmodule
