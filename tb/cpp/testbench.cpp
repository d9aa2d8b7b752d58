// SPDX-License-Identifier: Apache-2.0
#include "testbench.h"

#include <utility>

namespace tb {

void Testbench::add_failure(std::string text) {
  failures.add(std::move(text));
  failures_read = false;
  raise(kCauseAssertionFailure);
}

void Testbench::add_violation(std::string text) {
  violations.add(std::move(text));
  raise(kCauseOwnerViolation);
}

Testbench& testbench() {
  static Testbench instance;
  return instance;
}

}  // namespace tb
