# SPDX-License-Identifier: Apache-2.0
"""`python -m sim`."""

from sim.cli import main

if __name__ == "__main__":
    main()
