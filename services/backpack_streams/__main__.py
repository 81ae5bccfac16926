"""Entry point of `python -m backpack_streams`: the same program as `backpack-streams`."""

import sys

from backpack_streams.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
