// SPDX-License-Identifier: Apache-2.0
// DPI functions of the client transactor (tb/sv/tb_transactor.sv).
#include <cinttypes>

#include "Vtb_top__Dpi.h"
#include "testbench.h"
#include "text.h"

using tb::testbench;

// The next request of the array, or 0 if Python has not filled it in.
unsigned char tb_fetch_request(unsigned long long* va, unsigned int* pasid, unsigned char* access,
                               unsigned short* pause, unsigned short* hold, unsigned int* after_action) {
  auto& state = testbench();
  auto& client = state.client;
  if (client.fetched >= client.posted) return 0;
  const auto& request = client.requests[client.fetched];
  *va = request.va;
  *pasid = request.pasid;
  *access = request.access;
  *pause = request.pause;
  *hold = request.hold;
  *after_action = request.after_action;
  ++client.fetched;
  if (state.settings.flags & tb::kSettingsReportFetched) state.raise(tb::kCauseRequestFetched);
  return 1;
}

// The request that was fetched last was accepted under `id`.
void tb_request_accepted(unsigned long long cycle, unsigned char id) {
  auto& client = testbench().client;
  const auto index = client.fetched - 1;
  client.open[id] = index;
  auto& response = client.responses[index];
  response.accept_cycle = cycle;
  response.id = id;
  response.done = tb::kDoneAccepted;
}

namespace {

// The record of the request that holds `id`, or nullptr after the complaint that none does.
tb::Response* open_response(unsigned long long cycle, unsigned char id, std::uint8_t wanted, const char* what) {
  auto& state = testbench();
  const auto index = state.client.open[id];
  if (index == tb::kNoRequest || state.client.responses[index].done != wanted) {
    state.add_failure(tb::format_text("cycle %llu: %s for id %u, which does not wait for one", cycle, what, id));
    return nullptr;
  }
  return &state.client.responses[index];
}

void close_request(std::uint8_t id) {
  auto& state = testbench();
  auto& client = state.client;
  client.responses[client.open[id]].done |= tb::kDoneReleased;
  client.open[id] = tb::kNoRequest;
  ++client.released;
  if (client.released == client.total) state.raise(tb::kCauseRequestsDone);
}

}  // namespace

void tb_response(unsigned long long cycle, unsigned char id, unsigned char status, unsigned char reason,
                 unsigned long long pa, unsigned char order, unsigned char permissions, unsigned char memory,
                 unsigned char grant) {
  auto* response = open_response(cycle, id, tb::kDoneAccepted, "a response");
  if (response == nullptr) return;
  response->pa = pa;
  response->finish_cycle = cycle;
  response->status = status;
  response->reason = reason;
  response->order = order;
  response->permissions = permissions;
  response->memory = memory;
  response->done |= tb::kDoneFinished;
  if (!grant) close_request(id);
}

void tb_release(unsigned long long cycle, unsigned char id) {
  auto* response = open_response(cycle, id, tb::kDoneAccepted | tb::kDoneFinished, "a release");
  if (response == nullptr) return;
  response->release_cycle = cycle;
  close_request(id);
}
