"""The scripts of this host: found by name, never outside their folder; how they are called; what they take."""

from __future__ import annotations

import json
import os
import shlex
from collections.abc import Iterator, Mapping
from functools import lru_cache
from pathlib import Path
from uuid import UUID

from libs.chassis.logs import get_logger
from libs.contracts import ScriptInfo, ScriptParameter
from services.host_runner.bounds import User
from services.host_runner.core.script_parameters import described, parsed
from services.host_runner.trust import changeable

LONGEST_NAME = 255

log = get_logger(__name__)


class ScriptNotFoundError(LookupError):
    """There is no such script in the folder; the text is for people."""


class ChangeableScriptError(Exception):
    """The user who runs scripts could change this one; the text is for people."""


class ParametersError(ValueError):
    """The parameters cannot be split into arguments; the text is for people."""


def find(folder: Path, name: str, user: User | None = None) -> Path:
    """The script of this name, as an absolute path without links. Raises `ScriptNotFoundError`.

    A name may hold `/` for a folder in the folder, but never leads out of it, not even by a symbolic link. With the
    `user` who runs scripts, raises `ChangeableScriptError` if that user could change it.
    """
    parts = name.split("/")
    if not name.isprintable() or any(part in {"", ".", ".."} for part in parts):
        raise ScriptNotFoundError(f"{name!r} is not the name of a script")
    try:
        root = folder.resolve()
        path = (root / name).resolve()
        is_there = path.is_relative_to(root) and path.is_file()
        place = changeable(path, root, user) if is_there and user is not None else None
    except (OSError, RuntimeError) as error:  # a RuntimeError is a loop of symbolic links
        raise ScriptNotFoundError(f"The script {name} cannot be looked for in {folder}: {error}") from None
    if not is_there:
        raise ScriptNotFoundError(f"There is no script {name} in {folder}")
    if place is not None:
        assert user is not None
        raise ChangeableScriptError(f"{user.name}, the user that it would run as, may write to {place}")
    return path


def argv(
    script: Path, *, python: str, userinterface_name: str, parameters: str, host: str, device: str
) -> tuple[str, ...]:
    """How to call the script: never through a shell. Raises `ParametersError`.

    The user interface comes first, if there is one, then the parameters, then `--host` and `--device`.
    """
    program = (python, str(script)) if script.suffix == ".py" else (str(script),)
    userinterface = (userinterface_name,) if userinterface_name else ()
    return (*program, *userinterface, *split(parameters), "--host", host, "--device", device)


def split(parameters: str) -> tuple[str, ...]:
    """The parameters as a shell splits them. Raises `ParametersError`.

    A flag that is followed by an empty value (`--x ''`, `--x=`) is dropped with it: on a form it was left open.
    """
    if "\0" in parameters:
        raise ParametersError("The parameters hold a NUL character")
    try:
        words = shlex.split(parameters)
    except ValueError as error:
        raise ParametersError(f"The parameters cannot be split into arguments: {error}") from None
    kept: list[str] = []
    for place, word in enumerate(words):
        if "--" in words[:place]:
            kept.append(word)  # what follows a bare `--` is no flag
        elif word.startswith("--") and word.endswith("=") and "=" not in word[:-1]:
            continue
        elif not word and kept and place and _is_flag(words[place - 1]):
            kept.pop()
        else:
            kept.append(word)
    return tuple(kept)


def environment(
    *,
    execution_id: UUID,
    artifacts_dir: Path,
    host: str,
    device: str,
    labels: Mapping[str, str],
    path: str,
    work_dir: Path,
    more: Mapping[str, str],
) -> dict[str, str]:
    """The script's whole environment: nothing of the runner's own gets into it. `more` goes before what is ours."""
    return {
        "PATH": path,
        "HOME": str(work_dir),
        "TMPDIR": str(work_dir),
        "LANG": "C.UTF-8",
        "PYTHONUNBUFFERED": "1",
        "PYTHONNOUSERSITE": "1",  # else what one script leaves in a lasting home runs in all others
        **more,
        "RIGBEAT_EXECUTION_ID": str(execution_id),
        "RIGBEAT_ARTIFACTS_DIR": str(artifacts_dir),
        "RIGBEAT_HOST": host,
        "RIGBEAT_DEVICE": device,
        "RIGBEAT_DEVICE_LABELS": json.dumps(dict(labels), ensure_ascii=False, sort_keys=True),
    }


def list_scripts(folder: Path, user: User | None = None) -> tuple[ScriptInfo, ...]:
    """What can be run on this host, by name, with what each takes; a script is never run to ask it.

    Hidden files, `__…__` ones, virtual environments and what can be neither run by Python nor executed are left out; so
    is, with one warning, what cannot be looked at, and what the `user` who runs scripts could change. Raises nothing
    for what lies in the folder.
    """
    try:
        root = folder.resolve()
    except (OSError, RuntimeError) as error:
        _warn_once("The folder of the scripts cannot be found", folder, str(error))
        return ()
    found = sorted(_runnable(root, root, user))
    return tuple(ScriptInfo(name=name, parameters=_parameters(path, root)) for name, path in found)


def _runnable(folder: Path, root: Path, user: User | None) -> Iterator[tuple[str, Path]]:
    try:
        inside = sorted(folder.iterdir())
    except OSError as error:
        _warn_once("A folder of scripts cannot be read", folder, str(error))
        return
    for path in inside:
        name = path.relative_to(root).as_posix()
        if path.name.startswith((".", "__")) or len(name) > LONGEST_NAME:
            continue
        try:
            is_folder = path.is_dir()
            is_entered = is_folder and not path.is_symlink() and not (path / "pyvenv.cfg").exists()
        except OSError as error:
            _warn_once("What may be a script cannot be looked at", path, str(error))
            continue
        if is_entered:
            yield from _runnable(path, root, user)
        elif not is_folder and _is_runnable(root, name, user):
            yield name, path


def _is_runnable(root: Path, name: str, user: User | None) -> bool:
    try:
        script = find(root, name, user)
    except ScriptNotFoundError:
        return False
    except ChangeableScriptError as error:
        _warn_once("A script is left out", root / name, str(error))
        return False
    return script.suffix == ".py" or os.access(script, os.X_OK)


def _parameters(script: Path, root: Path) -> tuple[ScriptParameter, ...]:
    for file in (script.with_name(f"{script.name}.toml"), script.with_suffix(".toml"), script):
        try:
            if file.suffix in {".toml", ".py"} and file.is_file() and file.resolve().is_relative_to(root):
                return _read_parameters(file, file.stat().st_mtime_ns)
        except OSError as error:
            _warn_once("A script's parameters cannot be read", file, str(error))
    return ()


@lru_cache(maxsize=4096)
def _read_parameters(file: Path, _changed_at: int) -> tuple[ScriptParameter, ...]:
    # Cached until it changes: the folder is looked at every few seconds.
    try:
        return described(file.read_text(encoding="utf-8")) if file.suffix == ".toml" else parsed(file.read_bytes())
    except (ValueError, SyntaxError, RecursionError, MemoryError) as error:
        # The last two are how Python answers to text that is nested too deeply.
        _warn_once("A script's parameters cannot be told", file, str(error) or type(error).__name__)
        return ()


@lru_cache(maxsize=4096)
def _warn_once(sentence: str, path: Path, reason: str) -> None:
    # Remembered, for the same reason.
    log.warning(sentence, path=str(path), reason=reason)


def _is_flag(word: str) -> bool:
    # -5 is a value, not a flag.
    return word.startswith("-") and len(word) > 1 and not word[1].isdigit()
