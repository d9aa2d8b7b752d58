// SPDX-License-Identifier: Apache-2.0
// The records that Python hands over and reads back: the same layout as the NumPy structures of tb/records.py.
#pragma once

#include <cstdint>

namespace tb {

struct Request {
  std::uint64_t va;
  std::uint32_t pasid;
  std::uint8_t access;
  std::uint8_t client;
  std::uint16_t pause;
  std::uint16_t hold;
  std::uint16_t flags;
  std::uint32_t after_action;
  std::uint8_t length;
  std::uint8_t reserved[7];
};
static_assert(sizeof(Request) == 32);

struct Response {
  std::uint64_t pa;
  std::uint64_t accept_cycle;
  std::uint64_t finish_cycle;
  std::uint64_t release_cycle;
  std::uint8_t status;
  std::uint8_t reason;
  std::uint8_t order;
  std::uint8_t permissions;
  std::uint8_t memory;
  std::uint8_t id;
  std::uint8_t done;
  std::uint8_t reserved;
  std::uint64_t data_cycle;
};
static_assert(sizeof(Response) == 48);

struct Action {
  std::uint32_t kind;
  std::uint32_t after_request;
  std::uint64_t not_before;
  std::uint64_t address;
  std::uint64_t data;
  std::uint64_t mask;
  std::uint32_t delay;
  std::uint32_t flags;
};
static_assert(sizeof(Action) == 48);

struct ActionResult {
  std::uint64_t start_cycle;
  std::uint64_t done_cycle;
  std::uint64_t data;
  std::uint32_t status;
  std::uint32_t done;
};
static_assert(sizeof(ActionResult) == 32);

struct Event {
  std::uint64_t cycle;
  std::uint64_t va;
  std::uint64_t pa;
  std::uint64_t extra;
  std::uint32_t pasid;
  std::uint8_t kind;
  std::uint8_t id;
  std::uint8_t code;
  std::uint8_t reason;
  std::uint8_t client;
  std::uint8_t reserved[7];
};
static_assert(sizeof(Event) == 48);

struct Settings {
  std::uint64_t seed;
  std::uint64_t watchdog_cycles;
  std::uint32_t flags;
  std::uint16_t read_latency_min;
  std::uint16_t read_latency_max;
  std::uint16_t write_latency_min;
  std::uint16_t write_latency_max;
  std::uint8_t ar_pause;
  std::uint8_t r_pause;
  std::uint8_t aw_pause;
  std::uint8_t w_pause;
  std::uint8_t b_pause;
  std::uint8_t reserved[7];
};
static_assert(sizeof(Settings) == 40);

// Request::access.
enum Access : std::uint8_t {
  kAccessRead = 0,
  kAccessWrite = 1,
  kAccessAtomic = 2,
  kAccessPrefetch = 3,
};

// Bits of Request::flags.
enum RequestFlag : std::uint16_t {
  kRequestOrdered = 1,
};

// Bits of Response::permissions.
enum Permission : std::uint8_t {
  kPermissionWrite = 1,
  kPermissionAtomic = 2,
};

// Bits of Response::done.
enum Done : std::uint8_t {
  kDoneAccepted = 1,
  kDoneFinished = 2,
  kDoneReleased = 4,
  kDoneReset = 8,
};

// Action::kind, as far as the memory serves it; tb/sv/tb_pkg.sv lists all.
enum ActionKind : std::uint32_t {
  kActionWriteMemory = 1,
  kActionReadMemory = 2,
  kActionWaitMemory = 5,
  kActionSetOwner = 8,
};

// Bits of Settings::flags.
enum SettingsFlag : std::uint32_t {
  kSettingsReportFetched = 1,
  kSettingsDeviceEvents = 2,
};

// Why Python is woken: bits of a mask that stays set until Python takes it.
enum Cause : std::uint32_t {
  kCauseRequestsDone = 1,
  kCauseActionsDone = 2,
  kCauseRequestFetched = 4,
  kCauseStalled = 8,
  kCauseOwnerViolation = 16,
  kCauseAssertionFailure = 32,
  kCauseKeyboardInterrupt = 64,
};

}  // namespace tb
