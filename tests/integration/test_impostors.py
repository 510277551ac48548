"""A host that speaks of what is not its own: refused by the ingest, kept as a dead letter, counted and in the audit."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import dataclass
from urllib.parse import urlsplit
from uuid import UUID

import pytest
from prometheus_client import REGISTRY

from libs.chassis.amqp.connection import closing, connect
from libs.chassis.amqp.declare import depth
from libs.chassis.amqp.message import Receipt
from libs.chassis.amqp.publisher import Publisher
from libs.contracts import HostEvent, topology
from libs.stack.rabbitmq import RabbitMQ
from services.api.broker_users import BrokerUsers
from services.api.core.broker_access import password_hash, user_of
from services.api.ingest.dead_letters import DeadLetterBox
from services.api.ingest.presence import Presence
from services.api.ingest.results import Results
from tests.support.ingest import JOURNAL, Lab, Word, a_lab, fresh_id, heartbeat, hello, ingesting
from tests.support.ledger import LedgerDatabase
from tests.support.wait import until_async


@dataclass
class Hosts:
    """`lab-1` and `lab-2` with a user each; `lab-2` belongs to another team."""

    lab: Lab
    other: UUID
    publishers: dict[str, Publisher]

    async def says(self, host: str, event: HostEvent, *, key: str | None = None) -> None:
        """Over the host's own connection, with the broker's word for who it is."""
        assert await self.publishers[host].publish([self.lab.outgoing(event, key=key)]) == [Receipt.CONFIRMED]


@pytest.fixture
async def hosts(rabbitmq: RabbitMQ, ledger_database: LedgerDatabase) -> AsyncIterator[Hosts]:
    async with a_lab(rabbitmq, ledger_database) as lab, AsyncExitStack() as stack:
        other = ledger_database.team("other")
        ledger_database.execute("UPDATE hosts SET team_id = %s WHERE name = 'lab-2'", (other,))
        users = BrokerUsers(rabbitmq.management_url, lab.amqp_url)
        publishers = {}
        for host in ("lab-1", "lab-2"):
            ledger_database.token(lab.team, "host", host=host)
            hashed, address = password_hash("secret", b"salt"), urlsplit(lab.amqp_url)
            ledger_database.execute(
                "INSERT INTO host_credentials (host_name, broker_user, broker_password_hash, token_id, issued_at) "
                "SELECT %s, %s, %s, id, ledger.now() FROM api_tokens WHERE host_name = %s",
                (host, user_of(host), hashed, host),
            )
            await users.put(host, hashed)
            stack.push_async_callback(users.drop, host)
            url = f"amqp://{user_of(host)}:secret@{address.hostname}:{address.port}{address.path}"
            connection = await stack.enter_async_context(closing(await connect(url, name=host)))
            publishers[host] = Publisher(connection, user=user_of(host))
        yield Hosts(lab, other, publishers)


def buried(reason: str) -> float:
    return REGISTRY.get_sample_value("rigbeat_ingest_buried_total", {"reason": reason}) or 0.0


async def test_a_host_speaks_only_of_its_own(hosts: Hosts) -> None:
    lab = hosts.lab
    mine, theirs = lab.deploy("mine"), lab.deploy("theirs", host="lab-2")
    run, their_run = lab.trigger(mine), lab.trigger(theirs)
    before = {reason: buried(reason) for reason in ("impostor", "wrong host", "wrong deployment", "unknown deployment")}
    # Under its own key, since the broker lets it write no other; it is the message that lies.
    await hosts.says("lab-2", Word(run, mine).finished(), key="lab-2.finished")
    await hosts.says("lab-2", hello("lab-1", journal=fresh_id()), key="lab-2.hello")
    await hosts.says("lab-2", heartbeat("lab-1", clock_offset_seconds=77.0), key="lab-2.heartbeat")
    await hosts.says("lab-2", Word(run, mine, "lab-2").finished())
    await hosts.says("lab-2", Word(their_run, mine, "lab-2").finished())
    await hosts.says("lab-2", Word(fresh_id(), mine, "lab-2").finished())
    # Somebody who may write everything, but has no word of the broker for who he is.
    await lab.tell(Word(run, mine).finished(), heartbeat("lab-1", clock_offset_seconds=77.0))
    await hosts.says("lab-1", Word(run, mine).started())
    await hosts.says("lab-1", heartbeat("lab-1", clock_offset_seconds=0.5))
    async with ingesting(lab, Results(lab.pool, lab.amqp_url), Presence(lab.pool, lab.amqp_url)):
        await lab.row_is(run, "running", None, False)
        await lab.value_is(0.5, "SELECT clock_offset_seconds FROM hosts WHERE name = 'lab-1'")

        async def are_buried() -> bool:
            return (await depth(lab.connection, topology.DEAD_LETTERS))[0] == 6

        await until_async(are_buried, within=10, what="all six are among the dead letters")
    # All there before the first is read: the audit has one row for what is alike in a batch.
    async with ingesting(lab, DeadLetterBox(lab.pool, lab.amqp_url)):
        await lab.value_is(6, "SELECT count(*) FROM dead_letters")
    assert lab.row(their_run) == ("triggered", None, False)
    assert lab.one("SELECT journal_id FROM hosts WHERE name = 'lab-1'") in {None, JOURNAL}
    assert {reason: buried(reason) - count for reason, count in before.items()} == {
        "impostor": 3,
        "wrong host": 1,
        "wrong deployment": 1,
        "unknown deployment": 1,
    }
    rows = lab.database.execute(
        "SELECT actor, resource, detail ->> 'kind', (detail ->> 'messages')::integer, team_id FROM audit_log "
        "WHERE action = 'refuse' ORDER BY 3, 1"
    )
    own, other = lab.team, hosts.other
    assert rows == [
        ("host lab-2", "host/lab-1", "impostor", 2, own),
        ("somebody at the broker", "host/lab-1", "impostor", 1, own),
        ("host lab-2", "host/lab-2", "unknown deployment", 1, other),
        ("host lab-2", "host/lab-2", "wrong deployment", 1, other),
        ("host lab-2", "host/lab-2", "wrong host", 1, other),
    ]
