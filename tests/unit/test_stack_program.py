"""PostgreSQL's programs of a folder: installed ones, and ones out of unpacked packages."""

from __future__ import annotations

from pathlib import Path

import pytest

from libs.stack.errors import StackError
from libs.stack.program import ENVIRONMENT, Programs, find_programs


def test_unpacked_programs_find_the_libraries_beside_them(tmp_path: Path) -> None:
    libraries = tmp_path / "usr/lib/x86_64-linux-gnu"
    libraries.mkdir(parents=True)
    unpacked = Programs(tmp_path / "usr/lib/postgresql/15/bin", 15, None)
    assert unpacked.environment == ENVIRONMENT | {"LD_LIBRARY_PATH": str(libraries)}


@pytest.mark.parametrize("folder", ["/usr/lib/postgresql/15/bin", "/opt/pg/bin"])
def test_installed_programs_find_theirs_without_help(folder: str) -> None:
    assert Programs(Path(folder), 15, None).environment == ENVIRONMENT


def test_a_folder_without_them_is_named(tmp_path: Path) -> None:
    with pytest.raises(StackError, match=f"PostgreSQL's initdb is not in {tmp_path}; name the folder"):
        find_programs(tmp_path)
