"""The journal: what the host decided and what it still has to say, on disk before anything is done about it.

`record` writes one decision and the events that it causes in ONE transaction and returns after it is on the disk
(SQLite, WAL, `synchronous=FULL`). So whatever dies afterwards, the next start finds the decision and carries it out,
and the id is known ever after: until `not_after` + 7 days, and what is older than that is refused.

It does not promise to work with a full or broken disk: every error of SQLite comes out, and the runner ends with it.
One thread, one process (the runner's file lock sees to that).
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TypeVar, cast
from uuid import UUID

from libs.chassis.named_sql import NamedSql
from libs.contracts import Envelope, HostEvent, Reason, Trigger, encode
from libs.contracts.topology import RESULTS
from services.host_runner.artifact_book import ArtifactBook
from services.host_runner.core.host import DeviceLock, FenceMark, Host, Run
from services.host_runner.core.vocabulary import Command, Finished, Report, SendAgain

SQL = NamedSql(Path(__file__).parent / "sql")
APP_ID = "rigbeat-host-runner"
KEEP_DECIDED = timedelta(days=7)
KEEP_CONFIRMED = timedelta(days=7)
KEEP_TOMBSTONES = timedelta(days=30)

K = TypeVar("K")
V = TypeVar("V")

Saying = Callable[[int], HostEvent]
"""Makes the event that gets the given sequence."""


@dataclass(frozen=True, slots=True)
class Unsent:
    """An event that the broker has not confirmed."""

    sequence: int
    envelope: Envelope


@dataclass(frozen=True, slots=True)
class OpenLog:
    """A log that the API does not have whole. `size` in bytes, None while it grows."""

    execution_id: UUID
    sent: int
    size: int | None


class Journal:
    """The one journal of a runner's state directory."""

    def __init__(self, path: Path, *, fresh_id: UUID) -> None:
        """Opens or makes it; a new one is called `fresh_id`. Raises `sqlite3.Error`."""
        self._db = sqlite3.connect(path, isolation_level=None)
        self._db.execute(SQL.use_wal)
        self._db.execute(SQL.use_full_sync)
        if not self._db.execute(SQL.has_schema).fetchone()[0]:
            with self._transaction():
                for statement in SQL.create_schema.split(";"):
                    self._db.execute(statement)
                self._db.execute(SQL.insert_meta, (str(fresh_id),))
        self.artifacts = ArtifactBook(self._db)
        identity, self._sequence, *_ = self._db.execute(SQL.select_meta).fetchone()
        self.id = UUID(identity)

    def close(self) -> None:
        """Gives the file back."""
        self._db.close()

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        self._db.execute(SQL.begin)
        with ExitStack() as undo:
            undo.callback(self._db.execute, SQL.rollback)
            yield
            undo.pop_all()
        self._db.execute(SQL.commit)

    def load(self, devices: frozenset[str], max_parallel: int) -> Host:
        """The host as it was left, with the devices that it has today."""
        _, _, epoch, synced_at, forgotten = self._db.execute(SQL.select_meta).fetchone()
        running: dict[UUID, Run] = {}
        pending: dict[UUID, Run] = {}
        for state, *columns in self._db.execute(SQL.select_open_runs):
            run = _run(*columns)
            (running if state == "running" else pending)[run.deployment] = run
        return Host(
            devices=devices,
            max_parallel=max_parallel,
            ledger_epoch=epoch,
            synced_at=_read(synced_at),
            forgotten_before=_read(forgotten),
            running=running,
            pending=pending,
            fences={UUID(key): FenceMark(e, v, Reason(r)) for key, e, v, r in self._db.execute(SQL.select_fences)},
            locks={
                device: DeviceLock(version, bool(held), owner, reason, _read(since), _read(expires))
                for device, version, held, owner, reason, since, expires in self._db.execute(SQL.select_locks)
            },
            tombstones={UUID(key): Reason(reason) for key, reason in self._db.execute(SQL.select_tombstones)},
        )

    def knows(self, execution_id: UUID) -> bool:
        """Whether this execution was decided here before."""
        return bool(self._db.execute(SQL.knows_run, (str(execution_id),)).fetchone()[0])

    def record(
        self, before: Host, after: Host, commands: Sequence[Command], sayings: Sequence[Saying], now: datetime
    ) -> None:
        """One decision, durably: how the host changed, who ended, and what there is to say about it."""
        sequence = self._sequence
        with self._transaction():
            self._record_runs(before, after, commands, now)
            self._record_orders(before, after, now)
            for command in commands:
                if isinstance(command, SendAgain):
                    self._db.execute(SQL.unconfirm_from, (command.from_sequence,))
            for saying in sayings:
                sequence += 1
                self._insert_event(sequence, saying(sequence), now)
            self._db.execute(SQL.update_sequence, (sequence,))
        self._sequence = sequence

    def _record_runs(self, before: Host, after: Host, commands: Sequence[Command], now: datetime) -> None:
        ended = [command for command in commands if isinstance(command, Report) and command.is_last]
        # Who leaves a place goes first, so that who takes it does not collide with him.
        for report in ended:
            self._db.execute(SQL.upsert_run, _row(report.run, "ended", now))
            size = report.word.outcome.log_bytes if isinstance(report.word, Finished) else 0
            self._db.execute(SQL.end_log, (size, _write(now), str(report.run.id)))
            if isinstance(report.word, Finished):
                self.artifacts.open(report.run.id)
        for run in _changed(before.running, after.running):
            self._db.execute(SQL.upsert_run, _row(run, "running", None))
            self._db.execute(SQL.open_log, (str(run.id),))
        for run in _changed(before.pending, after.pending):
            self._db.execute(SQL.upsert_run, _row(run, "pending", None))

    def _record_orders(self, before: Host, after: Host, now: datetime) -> None:
        if (before.ledger_epoch, before.synced_at) != (after.ledger_epoch, after.synced_at):
            self._db.execute(SQL.update_centre, (after.ledger_epoch, _write(after.synced_at)))
        for deployment, mark in _fresh(before.fences, after.fences):
            self._db.execute(SQL.upsert_fence, (str(deployment), mark.epoch, mark.version, mark.reason))
        for execution, reason in _fresh(before.tombstones, after.tombstones):
            self._db.execute(SQL.upsert_tombstone, (str(execution), reason, _write(now)))
        if before.locks is not after.locks:
            self._db.execute(SQL.delete_locks)
            for device, lock in after.locks.items():
                times = (_write(lock.since), _write(lock.expires_at))
                self._db.execute(SQL.insert_lock, (device, lock.version, lock.held, lock.owner, lock.reason, *times))

    def _insert_event(self, sequence: int, event: HostEvent, now: datetime) -> None:
        envelope = encode(event, message_id=f"{self.id}:{sequence}", at=now, app_id=APP_ID)
        columns = (envelope.message_id, envelope.type, envelope.routing_key, envelope.correlation_id, envelope.body)
        self._db.execute(SQL.insert_event, (sequence, *columns, _write(now)))

    def unsent(self, limit: int) -> list[Unsent]:
        """The oldest events that the broker has not confirmed, in order."""
        return [
            Unsent(
                sequence,
                Envelope(
                    exchange=RESULTS,
                    routing_key=key,
                    message_id=message_id,
                    type=kind,
                    timestamp=datetime.fromisoformat(created_at),
                    body=body,
                    app_id=APP_ID,
                    correlation_id=execution_id,
                ),
            )
            for sequence, message_id, kind, key, execution_id, body, created_at in self._db.execute(
                SQL.select_unconfirmed, (limit,)
            )
        ]

    def count_unsent(self) -> int:
        """How many events the broker has not confirmed."""
        return int(self._db.execute(SQL.count_unconfirmed).fetchone()[0])

    def confirmed(self, sequences: Iterable[int], now: datetime) -> None:
        """The broker has these events."""
        with self._transaction():
            self._db.executemany(SQL.confirm_event, [(_write(now), sequence) for sequence in sequences])

    def open_logs(self) -> list[OpenLog]:
        """The logs that the API does not have whole."""
        rows = self._db.execute(SQL.select_open_logs).fetchall()
        return [OpenLog(UUID(execution), sent, size) for execution, sent, size in rows]

    def log_sent(self, execution_id: UUID, sent: int) -> None:
        """The API has the first `sent` bytes."""
        self._db.execute(SQL.update_sent, (sent, str(execution_id)))

    def log_done(self, execution_id: UUID) -> None:
        """Nothing more of this log is to be sent."""
        self._db.execute(SQL.finish_log, (str(execution_id),))

    def removable(self, ended_before: datetime) -> list[UUID]:
        """Executions whose files nobody needs: over for long, log sent, events confirmed."""
        return [UUID(row[0]) for row in self._db.execute(SQL.select_removable_logs, (_write(ended_before),)).fetchall()]

    def removed(self, execution_id: UUID) -> None:
        """The execution's files are gone."""
        self._db.execute(SQL.mark_removed, (str(execution_id),))

    def forget(self, now: datetime, centre: datetime) -> datetime:
        """Drops what is kept long enough (`centre`: database time). Triggers from before the answer are not to be taken
        any more, their ids may be forgotten; it is never after `centre`, whatever a wrong clock once made of it.
        """
        horizon = centre - KEEP_DECIDED
        with self._transaction():
            self._db.execute(SQL.update_forgotten, (_write(horizon), _write(centre)))
            self._db.execute(SQL.forget_runs, (_write(horizon),))
            self._db.execute(SQL.forget_tombstones, (_write(now - KEEP_TOMBSTONES),))
            self._db.execute(SQL.forget_events, (_write(now - KEEP_CONFIRMED),))
            self._db.execute(SQL.forget_logs)
        return datetime.fromisoformat(self._db.execute(SQL.select_meta).fetchone()[4])


