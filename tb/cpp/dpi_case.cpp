// SPDX-License-Identifier: Apache-2.0
// DPI functions for the case as a whole: its settings, the event log, the watchdog.
#include "Vtb_top__Dpi.h"
#include "testbench.h"

using tb::testbench;

namespace {

// Spreads a small seed over 64 bits (the finaliser of splitmix64); never 0, where a shift register would stay.
std::uint64_t spread(std::uint64_t seed) {
  seed += 0x9e3779b97f4a7c15;
  seed = (seed ^ (seed >> 30)) * 0xbf58476d1ce4e5b9;
  seed = (seed ^ (seed >> 27)) * 0x94d049bb133111eb;
  seed ^= seed >> 31;
  return seed == 0 ? 1 : seed;
}

}  // namespace

void tb_load_memory_settings(unsigned long long* random, unsigned short* read_latency_min,
                             unsigned short* read_latency_max, unsigned short* write_latency_min,
                             unsigned short* write_latency_max, unsigned char* ar_pause, unsigned char* r_pause,
                             unsigned char* aw_pause, unsigned char* w_pause, unsigned char* b_pause) {
  const auto& settings = testbench().settings;
  *random = spread(settings.seed);
  *read_latency_min = settings.read_latency_min;
  *read_latency_max = settings.read_latency_max;
  *write_latency_min = settings.write_latency_min;
  *write_latency_max = settings.write_latency_max;
  *ar_pause = settings.ar_pause;
  *r_pause = settings.r_pause;
  *aw_pause = settings.aw_pause;
  *w_pause = settings.w_pause;
  *b_pause = settings.b_pause;
}

unsigned long long tb_load_watchdog_cycles() { return testbench().settings.watchdog_cycles; }

void tb_event(unsigned long long cycle, unsigned char kind, unsigned char client, unsigned char id, unsigned char code,
              unsigned char reason, unsigned int pasid, unsigned long long va, unsigned long long pa,
              unsigned long long extra) {
  testbench().events.push_back(tb::Event{cycle, va, pa, extra, pasid, kind, id, code, reason, client, {}});
}

unsigned char tb_load_device_events() { return (testbench().settings.flags & tb::kSettingsDeviceEvents) != 0; }

void tb_device_event(unsigned long long cycle, unsigned char kind, unsigned char id, unsigned char reason,
                     unsigned long long pa, unsigned long long extra) {
  testbench().device_events.push_back(tb::Event{cycle, 0, pa, extra, 0, kind, id, 0, reason, 0});
}

// Whether something of the case is still to be done: the watchdog counts only then.
unsigned char tb_case_is_open() {
  const auto& state = testbench();
  return state.clients.released < state.clients.total || state.host.done < state.host.total;
}

void tb_stalled() { testbench().raise(tb::kCauseStalled); }
