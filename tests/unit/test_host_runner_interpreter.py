"""The shim as one file: made of its parts, for any Python, and without room on the disk."""

from __future__ import annotations

import ast
import sys
from collections import Counter
from pathlib import Path

import pytest

from libs.stack.process import run
from services.host_runner import interpreter as room
from services.host_runner import shim
from services.host_runner.interpreter import interpreter, whole_source

OTHER_PYTHON = f"{Path(sys.executable).parent}/./{Path(sys.executable).name}"
"""The same program by another name: it is told the source, since what it can read is not known."""

FORMS = {"the runner's own Python": (sys.executable, ".pyc"), "another Python": (OTHER_PYTHON, ".py")}


def names(source: str) -> list[str]:
    """What a source names at its top, with each import counted once, however often it is there."""
    found: list[str] = []
    imports: set[str] = set()
    for node in ast.parse(source).body:
        match node:
            case ast.FunctionDef(name=name) | ast.ClassDef(name=name) | ast.AnnAssign(target=ast.Name(id=name)):
                found.append(name)
            case ast.Assign(targets=targets):
                found += [target.id for target in targets if isinstance(target, ast.Name)]
            case ast.Import():
                imports |= {ast.unparse(ast.Import([alias])) for alias in node.names}
            case ast.Expr() | ast.If():
                pass
            case _:
                pytest.fail(f"not among what a part may have at its top: {ast.unparse(node)}")
    return found + [one.split()[-1] for one in sorted(imports)]


def run_shim(command: tuple[str, ...], folder: Path) -> tuple[str, str]:
    """What a script printed under it, and its status."""
    run_dir = folder / "run"
    run_dir.mkdir()
    told = [str(run_dir), "--timeout", "10", "--grace", "1", "--max-output", "1000", "--cwd", str(folder), "--"]
    ended = run([*command, *told, "/bin/echo", "hello"], env={"RIGBEAT_EXECUTION_ID": "e"}, cwd=folder, within=20)
    assert (ended.code, ended.output) == (0, "")
    return (run_dir / "output").read_text(), (run_dir / "status").read_text()


def test_every_part_is_named_and_no_two_use_a_name_twice() -> None:
    folder = Path(str(shim.__file__)).parent
    assert {path.stem for path in folder.glob("*.py")} - {"__init__"} == set(shim.PARTS)
    assert [name for name, count in Counter(names(whole_source())).items() if count > 1] == []
    assert set(names(whole_source())) >= {"libc", "Markers", "Output", "Tree", "Bounds", "Record", "Shim", "main"}


def test_it_imports_the_standard_library_alone() -> None:
    imported = set()
    for node in ast.walk(ast.parse(whole_source())):
        if isinstance(node, ast.Import):
            imported |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            imported.add(node.module or "")
    assert imported >= {"posix", "fcntl", "select"}
    assert imported <= sys.stdlib_module_names


@pytest.mark.parametrize("form", FORMS)
def test_a_script_runs_under_the_file_for(form: str, tmp_path: Path) -> None:
    python, suffix = FORMS[form]
    command = interpreter(python, tmp_path)
    assert command[:3] == (python, "-I", "-S")
    assert Path(command[3]).parent == tmp_path
    assert Path(command[3]).suffix == suffix
    assert [path.name for path in tmp_path.iterdir()] == [Path(command[3]).name]
    assert interpreter(python, tmp_path) == command
    output, status = run_shim(command, tmp_path)
    assert output == "hello\n"
    assert "outcome=exited\ncode=0\n" in status


@pytest.mark.parametrize("form", FORMS)
def test_without_room_for_the_file_it_is_told_as_text(
    form: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(path: Path) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(room, "sync", full)
    command = interpreter(FORMS[form][0], tmp_path)
    assert command[3:] == ("-c", whole_source())
    assert len(whole_source().encode()) < 100_000, "Linux takes 128 KiB as one argument"
    assert whole_source().isascii(), "the shim reads it in the script's locale"
    assert list(tmp_path.iterdir()) == []
    assert run_shim(command, tmp_path)[0] == "hello\n"


def test_another_release_leaves_the_former_file_to_who_uses_it(tmp_path: Path) -> None:
    former = interpreter(sys.executable, tmp_path)[3]
    room.whole_source.cache_clear()
    room._source_key.cache_clear()
    try:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(shim, "PARTS", (*shim.PARTS, "kernel"))
            newer = interpreter(sys.executable, tmp_path)[3]
    finally:
        room.whole_source.cache_clear()
        room._source_key.cache_clear()
    assert newer != former
    assert Path(former).exists()
