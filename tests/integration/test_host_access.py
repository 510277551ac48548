"""A host with a user of its own at a real broker: what it may, what it may not, how it comes by it and how it ends."""

from __future__ import annotations

import asyncio
import contextlib
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, replace
from urllib.parse import urlsplit

import aiormq.exceptions as amqp
import httpx
import psycopg
import pytest
from aio_pika.abc import AbstractConnection
from aiormq.abc import AbstractChannel
from pamqp.commands import Basic

from libs.chassis.amqp.channel import channel_of, close_channel, open_channel
from libs.chassis.amqp.connection import closing, connect, lost
from libs.chassis.amqp.declare import declare, depths
from libs.chassis.errors import ConnectionLost, NotLetIn
from libs.contracts import topology
from libs.ledger.pool import create_pool
from libs.stack.rabbitmq import RabbitMQ
from services.api import enrolment, host_users
from services.api.broker_users import BrokerUsers, ManagementAway
from services.api.core.broker_access import password_hash
from services.api.database import Database
from services.api.enrolment import HostAccess, Issued
from services.api.host_users import HostUsers
from services.scheduler.barred import Barrier
from tests.support.api import Api, created, problem
from tests.support.ledger import LedgerDatabase, shift_now
from tests.support.wait import until_async

NAME = "lab-7"


@dataclass
class Gate:
    """The API with a real broker, and the central topology there."""

    api: Api
    rabbitmq: RabbitMQ
    users: BrokerUsers
    admin: httpx.AsyncClient

    async def enrolled(self, name: str = NAME) -> str:
        """A new host's secret."""
        answer = await self.admin.post("/hosts", json={"name": name})
        assert answer.status_code == 201, answer.text
        return str(answer.json()["secret"])

    async def exchange(self, credential: str, name: str = NAME) -> httpx.Response:
        """The answer to whoever asks for credentials with this."""
        return await (await self.api.client(credential)).post(f"/hosts/{name}/credentials")

    async def credentials(self, name: str = NAME) -> dict[str, str]:
        """What a new host is given."""
        answer = await self.exchange(await self.enrolled(name), name)
        assert answer.status_code == 201, answer.text
        return dict(answer.json())


@pytest.fixture
async def gate(api: Api, rabbitmq: RabbitMQ) -> AsyncIterator[Gate]:
    users = BrokerUsers(rabbitmq.management_url, rabbitmq.amqp_url)
    address = rabbitmq.amqp_url.replace(urlsplit(rabbitmq.amqp_url).netloc.rpartition("@")[0] + "@", "")
    api.app.state.workroom = replace(
        api.app.state.workroom, amqp_url=rabbitmq.amqp_url, host_access=HostAccess(users, address)
    )
    async with closing(await connect(rabbitmq.amqp_url, name="test")) as connection:
        await made(connection, topology.central())
        for other in ("lab-1", "lab-2"):
            await made(connection, topology.of_host(other))
    yield Gate(api, rabbitmq, users, await api.of_role("admin"))
    for host in await users.hosts():
        await users.drop(host)


async def made(connection: AbstractConnection, wanted: topology.Topology) -> None:
    await declare(connection, wanted.exchanges, wanted.queues, wanted.bindings)


async def paused_by_schedulers(gate: Gate) -> None:
    """What a scheduler does when it hears of it."""
    pool = await create_pool(gate.api.database.scheduler_url, application="test", most=1)
    try:
        await Barrier(pool, wake=asyncio.Event()).look()
    finally:
        pool.terminate()


WAITS_HERE = """
SELECT FROM pg_locks l JOIN pg_database d ON d.oid = l.database
WHERE l.locktype = 'advisory' AND NOT l.granted AND d.datname = current_database()
"""

Act = Callable[[AbstractChannel], Awaitable[object]]


def publishing(exchange: str, key: str, user: str | None = None) -> Act:
    return lambda channel: channel.basic_publish(
        b"{}", exchange=exchange, routing_key=key, properties=Basic.Properties(user_id=user), mandatory=False
    )


