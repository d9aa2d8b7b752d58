// SPDX-License-Identifier: Apache-2.0
// Functions that Python calls through ctypes (tb/simulator.py). Time stands still while they run.
#include <algorithm>
#include <cstring>

#include "testbench.h"

#define TB_API extern "C" __attribute__((visibility("default"), used))

using tb::testbench;

namespace {

void copy_text(const tb::FailureList& list, std::uint32_t index, char* text, std::uint32_t size) {
  const auto& texts = list.texts();
  const std::string source = index < texts.size() ? texts[index] : std::string();
  const auto length = std::min<std::size_t>(source.size(), size - 1);
  std::memcpy(text, source.data(), length);
  text[length] = '\0';
}

}  // namespace

// Sizes of the records in the order of tb/records.py, for a comparison.
TB_API void tb_record_sizes(std::uint32_t* sizes) {
  sizes[0] = sizeof(tb::Request);
  sizes[1] = sizeof(tb::Response);
  sizes[2] = sizeof(tb::Action);
  sizes[3] = sizeof(tb::ActionResult);
  sizes[4] = sizeof(tb::Event);
  sizes[5] = sizeof(tb::Settings);
}

// Forgets the case: arrays, memory, log, counts and causes. The ports are those of the simulation and stay.
TB_API void tb_clear() {
  const auto ports = testbench().clients.ports.size();
  testbench() = tb::Testbench{};
  testbench().clients.ports.resize(ports);
}

TB_API void tb_set_settings(const tb::Settings* settings) { testbench().settings = *settings; }

TB_API void tb_map_memory(std::uint8_t* bytes, std::uint8_t* owners, std::uint64_t base, std::uint64_t size) {
  testbench().memory = tb::Memory(bytes, owners, base, size);
}

TB_API void tb_map_device_memory(std::uint8_t* bytes, std::uint8_t* owners, std::uint64_t size) {
  testbench().device_memory = tb::Memory(bytes, owners, 0, size);
}

// The data of the requests, kDataBytes each; the transactors move them. Stands until tb_clear().
TB_API void tb_set_request_data(std::uint8_t* rows) { testbench().request_data = rows; }

// `total` requests will come; the first `posted` of them are filled in. To be called in reset, in which the number of
// ports becomes known.
TB_API void tb_set_requests(const tb::Request* requests, tb::Response* responses, std::uint32_t total,
                            std::uint32_t posted) {
  auto& clients = testbench().clients;
  const auto ports = clients.ports.size();
  clients = tb::Clients();
  clients.ports.resize(ports);
  clients.requests = requests;
  clients.responses = responses;
  clients.total = total;
  testbench().post_requests(posted);
}

TB_API void tb_post_requests(std::uint32_t posted) { testbench().post_requests(posted); }

// How many client numbers there are, the engine's included; 0 before the first reset.
TB_API std::uint32_t tb_client_count() { return static_cast<std::uint32_t>(testbench().clients.ports.size()); }

// How many of its requests the transactor of a port has taken.
TB_API std::uint32_t tb_requests_fetched(std::uint32_t client) {
  const auto& ports = testbench().clients.ports;
  return client < ports.size() ? static_cast<std::uint32_t>(ports[client].fetched) : 0;
}

TB_API void tb_set_actions(const tb::Action* actions, tb::ActionResult* results, std::uint32_t total) {
  testbench().host = tb::Host{actions, results, total, 0, 0};
}

// The causes since the last call.
TB_API std::uint32_t tb_take_causes() {
  auto& state = testbench();
  const auto causes = state.causes;
  state.causes = 0;
  return causes;
}

TB_API std::uint64_t tb_event_count() { return testbench().events.size(); }

TB_API void tb_copy_events(tb::Event* events) {
  const auto& source = testbench().events;
  if (!source.empty()) std::memcpy(events, source.data(), source.size() * sizeof(tb::Event));
}

TB_API std::uint64_t tb_device_event_count() { return testbench().device_events.size(); }

TB_API void tb_copy_device_events(tb::Event* events) {
  const auto& source = testbench().device_events;
  if (!source.empty()) std::memcpy(events, source.data(), source.size() * sizeof(tb::Event));
}

TB_API std::uint64_t tb_failure_count() {
  auto& state = testbench();
  state.failures_read = true;
  return state.failures.count();
}

TB_API void tb_failure_text(std::uint32_t index, char* text, std::uint32_t size) {
  copy_text(testbench().failures, index, text, size);
}

TB_API std::uint64_t tb_violation_count() { return testbench().violations.count(); }

TB_API void tb_violation_text(std::uint32_t index, char* text, std::uint32_t size) {
  copy_text(testbench().violations, index, text, size);
}
