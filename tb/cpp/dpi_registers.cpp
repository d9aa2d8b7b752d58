// SPDX-License-Identifier: Apache-2.0
// DPI functions of what the host writes to registers (tb/sv/tb_register_writes.sv).
#include "Vtb_top__Dpi.h"
#include "testbench.h"

using tb::testbench;

void tb_register_write(unsigned int offset, unsigned long long data, unsigned char strobe) {
  testbench().fault_ring.write_register(offset, data, strobe);
}

void tb_registers_reset(unsigned char begins) { testbench().fault_ring.reset(begins != 0); }