def consuming(queue: str) -> Act:
    return lambda channel: channel.basic_consume(queue, _nothing)


async def _nothing(_message: object) -> None:
    """Takes a delivery and does nothing."""


REFUSED: dict[str, tuple[Act, type[Exception]]] = {
    "consume another host's triggers": (consuming("host.lab-1.triggers"), amqp.ChannelAccessRefused),
    "consume another host's commands": (consuming("host.lab-1.commands"), amqp.ChannelAccessRefused),
    "take another host's presence": (consuming("host.lab-1.presence"), amqp.ChannelAccessRefused),
    "read results": (consuming("results.persist"), amqp.ChannelAccessRefused),
    "read heartbeats": (consuming("hosts.presence"), amqp.ChannelAccessRefused),
    "read the dead letters": (consuming("dead.letters"), amqp.ChannelAccessRefused),
    "get from another's queue": (lambda channel: channel.basic_get("host.lab-1.triggers"), amqp.ChannelAccessRefused),
    "purge another's queue": (lambda channel: channel.queue_purge("host.lab-1.triggers"), amqp.ChannelAccessRefused),
    "speak as another": (publishing("rigbeat.results", "lab-1.started"), amqp.ChannelAccessRefused),
    "print as another": (publishing("rigbeat.logs", "lab-1.x"), amqp.ChannelAccessRefused),
    "say that another vouches": (
        publishing("rigbeat.results", f"{NAME}.started", "host.lab-1"),
        amqp.ChannelPreconditionFailed,
    ),
    "order another": (publishing("rigbeat.commands", "lab-1"), amqp.ChannelAccessRefused),
    "order itself": (publishing("rigbeat.commands", NAME), amqp.ChannelAccessRefused),
    "fire": (publishing("rigbeat.triggers", "lab-1"), amqp.ChannelAccessRefused),
    "bury": (publishing("rigbeat.dead", "x"), amqp.ChannelAccessRefused),
    "send straight to a queue": (publishing("", "results.persist"), amqp.ChannelAccessRefused),
    "send straight to another": (publishing("", "host.lab-1.commands"), amqp.ChannelAccessRefused),
    "declare a queue": (lambda channel: channel.queue_declare("mine"), amqp.ChannelAccessRefused),
    "declare its own queue": (
        lambda channel: channel.queue_declare(f"host.{NAME}.triggers", durable=True),
        amqp.ChannelAccessRefused,
    ),
    "declare an exchange": (lambda channel: channel.exchange_declare("mine"), amqp.ChannelAccessRefused),
    "delete its queue": (lambda channel: channel.queue_delete(f"host.{NAME}.commands"), amqp.ChannelAccessRefused),
    "delete an exchange": (lambda channel: channel.exchange_delete("rigbeat.results"), amqp.ChannelAccessRefused),
    "bind its queue to others' output": (
        lambda channel: channel.queue_bind(f"host.{NAME}.presence", "rigbeat.logs", "#"),
        amqp.ChannelAccessRefused,
    ),
    "unbind another's queue": (
        lambda channel: channel.queue_unbind("host.lab-1.triggers", "rigbeat.triggers", "lab-1"),
        amqp.ChannelAccessRefused,
    ),
}


async def test_the_broker_refuses_whatever_is_not_the_hosts(gate: Gate) -> None:
    url = (await gate.credentials())["amqp_url"]
    answers: dict[str, str] = {}
    async with closing(await connect(url, name="rogue")) as connection:
        for what, (act, error) in REFUSED.items():
            channel = await open_channel(connection, confirms=True)
            with pytest.raises(error) as refused:
                await act(channel)
            await close_channel(channel)
            answers[what] = str(refused.value)
    sys.stdout.writelines(f"REFUSED {what}: {answer}\n" for what, answer in answers.items())
    assert all("refused" in answer or "user_id" in answer for answer in answers.values()), answers


