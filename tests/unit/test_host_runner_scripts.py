"""Scripts are found by name and never outside their folder; arguments are a list; parameters are read, never run."""

from __future__ import annotations

import json
from pathlib import Path
from uuid import UUID

import pytest
from structlog.testing import capture_logs

from libs.contracts import ScriptParameter
from services.host_runner.core.script_parameters import described, parsed
from services.host_runner.scripts import (
    ParametersError,
    ScriptNotFoundError,
    argv,
    environment,
    find,
    list_scripts,
    split,
)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    inside = tmp_path / "scripts"
    (inside / "tv").mkdir(parents=True)
    (inside / "health.py").write_text("")
    (inside / "tv" / "zap.sh").write_text("#!/bin/sh\n")
    (tmp_path / "secret.py").write_text("")
    (inside / "out.py").symlink_to(tmp_path / "secret.py")
    (inside / "away").symlink_to(tmp_path)
    (inside / "alias.py").symlink_to("health.py")
    return inside


def test_a_script_is_found_by_its_name(folder: Path) -> None:
    assert find(folder, "health.py") == folder / "health.py"
    assert find(folder, "tv/zap.sh") == folder / "tv" / "zap.sh"
    assert find(folder, "alias.py") == folder / "health.py"


@pytest.mark.parametrize(
    "name",
    [
        "",
        ".",
        "..",
        "tv",
        "none.py",
        "../secret.py",
        "tv/../../secret.py",
        "tv/../health.py",
        "./health.py",
        "/etc/passwd",
        "//health.py",
        "health.py/",
        "health.py\n",
        "health.py\0",
        "out.py",
        "away/secret.py",
    ],
)
def test_no_name_leads_out_of_the_folder(folder: Path, name: str) -> None:
    with pytest.raises(ScriptNotFoundError):
        find(folder, name)


@pytest.mark.parametrize("name", ["loop.py", "far.py", "ü" * 255])
def test_what_cannot_be_looked_for_is_not_found_with_the_reason(folder: Path, name: str) -> None:
    (folder / "loop.py").symlink_to("loop.py")
    (folder / "far.py").symlink_to("x" * 300)
    with pytest.raises(ScriptNotFoundError, match=r"(loop|too long)"):
        find(folder, name)


def test_the_user_interface_comes_first_and_the_device_last() -> None:
    script = Path("/scripts/health.py")
    given = {"python": "/usr/bin/python3", "host": "lab-1", "device": "stb-1"}
    assert argv(script, userinterface_name="demo", parameters="--limit 2 'a b'", **given) == (
        *("/usr/bin/python3", "/scripts/health.py", "demo", "--limit", "2", "a b"),
        *("--host", "lab-1", "--device", "stb-1"),
    )
    assert argv(Path("/scripts/run"), userinterface_name="", parameters="", **given) == (
        *("/scripts/run", "--host", "lab-1", "--device", "stb-1"),
    )


@pytest.mark.parametrize(
    ("parameters", "words"),
    [
        ("", ()),
        ("  ", ()),
        ("--x ''", ()),
        ("--x '' --y 1", ("--y", "1")),
        ("--x --y ''", ("--x",)),
        ("--x '' --y ''", ()),
        ("--x=", ()),
        ("--x=''", ()),
        ("--x=1", ("--x=1",)),
        ("--query=a=", ("--query=a=",)),
        ("-x ''", ()),
        ("--offset -5 ''", ("--offset", "-5", "")),
        ("''", ("",)),
        ("a ''", ("a", "")),
        ("-- --x ''", ("--", "--x", "")),
        ("; rm -rf $HOME `id`", (";", "rm", "-rf", "$HOME", "`id`")),
        ("# no comment", ("#", "no", "comment")),
        (r"a\ b 'c d'\''e'", ("a b", "c d'e")),
        ("größe 'é'", ("größe", "é")),
    ],
)
def test_parameters_are_split_like_a_shell_does_without_one(parameters: str, words: tuple[str, ...]) -> None:
    assert split(parameters) == words


@pytest.mark.parametrize("parameters", ["'open", '"open', "end\\", "nul\0"])
def test_what_cannot_be_split_is_refused_with_a_sentence(parameters: str) -> None:
    with pytest.raises(ParametersError, match="parameters"):
        split(parameters)


