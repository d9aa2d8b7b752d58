// SPDX-License-Identifier: Apache-2.0
// Everything that the C++ side knows about the case that runs. One structure, so that clear() forgets all of it.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <vector>

#include "fault_ring.h"
#include "memory.h"
#include "records.h"

namespace tb {

constexpr std::uint32_t kIds = 256;  // ids that fit into a record; a device uses the lowest of them
constexpr std::uint32_t kDataBytes = 64;  // the data of a request
constexpr std::uint32_t kNoRequest = 0xffff'ffff;

// One client port.
struct Port {
  std::vector<std::uint32_t> rows;       // the port's requests that are filled in: places in the array
  std::size_t fetched = 0;               // of these, how many the transactor has taken
  std::vector<std::uint32_t> open_rows;  // of these, which it has taken and not yet released, in no order
  std::array<std::uint32_t, kIds> open;  // by id: the request that holds it, or kNoRequest
  std::array<std::uint32_t, kIds> last;  // by id: the request that holds it or held it last, or kNoRequest

  Port() {
    open.fill(kNoRequest);
    last.fill(kNoRequest);
  }
};

// The requests of all client ports and what came of them. The arrays belong to Python.
struct Clients {
  const Request* requests = nullptr;
  Response* responses = nullptr;
  std::uint32_t total = 0;     // requests of the case
  std::uint32_t posted = 0;    // of these, how many Python has filled in
  std::uint32_t released = 0;  // requests whose grant has ended, or that got none
  std::vector<Port> ports;     // by client number; the engine's, 0, takes nothing
};

// The actions of the host and what came of them. The arrays belong to Python.
struct Host {
  const Action* actions = nullptr;
  ActionResult* results = nullptr;
  std::uint32_t total = 0;
  std::uint32_t fetched = 0;
  std::uint32_t done = 0;
};

// Something that went wrong, counted; the first texts are kept.
class FailureList {
 public:
  static constexpr std::size_t kKept = 16;

  void add(std::string text) {
    if (texts_.size() < kKept) texts_.push_back(std::move(text));
    ++count_;
  }
  std::uint64_t count() const { return count_; }
  const std::vector<std::string>& texts() const { return texts_; }

 private:
  std::uint64_t count_ = 0;
  std::vector<std::string> texts_;
};

struct Testbench {
  Settings settings{};
  Clients clients;
  std::uint8_t* request_data = nullptr;  // kDataBytes for each request, or null: no request moves data
  Host host;
  Memory memory;
  Memory device_memory;  // the device's own
  FaultRing fault_ring;  // what the host wrote to its registers
  std::array<Grant, kIds> inner_grants{};  // by id
  std::vector<Event> events;
  std::vector<Event> device_events;  // only if the settings ask for them
  FailureList violations;  // accesses of the device that the owner map forbids
  FailureList failures;    // failed assertions, and answers of the device that nobody asked for
  bool failures_read = true;  // Python has looked at `failures` since the last one was added
  std::uint32_t causes = 0;
  bool wake = false;  // a cause was raised and the simulation has not told Python yet

  void raise(Cause cause) {
    causes |= cause;
    wake = true;
  }
  void add_failure(std::string text);
  void add_violation(std::string text);
  // Python has filled in the first `count` requests: each port learns of its own.
  void post_requests(std::uint32_t count);
};

// The one instance: DPI functions carry no other way to it.
Testbench& testbench();

}  // namespace tb
