"""Requests for one role on every operation of the OpenAPI document, and what is wrong with their answers."""

from __future__ import annotations

import json
import random
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import unquote

import requests
import schemathesis
from hypothesis import HealthCheck, Phase, given, seed, settings
from requests.adapters import HTTPAdapter
from schemathesis import GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.core.failures import FailureGroup
from schemathesis.core.transport import Response
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from tests.attack.hostile import TEXTS
from tests.attack.lab import Lab, Team

ROLES = ("none", "viewer", "host", "editor", "admin", "operator")
"""An admin may revoke the host, and the operator comes last: it may change what is of the other team."""

# They answer for as long as one listens.
ENDLESS = ("/api/v1/events",)
_WRITING = ("POST", "PUT", "PATCH")
_ONLY_ASKING = ("/bulk", "/preview", "/verify", "/session")
"""By which nothing of what was said is kept."""
TAKE_SECRETS = ("/api/v1/session", "/api/v1/hosts/{name}/credentials")
"""Where drawn texts are failed tries, of which an address has twenty a minute."""
CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
]
SECONDS = 20
_NOT_TEXT = ("\0", "\ud800", "a" * 300)
_ODD_TOKENS = ("nonsense", "rb_00000000_" + "A" * 43, "Bearer", "\x7f", "a b c")


@dataclass
class Report:
    """What one role sent and got."""

    role: str
    cases: int = 0
    followed: int = 0
    """Of them in chains: whose path had an id out of what came before, and which went well."""
    statuses: Counter[int] = field(default_factory=Counter)
    findings: dict[str, str] = field(default_factory=dict)
    """By operation and fault; each with the first request that showed it."""

    def line(self) -> str:
        """For people."""
        statuses = ", ".join(f"{status}: {number}" for status, number in sorted(self.statuses.items()))
        followed = f", {self.followed} followed from others" if self.followed else ""
        return f"{self.role:9} {self.cases:6} cases{followed}, {len(self.findings)} findings; {statuses}"


