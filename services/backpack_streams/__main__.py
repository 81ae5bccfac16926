"""Lets `python -m backpack_streams` be the program `backpack-streams`."""

import sys

from backpack_streams.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
