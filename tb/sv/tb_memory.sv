// SPDX-License-Identifier: Apache-2.0
// The memory that host and device share: an AXI4 subordinate whose beats are whole lines, and the
// host's way in. The bytes are Python's; latencies, pauses and error answers are numbers and marks
// of the case. The user bit of an address leads to the device's own memory, which the host reaches
// in Python only.
//
// All calls that touch the bytes stand in one process, in this order within a cycle: host, clients
// by number, device write, device read. A read sees memory as it is in the cycle of its address
// handshake; until its data goes home, what it reads must stay the device's to read.

module tb_memory
  import tb_pkg::*;
  import tb_dpi_pkg::*;
#(
  parameter int unsigned Clients = 2
) (
  input  logic         clk_i,
  input  logic         rst_ni,
  input  cycle_t       cycle_i,
  // Host
  input  logic         access_valid_i,
  input  host_access_t access_i,
  output logic [63:0]  access_value_o,
  output logic [1:0]   access_status_o,
  // Clients: in this cycle the bytes of the request under an id move
  input  logic [Clients-1:1] data_valid_i,
  input  id_t  [Clients-1:1] data_id_i,
  // AXI4 subordinate
  input  logic         aw_valid_i,
  output logic         aw_ready_o,
  input  axi_a_t       aw_i,
  input  logic         w_valid_i,
  output logic         w_ready_o,
  input  axi_w_t       w_i,
  output logic         b_valid_o,
  input  logic         b_ready_i,
  output axi_b_t       b_o,
  input  logic         ar_valid_i,
  output logic         ar_ready_o,
  input  axi_a_t       ar_i,
  output logic         r_valid_o,
  input  logic         r_ready_i,
  output axi_r_t       r_o
);

  typedef struct packed {
    logic [15:0] read_latency_min;
    logic [15:0] read_latency_max;
    logic [15:0] write_latency_min;
    logic [15:0] write_latency_max;
    logic [3:0]  ar_pause;
    logic [3:0]  r_pause;
    logic [3:0]  aw_pause;
    logic [3:0]  w_pause;
    logic [3:0]  b_pause;
  } settings_t;

  typedef struct packed {
    cycle_t      due;
    axi_r_t      beat;
    logic        table_line;  // a line of tables or rings was read
    logic [63:0] address;
  } read_t;

  typedef struct packed {
    cycle_t due;
    axi_b_t beat;
  } write_t;

  settings_t   settings_q;
  logic [63:0] random_q;

  // ---- Numbers of the case ----------------------------------------------------------------------

  // Bits of random_q, each range for one decision.
  logic [3:0]  random_ar, random_r, random_aw, random_w, random_b;
  logic [15:0] random_read, random_write;

  assign {random_write, random_read, random_b, random_w, random_aw, random_r, random_ar} = random_q[51:0];

  // A shift register of 64 bits that runs through all values but 0, 64 steps at a time (Marsaglia's
  // xorshift).
  function automatic logic [63:0] next_random(logic [63:0] random);
    random ^= random << 13;
    random ^= random >> 7;
    random ^= random << 17;
    return random;
  endfunction

  function automatic cycle_t draw_latency(logic [15:0] random, logic [15:0] least, logic [15:0] most);
    automatic logic [63:0] choices = 64'(most) - 64'(least) + 64'd1;
    return 64'(least) + ((64'(random) * choices) >> 16);
  endfunction

  always_ff @(posedge clk_i) begin : p_settings
    automatic longint unsigned  random;
    automatic shortint unsigned read_latency_min, read_latency_max, write_latency_min, write_latency_max;
    automatic byte unsigned     ar_pause, r_pause, aw_pause, w_pause, b_pause;
    if (!rst_ni) begin
      tb_load_memory_settings(random, read_latency_min, read_latency_max, write_latency_min, write_latency_max,
                              ar_pause, r_pause, aw_pause, w_pause, b_pause);
      random_q   <= random;
      settings_q <= '{
        read_latency_min:  read_latency_min,
        read_latency_max:  read_latency_max,
        write_latency_min: write_latency_min,
        write_latency_max: write_latency_max,
        ar_pause:          ar_pause[3:0],
        r_pause:           r_pause[3:0],
        aw_pause:          aw_pause[3:0],
        w_pause:           w_pause[3:0],
        b_pause:           b_pause[3:0]
      };
    end else begin
      random_q <= next_random(random_q);
    end
  end

  // ---- Memory -----------------------------------------------------------------------------------

  axi_a_t write_addresses[$];
  axi_w_t write_beats[$];
  read_t  reads[$];   // by due cycle; beats of one id keep their order
  write_t writes[$];  // as reads

  logic        ar_ready_q, aw_ready_q, w_ready_q, r_valid_q, b_valid_q;
  axi_r_t      r_q;
  axi_b_t      b_q;
  logic [63:0] access_value_q;
  logic [1:0]  access_status_q;

  assign ar_ready_o      = ar_ready_q;
  assign aw_ready_o      = aw_ready_q;
  assign w_ready_o       = w_ready_q;
  assign r_valid_o       = r_valid_q;
  assign r_o             = r_q;
  assign b_valid_o       = b_valid_q;
  assign b_o             = b_q;
  assign access_value_o  = access_value_q;
  assign access_status_o = access_status_q;

  // One beat of a whole line, INCR.
  function automatic logic is_single_beat(logic [7:0] len, logic [2:0] size, logic [1:0] burst);
    return (len == 8'd0) && (size == 3'd6) && (burst == 2'd1);
  endfunction

  always_ff @(posedge clk_i or negedge rst_ni) begin : p_memory
    if (!rst_ni) begin
      write_addresses  = {};
      write_beats      = {};
      reads            = {};
      writes           = {};
      ar_ready_q      <= 1'b0;
      aw_ready_q      <= 1'b0;
      w_ready_q       <= 1'b0;
      r_valid_q       <= 1'b0;
      b_valid_q       <= 1'b0;
      r_q             <= '0;
      b_q             <= '0;
      access_value_q  <= '0;
      access_status_q <= '0;
    end else begin
      if (access_valid_i) begin : p_host
        automatic longint unsigned value = '0;
        automatic byte unsigned    status = '0;
        status = tb_host_access(access_i.kind, access_i.address, access_i.data, access_i.mask, value);
        access_value_q  <= value;
        access_status_q <= status[1:0];
      end

      if (data_valid_i != '0) begin : p_clients
        for (int unsigned i = 1; i < Clients; i++) begin
          if (data_valid_i[i]) tb_move_data(cycle_i, 8'(i), 8'(data_id_i[i]));
        end
      end

      if (aw_valid_i && aw_ready_q) write_addresses.push_back(aw_i);
      if (w_valid_i && w_ready_q) write_beats.push_back(w_i);
      if (write_addresses.size() != 0 && write_beats.size() != 0) begin : p_write
        automatic axi_a_t       address = write_addresses.pop_front();
        automatic axi_w_t       beat = write_beats.pop_front();
        automatic write_t       entry = '0;
        automatic int unsigned  place = writes.size();
        automatic byte unsigned resp = '0;
        resp = tb_write_line(cycle_i, address.user, 64'(address.addr),
                             beat.last && is_single_beat(address.len, address.size, address.burst),
                             beat.strb, beat.data);
        entry.due = cycle_i + 64'd1 +
            draw_latency(random_write, settings_q.write_latency_min, settings_q.write_latency_max);
        entry.beat = '{id: address.id, resp: resp[1:0]};
        for (int unsigned i = 0; i < writes.size(); i++) begin
          if (writes[i].beat.id == address.id && writes[i].due > entry.due) entry.due = writes[i].due;
        end
        while (place != 0 && writes[place-1].due > entry.due) place--;
        writes.insert(place, entry);
      end

      if (ar_valid_i && ar_ready_q) begin : p_read
        automatic read_t        entry = '0;
        automatic int unsigned  place = reads.size();
        automatic bit [511:0]   data = '0;
        automatic byte unsigned resp = '0;
        resp = tb_read_line(cycle_i, ar_i.user, 64'(ar_i.addr),
                            is_single_beat(ar_i.len, ar_i.size, ar_i.burst), data);
        entry.due = cycle_i + 64'd1 +
            draw_latency(random_read, settings_q.read_latency_min, settings_q.read_latency_max);
        entry.beat = '{id: ar_i.id, data: data, resp: resp[1:0], last: 1'b1};
        entry.address    = 64'(ar_i.addr);
        entry.table_line = !ar_i.user && tb_is_table(entry.address);
        if (!ar_i.user) entry.due += 64'(tb_more_read_cycles(entry.address));
        for (int unsigned i = 0; i < reads.size(); i++) begin
          if (reads[i].beat.id == ar_i.id && reads[i].due > entry.due) entry.due = reads[i].due;
        end
        while (place != 0 && reads[place-1].due > entry.due) place--;
        reads.insert(place, entry);
      end

      if (!r_valid_q || r_ready_i) begin
        r_valid_q <= 1'b0;
        if (reads.size() != 0 && reads[0].due <= cycle_i + 64'd1 && random_r >= settings_q.r_pause) begin
          r_valid_q <= 1'b1;
          r_q       <= reads[0].beat;
          if (reads[0].table_line) tb_table_goes_home(cycle_i, reads[0].address);
          void'(reads.pop_front());
        end
      end
      if (!b_valid_q || b_ready_i) begin
        b_valid_q <= 1'b0;
        if (writes.size() != 0 && writes[0].due <= cycle_i + 64'd1 && random_b >= settings_q.b_pause) begin
          b_valid_q <= 1'b1;
          b_q       <= writes[0].beat;
          void'(writes.pop_front());
        end
      end
      ar_ready_q <= random_ar >= settings_q.ar_pause;
      aw_ready_q <= random_aw >= settings_q.aw_pause;
      w_ready_q  <= random_w >= settings_q.w_pause;
    end
  end

  // ---- Rules of the bus -------------------------------------------------------------------------

  axi4_checker #(
    .IdWidth      (AxiIdWidth),
    .AddressWidth (PaWidth),
    .DataWidth    (LineWidth)
  ) u_axi4_checker (
    .clk_i,
    .rst_ni,
    .awvalid_i (aw_valid_i),
    .awready_i (aw_ready_q),
    .awid_i    (aw_i.id),
    .awaddr_i  (aw_i.addr),
    .awlen_i   (aw_i.len),
    .awsize_i  (aw_i.size),
    .awburst_i (aw_i.burst),
    .wvalid_i  (w_valid_i),
    .wready_i  (w_ready_q),
    .wdata_i   (w_i.data),
    .wstrb_i   (w_i.strb),
    .wlast_i   (w_i.last),
    .bvalid_i  (b_valid_q),
    .bready_i  (b_ready_i),
    .bid_i     (b_q.id),
    .bresp_i   (b_q.resp),
    .arvalid_i (ar_valid_i),
    .arready_i (ar_ready_q),
    .arid_i    (ar_i.id),
    .araddr_i  (ar_i.addr),
    .arlen_i   (ar_i.len),
    .arsize_i  (ar_i.size),
    .arburst_i (ar_i.burst),
    .rvalid_i  (r_valid_q),
    .rready_i  (r_ready_i),
    .rid_i     (r_q.id),
    .rdata_i   (r_q.data),
    .rresp_i   (r_q.resp),
    .rlast_i   (r_q.last)
  );

endmodule
