// SPDX-License-Identifier: Apache-2.0
// Puts plain signals around the generated register block: what the host set, what it can read, and
// the interrupt causes. Holds no state of its own but the first malformed command. See
// docs/registers.md.

module hmm_register_file
  import hmm_pkg::*;
#(
  parameter int unsigned VaBits         = 48,
  parameter int unsigned TlbEntries     = 16,
  parameter int unsigned ContextEntries = 4,
  parameter int unsigned FenceDepth     = 4,
  parameter int unsigned Counters       = 16
) (
  input  logic                      clk_i,
  input  logic                      rst_ni,       // of the bus interface
  input  logic                      inner_rst_ni, // of the registers
  // AXI4-Lite subordinate
  input  logic                      s_axil_awvalid_i,
  output logic                      s_axil_awready_o,
  input  logic [9:0]                s_axil_awaddr_i,
  input  logic [2:0]                s_axil_awprot_i,
  input  logic                      s_axil_wvalid_i,
  output logic                      s_axil_wready_o,
  input  logic [63:0]               s_axil_wdata_i,
  input  logic [7:0]                s_axil_wstrb_i,
  output logic                      s_axil_bvalid_o,
  input  logic                      s_axil_bready_i,
  output logic [1:0]                s_axil_bresp_o,
  input  logic                      s_axil_arvalid_i,
  output logic                      s_axil_arready_o,
  input  logic [9:0]                s_axil_araddr_i,
  input  logic [2:0]                s_axil_arprot_i,
  output logic                      s_axil_rvalid_o,
  input  logic                      s_axil_rready_i,
  output logic [63:0]               s_axil_rdata_o,
  output logic [1:0]                s_axil_rresp_o,
  // What the host set
  output logic                      soft_reset_o,
  output logic                      enable_o,
  output logic                      command_enable_o,
  output logic                      fault_enable_o,
  output entry_format_t             format_o,
  output logic [51:0]               context_base_o,
  output logic [20:0]               context_count_o,
  output logic [51:0]               command_base_o,
  output logic [3:0]                command_log2_o,
  output logic [31:0]               command_tail_o,
  output logic [51:0]               fault_base_o,
  output logic [3:0]                fault_log2_o,
  output logic [31:0]               fault_get_o,
  output logic                      engine_enable_o,
  output logic [51:0]               engine_base_o,
  output logic [3:0]                engine_log2_o,
  output logic [31:0]               engine_tail_o,
  output logic [51:0]               engine_completion_base_o,
  output logic                      counter_latch_o,
  // What it reads, and what sets a cause
  input  mmu_status_t               status_i,
  input  mmu_events_t               events_i,
  input  engine_status_t            engine_status_i,
  input  logic [Counters-1:0][63:0] counters_i,
  // Interrupt lines
  output logic                      irq_o,
  output logic                      irq_edge_o
);

  localparam int unsigned Causes = 14;

  hmm_regs_pkg::hmm_regs__in_t  to_registers;
  hmm_regs_pkg::hmm_regs__out_t from_registers;

  hmm_regs u_regs (
    .clk            (clk_i),
    .arst_n         (rst_ni),
    .field_rst_n    (inner_rst_ni),
    .s_axil_awready (s_axil_awready_o),
    .s_axil_awvalid (s_axil_awvalid_i),
    .s_axil_awaddr  (s_axil_awaddr_i),
    .s_axil_awprot  (s_axil_awprot_i),
    .s_axil_wready  (s_axil_wready_o),
    .s_axil_wvalid  (s_axil_wvalid_i),
    .s_axil_wdata   (s_axil_wdata_i),
    .s_axil_wstrb   (s_axil_wstrb_i),
    .s_axil_bready  (s_axil_bready_i),
    .s_axil_bvalid  (s_axil_bvalid_o),
    .s_axil_bresp   (s_axil_bresp_o),
    .s_axil_arready (s_axil_arready_o),
    .s_axil_arvalid (s_axil_arvalid_i),
    .s_axil_araddr  (s_axil_araddr_i),
    .s_axil_arprot  (s_axil_arprot_i),
    .s_axil_rready  (s_axil_rready_i),
    .s_axil_rvalid  (s_axil_rvalid_o),
    .s_axil_rdata   (s_axil_rdata_o),
    .s_axil_rresp   (s_axil_rresp_o),
    .hwif_in        (to_registers),
    .hwif_out       (from_registers)
  );

  // ---- What the host set ------------------------------------------------------------------------

  assign soft_reset_o     = from_registers.CONTROL.SOFT_RESET.value;
  assign enable_o         = from_registers.CONTROL.ENABLE.value;
  assign command_enable_o = from_registers.CONTROL.COMMAND_ENABLE.value;
  assign context_base_o   = {from_registers.CONTEXT_BASE.ADDRESS.value, 6'd0};
  assign context_count_o  = from_registers.CONTEXT_COUNT.COUNT.value;
  assign command_base_o   = {from_registers.COMMAND_BASE.ADDRESS.value, 6'd0};
  assign command_log2_o   = from_registers.COMMAND_SIZE.LOG2.value;
  assign command_tail_o   = from_registers.COMMAND_TAIL.INDEX.value;
  assign fault_enable_o   = from_registers.CONTROL.FAULT_ENABLE.value;
  assign fault_base_o     = {from_registers.FAULT_BASE.ADDRESS.value, 6'd0};
  assign fault_log2_o     = from_registers.FAULT_SIZE.LOG2.value;
  assign fault_get_o      = from_registers.FAULT_GET.INDEX.value;
  assign engine_enable_o  = from_registers.CONTROL.ENGINE_ENABLE.value;
  assign engine_base_o    = {from_registers.ENGINE_BASE.ADDRESS.value, 6'd0};
  assign engine_log2_o    = from_registers.ENGINE_SIZE.LOG2.value;
  assign engine_tail_o    = from_registers.ENGINE_TAIL.INDEX.value;
  assign engine_completion_base_o = {from_registers.ENGINE_COMPLETION_BASE.ADDRESS.value, 6'd0};
  assign counter_latch_o  = from_registers.COUNTER_LATCH.LATCH.value;

  assign format_o = '{
    valid:            from_registers.FORMAT_VALID.MASK.value,
    write:            from_registers.FORMAT_WRITE.MASK.value,
    error:            from_registers.FORMAT_ERROR.MASK.value,
    none:             from_registers.FORMAT_NONE.MASK.value,
    special:          from_registers.FORMAT_SPECIAL.MASK.value,
    device_private:   from_registers.FORMAT_DEVICE_PRIVATE.MASK.value,
    atomic:           from_registers.FORMAT_ATOMIC.MASK.value,
    error_value:      from_registers.FORMAT_ERROR_VALUE.VALUE.value,
    none_value:       from_registers.FORMAT_NONE_VALUE.VALUE.value,
    special_value:    from_registers.FORMAT_SPECIAL_VALUE.VALUE.value,
    error_is_value:   from_registers.FORMAT_LAYOUT.ERROR_IS_VALUE.value,
    none_is_value:    from_registers.FORMAT_LAYOUT.NONE_IS_VALUE.value,
    special_is_value: from_registers.FORMAT_LAYOUT.SPECIAL_IS_VALUE.value,
    pfn_shift:        from_registers.FORMAT_LAYOUT.PFN_SHIFT.value,
    pfn_width:        from_registers.FORMAT_LAYOUT.PFN_WIDTH.value,
    order_shift:      from_registers.FORMAT_LAYOUT.ORDER_SHIFT.value,
    order_width:      from_registers.FORMAT_LAYOUT.ORDER_WIDTH.value,
    window_base:      from_registers.WINDOW_BASE.PFN.value,
    window_count:     from_registers.WINDOW_COUNT.COUNT.value
  };

  // ---- The first malformed command --------------------------------------------------------------

  logic [31:0] malformed_index_q, malformed_index_d;
  logic [7:0]  malformed_opcode_q, malformed_opcode_d;
  logic        first_malformed;

  assign first_malformed    = events_i.command_malformed &&
                              !from_registers.INTERRUPT_CAUSE.COMMAND_MALFORMED.value;
  assign malformed_index_d  = first_malformed ? status_i.command_head : malformed_index_q;
  assign malformed_opcode_d = first_malformed ? events_i.malformed_opcode : malformed_opcode_q;

  always_ff @(posedge clk_i or negedge inner_rst_ni) begin
    if (!inner_rst_ni) begin
      malformed_index_q  <= '0;
      malformed_opcode_q <= '0;
    end else begin
      malformed_index_q  <= malformed_index_d;
      malformed_opcode_q <= malformed_opcode_d;
    end
  end

  // ---- What the host reads ----------------------------------------------------------------------

  always_comb begin
    to_registers.CAPABILITY.VA_BITS.next         = 8'(VaBits);
    to_registers.CAPABILITY.PA_BITS.next         = 8'(PaBits);
    to_registers.CAPABILITY.PASID_BITS.next      = 8'(PasidBits);
    to_registers.CAPABILITY.ID_BITS.next         = 8'(IdBits);
    to_registers.CAPABILITY.TLB_ENTRIES.next     = 16'(TlbEntries);
    to_registers.CAPABILITY.CONTEXT_ENTRIES.next = 8'(ContextEntries);
    to_registers.CAPABILITY.FENCE_DEPTH.next     = 8'(FenceDepth);

    to_registers.STATUS.ENABLED.next        = status_i.enabled;
    to_registers.STATUS.BUSY.next           = status_i.busy;
    to_registers.STATUS.COMMAND_ACTIVE.next = status_i.command_active;
    to_registers.STATUS.COMMAND_HALTED.next = status_i.command_halted;
    to_registers.STATUS.FAULT_ACTIVE.next   = status_i.fault_active;
    to_registers.STATUS.FAULT_HALTED.next   = status_i.fault_halted;
    to_registers.STATUS.QUIESCED.next       = status_i.quiesced;
    to_registers.STATUS.FAULTS_WAITING.next = status_i.faults_waiting;
    to_registers.STATUS.REFUSED.next        = status_i.refused;

    to_registers.INTERRUPT_CAUSE.FENCE_DONE.hwset        = events_i.fence_interrupt;
    to_registers.INTERRUPT_CAUSE.COMMAND_MALFORMED.hwset = events_i.command_malformed;
    to_registers.INTERRUPT_CAUSE.COMMAND_BUS_ERROR.hwset = events_i.command_bus_error;
    to_registers.INTERRUPT_CAUSE.COMMAND_OVERRUN.hwset   = events_i.command_overrun;
    to_registers.INTERRUPT_CAUSE.FENCE_BUS_ERROR.hwset   = events_i.fence_bus_error;
    to_registers.INTERRUPT_CAUSE.ENABLE_REFUSED.hwset    = events_i.enable_refused;

    to_registers.INTERRUPT_CAUSE.FAULT.hwset           = events_i.fault_published;
    to_registers.INTERRUPT_CAUSE.FAULT_FULL.hwset      = events_i.fault_full;
    to_registers.INTERRUPT_CAUSE.FAULT_OVERRUN.hwset   = events_i.fault_overrun;
    to_registers.INTERRUPT_CAUSE.FAULT_BUS_ERROR.hwset = events_i.fault_bus_error;

    to_registers.FAULT_PUT.INDEX.next = status_i.fault_put;

    to_registers.STATUS.ENGINE_ACTIVE.next              = engine_status_i.active;
    to_registers.STATUS.ENGINE_HALTED.next              = engine_status_i.halted;
    to_registers.INTERRUPT_CAUSE.ENGINE_DONE.hwset      = engine_status_i.done;
    to_registers.INTERRUPT_CAUSE.ENGINE_ERROR.hwset     = engine_status_i.error;
    to_registers.INTERRUPT_CAUSE.ENGINE_OVERRUN.hwset   = engine_status_i.overrun;
    to_registers.INTERRUPT_CAUSE.ENGINE_BUS_ERROR.hwset = engine_status_i.bus_error;
    to_registers.ENGINE_HEAD.INDEX.next                 = engine_status_i.head;

    to_registers.CONTEXT_BASE.ADDRESS.swwel = status_i.locked;
    to_registers.CONTEXT_COUNT.COUNT.swwel  = status_i.locked;
    to_registers.COMMAND_HEAD.INDEX.next    = status_i.command_head;
    to_registers.FENCE_SEQUENCE.COUNT.next  = status_i.fence_sequence;
    to_registers.COMMAND_ERROR.INDEX.next   = malformed_index_q;
    to_registers.COMMAND_ERROR.OPCODE.next  = malformed_opcode_q;

    to_registers.FORMAT_VALID.MASK.swwel             = status_i.locked;
    to_registers.FORMAT_WRITE.MASK.swwel             = status_i.locked;
    to_registers.FORMAT_ERROR.MASK.swwel             = status_i.locked;
    to_registers.FORMAT_NONE.MASK.swwel              = status_i.locked;
    to_registers.FORMAT_SPECIAL.MASK.swwel           = status_i.locked;
    to_registers.FORMAT_DEVICE_PRIVATE.MASK.swwel    = status_i.locked;
    to_registers.FORMAT_ATOMIC.MASK.swwel            = status_i.locked;
    to_registers.FORMAT_ERROR_VALUE.VALUE.swwel      = status_i.locked;
    to_registers.FORMAT_NONE_VALUE.VALUE.swwel       = status_i.locked;
    to_registers.FORMAT_SPECIAL_VALUE.VALUE.swwel    = status_i.locked;
    to_registers.FORMAT_LAYOUT.PFN_SHIFT.swwel       = status_i.locked;
    to_registers.FORMAT_LAYOUT.PFN_WIDTH.swwel       = status_i.locked;
    to_registers.FORMAT_LAYOUT.ORDER_SHIFT.swwel     = status_i.locked;
    to_registers.FORMAT_LAYOUT.ORDER_WIDTH.swwel     = status_i.locked;
    to_registers.FORMAT_LAYOUT.ERROR_IS_VALUE.swwel  = status_i.locked;
    to_registers.FORMAT_LAYOUT.NONE_IS_VALUE.swwel   = status_i.locked;
    to_registers.FORMAT_LAYOUT.SPECIAL_IS_VALUE.swwel = status_i.locked;
    to_registers.WINDOW_BASE.PFN.swwel               = status_i.locked;
    to_registers.WINDOW_COUNT.COUNT.swwel            = status_i.locked;

    to_registers.COUNTER_CYCLES.COUNT.next        = counters_i[0];
    to_registers.COUNTER_REQUESTS.COUNT.next      = counters_i[1];
    to_registers.COUNTER_HITS.COUNT.next          = counters_i[2];
    to_registers.COUNTER_WALKS.COUNT.next         = counters_i[3];
    to_registers.COUNTER_WALK_READS.COUNT.next    = counters_i[4];
    to_registers.COUNTER_ABORTED.COUNT.next       = counters_i[5];
    to_registers.COUNTER_INVALIDATIONS.COUNT.next = counters_i[6];
    to_registers.COUNTER_FENCES.COUNT.next        = counters_i[7];
    to_registers.COUNTER_DROPPED_WALKS.COUNT.next = counters_i[8];
    to_registers.COUNTER_STALLED.COUNT.next       = counters_i[9];
    to_registers.COUNTER_RECORDS.COUNT.next       = counters_i[10];
    to_registers.COUNTER_MERGED.COUNT.next        = counters_i[11];
    to_registers.COUNTER_REPLAYS.COUNT.next       = counters_i[12];
    to_registers.COUNTER_IGNORED.COUNT.next       = counters_i[13];
    to_registers.COUNTER_UNRECORDED.COUNT.next    = counters_i[14];
    to_registers.COUNTER_SHARED_HITS.COUNT.next   = counters_i[15];
  end

  // ---- Interrupts -------------------------------------------------------------------------------

  logic [Causes-1:0] cause, cause_written;

  assign cause = {
    from_registers.INTERRUPT_CAUSE.ENGINE_BUS_ERROR.value,
    from_registers.INTERRUPT_CAUSE.ENGINE_OVERRUN.value,
    from_registers.INTERRUPT_CAUSE.ENGINE_ERROR.value,
    from_registers.INTERRUPT_CAUSE.ENGINE_DONE.value,
    from_registers.INTERRUPT_CAUSE.FAULT_BUS_ERROR.value,
    from_registers.INTERRUPT_CAUSE.FAULT_OVERRUN.value,
    from_registers.INTERRUPT_CAUSE.FAULT_FULL.value,
    from_registers.INTERRUPT_CAUSE.FAULT.value,
    from_registers.INTERRUPT_CAUSE.ENABLE_REFUSED.value,
    from_registers.INTERRUPT_CAUSE.FENCE_BUS_ERROR.value,
    from_registers.INTERRUPT_CAUSE.COMMAND_OVERRUN.value,
    from_registers.INTERRUPT_CAUSE.COMMAND_BUS_ERROR.value,
    from_registers.INTERRUPT_CAUSE.COMMAND_MALFORMED.value,
    from_registers.INTERRUPT_CAUSE.FENCE_DONE.value
  };
  assign cause_written = {
    from_registers.INTERRUPT_CAUSE.ENGINE_BUS_ERROR.swmod,
    from_registers.INTERRUPT_CAUSE.ENGINE_OVERRUN.swmod,
    from_registers.INTERRUPT_CAUSE.ENGINE_ERROR.swmod,
    from_registers.INTERRUPT_CAUSE.ENGINE_DONE.swmod,
    from_registers.INTERRUPT_CAUSE.FAULT_BUS_ERROR.swmod,
    from_registers.INTERRUPT_CAUSE.FAULT_OVERRUN.swmod,
    from_registers.INTERRUPT_CAUSE.FAULT_FULL.swmod,
    from_registers.INTERRUPT_CAUSE.FAULT.swmod,
    from_registers.INTERRUPT_CAUSE.ENABLE_REFUSED.swmod,
    from_registers.INTERRUPT_CAUSE.FENCE_BUS_ERROR.swmod,
    from_registers.INTERRUPT_CAUSE.COMMAND_OVERRUN.swmod,
    from_registers.INTERRUPT_CAUSE.COMMAND_BUS_ERROR.swmod,
    from_registers.INTERRUPT_CAUSE.COMMAND_MALFORMED.swmod,
    from_registers.INTERRUPT_CAUSE.FENCE_DONE.swmod
  };

  hmm_interrupt #(
    .Causes (Causes)
  ) u_interrupt (
    .clk_i      (clk_i),
    .rst_ni     (inner_rst_ni),
    .cause_i    (cause),
    .enable_i   (from_registers.INTERRUPT_ENABLE.MASK.value),
    .clear_i    (cause_written != '0),
    .irq_o      (irq_o),
    .irq_edge_o (irq_edge_o)
  );

  logic unused_events;
  assign unused_events = ^events_i;

  if (Counters != 16) begin : gen_counters_check
    $error("the register map has 16 counters");
  end

endmodule
