// SPDX-License-Identifier: Apache-2.0
// One simulation: the model, its clock, and the loop that lets cocotb take part.
#pragma once

#include <csignal>
#include <cstdint>
#include <memory>

#include "Vtb_top.h"
#include "options.h"
#include "waves.h"

namespace tb {

class Simulation {
 public:
  explicit Simulation(const Options& options);

  // Runs until cocotb ends the simulation. Returns the exit status of the process.
  int run();

  // What is left to do at the end, however it came; does it once.
  void finish();

 private:
  static constexpr std::uint64_t kHalfPeriod = 5000;  // picoseconds

  void start();
  bool take_writes();
  void settle();
  void step_to(std::uint64_t time);
  std::uint64_t next_event() const;
  void tell_python();
  void look_for_interrupt();

  std::unique_ptr<Vtb_top> top_;
  Waves waves_;
  std::uint64_t time_ = 0;
  std::uint64_t next_edge_ = kHalfPeriod;
  std::uint64_t cycle_ = 0;  // of the case, as tb_top counts it
  int interrupts_taken_ = 0;
  bool finished_ = false;
};

}  // namespace tb
