"""Whom the command line tells the token that it found in HOME."""

from __future__ import annotations

from pathlib import Path

import httpx
import pytest
from typer.testing import CliRunner

from cli.app import app


@pytest.mark.parametrize(
    ("url", "told", "sent"),
    [
        ("http://127.0.0.1:8080", None, "Bearer of-home"),
        ("http://localhost:8080", None, "Bearer of-home"),
        ("https://rigbeat.lab", None, None),
        ("https://127.0.0.1.evil.lab", None, None),
        ("https://127.0.0.1@evil.lab", None, None),
        ("https://rigbeat.lab", "told", "Bearer told"),
    ],
)
def test_the_token_of_home_stays_on_this_machine(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, url: str, told: str | None, sent: str | None
) -> None:
    monkeypatch.delenv("RIGBEAT_TOKEN", raising=False)
    if told is not None:
        monkeypatch.setenv("RIGBEAT_TOKEN", told)
    (tmp_path / "token").write_text("of-home\n")
    asked: list[httpx.Request] = []

    def answer(_: httpx.HTTPTransport, request: httpx.Request) -> httpx.Response:
        asked.append(request)
        return httpx.Response(200, json={"items": [], "next": None})

    monkeypatch.setattr(httpx.HTTPTransport, "handle_request", answer)
    ended = CliRunner().invoke(app, ["hosts", "list", "--json", "--home", str(tmp_path), "--api-url", url])
    assert ended.exit_code == 0, ended.output
    # A user in the url is sent as `Basic`.
    assert asked[0].headers.get("Authorization", "Basic").replace("Basic MTI3LjAuMC4xOg==", "Basic") == (
        sent or "Basic"
    )
