// SPDX-License-Identifier: Apache-2.0
// The MMU itself: client ports, translation caches, walks, faults, commands and fences, between
// plain register signals on one side and line reads and writes on the other. Does not hold
// registers and does not know AXI: hmm_device does.
// See docs/interface.md.

module hmm_mmu
  import hmm_structures_pkg::*;
  import hmm_pkg::*;
#(
  parameter int unsigned VaBits           = 48,
  parameter int unsigned Clients          = 2,
  parameter int unsigned TlbEntries       = 16,  // of each port
  parameter int unsigned SharedSets       = 64,
  parameter int unsigned SharedWays       = 4,   // lines of eight pages
  parameter int unsigned LargeEntries     = 16,
  parameter int unsigned DirectoryEntries = 64,
  parameter int unsigned TableEntries     = 8,
  parameter int unsigned ContextEntries   = 4,
  parameter int unsigned Walks            = 16,
  parameter int unsigned FaultSlots       = 64,
  parameter int unsigned FenceDepth       = 4
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
  // Line reads: 0 walks, 1 command ring
  output logic             [1:0]         read_valid_o,
  input  logic             [1:0]         read_ready_i,
  output pa_t              [1:0]         read_address_o,
  output tag_t             [1:0]         read_tag_o,
  input  logic             [1:0]         read_done_i,
  input  tag_t                           read_done_tag_i,
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

  localparam int unsigned Epochs    = FenceDepth + 1;
  localparam int unsigned EpochBits = $clog2(Epochs);
  localparam int unsigned WalkBits  = (Walks > 1) ? $clog2(Walks) : 1;
  localparam int unsigned PlaceBits = $clog2(FaultSlots + 1);

  // ---- Enable -----------------------------------------------------------------------------------

  logic [5:0] format_refused;
  logic       enabled, stopping, flush, quiesce;
  logic       ports_busy, faults_open, walk_busy, sweeping;

  hmm_format_check u_format_check (
    .format_i  (format_i),
    .refused_o (format_refused)
  );

  hmm_enable u_enable (
    .clk_i,
    .rst_ni,
    .enable_i   (enable_i),
    .refused_i  (format_refused),
    .busy_i     (ports_busy || faults_open || walk_busy || sweeping),
    .enabled_o  (enabled),
    .stopping_o (stopping),
    .locked_o   (status_o.locked),
    .flush_o    (flush),
    .refuse_o   (events_o.enable_refused),
    .refused_o  (status_o.refused)
  );

  assign status_o.enabled = enabled;

  // ---- Client ports -----------------------------------------------------------------------------

  invalidation_t                 invalidation;
  logic            [Clients-1:0] miss_valid, miss_ready, answer_valid;
  client_request_t [Clients-1:0] miss;
  client_request_t               answer_request;
  reason_e                       answer_reason;
  cached_t                       answer_cached, looked_cached;
  logic            [Clients-1:0] hit_valid, port_hit, port_aborted;
  client_request_t               hit_request;
  logic                          fence_valid, fence_ready;
  logic [EpochBits-1:0]          epoch;
  logic [Epochs-1:0]             epoch_open;

  hmm_ports #(
    .VaBits     (VaBits),
    .Clients    (Clients),
    .TlbEntries (TlbEntries),
    .Epochs     (Epochs)
  ) u_ports (
    .clk_i,
    .rst_ni,
    .enabled_i        (enabled && !quiesce),
    .flush_i          (flush),
    .invalidation_i   (invalidation),
    .context_count_i  (context_count_i),
    .req_valid_i,
    .req_ready_o,
    .req_i,
    .rsp_valid_o,
    .rsp_ready_i,
    .rsp_o,
    .rel_valid_i,
    .rel_id_i,
    .miss_valid_o     (miss_valid),
    .miss_ready_i     (miss_ready),
    .miss_o           (miss),
    .answer_valid_i   (answer_valid),
    .answer_request_i (answer_request),
    .answer_reason_i  (answer_reason),
    .answer_cached_i  (answer_cached),
    .hit_valid_i      (hit_valid),
    .hit_request_i    (hit_request),
    .hit_cached_i     (looked_cached),
    .close_epoch_i    (fence_valid && fence_ready),
    .epoch_o          (epoch),
    .epoch_open_o     (epoch_open),
    .busy_o           (ports_busy),
    .hit_o            (port_hit),
    .aborted_o        (port_aborted)
  );

  assign events_o.hit     = MaxClients'(port_hit);
  assign events_o.aborted = MaxClients'(port_aborted);
  assign events_o.request = MaxClients'(req_valid_i & req_ready_o);
  assign events_o.stalled = MaxClients'(req_valid_i) & ~MaxClients'(req_ready_o);

  // ---- Faults -----------------------------------------------------------------------------------

  answer_t              answer;
  logic                 lookup_valid, lookup_ready;
  logic [PlaceBits-1:0] lookup_place, looked_place;
  client_request_t      lookup_request;
  logic                 looked_hit, looked_hit_ready, looked_merge, looked_again, walk_start;
  logic [WalkBits-1:0]  looked_walk;
  logic                 hold_walks;
  logic                 walk_done;
  logic [WalkBits-1:0]  walk_done_index;
  logic [PlaceBits-1:0] walk_done_place;
  reason_e              walk_reason;
  cached_t              walk_cached;
  logic                 record_valid, record_taken, record_done, record_failed;
  fault_record_t        record;
  logic [31:0]          record_tag;
  logic [63:0]          timestamp_q, timestamp_d;
  logic                 walks_open, merged, replayed, answer_ignored, record_busy;

  assign timestamp_d = timestamp_q + 64'd1;

  always_ff @(posedge clk_i or negedge rst_ni) begin
    if (!rst_ni) timestamp_q <= '0;
    else         timestamp_q <= timestamp_d;
  end

  hmm_fault_buffer #(
    .Clients  (Clients),
    .Slots    (FaultSlots),
    .WalkBits (WalkBits)
  ) u_fault_buffer (
    .clk_i,
    .rst_ni,
    .wait_i             (fault_enable_i),
    .abandon_i          (stopping),
    .miss_valid_i       (miss_valid),
    .miss_ready_o       (miss_ready),
    .miss_i             (miss),
    .answer_valid_o     (answer_valid),
    .answer_request_o   (answer_request),
    .answer_reason_o    (answer_reason),
    .answer_cached_o    (answer_cached),
    .hit_valid_o        (hit_valid),
    .hit_request_o      (hit_request),
    .lookup_valid_o     (lookup_valid),
    .lookup_ready_i     (lookup_ready),
    .lookup_place_o     (lookup_place),
    .lookup_request_o   (lookup_request),
    .looked_place_i     (looked_place),
    .looked_hit_i       (looked_hit),
    .looked_hit_ready_o (looked_hit_ready),
    .looked_start_i     (walk_start),
    .looked_merge_i     (looked_merge),
    .looked_walk_i      (looked_walk),
    .looked_again_i     (looked_again),
    .hold_walks_o       (hold_walks),
    .walk_done_i        (walk_done),
    .walk_index_i       (walk_done_index),
    .walk_place_i       (walk_done_place),
    .walk_reason_i      (walk_reason),
    .walk_cached_i      (walk_cached),
    .record_valid_o     (record_valid),
    .record_o           (record),
    .record_taken_i     (record_taken),
    .record_done_i      (record_done),
    .record_failed_i    (record_failed),
    .record_tag_i       (record_tag),
    .answer_i           (answer),
    .answer_ignored_o   (answer_ignored),
    .timestamp_i        (timestamp_q),
    .busy_o             (faults_open),
    .walks_open_o       (walks_open),
    .waiting_o          (status_o.faults_waiting),
    .merged_o           (merged),
    .replayed_o         (replayed),
    .unrecorded_o       (events_o.unrecorded)
  );

  hmm_fault_recorder #(
    .Depth (FaultSlots)
  ) u_fault_recorder (
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

  // ---- Second-level cache and walks -------------------------------------------------------------

  logic [WalkBits:0] walks_dropped;
  logic [Walks-1:0]  stale_reads;

  hmm_second_level #(
    .VaBits           (VaBits),
    .Sets             (SharedSets),
    .Ways             (SharedWays),
    .LargeEntries     (LargeEntries),
    .Walks            (Walks),
    .DirectoryEntries (DirectoryEntries),
    .TableEntries     (TableEntries),
    .ContextEntries   (ContextEntries),
    .PlaceBits        (PlaceBits)
  ) u_second_level (
    .clk_i,
    .rst_ni,
    .format_i        (format_i),
    .context_base_i  (context_base_i),
    .context_count_i (context_count_i),
    .flush_i         (flush),
    .invalidation_i  (invalidation),
    .lookup_valid_i  (lookup_valid),
    .lookup_ready_o  (lookup_ready),
    .lookup_place_i  (lookup_place),
    .lookup_i        (lookup_request),
    .looked_place_o  (looked_place),
    .hit_o           (looked_hit),
    .hit_ready_i     (looked_hit_ready),
    .hit_cached_o    (looked_cached),
    .start_o         (walk_start),
    .merge_o         (looked_merge),
    .merge_walk_o    (looked_walk),
    .again_o         (looked_again),
    .hold_i          (hold_walks),
    .done_o          (walk_done),
    .done_walk_o     (walk_done_index),
    .done_place_o    (walk_done_place),
    .done_reason_o   (walk_reason),
    .done_cached_o   (walk_cached),
    .dropped_o       (walks_dropped),
    .stale_o         (stale_reads),
    .walking_o       (walk_busy),
    .sweeping_o      (sweeping),
    .read_valid_o    (read_valid_o[0]),
    .read_ready_i    (read_ready_i[0]),
    .read_address_o  (read_address_o[0]),
    .read_tag_o      (read_tag_o[0]),
    .read_done_i     (read_done_i[0]),
    .read_done_tag_i (read_done_tag_i),
    .read_line_i     (read_line_i),
    .read_error_i    (read_error_i)
  );

  // ---- Commands ---------------------------------------------------------------------------------

  logic     fence_busy, command_busy, command_execute;
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
    .sweeping_i     (sweeping),
    .read_valid_o   (read_valid_o[1]),
    .read_ready_i   (read_ready_i[1]),
    .read_address_o (read_address_o[1]),
    .read_tag_o     (read_tag_o[1]),
    .read_done_i    (read_done_i[1]),
    .read_done_tag_i (read_done_tag_i),
    .read_line_i    (read_line_i),
    .read_error_i   (read_error_i)
  );

  logic [63:0] next_fence_sequence, fence_value;
  hmm_fence #(
    .Walks     (Walks),
    .Depth     (FenceDepth),
    .Epochs    (Epochs),
    .EpochBits (EpochBits)
  ) u_fence (
    .clk_i,
    .rst_ni,
    .fence_valid_i   (fence_valid),
    .fence_ready_o   (fence_ready),
    .fence_i         (command),
    .epoch_i         (epoch),
    .epoch_open_i    (epoch_open),
    .stale_reads_i   (stale_reads),
    .sweeping_i      (sweeping),
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

  logic walk_read, fill;
  assign walk_read = read_valid_o[0] && read_ready_i[0];
  assign fill      = walk_done && (walk_reason == REASON_NONE);

  assign status_o.quiesced = quiesce;
  assign status_o.busy     = ports_busy || faults_open || walk_busy || fence_busy ||
                             command_busy || record_busy || sweeping;

  assign events_o.malformed_opcode = command.opcode;
  assign events_o.shared_hit       = looked_hit && looked_hit_ready;
  assign events_o.walk_begin       = 6'(walk_start) + 6'(walks_dropped);
  assign events_o.walk_read        = walk_read;
  assign events_o.walk_drop        = 6'(walks_dropped);
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
    walk_drop:         (walks_dropped != '0),
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
