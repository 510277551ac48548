"""Logs over HTTP: parts from the host, bytes and events for people."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest

from tests.support.api import Api, created, problem


@pytest.fixture
async def execution(api: Api, editor: httpx.AsyncClient) -> str:
    deployment = await created(editor)
    return str((await editor.post(f"/deployments/{deployment['id']}/run")).json()["id"])


@pytest.fixture
async def host(api: Api) -> httpx.AsyncClient:
    return await api.of_role("host", host="lab-1")


async def put(client: httpx.AsyncClient, execution: str, offset: object, content: bytes) -> httpx.Response:
    return await client.put(f"/executions/{execution}/log", params={"offset": str(offset)}, content=content)


def events(body: str) -> list[tuple[str, int, dict[str, Any]]]:
    found = []
    for frame in body.strip().split("\n\n"):
        fields = dict(line.split(": ", 1) for line in frame.split("\n") if not line.startswith(":"))
        if fields:
            found.append((fields["event"], int(fields["id"]), json.loads(fields["data"])))
    return found


async def test_parts_join_and_a_repeat_or_gap_does_no_harm(
    host: httpx.AsyncClient, editor: httpx.AsyncClient, execution: str
) -> None:
    path = f"/executions/{execution}/log"
    assert (await editor.get(path)).content == b""
    assert (await put(host, execution, 0, b"hello ")).status_code == 204
    assert (await put(host, execution, 0, b"hello ")).status_code == 204
    gap = await put(host, execution, 9, b"x")
    assert (gap.status_code, gap.json()) == (409, {"have": 6})
    assert (await put(host, execution, 3, b"lo world")).status_code == 204  # overlaps: only the new bytes count
    assert (await put(host, execution, 2, b"llo")).status_code == 204
    whole = await editor.get(path)
    assert (whole.status_code, whole.content) == (200, b"hello world")
    assert whole.headers["content-type"].startswith("text/plain")
    problem(await put(host, execution, -1, b""), 422, "invalid-input")
    problem(await put(host, execution, "x", b""), 422, "invalid-input")


async def test_uploads_at_once_leave_each_byte_once(
    host: httpx.AsyncClient, editor: httpx.AsyncClient, execution: str
) -> None:
    content = bytes(range(256)) * 16
    for start in range(0, len(content), 256):
        answers = await asyncio.gather(
            *(put(host, execution, start, content[start : start + length]) for length in (256, 100, 256, 1))
        )
        assert {answer.status_code for answer in answers} == {204}
        await put(host, execution, start, content[start : start + 256])
    assert (await editor.get(f"/executions/{execution}/log")).content == content


async def test_a_range_reaches_over_parts(host: httpx.AsyncClient, editor: httpx.AsyncClient, execution: str) -> None:
    for offset in range(0, 100, 10):
        await put(host, execution, offset, bytes(range(offset, offset + 10)))
    path = f"/executions/{execution}/log"

    async def ranged(header: str) -> httpx.Response:
        return await editor.get(path, headers={"Range": header})

    part = await ranged("bytes=15-34")
    assert (part.status_code, part.content) == (206, bytes(range(15, 35)))
    assert part.headers["content-range"] == "bytes 15-34/100"
    assert (await ranged("bytes=95-")).content == bytes(range(95, 100))
    assert (await ranged("bytes=-3")).content == bytes(range(97, 100))
    assert (await ranged("bytes=0-1000")).headers["content-range"] == "bytes 0-99/100"
    assert (await ranged("lines=1-2")).status_code == 200
    beyond = await ranged("bytes=100-")
    problem(beyond, 416, "invalid-input")
    assert beyond.headers["content-range"] == "bytes */100"


async def test_only_the_executions_own_host_may_send(
    api: Api, host: httpx.AsyncClient, editor: httpx.AsyncClient, execution: str
) -> None:
    api.database.host("lab-2", api.team, ["stb-1"])
    other = await api.of_role("host", host="lab-2")
    problem(await put(other, execution, 0, b"x"), 404, "not-found")
    problem(await put(editor, execution, 0, b"x"), 403, "forbidden")
    problem(await host.get(f"/executions/{execution}/log"), 403, "forbidden")
    problem(await put(host, execution, 0, b"x" * ((1 << 20) + 1)), 413, "too-large")

    async def unannounced() -> AsyncIterator[bytes]:
        for _ in range(17):
            yield b"x" * (1 << 16)

    chunked = await host.put(f"/executions/{execution}/log?offset=0", content=unannounced())
    problem(chunked, 413, "too-large")
    assert (await put(host, execution, 0, b"x" * (1 << 20))).status_code == 204
    api.database.execute("UPDATE hosts SET revoked_at = ledger.now() WHERE name = 'lab-1'")
    problem(await put(host, execution, 1 << 20, b"x"), 401, "unauthenticated")


async def test_a_shared_host_sends_the_logs_of_all_its_teams(api: Api, host: httpx.AsyncClient) -> None:
    friends = api.database.team("friends")
    api.database.execute("UPDATE hosts SET shared_teams = ARRAY[%s::uuid]", (friends,))
    friend = await api.of_role("editor", friends)
    deployment = await created(friend)
    run = (await friend.post(f"/deployments/{deployment['id']}/run")).json()
    assert (await put(host, run["id"], 0, b"theirs")).status_code == 204
    assert (await friend.get(f"/executions/{run['id']}/log")).content == b"theirs"


async def test_following_gives_all_and_ends_and_resumes(
    api: Api, host: httpx.AsyncClient, editor: httpx.AsyncClient, execution: str
) -> None:
    text = "größe\n" * 3
    content = text.encode() + b"\xff!"
    path = f"/executions/{execution}/log"

    async def follow(**headers: str) -> list[tuple[str, int, dict[str, Any]]]:
        answer = await editor.get(path, params={"follow": "true"}, headers=headers)
        assert answer.headers["content-type"].startswith("text/event-stream")
        return events(answer.text)

    await put(host, execution, 0, content[:3])  # ends in the middle of ö
    following = asyncio.create_task(follow())
    await put(host, execution, 3, content[3:10])
    api.database.execute(
        "UPDATE deployment_executions SET status = 'completed', completed_at = ledger.now(), log_bytes = %s",
        (len(content),),
    )
    assert not following.done()  # the last bytes are still to come
    await put(host, execution, 10, content[10:])
    seen = await asyncio.wait_for(following, 10)
    assert "".join(data["text"] for _, _, data in seen[:-1]) == text + "\ufffd!"
    assert seen[-1] == ("end", len(content), {"status": "completed", "size": len(content)})
    offsets = [0, *(identity for _, identity, _ in seen)]
    assert [data["offset"] for _, _, data in seen[:-1]] == offsets[: len(seen) - 1]
    resumed = await follow(**{"Last-Event-ID": "8"})
    assert resumed[0][2] == {"offset": 8, "text": (text.encode()[8:]).decode() + "\ufffd!"}
    assert [kind for kind, _, _ in await follow(**{"Last-Event-ID": str(len(content))})] == ["end"]