def attack(lab: Lab, role: str, cases: int, number: int) -> Report:
    """About so many requests, spread over all operations; `number` is the seed."""
    report = Report(role)
    document = schemathesis.openapi.from_url(f"{lab.url}/openapi.json").exclude(path=list(ENDLESS))
    operations = [found.ok() for found in document.get_all_operations()]  # type: ignore[union-attr]  # what is not whole fails
    each = max(cases // len(operations), 1)
    draw = random.Random(number)
    for place, operation in enumerate(operations):
        lab.mend()
        with requests.Session() as session:
            session.trust_env = False
            session.mount("http://", From(address(role, place)))
            _at(operation, lab, report, session, each, draw)
    return report


class From(HTTPAdapter):
    """Requests from an address of their own: failed tries are counted by address, and would end all others."""

    def __init__(self, address: str) -> None:
        self._address = address
        super().__init__()

    def init_poolmanager(self, *args: Any, **more: Any) -> None:
        """As requests has it."""
        super().init_poolmanager(*args, **more, source_address=(self._address, 0))


def address(role: str, place: int) -> str:
    """One of this machine's own."""
    return f"127.{10 + ROLES.index(role)}.{1 + place // 200}.{1 + place % 200}"


def _at(operation: Any, lab: Lab, report: Report, session: requests.Session, each: int, draw: random.Random) -> None:
    token = lab.token(report.role)
    how = settings(
        max_examples=max(each // 2, 1),
        deadline=None,
        database=None,
        phases=(Phase.generate,),
        suppress_health_check=list(HealthCheck),
    )
    number = draw.randrange(1 << 30)
    chances = random.Random(number)

    def send(case: schemathesis.Case[Any]) -> None:
        _twist(case, lab, chances)
        _judged(case, lab, report, session, _headers(report.role, token, chances))

    # What takes no input has none that is wrong.
    has_input = bool(operation.body or operation.query or operation.path_parameters)
    other = GenerationMode.NEGATIVE if has_input else GenerationMode.POSITIVE
    for mode in (GenerationMode.POSITIVE, other)[: 1 if each == 1 else 2]:
        seed(number)(how(given(case=operation.as_strategy(generation_mode=mode))(send)))()


def _headers(role: str, token: str | None, chances: random.Random) -> dict[str, str]:
    if token is not None:
        return {"Authorization": f"Bearer {token}"}
    return {"Authorization": f"Bearer {chances.choice(_ODD_TOKENS)}"} if chances.random() < 0.1 else {}


def _twist(case: schemathesis.Case[Any], lab: Lab, chances: random.Random) -> None:
    """Drawn ids name nothing: put in the ones that there are, ours and theirs; and texts that try to be more."""
    case.query = {name: value for name, value in (case.query or {}).items() if name != "follow"}
    for place in (case.path_parameters, case.query, case.body):
        if isinstance(place, dict):
            for name in list(place):
                place[name] = _twisted(name, place[name], chances, lab)


def _twisted(name: str, value: Any, chances: random.Random, lab: Lab) -> Any:
    chance = chances.random()
    team: Team = lab.theirs if chance < 0.3 else lab.ours
    if name == "ids":
        return [team.names["deployment_id"]] if chance < 0.6 else value
    known = _known(name, team, chances)
    if known is not None and chance < 0.65:
        return known
    if isinstance(value, str) and chance > 0.9:
        return chances.choice((*TEXTS.values(), *_NOT_TEXT))
    return value


def _known(name: str, team: Team, chances: random.Random) -> str | None:
    match name:
        case "name":  # of a host in a path, of anything in a body, of a file
            return chances.choice((team.names["spare"], team.names["name"], "report.html", f"{team.word}-file.txt"))
        case "team_id":
            return str(team.id)
        case "cursor":
            return None
        case _:
            return team.names.get(name)


def _judged(
    case: schemathesis.Case[Any], lab: Lab, report: Report, session: requests.Session, headers: dict[str, str]
) -> None:
    answer = answered(case, report, session, headers)
    if answer is not None:
        judge(case, answer, lab, report)


def answered(
    case: schemathesis.Case[Any], report: Report, session: requests.Session, headers: dict[str, str]
) -> Response | None:
    """The answer; None for what no client can say, and for no answer, which is a finding."""
    # Where there is no body a drawn length of `null` would go out, which is no HTTP, so that the server turns it away
    # before the API has a say. tests/integration/test_api_attack.py has the lengths that lie.
    if case.headers:
        case.headers.pop("Content-Length", None)
    try:
        return case.call(session=session, headers=headers, timeout=SECONDS, allow_redirects=False)
    except (UnicodeEncodeError, requests.exceptions.InvalidHeader, requests.exceptions.InvalidURL):
        return None
    except requests.exceptions.RequestException as error:
        report.findings.setdefault(f"{case.operation.label}: no answer", f"{error}\n{case.as_curl_command()}")
        return None


def judge(case: schemathesis.Case[Any], answer: Response, lab: Lab, report: Report) -> None:
    """Count the answer, and note what is wrong with it."""
    report.cases += 1
    report.statuses[answer.status_code] += 1
    for fault in _faults(case, answer, lab, report.role):
        title = f"{case.operation.label}: {fault.splitlines()[0]}"
        said = f"{answer.status_code} {answer.content[:500]!r}"
        report.findings.setdefault(title, f"{fault}\n{said}\n{_asked(answer)[:1500]}")


def _faults(case: schemathesis.Case[Any], answer: Response, lab: Lab, role: str) -> Iterator[str]:
    try:
        case.validate_response(answer, checks=CHECKS)
    except FailureGroup as failures:
        yield from (f"{type(failure).__name__}: {failure}" for failure in failures.exceptions)
    asked = _asked(answer)
    text = answer.content.decode(errors="replace")  # an artifact is what it is
    shown = sorted(mark for mark in lab.theirs.marks - lab.said if mark in text and mark not in asked)
    # The operator's too: what it named in our team is shown to the roles that come after it.
    if case.method in _WRITING and answer.status_code < 300 and not case.path.endswith(_ONLY_ASKING):
        lab.said.update(mark for mark in lab.theirs.texts if mark in asked)
    if shown and role != "operator":
        yield f"shows what is of another team: {', '.join(shown)}"
    if answer.headers.get("x-content-type-options") != ["nosniff"]:
        yield "without nosniff"
    if "frame-ancestors" not in "".join(answer.headers.get("content-security-policy", [])):
        yield "may be framed"
    if answer.status_code == requests.codes.too_many_requests and role != "none" and case.path not in TAKE_SECRETS:
        yield "turned away, as if it had no token"
    odd = [name for name in answer.headers if name in {"set-cookie", "forged"}]
    if odd:
        yield f"headers that nobody set: {odd}"


def _asked(answer: Response) -> str:
    """The request, as text."""
    asked = answer.request
    body = asked.body or b""
    text = body.decode(errors="replace") if isinstance(body, bytes) else str(body)
    with suppress(ValueError):
        text += json.dumps(json.loads(text), ensure_ascii=False)
    return f"{asked.method} {asked.url} {unquote(asked.url or '')} {text}"
