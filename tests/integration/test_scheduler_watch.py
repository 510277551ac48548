"""The gauges of the whole system, as a scheduler reads them with its own role."""

from __future__ import annotations

import time

from prometheus_client import REGISTRY

from libs.ledger.pool import create_pool
from services.scheduler.watch import Watch
from tests.support.ledger import LedgerDatabase


def value(name: str, **labels: str) -> float | None:
    return REGISTRY.get_sample_value(f"rigbeat_{name}", labels)


async def test_the_gauges_tell_what_waits_what_is_open_and_who_is_there(ledger_database: LedgerDatabase) -> None:
    database = ledger_database
    team = database.team("a")
    for name in ("on", "off", "gone", "never"):
        database.host(name, team, ["box"])
    database.execute("INSERT INTO liveness VALUES ('presence', ledger.now())")
    database.execute("UPDATE hosts SET last_seen_at = ledger.now() - interval '5 minutes' WHERE name = 'off'")
    database.execute("UPDATE hosts SET revoked_at = ledger.now() WHERE name = 'gone'")
    database.execute("UPDATE hosts SET last_seen_at = NULL WHERE name = 'never'")
    [(deployment,)] = database.execute(
        "INSERT INTO deployments (id, team_id, name, host_name, device_id, script_name, cron_expression, counted_from)"
        " VALUES (gen_random_uuid(), %s, 'd', 'on', 'box', 'health.py', '* * * * *', ledger.now()) RETURNING id",
        (team,),
    )
    states = [("triggered", False), ("triggered", True), ("triggered", True), ("queued", False), ("running", False)]
    for number, (status, held) in enumerate([*states, ("completed", False)]):
        database.execute(
            "INSERT INTO deployment_executions (id, deployment_id, team_id, scheduled_at, kind, status, held, version,"
            " host_name, device_id, script_name, decided_at) SELECT ledger.fire_id(%s, at), %s, %s, at, 'cron', %s, %s,"
            " 1, 'on', 'box', 'health.py', at FROM (SELECT ledger.now() - make_interval(mins => %s) AS at) t",
            (deployment, deployment, team, status, held, number),
        )
    for age, published in ((90, False), (10, False), (900, True)):
        database.execute(
            "INSERT INTO outbox (message_id, team_id, type, exchange, host_name, body, created_at, published_at) SELECT"
            " gen_random_uuid(), %s, 'trigger.v1', 'x', 'on', '{}', ledger.now() - make_interval(secs => %s),"
            " CASE WHEN %s THEN ledger.now() END",
            (team, age, published),
        )
    for state in ("open", "open", "closed"):
        database.execute(
            "INSERT INTO dead_letters (id, reason, body_size, state) VALUES (gen_random_uuid(), 'expired', 0, %s)",
            (state,),
        )

    pool = await create_pool(database.scheduler_url, application="test", most=1)
    try:
        await Watch(pool).look()
        assert value("firing") == 1
        assert value("outbox_waiting") == 2
        oldest = value("outbox_oldest_seconds")
        assert oldest is not None
        assert 90 <= oldest < 120
        assert value("dead_letters_open") == 2
        assert {state: value("hosts", state=state) for state in ("online", "offline", "revoked")} == {
            "online": 1,
            "offline": 2,
            "revoked": 1,
        }
        counted = {state: value("executions_open", state=state) for state in ("triggered", "held", "queued", "running")}
        assert counted == {"triggered": 1, "held": 2, "queued": 1, "running": 1}
        watched = value("watched_timestamp_seconds")
        assert watched is not None
        assert abs(watched - time.time()) < 10

        database.execute("UPDATE epoch SET firing = false")
        database.execute("UPDATE outbox SET published_at = ledger.now()")
        await Watch(pool).look()
        assert (value("firing"), value("outbox_waiting"), value("outbox_oldest_seconds")) == (0, 0, 0)
    finally:
        pool.terminate()
