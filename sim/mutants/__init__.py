# SPDX-License-Identifier: Apache-2.0
"""The RTL with single changes made on purpose, to see whether the regressions notice."""
