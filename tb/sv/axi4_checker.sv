// SPDX-License-Identifier: Apache-2.0
// The rules of AXI4 (ARM IHI 0022) that both sides of one port keep: stability, shapes of bursts,
// strobes, order, responses. Passive; serves any design. Exclusive accesses are not covered: the
// response EXOKAY is an error. Each rule has a name and a message of its own.

module axi4_checker #(
  parameter int unsigned IdWidth      = 4,
  parameter int unsigned AddressWidth = 48,
  parameter int unsigned DataWidth    = 512
) (
  input logic                     clk_i,
  input logic                     rst_ni,
  input logic                     awvalid_i,
  input logic                     awready_i,
  input logic [IdWidth-1:0]       awid_i,
  input logic [AddressWidth-1:0]  awaddr_i,
  input logic [7:0]               awlen_i,
  input logic [2:0]               awsize_i,
  input logic [1:0]               awburst_i,
  input logic                     wvalid_i,
  input logic                     wready_i,
  input logic [DataWidth-1:0]     wdata_i,
  input logic [DataWidth/8-1:0]   wstrb_i,
  input logic                     wlast_i,
  input logic                     bvalid_i,
  input logic                     bready_i,
  input logic [IdWidth-1:0]       bid_i,
  input logic [1:0]               bresp_i,
  input logic                     arvalid_i,
  input logic                     arready_i,
  input logic [IdWidth-1:0]       arid_i,
  input logic [AddressWidth-1:0]  araddr_i,
  input logic [7:0]               arlen_i,
  input logic [2:0]               arsize_i,
  input logic [1:0]               arburst_i,
  input logic                     rvalid_i,
  input logic                     rready_i,
  input logic [IdWidth-1:0]       rid_i,
  input logic [DataWidth-1:0]     rdata_i,
  input logic [1:0]               rresp_i,
  input logic                     rlast_i
);

  localparam int unsigned Bytes = DataWidth / 8;
  localparam int unsigned Ids   = 1 << IdWidth;

  localparam logic [1:0] BurstFixed = 2'd0;
  localparam logic [1:0] BurstIncr  = 2'd1;
  localparam logic [1:0] BurstWrap  = 2'd2;
  localparam logic [1:0] BurstNone  = 2'd3;
  localparam logic [1:0] RespExOkay = 2'd1;

  typedef logic [AddressWidth-1:0] address_t;

  typedef struct packed {
    logic [IdWidth-1:0] id;
    address_t           address;
    logic [7:0]         len;
    logic [2:0]         size;
    logic [1:0]         burst;
  } burst_t;

  typedef struct packed {
    logic [Bytes-1:0] strobe;
    logic             last;
  } beat_t;

  // ---- Stability --------------------------------------------------------------------------------

  default clocking @(posedge clk_i); endclocking
  default disable iff (!rst_ni);

  aw_stable: assert property (awvalid_i && !awready_i |=>
      awvalid_i && $stable({awid_i, awaddr_i, awlen_i, awsize_i, awburst_i}))
    else $error("AXI4: a write address changed before it was taken");
  w_stable: assert property (wvalid_i && !wready_i |=> wvalid_i && $stable({wdata_i, wstrb_i, wlast_i}))
    else $error("AXI4: write data changed before it was taken");
  b_stable: assert property (bvalid_i && !bready_i |=> bvalid_i && $stable({bid_i, bresp_i}))
    else $error("AXI4: a write response changed before it was taken");
  ar_stable: assert property (arvalid_i && !arready_i |=>
      arvalid_i && $stable({arid_i, araddr_i, arlen_i, arsize_i, arburst_i}))
    else $error("AXI4: a read address changed before it was taken");
  r_stable: assert property (rvalid_i && !rready_i |=>
      rvalid_i && $stable({rid_i, rdata_i, rresp_i, rlast_i}))
    else $error("AXI4: read data changed before it was taken");

  // ---- Shapes of bursts -------------------------------------------------------------------------

  function automatic logic wrap_length(logic [7:0] len);
    return len inside {8'd1, 8'd3, 8'd7, 8'd15};
  endfunction

  function automatic address_t size_mask(logic [2:0] size);
    return (address_t'(1) << size) - address_t'(1);
  endfunction

  // The last byte of an incrementing burst lies in the 4 KiB of the first one.
  function automatic logic within_page(address_t address, logic [7:0] len, logic [2:0] size);
    automatic logic [31:0] first = {20'd0, address[11:0]} & ~((32'd1 << size) - 32'd1);
    return first + ((32'(len) + 32'd1) << size) <= 32'd4096;
  endfunction

  aw_burst: assert property (awvalid_i |-> awburst_i != BurstNone)
    else $error("AXI4: a write has the reserved burst type");
  ar_burst: assert property (arvalid_i |-> arburst_i != BurstNone)
    else $error("AXI4: a read has the reserved burst type");
  aw_size: assert property (awvalid_i |-> (32'd1 << awsize_i) <= Bytes)
    else $error("AXI4: a write's beats are wider than the bus");
  ar_size: assert property (arvalid_i |-> (32'd1 << arsize_i) <= Bytes)
    else $error("AXI4: a read's beats are wider than the bus");
  aw_fixed: assert property (awvalid_i && (awburst_i == BurstFixed) |-> awlen_i < 8'd16)
    else $error("AXI4: a FIXED write has more than 16 beats");
  ar_fixed: assert property (arvalid_i && (arburst_i == BurstFixed) |-> arlen_i < 8'd16)
    else $error("AXI4: a FIXED read has more than 16 beats");
  aw_wrap: assert property (awvalid_i && (awburst_i == BurstWrap) |-> wrap_length(awlen_i))
    else $error("AXI4: a WRAP write has not 2, 4, 8 or 16 beats");
  ar_wrap: assert property (arvalid_i && (arburst_i == BurstWrap) |-> wrap_length(arlen_i))
    else $error("AXI4: a WRAP read has not 2, 4, 8 or 16 beats");
  aw_wrap_start: assert property (awvalid_i && (awburst_i == BurstWrap) |->
      (awaddr_i & size_mask(awsize_i)) == '0)
    else $error("AXI4: a WRAP write does not start at a beat");
  ar_wrap_start: assert property (arvalid_i && (arburst_i == BurstWrap) |->
      (araddr_i & size_mask(arsize_i)) == '0)
    else $error("AXI4: a WRAP read does not start at a beat");
  aw_page: assert property (awvalid_i && (awburst_i == BurstIncr) |->
      within_page(awaddr_i, awlen_i, awsize_i))
    else $error("AXI4: a write crosses 4 KiB");
  ar_page: assert property (arvalid_i && (arburst_i == BurstIncr) |->
      within_page(araddr_i, arlen_i, arsize_i))
    else $error("AXI4: a read crosses 4 KiB");

  // ---- Responses --------------------------------------------------------------------------------

  b_response: assert property (bvalid_i |-> bresp_i != RespExOkay)
    else $error("AXI4: a write response says EXOKAY");
  r_response: assert property (rvalid_i |-> rresp_i != RespExOkay)
    else $error("AXI4: read data say EXOKAY");

  // ---- Order ------------------------------------------------------------------------------------

  // The bytes of beat `number` of a burst, as strobes.
  function automatic logic [Bytes-1:0] lanes(burst_t burst, int unsigned number);
    automatic address_t         beat = burst.address;
    automatic address_t         span = (address_t'(burst.len) + address_t'(1)) << burst.size;
    automatic logic [Bytes-1:0] result = '0;
    automatic int unsigned      first, last;
    if (number != 0 && burst.burst != BurstFixed) begin
      beat = (burst.address & ~size_mask(burst.size)) + (address_t'(number) << burst.size);
      if (burst.burst == BurstWrap) begin
        beat = (burst.address & ~(span - address_t'(1))) | (beat & (span - address_t'(1)));
      end
    end
    first = 32'(beat) % Bytes;
    last  = 32'(beat & ~size_mask(burst.size)) % Bytes + (32'd1 << burst.size);
    for (int unsigned i = 0; i < Bytes; i++) result[i] = (i >= first) && (i < last);
    return result;
  endfunction

  burst_t      write_bursts[$];  // taken, and their data not all
  beat_t       write_beats[$];   // taken, ahead of their address
  int unsigned beats_done;       // of the oldest write
  int unsigned answerable[Ids];  // writes of an id that may be answered
  logic [7:0]  read_lengths[Ids][$];
  int unsigned read_beats[Ids];  // of the oldest read of an id

  always_ff @(posedge clk_i or negedge rst_ni) begin : p_order
    if (!rst_ni) begin
      write_bursts = {};
      write_beats  = {};
      beats_done   = 0;
      for (int unsigned i = 0; i < Ids; i++) begin
        answerable[i]   = 0;
        read_lengths[i] = {};
        read_beats[i]   = 0;
      end
    end else begin
      // Answers first: they belong to what was taken before this cycle.
      if (bvalid_i) begin
        b_asked: assert (answerable[bid_i] != 0)
          else $error("AXI4: a write response without a write that is complete");
        if (bready_i && answerable[bid_i] != 0) answerable[bid_i]--;
      end
      if (rvalid_i) begin
        r_asked: assert (read_lengths[rid_i].size() != 0)
          else $error("AXI4: read data without a read");
        if (read_lengths[rid_i].size() != 0) begin
          r_last: assert (rlast_i == (read_beats[rid_i] == 32'(read_lengths[rid_i][0])))
            else $error("AXI4: the last beat of a read is not where its length says");
          if (rready_i) begin
            read_beats[rid_i]++;
            if (read_beats[rid_i] > 32'(read_lengths[rid_i][0])) begin
              void'(read_lengths[rid_i].pop_front());
              read_beats[rid_i] = 0;
            end
          end
        end
      end
      if (arvalid_i && arready_i) read_lengths[arid_i].push_back(arlen_i);
      if (awvalid_i && awready_i) begin
        write_bursts.push_back('{id: awid_i, address: awaddr_i, len: awlen_i, size: awsize_i, burst: awburst_i});
      end
      if (wvalid_i && wready_i) write_beats.push_back('{strobe: wstrb_i, last: wlast_i});
      while (write_bursts.size() != 0 && write_beats.size() != 0) begin : p_beat
        automatic burst_t burst = write_bursts[0];
        automatic beat_t  beat = write_beats.pop_front();
        w_last: assert (beat.last == (beats_done == 32'(burst.len)))
          else $error("AXI4: the last beat of a write is not where its length says");
        w_strobes: assert ((beat.strobe & ~lanes(burst, beats_done)) == '0)
          else $error("AXI4: a write has strobes outside its beat's bytes");
        beats_done++;
        if (beats_done > 32'(burst.len)) begin
          answerable[burst.id]++;
          beats_done = 0;
          void'(write_bursts.pop_front());
        end
      end
    end
  end

  // ---- Reset ------------------------------------------------------------------------------------

  // Two edges in reset have passed: what was there at the very start is gone.
  logic [1:0] reset_q = '0;

  always_ff @(posedge clk_i) reset_q <= {reset_q[0], !rst_ni};

  // Nothing is offered in reset.
  reset_silent: assert property (@(posedge clk_i) disable iff (1'b0)
      (reset_q == '1 && !rst_ni) |-> !(awvalid_i || wvalid_i || bvalid_i || arvalid_i || rvalid_i))
    else $error("AXI4: something is valid in reset");

endmodule
