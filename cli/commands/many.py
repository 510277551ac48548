"""One action on one deployment, or on several at once."""

from __future__ import annotations

from collections.abc import Sequence

from cli.client import Api, Json
from cli.commands.deployment_columns import COLUMNS
from cli.commands.which import deployment_id
from cli.errors import CliError, ExitCode
from cli.options import Run
from cli.output import Column

_RUN_COLUMNS = (Column("id"), Column("deployment_name"), Column("status"), Column("scheduled_at"))
_MANY_RUN_COLUMNS = (Column("execution_id"), Column("name"), Column("status"))


def act(run: Run, which: Sequence[str], action: str, reason: str | None) -> None:
    """Do it and print what came of it. Several: each on its own, exit code 4 when one of them was refused."""
    with run.api() as api:
        ids = list(dict.fromkeys(deployment_id(api, each) for each in which))
        if len(ids) > 1:
            _many(run, api, ids, action, reason)
            return
        done = _one(api, ids[0], action, reason)
    if done is not None:
        run.out.one(done, _RUN_COLUMNS if action == "run" else COLUMNS)
        _warn(run, [done])


def _one(api: Api, deployment: str, action: str, reason: str | None) -> Json | None:
    path = f"/deployments/{deployment}"
    if action == "delete" and reason is None:
        return api.delete(path)
    if action == "delete":
        # A reason goes with the other form only; one that is refused is refused just so.
        (answer,) = _answers(api, [deployment], action, reason)
        if not answer["ok"]:
            raise CliError(ExitCode.REFUSED, str(answer["problem"]["detail"]))
        return dict(answer["deployment"])
    return api.post(f"{path}/{action}", {} if reason is None else {"reason": reason})


def _many(run: Run, api: Api, ids: Sequence[str], action: str, reason: str | None) -> None:
    answers = _answers(api, ids, action, reason)
    if run.out.as_json:
        run.out.many(answers, ())
    elif action == "run":
        done = [answer["deployment"] | {"execution_id": answer["execution_id"]} for answer in answers if answer["ok"]]
        run.out.many(done, _MANY_RUN_COLUMNS)
    else:
        run.out.many([answer["deployment"] for answer in answers if answer["ok"]], COLUMNS)
        _warn(run, [answer["deployment"] for answer in answers if answer["ok"]])
    refused = [answer for answer in answers if not answer["ok"]]
    if refused:
        lines = tuple(f"  {answer['id']}: {answer['problem']['detail']}" for answer in refused)
        raise CliError(ExitCode.REFUSED, f"{len(refused)} of {len(answers)} were refused:", lines)


def _answers(api: Api, ids: Sequence[str], action: str, reason: str | None) -> list[Json]:
    asked = {"ids": ids, "action": action} | ({} if reason is None else {"reason": reason})
    answers: list[Json] = api.post("/deployments/bulk", asked)["items"]
    return answers


def _warn(run: Run, changed: Sequence[Json]) -> None:
    if any(each.get("host_acknowledged") is False for each in changed):
        run.out.note("The host has not confirmed it yet: what it already took may still start.")
