# SPDX-License-Identifier: Apache-2.0
"""The race explorer: every action of the host against every event of the device, at every distance."""
