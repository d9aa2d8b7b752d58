# SPDX-License-Identifier: Apache-2.0
"""Conformance: the host model makes what a real kernel was recorded to do, and is compared with it."""
