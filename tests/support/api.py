"""The real application on a real ledger, without a socket: `api` is a team with a host, and clients of each role."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import UUID

import httpx
import psycopg
import pytest

from libs.chassis.settings import load
from services.api.settings import Settings
from tests.support.ledger import LedgerDatabase
from tests.support.wait import until_async

if TYPE_CHECKING:
    from fastapi import FastAPI

EVERY_TEN = {"script_name": "health.py", "cron_expression": "*/10 * * * *"}
AT_STB_1 = {"host_name": "lab-1", "device_id": "stb-1"}


@dataclass
class Api:
    """A team `lab` with the host `lab-1`, its devices stb-1 and stb-2, and its scripts health.py and zap.py."""

    app: FastAPI
    database: LedgerDatabase
    team: UUID
    stack: AsyncExitStack
    tokens: dict[str, str] = field(default_factory=dict)

    async def client(self, token: str | None) -> httpx.AsyncClient:
        """A client that sends this token."""
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        transport = httpx.ASGITransport(app=self.app, raise_app_exceptions=False)
        return await self.stack.enter_async_context(
            httpx.AsyncClient(transport=transport, base_url="http://api/api/v1", headers=headers)
        )

    async def of_role(self, role: str, team: UUID | None = None, *, host: str | None = None) -> httpx.AsyncClient:
        """A client with a new token of this role."""
        return await self.client(self.database.token(team or self.team, role, host=host))

    def answer_commands(self) -> None:
        """Let the database itself play ingest and host: each command is applied as soon as it is in the outbox."""
        answer_commands(self.database)

    def executions(self, deployment: str) -> list[Any]:
        """`(status, reason, kind, version)` of each, in order of time."""
        return self.database.execute(
            "SELECT status, reason, kind, version FROM deployment_executions WHERE deployment_id = %s ORDER BY id",
            (deployment,),
        )

    def outbox(self) -> Sequence[Any]:
        """`(type, body)` of each message that orders something, in order."""
        return self.database.execute(
            "SELECT type, body::jsonb FROM outbox WHERE type <> 'command.notice.v1' ORDER BY id"
        )

    def notices(self) -> list[tuple[str, str, str, str | None]]:
        """`(change, status, message, by)` of each notice for the hosts' deployments logs, in order."""
        rows = self.database.execute("SELECT body::jsonb FROM outbox WHERE type = 'command.notice.v1' ORDER BY id")
        return [(row["change"], row["status"], row["message"], row["by"]) for (row,) in rows]


def answer_commands(database: LedgerDatabase) -> None:
    """Let the database itself play ingest and host: each command is applied as soon as it is in the outbox."""
    database.execute(
        """
        CREATE FUNCTION ledger.apply_at_once() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS $$
        BEGIN
            NEW.applied_at := ledger.now();
            PERFORM pg_notify('rigbeat_applied', NEW.message_id::text);
            RETURN NEW;
        END $$
        """
    )
    database.execute(
        "CREATE TRIGGER apply_at_once BEFORE INSERT ON outbox FOR EACH ROW WHEN (NEW.type LIKE 'command.%%') "
        "EXECUTE FUNCTION ledger.apply_at_once()"
    )


def settings_for(
    database: LedgerDatabase, place: Path, *, amqp_url: str = "amqp://guest:guest@127.0.0.1:1/"
) -> Settings:
    """The API's settings; without an `amqp_url` there is no broker."""
    return load(
        Settings,
        {
            "RIGBEAT_DATABASE_URL": database.api_url,
            "RIGBEAT_INGEST_DATABASE_URL": database.ingest_url,
            "RIGBEAT_AMQP_URL": amqp_url,
            "RIGBEAT_ARTIFACTS_URL": f"file://{place}/artifacts",
        },
    )


@pytest.fixture
async def api(ledger_database: LedgerDatabase, tmp_path: Path) -> AsyncIterator[Api]:
    """The application, started."""
    # Here, so that tests which need no application do not wait for a second until it is imported.
    from services.api.app import create_app

    team = ledger_database.team("lab")
    ledger_database.host("lab-1", team, ["stb-1", "stb-2"], scripts=["health.py", "zap.py"])
    app = create_app(settings_for(ledger_database, tmp_path))
    async with AsyncExitStack() as stack:
        await stack.enter_async_context(app.router.lifespan_context(app))
        made = Api(app, ledger_database, team, stack)
        probe = await made.client(None)

        async def is_up() -> bool:
            answer = await probe.get("http://api/readyz")
            return bool(answer.json()["checks"]["database"])

        await until_async(is_up, within=10)
        yield made


@pytest.fixture
async def editor(api: Api) -> httpx.AsyncClient:
    """A client that may make and change deployments."""
    return await api.of_role("editor")


async def created(client: httpx.AsyncClient, **fields: object) -> dict[str, Any]:
    """A new deployment on stb-1, every ten minutes unless told otherwise."""
    answer = await client.post("/deployments", json={**EVERY_TEN, **AT_STB_1, **fields})
    assert answer.status_code == 201, answer.text
    made: dict[str, Any] = answer.json()["items"][0]
    return made


def problem(answer: httpx.Response, status: int, kind: str) -> dict[str, Any]:
    """The problem of an answer, which must be whole and of this kind."""
    assert answer.headers["content-type"] == "application/problem+json", answer.text
    body: dict[str, Any] = answer.json()
    assert (answer.status_code, body["status"], body["type"]) == (status, status, f"/problems/{kind}"), body
    assert set(body) == {"type", "title", "status", "detail", "errors"}
    return body


def refused(answer: httpx.Response, status: int) -> str:
    """The sentence of a refusal under `/server`, which must be in its envelope and have this status."""
    assert answer.headers["content-type"] == "application/json", answer.text
    body: dict[str, Any] = answer.json()
    assert (answer.status_code, body["success"], set(body)) == (status, False, {"success", "error"}), body
    sentence: str = body["error"]
    assert sentence
    return sentence


def open_streams(api: Api) -> int:
    """How many answers are open that end with their token: those that the worker has let in."""
    told = api.app.state.workroom.revocations._told
    return len({tell for each in told.values() for tell in each})


async def until_open(api: Api, number: int) -> None:
    """Wait until so many streams were let in."""

    async def are_open() -> bool:
        return open_streams(api) == number

    await until_async(are_open, within=10, what=f"{number} streams are open")


async def until_acknowledgements_are_heard(api: Api) -> None:
    """Wait until the application listens to what hosts have applied."""

    def count() -> Any:
        with psycopg.connect(api.database.superuser_url) as connection:
            return connection.execute(
                "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()"
                " AND application_name = 'rigbeat-api-listen' AND query LIKE 'LISTEN%'"
            ).fetchone()

    async def listens() -> bool:
        return bool((await asyncio.to_thread(count))[0] > 0)

    await until_async(listens, within=10, what="the application listens")
