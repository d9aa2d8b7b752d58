// SPDX-License-Identifier: Apache-2.0
// The simulation's program: cocotb runs inside it, the clock is its own.
#include <cstdio>

#include "options.h"
#include "simulation.h"
#include "verilated.h"

int main(int argc, char** argv) {
  const auto options = tb::parse_options(argc, argv);
  if (options.help) {
    std::fputs(tb::kUsage, stdout);
    return 0;
  }
  if (!options.error.empty()) {
    std::fprintf(stderr, "%s\n%s", options.error.c_str(), tb::kUsage);
    return 2;
  }
  Verilated::commandArgs(argc, argv);
  Verilated::fatalOnVpiError(false);  // cocotb asks for things that may not be there
  Verilated::traceEverOn(!options.waves_file.empty());
  tb::Simulation simulation(options);
  // For the ways out that do not come back here, $fatal for one.
  Verilated::addExitCb([](void* pointer) { static_cast<tb::Simulation*>(pointer)->finish(); }, &simulation);
  return simulation.run();
}
