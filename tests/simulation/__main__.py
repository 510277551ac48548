"""`python -m tests.simulation --seed N --fires N`: one world; exit code 1 if an invariant broke."""

from __future__ import annotations

import argparse
import random
import sys

from tests.simulation.quiet import be_quiet
from tests.simulation.run import run
from tests.simulation.trouble import KINDS


def main() -> int:
    """The command."""
    parser = argparse.ArgumentParser(prog="python -m tests.simulation", description="Simulate weeks of a lab.")
    parser.add_argument("--seed", type=int, default=None, help="the same seed is the same run (default: a new one)")
    parser.add_argument("--fires", type=int, default=20_000, help="at least so many fires are decided")
    parser.add_argument("--trouble", choices=sorted(KINDS), default="plenty", help="what goes wrong, and how often")
    given = parser.parse_args()
    be_quiet()
    seed = random.SystemRandom().randrange(1_000_000) if given.seed is None else given.seed
    done = run(seed, given.fires, KINDS[given.trouble])
    sys.stdout.write("\n".join(done.lines()) + f"\ndigest: {done.digest}\nThe same again: {done.command()}\n")
    if done.broken is not None:
        sys.stdout.write(f"BROKEN {done.complaint()}\n")
    return 0 if done.broken is None else 1


if __name__ == "__main__":
    sys.exit(main())
