"""Refusals on their way out: every answer that is not a success is a problem of the closed list.

Clients of `/server/*` read the same in an envelope of their own.
"""

from __future__ import annotations

import difflib
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import Response
from starlette.exceptions import HTTPException

from libs.chassis.errors import Refused as BrokerRefused
from libs.chassis.errors import Transient
from libs.chassis.logs import get_logger
from libs.ledger.pool import CONTENDED, DATABASE_AWAY
from services.api.answer_headers import complete
from services.api.core import former_clients
from services.api.shapes.deployment import DeploymentPatch, NewDeployment
from services.api.shapes.former import Refused
from services.api.shapes.problem import MEDIA_TYPE, STATUSES, TITLES, FieldError, Kind, Problem

log = get_logger(__name__)

RETRY_AFTER_SECONDS = 2

_SCHEDULING_FIELDS = sorted({*NewDeployment.model_fields, *DeploymentPatch.model_fields})
_ONLY_BY_COPY = "Host and device of a deployment cannot be edited: copy it with POST /deployments/{id}/copy."
_ELSEWHERE = {
    "host_name": _ONLY_BY_COPY,
    "device_id": _ONLY_BY_COPY,
    "targets": _ONLY_BY_COPY,
    "status": "The status is changed by /pause, /resume and /stop.",
}
_HINTS = {
    "missing": "Give this field.",
    "string_too_short": "Write at least one character.",
    "timezone_aware": "Write the offset or Z, such as 2026-11-24T08:00:00Z.",
    "datetime_from_date_parsing": "Write RFC 3339, such as 2026-11-24T08:00:00Z.",
    "datetime_parsing": "Write RFC 3339, such as 2026-11-24T08:00:00Z.",
    "model_attributes_type": "Send a JSON object, with Content-Type: application/json.",
    "dict_type": "Send a JSON object, with Content-Type: application/json.",
    "string_pattern_mismatch": "Write lower-case letters, digits and dashes.",
}


