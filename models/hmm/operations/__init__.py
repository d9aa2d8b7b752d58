# SPDX-License-Identifier: Apache-2.0
"""What changes an address space: system calls, and what the kernel does by itself. Each tells the notifiers where its
own steps change entries. Source: docs/host.md, "Operations".
"""
