// SPDX-License-Identifier: Apache-2.0
// printf into a std::string.
#pragma once

#include <cstdarg>
#include <cstdio>
#include <string>

namespace tb {

[[gnu::format(printf, 1, 2)]] inline std::string format_text(const char* format, ...) {
  char buffer[512];
  std::va_list arguments;
  va_start(arguments, format);
  std::vsnprintf(buffer, sizeof buffer, format, arguments);
  va_end(arguments);
  return buffer;
}

}  // namespace tb
