// SPDX-License-Identifier: Apache-2.0
// Says whether a slot of the descriptor ring is a descriptor that the access engine can perform.
// See docs/engine.md, "Descriptors".

module hmm_engine_check
  import hmm_structures_pkg::*;
  import hmm_pkg::*;
(
  input  descriptor_t descriptor_i,
  output logic        malformed_o
);

  logic known, source_used, destination_used, buffer_used, operand_used;

  // Which fields an opcode uses; every other field must be 0.
  //   opcode      | source  destination  buffer  operand
  //   READ        |   1         0          1        0
  //   WRITE       |   0         1          1        0
  //   COPY        |   1         1          0        0
  //   ATOMIC_ADD  |   0         1          0        1
  //   other       | not a descriptor
  always_comb begin
    known            = 1'b1;
    source_used      = 1'b0;
    destination_used = 1'b0;
    buffer_used      = 1'b0;
    operand_used     = 1'b0;
    unique case (descriptor_i.opcode)
      ENGINE_OPCODE_READ: begin
        source_used = 1'b1;
        buffer_used = 1'b1;
      end
      ENGINE_OPCODE_WRITE: begin
        destination_used = 1'b1;
        buffer_used      = 1'b1;
      end
      ENGINE_OPCODE_COPY: begin
        source_used      = 1'b1;
        destination_used = 1'b1;
      end
      ENGINE_OPCODE_ATOMIC_ADD: begin
        destination_used = 1'b1;
        operand_used     = 1'b1;
      end
      default: known = 1'b0;
    endcase
  end

  logic reserved_set, source_set, destination_set, buffer_bad, atomic_bad;
  logic [PaBits:0] buffer_end;

  assign reserved_set = (descriptor_i.reserved_0 != '0) || (descriptor_i.reserved_1 != '0) ||
                        (descriptor_i.reserved_2 != '0) || (descriptor_i.reserved_3 != '0) ||
                        (descriptor_i.reserved_4 != '0);
  assign source_set = (descriptor_i.source_pasid != '0) || (descriptor_i.source_va != '0);
  assign destination_set = (descriptor_i.destination_pasid != '0) ||
                           (descriptor_i.destination_va != '0);

  // The first address behind the buffer may be the first one behind the bus.
  assign buffer_end = {1'b0, descriptor_i.buffer[PaBits-1:0]} + {17'd0, descriptor_i.length};
  assign buffer_bad = (descriptor_i.buffer[63:PaBits] != '0) ||
                      (buffer_end > {1'b1, {PaBits{1'b0}}});
  assign atomic_bad = (descriptor_i.length != 32'd8) || (descriptor_i.destination_va[2:0] != '0);

  assign malformed_o = !known || reserved_set || (descriptor_i.length == '0) ||
                       (source_set && !source_used) ||
                       (destination_set && !destination_used) ||
                       (buffer_used ? buffer_bad : (descriptor_i.buffer != '0)) ||
                       (descriptor_i.operand != '0 && !operand_used) ||
                       (operand_used && atomic_bad);

  logic unused_flags;
  assign unused_flags = descriptor_i.interrupt ^ descriptor_i.ordered;

endmodule
