"""What a broker lost with its data, and nobody would ever miss: commands without an answer, ends of runs."""

from __future__ import annotations

from services.scheduler.statements import STATEMENTS
from tests.support.scheduling import Bench

_FENCE = (
    "INSERT INTO outbox (message_id, team_id, type, exchange, host_name, body, attempts, published_at, applied_at)"
    " VALUES (gen_random_uuid(), %s, %s, 'rigbeat.commands', 'lab-1', '{}', %s, ledger.now() - %s::interval, NULL)"
)


async def test_a_command_that_an_online_host_did_not_answer_is_sent_again(bench: Bench) -> None:
    bench.database.execute(_FENCE, (bench.team, "command.void.v1", 1, "59 seconds"))
    await bench.sweeper().sweep()
    assert bench.one("SELECT published_at IS NOT NULL FROM outbox"), "it may still be on its way"
    bench.database.execute("UPDATE outbox SET published_at = ledger.now() - interval '61 seconds'")
    bench.database.execute("UPDATE hosts SET last_seen_at = ledger.now() - interval '1 hour'")
    await bench.sweeper().sweep()
    assert bench.one("SELECT published_at IS NOT NULL FROM outbox"), "its host is offline: the broker keeps it"
    bench.database.execute("UPDATE hosts SET last_seen_at = ledger.now()")
    await bench.sweeper().sweep()
    assert bench.one("SELECT published_at IS NULL FROM outbox")


async def test_an_answered_command_and_one_without_answers_are_not_sent_again(bench: Bench) -> None:
    bench.database.execute(_FENCE, (bench.team, "command.fence.v1", 1, "1 hour"))
    bench.database.execute("UPDATE outbox SET applied_at = ledger.now()")
    bench.database.execute(_FENCE, (bench.team, "command.clock.v1", 1, "1 hour"))
    await bench.sweeper().sweep()
    assert bench.one("SELECT count(*) FROM outbox WHERE published_at IS NULL") == 0


async def test_each_time_it_is_twice_as_late(bench: Bench) -> None:
    bench.database.execute(_FENCE, (bench.team, "command.fence.v1", 3, "239 seconds"))
    bench.database.execute("UPDATE outbox SET created_at = published_at - interval '240 seconds'")
    await bench.sweeper().sweep()
    assert bench.one("SELECT published_at IS NOT NULL FROM outbox"), "after 60 s, 120 s, 240 s, 480 s"
    bench.database.execute(
        "UPDATE outbox SET published_at = ledger.now() - interval '241 seconds',"
        " created_at = ledger.now() - interval '481 seconds'"
    )
    await bench.sweeper().sweep()
    assert bench.one("SELECT published_at IS NULL FROM outbox")


async def test_tries_that_the_broker_did_not_take_make_nobody_wait_for_hours(bench: Bench) -> None:
    bench.database.execute(_FENCE, (bench.team, "command.cancel.v1", 11, "61 seconds"))
    bench.database.execute("UPDATE outbox SET created_at = published_at - interval '60 seconds'")
    await bench.sweeper().sweep()
    assert bench.one("SELECT published_at IS NULL FROM outbox")


async def test_who_is_asked_to_say_all_again_has_five_times_as_long_for_it(bench: Bench) -> None:
    bench.database.execute(_FENCE, (bench.team, "command.resend.v1", 1, "299 seconds"))
    bench.database.execute("UPDATE outbox SET created_at = published_at")
    await bench.sweeper().sweep()
    assert bench.one("SELECT published_at IS NOT NULL FROM outbox")
    bench.database.execute("UPDATE outbox SET published_at = ledger.now() - interval '301 seconds'")
    bench.database.execute("UPDATE outbox SET created_at = published_at")
    await bench.sweeper().sweep()
    assert bench.one("SELECT published_at IS NULL FROM outbox")


