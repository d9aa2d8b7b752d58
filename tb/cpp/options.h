// SPDX-License-Identifier: Apache-2.0
// The simulation's own command line; everything that starts with + is Verilator's.
#pragma once

#include <cstdint>
#include <string>

namespace tb {

struct Options {
  std::string waves_file;        // empty: no waves
  std::uint64_t waves_from = 0;  // first cycle of a case that is recorded
  bool help = false;
  std::string error;  // not empty: the command line makes no sense, and this says why
};

Options parse_options(int argc, char** argv);

extern const char* const kUsage;

}  // namespace tb
