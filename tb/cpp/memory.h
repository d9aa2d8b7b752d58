// SPDX-License-Identifier: Apache-2.0
// The memory on the device's bus: Python's bytes, and Python's owner map that says what each word is for.
#pragma once

#include <array>
#include <cstdint>
#include <cstring>

namespace tb {

constexpr std::uint64_t kLineBytes = 64;
constexpr std::uint64_t kWordBytes = 8;
constexpr std::uint64_t kRecordBytes = 32;  // of a fault record and of a completion
constexpr std::uint64_t kPageBytes = 4096;

// AXI response codes.
enum AxiResponse : std::uint8_t {
  kAxiOkay = 0,
  kAxiSlaveError = 2,
  kAxiDecodeError = 3,
};

// The owner byte of a word: what it is for in the low bits, whether reads of its line take long, and whether the bus
// answers an access with an error.
enum Owner : std::uint8_t {
  kOwnerContext = 1,
  kOwnerDirectory = 2,
  kOwnerArray = 3,
  kOwnerCommand = 4,
  kOwnerFence = 5,
  kOwnerFault = 6,
  kOwnerData = 7,
  kOwnerDescriptor = 8,
  kOwnerCompletion = 9,
  kOwnerBuffer = 10,
  kOwnerClassMask = 0x0f,
  kOwnerSlow = 0x20,
  kOwnerReadError = 0x40,
  kOwnerWriteError = 0x80,
};

// A grant of a client inside the device: the page that its data may touch while it lasts.
struct Grant {
  bool open = false;
  bool write = false;
  bool device_memory = false;
  std::uint64_t page = 0;  // number of the page in its memory
};

class Memory {
 public:
  Memory() = default;
  Memory(std::uint8_t* bytes, std::uint8_t* owners, std::uint64_t base, std::uint64_t size)
      : bytes_(bytes), owners_(owners), base_(base), size_(size) {}

  bool contains(std::uint64_t address, std::uint64_t length) const {
    return address >= base_ && length <= size_ && address - base_ <= size_ - length;
  }

  std::uint8_t* bytes(std::uint64_t address) const { return bytes_ + (address - base_); }

  // The owner byte of the word that holds `address`, and those that follow it.
  std::uint8_t* owners(std::uint64_t address) const { return owners_ + (address - base_) / kWordBytes; }

 private:
  std::uint8_t* bytes_ = nullptr;
  std::uint8_t* owners_ = nullptr;
  std::uint64_t base_ = 0;
  std::uint64_t size_ = 0;
};

}  // namespace tb
