"""A lab of two teams behind a real API: `ours`, whose tokens the attack has, and `theirs`, whose every text is marked.

No answer to one of us may hold a mark that the request did not hold itself.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from uuid import UUID, uuid5

import httpx

from libs.stack.ports import free_port
from libs.stack.process import start
from tests.support.api import answer_commands
from tests.support.ingest import trigger_message
from tests.support.ledger import LedgerDatabase
from tests.support.wait import until

ROOT = Path(__file__).parents[2]
EVERY_HOUR = "0 * * * *"
_SPACE = UUID(int=11)


@dataclass(frozen=True)
class Team:
    """One team with one of everything; `names` by the names of the API's own parameters and fields."""

    id: UUID
    word: str
    names: dict[str, str]

    @property
    def marks(self) -> frozenset[str]:
        """Every text and id that is this team's alone."""
        return frozenset({*self.names.values(), str(self.id)} - {"", "report.html"})

    @property
    def texts(self) -> frozenset[str]:
        """Those of them that people choose, so that anybody may give his own things the same. An id nobody chooses."""
        return frozenset(mark for mark in self.marks if mark.startswith(self.word))


@dataclass
class Lab:
    """The API's address, its ledger and its store, and both teams."""

    url: str
    database: LedgerDatabase
    store: Path
    ours: Team
    theirs: Team
    said: set[str] = field(default_factory=set)
    """Marks that the attack itself wrote into something of ours (a token named after their host): no leaks."""

    def token(self, role: str) -> str | None:
        """A new token of our team for this role (`none`: no token): the attack may have spoilt the last one."""
        if role == "none":
            return None
        if role == "operator":
            return self.database.token(None, role)
        return self.database.token(self.ours.id, role, host=self.ours.names["name"] if role == "host" else None)

    def mend(self) -> None:
        """Let our hosts be in use: an admin may have revoked them."""
        self.database.execute("UPDATE hosts SET revoked_at = NULL WHERE team_id = %s", (self.ours.id,))


@contextmanager
def attacked(database: LedgerDatabase, amqp_url: str, place: Path) -> Iterator[Lab]:
    """A lab on this ledger, served until the end of the block."""
    port = free_port()
    store = place / "artifacts"
    env = {
        "PATH": os.environ["PATH"],  # noqa: TID251
        "RIGBEAT_DATABASE_URL": database.api_url,
        "RIGBEAT_INGEST_DATABASE_URL": database.ingest_url,
        "RIGBEAT_AMQP_URL": amqp_url,
        "RIGBEAT_HTTP_PORT": str(port),
        "RIGBEAT_WEB_WORKERS": "1",
        "RIGBEAT_ARTIFACTS_URL": f"file://{store}",
    }
    url = f"http://127.0.0.1:{port}"
    child = start("api", [sys.executable, "-m", "services.api"], env=env, log=place / "api.log", cwd=ROOT)

    def is_ready() -> bool:
        try:
            return httpx.get(f"{url}/readyz").status_code == 200
        except httpx.TransportError:
            return False

    try:
        until(lambda: child.poll() is not None or is_ready(), within=30, what="the API ready")
        assert child.poll() is None, child.log.read_text()
        answer_commands(database)
        yield Lab(url, database, store, _team(database, url, "ours"), _team(database, url, "zebra"))
    finally:
        child.terminate(10)


def _team(database: LedgerDatabase, url: str, word: str) -> Team:
    """Everything that a team can have, and all of it through the API where it can be."""
    team = database.team(f"{word}-team")
    host, spare, device, script = f"{word}-host", f"{word}-spare", f"{word}-box", f"{word}-script.py"
    database.host(host, team, [device], scripts=[script])
    database.host(spare, team, [f"{word}-shelf"], scripts=[script])
    database.execute("UPDATE hosts SET last_seen_at = NULL, runner_version = %s WHERE team_id = %s", (word, team))
    tokens = database.token(team, "editor"), database.token(team, "admin"), database.token(team, "host", host=host)
    editor, admin, sender = (
        httpx.Client(base_url=f"{url}/api/v1", headers={"Authorization": f"Bearer {token}"}, trust_env=False)
        for token in tokens
    )
    with editor, admin, sender:
        deployment = _made(
            editor.post(
                "/deployments",
                json={
                    "name": f"{word}-deployment",
                    "host_name": host,
                    "device_id": device,
                    "script_name": script,
                    "parameters": f"--{word}-parameter",
                    "userinterface_name": f"{word}-interface",
                    "cron_expression": EVERY_HOUR,
                },
            )
        )["items"][0]
        execution = _made(editor.post(f"/deployments/{deployment['id']}/run", json={"reason": f"{word}-reason"}))
        path = f"/executions/{execution['id']}"
        for answer in (
            sender.put(f"{path}/log?offset=0", content=f"{word}-output".encode()),
            sender.put(f"{path}/artifacts/report.html", content=f"{word}-page".encode()),
            sender.put(f"{path}/artifacts/{word}-file.txt", content=f"{word}-content".encode()),
            editor.post(f"/hosts/{host}/devices/{device}/lock", json={"reason": f"{word}-lock"}),
            admin.post(f"/hosts/{spare}/enrol"),
        ):
            assert answer.is_success, answer.text
    letter = UUID(int=len(word) << 80 | 7 << 76 | 2 << 62)
    died = trigger_message(uuid5(_SPACE, word), UUID(deployment["id"]), host)
    database.execute(
        "INSERT INTO dead_letters (id, queue, reason, type, host_name, team_id, body, body_size) "
        "VALUES (%s, %s, %s, 'trigger.v1', %s, %s, %s, 1)",
        (letter, f"host.{host}.triggers", f"{word}-death", host, team, died.model_dump_json().encode()),
    )
    database.token(team, "viewer")
    [(token,)] = database.execute("SELECT id FROM api_tokens WHERE team_id = %s ORDER BY id DESC LIMIT 1", (team,))
    database.execute("UPDATE api_tokens SET name = %s WHERE id = %s", (f"{word}-token", token))
    return Team(
        team,
        word,
        {
            "deployment_id": deployment["id"],
            "execution_id": execution["id"],
            "letter_id": str(letter),
            "token_id": str(token),
            "name": host,
            "spare": spare,
            "host_name": host,
            "device_id": device,
            "script_name": script,
            "userinterface_name": f"{word}-interface",
            "team_name": f"{word}-team",
            # What the API tells of these, and nobody can ask for.
            **{what: f"{word}-{what}" for what in ("deployment", "parameter", "reason", "output", "page", "content")},
            **{what: f"{word}-{what}" for what in ("lock", "death", "token", "file.txt", "shelf")},
        },
    )


def _made(answer: httpx.Response) -> dict[str, Any]:
    assert answer.is_success, answer.text
    made: dict[str, Any] = answer.json()
    return made
