"""The checks between a fire and its script, in the order in which they are decided, each answered in words.

The first six are rules of time: they are answered for every minute. The last four were the host's to decide: for a
minute with a run its row says how they came out, for one to come the present state says how they would.
"""

from __future__ import annotations

from datetime import timedelta

from libs.contracts import SENTENCES, DeploymentStatus, ExecutionStatus, Kind, OnDeviceBusy, Reason
from libs.schedule import describe
from services.api.core.why_facts import Check, Facts, Run, Version, moment, seconds
from services.api.core.why_fires import MOST_COUNTED, Fires, count_between

ORDER = ("exists", "status", "start_date", "end_date", "cron", "limit", "host", "device_lock", "device_busy", "slot")
OF_TIME = ORDER[:6]

DECIDED_BY: dict[Reason, str] = {
    Reason.ALREADY_QUEUED: "slot",
    Reason.DEVICE_BUSY: "device_busy",
    Reason.WAITED_TOO_LONG: "device_busy",
    Reason.DEVICE_LOCKED: "device_lock",
    Reason.HOST_BUSY: "host",
    Reason.UNDELIVERABLE: "host",
    Reason.UNKNOWN_DEVICE: "host",
    Reason.HOST_LOST: "host",
    Reason.LIMIT_IN_FLIGHT: "limit",
    Reason.LIMIT_REACHED: "limit",
    Reason.PAUSED: "status",
    Reason.STOPPED: "status",
    Reason.DELETED: "status",
    Reason.EXPIRED: "end_date",
}
"""Which check a reason is the answer to. A missed fire is told apart by how late it was decided."""


def of_time(facts: Facts, version: Version, fires: Fires) -> list[Check]:
    """Exists, status, dates, cron and limit, by the version that rules the minute."""
    return [
        _exists(facts, version),
        _status(facts, version),
        _start_date(facts, version),
        _end_date(facts, version),
        _cron(facts, version, fires),
        _limit(facts, version),
    ]


def before_creation(facts: Facts) -> list[Check]:
    """For a minute before there was anything to check."""
    sentence = f"It was created at {moment(facts.created_at)} by {facts.created_by or 'somebody'}, after this minute."
    return [
        Check("exists", False, None, sentence),
        *(_unasked(name, "There was nothing to check.") for name in ORDER[1:]),
    ]


def forgotten() -> list[Check]:
    """For a minute that is older than what is kept."""
    return [_unasked(name, "Nobody knows any more.") for name in ORDER]


def not_asked(facts: Facts) -> list[Check]:
    """The host's checks for a minute that is over and for which it was sent nothing."""
    sentence = f"Not asked: nothing was sent to {facts.place.host_name} for this minute."
    return [_unasked(name, sentence) for name in ORDER[6:]]


def as_it_is(facts: Facts, version: Version) -> list[Check]:
    """The host's checks as they would come out if nothing changed until the minute."""
    return [_host_now(facts), _lock_now(facts, version), _busy_now(facts, version), _slot_now(facts)]


def of_run(facts: Facts, run: Run, decisive: str | None) -> list[Check]:
    """The host's checks as the run's row tells them; `decisive` is the one that said no."""
    if decisive in OF_TIME or decisive in {"scheduler", "person"}:
        return [_unasked(name, "Not asked any more.") for name in ORDER[6:]]
    answered = [_host_then(facts, run), _lock_then(run), _busy_then(facts, run), _slot_then(facts, run)]
    if decisive is None:
        return answered
    told = f"{run.message or 'No'}".rstrip(".") + "."
    number = ORDER.index(decisive) - 6
    value = run.reason.value if run.reason else None
    later = [_unasked(name, "Not asked any more.") for name in ORDER[7 + number :]]
    return [*answered[:number], Check(decisive, False, value, told), *later]


def _exists(facts: Facts, version: Version) -> Check:
    if not version.deleted:
        return Check("exists", True, moment(facts.created_at), f"It was created at {moment(facts.created_at)}.")
    since = facts.began(version)
    sentence = f"It was deleted at {moment(since.valid_from)} by {since.changed_by or 'somebody'}."
    return Check("exists", False, moment(since.valid_from), sentence)


