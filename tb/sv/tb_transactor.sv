// SPDX-License-Identifier: Apache-2.0
// The client of one port: performs its requests of the case's array in order, keeps each grant for
// as long as the request's record says, and releases it; the request's data move in the cycle of
// the release. A soft reset of the device ends what was accepted; a request that was not is offered
// anew, under another id. When what becomes valid is said in tb/records.py. Does not wait for Python, and does
// not judge answers: the checker and the scoreboard do.

module tb_transactor
  import tb_pkg::*;
  import tb_dpi_pkg::*;
#(
  parameter int unsigned Client = 1
) (
  input  logic      clk_i,
  input  logic      rst_ni,
  input  cycle_t    cycle_i,
  input  logic      enable_i,  // this module, and not pins, drives the client port
  // Client port
  output logic      req_valid_o,
  input  logic      req_ready_i,
  output request_t  req_o,
  input  logic      rsp_valid_i,
  output logic      rsp_ready_o,
  input  response_t rsp_i,
  output logic      rel_valid_o,
  output id_t       rel_id_o,
  output logic      data_valid_o,  // in this cycle the bytes of the request under rel_id_o move
  input  logic      reset_i,       // a soft reset of the device
  // Order between requests and the host's actions
  input  count_t    actions_complete_i,
  output count_t    responses_complete_o,
  output logic      waits_by_plan_o  // a pause or a hold of the case is running
);

  typedef struct packed {
    cycle_t due;
    id_t    id;
  } release_t;

  // The request that is on the port or waits to be
  logic        held_q, named_q;  // named: it has an id
  logic        moves_q;          // it moves data
  logic        ended_q;          // there are no more
  request_t    request_q;
  logic [15:0] pause_q, hold_q;
  count_t      after_action_q;
  // Ids
  logic [Ids-1:0]       busy_q;
  id_t                  last_id_q;
  logic [15:0]          hold_of_id_q [Ids];
  logic [Ids-1:0]       grant_of_id_q, moves_of_id_q;
  // Releases
  release_t releases[$];  // by due cycle
  logic     release_pending_q, rel_valid_q, data_valid_q;
  id_t      rel_id_q;
  count_t   responses_complete_q;

  logic accepted, responded, granted, resting;

  assign req_valid_o          = held_q && named_q && (pause_q == '0) && (actions_complete_i >= after_action_q) &&
      !reset_i;
  assign req_o                = request_q;
  assign rsp_ready_o          = 1'b1;  // room for a response is reserved before its request is made
  assign rel_valid_o          = rel_valid_q;
  assign rel_id_o             = rel_id_q;
  assign data_valid_o         = data_valid_q;
  assign responses_complete_o = responses_complete_q;
  assign waits_by_plan_o      = (held_q && (pause_q != '0)) || release_pending_q;

  assign accepted  = enable_i && req_valid_o && req_ready_i;
  assign responded = enable_i && rsp_valid_i && rsp_ready_o;
  assign granted   = !rsp_i.aborted && grant_of_id_q[rsp_i.id];
  // Nothing is left to do: a port that the case does not use costs no more than this look.
  assign resting   = ended_q && !held_q && busy_q == '0 && !rsp_valid_i;

  // The first free id after `last`; `last` itself if none is.
  function automatic id_t next_free_id(logic [Ids-1:0] busy, id_t last);
    for (int unsigned distance = 1; distance < Ids; distance++) begin
      if (!busy[id_t'(32'(last) + distance)]) return id_t'(32'(last) + distance);
    end
    return last;
  endfunction

  always_ff @(posedge clk_i or negedge rst_ni) begin : p_client
    if (!rst_ni) begin
      held_q               <= 1'b0;
      named_q              <= 1'b0;
      moves_q              <= 1'b0;
      ended_q              <= 1'b0;
      request_q            <= '0;
      pause_q              <= '0;
      hold_q               <= '0;
      after_action_q       <= '0;
      busy_q               <= '0;
      last_id_q            <= '1;
      grant_of_id_q        <= '0;
      moves_of_id_q        <= '0;
      releases             = {};
      release_pending_q    <= 1'b0;
      rel_valid_q          <= 1'b0;
      data_valid_q         <= 1'b0;
      rel_id_q             <= '0;
      responses_complete_q <= '0;
    end else if (enable_i && !resting) begin
      automatic logic [Ids-1:0]   busy = busy_q;
      automatic logic             held = held_q;
      automatic logic             named = named_q;
      automatic longint unsigned  va = '0;
      automatic int unsigned      pasid = '0, after_action = '0;
      automatic byte unsigned     access = '0, fetched = '0;
      automatic bit               moves = 1'b0;
      automatic shortint unsigned pause = '0, hold = '0;

      if (rel_valid_q) begin
        tb_release(cycle_i, 8'(Client), 8'(rel_id_q));
        busy[rel_id_q] = 1'b0;
      end

      if (responded) begin
        tb_response(cycle_i, 8'(Client), 8'(rsp_i.id), 8'(rsp_i.aborted), 8'(rsp_i.reason), 64'(rsp_i.pa),
                    8'(rsp_i.order), 8'({rsp_i.atomic, rsp_i.write}), 8'(rsp_i.memory), granted);
        responses_complete_q <= responses_complete_q + 32'd1;
        if (granted) begin
          automatic release_t    entry = '{due: cycle_i + 64'd1 + 64'(hold_of_id_q[rsp_i.id]), id: rsp_i.id};
          automatic int unsigned place = releases.size();
          while (place != 0 && releases[place-1].due > entry.due) place--;
          releases.insert(place, entry);
        end else begin
          busy[rsp_i.id] = 1'b0;
        end
      end

      rel_valid_q  <= 1'b0;
      data_valid_q <= 1'b0;
      if (releases.size() != 0 && releases[0].due <= cycle_i + 64'd1) begin
        rel_valid_q  <= 1'b1;
        data_valid_q <= moves_of_id_q[releases[0].id];
        rel_id_q     <= releases[0].id;
        void'(releases.pop_front());
      end
      release_pending_q <= releases.size() != 0;

      if (accepted) begin
        tb_request_accepted(cycle_i, 8'(Client), 8'(request_q.id));
        hold_of_id_q[request_q.id]  <= hold_q;
        grant_of_id_q[request_q.id] <= request_q.access != ACCESS_PREFETCH;
        moves_of_id_q[request_q.id] <= moves_q;
        held  = 1'b0;
        named = 1'b0;
      end
      if (pause_q != '0) pause_q <= pause_q - 16'd1;
      if (!held && !ended_q) begin
        fetched = tb_fetch_request(8'(Client), va, pasid, access, pause, hold, after_action, moves);
        held    = fetched == FETCH_ROW;
        ended_q <= fetched == FETCH_END;
        if (held) begin
          request_q.pasid  <= pasid_t'(pasid);
          request_q.va     <= va;
          request_q.access <= access_e'(access[1:0]);
          pause_q          <= pause;
          hold_q           <= hold;
          after_action_q   <= after_action;
          moves_q          <= moves;
        end
      end
      if (held && !named) begin
        automatic id_t id = next_free_id(busy, last_id_q);
        named = !busy[id];
        if (named) begin
          busy[id] = 1'b1;
          request_q.id <= id;
          last_id_q    <= id;
        end
      end
      if (reset_i) begin
        responses_complete_q <= responses_complete_q + tb_client_reset(cycle_i, 8'(Client));
        releases             = {};
        release_pending_q    <= 1'b0;
        rel_valid_q          <= 1'b0;
        data_valid_q         <= 1'b0;
        busy                 = '0;
        named                = 1'b0;
      end
      busy_q  <= busy;
      held_q  <= held;
      named_q <= named;
    end
  end

endmodule
