"""What a commit is checked for is what `make check` checks, by the same tools, without the network."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
HOOKS = (ROOT / ".pre-commit-config.yaml").read_text()
NOT_AT_COMMIT = {"tests/check_host_runner_install.sh"}
"""It installs into a new environment, which takes a minute and an index of packages."""
OTHERWISE = {
    "ruff format --check": "ruff format",  # a hook mends what `make check` only tells
    "ruff check --fix": "ruff check",
}


def checks(lines: list[str]) -> set[str]:
    """The tools with their options, without the files that they are given."""
    found = set()
    for line in lines:
        words = [word for word in line.split() if word not in {".", "--force-exclude", "$(BIN)/python"}]
        told = " ".join(word.removeprefix(".venv/bin/").removeprefix("$(BIN)/") for word in words)
        found.add(OTHERWISE.get(told, told))
    return found


def recipe(target: str) -> list[str]:
    text = (ROOT / "Makefile").read_text()
    match = re.search(rf"^{target}:.*\n((?:\t.*\n)+)", text, re.MULTILINE)
    assert match, target
    return [line.strip().removeprefix("@") for line in match[1].splitlines()]


def test_the_hooks_are_what_make_check_runs() -> None:
    hooks = checks(re.findall(r"^\s+entry: (.+)$", HOOKS, re.MULTILINE))
    assert hooks == checks(recipe("check")) - NOT_AT_COMMIT
    assert len(hooks) >= 4


def test_no_hook_comes_from_elsewhere() -> None:
    assert set(re.findall(r"repo: (\S+)", HOOKS)) == {"local"}
    assert set(re.findall(r"language: (\S+)", HOOKS)) == {"system"}
    assert len(re.findall(r"- id:", HOOKS)) == len(re.findall(r"entry: \.venv/bin/", HOOKS))


def test_nobody_needs_pre_commit_itself() -> None:
    for path in (".ci/run", "Makefile", "pyproject.toml", "constraints.txt"):
        assert not re.search(r"\bpre-commit (run|install)\b|\bpre[-_]commit[=\"]", (ROOT / path).read_text()), path