def test_the_environment_is_clean(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RIGBEAT_TOKEN", "secret")
    given = environment(
        execution_id=UUID(int=1),
        artifacts_dir=Path("/a"),
        host="lab-1",
        device="stb-1",
        labels={"address": "http://b", "a": "ü"},
        path="/usr/bin",
        work_dir=Path("/w"),
        more={"TZ": "Europe/Berlin", "HOME": "/home/lab"},
    )
    assert json.loads(given.pop("RIGBEAT_DEVICE_LABELS")) == {"a": "ü", "address": "http://b"}
    assert given == {
        "PATH": "/usr/bin",
        "HOME": "/home/lab",
        "PYTHONNOUSERSITE": "1",
        "TMPDIR": "/w",
        "LANG": "C.UTF-8",
        "TZ": "Europe/Berlin",
        "PYTHONUNBUFFERED": "1",
        "RIGBEAT_EXECUTION_ID": "00000000-0000-0000-0000-000000000001",
        "RIGBEAT_ARTIFACTS_DIR": "/a",
        "RIGBEAT_HOST": "lab-1",
        "RIGBEAT_DEVICE": "stb-1",
    }


def test_what_can_be_run_is_listed(folder: Path) -> None:
    for name in (".hidden.py", "__init__.py", "notes.txt", "tv/zap.toml"):
        (folder / name).write_text("")
    (folder / "venv").mkdir()
    (folder / "venv" / "pyvenv.cfg").write_text("")
    (folder / "venv" / "no.py").write_text("")
    assert [script.name for script in list_scripts(folder)] == ["alias.py", "health.py"]
    (folder / "tv" / "zap.sh").chmod(0o755)
    assert [script.name for script in list_scripts(folder)] == ["alias.py", "health.py", "tv/zap.sh"]


def test_no_folder_is_no_script(tmp_path: Path) -> None:
    assert list_scripts(tmp_path / "none") == ()


def test_a_sidecar_counts_more_than_the_text_of_the_script(folder: Path) -> None:
    script = folder / "health.py"
    script.write_text("p.add_argument('--from-text')\nraise SystemExit('I was run')\n")
    assert [one.name for one in list_scripts(folder)[1].parameters] == ["--from-text"]
    (folder / "health.toml").write_text('[[parameters]]\nname = "--short"\n')
    assert [one.name for one in list_scripts(folder)[1].parameters] == ["--short"]
    (folder / "health.py.toml").write_text('[[parameters]]\nname = "--whole"\n')
    assert [one.name for one in list_scripts(folder)[1].parameters] == ["--whole"]


def test_no_sidecar_outside_of_the_folder_is_read(folder: Path) -> None:
    (folder.parent / "secret.toml").write_text('[[parameters]]\nname = "--secret"\n')
    (folder / "health.toml").symlink_to(folder.parent / "secret.toml")
    assert list_scripts(folder)[1].parameters == ()


@pytest.mark.parametrize("text", ["[[parameters]", "parameters = 3", "parameters = [3]", "[[parameters]]\nhelp = 'x'"])
def test_a_bad_sidecar_does_not_hide_the_script(folder: Path, text: str) -> None:
    (folder / "health.toml").write_text(text)
    assert list_scripts(folder)[1].parameters == ()


def test_text_that_is_no_python_does_not_hide_the_script(folder: Path) -> None:
    (folder / "health.py").write_bytes(b"def \xff(")
    assert list_scripts(folder)[1].parameters == ()


def test_one_odd_entry_does_not_hide_the_others(folder: Path) -> None:
    far = "x" * 300  # a name that no file system holds
    (folder / "a-loop.py").symlink_to("a-loop.py")
    (folder / "a-far").symlink_to(far)
    (folder / "a-venv").mkdir()
    (folder / "a-venv" / "pyvenv.cfg").symlink_to(far)
    (folder / "health.toml").symlink_to(far)
    with capture_logs() as said:
        for _ in range(2):
            assert [script.name for script in list_scripts(folder)] == ["alias.py", "health.py"]
    odd = [(Path(one["path"]).name, one["event"]) for one in said]
    assert {name for name, _ in odd} == {"a-far", "a-venv", "health.toml"}
    assert len(odd) == len(set(odd)), "each once, though the folder is looked at every few seconds"


def test_a_folder_that_leads_in_a_circle_is_no_script(tmp_path: Path) -> None:
    (tmp_path / "round").symlink_to("round")
    assert list_scripts(tmp_path / "round") == ()


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("health.py", "-" * 100_000 + "1"),
        ("health.py", "x" + ".a" * 50_000),
        ("health.py", "p.add_argument('--x', default=" + "1+" * 5_000 + "1j)"),
        ("health.toml", "x = " + "[" * 50_000),
    ],
)
def test_text_that_is_nested_too_deeply_does_not_hide_the_script(folder: Path, name: str, text: str) -> None:
    (folder / name).write_text(text)
    assert list_scripts(folder)[1].name == "health.py"


def test_a_sidecar_names_everything() -> None:
    text = """
        [[parameters]]
        name = "--limit"
        required = true
        default = 10
        help = "number of probes"
        choices = [5, 10]
        [[parameters]]
        name = "channel"
    """
    assert described(text) == (
        ScriptParameter(name="--limit", required=True, default="10", help="number of probes", choices=("5", "10")),
        ScriptParameter(name="channel"),
    )


def test_literal_calls_are_read_in_their_order() -> None:
    source = b"""
import argparse
parser = argparse.ArgumentParser()
parser.add_argument("userinterface_name", nargs="?", default="demo")
group = parser.add_argument_group()
group.add_argument("-l", "--limit", type=int, default=10, help="number of probes", choices=[5, 10])
parser.add_argument("--name", required=True, default=COMPUTED, help="computed: " + str(1))
parser.add_argument("channel", choices=("a", "b"), type=str)
parser.add_argument("rest", nargs="*")
parser.add_argument("--fast", action="store_true", default=False)
parser.add_argument("--version", action="version", version="1")
parser.add_argument("--host")
parser.add_argument("--device", **more)
parser.add_argument(computed())
parser.add_argument("--odd", default={[]: "\\d"})
print("never run")
"""
    assert parsed(source) == (
        ScriptParameter(name="--limit", default="10", help="number of probes", choices=("5", "10")),
        ScriptParameter(name="--name", required=True),
        ScriptParameter(name="channel", required=True, choices=("a", "b")),
        ScriptParameter(name="rest"),
        ScriptParameter(name="--fast", default="false"),
        ScriptParameter(name="--odd"),
    )
