# SPDX-License-Identifier: Apache-2.0
"""Everything around a simulation: set-up, code generation, builds, runs and the command line."""
