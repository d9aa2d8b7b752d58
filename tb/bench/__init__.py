# SPDX-License-Identifier: Apache-2.0
"""What the device is measured by: cases, figures and bars. See docs/performance.md."""