async def test_what_waits_for_another_is_told_by_the_broker_to_whoever_knows_its_name(gate: Gate) -> None:
    """Not as we would have it: RabbitMQ asks for no permission there. docs/security.md says so."""
    async with closing(await connect((await gate.credentials())["amqp_url"], name="curious")) as connection:
        assert await depths(connection, ["host.lab-1.triggers"]) == {"host.lab-1.triggers": (0, 0)}


async def test_it_does_what_a_runner_does(gate: Gate) -> None:
    url = (await gate.credentials())["amqp_url"]
    async with closing(await connect(url, name="runner")) as connection:
        for queue in (topology.triggers_queue, topology.commands_queue, topology.presence_queue):
            async with channel_of(connection) as channel:
                await channel.basic_consume(queue(NAME), _nothing)
        async with channel_of(connection) as channel:
            for event in (*topology.RESULT_EVENTS, "heartbeat"):
                await publishing(topology.RESULTS, topology.result_key(NAME, event), f"host.{NAME}")(channel)
            await publishing(topology.LOGS, f"{NAME}.x")(channel)


async def test_a_secret_is_exchanged_once_it_is_used_and_no_more(gate: Gate) -> None:
    secret = await gate.enrolled()
    lost_answer = (await gate.exchange(secret)).json()
    given = (await gate.exchange(secret)).json()
    assert given["token"] != lost_answer["token"]
    problem(await (await gate.api.client(lost_answer["token"])).get("/executions"), 401, "unauthenticated")
    with pytest.raises(NotLetIn):
        await connect(lost_answer["amqp_url"], name="lost")
    host = await gate.api.client(given["token"])
    assert (await host.post(f"/hosts/{NAME}/credentials/taken")).status_code == 204
    refused = problem(await gate.exchange(secret), 401, "unauthenticated")
    assert "used" in refused["detail"]
    async with closing(await connect(given["amqp_url"], name="runner")):
        pass


async def test_a_secret_is_one_hosts_for_a_day(gate: Gate) -> None:
    secret, _other = await gate.enrolled(), await gate.enrolled("lab-8")
    problem(await gate.exchange(secret, "lab-8"), 401, "unauthenticated")
    problem(await gate.exchange("rb_00000000_" + "A" * 43), 401, "unauthenticated")
    problem(await (await gate.api.client(secret)).get("/deployments"), 401, "unauthenticated")
    shift_now(gate.api.database, 24 * 3600 + 1)
    assert "expired" in problem(await gate.exchange(secret), 401, "unauthenticated")["detail"]


async def test_new_credentials_end_the_former_once_they_are_taken_up(gate: Gate) -> None:
    first = await gate.credentials()
    former = await connect(first["amqp_url"], name="former")
    second = (await gate.exchange(first["token"])).json()
    old, new = await gate.api.client(first["token"]), await gate.api.client(second["token"])
    problem(await old.get("/deployments"), 403, "forbidden")  # still a host's token, which may not read
    assert not lost(former).done()
    assert (await new.post(f"/hosts/{NAME}/credentials/taken")).status_code == 204
    problem(await old.get("/deployments"), 401, "unauthenticated")

    async def is_out() -> bool:
        return lost(former).done()

    await until_async(is_out, within=5, what="the former connection is closed")
    with pytest.raises(NotLetIn):
        await connect(first["amqp_url"], name="former")
    async with closing(await connect(second["amqp_url"], name="runner")):
        pass


async def test_an_answer_that_was_lost_strands_no_host_however_long_it_was_away(gate: Gate) -> None:
    first = await gate.credentials()
    lost_answer = (await gate.exchange(first["token"])).json()
    with pytest.raises(NotLetIn):
        await connect(first["amqp_url"], name="former")
    shift_now(gate.api.database, 30 * 86_400)
    again = (await gate.exchange(first["token"])).json()
    host, lost_one = await gate.api.client(again["token"]), await gate.api.client(lost_answer["token"])
    # Whoever has what was given before, and says that it has it, ends nothing of what was given since.
    for former in (lost_one, await gate.api.client(first["token"])):
        refused = problem(await former.post(f"/hosts/{NAME}/credentials/taken"), 409, "wrong-state")
        assert "given others since" in refused["detail"]
    assert (await host.post(f"/hosts/{NAME}/credentials/taken")).status_code == 204
    for former in (lost_one, await gate.api.client(first["token"])):
        problem(await former.post(f"/hosts/{NAME}/credentials/taken"), 401, "unauthenticated")
    async with closing(await connect(again["amqp_url"], name="runner")):
        pass


