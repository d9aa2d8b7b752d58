// SPDX-License-Identifier: Apache-2.0
// Bench of the entry decoder and of the format check alone: many entries side by side under one
// format, so that words which must never be linked as a table (of calls that failed, or that lost
// their sequence) meet the RTL all the same.

module tb_decoder
  import hmm_structures_pkg::*;
  import hmm_pkg::*;
#(
  parameter int unsigned Lanes = 64
) (
  input  logic                   clk,  // the simulation's main toggles it; nothing here is clocked
  // The format
  input  logic [63:0]            format_valid,
  input  logic [63:0]            format_write,
  input  logic [63:0]            format_error,
  input  logic [63:0]            format_none,
  input  logic [63:0]            format_special,
  input  logic [63:0]            format_device_private,
  input  logic [63:0]            format_atomic,
  input  logic [63:0]            format_error_value,
  input  logic [63:0]            format_none_value,
  input  logic [63:0]            format_special_value,
  input  logic                   format_error_is_value,
  input  logic                   format_none_is_value,
  input  logic                   format_special_is_value,
  input  logic [5:0]             format_pfn_shift,
  input  logic [6:0]             format_pfn_width,
  input  logic [5:0]             format_order_shift,
  input  logic [4:0]             format_order_width,
  input  logic [51:0]            window_base,
  input  logic [35:0]            window_count,
  output logic [5:0]             refused,
  // The entries; lane i stands in bits i of each
  input  logic [Lanes-1:0][63:0] entry,
  input  logic [Lanes-1:0][63:0] vpn,
  input  logic [Lanes-1:0][7:0]  page_shift,
  input  logic [Lanes-1:0][7:0]  max_order,
  input  logic [Lanes-1:0][7:0]  span_order,
  input  logic [Lanes-1:0]       page_only,
  output logic [Lanes-1:0][7:0]  reason,
  output logic [Lanes-1:0][63:0] base,
  output logic [Lanes-1:0][7:0]  order,
  output logic [Lanes-1:0]       write,
  output logic [Lanes-1:0]       atomic,
  output logic [Lanes-1:0]       device
);

  entry_format_t entry_format;

  assign entry_format = '{
    valid:            format_valid,
    write:            format_write,
    error:            format_error,
    none:             format_none,
    special:          format_special,
    device_private:   format_device_private,
    atomic:           format_atomic,
    error_value:      format_error_value,
    none_value:       format_none_value,
    special_value:    format_special_value,
    error_is_value:   format_error_is_value,
    none_is_value:    format_none_is_value,
    special_is_value: format_special_is_value,
    pfn_shift:        format_pfn_shift,
    pfn_width:        format_pfn_width,
    order_shift:      format_order_shift,
    order_width:      format_order_width,
    window_base:      window_base,
    window_count:     window_count
  };

  hmm_format_check u_format_check (
    .format_i  (entry_format),
    .refused_o (refused)
  );

  for (genvar i = 0; i < Lanes; i++) begin : gen_lane
    reason_e      lane_reason;
    translation_t lane_translation;

    hmm_entry_decoder u_decoder (
      .format_i      (entry_format),
      .entry_i       (entry[i]),
      .vpn_i         (vpn[i]),
      .page_shift_i  (page_shift[i][5:0]),
      .max_order_i   (max_order[i][4:0]),
      .span_order_i  (span_order[i][5:0]),
      .page_only_i   (page_only[i]),
      .reason_o      (lane_reason),
      .translation_o (lane_translation)
    );

    assign reason[i] = {4'd0, lane_reason};
    assign base[i]   = 64'(lane_translation.base);
    assign order[i]  = {2'd0, lane_translation.order};
    assign write[i]  = lane_translation.write;
    assign atomic[i] = lane_translation.atomic;
    assign device[i] = (lane_translation.memory == MEMORY_DEVICE);
  end

  logic unused;
  assign unused = ^{clk, page_shift, max_order, span_order};

endmodule