def _status(facts: Facts, version: Version) -> Check:
    status = version.status
    since = facts.began(version)
    if status is DeploymentStatus.ACTIVE:
        return Check("status", True, status, f"It {_is(facts)} active, since {moment(since.valid_from)}.")
    because = f": {since.status_reason}" if since.status_reason else ""
    count = ""
    if status is DeploymentStatus.COMPLETED and version.max_executions is not None:
        count = f" ({version.max_executions} executions)"
    sentence = (
        f"It {_is(facts)} {status}, since {moment(since.valid_from)} by {since.changed_by or 'somebody'}{because}"
    )
    return Check("status", False, status, f"{sentence}{count}.")


def _start_date(facts: Facts, version: Version) -> Check:
    start = version.start_date
    if start is None:
        return Check("start_date", True, None, "There is no start date.")
    if facts.minute < start:
        return Check("start_date", False, moment(start), f"It starts later, at {moment(start)}.")
    return Check("start_date", True, moment(start), f"It started before, at {moment(start)}.")


def _end_date(facts: Facts, version: Version) -> Check:
    end = version.end_date
    if end is None:
        return Check("end_date", True, None, "There is no end date.")
    if facts.minute >= end:
        return Check("end_date", False, moment(end), f"It ended before, at {moment(end)}.")
    return Check("end_date", True, moment(end), f"It ends later, at {moment(end)}.")


def _cron(facts: Facts, version: Version, fires: Fires) -> Check:
    expression, timezone = version.cron_expression, version.timezone
    words = f"'{expression}' ({describe(expression, timezone)}, {timezone})"
    if facts.run is not None and facts.run.kind is Kind.MANUAL:
        asked = f"Not asked: {facts.run.triggered_by or 'somebody'} asked for this run, besides the schedule."
        return Check("cron", True, expression, asked)
    notes = "".join(f" {note}." for note in fires.notes)
    if fires.here:
        return Check("cron", True, expression, f"{words} fires at {moment(facts.minute, timezone)}.{notes}")
    before = moment(fires.before, timezone) if fires.before else "never"
    after = moment(fires.after, timezone) if fires.after else "never"
    sentence = f"{words} does not fire at {moment(facts.minute, timezone)}; before: {before}, after: {after}.{notes}"
    return Check("cron", False, expression, sentence)


def _limit(facts: Facts, version: Version) -> Check:
    most = version.max_executions
    if most is None:
        return Check("limit", True, None, "There is no limit of executions.")
    value = f"{facts.counted} of {most}"
    if facts.run is not None and facts.run.reason in {Reason.LIMIT_IN_FLIGHT, Reason.LIMIT_REACHED}:
        return Check("limit", False, value, f"{facts.run.message or SENTENCES[facts.run.reason]}.")
    if facts.counted >= most:
        return Check("limit", False, value, f"The limit {_is(facts)} reached: {value} executions.")
    if not facts.is_to_come:
        return Check("limit", True, value, f"{value} executions counted before.")
    left = most - facts.counted - facts.in_flight
    if left <= 0:
        sentence = f"{value} executions count and {facts.in_flight} more may: nothing is left for this fire."
        return Check("limit", False, value, sentence)
    ahead = count_between(version, facts.now, facts.minute, left)
    if left <= MOST_COUNTED and ahead >= left:
        sentence = (
            f"{value} executions count now; {left} more fires come before this one, so the limit will be reached."
        )
        return Check("limit", False, value, sentence)
    return Check("limit", True, value, f"{value} executions count now, and {left} are left.")


def _host_now(facts: Facts) -> Check:
    place = facts.place
    name = place.host_name
    if not place.is_enrolled:
        return Check("host", False, "revoked", f"{name} is revoked: it gets nothing any more.")
    if not place.is_online:
        heard = f"last heard at {moment(place.last_seen_at)}" if place.last_seen_at else "never heard"
        return Check("host", False, "offline", f"{name} is offline, {heard}.")
    if not place.has_device:
        return Check("host", False, "online", f"{name} is online and has no device {place.device_id} any more.")
    return Check("host", True, "online", f"{name} is online and has {place.device_id}.")