class ProblemError(Exception):
    """A refusal. The handlers below turn it into its answer."""

    def __init__(
        self,
        kind: Kind,
        detail: str,
        errors: Sequence[FieldError] = (),
        *,
        status: int | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(detail)
        self.kind = kind
        self.detail = detail
        self.errors = list(errors)
        self.status = status or STATUSES[kind]
        self.headers = dict(headers or {})


def invalid(errors: Sequence[FieldError]) -> ProblemError:
    """The input has these faults."""
    return ProblemError(Kind.INVALID_INPUT, "; ".join(f"{e.field}: {e.message}" for e in errors[:3]), errors)


def not_found(what: str) -> ProblemError:
    """There is none, or it belongs to another team: which of the two is not said."""
    return ProblemError(Kind.NOT_FOUND, f"There is no such {what}")


def unauthenticated(detail: str) -> ProblemError:
    """Who asks is not known."""
    return ProblemError(Kind.UNAUTHENTICATED, detail, headers={"WWW-Authenticate": "Bearer"})


def unavailable(detail: str) -> ProblemError:
    """Something that we need is away."""
    return ProblemError(Kind.UNAVAILABLE, detail, headers={"Retry-After": str(RETRY_AFTER_SECONDS)})


def install(app: FastAPI) -> None:
    """Let `app` answer every error with a problem."""
    app.exception_handler(ProblemError)(_answering(_as_is))
    app.exception_handler(HTTPException)(_answering(_of_http))
    app.exception_handler(RequestValidationError)(_answering(_of_validation))
    for away in DATABASE_AWAY:
        app.exception_handler(away)(_answering(_of_database))
    for contended in CONTENDED:
        app.exception_handler(contended)(_answering(_of_contention))
    app.exception_handler(Transient)(_answering(_of_broker))
    app.exception_handler(BrokerRefused)(_answering(_of_broker_refusal))
    # supervisor: whatever nobody named is a 500; the server raises it again, so its traceback is logged once.
    app.exception_handler(Exception)(_answering(_of_bug))


REFUSALS = (ProblemError, *DATABASE_AWAY, *CONTENDED)
"""What keeps one change of several from being made."""


def problem_of(error: Exception) -> Problem:
    """One of `REFUSALS` as it is told inside of an answer. Raises the error itself when it is a bug of ours."""
    if isinstance(error, ProblemError):
        return _body(error)
    if isinstance(error, CONTENDED):
        return _body(_contended())
    if isinstance(error, ValueError):
        raise error
    return _body(_without_database())


def response_of(problem: ProblemError, path: str) -> Response:
    """The answer to a refusal of a request to this path."""
    if former_clients.is_theirs(path):
        wrong = [(each.field, each.message, each.hint) for each in problem.errors]
        told = Refused(error=former_clients.one_text(problem.detail, wrong))
        answer = Response(told.model_dump_json(), problem.status, problem.headers, "application/json")
    else:
        answer = Response(_body(problem).model_dump_json(), problem.status, problem.headers, MEDIA_TYPE)
    # Here, too: what answers to a bug of ours stands outside of everything else.
    complete(answer.headers)
    return answer


def _body(problem: ProblemError) -> Problem:
    return Problem(
        type=f"/problems/{problem.kind}",
        title=TITLES[problem.kind],
        status=problem.status,
        detail=problem.detail,
        errors=problem.errors,
    )


def _answering(
    translate: Callable[[Request, Any], ProblemError],
) -> Callable[[Request, Exception], Awaitable[Response]]:
    async def answer(request: Request, error: Exception) -> Response:
        return response_of(translate(request, error), request.url.path)

    return answer


def _as_is(_request: Request, error: ProblemError) -> ProblemError:
    return error


def _of_http(request: Request, error: HTTPException) -> ProblemError:
    headers = error.headers
    match error.status_code:
        case 404:
            return ProblemError(Kind.NOT_FOUND, f"There is nothing at {request.url.path}", headers=headers)
        case 405:
            detail = f"{request.method} is not possible at {request.url.path}"
            return ProblemError(Kind.NOT_FOUND, detail, status=405, headers=headers)
        case 413:
            return ProblemError(Kind.TOO_LARGE, error.detail, headers=headers)
        case status if status < 500:
            return ProblemError(Kind.MALFORMED, error.detail, status=status, headers=headers)
        case status:
            return ProblemError(Kind.UNAVAILABLE, error.detail, status=status, headers=headers)


def _of_validation(request: Request, error: RequestValidationError) -> ProblemError:
    faults = error.errors()
    if any(fault["type"] == "json_invalid" for fault in faults):
        fault = faults[0]
        detail = f"The body is not JSON: {fault['ctx']['error']} at character {fault['loc'][-1]}"
        return ProblemError(Kind.MALFORMED, detail)
    if any(fault["loc"][0] == "path" for fault in faults):
        return ProblemError(Kind.NOT_FOUND, f"There is nothing at {request.url.path}")
    return invalid([_field_error(fault) for fault in faults])


def _field_error(fault: Mapping[str, Any]) -> FieldError:
    context = fault.get("ctx", {})
    if fault["type"] == "refused":
        return FieldError(field=_path(fault["loc"]), message=context["sentence"], hint=context["hint"] or None)
    if fault["type"] == "extra_forbidden":
        return FieldError(field=_path(fault["loc"]), message="There is no such field", hint=_instead(fault["loc"]))
    return FieldError(field=_path(fault["loc"]), message=fault["msg"], hint=_HINTS.get(fault["type"]))


def _path(location: Sequence[str | int]) -> str:
    inside = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in location[1:])
    return inside.removeprefix(".") or "$"


def _instead(location: Sequence[str | int]) -> str:
    name = str(location[-1])
    if location[0] == "query":
        return "Remove it: this list has no such filter."
    if name in _ELSEWHERE:
        return _ELSEWHERE[name]
    alike = difflib.get_close_matches(name, _SCHEDULING_FIELDS, 1)
    return f"Did you mean {alike[0]}?" if alike else "Remove it."


def _of_database(request: Request, error: Exception) -> ProblemError:
    if isinstance(error, ValueError):  # asyncpg's own InterfaceError for an argument of a wrong type: a bug of ours
        return _of_bug(request, error)
    return _without_database()


def _without_database() -> ProblemError:
    return unavailable("The database is away; try again, and look whether the change was made")


def _of_contention(_request: Request, _error: Exception) -> ProblemError:
    return _contended()


def _contended() -> ProblemError:
    return unavailable("Others change the same things right now; nothing was changed")


def _of_broker(_request: Request, _error: Exception) -> ProblemError:
    return unavailable("The broker is away: what it was to do is not done; repeat it")


def _of_broker_refusal(_request: Request, error: Exception) -> ProblemError:
    log.error("The broker refuses what we ask of it", reason=str(error))
    return unavailable("The broker refuses what we ask of it, see our log: what it was to do is not done")


def _of_bug(_request: Request, _error: Exception) -> ProblemError:
    return ProblemError(Kind.UNAVAILABLE, "Something went wrong here; it is in our log", status=500)
