"""Named SQL: statements live in `.sql` files beside the code that runs them, each under a `-- name: …` line.

The loader knows nothing of SQL but that line. A name is given once, and a statement that nobody named is an error, so a
typing mistake fails at import and not at night.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path

_NAME = re.compile(r"^-- name: ([a-z][a-z0-9_]*)\s*$", re.MULTILINE)


class NamedSql(Mapping[str, str]):
    """The statements of every `.sql` file of a folder, by name; also as attributes.

    Raises `ValueError` for a name given twice or text before the first name; an unknown name is a `KeyError` or
    `AttributeError`.
    """

    def __init__(self, folder: Path) -> None:
        self._statements: dict[str, str] = {}
        for path in sorted(folder.glob("*.sql")):
            before, *rest = _NAME.split(path.read_text())
            if any(line.strip() and not line.startswith("--") for line in before.splitlines()):
                raise ValueError(f"{path}: a statement without a name")
            for name, text in zip(rest[::2], rest[1::2], strict=True):
                if name in self._statements:
                    raise ValueError(f"{path}: the name {name} is given twice")
                self._statements[name] = text.strip().removesuffix(";")

    def __getitem__(self, name: str) -> str:
        return self._statements[name]

    def __getattr__(self, name: str) -> str:
        try:
            return self._statements[name]
        except KeyError:
            raise AttributeError(f"no statement is named {name}") from None

    def __iter__(self) -> Iterator[str]:
        return iter(self._statements)

    def __len__(self) -> int:
        return len(self._statements)
