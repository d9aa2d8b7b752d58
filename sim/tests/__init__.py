# SPDX-License-Identifier: Apache-2.0
"""Tests of the command line, the builds and the generated files."""
