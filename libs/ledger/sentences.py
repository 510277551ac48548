"""What a person reads of fires that the centre did not send."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from libs.contracts import SENTENCES, CatchUp, Reason, rfc3339
from libs.ledger.rows import DeploymentRow
from libs.schedule.plan import ROWS_AT_ONCE, Decision, Fire


def skip_sentence(row: DeploymentRow, fire: Fire, now: datetime) -> str | None:
    """What stands on the row of a fire that the centre skipped; None for one that runs."""
    match fire.reason:
        case None:
            return None
        case Reason.MISSED:
            late = (now - fire.scheduled_at).total_seconds()
            decided = f"Missed: due at {rfc3339(fire.scheduled_at)}, decided {late:.0f} s later"
            if row.catch_up is CatchUp.ALL and fire.scheduled_at <= now <= fire.not_after:
                return f"{decided}; no more than {ROWS_AT_ONCE} may wait to be caught up"
            return f"{decided}; it could start until {rfc3339(fire.not_after)} and catch-up is '{row.catch_up}'"
        case Reason.LIMIT_IN_FLIGHT:
            return (
                f"{SENTENCES[fire.reason]}: {row.execution_count} of {row.max_executions} counted, "
                "the others have not ended yet"
            )
        case _:
            return SENTENCES[fire.reason]


def skipped_sentence(row: DeploymentRow, decision: Decision, now: datetime) -> str | None:
    """One sentence for all that a decision skipped, however many fires; None when it skipped none."""
    skipped = [fire for fire in decision.fires if fire.reason is not None]
    if len(skipped) == 1 and decision.backlog is None:
        return skip_sentence(row, skipped[0], now)
    parts = []
    if decision.backlog is not None:
        begin, end = rfc3339(decision.backlog.from_at), rfc3339(decision.backlog.until_at)
        parts.append(f"{SENTENCES[Reason.MISSED]}: every fire from {begin} on, before {end}")
    reasons = dict.fromkeys(fire.reason for fire in skipped if fire.reason is not None)
    parts += [
        f"{SENTENCES[reason]}: {_span([fire for fire in skipped if fire.reason is reason])}" for reason in reasons
    ]
    return "; ".join(parts) or None


def _span(fires: Sequence[Fire]) -> str:
    first, last = rfc3339(fires[0].scheduled_at), rfc3339(fires[-1].scheduled_at)
    return f"1 fire, {first}" if len(fires) == 1 else f"{len(fires)} fires, {first} to {last}"
