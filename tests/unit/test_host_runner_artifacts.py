"""Which files of a script are sent: the choice, the look into the folder, and what the journal keeps of it."""

from __future__ import annotations

import os
import sqlite3
import stat
from pathlib import Path
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from libs.contracts.artifacts import LEFT_OUT, LONGEST_NAME, MOST_BYTES_EACH, MOST_BYTES_IN_ALL, MOST_FILES, name_fault
from services.host_runner import removal
from services.host_runner.artifact_book import ArtifactBook, Folder, Waiting
from services.host_runner.artifact_folder import look, open_file
from services.host_runner.core.artifact_choice import Found, choose
from services.host_runner.removal import AT_ONCE, remove

RUN = UUID("019b76da-a800-7a47-9938-42ca151e1e4b")


@pytest.mark.parametrize(
    ("name", "is_fine"),
    [
        ("report.html", True),
        ("a/b/c.txt", True),
        ("größe 1 %20#?.png", True),
        ("😀/שלום", True),
        ("x" * LONGEST_NAME, True),
        ("x" * (LONGEST_NAME + 1), False),
        ("ü" * 128, False),
        ("", False),
        ("/etc/passwd", False),
        ("a//b", False),
        ("a/", False),
        ("..", False),
        ("a/../b", False),
        ("./a", False),
        ("a\\b", False),
        ("a\nb", False),
        ("a\x1b[2J", False),
        ("a\x00", False),
        ("\udcff", False),
    ],
)
def test_names(name: str, is_fine: bool) -> None:
    assert (name_fault(name) is None) is is_fine


def test_reports_go_first_and_one_dump_keeps_nothing_back() -> None:
    found = [
        Found("dump.bin", MOST_BYTES_EACH + 1),
        Found("z.txt", 3),
        Found("junit.xml", 900),
        Found("a.png", 2),
        Found("link", None),
        Found("bad\nname", 1),
        Found(LEFT_OUT, 1),
    ]
    choice = choose(found, more=7)
    assert [one.name for one in choice.files] == ["junit.xml", "a.png", "z.txt"]
    assert choice.left_out.splitlines() == [
        "link: it is no regular file",
        "'bad\\nname': its name has a control character in it",
        f"{LEFT_OUT}: this name is taken by this list",
        f"dump.bin: it has {MOST_BYTES_EACH + 1} bytes; one may have {MOST_BYTES_EACH}",
        "7 more: they are not listed",
    ]
    assert choose([Found("a", 1)]).left_out == ""


