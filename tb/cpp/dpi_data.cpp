// SPDX-License-Identifier: Apache-2.0
// The data of requests: a client's own load, store or atomic add under its grant, judged as it happens and then done.
#include <cstring>
#include <string>

#include "Vtb_top__Dpi.h"
#include "testbench.h"
#include "text.h"

using tb::testbench;

namespace {

constexpr std::uint32_t kAtomicBytes = 8;

// Why the access is wrong by itself, or under its grant as of `cycle`; empty if it is not.
std::string fault_in(unsigned long long cycle, const tb::Request& request, const tb::Response& response) {
  const bool atomic = request.access == tb::kAccessAtomic;
  if (testbench().request_data == nullptr) return "the case has no data rows";
  if (request.length > tb::kDataBytes || request.va % tb::kPageBytes + request.length > tb::kPageBytes) {
    return tb::format_text("%u bytes do not fit a data row and the page", request.length);
  }
  if (atomic && (request.length != kAtomicBytes || request.va % kAtomicBytes != 0)) {
    return "an atomic access is one of 8 aligned bytes";
  }
  if (!(response.done & tb::kDoneFinished) || response.status != 0 || request.access == tb::kAccessPrefetch) {
    return "no grant was given";
  }
  if (cycle <= response.finish_cycle) return "before its grant";
  // A release of the same cycle may be written down already: both happen at its end.
  if (response.done & tb::kDoneReleased && response.release_cycle < cycle) {
    return tb::format_text("the grant ended in cycle %llu", static_cast<unsigned long long>(response.release_cycle));
  }
  if (request.access == tb::kAccessWrite && !(response.permissions & tb::kPermissionWrite)) {
    return "the grant does not permit to write";
  }
  constexpr auto kBoth = tb::kPermissionWrite | tb::kPermissionAtomic;
  if (atomic && (response.permissions & kBoth) != kBoth) return "the grant does not permit an atomic access";
  if (response.pa % tb::kPageBytes != request.va % tb::kPageBytes) return "not in the granted page";
  return "";
}

// Why the memory does not take the access; empty if it does.
std::string fault_at(const tb::Memory& memory, std::uint64_t address, std::uint64_t length) {
  if (!memory.contains(address, length)) return "outside the memory";
  const auto first = address / tb::kWordBytes * tb::kWordBytes;
  for (auto word = first; word < address + length; word += tb::kWordBytes) {
    const auto owner = *memory.owners(word);
    if ((owner & tb::kOwnerClassMask) != tb::kOwnerData) {
      return tb::format_text("the owner byte of the word at 0x%llx is %02x, no data",
                             static_cast<unsigned long long>(word), owner);
    }
  }
  return "";
}

void add_atomically(std::uint8_t* row, std::uint8_t* bytes) {
  std::uint64_t addend;
  std::uint64_t old;
  std::memcpy(&addend, row, kAtomicBytes);
  std::memcpy(&old, bytes, kAtomicBytes);
  const std::uint64_t sum = old + addend;
  std::memcpy(bytes, &sum, kAtomicBytes);
  std::memcpy(row + kAtomicBytes, &old, kAtomicBytes);
}

}  // namespace

// The bytes of the request that holds `id`, or gives it back in this cycle, move.
void tb_move_data(unsigned long long cycle, unsigned char client, unsigned char id) {
  auto& state = testbench();
  auto& clients = state.clients;
  const auto row = clients.ports[client].last[id];
  if (row == tb::kNoRequest) {
    state.add_failure(tb::format_text("cycle %llu: data of id %u of client %u, which nobody held", cycle, id, client));
    return;
  }
  const auto& request = clients.requests[row];
  auto& response = clients.responses[row];
  auto wrong = fault_in(cycle, request, response);
  const auto& memory = response.memory != 0 ? state.device_memory : state.memory;
  if (wrong.empty()) wrong = fault_at(memory, response.pa, request.length);
  if (!wrong.empty()) {
    state.add_violation(tb::format_text(
        "cycle %llu: access %u of %u bytes by client %u, id %u, request %u, va 0x%llx, pa 0x%llx of %s memory: %s", cycle,
        request.access, request.length, client, id, row, static_cast<unsigned long long>(request.va),
        static_cast<unsigned long long>(response.pa), response.memory != 0 ? "device" : "system", wrong.c_str()));
    return;
  }
  response.data_cycle = cycle;
  auto* data = state.request_data + std::size_t{row} * tb::kDataBytes;
  auto* bytes = memory.bytes(response.pa);
  switch (request.access) {
    case tb::kAccessRead:
      std::memcpy(data, bytes, request.length);
      break;
    case tb::kAccessWrite:
      std::memcpy(bytes, data, request.length);
      break;
    default:
      add_atomically(data, bytes);
      break;
  }
}
