"""`python -m tests.chaos --seed 7`: the fault suite. Results are appended to a file of the seed, so that it resumes."""

from __future__ import annotations

import argparse
import fnmatch
import random
import sys
import time
from pathlib import Path

from tests.chaos import rows as _rows  # noqa: F401 # registers them
from tests.chaos.row import ROWS, Row
from tests.chaos.stages import builders
from tests.chaos.suite import Result, Suite, line
from tests.support.debian import postgres_with_tls
from tests.support.versions import choose


def _say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def _chosen(patterns: list[str]) -> list[Row]:
    chosen = [row for row in ROWS.values() if not patterns or any(fnmatch.fnmatch(row.name, each) for each in patterns)]
    if not chosen:
        sys.exit(f"no row is named {' or '.join(patterns)}: --list tells them all")
    return chosen


def _table(results: list[Result], seed: int, seconds: float) -> None:
    _say("")
    _say(f"verdict {'row':<42} {'invariants':<12}   took    figures")
    for result in results:
        _say(line(result))
        for sentence in result.broken[:5]:
            _say(f"       {sentence}")
    bad = sum(not result.ok for result in results)
    _say(f"seed {seed}: {len(results)} rows, {len(results) - bad} held, {bad} broken; this run took {seconds:.0f} s")


def main() -> int:
    """0: every row held; 1: one did not."""
    parser = argparse.ArgumentParser(prog="make chaos", description=__doc__)
    parser.add_argument("--seed", type=int, default=None, help="what is drawn (default: a new one)")
    parser.add_argument(
        "--row", action="append", default=[], help="only these rows; * and ? stand for others; again for more"
    )
    parser.add_argument("--drawn", action="store_true", help="only rows in which something is drawn")
    parser.add_argument("--results", type=Path, default=Path("chaos"), help="the folder of the results")
    parser.add_argument("--again", action="store_true", help="forget this seed's results of the chosen rows first")
    parser.add_argument("--rabbitmq", choices=["4"], help="on this RabbitMQ, as `make versions` made it")
    parser.add_argument("--postgres", choices=["15"], help="on this PostgreSQL, the same")
    parser.add_argument("--tls", action="store_true", help="to PostgreSQL, too: then it is Debian 12's 15")
    parser.add_argument("--list", action="store_true", help="tell the rows and end")
    told = parser.parse_args()
    chosen = [row for row in _chosen(told.row) if row.drawn or not told.drawn]
    if told.list:
        for row in chosen:
            _say(f"{row.name:<42} {row.invariants:<12} {row.says}")
        return 0
    seed = told.seed if told.seed is not None else random.SystemRandom().randrange(1_000_000)
    if told.tls and not postgres_with_tls():
        sys.exit("there is no PostgreSQL with TLS here: as root, apt-get can have it")
    choose(postgres=bool(told.postgres) or told.tls, rabbitmq=bool(told.rabbitmq))
    on = "".join(f"-{name}-{version}" for name in ("rabbitmq", "postgres") if (version := getattr(told, name)))
    on += "-tls" if told.tls else ""
    results = told.results / f"seed-{seed}{on}.jsonl"
    if told.again and results.exists():
        names = {row.name for row in chosen}
        kept = [
            text for text in results.read_text().splitlines() if not any(f'"row": "{name}"' in text for name in names)
        ]
        results.write_text("".join(f"{text}\n" for text in kept))
    _say(f"seed {seed}: {len(chosen)} rows")
    began = time.monotonic()
    found = Suite(seed, results, builders(tls=told.tls), _say).run(chosen)
    _table(found, seed, time.monotonic() - began)
    return int(any(not result.ok for result in found))


if __name__ == "__main__":
    sys.exit(main())
