// SPDX-License-Identifier: Apache-2.0
// DPI functions of the device's memory (tb/sv/tb_memory.sv): line accesses, judged by the owner map as they happen.
#include <cstring>
#include <string>

#include "Vtb_top__Dpi.h"
#include "testbench.h"
#include "text.h"

using tb::testbench;

namespace {

constexpr std::uint64_t kWordsPerLine = tb::kLineBytes / tb::kWordBytes;
constexpr unsigned int kSlowReadCycles = 400;        // what a slow line takes beside its latency
constexpr std::uint64_t kLowerRecord = 0xffff'ffff;  // strobes of a record in a line's lower half

std::string describe(unsigned long long cycle, const char* what, bool device_memory, unsigned long long address,
                     const char* why) {
  return tb::format_text("cycle %llu: %s at 0x%llx of %s memory: %s", cycle, what, address,
                         device_memory ? "device" : "system", why);
}

std::string owner_bytes(const std::uint8_t* owners) {
  std::string text = "; owner bytes of the line";
  for (std::uint64_t word = 0; word < kWordsPerLine; ++word) text += tb::format_text(" %02x", owners[word]);
  return text;
}

const tb::Memory& memory_of(bool device_memory) {
  auto& state = testbench();
  return device_memory ? state.device_memory : state.memory;
}

// Whether a client inside the device holds a grant for a line of data.
bool is_granted(bool device_memory, std::uint64_t address, bool write) {
  for (const auto& grant : testbench().inner_grants) {
    if (grant.open && grant.page == address / tb::kPageBytes && grant.device_memory == device_memory &&
        (grant.write || !write)) {
      return true;
    }
  }
  return false;
}

// Tables and rings that the device reads as it likes.
bool is_read_by_device(std::uint8_t owner) {
  const auto kind = owner & tb::kOwnerClassMask;
  return kind == tb::kOwnerContext || kind == tb::kOwnerDirectory || kind == tb::kOwnerArray ||
         kind == tb::kOwnerCommand || kind == tb::kOwnerDescriptor || kind == tb::kOwnerBuffer;
}

bool holds_table(const std::uint8_t* owners) {
  for (std::uint64_t word = 0; word < kWordsPerLine; ++word) {
    if (is_read_by_device(owners[word])) return true;
  }
  return false;
}

// The owner bytes of all words joined, so that an error mark on any word is seen.
std::uint8_t any_owner(const std::uint8_t* owners) {
  std::uint8_t joined = 0;
  for (std::uint64_t word = 0; word < kWordsPerLine; ++word) joined |= owners[word];
  return joined;
}

bool holds_data(const std::uint8_t* owners) {
  for (std::uint64_t word = 0; word < kWordsPerLine; ++word) {
    if ((owners[word] & tb::kOwnerClassMask) == tb::kOwnerData) return true;
  }
  return false;
}

// Whether all words that the strobes touch are of one class.
bool all_touched_are(std::uint8_t owner, const std::uint8_t* owners, std::uint64_t strobe) {
  for (std::uint64_t word = 0; word < kWordsPerLine; ++word) {
    if (((strobe >> (word * tb::kWordBytes)) & 0xff) == 0) continue;
    if ((owners[word] & tb::kOwnerClassMask) != owner) return false;
  }
  return true;
}

// What the strobes write: fence values, one whole fault record or completion, a buffer, or data under a grant.
bool may_write(bool device_memory, std::uint64_t address, const std::uint8_t* owners, std::uint64_t strobe) {
  if (strobe == 0) return true;
  if (all_touched_are(tb::kOwnerData, owners, strobe)) return is_granted(device_memory, address, true);
  if (device_memory) return false;
  const bool whole_record = strobe == kLowerRecord || strobe == kLowerRecord << tb::kRecordBytes;
  return all_touched_are(tb::kOwnerFence, owners, strobe) || all_touched_are(tb::kOwnerBuffer, owners, strobe) ||
         (whole_record && (all_touched_are(tb::kOwnerFault, owners, strobe) ||
                           all_touched_are(tb::kOwnerCompletion, owners, strobe)));
}

// A line access must be one aligned beat of 64 bytes.
bool shape_is_right(unsigned long long cycle, const char* what, bool device_memory, unsigned long long address,
                    unsigned char single_beat) {
  if (single_beat && address % tb::kLineBytes == 0) return true;
  testbench().add_violation(describe(cycle, what, device_memory, address, "not one aligned beat of 64 bytes"));
  return false;
}

// A fault record goes to the slot that is its turn, and to none that the host has not read.
bool judge_record(unsigned long long cycle, unsigned long long address) {
  auto& state = testbench();
  const auto problem = state.fault_ring.write_record(address);
  if (problem.empty()) return true;
  state.add_violation(describe(cycle, "write", false, address, problem.c_str()));
  return false;
}

}  // namespace

