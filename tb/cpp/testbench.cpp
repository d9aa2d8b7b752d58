// SPDX-License-Identifier: Apache-2.0
#include "testbench.h"

#include <algorithm>
#include <utility>

#include "text.h"

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

void Testbench::post_requests(std::uint32_t count) {
  count = std::min(count, clients.total);
  for (; clients.posted < count; ++clients.posted) {
    const auto client = clients.requests[clients.posted].client;
    if (client == 0 || client >= clients.ports.size()) {
      add_failure(format_text("request %u names client %u, which has no port: there are ports 1 to %zu", clients.posted,
                              client, clients.ports.size() - 1));
      continue;
    }
    clients.ports[client].rows.push_back(clients.posted);
  }
}

Testbench& testbench() {
  static Testbench instance;
  return instance;
}

}  // namespace tb
