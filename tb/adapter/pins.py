# SPDX-License-Identifier: Apache-2.0
"""Names of the signals of tb_top, for everything in Python that touches one. Nothing else names a signal.

Each table maps the name that an agent uses to the signal's name after the bus's prefix and an underscore.
"""

from __future__ import annotations

CLIENT_PINS = "pin"
"""Prefix of the client port's inputs; they count while `pin_client_i` is 1."""
CLIENT = "client"
"""Prefix of what is on the client port, whoever drives it."""
AXIL_PINS = "pin_axil"
"""Prefix of the register port's inputs; they count while `pin_axil_i` is 1."""
AXI = "axi"
"""Prefix of what is on the memory bus."""

REQUEST_SIGNALS_DRIVEN = {
    "valid": "req_valid_i",
    "ready": "req_ready_o",
    "id": "req_id_i",
    "pasid": "req_pasid_i",
    "va": "req_va_i",
    "access": "req_access_i",
    "response_ready": "rsp_ready_i",
}
REQUEST_SIGNALS = {
    "valid": "req_valid_o",
    "ready": "req_ready_o",
    "id": "req_id_o",
    "pasid": "req_pasid_o",
    "va": "req_va_o",
    "access": "req_access_o",
}
RESPONSE_SIGNALS = {
    "valid": "rsp_valid_o",
    "ready": "rsp_ready_o",
    "id": "rsp_id_o",
    "aborted": "rsp_aborted_o",
    "reason": "rsp_reason_o",
    "pa": "rsp_pa_o",
    "order": "rsp_order_o",
    "write": "rsp_write_o",
    "atomic": "rsp_atomic_o",
    "memory": "rsp_memory_o",
}
RELEASE_SIGNALS_DRIVEN = {"valid": "rel_valid_i", "id": "rel_id_i"}
RELEASE_SIGNALS = {"valid": "rel_valid_o", "id": "rel_id_o"}

AXIL_SIGNALS_DRIVEN = {
    "AWVALID": "awvalid_i",
    "AWREADY": "awready_o",
    "AWADDR": "awaddr_i",
    "WVALID": "wvalid_i",
    "WREADY": "wready_o",
    "WDATA": "wdata_i",
    "WSTRB": "wstrb_i",
    "BVALID": "bvalid_o",
    "BREADY": "bready_i",
    "BRESP": "bresp_o",
    "ARVALID": "arvalid_i",
    "ARREADY": "arready_o",
    "ARADDR": "araddr_i",
    "RVALID": "rvalid_o",
    "RREADY": "rready_i",
    "RDATA": "rdata_o",
    "RRESP": "rresp_o",
}
"""The names on the left are those of cocotb-bus's AXI4-Lite master."""

READ_SIGNALS = {
    "address_valid": "arvalid_o",
    "address_ready": "arready_o",
    "address_id": "arid_o",
    "address": "araddr_o",
    "data_valid": "rvalid_o",
    "data_ready": "rready_o",
    "data_id": "rid_o",
    "data": "rdata_o",
    "response": "rresp_o",
}
WRITE_SIGNALS = {
    "address_valid": "awvalid_o",
    "address_ready": "awready_o",
    "address_id": "awid_o",
    "address": "awaddr_o",
    "data_valid": "wvalid_o",
    "data_ready": "wready_o",
    "data": "wdata_o",
    "strobe": "wstrb_o",
    "response_valid": "bvalid_o",
    "response_ready": "bready_o",
    "response_id": "bid_o",
    "response": "bresp_o",
}

CLIENT_REQUESTS = ("clients_req_valid_o", "clients_req_ready_o")
"""(valid, ready) of the requests of all client ports, a bit for each, that of client 1 lowest."""
HANDSHAKES = {
    "responses of client 1": ("client_rsp_valid_o", "client_rsp_ready_o"),
    "read addresses": ("axi_arvalid_o", "axi_arready_o"),
    "read data": ("axi_rvalid_o", "axi_rready_o"),
    "write addresses": ("axi_awvalid_o", "axi_awready_o"),
    "write data": ("axi_wvalid_o", "axi_wready_o"),
    "write responses": ("axi_bvalid_o", "axi_bready_o"),
}
"""(valid, ready) of every channel whose state says who waits for whom."""
