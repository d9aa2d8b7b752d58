// SPDX-License-Identifier: Apache-2.0
// The host: performs the actions of the case's array one after the other, on memory and on the
// device's registers. When an action starts and when it is done is said in tb/records.py.

module tb_host
  import tb_pkg::*;
  import tb_dpi_pkg::*;
(
  input  logic         clk_i,
  input  logic         rst_ni,
  input  cycle_t       cycle_i,
  // Memory: the access happens at the end of the cycle, its result is there in the next one
  output logic         access_valid_o,
  output host_access_t access_o,
  input  logic [63:0]  access_value_i,
  input  logic [1:0]   access_status_i,
  // Registers: AXI4-Lite manager
  output logic                     aw_valid_o,
  input  logic                     aw_ready_i,
  output logic [RegisterWidth-1:0] aw_addr_o,
  output logic                     w_valid_o,
  input  logic                     w_ready_i,
  output axil_w_t                  w_o,
  input  logic                     b_valid_i,
  output logic                     b_ready_o,
  input  logic [1:0]               b_resp_i,
  output logic                     ar_valid_o,
  input  logic                     ar_ready_i,
  output logic [RegisterWidth-1:0] ar_addr_o,
  input  logic                     r_valid_i,
  output logic                     r_ready_o,
  input  axil_r_t                  r_i,
  // Interrupt line
  input  logic         irq_i,
  // Order between actions and requests
  input  count_t       responses_complete_i,
  output count_t       actions_complete_o,
  output logic         waits_by_plan_o,  // a delay of the case is running
  // For the event log
  output logic         done_o,
  output action_done_t done_action_o
);

  typedef enum logic [1:0] {
    HOST_EMPTY,    // no action
    HOST_WAITING,  // an action, and not yet its time
    HOST_RUNNING
  } state_e;

  state_e      state_q;
  action_e     kind_q;
  count_t      after_request_q, complete_q;
  cycle_t      not_before_q, start_cycle_q;
  logic [63:0] address_q, data_q, mask_q;
  logic [31:0] delay_q;
  logic        aw_valid_q, w_valid_q, ar_valid_q;

  logic time_has_come, start, is_memory, done, again;

  assign time_has_come = (delay_q == '0) && (cycle_i >= not_before_q);
  assign start         = (state_q == HOST_WAITING) && time_has_come && (responses_complete_i >= after_request_q);
  assign is_memory     = kind_q inside {ACTION_WRITE_MEMORY, ACTION_READ_MEMORY, ACTION_WAIT_MEMORY, ACTION_SET_OWNER};

  function automatic logic equals_under_mask(logic [63:0] value, logic [63:0] mask, logic [63:0] wanted);
    return (value & mask) == wanted;
  endfunction

  // What the running action waits for.
  //   kind            done                                   again
  //   WAIT_MEMORY     the word that was read matches         every cycle
  //   WRITE_REGISTER  write response                         -
  //   READ_REGISTER   read response                          -
  //   WAIT_REGISTER   read response that matches             at each response that does not
  //   WAIT_INTERRUPT  interrupt line                         -
  //   others          one cycle after the start              -
  always_comb begin
    done                   = 1'b0;
    again                  = 1'b0;
    done_action_o          = '0;
    done_action_o.kind     = kind_q;
    done_action_o.address  = address_q;
    done_action_o.start_cycle = start_cycle_q;
    if (state_q == HOST_RUNNING) begin
      unique case (kind_q)
        ACTION_WRITE_MEMORY, ACTION_READ_MEMORY, ACTION_SET_OWNER: begin
          done                 = 1'b1;
          done_action_o.data   = access_value_i;
          done_action_o.status = access_status_i;
        end
        ACTION_WAIT_MEMORY: begin
          done                 = (access_status_i == '0) && equals_under_mask(access_value_i, mask_q, data_q);
          again                = !done;
          done_action_o.data   = access_value_i;
        end
        ACTION_WRITE_REGISTER: begin
          done                 = b_valid_i;
          done_action_o.status = b_resp_i;
        end
        ACTION_READ_REGISTER: begin
          done                 = r_valid_i;
          done_action_o.data   = r_i.data;
          done_action_o.status = r_i.resp;
        end
        ACTION_WAIT_REGISTER: begin
          done                 = r_valid_i && equals_under_mask(r_i.data, mask_q, data_q);
          again                = r_valid_i && !done;
          done_action_o.data   = r_i.data;
          done_action_o.status = r_i.resp;
        end
        ACTION_WAIT_INTERRUPT: done = irq_i;
        default:               done = 1'b1;
      endcase
    end
  end

  assign access_valid_o = is_memory && (start || again);
  assign access_o       = '{kind: kind_q, address: address_q, data: data_q, mask: mask_q};
  assign aw_valid_o     = aw_valid_q;
  assign aw_addr_o      = address_q[RegisterWidth-1:0];
  assign w_valid_o      = w_valid_q;
  assign w_o            = '{data: data_q, strb: '1};
  assign b_ready_o      = 1'b1;
  assign ar_valid_o     = ar_valid_q;
  assign ar_addr_o      = address_q[RegisterWidth-1:0];
  assign r_ready_o      = 1'b1;

  assign actions_complete_o = complete_q;
  assign waits_by_plan_o    = (state_q == HOST_WAITING) && !time_has_come;
  assign done_o             = done;

  always_ff @(posedge clk_i or negedge rst_ni) begin : p_host
    if (!rst_ni) begin
      state_q         <= HOST_EMPTY;
      kind_q          <= ACTION_NONE;
      after_request_q <= '0;
      complete_q      <= '0;
      not_before_q    <= '0;
      start_cycle_q   <= '0;
      address_q       <= '0;
      data_q          <= '0;
      mask_q          <= '0;
      delay_q         <= '0;
      aw_valid_q      <= 1'b0;
      w_valid_q       <= 1'b0;
      ar_valid_q      <= 1'b0;
    end else begin
      automatic int unsigned     kind = '0, after_request = '0, delay = '0;
      automatic longint unsigned not_before = '0, address = '0, data = '0, mask = '0;

      if (delay_q != '0) delay_q <= delay_q - 32'd1;
      if (start) begin
        state_q       <= HOST_RUNNING;
        start_cycle_q <= cycle_i;
      end

      if (aw_ready_i) aw_valid_q <= 1'b0;
      if (w_ready_i) w_valid_q <= 1'b0;
      if (ar_ready_i) ar_valid_q <= 1'b0;
      if (start && (kind_q == ACTION_WRITE_REGISTER)) begin
        aw_valid_q <= 1'b1;
        w_valid_q  <= 1'b1;
      end
      if ((start || again) && (kind_q inside {ACTION_READ_REGISTER, ACTION_WAIT_REGISTER})) ar_valid_q <= 1'b1;

      if (done) begin
        tb_action_done(start_cycle_q, cycle_i, done_action_o.data, 8'(done_action_o.status));
        complete_q <= complete_q + 32'd1;
      end
      if (done || (state_q == HOST_EMPTY)) begin
        state_q <= HOST_EMPTY;
        if (tb_fetch_action(kind, after_request, not_before, address, data, mask, delay)) begin
          state_q         <= HOST_WAITING;
          kind_q          <= action_e'(kind);
          after_request_q <= after_request;
          not_before_q    <= not_before;
          address_q       <= address;
          data_q          <= data;
          mask_q          <= mask;
          delay_q         <= delay;
        end
      end
    end
  end

endmodule
