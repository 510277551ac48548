"""Artifacts over HTTP: what hosts may send, what people get, the report and the JUnit sums in the execution."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest

from libs.contracts.artifacts import LEFT_OUT, MOST_BYTES_EACH, MOST_BYTES_IN_ALL, MOST_FILES
from services.api.artifact_intake import IN_MEMORY_BYTES
from tests.support.api import Api, created, problem

JUNIT = b'<testsuite><testcase name="a"/><testcase name="b"><failure/></testcase></testsuite>'


@pytest.fixture
async def execution(api: Api, editor: httpx.AsyncClient) -> str:
    deployment = await created(editor)
    return str((await editor.post(f"/deployments/{deployment['id']}/run")).json()["id"])


@pytest.fixture
async def host(api: Api) -> httpx.AsyncClient:
    return await api.of_role("host", host="lab-1")


async def put(client: httpx.AsyncClient, execution: str, name: str, content: Any, **headers: str) -> httpx.Response:
    return await client.put(f"/executions/{execution}/artifacts/{name}", content=content, headers=headers)


async def test_what_a_script_leaves_is_in_its_execution(
    api: Api, host: httpx.AsyncClient, editor: httpx.AsyncClient, execution: str
) -> None:
    before = api.database.execute("SELECT count(*) FROM change_feed WHERE resource_id = %s", (execution,))[0][0]
    path = f"/api/v1/executions/{execution}"
    assert (await editor.get(f"/executions/{execution}/artifacts")).json() == {"items": [], "next": None}
    problem(await editor.get(f"/executions/{execution}/report"), 404, "not-found")
    for name, content in (
        ("junit.xml", JUNIT),
        ("sub/more.xml", b"<testsuites><testsuite tests='3' skipped='1'/></testsuites>"),
        ("config.xml", b"<config/>"),
        ("report.html", b"<h1>fine</h1>"),
        ("sub/gr%C3%B6%C3%9Fe%20%2523%3F.png", b"PNG"),
    ):
        assert (await put(host, execution, name, content)).status_code == 204
        assert (await put(host, execution, name, content)).status_code == 204  # a repeat is boring
    got = (await editor.get(f"/executions/{execution}")).json()
    assert got["junit"] == {"tests": 5, "failures": 1, "errors": 0, "skipped": 1}
    assert got["report_url"] == f"{path}/report"
    names = ["config.xml", "junit.xml", "report.html", "sub/größe %23?.png", "sub/more.xml"]
    assert [one["name"] for one in got["artifacts"]] == names
    assert got["artifacts"][3] == {
        "name": "sub/größe %23?.png",
        "size": 3,
        "url": f"{path}/artifacts/sub/gr%C3%B6%C3%9Fe%20%2523%3F.png",
    }
    listed = await editor.get(f"/executions/{execution}/artifacts")
    assert listed.json()["items"] == got["artifacts"]
    for each in (
        (await editor.get("/executions")).json()["items"],
        (await editor.get(f"/deployments/{got['deployment_id']}/executions")).json()["items"],
    ):
        assert each == [got]
    assert (await editor.get(f"http://api{got['artifacts'][3]['url']}")).content == b"PNG"
    noted = api.database.execute("SELECT count(*) FROM change_feed WHERE resource_id = %s", (execution,))[0][0]
    assert noted - before == 10
    assert (await put(host, execution, "junit.xml", b"<broken")).status_code == 204
    assert (await editor.get(f"/executions/{execution}")).json()["junit"]["tests"] == 3


async def test_the_report_is_served_as_other_peoples_page(
    host: httpx.AsyncClient, editor: httpx.AsyncClient, execution: str
) -> None:
    await put(host, execution, "out/index.html", b"<img src='a.png'>")
    found = await editor.get(f"/executions/{execution}/report")
    assert found.status_code == 307
    assert found.headers["location"] == f"/api/v1/executions/{execution}/artifacts/out/index.html"
    page = await editor.get(f"/executions/{execution}/report", follow_redirects=True)
    assert (page.status_code, page.content) == (200, b"<img src='a.png'>")
    assert page.headers["content-type"] == "text/html; charset=utf-8"
    assert page.headers["x-content-type-options"] == "nosniff"
    assert page.headers["content-security-policy"].startswith("sandbox")
    assert "allow-same-origin" not in page.headers["content-security-policy"]
    part = await editor.get(f"/executions/{execution}/artifacts/out/index.html", headers={"Range": "bytes=1-3"})
    assert (part.status_code, part.content, part.headers["content-range"]) == (206, b"img", "bytes 1-3/17")
    beyond = await editor.get(f"/executions/{execution}/artifacts/out/index.html", headers={"Range": "bytes=99-"})
    problem(beyond, 416, "invalid-input")
    await put(host, execution, "other.html", b"")
    problem(await editor.get(f"/executions/{execution}/report"), 404, "not-found")
    empty = await editor.get(f"/executions/{execution}/artifacts/other.html")
    assert (empty.status_code, empty.content) == (200, b"")


async def test_only_the_executions_own_host_may_send_and_only_its_team_reads(
    api: Api, host: httpx.AsyncClient, editor: httpx.AsyncClient, execution: str
) -> None:
    api.database.host("lab-2", api.team, ["stb-1"])
    problem(await put(await api.of_role("host", host="lab-2"), execution, "a", b"x"), 404, "not-found")
    problem(await put(editor, execution, "a", b"x"), 403, "forbidden")
    problem(await put(host, "0199f3a2-1c00-8000-8000-000000000001", "a", b"x"), 404, "not-found")
    assert (await put(host, execution, "a.html", b"x", **{"Content-Type": "application/json"})).status_code == 204
    stranger = await api.of_role("viewer", api.database.team("strangers"))
    for path in ("artifacts", "artifacts/a.html", "report"):
        problem(await stranger.get(f"/executions/{execution}/{path}"), 404, "not-found")
        problem(await host.get(f"/executions/{execution}/{path}"), 403, "forbidden")
    problem(await editor.get(f"/executions/{execution}/artifacts/none"), 404, "not-found")
    problem(await editor.get(f"/executions/{execution}/artifacts/%00"), 404, "not-found")


@pytest.mark.parametrize(
    "name", ["%2E%2E/x", "a/%2E%2E/%2E%2E/x", "%2Fetc/passwd", "a//b", "a%1B%5B2J", "a%00", "a%5Cb", "x" * 256]
)
async def test_names_that_lead_elsewhere_are_refused(host: httpx.AsyncClient, execution: str, name: str) -> None:
    answer = await put(host, execution, name, b"x")
    assert problem(answer, 422, "invalid-input")["errors"][0]["field"] == "name"


async def test_the_measure_is_kept(
    api: Api, host: httpx.AsyncClient, editor: httpx.AsyncClient, execution: str
) -> None:
    async def pieces(size: int) -> AsyncIterator[bytes]:
        for at in range(0, size, 1 << 20):
            yield bytes(min(1 << 20, size - at))

    problem(await put(host, execution, "a", pieces(3)), 411, "malformed")
    over = str(MOST_BYTES_EACH + 1)
    problem(await put(host, execution, "a", pieces(3), **{"Content-Length": over}), 413, "too-large")
    for size in (4, 2):
        problem(await put(host, execution, "a", pieces(3), **{"Content-Length": str(size)}), 400, "malformed")
    big = IN_MEMORY_BYTES + (1 << 20)
    wrong = {"Content-Length": str(big + 1)}
    problem(await put(host, execution, "a", pieces(big), **wrong), 400, "malformed")
    assert (await editor.get(f"/executions/{execution}/artifacts")).json()["items"] == []
    assert (await put(host, execution, "big.xml", pieces(big), **{"Content-Length": str(big)})).status_code == 204
    assert len((await editor.get(f"/executions/{execution}/artifacts/big.xml")).content) == big
    api.database.execute(
        "INSERT INTO artifacts SELECT execution_id, n::text, team_id, 0, 'x/y'"
        " FROM artifacts, generate_series(2, %s) n",
        (MOST_FILES,),
    )
    problem(await put(host, execution, "one-more", b""), 413, "too-large")
    assert (await put(host, execution, "2", b"again")).status_code == 204
    assert (await put(host, execution, LEFT_OUT, b"one-more: too many")).status_code == 204
    api.database.execute("DELETE FROM artifacts WHERE name ~ '^[0-9]'")
    api.database.execute("UPDATE artifacts SET size = %s WHERE name = 'big.xml'", (MOST_BYTES_IN_ALL - 18,))
    problem(await put(host, execution, "x", b"1"), 413, "too-large")
    api.database.execute("DELETE FROM artifacts WHERE name = %s", (LEFT_OUT,))
    assert (await put(host, execution, "x", b"1")).status_code == 204