def _fresh(before: Mapping[K, V], after: Mapping[K, V]) -> list[tuple[K, V]]:
    return [] if before is after else [(key, value) for key, value in after.items() if before.get(key) != value]


def _changed(before: Mapping[UUID, Run], after: Mapping[UUID, Run]) -> list[Run]:
    if before is after:
        return []
    # Runs are immutable: what is the same object has not changed, and looking at 500 of them so costs nothing.
    known = set(map(id, before.values()))
    return [run for run in after.values() if id(run) not in known]


def _run(body: str, received_at: str, *rest: str | int | None) -> Run:
    *times, cancelled = rest
    queued_at, waiting_since, admitted_at, started_at = (_read(cast("str | None", at)) for at in times)
    return Run(
        Trigger.model_validate_json(body),
        datetime.fromisoformat(received_at),
        queued_at=queued_at,
        waiting_since=waiting_since,
        admitted_at=admitted_at,
        started_at=started_at,
        cancel_requested=bool(cancelled),
    )


def _row(run: Run, state: str, ended_at: datetime | None) -> dict[str, str | int | None]:
    return {
        "execution_id": str(run.id),
        "deployment_id": str(run.deployment),
        "trigger_body": run.trigger.model_dump_json(),
        "state": state,
        "received_at": _write(run.received_at),
        "queued_at": _write(run.queued_at),
        "waiting_since": _write(run.waiting_since),
        "admitted_at": _write(run.admitted_at),
        "started_at": _write(run.started_at),
        "not_after": _write(run.trigger.not_after),
        "cancel_requested": int(run.cancel_requested),
        "ended_at": _write(ended_at),
    }


def _write(at: datetime | None) -> str | None:
    return None if at is None else at.astimezone(UTC).isoformat(timespec="microseconds")


def _read(text: str | None) -> datetime | None:
    return None if text is None else datetime.fromisoformat(text)
