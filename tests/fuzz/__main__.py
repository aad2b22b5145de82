"""Fuzz the real process: `python -m tests.fuzz [--seconds 600] [--seed 1]`.

Inputs of a corpus are mutated at random, from a seed: HTTP as raw bytes, WebSocket frames as raw
bytes after a handshake, memcached's answers, and settings. Meanwhile a healthy client must receive
everything that is published.
"""

import argparse
import asyncio
import sys
import time
from collections.abc import Sequence

from tests.fuzz.run import fuzz


def main(arguments: Sequence[str] | None = None) -> int:
    """Run from the command line."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.fuzz",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--seconds", type=float, default=600, help="length of the run (600)")
    parser.add_argument("--seed", type=int, default=int(time.time()), help="the seed to repeat")
    flags = parser.parse_args(arguments)
    print(asyncio.run(fuzz(flags.seed, flags.seconds)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
