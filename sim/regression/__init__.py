# SPDX-License-Identifier: Apache-2.0
"""Regressions: lists of cases as data, run in parallel, with results that stay."""
