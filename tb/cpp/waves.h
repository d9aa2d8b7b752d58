// SPDX-License-Identifier: Apache-2.0
// Waves on request. A build without tracing has the same class, and it does nothing.
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "Vtb_top.h"
#if VM_TRACE
#include "verilated_fst_c.h"
#endif

namespace tb {

class Waves {
 public:
#if VM_TRACE
  Waves(Vtb_top& top, const std::string& file, std::uint64_t from) : from_(from) {
    if (file.empty()) return;
    trace_ = std::make_unique<VerilatedFstC>();
    top.trace(trace_.get(), 99);
    trace_->open(file.c_str());
  }
  void sample(std::uint64_t time, std::uint64_t cycle) {
    if (trace_ && cycle >= from_) trace_->dump(time);
  }
  void close() {
    if (trace_) trace_->close();
  }

 private:
  std::uint64_t from_;
  std::unique_ptr<VerilatedFstC> trace_;
#else
  Waves(Vtb_top&, const std::string&, std::uint64_t) {}
  void sample(std::uint64_t, std::uint64_t) {}
  void close() {}
#endif
};

}  // namespace tb