def _lock_now(facts: Facts, version: Version) -> Check:
    place = facts.place
    if place.lock_owner is None:
        return Check("device_lock", True, None, f"{place.device_id} is not locked.")
    until = place.lock_expires_at
    because = f" ({place.lock_reason})" if place.lock_reason else ""
    locked = f"{place.lock_owner} holds {place.device_id}{because}"
    if until is not None and until <= facts.minute:
        return Check("device_lock", True, place.lock_owner, f"{locked} until {moment(until)}, before this minute.")
    ends = f"until {moment(until)}" if until is not None else "until somebody unlocks it"
    patience = facts.minute + timedelta(seconds=version.max_wait_seconds)
    if version.on_device_busy is OnDeviceBusy.QUEUE and until is not None and until <= patience:
        return Check("device_lock", True, place.lock_owner, f"{locked} {ends}; the run would wait for it.")
    return Check("device_lock", False, place.lock_owner, f"{locked} {ends}.")


def _busy_now(facts: Facts, version: Version) -> Check:
    other = facts.neighbour
    device = facts.place.device_id
    if other is None or other.is_own:
        return Check("device_busy", True, None, f"{device} is free for it right now.")
    then = "would wait" if version.on_device_busy is OnDeviceBusy.QUEUE else "would be skipped"
    sentence = f"{other.deployment_name} runs on {device} right now, since {moment(other.started_at)}; "
    return Check("device_busy", True, str(other.id), f"{sentence}if it still does then, this fire {then}.")


def _slot_now(facts: Facts) -> Check:
    other = facts.neighbour
    if other is None or not other.is_own:
        return Check("slot", True, None, "No run of its own is under way; its one pending place is free.")
    sentence = f"Its own run {other.id} has been under way since {moment(other.started_at)}; "
    return Check(
        "slot", True, str(other.id), f"{sentence}if it still is then, this fire waits, or is skipped when one waits."
    )


def _host_then(facts: Facts, run: Run) -> Check:
    name = facts.place.host_name
    if run.held:
        return Check("host", None, None, f"Not sent to {name} yet: the run before it has not ended.")
    if run.status is ExecutionStatus.TRIGGERED:
        return Check("host", None, None, f"{name} has not answered yet.")
    return Check("host", True, None, f"{name} took it.")


def _lock_then(run: Run) -> Check:
    if run.status is ExecutionStatus.QUEUED and run.reason is Reason.DEVICE_LOCKED:
        return Check("device_lock", False, run.reason, "The device is locked; the run waits for it.")
    if run.started_at is None:
        return _unasked("device_lock", "The host did not say.")
    return Check("device_lock", True, None, "No lock stopped it.")


def _busy_then(facts: Facts, run: Run) -> Check:
    other = facts.neighbour
    if run.status is ExecutionStatus.QUEUED and other is not None and not other.is_own:
        return Check(
            "device_busy", False, str(other.id), f"It waits for the run {other.id} of {other.deployment_name}."
        )
    if run.started_at is None:
        return _unasked("device_busy", "The host did not say.")
    return Check("device_busy", True, None, "The device was free when it started.")


def _slot_then(facts: Facts, run: Run) -> Check:
    other = facts.neighbour
    if run.status is ExecutionStatus.QUEUED:
        behind = f" behind its own run {other.id}" if other is not None and other.is_own else ""
        return Check("slot", True, "pending", f"It has the one pending place{behind}.")
    if run.started_at is not None and run.queued_at is not None:
        waited = seconds((run.started_at - run.queued_at).total_seconds())
        return Check("slot", True, "pending", f"It waited {waited} in the one pending place.")
    if run.started_at is not None:
        return Check("slot", True, None, "It did not have to wait.")
    return _unasked("slot", "The host did not say.")


def _unasked(name: str, sentence: str) -> Check:
    return Check(name, None, None, sentence)


def _is(facts: Facts) -> str:
    return "was" if facts.is_past else "is"
