// SPDX-License-Identifier: Apache-2.0
// Types of the testbench's side of the device: what the adapter offers, and what a case's records
// hold.

package tb_pkg;

  localparam int unsigned IdWidth       = 5;
  localparam int unsigned Ids           = 1 << IdWidth;
  localparam int unsigned PasidWidth    = 20;
  localparam int unsigned PaWidth       = 48;
  localparam int unsigned LineWidth     = 512;
  localparam int unsigned AxiIdWidth    = 7;
  localparam int unsigned RegisterWidth = 10;  // of a register's byte offset

  typedef logic [63:0]           cycle_t;
  typedef logic [31:0]           count_t;
  typedef logic [IdWidth-1:0]    id_t;
  typedef logic [PasidWidth-1:0] pasid_t;
  typedef logic [PaWidth-1:0]    pa_t;
  typedef logic [LineWidth-1:0]  line_t;

  typedef enum logic [1:0] {
    ACCESS_READ     = 2'd0,
    ACCESS_WRITE    = 2'd1,
    ACCESS_ATOMIC   = 2'd2,
    ACCESS_PREFETCH = 2'd3  // never begins a grant
  } access_e;

  // Client port
  typedef struct packed {
    id_t         id;
    pasid_t      pasid;
    logic [63:0] va;
    access_e     access;
  } request_t;

  typedef struct packed {
    id_t        id;
    logic       aborted;
    logic [3:0] reason;
    pa_t        pa;
    logic [5:0] order;
    logic       write;
    logic       atomic;
    logic       memory;
  } response_t;

  // What tb_fetch_request returns.
  typedef enum logic [7:0] {
    FETCH_NONE = 8'd0,  // nothing for now
    FETCH_ROW  = 8'd1,  // a request
    FETCH_END  = 8'd2   // nothing any more until the next reset
  } fetch_e;

  // AXI4-Lite, 64-bit data
  typedef struct packed {
    logic [63:0] data;
    logic [7:0]  strb;
  } axil_w_t;

  typedef struct packed {
    logic [63:0] data;
    logic [1:0]  resp;
  } axil_r_t;

  // AXI4, one line a beat. Read and write addresses look the same.
  typedef struct packed {
    logic [AxiIdWidth-1:0] id;
    pa_t                   addr;
    logic [7:0]            len;
    logic [2:0]            size;
    logic [1:0]            burst;
    logic                  user;  // the device's own memory
  } axi_a_t;

  typedef struct packed {
    line_t                data;
    logic [LineWidth/8-1:0] strb;
    logic                 last;
  } axi_w_t;

  typedef struct packed {
    logic [AxiIdWidth-1:0] id;
    logic [1:0]            resp;
  } axi_b_t;

  typedef struct packed {
    logic [AxiIdWidth-1:0] id;
    line_t                 data;
    logic [1:0]            resp;
    logic                  last;
  } axi_r_t;

  // Client port and registers as driven by pins.
  typedef struct packed {
    logic                     client;  // pins drive the client port
    logic                     req_valid;
    request_t                 req;
    logic                     rsp_ready;
    logic                     rel_valid;
    id_t                      rel_id;
    logic                     axil;  // pins drive the registers
    logic                     aw_valid;
    logic [RegisterWidth-1:0] aw_addr;
    logic                     w_valid;
    axil_w_t                  w;
    logic                     b_ready;
    logic                     ar_valid;
    logic [RegisterWidth-1:0] ar_addr;
    logic                     r_ready;
  } pins_t;

  // What the device tells an observer.
  typedef struct packed {
    logic        command_valid;  // a command takes effect, or is skipped as malformed
    logic        command_malformed;
    logic        command_drops;  // it drops translations
    logic [7:0]  command_opcode;
    logic [31:0] command_index;
    logic        command_all;
    pasid_t      command_pasid;
    logic [63:0] command_first;
    logic [63:0] command_last;
    logic        fence_valid;
    logic [63:0] fence_sequence;
    logic        record_valid;  // a fault record is in memory
    logic [31:0] record_tag;
    // A client inside the device, whose data comes over the device's own bus
    logic        inner_request;  // taken
    request_t    inner_asked;
    logic        inner_response;
    response_t   inner_answer;
    logic        inner_release;
    id_t         inner_released;
    // Inside the device
    logic        lookup_hit;   // a request is answered from its port's cache
    logic        lookup_miss;  // a request goes to be walked
    logic        shared_hit;   // a request is answered from the second-level cache
    logic        walk_start;
    logic        walk_drop;    // a walk begins anew
    logic        walk_fault;   // a walk ends without a translation
    logic        fill;         // a walk ends with one
    logic        merged;
    logic        replayed;
    // What the host set, as the device sees it
    logic        enable;
    logic [31:0] command_tail;
    logic [31:0] fault_get;
    logic [31:0] fault_put;
  } probe_t;

  typedef enum logic [31:0] {
    ACTION_NONE           = 32'd0,
    ACTION_WRITE_MEMORY   = 32'd1,
    ACTION_READ_MEMORY    = 32'd2,
    ACTION_WRITE_REGISTER = 32'd3,
    ACTION_READ_REGISTER  = 32'd4,
    ACTION_WAIT_MEMORY    = 32'd5,
    ACTION_WAIT_REGISTER  = 32'd6,
    ACTION_WAIT_INTERRUPT = 32'd7,
    ACTION_SET_OWNER      = 32'd8,
    ACTION_NOP            = 32'd9
  } action_e;

  // An access of the host to memory.
  typedef struct packed {
    action_e     kind;
    logic [63:0] address;
    logic [63:0] data;
    logic [63:0] mask;
  } host_access_t;

  // An action of the host that is done in this cycle.
  typedef struct packed {
    action_e     kind;
    cycle_t      start_cycle;
    logic [63:0] address;
    logic [63:0] data;
    logic [1:0]  status;
  } action_done_t;

  typedef enum logic [7:0] {
    EVENT_TRANSLATION  = 8'd1,
    EVENT_FAULT        = 8'd2,
    EVENT_GRANT_END    = 8'd3,
    EVENT_COMMAND      = 8'd4,
    EVENT_INVALIDATION = 8'd5,
    EVENT_FENCE        = 8'd6,
    EVENT_ACTION       = 8'd7,
    EVENT_INTERRUPT    = 8'd8,
    EVENT_FAULT_RECORD = 8'd9,
    EVENT_SOFT_RESET   = 8'd10
  } event_e;

  typedef enum logic [7:0] {
    DEVICE_BUS_READ       = 8'd1,
    DEVICE_BUS_READ_DATA  = 8'd2,
    DEVICE_BUS_WRITE      = 8'd3,
    DEVICE_BUS_WRITE_DONE = 8'd4,
    DEVICE_LOOKUP_HIT     = 8'd5,
    DEVICE_LOOKUP_MISS    = 8'd6,
    DEVICE_WALK_START     = 8'd7,
    DEVICE_WALK_DROP      = 8'd8,
    DEVICE_FILL           = 8'd9,
    DEVICE_WALK_FAULT     = 8'd10,
    DEVICE_MERGE          = 8'd11,
    DEVICE_REPLAY         = 8'd12,
    DEVICE_ENABLE         = 8'd13,
    DEVICE_COMMAND_TAIL   = 8'd14,
    DEVICE_FAULT_GET      = 8'd15,
    DEVICE_FAULT_PUT      = 8'd16,
    DEVICE_SOFT_RESET     = 8'd17,
    DEVICE_SHARED_HIT     = 8'd18
  } device_event_e;

endpackage