def test_the_measure_is_used_to_the_last_byte_and_not_beyond() -> None:
    full = [Found(f"f{n}", MOST_BYTES_EACH) for n in range(MOST_BYTES_IN_ALL // MOST_BYTES_EACH)]
    assert len(choose(full).files) == len(full)
    choice = choose([*full, Found("z.html", 1)])
    assert [one.name for one in choice.files] == ["z.html", *(one.name for one in full[:-1])]
    assert choice.left_out.startswith("f3: with it there would be more than")
    many = choose([Found(f"f{n:03}", 0) for n in range(MOST_FILES + 1)])
    assert (len(many.files), many.left_out) == (MOST_FILES, "f200: there are more than 200 files\n")


@given(st.lists(st.tuples(st.integers(0, MOST_BYTES_EACH + 10), st.booleans()), max_size=300))
def test_what_is_chosen_fits_and_what_is_not_is_said(sizes: list[tuple[int, bool]]) -> None:
    found = [Found(f"f{n}", size if regular else None) for n, (size, regular) in enumerate(sizes)]
    choice = choose(found)
    chosen = [one.size or 0 for one in choice.files]
    assert len(chosen) <= MOST_FILES
    assert sum(chosen) <= MOST_BYTES_IN_ALL
    assert all(size <= MOST_BYTES_EACH for size in chosen)
    assert len(choice.files) + len(choice.left_out.splitlines()) == len(found)


def test_nothing_outside_of_the_folder_is_followed(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    (folder / "sub").mkdir(parents=True)
    (folder / "sub" / "a.txt").write_text("abc")
    secret = tmp_path / "secret"
    secret.write_text("no")
    (folder / "out").symlink_to(secret)
    (folder / "dir").symlink_to(tmp_path)
    os.mkfifo(folder / "pipe")
    found, more = look(folder)
    assert found == [Found("dir", None), Found("out", None), Found("pipe", None), Found("sub/a.txt", 3)]
    assert more == 0
    file, size = open_file(folder, "sub/a.txt")
    with file:
        assert (file.read(), size) == (b"abc", 3)
    for name in ("out", "pipe", "gone"):
        with pytest.raises(OSError, match=name):
            open_file(folder, name)
    assert look(tmp_path / "none") == ([], 0)


def test_a_link_in_the_place_of_the_folder_is_not_followed(tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "secret").write_text("no")
    folder = tmp_path / "run"
    folder.symlink_to(elsewhere)
    assert look(folder) == ([], 0)
    remove(folder)
    assert not folder.is_symlink()
    assert (elsewhere / "secret").exists()
    folder.write_text("a file")
    assert look(folder) == ([], 0)
    remove(folder)
    assert not folder.exists()
    remove(folder)


def test_no_tree_is_too_deep_to_be_looked_at_and_removed(tmp_path: Path) -> None:
    # Deeper than Python's stack, a path, or the files that a process may have open.
    folder = tmp_path / "run"
    folder.mkdir()
    (folder / "z.html").write_text("on top")
    here = os.open(folder, os.O_RDONLY)
    for _ in range(2100):
        os.mkdir("d", dir_fd=here)
        below = os.open("d", os.O_RDONLY, dir_fd=here)
        os.close(here)
        here = below
    os.close(os.open("bottom", os.O_CREAT | os.O_WRONLY, dir_fd=here))
    os.close(here)
    found, more = look(folder)
    assert (found[0], len(found), more) == (Found("z.html", 6), 2, 0)
    choice = choose(found)
    assert [one.name for one in choice.files] == ["z.html"]
    assert choice.left_out == f"{'d/' * 128}: its name is longer than {LONGEST_NAME} bytes\n"
    remove(folder)
    assert not folder.exists()


def test_what_lies_on_top_is_not_hidden_by_a_folder_with_very_much_in_it(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    for number in range(6):
        (tmp_path / "a" / f"{number}").touch()
    (tmp_path / "report.html").touch()
    found, more = look(tmp_path, most=3)
    assert ([one.name for one in found], more) == (["report.html", "a/0", "a/1"], 3)


@pytest.mark.parametrize("number", [0, 1, AT_ONCE + 1])
def test_all_is_removed_also_what_is_many_and_read_only(tmp_path: Path, number: int) -> None:
    folder = tmp_path / "run"
    (folder / "sub" / "0").mkdir(parents=True)
    for one in range(number):
        (folder / f"{one}").touch()
        (folder / "sub" / "0" / f"{one}").touch()
    (folder / "sub" / "0").chmod(0o500)
    (folder / "sub").chmod(0o500)
    remove(folder)
    assert list(tmp_path.iterdir()) == []


def test_the_journal_keeps_the_choice_and_an_older_one_gets_the_tables(tmp_path: Path) -> None:
    path = tmp_path / "journal.sqlite"
    book = ArtifactBook(sqlite3.connect(path, isolation_level=None))
    book.open(RUN)
    book.open(RUN)
    assert book.folders(10) == [Folder(RUN, is_planned=False)]
    book.plan(RUN, ["b", "a"], [(LEFT_OUT, "list")])
    again = ArtifactBook(sqlite3.connect(path, isolation_level=None))
    assert again.folders(10) == [Folder(RUN, is_planned=True)]
    again.sent(RUN, 0)
    assert again.waiting(RUN) == [Waiting(1, "a", None), Waiting(2, LEFT_OUT, "list")]
    again.done(RUN)
    assert again.folders(10) == []


def test_a_link_that_takes_a_folders_place_meanwhile_is_not_followed(tmp_path: Path) -> None:
    folder, secret = tmp_path / "run", tmp_path / "secret"
    (folder / "a" / "b").mkdir(parents=True)
    (folder / "a" / "b" / "report.txt").write_text("mine")
    (secret / "b").mkdir(parents=True)
    (secret / "b" / "report.txt").write_text("no")
    assert look(folder)[0] == [Found("a/b/report.txt", 4)]
    (folder / "a").rename(folder / "was")
    (folder / "a").symlink_to(secret)
    with pytest.raises(NotADirectoryError):
        open_file(folder, "a/b/report.txt")
    (folder / "was" / "b" / "report.txt").rename(folder / "report.txt")
    with pytest.raises(FileNotFoundError):
        open_file(folder, "was/b/report.txt")


@pytest.mark.root
def test_a_second_name_of_anothers_file_is_no_artifact(tmp_path: Path) -> None:
    folder, secret = tmp_path / "run", tmp_path / "shadow"
    folder.mkdir()
    secret.write_text("no")
    (folder / "stolen").hardlink_to(secret)  # as one may where fs.protected_hardlinks is off
    (folder / "roots.txt").write_text("by sudo")
    (folder / "mine").write_text("twice")
    (folder / "mine again").hardlink_to(folder / "mine")
    for one in (folder, folder / "mine"):
        os.chown(one, 61234, 61234)
    assert look(folder, owner=61234)[0] == [
        Found("mine", 5),
        Found("mine again", 5),
        Found("roots.txt", 7),
        Found("stolen", None),
    ]
    with pytest.raises(FileNotFoundError, match="stolen"):
        open_file(folder, "stolen", 61234)
    for name in ("mine", "roots.txt"):
        open_file(folder, name, 61234)[0].close()


@pytest.mark.parametrize("moment", ["before it is opened up", "before it is emptied"])
def test_no_link_that_comes_while_a_folder_is_removed_is_followed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, moment: str
) -> None:
    folder, victim = tmp_path / "run", tmp_path / "victim"
    (folder / "sub").mkdir(parents=True)
    victim.mkdir(mode=0o751)
    (victim / "precious").touch()
    open_up, scripts = removal._open_up, []

    def swapped(name: Path | str, within: int | None = None) -> None:
        """As another script of the same user may do it at this very moment."""
        if name == "sub" and moment == "before it is opened up":
            os.rename("sub", "moved", src_dir_fd=within, dst_dir_fd=within)
            os.symlink(victim, "sub", dir_fd=within)
        open_up(name, within)
        if name == "sub" and moment == "before it is emptied":
            os.rmdir("sub", dir_fd=within)
            os.symlink(victim, "sub", dir_fd=within)
        scripts.append(name)

    monkeypatch.setattr(removal, "_open_up", swapped)
    remove(folder)
    assert scripts
    assert stat.S_IMODE(victim.stat().st_mode) == 0o751
    assert (victim / "precious").exists()
    monkeypatch.undo()
    remove(folder)
    assert list(tmp_path.iterdir()) == [victim]