async def test_a_management_that_does_not_know_us_is_told_as_unavailable(gate: Gate) -> None:
    given = await gate.credentials()
    url = gate.rabbitmq.management_url.replace(f":{urlsplit(gate.rabbitmq.management_url).password}@", ":wrong@")
    room = gate.api.app.state.workroom
    strange = HostAccess(BrokerUsers(url, gate.rabbitmq.amqp_url), "amqp://x")
    gate.api.app.state.workroom = replace(room, host_access=strange)
    host = await gate.api.client(given["token"])
    for path in ("", "/taken"):
        refused = problem(await host.post(f"/hosts/{NAME}/credentials{path}"), 503, "unavailable")
        assert "refuses what we ask" in refused["detail"]


async def test_a_host_asks_for_itself_alone(gate: Gate) -> None:
    mine, theirs = await gate.credentials(), await gate.credentials("lab-8")
    problem(await gate.exchange(mine["token"], "lab-8"), 403, "forbidden")
    rogue = await gate.api.client(mine["token"])
    problem(await rogue.post("/hosts/lab-8/credentials/taken"), 404, "not-found")
    async with closing(await connect(theirs["amqp_url"], name="runner")):
        pass


@pytest.mark.parametrize("queued", ["keep", "drain"])
async def test_who_is_revoked_is_out_within_five_seconds(gate: Gate, queued: str) -> None:
    given = await gate.credentials()
    connection = await connect(given["amqp_url"], name="runner")
    assert (await gate.admin.delete(f"/hosts/{NAME}?queued={queued}")).status_code == 200

    async def is_out() -> bool:
        return lost(connection).done() and NAME not in await gate.users.hosts()

    await until_async(is_out, within=5, what="user and connection are gone")
    with pytest.raises(NotLetIn):
        await connect(given["amqp_url"], name="again")
    problem(await gate.exchange(given["token"]), 401, "unauthenticated")
    problem(await gate.admin.post(f"/hosts/{NAME}/enrol"), 409, "wrong-state")
    async with closing(await connect(gate.rabbitmq.amqp_url, name="test")) as operator:
        [depth] = (await depths(operator, [topology.triggers_queue(NAME)])).values()
        assert (depth is not None) == (queued == "keep")


async def test_a_broker_that_lost_its_users_gets_them_again_and_strangers_go(gate: Gate) -> None:
    given = await gate.credentials()
    await gate.users.drop(NAME)
    await gate.users.put("stranger", password_hash("x", b"salt"))
    parts = urlsplit(gate.rabbitmq.management_url)
    auth = (parts.username or "", parts.password or "")
    elsewhere = f"http://{parts.netloc.rpartition('@')[2]}/api/vhosts/elsewhere"
    async with httpx.AsyncClient(auth=auth, trust_env=False) as management:
        assert (await management.put(elsewhere)).is_success
    others = BrokerUsers(gate.rabbitmq.management_url, f"{gate.rabbitmq.amqp_url.rstrip('/')}/elsewhere")
    await others.put("of-another-installation", password_hash("x", b"salt"))
    keeper = HostUsers(gate.users, gate.api.database.ingest_url, every_seconds=0.2)
    await keeper.start()
    try:

        async def is_right() -> bool:
            return await gate.users.hosts() == {NAME}

        await until_async(is_right, within=10, what="the users are as the ledger says")

        async def is_let_in() -> bool:  # the user is there a moment before its permissions
            with contextlib.suppress(ConnectionLost):
                async with closing(await connect(given["amqp_url"], name="runner")):
                    return True
            return False

        await until_async(is_let_in, within=10, what="the host is let in")
        assert await others.hosts() == {"of-another-installation"}, "not ours to take away"
    finally:
        await keeper.stop(5)
        await others.drop("of-another-installation")
        async with httpx.AsyncClient(auth=auth, trust_env=False) as management:
            assert (await management.delete(elsewhere)).is_success


