// SPDX-License-Identifier: Apache-2.0
// DPI functions of the client transactors (tb/sv/tb_transactor.sv). Each names its port; what they move stands in
// dpi_data.cpp.
#include <algorithm>

#include "Vtb_top__Dpi.h"
#include "testbench.h"
#include "text.h"

using tb::testbench;

namespace {

// What tb_fetch_request returns; the same as fetch_e of tb/sv/tb_pkg.sv.
enum Fetch : std::uint8_t {
  kFetchNone = 0,
  kFetchRow = 1,
  kFetchEnd = 2,
};

constexpr unsigned kPageShift = 12;

// Whether an earlier request of the port to the same page is not released yet.
bool waits_for_page(const tb::Clients& clients, const tb::Port& port, const tb::Request& request) {
  return std::any_of(port.open_rows.begin(), port.open_rows.end(), [&](std::uint32_t row) {
    const auto& earlier = clients.requests[row];
    return earlier.pasid == request.pasid && earlier.va >> kPageShift == request.va >> kPageShift;
  });
}

// The record of the request that holds `id`, or nullptr after the complaint that none does.
tb::Response* open_response(unsigned long long cycle, unsigned char client, unsigned char id, std::uint8_t wanted,
                            const char* what) {
  auto& state = testbench();
  const auto row = state.clients.ports[client].open[id];
  if (row == tb::kNoRequest || state.clients.responses[row].done != wanted) {
    state.add_failure(tb::format_text("cycle %llu: %s for id %u of client %u, which does not wait for one", cycle, what,
                                      id, client));
    return nullptr;
  }
  return &state.clients.responses[row];
}

void close_request(std::uint8_t client, std::uint8_t id) {
  auto& state = testbench();
  auto& clients = state.clients;
  auto& port = clients.ports[client];
  const auto row = port.open[id];
  clients.responses[row].done |= tb::kDoneReleased;
  port.open[id] = tb::kNoRequest;
  const auto place = std::find(port.open_rows.begin(), port.open_rows.end(), row);
  *place = port.open_rows.back();
  port.open_rows.pop_back();
  ++clients.released;
  if (clients.released == clients.total) state.raise(tb::kCauseRequestsDone);
}

}  // namespace

// Said in reset: client numbers 0 (the engine inside the device) to `clients` - 1.
void tb_announce_clients(unsigned char clients) { testbench().clients.ports.resize(clients); }

// The port's next request. None: Python has not filled it in, or it waits for its page. End: there are no more.
unsigned char tb_fetch_request(unsigned char client, unsigned long long* va, unsigned int* pasid,
                               unsigned char* access, unsigned short* pause, unsigned short* hold,
                               unsigned int* after_action, unsigned char* moves_data) {
  auto& state = testbench();
  auto& clients = state.clients;
  auto& port = clients.ports[client];
  if (port.fetched == port.rows.size()) return clients.posted == clients.total ? kFetchEnd : kFetchNone;
  const auto row = port.rows[port.fetched];
  const auto& request = clients.requests[row];
  if (request.flags & tb::kRequestOrdered && waits_for_page(clients, port, request)) return kFetchNone;
  *va = request.va;
  *pasid = request.pasid;
  *access = request.access;
  *pause = request.pause;
  *hold = request.hold;
  *after_action = request.after_action;
  *moves_data = request.length != 0;
  port.open_rows.push_back(row);
  ++port.fetched;
  if (state.settings.flags & tb::kSettingsReportFetched) state.raise(tb::kCauseRequestFetched);
  return kFetchRow;
}

// The request that the port fetched last was accepted under `id`.
void tb_request_accepted(unsigned long long cycle, unsigned char client, unsigned char id) {
  auto& clients = testbench().clients;
  auto& port = clients.ports[client];
  const auto row = port.rows[port.fetched - 1];
  port.open[id] = port.last[id] = row;
  auto& response = clients.responses[row];
  response.accept_cycle = cycle;
  response.id = id;
  response.done = tb::kDoneAccepted;
}

void tb_response(unsigned long long cycle, unsigned char client, unsigned char id, unsigned char status,
                 unsigned char reason, unsigned long long pa, unsigned char order, unsigned char permissions,
                 unsigned char memory, unsigned char grant) {
  auto* response = open_response(cycle, client, id, tb::kDoneAccepted, "a response");
  if (response == nullptr) return;
  response->pa = pa;
  response->finish_cycle = cycle;
  response->status = status;
  response->reason = reason;
  response->order = order;
  response->permissions = permissions;
  response->memory = memory;
  response->done |= tb::kDoneFinished;
  if (!grant) close_request(client, id);
}

void tb_release(unsigned long long cycle, unsigned char client, unsigned char id) {
  auto* response = open_response(cycle, client, id, tb::kDoneAccepted | tb::kDoneFinished, "a release");
  if (response == nullptr) return;
  response->release_cycle = cycle;
  close_request(client, id);
}

// A soft reset of the device: the port's requests end, with whatever they have got so far.
unsigned int tb_client_reset(unsigned long long cycle, unsigned char client) {
  auto& clients = testbench().clients;
  unsigned int unanswered = 0;
  for (std::uint32_t id = 0; id < tb::kIds; ++id) {
    const auto row = clients.ports[client].open[id];
    if (row == tb::kNoRequest) continue;
    auto& response = clients.responses[row];
    if (!(response.done & tb::kDoneFinished)) ++unanswered;
    response.release_cycle = cycle;
    response.done |= tb::kDoneReset;
    close_request(client, static_cast<std::uint8_t>(id));
  }
  return unanswered;
}
