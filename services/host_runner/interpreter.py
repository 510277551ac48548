"""How the shim is run: as one file, by which Python, and compiled where that may be."""

from __future__ import annotations

import ast
import marshal
import os
import sys
from contextlib import suppress
from functools import cache
from hashlib import sha256
from importlib.resources import files
from importlib.util import MAGIC_NUMBER
from pathlib import Path

from services.host_runner import shim


def interpreter(python: str, folder: Path) -> tuple[str, ...]:
    """How to run the shim with this Python: compiled if it is the runner's own, which saves 6 ms a start and 2 MB.

    The file is kept in `folder`, under a name that says what it is made of. Where it cannot be written (the disk is
    full, say) the shim is told as text: a run needs no more room than it takes itself.
    """
    path = _written(folder, is_compiled=python == sys.executable)
    return (python, "-I", "-S", *((str(path),) if path else ("-c", whole_source())))


@cache
def whole_source() -> str:
    """The shim's parts as one program, without what they import from one another."""
    return "\n\n".join(
        f"# {part}.py\n{_without_own_imports((files(shim) / f'{part}.py').read_text(encoding='utf-8'))}"
        for part in shim.PARTS
    )


def _without_own_imports(source: str) -> str:
    lines = source.split("\n")
    for node in ast.parse(source).body:
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith(f"{shim.__name__}."):
            for number in range(node.lineno - 1, node.end_lineno or node.lineno):
                lines[number] = ""
    return "\n".join(lines)


def _written(folder: Path, *, is_compiled: bool) -> Path | None:
    # Not in __pycache__: on a full disk py_compile leaves half a file there, and nobody can import the shim any more.
    path = folder / f".shim-{_source_key()}.{'pyc' if is_compiled else 'py'}"
    draft = path.with_suffix(f".{os.getpid()}")
    try:
        if not path.exists():
            draft.write_bytes(_compiled() if is_compiled else whole_source().encode())
            sync(draft)
            draft.rename(path)
    except OSError:
        with suppress(OSError):
            draft.unlink()
        return None
    return path


def _compiled() -> bytes:
    code = compile(whole_source(), "shim", "exec", dont_inherit=True)
    return MAGIC_NUMBER + bytes(12) + marshal.dumps(code)


@cache
def _source_key() -> str:
    return sha256(MAGIC_NUMBER + whole_source().encode()).hexdigest()[:16]


def sync(path: Path) -> None:
    """Have this file or folder on the disk. Raises `OSError`."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