class _Slow(BrokerUsers):
    """Whoever looks is overtaken: in the middle of it the host is revoked, and dropped by who did that."""

    database: LedgerDatabase
    is_late = False

    async def put(self, host: str, password_hash: str) -> None:
        self.database.execute("UPDATE hosts SET revoked_at = ledger.now() WHERE name = %s", (host,))
        await super().drop(host)
        await super().put(host, password_hash)
        self.is_late = True


async def test_a_host_that_is_revoked_while_users_are_looked_at_does_not_come_back(
    gate: Gate, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(host_users, "AGAIN_SECONDS", 60.0)
    await gate.credentials()
    users = _Slow(gate.rabbitmq.management_url, gate.rabbitmq.amqp_url)
    users.database = gate.api.database
    keeper = HostUsers(users, gate.api.database.ingest_url, every_seconds=60)
    await keeper.start()
    try:

        async def is_out() -> bool:
            return users.is_late and NAME not in await gate.users.hosts()

        # By the one who put it there: the next look is a minute away.
        await until_async(is_out, within=10, what="it is out")
    finally:
        await keeper.stop(5)


async def test_a_revocation_that_the_broker_did_not_hear_of_is_made_good_within_five_seconds(
    gate: Gate, monkeypatch: pytest.MonkeyPatch
) -> None:
    given = await gate.credentials()
    keeper = HostUsers(
        BrokerUsers(gate.rabbitmq.management_url, gate.rabbitmq.amqp_url),
        gate.api.database.ingest_url,
        every_seconds=60,
    )
    await keeper.start()
    try:
        async with closing(await connect(given["amqp_url"], name="runner")) as connection:

            async def away(_host: str) -> None:
                raise ManagementAway("it does not answer")

            monkeypatch.setattr(gate.users, "drop", away)
            assert (await gate.admin.delete(f"/hosts/{NAME}")).status_code == 200
            monkeypatch.undo()

            async def is_out() -> bool:
                return lost(connection).done() and NAME not in await gate.users.hosts()

            await until_async(is_out, within=5, what="user and connection are gone")
    finally:
        await keeper.stop(5)


async def test_a_new_secret_ends_the_former_one_also_for_who_was_about_to_use_it(gate: Gate) -> None:
    former = await gate.enrolled()
    database = gate.api.database
    async with await psycopg.AsyncConnection.connect(database.owner_url) as other:
        # Somebody else's exchange is under way: ours has looked at its secret, and waits.
        await other.execute("SELECT pg_advisory_xact_lock(hashtextextended('rigbeat host ' || %s, 0))", (NAME,))
        waiting = asyncio.create_task(gate.exchange(former))

        async def waits() -> bool:
            return bool(database.execute(WAITS_HERE))

        await until_async(waits, within=5, what="the exchange waits")
        again = (await gate.admin.post(f"/hosts/{NAME}/enrol")).json()["secret"]
    problem(await waiting, 401, "unauthenticated")
    assert (await gate.exchange(again)).status_code == 201


@pytest.mark.parametrize("who", ["somebody with the same secret", "an admin", "an admin in the middle"])
async def test_whom_another_overtakes_is_told_and_leaves_nothing_at_the_broker(
    gate: Gate, who: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    secret = await gate.enrolled()
    access, others = gate.api.app.state.workroom.host_access, []
    let_in = access.let_in

    async def overtaken(database: Database, issued: Issued, *, is_anew: bool) -> None:
        monkeypatch.undo()
        if who == "an admin":
            await revoke()
        elif who == "an admin in the middle":
            monkeypatch.setattr(gate.users, "put", put_late)
        else:
            others.append((await gate.exchange(secret)).json())
        await let_in(database, issued, is_anew=is_anew)

    async def revoke() -> None:
        assert (await gate.admin.delete(f"/hosts/{NAME}")).status_code == 200

    async def put_late(host: str, password: str) -> None:
        await revoke()
        assert NAME not in await gate.users.hosts()
        await put(host, password)
        assert NAME in await gate.users.hosts()

    put = gate.users.put
    monkeypatch.setattr(access, "let_in", overtaken)
    refused = problem(await gate.exchange(secret), 409, "wrong-state")
    assert refused["detail"] == "The host was revoked, or came in another time, meanwhile"
    assert (NAME in await gate.users.hosts()) == bool(others)
    for given in others:  # its password is the one that the broker knows
        async with closing(await connect(given["amqp_url"], name="runner")):
            pass


async def test_a_token_that_was_taken_back_while_it_waited_gets_nothing(gate: Gate) -> None:
    given = await gate.credentials()
    secret = (await gate.admin.post(f"/hosts/{NAME}/enrol")).json()["secret"]
    database = gate.api.database
    async with await psycopg.AsyncConnection.connect(database.owner_url) as other:
        await other.execute("SELECT pg_advisory_xact_lock(hashtextextended('rigbeat host ' || %s, 0))", (NAME,))
        waiting = asyncio.create_task(gate.exchange(given["token"]))

        async def waits() -> bool:
            return bool(database.execute(WAITS_HERE))

        await until_async(waits, within=5, what="the exchange waits")
        # Meanwhile the secret is exchanged, by a server that was quicker.
        database.execute("UPDATE api_tokens SET revoked_at = ledger.now() WHERE host_name = %s", (NAME,))
    problem(await waiting, 401, "unauthenticated")
    assert (await gate.exchange(secret)).status_code == 201


async def test_who_waits_too_long_is_told_and_holds_nothing(gate: Gate, monkeypatch: pytest.MonkeyPatch) -> None:
    given = await gate.credentials()
    monkeypatch.setattr(enrolment, "EXCHANGE_SECONDS", 0.5)

    async def hangs(*_: object) -> None:
        await asyncio.Event().wait()

    monkeypatch.setattr(gate.users, "require", hangs)
    answers = await asyncio.gather(*(gate.exchange(given["token"]) for _ in range(12)))
    for answer in answers:
        assert "takes too long" in problem(answer, 503, "unavailable")["detail"]
    monkeypatch.undo()
    assert (await gate.exchange(given["token"])).status_code == 201


async def test_an_operator_shares_a_host_and_nobody_else(gate: Gate) -> None:
    friends = gate.api.database.team("friends")
    operator = await gate.api.client(gate.api.database.token(None, "operator"))
    problem(await gate.admin.post("/hosts", json={"name": NAME, "shared_teams": [str(friends)]}), 403, "forbidden")
    made_ = await operator.post(
        "/hosts", json={"name": NAME, "team_id": str(gate.api.team), "shared_teams": [str(friends)]}
    )
    assert made_.json()["host"]["shared_teams"] == [str(friends)]
    friend = await gate.api.of_role("admin", friends)
    assert NAME in [host["name"] for host in (await friend.get("/hosts")).json()["items"]]
    problem(await friend.post(f"/hosts/{NAME}/enrol"), 404, "not-found")
    problem(await friend.patch(f"/hosts/{NAME}", json={"shared_teams": []}), 403, "forbidden")
    gate.api.database.execute("INSERT INTO devices (host_name, device_id) VALUES (%s, 'stb-1')", (NAME,))
    gate.api.database.execute("INSERT INTO host_scripts (host_name, name) VALUES (%s, 'health.py')", (NAME,))
    guest, owner = await gate.api.of_role("editor", friends), await gate.api.of_role("editor")
    theirs, owners = await created(guest, host_name=NAME), await created(owner, host_name=NAME)
    ran = (await guest.post(f"/deployments/{theirs['id']}/run")).json()
    gate.api.database.execute("INSERT INTO devices (host_name, device_id) VALUES (%s, 'stb-2')", (NAME,))
    for locker, device in ((guest, "stb-1"), (gate.admin, "stb-2")):
        assert (await locker.post(f"/hosts/{NAME}/devices/{device}/lock", json={"reason": "mine"})).is_success
    alone = (await operator.patch(f"/hosts/{NAME}", json={"shared_teams": []})).json()
    assert (alone["shared_teams"], [bool(each["lock"]) for each in alone["devices"]]) == ([], [False, True])
    # What they held is free, what others hold is not; and their pages are told that they lost it.
    devices = (await gate.admin.get(f"/hosts/{NAME}")).json()["devices"]
    assert [(each["device_id"], bool(each["lock"])) for each in devices] == [("stb-1", False), ("stb-2", True)]
    told = "SELECT count(*) FROM change_feed WHERE team_id = %s AND kind = 'host' AND resource_id = %s"
    assert gate.api.database.execute(told, (friends, NAME)) == [(2,)], "when it was enrolled, and now"
    await paused_by_schedulers(gate)
    left = (await guest.get(f"/deployments/{theirs['id']}")).json()
    assert (left["status"], left["status_reason"]) == ("paused", f"The team may not use the host {NAME} any more")
    assert (await owner.get(f"/deployments/{owners['id']}")).json()["status"] == "active", "whose host it is"
    for what in ("resume", "run"):
        refused = problem(await guest.post(f"/deployments/{theirs['id']}/{what}"), 409, "wrong-state")
        assert "may not use" in refused["detail"]
    problem(await friend.get(f"/hosts/{NAME}"), 404, "not-found")
    # What they have there is theirs to end all the same.
    assert (await guest.patch(f"/deployments/{theirs['id']}", json={"parameters": "--other"})).status_code == 200
    assert (await guest.post(f"/executions/{ran['id']}/cancel")).status_code in {200, 202}
    assert (await guest.post(f"/deployments/{theirs['id']}/stop")).json()["status"] == "stopped"
    assert (await guest.delete(f"/deployments/{theirs['id']}")).is_success


async def test_a_broker_that_makes_no_users_costs_nobody_what_he_has(
    gate: Gate, monkeypatch: pytest.MonkeyPatch
) -> None:
    given = await gate.credentials()
    rows = (
        "SELECT (SELECT count(*) FROM api_tokens), (SELECT count(*) FROM audit_log), "
        "(SELECT count(*) FROM api_tokens WHERE host_name = %s AND expires_at IS NOT NULL)"
    )
    before = gate.api.database.execute(rows, (NAME,))

    async def away(*_: object) -> None:
        raise ManagementAway("it does not answer")

    monkeypatch.setattr(gate.users, "require", away)
    problem(await gate.exchange(given["token"]), 503, "unavailable")
    assert gate.api.database.execute(rows, (NAME,)) == before, "nothing is written for a broker that is away"
    monkeypatch.undo()
    monkeypatch.setattr(gate.users, "put", away)
    problem(await gate.exchange(given["token"]), 503, "unavailable")
    monkeypatch.undo()
    # However long that lasts: the former token is the only one that the host has.
    assert gate.api.database.execute(rows, (NAME,))[0][2] == before[0][2]
    assert (await gate.exchange(given["token"])).status_code == 201


async def test_secrets_that_are_tried_in_vain_are_counted(gate: Gate) -> None:
    secret = await gate.enrolled()
    given = (await gate.exchange(secret)).json()
    host = await gate.api.client(given["token"])
    assert (await host.post(f"/hosts/{NAME}/credentials/taken")).status_code == 204
    # A secret that is spent is known as the host's, and so it is never tried as a token, which would be counted anyway.
    for _ in range(20):
        problem(await gate.exchange(secret), 401, "unauthenticated")
    problem(await gate.exchange(secret), 429, "too-many")
    # Nor are others let try from there.
    problem(await gate.exchange("rb_00000000_" + "A" * 43), 429, "too-many")
