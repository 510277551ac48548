"""How a command fails: one sentence for people, and an exit code that means something to programs."""

from __future__ import annotations

from collections.abc import Mapping
from enum import IntEnum
from typing import Any


class ExitCode(IntEnum):
    """What the command line promises to scripts."""

    YES = 0
    NO = 1  # the answer is no, or `up` could not start
    USAGE = 2
    OUT_OF_REACH = 3
    REFUSED = 4


class CliError(Exception):
    """Ends the command with this sentence on standard error; `more` are further lines, such as one for each field.

    `errors`: what the API found wrong, field by field, as it says it.
    """

    def __init__(
        self, code: ExitCode, sentence: str, more: tuple[str, ...] = (), errors: tuple[Mapping[str, Any], ...] = ()
    ) -> None:
        super().__init__(sentence)
        self.code = code
        self.sentence = sentence
        self.more = more
        self.errors = errors
