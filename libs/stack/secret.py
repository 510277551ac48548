"""Values that are drawn once and kept in a file that only its owner reads."""

from __future__ import annotations

import os
import secrets
from pathlib import Path


def kept(path: Path, *, mode: int = 0o600) -> str:
    """The value in the file; when there is none, one is drawn first (32 hexadecimal digits)."""
    if not path.exists():
        write(path, secrets.token_hex(16), mode=mode)
    return path.read_text().strip()


def write(path: Path, text: str, *, mode: int = 0o600) -> None:
    """Write the file whole or not at all; nobody else can read it, not even for a moment."""
    draft = path.with_name(f"{path.name}.{secrets.token_hex(4)}")
    with open(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "w") as file:  # noqa: PTH123 - needs the mode
        file.write(text)
    draft.replace(path)
