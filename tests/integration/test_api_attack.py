"""What a browser, a slow or lying sender, and another team's client could make of the API."""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

import httpx
import pytest
from starlette.exceptions import HTTPException

from libs.contracts.artifacts import LONGEST_NAME, MOST_BYTES_EACH, MOST_FILES
from services.api import body_limit
from services.api.artifact_intake import IN_MEMORY_BYTES
from tests.attack.hostile import TEXTS
from tests.support.api import EVERY_TEN, Api, created, problem, settings_for
from tests.support.events import listening, served

PAGES = {
    "report.html": "text/html; charset=utf-8",
    "more.htm": "text/html; charset=utf-8",
    "picture.svg": "image/svg+xml",
    "data.xml": "text/xml; charset=utf-8",
    "page.xhtml": "application/octet-stream",
    "style.xsl": "application/xml",
    "notes.txt": "text/plain; charset=utf-8",
    "no ending": "application/octet-stream",
    "report.html.gz": "application/octet-stream",
}
"""What a browser might run, and what each is called; a type is never guessed from the content."""


@pytest.fixture
async def execution(api: Api, editor: httpx.AsyncClient) -> str:
    deployment = await created(editor)
    return str((await editor.post(f"/deployments/{deployment['id']}/run")).json()["id"])


@pytest.fixture
async def host(api: Api) -> httpx.AsyncClient:
    return await api.of_role("host", host="lab-1")


@pytest.fixture
async def worker(api: Api, tmp_path: Path) -> AsyncIterator[str]:
    """The address of a web worker on a real socket."""
    from services.api.app import create_app

    async with served(create_app(settings_for(api.database, tmp_path))) as url:
        yield url


def kept(place: Path) -> set[Path]:
    """The files in the store."""
    return {each for each in place.rglob("*") if each.is_file()}


def policy(answer: httpx.Response) -> dict[str, str]:
    """The directives of the Content-Security-Policy."""
    parts = [part.strip().partition(" ") for part in answer.headers["content-security-policy"].split(";")]
    return {name: value for name, _, value in parts}


# --- browsers


async def test_no_answer_may_be_guessed_at_framed_or_loaded_by_another_page(
    api: Api, host: httpx.AsyncClient, editor: httpx.AsyncClient, execution: str
) -> None:
    await host.put(f"/executions/{execution}/log?offset=0", content=b"<script>alert(1)</script>")
    made = await created(editor)
    answers = [
        *[await editor.get(path) for path in ("/deployments", "/nothing", f"/executions/{execution}/log")],
        await editor.post("/deployments", json={}),
        await editor.put("/deployments"),
        await editor.post("/deployments", content=b"{", headers={"Content-Type": "application/json"}),
        await (await api.client(None)).get("/deployments"),
        *[await editor.get(f"http://api{path}") for path in ("/livez", "/metrics", "/openapi.json", "/else")],
    ]
    api.database.execute("ALTER TABLE deployments RENAME COLUMN updated_at TO altered_at")
    answers.append(await editor.get(f"/deployments/{made['id']}"))
    assert [answer.status_code for answer in answers] == [200, 404, 200, 422, 405, 400, 401, 200, 200, 200, 404, 500]
    for answer in answers:
        assert answer.headers["x-content-type-options"] == "nosniff", answer.url
        assert answer.headers["cross-origin-resource-policy"] == "same-origin"
        rules = policy(answer)
        assert (rules["default-src"], rules["frame-ancestors"]) == ("'none'", "'none'")
    page = await editor.get("http://api/docs")
    assert policy(page)["frame-ancestors"] == "'none'"
    assert (policy(page)["default-src"], "script-src" in policy(page)) == ("'none'", False), "it runs no script"


async def test_nothing_that_a_script_left_behind_can_act_as_the_page(
    host: httpx.AsyncClient, editor: httpx.AsyncClient, execution: str
) -> None:
    content = b"<html xmlns='http://www.w3.org/1999/xhtml'><script>alert(document.cookie)</script></html>"
    for name, kind in PAGES.items():
        path = f"/executions/{execution}/artifacts/{quote(name)}"
        await host.put(path, content=content, headers={"Content-Type": "text/html"})
        for answer in (await editor.get(path), await editor.get(path, headers={"Range": "bytes=0-9"})):
            assert answer.headers["content-type"] == kind
            assert answer.headers["x-content-type-options"] == "nosniff"
            rules = policy(answer)
            # Without allow-same-origin it has no origin: no cookie, no storage, no word with the page around it.
            assert rules["sandbox"] == "allow-scripts"
            assert rules["frame-ancestors"] == "'self'"
            assert {rules[each] for each in ("connect-src", "form-action", "base-uri", "object-src")} == {"'none'"}
            assert not {"*", "http:", "https:"} & set(rules["default-src"].split())
            assert "cross-origin-opener-policy" not in answer.headers, "a browser does not show a sandbox that has it"
    missing = await editor.get(f"/executions/{execution}/artifacts/none.html")
    assert policy(missing)["default-src"] == "'none'"


