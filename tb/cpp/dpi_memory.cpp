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
constexpr std::uint64_t kLowerRecord = 0xffff'ffff;  // strobes of a fault record in a line's lower half

std::string describe(unsigned long long cycle, const char* what, unsigned long long address, const char* why) {
  return tb::format_text("cycle %llu: %s at 0x%llx: %s", cycle, what, address, why);
}

std::string owner_bytes(const std::uint8_t* owners) {
  std::string text = "; owner bytes of the line";
  for (std::uint64_t word = 0; word < kWordsPerLine; ++word) text += tb::format_text(" %02x", owners[word]);
  return text;
}

bool is_read_by_device(std::uint8_t owner) {
  const auto kind = owner & tb::kOwnerClassMask;
  return kind == tb::kOwnerContext || kind == tb::kOwnerDirectory || kind == tb::kOwnerArray ||
         kind == tb::kOwnerCommand;
}

// The owner bytes of all words joined, so that an error mark on any word is seen.
std::uint8_t any_owner(const std::uint8_t* owners) {
  std::uint8_t joined = 0;
  for (std::uint64_t word = 0; word < kWordsPerLine; ++word) joined |= owners[word];
  return joined;
}

// What the strobes write: whole words of fence values, or one whole aligned fault record.
bool may_write(const std::uint8_t* owners, std::uint64_t strobe) {
  bool fence = true;
  bool fault = true;
  for (std::uint64_t word = 0; word < kWordsPerLine; ++word) {
    if (((strobe >> (word * tb::kWordBytes)) & 0xff) == 0) continue;
    const auto kind = owners[word] & tb::kOwnerClassMask;
    fence &= kind == tb::kOwnerFence;
    fault &= kind == tb::kOwnerFault;
  }
  return fence || (fault && (strobe == kLowerRecord || strobe == kLowerRecord << tb::kFaultRecordBytes));
}

// A line access must be one aligned beat of 64 bytes.
bool shape_is_right(unsigned long long cycle, const char* what, unsigned long long address, unsigned char single_beat) {
  if (single_beat && address % tb::kLineBytes == 0) return true;
  testbench().add_violation(describe(cycle, what, address, "not one aligned beat of 64 bytes"));
  return false;
}

}  // namespace

unsigned char tb_read_line(unsigned long long cycle, unsigned long long address, unsigned char single_beat,
                           svBitVecVal* data) {
  auto& state = testbench();
  std::memset(data, 0, tb::kLineBytes);
  if (!shape_is_right(cycle, "read", address, single_beat)) return tb::kAxiSlaveError;
  if (!state.memory.contains(address, tb::kLineBytes)) return tb::kAxiDecodeError;
  const auto* owners = state.memory.owners(address);
  bool allowed = false;
  for (std::uint64_t word = 0; word < kWordsPerLine; ++word) allowed |= is_read_by_device(owners[word]);
  if (!allowed) {
    state.add_violation(
        describe(cycle, "read", address, "no context, directory, array or command in the line") + owner_bytes(owners));
  }
  if (any_owner(owners) & tb::kOwnerReadError) return tb::kAxiSlaveError;
  std::memcpy(data, state.memory.bytes(address), tb::kLineBytes);
  return tb::kAxiOkay;
}

unsigned char tb_write_line(unsigned long long cycle, unsigned long long address, unsigned char single_beat,
                            unsigned long long strobe, const svBitVecVal* data) {
  auto& state = testbench();
  if (!shape_is_right(cycle, "write", address, single_beat)) return tb::kAxiSlaveError;
  if (!state.memory.contains(address, tb::kLineBytes)) return tb::kAxiDecodeError;
  const auto* owners = state.memory.owners(address);
  std::uint8_t touched = 0;
  for (std::uint64_t word = 0; word < kWordsPerLine; ++word) {
    if (((strobe >> (word * tb::kWordBytes)) & 0xff) == 0) continue;
    touched |= owners[word];
  }
  if (!may_write(owners, strobe)) {
    state.add_violation(describe(cycle, "write", address, "neither fence values nor one whole fault record") +
                        tb::format_text("; strobes 0x%016llx", strobe) + owner_bytes(owners));
    return tb::kAxiSlaveError;
  }
  if (touched & tb::kOwnerWriteError) return tb::kAxiSlaveError;
  auto* bytes = state.memory.bytes(address);
  const auto* source = reinterpret_cast<const std::uint8_t*>(data);
  for (std::uint64_t byte = 0; byte < tb::kLineBytes; ++byte) {
    if ((strobe >> byte) & 1) bytes[byte] = source[byte];
  }
  return tb::kAxiOkay;
}
