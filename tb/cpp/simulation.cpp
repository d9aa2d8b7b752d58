// SPDX-License-Identifier: Apache-2.0
#include "simulation.h"

#include <algorithm>
#include <cstdio>

#include "testbench.h"
#include "verilated.h"
#include "verilated_vpi.h"
#if VM_COVERAGE
#include "verilated_cov.h"
#endif

// Loads cocotb; it lives in cocotb's VPI library.
extern "C" void vlog_startup_routines_bootstrap(void);

namespace tb {

namespace {

constexpr int kExitInterrupted = 130;  // what a shell reports for a process that the keyboard ended

volatile std::sig_atomic_t interrupts = 0;

void count_interrupt(int) { interrupts = interrupts + 1; }

// Value callbacks may write signals that others wait for.
void run_value_callbacks() {
  while (VerilatedVpi::callValueCbs()) {
  }
}

}  // namespace

Simulation::Simulation(const Options& options)
    : top_(std::make_unique<Vtb_top>("")), waves_(*top_, options.waves_file, options.waves_from) {}

void Simulation::start() {
  // Inputs begin with random values like everything else. Out of reset, the device would do something before time begins.
  top_->clk = 0;
  top_->rst_n = 0;
  vlog_startup_routines_bootstrap();
  VerilatedVpi::callCbs(cbStartOfSimulation);
  run_value_callbacks();
  // After Python has started, which sets a handler of its own.
  std::signal(SIGINT, count_interrupt);
}

// Turns whatever the testbench has raised into an edge that a coroutine can wait for.
void Simulation::tell_python() {
  auto& state = testbench();
  if (!state.wake) return;
  state.wake = false;
  top_->wake_i = !top_->wake_i;
}

void Simulation::look_for_interrupt() {
  if (interrupts == interrupts_taken_) return;
  interrupts_taken_ = interrupts;
  testbench().raise(kCauseKeyboardInterrupt);
}

// Carries out what cocotb wants to write. Returns whether it wrote anything, and then tells tb_top.
bool Simulation::take_writes() {
  VerilatedVpi::doInertialPuts();
  run_value_callbacks();
  if (!VerilatedVpi::evalNeeded()) return false;
  VerilatedVpi::clearEvalNeeded();
  top_->pins_written_i = !top_->pins_written_i;
  return true;
}

// Evaluates the present point in time until nobody changes anything any more.
void Simulation::settle() {
  do {
    do {
      top_->eval_step();
      tell_python();
    } while (take_writes());
    VerilatedVpi::callCbs(cbReadWriteSynch);
  } while (take_writes());
  top_->eval_end_step();
  VerilatedVpi::callCbs(cbReadOnlySynch);
}

std::uint64_t Simulation::next_event() const {
  std::uint64_t next = std::min<std::uint64_t>(next_edge_, VerilatedVpi::cbNextDeadline());
  if (top_->eventsPending()) next = std::min<std::uint64_t>(next, top_->nextTimeSlot());
  return next;
}

void Simulation::step_to(std::uint64_t time) {
  time_ = time;
  Verilated::threadContextp()->time(time);
  VerilatedVpi::callCbs(cbNextSimTime);
  run_value_callbacks();
  VerilatedVpi::callTimedCbs();
  run_value_callbacks();
  if (time != next_edge_) return;
  top_->clk = !top_->clk;
  next_edge_ += kHalfPeriod;
  if (top_->clk) cycle_ = top_->rst_n ? cycle_ + 1 : 0;
}

// A loop over whole cycles without VPI would stand where step_to() stands, after a look at the causes: it ends before
// the edge that follows a cause, and before next_event().
int Simulation::run() {
  start();
  while (!Verilated::gotFinish()) {
    settle();
    waves_.sample(time_, cycle_);
    look_for_interrupt();
    if (interrupts_taken_ > 1) {
      std::fputs("Interrupted a second time: the simulation ends at once.\n", stderr);
      finish();
      return kExitInterrupted;
    }
    step_to(next_event());
  }
  top_->final();
  finish();
  const auto& state = testbench();
  if (!state.failures_read) {
    std::fprintf(stderr, "%s (and nothing looked at it)\n", state.failures.texts().front().c_str());
    return 1;
  }
  return 0;
}

void Simulation::finish() {
  if (finished_) return;
  finished_ = true;
  VerilatedVpi::callCbs(cbEndOfSimulation);
  waves_.close();
#if VM_COVERAGE
  Verilated::threadContextp()->coveragep()->write();
#endif
}

}  // namespace tb
