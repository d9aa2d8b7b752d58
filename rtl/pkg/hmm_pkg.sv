// SPDX-License-Identifier: Apache-2.0
// Widths, types and small functions that every unit of the device MMU shares.
// Does not hold the structures in memory: those are generated into hmm_structures_pkg.
// See docs/interface.md.

package hmm_pkg;
  import hmm_structures_pkg::*;

  // Widths that are the same in every instance.
  localparam int unsigned PaBits    = 48;  // bus address
  localparam int unsigned PasidBits = 20;
  localparam int unsigned IdBits    = 5;   // request id
  localparam int unsigned Ids       = 1 << IdBits;
  localparam int unsigned LineBits  = 512;  // one beat of the memory bus: 8 entries
  localparam int unsigned TagBits   = 5;   // tells the accesses of one reader or writer apart
  localparam int unsigned SourceBits = 2;  // a reader or a writer of the memory bus
  localparam int unsigned AxiIdBits = SourceBits + TagBits;  // {source, tag}
  localparam int unsigned PageShift = 12;  // order and pfn always count 4 KiB pages
  localparam int unsigned PfnBits   = PaBits - PageShift;
  localparam int unsigned MaxClients = 8;
  localparam int unsigned LevelBits = 9;   // virtual address bits that one directory translates

  typedef logic [63:0]          va_t;
  typedef logic [PaBits-1:0]    pa_t;
  typedef logic [PfnBits-1:0]   pfn_t;
  typedef logic [PasidBits-1:0] pasid_t;
  typedef logic [IdBits-1:0]    id_t;
  typedef logic [TagBits-1:0]   tag_t;
  typedef logic [5:0]           order_t;
  typedef logic [LineBits-1:0]  line_t;

  typedef enum logic {
    MEMORY_SYSTEM = 1'b0,
    MEMORY_DEVICE = 1'b1
  } memory_e;

  typedef enum logic {
    STATUS_OK      = 1'b0,
    STATUS_ABORTED = 1'b1
  } status_e;

  typedef struct packed {
    id_t     id;
    pasid_t  pasid;
    va_t     va;
    access_e access;
  } client_request_t;

  typedef struct packed {
    id_t     id;
    status_e status;
    reason_e reason;
    pa_t     pa;
    order_t  order;
    logic    write;
    logic    atomic;
    memory_e memory;
  } client_response_t;

  // What gives an entry its meaning; the FORMAT and WINDOW registers.
  typedef struct packed {
    logic [63:0] valid;
    logic [63:0] write;
    logic [63:0] error;
    logic [63:0] none;
    logic [63:0] special;
    logic [63:0] device_private;
    logic [63:0] atomic;
    logic [63:0] error_value;
    logic [63:0] none_value;
    logic [63:0] special_value;
    logic        error_is_value;
    logic        none_is_value;
    logic        special_is_value;
    logic [5:0]  pfn_shift;
    logic [6:0]  pfn_width;
    logic [5:0]  order_shift;
    logic [4:0]  order_width;
    logic [51:0] window_base;
    logic [35:0] window_count;
  } entry_format_t;

  // A block of 2^order pages that one entry translates. `base` is the first page of the block.
  typedef struct packed {
    pfn_t    base;
    order_t  order;
    logic    write;
    logic    atomic;
    memory_e memory;
  } translation_t;

  // What a cache keeps of translations: 2^reach pages that lie side by side in the bus's memory, from
  // page `base` on. `order` is what an answer says of each; it is never above `reach`.
  typedef struct packed {
    pfn_t    base;
    order_t  reach;
    order_t  order;
    logic    write;
    logic    atomic;
    memory_e memory;
  } cached_t;

  // One page of a line of eight neighbours; its pfn is its own, not its block's.
  typedef struct packed {
    logic       valid;
    pfn_t       pfn;
    logic [1:0] order;
    logic       write;
    logic       atomic;
    memory_e    memory;
  } line_slot_t;

  typedef line_slot_t [7:0] line_slots_t;

  localparam int unsigned LineOrder = 3;  // a line holds 2^3 slots
  localparam int unsigned LineShift = PageShift + LineOrder;  // of a line of 4 KiB slots

  // Where a walk reads next.
  typedef enum logic [1:0] {
    PointerContext,    // an entry of the context table
    PointerDirectory,  // an entry of a directory
    PointerArray       // a slot of a pfns array
  } pointer_e;

  typedef struct packed {
    pointer_e   kind;
    logic [2:0] level;       // of the directory; of the directory entry that points to the array
    pa_t        base;        // of the table, the directory or the array
    logic [5:0] page_shift;  // of the array
    logic [4:0] max_order;   // of the array
  } pointer_t;

  typedef enum logic [2:0] {
    WalkFree,
    WalkStart,  // looks where to begin
    WalkIssue,  // has an address for the bus
    WalkWait,   // waits for data: of its own read or of its leader's
    WalkLine,   // its line of the array is here
    WalkEnded   // has a reason, waits for its turn to tell it
  } walk_state_e;

  // One walk in flight, for one request.
  typedef struct packed {
    walk_state_e state;
    logic [7:0]  place;      // of the request, in the fault buffer
    pasid_t      pasid;
    va_t         va;
    access_e     access;
    logic        dropped;    // an invalidation reached it: read on, use nothing
    logic        page_only;  // one reached its neighbours: trust its page alone
    tag_t        leader;     // the walk whose read it waits for
    logic        late;       // that read was on its way before
    logic        alone;      // it follows nobody
    pointer_t    pointer;
    logic [2:0]  word;       // of the line that is being read
    logic        root_new;   // the context was read, not found in the cache
    pa_t         root;
    logic        array_new;  // so was the directory entry of the array
    logic        table_new;  // and it stands in this directory
    pa_t         table_base;
    reason_e     reason;
  } walk_t;

  // What a place of the fault buffer is doing.
  typedef enum logic [3:0] {
    PlaceFree,
    PlaceLookup,     // wants to be looked up
    PlaceLooking,    // is being looked up
    PlaceWalk,       // is being walked
    PlaceLine,       // waits for the walk of its line, then looks again
    PlaceFault,      // leads a fault that is not recorded yet
    PlaceRecording,  // leads a fault whose record is being written
    PlaceWaiting,    // leads a fault that waits for its answer
    PlaceMerged,     // waits under another place's tag
    PlaceReport,     // answered; only its record is still owed
    PlaceReporting,  // answered; its record is being written
    PlaceAbort       // to be answered ABORTED
  } place_e;

  // One invalidation in the cycle in which it takes effect.
  typedef struct packed {
    logic   valid;
    logic   drop_range;    // translations of [first, last]
    logic   drop_context;  // the cached context entry, and every walk of the context
    logic   all_contexts;
    pasid_t pasid;
    va_t    first;
    va_t    last;
  } invalidation_t;

  typedef enum logic [1:0] {
    AnswerReplayAll,
    AnswerResume,
    AnswerCancel,
    AnswerGiveUp  // UNBIND: nobody will answer
  } answer_e;

  // One answer of the host to faults, in the cycle in which it takes effect.
  typedef struct packed {
    logic        valid;
    answer_e     kind;
    logic        cancel;  // RESUME: abort
    logic [31:0] tag;
    pasid_t      pasid;
    access_e     access;
    va_t         first;
    va_t         last;
  } answer_t;

  // What the host can read of the MMU.
  typedef struct packed {
    logic        locked;  // format and context table must not change
    logic        enabled;
    logic        busy;
    logic        quiesced;
    logic        faults_waiting;
    logic [5:0]  refused;
    logic        command_active;
    logic        command_halted;
    logic [31:0] command_head;
    logic        fault_active;
    logic        fault_halted;
    logic [31:0] fault_put;
    logic [63:0] fence_sequence;
  } mmu_status_t;

  // What causes and counters are made of; one cycle each, one bit a client where there are several.
  typedef struct packed {
    logic                  enable_refused;
    logic                  command_malformed;
    logic [7:0]            malformed_opcode;
    logic                  command_bus_error;
    logic                  command_overrun;
    logic                  fence_complete;
    logic                  fence_interrupt;
    logic                  fence_bus_error;
    logic                  fault_published;
    logic                  fault_full;
    logic                  fault_overrun;
    logic                  fault_bus_error;
    logic [MaxClients-1:0] request;
    logic [MaxClients-1:0] stalled;
    logic [MaxClients-1:0] hit;         // of a port's own cache
    logic                  shared_hit;  // of the second-level cache
    logic [MaxClients-1:0] aborted;
    logic [5:0]            walk_begin;  // how many
    logic                  walk_read;
    logic [5:0]            walk_drop;   // how many
    logic                  invalidation;
    logic                  merged;
    logic                  replayed;
    logic                  answer_ignored;
    logic [7:0]            unrecorded;
  } mmu_events_t;

  // What the host can read of the access engine, and its causes, one cycle each.
  typedef struct packed {
    logic        active;
    logic        halted;
    logic [31:0] head;
    logic        done;
    logic        error;
    logic        overrun;
    logic        bus_error;
  } engine_status_t;

  // What happens inside, for an observer; no logic of the device depends on it.
  typedef struct packed {
    logic        command_valid;
    logic        command_malformed;
    logic [7:0]  command_opcode;
    logic [31:0] command_index;
    logic        command_all;
    pasid_t      command_pasid;
    va_t         command_first;
    va_t         command_last;
    logic        fence_valid;
    logic [63:0] fence_sequence;
    logic        walk_start;
    logic        walk_read;
    logic        walk_done;
    logic        walk_drop;
    logic        fill;
    logic        record_valid;  // a fault record is in memory
    logic [31:0] record_tag;
    logic        merged;
    logic        replayed;
    logic        answer_ignored;
    // The access engine's client port
    logic             engine_request;  // taken
    client_request_t  engine_asked;
    logic             engine_response;
    client_response_t engine_answer;
    logic             engine_release;
    id_t              engine_released;
    // Requests that are answered from the cache, or go to be walked
    logic             lookup_hit;
    logic             lookup_miss;
    logic             shared_hit;  // answered from the second-level cache
    // What the host set, in the first cycle in which it counts
    logic             enable;
    logic [31:0]      command_tail;
    logic [31:0]      fault_get;
    logic [31:0]      fault_put;
  } probe_t;

  // Pages that one entry of a directory of this level spans, as an order.
  function automatic order_t span_order(logic [2:0] level);
    return order_t'(level * LevelBits);
  endfunction

  // The page of the bus's memory that a cached block gives for an address.
  function automatic pfn_t cached_pfn(cached_t cached, va_t va);
    return cached.base + (pfn_t'(va[63:12]) & pfn_t'(low_ones({1'b0, cached.reach})));
  endfunction

  // Whether an invalidation of translations reaches a byte from first to last of a context.
  function automatic logic invalidates(invalidation_t invalidation, pasid_t pasid, va_t first,
                                       va_t last);
    return invalidation.valid && invalidation.drop_range &&
           (invalidation.all_contexts || (invalidation.pasid == pasid)) &&
           (first <= invalidation.last) && (last >= invalidation.first);
  endfunction

  // The same for the line of eight 4 KiB pages around an address.
  function automatic logic invalidates_line(invalidation_t invalidation, pasid_t pasid, va_t va);
    return invalidates(invalidation, pasid, {va[63:LineShift], LineShift'(0)},
                       {va[63:LineShift], {LineShift{1'b1}}});
  endfunction

  // The `count` lowest bits set; all of them from 64 on.
  function automatic logic [63:0] low_ones(logic [6:0] count);
    return count[6] ? '1 : (64'd1 << count[5:0]) - 64'd1;
  endfunction

  // A mask that is zero never matches.
  function automatic logic mask_matches(logic [63:0] entry, logic [63:0] mask);
    return (mask != 64'd0) && ((entry & mask) == mask);
  endfunction

  // Why a valid translation does not permit an access.
  //   access            write  atomic | reason
  //   READ, PREFETCH      -      -    | NONE
  //   WRITE               0      -    | WRITE_PROTECT
  //   WRITE               1      -    | NONE
  //   ATOMIC              0      -    | WRITE_PROTECT
  //   ATOMIC              1      0    | ATOMIC_DENIED
  //   ATOMIC              1      1    | NONE
  function automatic reason_e permission_reason(access_e access, logic write, logic atomic);
    unique case (access)
      ACCESS_READ, ACCESS_PREFETCH: return REASON_NONE;
      ACCESS_WRITE:                 return write ? REASON_NONE : REASON_WRITE_PROTECT;
      ACCESS_ATOMIC: begin
        if (!write) return REASON_WRITE_PROTECT;
        return atomic ? REASON_NONE : REASON_ATOMIC_DENIED;
      end
    endcase
  endfunction

endpackage
