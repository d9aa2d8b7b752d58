// SPDX-License-Identifier: Apache-2.0
// The fault ring as the host set it up, and which of its slots the device must write next: docs/interface.md,
// "Fault ring". Nothing here is asked of the device.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

namespace tb {

class FaultRing {
 public:
  // A write of the host to a register; of other registers than the ring's, nothing.
  void write_register(std::uint32_t offset, std::uint64_t data, std::uint8_t strobe);

  // A soft reset begins (true), in which what is on its way still comes, or is over; after a hard one, too.
  void reset(bool begins);

  // Whether a line or record there is of a ring, although no memory is there.
  bool covers(std::uint64_t address) const;

  // The device writes the record at `address`: what is wrong with that in words, or nothing.
  std::string write_record(std::uint64_t address);

 private:
  // From one switching on of the ring to the next one; its slots are counted from 0.
  struct Life {
    std::uint64_t base;
    std::uint32_t log2;
    std::uint32_t taken;  // records that the host said it has taken

    std::uint32_t slots() const { return std::uint32_t{1} << log2; }
    std::uint64_t address_of(std::uint32_t record) const;
    // Whether record number `record` may go to `address`: to its own slot, which the host has taken before.
    bool allows(std::uint32_t record, std::uint64_t address) const;
  };

  // Of which life the last record was, and how many that life has. A ring that is switched off and on again may still
  // have records of the life before on their way, so there can be more than one answer for a while.
  struct Place {
    std::size_t life;  // 0: none yet; else its number in lives_, from 1
    std::uint32_t written;
  };

  void take(std::uint32_t count);
  void add_place(std::vector<Place>& places, Place place) const;

  std::uint64_t control_ = 0, base_ = 0, log2_ = 0, get_ = 0;
  bool in_reset_ = false;
  std::vector<Life> lives_;
  std::vector<Place> places_{Place{0, 0}};
};

}  // namespace tb
