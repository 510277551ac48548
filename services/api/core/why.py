"""Why did it run, or why not? One minute of one deployment, explained. Pure: facts in, the answer out.

Every point of the owner's troubleshooting lists is one of the checks: status, dates, limit, cron, host, device, queue.
What ran or was skipped is told by its row of the ledger; what did not fire, by the rules of the version that held then;
what is to come, by the rules of now and by the present state of host and device.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from uuid import UUID

from libs.contracts import SENTENCES, ExecutionStatus, Kind, Reason
from services.api.core import why_checks
from services.api.core.why_actions import Action, actions
from services.api.core.why_facts import Check, Facts, Run, Version, moment, seconds
from services.api.core.why_fires import Fires, around

_S = ExecutionStatus


class Verdict(StrEnum):
    """What became, or will become, of the minute."""

    RAN = "ran"
    SKIPPED = "skipped"
    WILL_RUN = "will_run"
    WILL_BE_SKIPPED = "will_be_skipped"
    NO_FIRE = "no_fire"
    FORGOTTEN = "forgotten"


@dataclass(frozen=True, slots=True)
class Answer:
    """`by`: the check that said no, `scheduler` (none was there in time), `person` (who cancelled it), or None."""

    verdict: Verdict
    sentence: str
    by: str | None
    execution_id: UUID | None
    actions: tuple[Action, ...]
    checks: tuple[Check, ...]


def explain(facts: Facts) -> Answer:
    """The answer; it has every check, in the order of decision."""
    ruling = facts.ruling
    run = facts.run
    if run is None and facts.is_forgotten:
        return _forgotten(facts)
    if ruling is None:
        checks = why_checks.before_creation(facts)
        if run is None:
            sentence = f"No fire: {_within(checks[0].sentence)}"
            return Answer(Verdict.NO_FIRE, sentence, "exists", None, actions(facts, "exists"), tuple(checks))
        ruling = facts.versions[-1]  # asked for within the minute of its creation
    fires = around(ruling, facts.minute)
    checks = why_checks.of_time(facts, ruling, fires)
    if run is not None:
        return _of_run(facts, run, ruling, fires, checks)
    if facts.is_to_come:
        return _to_come(facts, ruling, checks)
    return _without_run(facts, checks)


def _forgotten(facts: Facts) -> Answer:
    """Neither the run nor the rules of then need be there any more."""
    assert facts.kept_from is not None
    sentence = f"Nobody knows any more: this is older than what is kept, which begins at {moment(facts.kept_from)}."
    return Answer(Verdict.FORGOTTEN, sentence, None, None, (), tuple(why_checks.forgotten()))


def _without_run(facts: Facts, checks: list[Check]) -> Answer:
    """The minute has begun, and the ledger has nothing of it."""
    whole = (*checks, *why_checks.not_asked(facts))
    no = next((check for check in checks if check.ok is False), None)
    if no is not None:
        sentence = f"No fire: {_within(no.sentence)}"
        return Answer(Verdict.NO_FIRE, sentence, no.check, None, actions(facts, no.check), whole)
    at = moment(facts.minute)
    if facts.in_backlog:
        sentence = f"Missed: no scheduler was there at {at}; its row is still to be written."
        return Answer(Verdict.SKIPPED, sentence, "scheduler", None, actions(facts, "scheduler"), whole)
    if not facts.firing:
        sentence = f"Due at {at}, and not decided: firing is held after a restore, until the hosts are in step."
        return Answer(Verdict.WILL_RUN, sentence, "scheduler", None, (), whole)
    if facts.next_fire_at is not None and facts.next_fire_at <= facts.minute:
        late = seconds((facts.now - facts.minute).total_seconds())
        sentence = f"Due at {at}, {late} ago, and not decided yet; if that lasts, no scheduler is running."
        return Answer(Verdict.WILL_RUN, sentence, "scheduler", None, (), whole)
    sentence = f"It should have fired at {at}, and the ledger has no row for it: please run `rigbeat verify`."
    return Answer(Verdict.NO_FIRE, sentence, "scheduler", None, actions(facts, "scheduler"), whole)


def _to_come(facts: Facts, ruling: Version, checks: list[Check]) -> Answer:
    whole = (*checks, *why_checks.as_it_is(facts, ruling))
    no = next((check for check in whole if check.ok is False), None)
    if no is None:
        sentence = f"It will run at {moment(facts.minute, ruling.timezone)}, unless something changes until then."
        return Answer(Verdict.WILL_RUN, sentence, None, None, actions(facts, None), whole)
    told = _within(no.sentence)
    if no.check in why_checks.OF_TIME and no.check != "limit":
        return Answer(Verdict.NO_FIRE, f"No fire: {told}", no.check, None, actions(facts, no.check), whole)
    sentence = f"It will be skipped, unless something changes until then: {told}"
    return Answer(Verdict.WILL_BE_SKIPPED, sentence, no.check, None, actions(facts, no.check), whole)


def _of_run(facts: Facts, run: Run, ruling: Version, fires: Fires, checks: list[Check]) -> Answer:
    decisive = _decisive(run, ruling)
    checks = [_overruled(check, run, decisive) for check in checks]
    whole = (*checks, *why_checks.of_run(facts, run, decisive))
    verdict, sentence = _told(facts, run, fires)
    if run.presumed:
        sentence += " This is presumed: the host's word still counts when it comes."
    return Answer(verdict, sentence, decisive, run.id, actions(facts, decisive), whole)


def _decisive(run: Run, ruling: Version) -> str | None:
    """Who said no; None for a run that started, or may yet."""
    if run.status is _S.CANCELLED and run.started_at is None:
        return "person"
    if run.status is not _S.SKIPPED:
        return None
    if run.reason is Reason.MISSED:
        late = (run.decided_at - run.scheduled_at).total_seconds()
        window = (run.not_after - run.scheduled_at).total_seconds() if run.not_after else ruling.catch_up_window_seconds
        # Decided in time, it was its host that did not take it; a fire that a newer one replaced was decided late too.
        return "host" if run.presumed or late <= min(window, 60) else "scheduler"
    return why_checks.DECIDED_BY.get(run.reason) if run.reason else None


def _overruled(check: Check, run: Run, decisive: str | None) -> Check:
    """A rule of time as the row tells it: what was skipped by it, and what ran although the rule says no by now."""
    if check.check == decisive:
        value = check.value if check.ok is False else (run.reason.value if run.reason else None)
        return Check(check.check, False, value, check.sentence if check.ok is False else _full_stop(run.message))
    if check.ok is False and run.kind is Kind.MANUAL:
        return Check(check.check, None, check.value, f"{check.sentence} A run now is not held up by it.")
    return check


def _told(facts: Facts, run: Run, fires: Fires) -> tuple[Verdict, str]:
    began = moment(run.started_at) if run.started_at is not None else ""
    lasted = f" for {seconds(run.duration_seconds)}" if run.duration_seconds is not None else ""
    what = {Kind.CRON: "It", Kind.CATCH_UP: "It caught up and", Kind.MANUAL: "A run now"}[run.kind]
    match run.status:
        case _S.COMPLETED:
            return Verdict.RAN, f"{what} ran at {began}{lasted} and succeeded.{_late(run)}"
        case _S.FAILED if run.started_at is not None:
            return Verdict.RAN, f"{what} ran at {began}{lasted} and failed: {_full_stop(run.message)}"
        case _S.FAILED:
            return Verdict.RAN, f"{what} was tried and failed: {_full_stop(run.message)}"
        case _S.RUNNING:
            return Verdict.RAN, f"{what} has been running since {began}.{_late(run)}"
        case _S.CANCELLED if run.started_at is not None:
            return Verdict.RAN, f"{what} ran at {began}{lasted} and was cancelled."
        case _S.CANCELLED:
            return Verdict.SKIPPED, "It was cancelled before it started."
        case _S.SKIPPED:
            return Verdict.SKIPPED, f"It was skipped: {_full_stop(run.message)}{_too_often(facts, run, fires)}"
        case _S.QUEUED:
            return Verdict.WILL_RUN, _waiting(facts, run)
        case _S.TRIGGERED:
            return Verdict.WILL_RUN, _sent(facts, run)


def _late(run: Run) -> str:
    if run.started_at is None or (late := (run.started_at - run.scheduled_at).total_seconds()) < 1:
        return ""
    return f" It started {seconds(late)} after its time."


def _too_often(facts: Facts, run: Run, fires: Fires) -> str:
    """A script that takes longer than its interval is skipped again and again, and that is as it should be."""
    typical, following = facts.typical_seconds, fires.after
    if run.reason is not Reason.ALREADY_QUEUED or typical is None or following is None:
        return ""
    interval = (following - facts.minute).total_seconds()
    if typical <= interval:
        return f" Its runs take {seconds(typical)} as a rule, less than the {interval:.0f} s to the next fire."
    return (
        f" Its runs take {seconds(typical)} as a rule, and its fires are {interval:.0f} s apart: "
        "choose a longer interval or make the script faster; the queue keeps one at most."
    )


def _waiting(facts: Facts, run: Run) -> str:
    since = f" since {moment(run.queued_at)}" if run.queued_at else ""
    other = facts.neighbour
    if other is not None:
        whose = "its own run" if other.is_own else f"a run of {other.deployment_name}"
        return f"It waits{since} behind {whose}, {other.id}, which began at {moment(other.started_at)}."
    because = f": {_full_stop(SENTENCES[run.reason])}" if run.reason else "."
    return f"It waits{since}{because}"


def _sent(facts: Facts, run: Run) -> str:
    if run.held:
        return "It waits for the missed run before it; catch-up 'all' runs them one after the other."
    name = facts.place.host_name
    state = "" if facts.place.is_online else f"; {name} is offline"
    until = f" It may start until {moment(run.not_after)}." if run.not_after else ""
    return f"It was sent to {name}, which has not answered yet{state}.{until}"


def _full_stop(sentence: str | None) -> str:
    return f"{(sentence or 'no reason was given').rstrip('.')}."


def _within(sentence: str) -> str:
    """A sentence after a colon."""
    return sentence[0].lower() + sentence[1:] if sentence.startswith(("It ", "The ", "There ")) else sentence
