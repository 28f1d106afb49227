"""Makes `python -m finer_rewards` the same as the command `finer-rewards`."""

import sys

from finer_rewards.cli import main

if __name__ == "__main__":
    sys.exit(main())
