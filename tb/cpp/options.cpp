// SPDX-License-Identifier: Apache-2.0
#include "options.h"

#include <charconv>

namespace tb {

const char* const kUsage =
    "usage: simulation [--waves FILE] [--waves-from CYCLE] [+verilator+...]\n"
    "  --waves FILE        record waves into FILE (FST; needs a build with waves)\n"
    "  --waves-from CYCLE  record from this cycle of each case on\n";

namespace {

bool parse_number(const std::string& text, std::uint64_t& number) {
  const auto* end = text.data() + text.size();
  const auto [stop, code] = std::from_chars(text.data(), end, number);
  return code == std::errc() && stop == end && !text.empty();
}

}  // namespace

Options parse_options(int argc, char** argv) {
  Options options;
  for (int index = 1; index < argc; ++index) {
    const std::string argument = argv[index];
    const bool has_value = index + 1 < argc;
    if (argument.empty() || argument[0] == '+') continue;
    if (argument == "--help") {
      options.help = true;
    } else if (argument == "--waves" && has_value) {
      options.waves_file = argv[++index];
    } else if (argument == "--waves-from" && has_value) {
      if (!parse_number(argv[++index], options.waves_from)) {
        options.error = "Give --waves-from a cycle number.";
      }
    } else {
      options.error = "The argument " + argument + " is unknown or lacks its value.";
    }
  }
#if !VM_TRACE
  if (!options.waves_file.empty()) options.error = "This build records no waves: use the checked build.";
#endif
  return options;
}

}  // namespace tb
