# SPDX-License-Identifier: Apache-2.0
"""The host and the golden device in plain Python: nothing here imports a simulator, the testbench or the
command line.
"""
