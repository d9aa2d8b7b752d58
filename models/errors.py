# SPDX-License-Identifier: Apache-2.0
"""The one exception for mistakes that the person at the keyboard can mend."""


class UserError(Exception):
    """Bad input. Its text is one clear sentence that says what to do; the command line prints it and exits with 2."""
