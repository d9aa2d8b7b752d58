// SPDX-License-Identifier: Apache-2.0
// What happens when an assertion fails: it is counted and the simulation goes on, so that the case can say what else
// it saw. The text that the assertion prints stands in the simulation's output; here only its place is kept.
// (Built with VL_USER_STOP, which takes Verilator's own version of this function out.)
#include "testbench.h"
#include "text.h"
#include "verilated.h"

void vl_stop(const char* filename, int linenum, const char* hier) VL_MT_UNSAFE {
  const bool has_scope = hier != nullptr && *hier != '\0';
  tb::testbench().add_failure(tb::format_text("assertion at %s:%d%s%s, time %llu", filename, linenum,
                                              has_scope ? " in " : "", has_scope ? hier : "",
                                              static_cast<unsigned long long>(Verilated::time())));
}
