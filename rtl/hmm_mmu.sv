// SPDX-License-Identifier: Apache-2.0
// The MMU itself: client ports, translation cache, walks, faults, commands and fences, between
// plain register signals on one side and line reads and writes on the other. Does not hold
// registers and does not know AXI: hmm_device does.
// See docs/interface.md.

module hmm_mmu
  import hmm_structures_pkg::*;
  import hmm_pkg::*;
#(
  parameter int unsigned VaBits         = 48,
  parameter int unsigned Clients        = 2,
  parameter int unsigned TlbEntries     = 16,
  parameter int unsigned ContextEntries = 4,
  parameter int unsigned FaultSlots     = 16,
  parameter int unsigned FenceDepth     = 4
) (
  input  logic                           clk_i,
  input  logic                           rst_ni,
  // What the host set
  input  logic                           enable_i,
  input  entry_format_t                  format_i,
  input  logic [51:0]                    context_base_i,
  input  logic [20:0]                    context_count_i,
  input  logic                           command_enable_i,
  input  logic [51:0]                    command_base_i,
  input  logic [3:0]                     command_log2_i,
  input  logic [31:0]                    command_tail_i,
  input  logic                           fault_enable_i,
  input  logic [51:0]                    fault_base_i,
  input  logic [3:0]                     fault_log2_i,
  input  logic [31:0]                    fault_get_i,
  // What it can read
  output mmu_status_t                    status_o,
  // Events, one cycle each
  output mmu_events_t                    events_o,
  // Client ports: request, response, release; 0 is the access engine
  input  logic             [Clients-1:0] req_valid_i,
  output logic             [Clients-1:0] req_ready_o,
  input  client_request_t  [Clients-1:0] req_i,
  output logic             [Clients-1:0] rsp_valid_o,
  input  logic             [Clients-1:0] rsp_ready_i,
  output client_response_t [Clients-1:0] rsp_o,
  input  logic             [Clients-1:0] rel_valid_i,
  input  id_t              [Clients-1:0] rel_id_i,
  // Line reads: 0 walker, 1 command ring
  output logic             [1:0]         read_valid_o,
  input  logic             [1:0]         read_ready_i,
  output pa_t              [1:0]         read_address_o,
  input  logic             [1:0]         read_done_i,
  input  line_t                          read_line_i,
  input  logic                           read_error_i,
  // Line writes: 0 fence values, 1 fault records
  output logic             [1:0]         write_valid_o,
  input  logic             [1:0]         write_ready_i,
  output pa_t              [1:0]         write_address_o,
  output line_t            [1:0]         write_line_o,
  output logic             [1:0][63:0]   write_strobe_o,
  input  logic             [1:0]         write_done_i,
  input  logic                           write_error_i,
  // For an observer
  output probe_t                         probe_o
);

  // ---- Enable -----------------------------------------------------------------------------------

  logic [5:0] format_refused;
  logic       enabled, stopping, flush, quiesce;
  logic       faults_open, walk_busy;

  logic [Clients-1:0] port_busy;

  hmm_format_check u_format_check (
    .format_i  (format_i),
    .refused_o (format_refused)
  );

  hmm_enable u_enable (
    .clk_i,
    .rst_ni,
    .enable_i   (enable_i),
    .refused_i  (format_refused),
    .busy_i     ((port_busy != '0) || faults_open || walk_busy),
    .enabled_o  (enabled),
    .stopping_o (stopping),
    .locked_o   (status_o.locked),
    .flush_o    (flush),
    .refuse_o   (events_o.enable_refused),
    .refused_o  (status_o.refused)
  );

  assign status_o.enabled = enabled;

  // ---- Client ports -----------------------------------------------------------------------------

  pasid_t          [Clients-1:0]          lookup_pasid;
  va_t             [Clients-1:0]          lookup_va;
  logic            [Clients-1:0]          lookup_hit;
  translation_t    [Clients-1:0]          lookup_translation;
  logic            [Clients-1:0]          miss_valid, miss_ready, answer_valid;
  client_request_t [Clients-1:0]          miss;
  client_request_t                        answer_request;
  reason_e                                answer_reason;
  translation_t                           answer_translation;
  logic            [Clients-1:0][Ids-1:0] grants;

  for (genvar c = 0; c < Clients; c++) begin : gen_port
    hmm_translate #(
      .VaBits (VaBits)
    ) u_translate (
      .clk_i,
      .rst_ni,
      .enabled_i            (enabled && !quiesce),
      .context_count_i      (context_count_i),
      .req_valid_i          (req_valid_i[c]),
      .req_ready_o          (req_ready_o[c]),
      .req_i                (req_i[c]),
      .rsp_valid_o          (rsp_valid_o[c]),
      .rsp_ready_i          (rsp_ready_i[c]),
      .rsp_o                (rsp_o[c]),
      .rel_valid_i          (rel_valid_i[c]),
      .rel_id_i             (rel_id_i[c]),
      .lookup_pasid_o       (lookup_pasid[c]),
      .lookup_va_o          (lookup_va[c]),
      .lookup_hit_i         (lookup_hit[c]),
      .lookup_translation_i (lookup_translation[c]),
      .miss_valid_o         (miss_valid[c]),
      .miss_ready_i         (miss_ready[c]),
      .miss_o               (miss[c]),
      .answer_valid_i       (answer_valid[c]),
      .answer_request_i     (answer_request),
      .answer_reason_i      (answer_reason),
      .answer_translation_i (answer_translation),
      .grants_o             (grants[c]),
      .busy_o               (port_busy[c]),
      .hit_o                (events_o.hit[c]),
      .aborted_o            (events_o.aborted[c])
    );

    assign events_o.request[c] = req_valid_i[c] && req_ready_o[c];
    assign events_o.stalled[c] = req_valid_i[c] && !req_ready_o[c];
  end

  for (genvar c = Clients; c < MaxClients; c++) begin : gen_no_port
    assign events_o.hit[c]     = 1'b0;
    assign events_o.aborted[c] = 1'b0;
    assign events_o.request[c] = 1'b0;
    assign events_o.stalled[c] = 1'b0;
  end

  // ---- Faults -----------------------------------------------------------------------------------

  answer_t         answer;
  client_request_t walk_request;
  logic            walk_start, walk_done, walk_drop, walk_stale_read;
  reason_e         walk_reason;
  translation_t    walk_translation;
  logic            record_valid, record_taken, record_done, record_failed;
  fault_record_t   record;
  logic [31:0]     record_tag;
  logic [63:0]     timestamp_q, timestamp_d;
  logic            walks_open, merged, replayed, answer_ignored;

  assign timestamp_d = timestamp_q + 64'd1;

  always_ff @(posedge clk_i or negedge rst_ni) begin
    if (!rst_ni) timestamp_q <= '0;
    else         timestamp_q <= timestamp_d;
  end

  hmm_fault_buffer #(
    .Clients (Clients),
    .Slots   (FaultSlots)
  ) u_fault_buffer (
    .clk_i,
    .rst_ni,
    .wait_i               (fault_enable_i),
    .abandon_i            (stopping),
    .miss_valid_i         (miss_valid),
    .miss_ready_o         (miss_ready),
    .miss_i               (miss),
    .answer_valid_o       (answer_valid),
    .answer_request_o     (answer_request),
    .answer_reason_o      (answer_reason),
    .answer_translation_o (answer_translation),
    .walk_start_o         (walk_start),
    .walk_request_o       (walk_request),
    .walk_busy_i          (walk_busy),
    .walk_done_i          (walk_done),
    .walk_reason_i        (walk_reason),
    .walk_translation_i   (walk_translation),
    .record_valid_o       (record_valid),
    .record_o             (record),
    .record_taken_i       (record_taken),
    .record_done_i        (record_done),
    .record_failed_i      (record_failed),
    .answer_i             (answer),
    .answer_ignored_o     (answer_ignored),
    .timestamp_i          (timestamp_q),
    .busy_o               (faults_open),
    .walks_open_o         (walks_open),
    .waiting_o            (status_o.faults_waiting),
    .merged_o             (merged),
    .replayed_o           (replayed),
    .unrecorded_o         (events_o.unrecorded)
  );

  logic record_busy;

  hmm_fault_recorder u_fault_recorder (
    .clk_i,
    .rst_ni,
    .enable_i        (fault_enable_i),
    .ring_base_i     (fault_base_i),
    .ring_log2_i     (fault_log2_i),
    .get_i           (fault_get_i),
    .put_o           (status_o.fault_put),
    .active_o        (status_o.fault_active),
    .halted_o        (status_o.fault_halted),
    .published_o     (events_o.fault_published),
    .full_o          (events_o.fault_full),
    .overrun_o       (events_o.fault_overrun),
    .bus_error_o     (events_o.fault_bus_error),
    .record_valid_i  (record_valid),
    .record_i        (record),
    .record_taken_o  (record_taken),
    .record_done_o   (record_done),
    .record_failed_o (record_failed),
    .record_tag_o    (record_tag),
    .busy_o          (record_busy),
    .write_valid_o   (write_valid_o[1]),
    .write_ready_i   (write_ready_i[1]),
    .write_address_o (write_address_o[1]),
    .write_line_o    (write_line_o[1]),
    .write_strobe_o  (write_strobe_o[1]),
    .write_done_i    (write_done_i[1]),
    .write_error_i   (write_error_i)
  );

  // ---- Translation ------------------------------------------------------------------------------

  invalidation_t invalidation;
  logic          fill;

  assign fill = walk_done && (walk_reason == REASON_NONE);

  hmm_tlb #(
    .VaBits  (VaBits),
    .Clients (Clients),
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

  logic context_hit, context_fill;
  pa_t  context_root, context_fill_root;

  hmm_walker #(
    .VaBits (VaBits)
  ) u_walker (
    .clk_i,
    .rst_ni,
    .format_i            (format_i),
    .context_base_i      (context_base_i),
    .context_count_i     (context_count_i),
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
    .read_valid_o        (read_valid_o[0]),
    .read_ready_i        (read_ready_i[0]),
    .read_address_o      (read_address_o[0]),
    .read_done_i         (read_done_i[0]),
    .read_line_i         (read_line_i),
    .read_error_i        (read_error_i)
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

  // ---- Commands ---------------------------------------------------------------------------------

  logic     fence_valid, fence_ready, fence_busy, command_busy, command_execute;
  command_t command;

  hmm_command u_command (
    .clk_i,
    .rst_ni,
    .enable_i       (command_enable_i),
    .ring_base_i    (command_base_i),
    .ring_log2_i    (command_log2_i),
    .tail_i         (command_tail_i),
    .head_o         (status_o.command_head),
    .active_o       (status_o.command_active),
    .halted_o       (status_o.command_halted),
    .busy_o         (command_busy),
    .malformed_o    (events_o.command_malformed),
    .bus_error_o    (events_o.command_bus_error),
    .overrun_o      (events_o.command_overrun),
    .execute_o      (command_execute),
    .command_o      (command),
    .invalidation_o (invalidation),
    .answer_o       (answer),
    .quiesce_o      (quiesce),
    .fence_valid_o  (fence_valid),
    .fence_ready_i  (fence_ready),
    .read_valid_o   (read_valid_o[1]),
    .read_ready_i   (read_ready_i[1]),
    .read_address_o (read_address_o[1]),
    .read_done_i    (read_done_i[1]),
    .read_line_i    (read_line_i),
    .read_error_i   (read_error_i)
  );

  logic [63:0] next_fence_sequence, fence_value;

  hmm_fence #(
    .Clients (Clients),
    .Depth   (FenceDepth)
  ) u_fence (
    .clk_i,
    .rst_ni,
    .fence_valid_i   (fence_valid),
    .fence_ready_o   (fence_ready),
    .fence_i         (command),
    .grants_i        (grants),
    .stale_read_i    (walk_stale_read),
    .quiesce_i       (quiesce),
    .walks_open_i    (walks_open || (miss_valid != '0 && miss_ready != '0)),
    .complete_o      (events_o.fence_complete),
    .interrupt_o     (events_o.fence_interrupt),
    .bus_error_o     (events_o.fence_bus_error),
    .sequence_o      (status_o.fence_sequence),
    .next_sequence_o (next_fence_sequence),
    .busy_o          (fence_busy),
    .write_valid_o   (write_valid_o[0]),
    .write_ready_i   (write_ready_i[0]),
    .write_address_o (write_address_o[0]),
    .write_data_o    (fence_value),
    .write_done_i    (write_done_i[0]),
    .write_error_i   (write_error_i)
  );

  assign write_line_o[0]   = {(LineBits / 64) {fence_value}};
  assign write_strobe_o[0] = 64'hff << {write_address_o[0][5:3], 3'd0};

  // ---- Events -----------------------------------------------------------------------------------

  logic walk_read;

  assign walk_read = read_valid_o[0] && read_ready_i[0];

  assign status_o.quiesced = quiesce;
  assign status_o.busy     = (port_busy != '0) || faults_open || walk_busy || fence_busy ||
                             command_busy || record_busy;

  assign events_o.malformed_opcode = command.opcode;
  assign events_o.walk_begin       = walk_start || walk_drop;
  assign events_o.walk_read        = walk_read;
  assign events_o.walk_drop        = walk_drop;
  assign events_o.invalidation     = invalidation.valid;
  assign events_o.merged           = merged;
  assign events_o.replayed         = replayed;
  assign events_o.answer_ignored   = answer_ignored;

  assign probe_o = '{
    command_valid:     command_execute,
    command_malformed: events_o.command_malformed,
    command_opcode:    command.opcode,
    command_index:     status_o.command_head,
    command_all:       command.all_contexts,
    command_pasid:     command.pasid,
    command_first:     command.first,
    command_last:      command.last,
    fence_valid:       events_o.fence_complete,
    fence_sequence:    next_fence_sequence,
    walk_start:        walk_start,
    walk_read:         walk_read,
    walk_done:         walk_done,
    walk_drop:         walk_drop,
    fill:              fill,
    record_valid:      record_done,
    record_tag:        record_tag,
    merged:            merged,
    replayed:          replayed,
    answer_ignored:    answer_ignored,
    engine_request:    req_valid_i[0] && req_ready_o[0],
    engine_asked:      req_i[0],
    engine_response:   rsp_valid_o[0] && rsp_ready_i[0],
    engine_answer:     rsp_o[0],
    engine_release:    rel_valid_i[0],
    engine_released:   rel_id_i[0],
    lookup_hit:        (events_o.hit != '0),
    lookup_miss:       ((miss_valid & miss_ready) != '0),
    enable:            enable_i,
    command_tail:      command_tail_i,
    fault_get:         fault_get_i,
    fault_put:         status_o.fault_put
  };

  if (Clients < 1 || Clients > MaxClients) begin : gen_clients_check
    $error("Clients must be 1 to 8");
  end

endmodule