# --- names


NAMES = (
    *("%2e%2e%2f%2e%2e%2fpasswd", "..%2f", "...", "....//"[:4], ".hidden", "a.", "a ", " a", "~root"),
    *("CON", "nul.txt", "COM1", "a:stream", "C:x", 'a|b>c<d*e?f"', "#fragment", "?query", "a;b=c", "a%00b"),
    *("\uff0e\uff0e\uff0fx", "\u2024\u2024\u2215x", "\u2215etc\u2044passwd", "\u202egnp.exe", "a\u200bb", "\ufeffa"),
    *("caf\u00e9", "cafe\u0301", "CAF\u00c9", "\u212b", "\u00c5", "A\u030a", "\ufb01", "fi", "ß", "ss", "İ", "i\u0307"),
    *("a", "a/b", "A", "a/B", "x" * LONGEST_NAME, "日" * (LONGEST_NAME // 3)),
)
"""Each is a name of its own, however it looks, is folded, composed or decoded once more."""

REFUSED = (
    *(
        "..",
        ".",
        "../x",
        "a/../x",
        "a/..",
        "./a",
        "a/./b",
        "/etc/passwd",
        "//x",
        "a//b",
        "a/",
        "..\\x",
        "a\\b",
        "\\\\s\\x",
    ),
    *("a\0", "a\nb", "a\r\nX: y", "a\x1b[2J", "a\u2028b", "a\x85b", "x" * (LONGEST_NAME + 1), "日" * 86),
)


async def test_each_name_is_one_file_beneath_its_execution_and_none_is_anothers(
    host: httpx.AsyncClient, editor: httpx.AsyncClient, execution: str, tmp_path: Path
) -> None:
    path = f"/executions/{execution}/artifacts"
    for name in NAMES:
        odd = quote(name, safe="").replace(".", "%2E")
        answer = await host.put(f"{path}/{odd}", content=name.encode())
        assert answer.status_code == 204, (name, answer.text)
    listed = (await editor.get(path)).json()["items"]
    assert sorted(one["name"] for one in listed) == sorted(NAMES)
    for one in listed:
        got = await editor.get(f"http://api{one['url']}")
        assert (got.content, urlsplit(one["url"]).query) == (one["name"].encode(), "")
    files = kept(tmp_path)
    folder = tmp_path / "artifacts" / "artifacts" / execution
    assert {each.parent for each in files} == {folder}
    assert len({each.name.lower() for each in files}) == len(NAMES), "apart on a disk that knows no case, too"
    for each in files:
        assert each.name.isascii()
        assert each.name.split("-")[0].isalnum()  # no device of Windows, no dot in front
    for name in REFUSED:
        odd = quote(name, safe="").replace(".", "%2E")  # clients fold dots that are written as such
        answer = await host.put(f"{path}/{odd}", content=b"x")
        assert answer.status_code in {404, 422}, name  # with a line feed in it, it is not even a path
        problem(await editor.get(f"{path}/{odd}"), 404, "not-found")
    assert kept(tmp_path) == files


async def test_no_text_becomes_a_header(
    host: httpx.AsyncClient, editor: httpx.AsyncClient, execution: str, worker: str
) -> None:
    await host.put(f"/executions/{execution}/artifacts/{quote('größe %0d%0aSet-Cookie: x=1.html')}", content=b"")
    moved = await editor.get(f"/executions/{execution}/report")
    assert moved.headers["location"].endswith("/gr%C3%B6%C3%9Fe%20%250d%250aSet-Cookie%3A%20x%3D1.html")
    authorization = {"Authorization": editor.headers["Authorization"]}
    async with httpx.AsyncClient(trust_env=False, headers=authorization) as client:
        usual = set((await client.get(f"{worker}/nothing")).headers)
        for text in TEXTS.values():
            odd = quote(text, safe="")
            for answer in (
                await client.get(f"{worker}/{odd}"),
                await client.put(f"{worker}/executions/{execution}/artifacts/{odd}", content=b""),
                await client.get(f"{worker}/executions/{execution}/artifacts/{odd}"),
                await client.get(f"{worker}/executions", params={"host_name": text, "cursor": text}),
                await client.post(f"{worker}/deployments", json={**EVERY_TEN, "host_name": text, "device_id": text}),
            ):
                assert 200 <= answer.status_code < 500
                assert set(answer.headers) <= usual | {"retry-after"}, text
                assert "forged" not in str(answer.headers)


# --- bodies


class Sender:
    """A client that says what it likes on a socket."""

    def __init__(self, url: str, token: str) -> None:
        parts = urlsplit(url)
        self._socket = socket.create_connection((parts.hostname or "", parts.port or 0), timeout=10)
        self._token = token

    def __enter__(self) -> Sender:
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.close()

    def head(self, line: str, *headers: str) -> None:
        """The request without its body."""
        said = (f"{line} HTTP/1.1", "Host: api", f"Authorization: Bearer {self._token}", *headers, "", "")
        self._socket.sendall("\r\n".join(said).encode())

    def body(self, content: bytes) -> None:
        """A piece of the body."""
        self._socket.sendall(content)

    def answer(self) -> bytes:
        """All that comes until the other end closes, or a whole answer with a body."""
        got = b""
        while piece := self._socket.recv(1 << 16):
            got += piece
            if b"\r\n\r\n" in got and got.endswith(b"}"):
                break
        return got

    def is_closed(self) -> bool:
        """The other end closes."""
        return self._socket.recv(1) == b""


@pytest.fixture
def sender(worker: str, host: httpx.AsyncClient) -> Iterator[Sender]:
    with Sender(worker, host.headers["Authorization"].removeprefix("Bearer ")) as made:
        yield made


LIES: dict[str, tuple[tuple[str, ...], bytes, bytes]] = {
    "two lengths": (("Content-Length: 3", "Content-Length: 4"), b"abcd", b"400"),
    "a length and chunks": (("Content-Length: 3", "Transfer-Encoding: chunked"), b"3\r\nabc\r\n0\r\n\r\n", b"400"),
    "no number": (("Content-Length: three",), b"abc", b"400"),
    "below zero": (("Content-Length: -1",), b"", b"400"),
    "huge": ((f"Content-Length: {'9' * 19}",), b"abc", b"413"),
    "over the limit": ((f"Content-Length: {MOST_BYTES_EACH + 1}",), b"abc", b"413"),
    "none": ((), b"", b"411"),
    "chunks alone": (("Transfer-Encoding: chunked",), b"3\r\nabc\r\n0\r\n\r\n", b"411"),
    "another coding": (("Transfer-Encoding: gzip",), b"abc", b"4"),
}


@pytest.mark.parametrize("lie", LIES)
async def test_a_length_that_lies_is_refused_at_once_and_leaves_nothing(
    sender: Sender, editor: httpx.AsyncClient, execution: str, tmp_path: Path, lie: str
) -> None:
    headers, body, status = LIES[lie]
    sender.head(f"PUT /api/v1/executions/{execution}/artifacts/a.txt", *headers)
    sender.body(body)
    answer = await asyncio.to_thread(sender.answer)
    assert answer.startswith(b"HTTP/1.1 " + status), answer
    await is_nowhere(editor, execution, tmp_path)


@pytest.mark.parametrize("size", [100, IN_MEMORY_BYTES + 1], ids=["small", "streamed"])
async def test_a_sender_who_leaves_halfway_leaves_nothing(
    sender: Sender, editor: httpx.AsyncClient, execution: str, tmp_path: Path, worker: str, size: int
) -> None:
    sender.head(f"PUT /api/v1/executions/{execution}/artifacts/a.txt", f"Content-Length: {size}")
    await asyncio.to_thread(sender.body, b"x" * (size // 2))
    sender.__exit__()
    # The next file of the execution has its turn after this one.
    host = {"Authorization": f"Bearer {sender._token}"}
    async with httpx.AsyncClient(trust_env=False, headers=host) as client:
        answer = await client.put(f"{worker}/executions/{execution}/artifacts/b.txt", content=b"b")
    assert answer.status_code == 204
    assert [one["name"] for one in (await editor.get(f"/executions/{execution}/artifacts")).json()["items"]] == [
        "b.txt"
    ]
    assert [each.name[33:] for each in kept(tmp_path)] == ["b.txt"]


@pytest.mark.parametrize("path", ["executions/{}/artifacts/a.txt", "executions/{}/log?offset=0"])
async def test_who_drips_is_cut_off(
    sender: Sender,
    editor: httpx.AsyncClient,
    execution: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    path: str,
) -> None:
    monkeypatch.setattr(body_limit, "PATIENCE_SECONDS", 0.3)
    begun = time.monotonic()
    sender.head(f"PUT /api/v1/{path.format(execution)}", "Content-Length: 1000")
    sender.body(b"x")
    answer = await asyncio.to_thread(sender.answer)
    assert answer.startswith(b"HTTP/1.1 408"), answer
    assert await asyncio.to_thread(sender.is_closed)
    assert 0.25 < time.monotonic() - begun < 5
    await is_nowhere(editor, execution, tmp_path)


async def test_who_has_no_token_drips_no_longer(worker: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(body_limit, "PATIENCE_SECONDS", 0.3)
    with Sender(worker, "nonsense") as stranger:
        stranger.head("POST /api/v1/deployments", "Content-Type: application/json", "Content-Length: 1000")
        stranger.body(b"{")
        assert (await asyncio.to_thread(stranger.answer)).startswith(b"HTTP/1.1 408")
        assert await asyncio.to_thread(stranger.is_closed)


async def test_slow_is_not_who_is_slower_than_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """A second for each 4 KiB: what came lengthens the patience, and our own work on it costs none of it."""
    monkeypatch.setattr(body_limit, "PATIENCE_SECONDS", 0.4)
    monkeypatch.setattr(body_limit, "LEAST_BYTES_A_SECOND", 25)
    waits = iter((0.2, 0.6, 0.6, 9.0))
    pieces = iter((b"x" * 30, b"y" * 10, b"", b""))

    async def receive() -> dict[str, Any]:
        await _after(next(waits))
        return {"type": "http.request", "body": next(pieces), "more_body": True}

    got: list[bytes] = []

    async def app(_scope: Any, limited: Any, _send: Any) -> None:
        while True:
            got.append((await limited())["body"])
            await _after(0.8)

    scope = {"type": "http", "path": "/", "headers": []}
    with pytest.raises(HTTPException, match="408"):
        await body_limit.BodyLimit(app)(scope, receive, None)  # type: ignore[arg-type]  # nothing is sent
    assert got == [b"x" * 30, b"y" * 10, b""]


async def _after(seconds: float) -> None:
    loop = asyncio.get_running_loop()
    done = loop.create_future()
    loop.call_later(seconds, done.set_result, None)
    await done


async def test_uploads_at_once_do_not_pass_the_limit_together(
    api: Api, host: httpx.AsyncClient, editor: httpx.AsyncClient, execution: str
) -> None:
    api.database.execute(
        "INSERT INTO artifacts SELECT %s, n::text, %s, 0, 'x/y' FROM generate_series(1, %s) n",
        (execution, api.team, MOST_FILES - 2),
    )
    path = f"/executions/{execution}/artifacts"
    answers = await asyncio.gather(*(host.put(f"{path}/more-{number}", content=b"x") for number in range(12)))
    assert sorted(answer.status_code for answer in answers) == [204] * 2 + [413] * 10
    assert len((await editor.get(path)).json()["items"]) == MOST_FILES


async def is_nowhere(editor: httpx.AsyncClient, execution: str, place: Path) -> None:
    """Neither listed nor on the disk."""
    assert (await editor.get(f"/executions/{execution}/artifacts")).json()["items"] == []
    assert (await editor.get(f"/executions/{execution}/log")).content == b""
    assert kept(place) == set()


# --- streams of another team


async def test_another_team_follows_nothing_with_whatever_it_saw(
    api: Api, host: httpx.AsyncClient, editor: httpx.AsyncClient, execution: str, worker: str
) -> None:
    await host.put(f"/executions/{execution}/log?offset=0", content=b"secret output")
    strangers = api.database.team("strangers")
    api.database.host("their-1", strangers, ["box"], scripts=["health.py"])
    stranger = await api.of_role("admin", strangers)
    for params in ({"follow": "true"}, {"follow": "false"}, {}):
        for headers in ({}, {"Last-Event-ID": "3"}, {"Range": "bytes=0-3"}):
            answer = await stranger.get(f"/executions/{execution}/log", params=params, headers=headers)
            problem(answer, 404, "not-found")
            assert "secret" not in answer.text
    # With the place in the feed where our own client stands, in the header and in the address.
    ours, theirs = (api.database.token(team, "viewer") for team in (api.team, strangers))
    async with listening(worker, ours) as ear:
        await created(editor)
        cursor = (await ear.hears(1))[0].id
        await created(editor)
        await ear.hears(2)
    for number, in_url in enumerate((False, True), 1):
        async with listening(worker, theirs, since=cursor, in_url=in_url) as stranger_ear:
            barrier = await created(stranger, host_name="their-1", device_id="box")
            await stranger_ear.hears(number)
        assert [each.what for each in stranger_ear.heard][-1] == ("deployment", barrier["id"])
        assert {each.data["team_id"] for each in stranger_ear.heard} == {str(strangers)}
