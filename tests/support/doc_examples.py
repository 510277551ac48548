"""The examples in the docs that are run: shell blocks marked `run`, and what they must print.

    ```sh run
    rigbeat hosts list
    ```

    ```text expected
    name ...
    lab-1 online ...
    ```

The blocks of a page are one session of bash: the first command that fails ends it, and variables last. A block of
`text expected` that follows is what the commands print, whole; ` # -> text` in a block is a line that is among it.
`...` stands for any text in a line and, alone on a line, for any lines. Runs of blanks are one blank.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace

_FENCE = re.compile(r"^(?P<fence>```+)(?P<info>[^\n`]*)\n(?P<text>.*?)^(?P=fence)[ ]*$", re.MULTILINE | re.DOTALL)
_SAID = re.compile(r"^\s*# -> (.*)$", re.MULTILINE)
_MARK = "\x1e"


@dataclass(frozen=True)
class Example:
    """One block: its commands, the line where they stand in the page, what they print."""

    line: int
    commands: str
    expected: str | None = None

    @property
    def said(self) -> list[str]:
        """The lines that are among the output."""
        return _SAID.findall(self.commands)


class PageError(ValueError):
    """A page cannot be read: what is expected of nothing."""


def examples(page: str) -> list[Example]:
    """The examples of a page that are run, in its order."""
    found: list[Example] = []
    awaits_expected = False
    for block in _FENCE.finditer(page):
        info = block["info"].split()
        line = page.count("\n", 0, block.start()) + 1
        if info == ["sh", "run"]:
            found.append(Example(line, block["text"]))
        elif info == ["text", "expected"]:
            if not awaits_expected:
                raise PageError(f"line {line}: nothing that is run stands before what is expected")
            found[-1] = replace(found[-1], expected=block["text"])
        awaits_expected = info == ["sh", "run"]
    return found


def session(blocks: list[Example]) -> str:
    """The program of bash for a page."""
    parts = ["set -euo pipefail", "exec 2>&1"]
    for block in blocks:
        parts += [f"printf '{_MARK}'", block.commands.rstrip("\n")]
    return "\n".join([*parts, f"printf '{_MARK}'", ""])


def outputs(text: str) -> list[str]:
    """What each block printed; the last one that began may be the one that failed."""
    return text.split(_MARK)[1:]


def problems(blocks: list[Example], printed: list[str], code: int) -> list[str]:
    """What is not as the page says, by line of the page."""
    wrong = []
    for block, text in zip(blocks, printed, strict=False):
        if block.expected is not None and not matches(block.expected, text):
            wrong.append(f"line {block.line}: printed\n{text}\nbut the page has\n{block.expected}")
        said = "\n...\n".join(["...", *block.said, "..."])
        if block.said and not matches(said, text):
            wrong.append(f"line {block.line}: printed\n{text}\nbut the page has {block.said}")
    if code != 0:
        last = min(len(printed), len(blocks)) - 1
        where = f"line {blocks[last].line}: printed\n{printed[last]}\n" if printed else ""
        wrong.append(f"{where}and ended with exit code {code}")
    elif len(printed) != len(blocks) + 1:
        wrong.append(f"{len(blocks) + 1 - len(printed)} blocks were not run: one of them ends the session")
    return wrong


def matches(expected: str, printed: str) -> bool:
    """Whether this was printed, but for what `...` stands for."""
    pattern = "".join(
        r"(?:[^\n]*\n)*" if line == "..." else ".*".join(map(re.escape, line.split("..."))) + r"\n"
        for line in _lines(expected)
    )
    return re.fullmatch(pattern, "".join(f"{line}\n" for line in _lines(printed))) is not None


def _lines(text: str) -> list[str]:
    return [" ".join(line.split()) for line in text.strip("\n").splitlines()]