unsigned char tb_read_line(unsigned long long cycle, unsigned char device_memory, unsigned long long address,
                           unsigned char single_beat, svBitVecVal* data) {
  auto& state = testbench();
  const auto& memory = memory_of(device_memory);
  std::memset(data, 0, tb::kLineBytes);
  if (!shape_is_right(cycle, "read", device_memory, address, single_beat)) return tb::kAxiSlaveError;
  if (!memory.contains(address, tb::kLineBytes)) return tb::kAxiDecodeError;
  const auto* owners = memory.owners(address);
  const bool granted = holds_data(owners) && is_granted(device_memory, address, false);
  if (!granted && (device_memory || !holds_table(owners))) {
    state.add_violation(describe(cycle, "read", device_memory, address,
                                 "no table, ring or buffer in the line, and no data under a grant") +
                        owner_bytes(owners));
  }
  if (any_owner(owners) & tb::kOwnerReadError) return tb::kAxiSlaveError;
  std::memcpy(data, memory.bytes(address), tb::kLineBytes);
  return tb::kAxiOkay;
}

unsigned char tb_is_table(unsigned long long address) {
  const auto& memory = testbench().memory;
  return address % tb::kLineBytes == 0 && memory.contains(address, tb::kLineBytes) &&
         holds_table(memory.owners(address));
}

unsigned int tb_more_read_cycles(unsigned long long address) {
  const auto& memory = testbench().memory;
  if (address % tb::kLineBytes != 0 || !memory.contains(address, tb::kLineBytes)) return 0;
  return any_owner(memory.owners(address)) & tb::kOwnerSlow ? kSlowReadCycles : 0;
}

// A fence waits for the reads of what was invalidated, so nothing is another's while it is on its way.
void tb_table_goes_home(unsigned long long cycle, unsigned long long address) {
  const auto* owners = testbench().memory.owners(address);
  if (holds_table(owners)) return;
  testbench().add_violation(describe(cycle, "data of a read", false, address,
                                     "on its way to the device, and no table or ring any more") +
                            owner_bytes(owners));
}

unsigned char tb_write_line(unsigned long long cycle, unsigned char device_memory, unsigned long long address,
                            unsigned char single_beat, unsigned long long strobe, const svBitVecVal* data) {
  auto& state = testbench();
  const auto& memory = memory_of(device_memory);
  if (!shape_is_right(cycle, "write", device_memory, address, single_beat)) return tb::kAxiSlaveError;
  const auto upper_half = strobe == kLowerRecord << tb::kRecordBytes;
  const auto record = address + (upper_half ? tb::kRecordBytes : 0);
  if (!memory.contains(address, tb::kLineBytes)) {
    // It fails, but the device has used the slot.
    if (!device_memory && state.fault_ring.covers(record)) judge_record(cycle, record);
    return tb::kAxiDecodeError;
  }
  const auto* owners = memory.owners(address);
  std::uint8_t touched = 0;
  for (std::uint64_t word = 0; word < kWordsPerLine; ++word) {
    if (((strobe >> (word * tb::kWordBytes)) & 0xff) == 0) continue;
    touched |= owners[word];
  }
  if (!may_write(device_memory, address, owners, strobe)) {
    state.add_violation(
        describe(cycle, "write", device_memory, address,
                 "neither fence values, one whole record, a buffer, nor data under a grant to write") +
        tb::format_text("; strobes 0x%016llx", strobe) + owner_bytes(owners));
    return tb::kAxiSlaveError;
  }
  if (strobe != 0 && all_touched_are(tb::kOwnerFault, owners, strobe) && !judge_record(cycle, record)) {
    return tb::kAxiSlaveError;
  }
  if (touched & tb::kOwnerWriteError) return tb::kAxiSlaveError;
  auto* bytes = memory.bytes(address);
  const auto* source = reinterpret_cast<const std::uint8_t*>(data);
  for (std::uint64_t byte = 0; byte < tb::kLineBytes; ++byte) {
    if ((strobe >> byte) & 1) bytes[byte] = source[byte];
  }
  return tb::kAxiOkay;
}

// A client asks anew for every page, so a grant covers the page that was asked for and no more.
void tb_inner_grant(unsigned char id, unsigned long long pa, unsigned char write, unsigned char memory) {
  testbench().inner_grants[id] = {true, write != 0, memory != 0, pa / tb::kPageBytes};
}

void tb_inner_release(unsigned char id) { testbench().inner_grants[id] = {}; }

void tb_inner_reset() { testbench().inner_grants.fill({}); }