async def test_a_host_whose_device_does_something_else_says_its_events_again(bench: Bench) -> None:
    bench.deploy("d")
    await bench.claimer().claim()
    bench.database.execute("UPDATE deployment_executions SET status = 'running', started_at = ledger.now()")
    bench.database.execute(
        "UPDATE devices SET status = 'running', execution_id = (SELECT id FROM deployment_executions)"
    )

    sweeper = bench.sweeper()

    async def asked(*, after_seconds: float = 16) -> int:
        await sweeper.sweep()
        # Of what was unsaid then, so much time passes.
        sweeper._unsaid = {one: since - after_seconds for one, since in sweeper._unsaid.items()}
        await sweeper.sweep()
        return int(bench.one("SELECT count(*) FROM outbox WHERE type = 'command.resend.v1'"))

    bench.database.execute("UPDATE deployment_executions SET started_at = ledger.now() - interval '2 minutes'")
    assert await asked() == 0, "the device runs it"
    bench.database.execute("UPDATE devices SET status = 'free', execution_id = NULL")
    bench.database.execute("UPDATE deployment_executions SET started_at = ledger.now() - interval '50 seconds'")
    assert await asked() == 0, "what was said of its end may be on its way"
    bench.database.execute("UPDATE deployment_executions SET started_at = ledger.now() - interval '2 minutes'")
    bench.database.execute("UPDATE hosts SET last_seen_at = ledger.now() - interval '1 hour'")
    assert await asked() == 0, "nobody is there to be asked"
    bench.database.execute("UPDATE hosts SET last_seen_at = ledger.now()")
    assert await asked(after_seconds=14) == 0, "the end may be read in a moment: devices are heard before results"
    bench.database.execute("UPDATE devices SET execution_id = (SELECT id FROM deployment_executions)")
    assert await asked() == 0, "it was so"
    bench.database.execute("UPDATE devices SET execution_id = NULL")
    assert await asked(after_seconds=14) == 0, "counted anew"
    assert await asked() == 1
    assert await asked() == 1, "once in ten minutes"
    bench.database.execute(
        "UPDATE outbox SET applied_at = ledger.now(), published_at = ledger.now(),"
        " created_at = ledger.now() - interval '11 minutes' WHERE type = 'command.resend.v1'"
    )
    assert await asked() == 2
    bench.database.execute("UPDATE deployment_executions SET status = 'completed', completed_at = ledger.now()")
    bench.database.execute("DELETE FROM outbox WHERE type = 'command.resend.v1'")
    assert await asked() == 0


async def test_nobody_is_asked_again_or_given_up_while_what_hosts_said_waits_to_be_read(bench: Bench) -> None:
    lost, _ = bench.deploy("lost", timeout_seconds=60), bench.deploy("d")
    await bench.claimer().claim()
    bench.database.execute(_FENCE, (bench.team, "command.void.v1", 1, "2 minutes"))
    bench.database.execute("UPDATE outbox SET published_at = ledger.now() - interval '2 minutes', attempts = 1")
    bench.database.execute(
        "UPDATE deployment_executions SET status = 'running', started_at = ledger.now() - interval '400 seconds'"
        " WHERE deployment_id = %s",
        (lost,),
    )
    sweeper = bench.sweeper()
    sweeper._settings = sweeper._settings.model_copy(update={"offline_seconds": 0.0})
    bench.database.execute("UPDATE hosts SET last_seen_at = ledger.now() + interval '1 minute'")
    bench.database.execute("UPDATE liveness SET at = ledger.now() + interval '1 minute'")
    bench.database.execute("INSERT INTO liveness VALUES ('results', ledger.now() - interval '1 second')")
    again = "SELECT array_agg(type ORDER BY type) FROM outbox WHERE published_at IS NULL"
    sweeper._unsaid = {lost: 0.0}
    await sweeper.sweep()
    assert not sweeper._unsaid, "what was unsaid may be among what waits"
    assert (bench.one(again), bench.rows(lost)) == (None, [("running", None, "cron")])
    bench.database.execute("UPDATE liveness SET at = ledger.now() - interval '2 hours' WHERE name = 'results'")
    assert not await bench.pool.fetchval(STATEMENTS.results_wait, 30.0), "an ingest that does not tell any more"
    bench.database.execute("UPDATE liveness SET at = ledger.now() + interval '1 minute'")
    await sweeper.sweep()
    assert bench.one(again) == ["command.resend.v1", "command.void.v1", "trigger.v1"]
    assert bench.rows(lost) == [("failed", "host_lost", "cron")]
