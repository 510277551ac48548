"""`python -m tests.chaos.report chaos/seed-*.jsonl`: the results of some seeds as a table for a page, in Markdown."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from tests.chaos import rows as _rows  # noqa: F401 # registers them
from tests.chaos.row import ROWS
from tests.chaos.suite import Result, read


def table(seeds: Mapping[str, Mapping[str, Result]]) -> list[str]:
    """A line for each row of the suite, a column for each seed: its seconds, or that it broke, or nothing."""
    lines = [
        f"| row | what is done | invariants | {' | '.join(seeds)} | figures of the first |",
        f"|---|---|---|{'---:|' * len(seeds)}---|",
    ]
    for row in ROWS.values():
        cells = [_cell(results.get(row.name)) for results in seeds.values()]
        first = next((results[row.name] for results in seeds.values() if row.name in results), None)
        # The last of the notes is how many ran and were skipped: true of any row, and of no interest in a table.
        figures = "; ".join(first.notes[:-1]) if first is not None else ""
        lines.append(f"| `{row.name}` | {row.says} | {row.invariants} | {' | '.join(cells)} | {figures} |")
    for name, results in seeds.items():
        broken = sum(not result.ok for result in results.values())
        minutes = sum(result.seconds for result in results.values()) / 60
        lines.append("")
        lines.append(
            f"{name}: {len(results)} rows, {len(results) - broken} held, {broken} broken, {minutes:.0f} minutes."
        )
    return lines


def _cell(result: Result | None) -> str:
    if result is None:
        return ""
    return f"{result.seconds:.0f} s" if result.ok else "**broken**"


def main(paths: Sequence[str]) -> int:
    """0, or 2 without a file."""
    if not paths:
        sys.stderr.write(f"{__doc__}\n")
        return 2
    seeds = {Path(path).stem.replace("-", " "): {each.row: each for each in read(Path(path))} for path in paths}
    sys.stdout.write("\n".join(table(seeds)) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
