"""What a runner makes of the answers to its asking for credentials."""

from __future__ import annotations

from pathlib import Path

import httpx
import pytest

from services.host_runner.enrolment import Enrolment, EnrolmentRefusedError, _NotNowError, _OvertakenError, _post
from services.host_runner.keys import Keys
from tests.support.wait import until_async

URL = "http://api.lab/api/v1/hosts/lab-1/credentials"


@pytest.mark.parametrize(
    ("status", "kind", "error"),
    [
        (401, "application/problem+json", EnrolmentRefusedError),
        (403, "application/problem+json", EnrolmentRefusedError),
        (404, "application/problem+json", EnrolmentRefusedError),
        # Not the API's own word: a proxy before it, which says so while the API is away.
        (401, "text/html", _NotNowError),
        (403, "text/html", _NotNowError),
        (404, "application/json", _NotNowError),
        (409, "application/problem+json", _OvertakenError),
        (409, "text/html", _NotNowError),
        (429, "application/problem+json", _NotNowError),
        (503, "application/problem+json", _NotNowError),
        (302, "text/html", _NotNowError),
    ],
)
async def test_only_the_api_itself_ends_a_host(status: int, kind: str, error: type[Exception]) -> None:
    answer = httpx.MockTransport(lambda _: httpx.Response(status, content=b"{}", headers={"Content-Type": kind}))
    async with httpx.AsyncClient(transport=answer) as client:
        with pytest.raises(error) as raised:
            await _post(client, URL, "secret")
    assert type(raised.value) is error


async def test_what_was_given_is_taken() -> None:
    answer = httpx.MockTransport(lambda _: httpx.Response(201, json={"token": "rb_new"}))
    async with httpx.AsyncClient(transport=answer) as client:
        assert await _post(client, URL, "secret") == {"token": "rb_new"}


async def test_a_runner_whose_credentials_were_overtaken_takes_others_with_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As when an answer came too late, and the one that was asked for meanwhile is not the newest."""
    asked: list[tuple[str, str]] = []

    def answer(request: httpx.Request) -> httpx.Response:
        held = request.headers["Authorization"].removeprefix("Bearer ")
        asked.append((request.url.path.rpartition("/")[2], held))
        if request.url.path.endswith("/taken"):
            if held == "rb_1":
                return httpx.Response(409, content=b"{}", headers={"Content-Type": "application/problem+json"})
            return httpx.Response(204)
        number = sum(name == "credentials" for name, _ in asked)
        return httpx.Response(201, json={"token": f"rb_{number}", "amqp_url": f"amqp://host:{number}@127.0.0.1/"})

    made = httpx.AsyncClient
    monkeypatch.setattr(httpx, "AsyncClient", lambda **_: made(transport=httpx.MockTransport(answer)))
    keys = Keys(tmp_path, None, None)
    enrolment = Enrolment(keys, "lab-1", "http://api.lab", "secret")
    await enrolment._take("secret")
    assert asked == [("credentials", "secret"), ("taken", "rb_1"), ("credentials", "rb_1"), ("taken", "rb_2")]
    assert (keys.token, keys.is_taken) == ("rb_2", True)
    assert Keys(tmp_path, None, None).is_taken


async def test_a_runner_says_what_the_one_before_it_could_not(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It died with the new credentials on its disk: until that is said the former are good, also in strange hands."""
    asked: list[str] = []

    def answer(request: httpx.Request) -> httpx.Response:
        asked.append(f"{request.url.path.rpartition('/')[2]} {request.headers['Authorization']}")
        return httpx.Response(204)

    made = httpx.AsyncClient
    monkeypatch.setattr(httpx, "AsyncClient", lambda **_: made(transport=httpx.MockTransport(answer)))
    Keys(tmp_path, None, None).take("rb_1", "amqp://host:1@127.0.0.1/")
    keys = Keys(tmp_path, None, None)
    assert keys.there.is_set()
    enrolment = Enrolment(keys, "lab-1", "http://api.lab", None)
    await enrolment.start()
    try:
        await until_async(lambda: _is_taken(tmp_path), within=5, what="it was said")
    finally:
        await enrolment.stop(5)
    assert asked == ["taken Bearer rb_1"]


async def _is_taken(folder: Path) -> bool:
    return Keys(folder, None, None).is_taken
