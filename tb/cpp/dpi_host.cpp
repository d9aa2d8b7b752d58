// SPDX-License-Identifier: Apache-2.0
// DPI functions of the host (tb/sv/tb_host.sv).
#include "Vtb_top__Dpi.h"
#include "testbench.h"

using tb::testbench;

// The next action of the array, or 0 if there is none.
unsigned char tb_fetch_action(unsigned int* kind, unsigned int* after_request, unsigned long long* not_before,
                              unsigned long long* address, unsigned long long* data, unsigned long long* mask,
                              unsigned int* delay) {
  auto& host = testbench().host;
  if (host.fetched >= host.total) return 0;
  const auto& action = host.actions[host.fetched];
  *kind = action.kind;
  *after_request = action.after_request;
  *not_before = action.not_before;
  *address = action.address;
  *data = action.data;
  *mask = action.mask;
  *delay = action.delay;
  ++host.fetched;
  return 1;
}

// The action that was fetched last is done.
void tb_action_done(unsigned long long start_cycle, unsigned long long done_cycle, unsigned long long data,
                    unsigned char status) {
  auto& state = testbench();
  auto& host = state.host;
  auto& result = host.results[host.fetched - 1];
  result.start_cycle = start_cycle;
  result.done_cycle = done_cycle;
  result.data = data;
  result.status = status;
  result.done = 1;
  ++host.done;
  if (host.done == host.total) state.raise(tb::kCauseActionsDone);
}

// One access of the host to memory. Returns the AXI response; `value` is what is in memory afterwards.
unsigned char tb_host_access(unsigned int kind, unsigned long long address, unsigned long long data,
                             unsigned long long mask, unsigned long long* value) {
  const auto& memory = testbench().memory;
  const auto length = kind == tb::kActionSetOwner ? data : tb::kWordBytes;
  *value = 0;
  if (!memory.contains(address, length)) return tb::kAxiDecodeError;
  if (kind == tb::kActionSetOwner) {
    const auto words = (address % tb::kWordBytes + length + tb::kWordBytes - 1) / tb::kWordBytes;
    if (length != 0) std::memset(memory.owners(address), static_cast<int>(mask & 0xff), words);
    return tb::kAxiOkay;
  }
  if (kind == tb::kActionWriteMemory) std::memcpy(memory.bytes(address), &data, tb::kWordBytes);
  std::memcpy(value, memory.bytes(address), tb::kWordBytes);
  return tb::kAxiOkay;
}
