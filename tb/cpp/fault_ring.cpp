// SPDX-License-Identifier: Apache-2.0
#include "fault_ring.h"

#include <algorithm>
#include <utility>

#include "../../rtl/regs/hmm_device.h"
#include "memory.h"
#include "text.h"

namespace tb {

namespace {

// The bytes of `data` that the strobes name, over those of `old`.
std::uint64_t merge_bytes(std::uint64_t old, std::uint64_t data, std::uint8_t strobe) {
  std::uint64_t mask = 0;
  for (std::uint32_t byte = 0; byte < kWordBytes; ++byte) {
    if ((strobe >> byte) & 1) mask |= std::uint64_t{0xff} << (8 * byte);
  }
  return (old & ~mask) | (data & mask);
}

}  // namespace

std::uint64_t FaultRing::Life::address_of(std::uint32_t record) const {
  return base + kRecordBytes * (record & (slots() - 1));
}

bool FaultRing::Life::allows(std::uint32_t record, std::uint64_t address) const {
  return address == address_of(record) && record - taken < slots();
}

void FaultRing::write_register(std::uint32_t offset, std::uint64_t data, std::uint8_t strobe) {
  if (in_reset_) return;
  switch (offset) {
    case offsetof(hmm_regs_t, FAULT_BASE):
      base_ = merge_bytes(base_, data, strobe) & HMM_REGS__FAULT_BASE__ADDRESS_bm;
      break;
    case offsetof(hmm_regs_t, FAULT_SIZE):
      log2_ = merge_bytes(log2_, data, strobe) & HMM_REGS__FAULT_SIZE__LOG2_bm;
      break;
    case offsetof(hmm_regs_t, FAULT_GET):
      get_ = merge_bytes(get_, data, strobe) & HMM_REGS__FAULT_GET__INDEX_bm;
      take(static_cast<std::uint32_t>(get_));
      break;
    case offsetof(hmm_regs_t, CONTROL): {
      const bool was_on = control_ & HMM_REGS__CONTROL__FAULT_ENABLE_bm;
      control_ = merge_bytes(control_, data, strobe);
      const bool is_on = control_ & HMM_REGS__CONTROL__FAULT_ENABLE_bm;
      if (is_on && !was_on) lives_.push_back({base_, static_cast<std::uint32_t>(log2_), 0});
      break;
    }
    default:
      break;
  }
}

// A count that is beyond what was written, or behind what was taken, is a mistake of the host (FAULT_OVERRUN): it gives
// no slot back.
void FaultRing::take(std::uint32_t count) {
  if (lives_.empty() || !(control_ & HMM_REGS__CONTROL__FAULT_ENABLE_bm)) return;
  std::uint32_t written = 0;
  for (const auto& place : places_) {
    if (place.life == lives_.size()) written = std::max(written, place.written);
  }
  auto& life = lives_.back();
  if (count <= written && count > life.taken) life.taken = count;
}

void FaultRing::reset(bool begins) {
  control_ = base_ = log2_ = get_ = 0;
  in_reset_ = begins;
  if (begins) return;
  lives_.clear();
  places_ = {Place{0, 0}};
}

bool FaultRing::covers(std::uint64_t address) const {
  return std::any_of(lives_.begin(), lives_.end(), [address](const Life& life) {
    return address >= life.base && address < life.base + kRecordBytes * life.slots();
  });
}

void FaultRing::add_place(std::vector<Place>& places, Place place) const {
  const bool known = std::any_of(places.begin(), places.end(), [place](const Place& other) {
    return other.life == place.life && other.written == place.written;
  });
  if (!known) places.push_back(place);
}

std::string FaultRing::write_record(std::uint64_t address) {
  std::vector<Place> next;
  for (const auto& place : places_) {
    if (place.life != 0 && lives_[place.life - 1].allows(place.written, address)) {
      add_place(next, {place.life, place.written + 1});
    }
    for (auto life = place.life + 1; life <= lives_.size(); ++life) {
      if (lives_[life - 1].allows(0, address)) add_place(next, {life, 1});
    }
  }
  if (!next.empty()) {
    places_ = std::move(next);
    return {};
  }
  if (lives_.empty()) return "a fault record, and the host never switched the fault ring on";
  const auto& life = lives_.back();
  std::uint32_t written = 0;
  for (const auto& place : places_) {
    if (place.life == lives_.size()) written = std::max(written, place.written);
  }
  const auto expected = life.address_of(written);
  return format_text("a fault record in a slot that is not the next one: of %u slots from 0x%llx on, %u records are "
                     "written and %u taken, so the next one %s 0x%llx",
                     life.slots(), static_cast<unsigned long long>(life.base), written, life.taken,
                     written - life.taken < life.slots() ? "goes to" : "waits for room at",
                     static_cast<unsigned long long>(expected));
}

}  // namespace tb
