"""The API against its own OpenAPI document: drawn requests, right and wrong, on every operation, from every role.

No request brings a server error, every answer is one that the document names, in the shape that it gives, and none
shows anything of another team. `make attack` sends thousands.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import Any

import pytest
import requests
import schemathesis

from libs.stack.rabbitmq import RabbitMQ
from tests.attack.attack import ROLES, Report, answered, attack, judge
from tests.attack.chains import chains
from tests.attack.lab import Lab, attacked
from tests.support.ledger import LedgerDatabase

FEW = {"editor": 160, "admin": 110}
"""In CI, where the others have one on each operation."""

CHAINED = ("editor", "admin", "operator")
FEW_CHAINED = 48
"""Requests in chains of a dozen, in CI."""
LEAST_CHAINED = 1 / 4
"""Of what was asked for: a round ends at the first answer that is another than it was before."""

MANY = 1000
"""Cases, of which some must be good ones whoever sends them."""

THEIRS = ("deployments", "deployment_versions", "deployment_executions", "dead_letters", "artifacts", "api_tokens")
OF_THEIR_HOSTS = ("devices", "enrolments")
"""Locks are the devices'."""


@pytest.fixture(scope="module")
def lab(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    """Two teams behind a running API."""
    database: LedgerDatabase = request.getfixturevalue("module_ledger_database")
    rabbitmq: RabbitMQ = request.getfixturevalue("rabbitmq")
    with attacked(database, rabbitmq.amqp_url, tmp_path_factory.mktemp("api")) as lab:
        assert all(theirs(lab).values()), "there is something of everything that could be spoilt"
        yield lab


@pytest.fixture(scope="module")
def reports(lab: Lab) -> Iterator[list[Report]]:
    """Of each role; printed in the end."""
    made: list[Report] = []
    yield made
    # The rest was given to something of ours by the attack itself, so that to see it is no finding any more.
    armed = len(lab.theirs.marks - lab.said)
    assert armed > len(lab.theirs.marks) / 2
    said = [
        "",
        f"{armed} of {len(lab.theirs.marks)} marks were told by nobody",
        *(report.line() for report in made),
        f"{sum(one.cases for one in made)} cases in all",
        "",
    ]
    sys.stdout.write("\n".join(said))  # shown with -s


def test_a_leak_is_what_is_theirs_and_was_not_put_into_our_team_by_an_operator(lab: Lab) -> None:
    tokens = schemathesis.openapi.from_url(f"{lab.url}/openapi.json")["/api/v1/tokens"]
    operators = lab.token("operator")

    def found(role: str, case: schemathesis.Case[Any], token: str | None) -> list[str]:
        report = Report(role)
        with requests.Session() as session:
            session.trust_env = False
            answer = answered(case, report, session, {"Authorization": f"Bearer {token}"})
        assert answer is not None
        assert answer.status_code < 300, answer.text
        judge(case, answer, lab, report)
        return list(report.findings)

    # As if the wall between the teams had fallen.
    [leak] = found("admin", tokens["GET"].Case(), operators)
    assert lab.theirs.names["token"] in leak
    named: dict[str, Any] = {"name": lab.theirs.names["script_name"], "role": "viewer", "team_id": str(lab.ours.id)}
    assert found("operator", tokens["POST"].Case(body=named, media_type="application/json"), operators) == []
    assert found("admin", tokens["GET"].Case(), lab.token("admin")) == []


@pytest.mark.parametrize("role", ROLES)
def test_every_answer_keeps_to_the_document_and_shows_nothing_of_another_team(
    lab: Lab, role: str, seed: int, reports: list[Report], request: pytest.FixtureRequest
) -> None:
    before = theirs(lab)
    report = attack(lab, role, request.config.getoption("--attack-cases") or FEW.get(role, 1), seed)
    reports.append(report)
    assert not report.findings, "\n\n".join(f"{title}\n{more}" for title, more in report.findings.items())
    let_in = sum(number for status, number in report.statuses.items() if status < 300)
    # Of a host there are few routes, and most of what is drawn for them is nothing that there is.
    assert (let_in > 0) == (role != "none") or (role == "host" and report.cases < MANY), report.line()
    if role != "operator":
        assert theirs(lab) == before


@pytest.mark.parametrize("role", CHAINED)
def test_what_is_made_may_be_used_and_ended_by_whom_it_is_for(
    lab: Lab, role: str, seed: int, reports: list[Report], request: pytest.FixtureRequest
) -> None:
    before = theirs(lab)
    asked = request.config.getoption("--attack-cases") or FEW_CHAINED
    report = chains(lab, role, asked, seed)
    reports.append(report)
    assert not report.findings, "\n\n".join(f"{title}\n{more}" for title, more in report.findings.items())
    assert report.cases >= asked * LEAST_CHAINED, report.line()
    assert report.followed > 0, report.line()
    if role != "operator":
        assert theirs(lab) == before


def theirs(lab: Lab) -> dict[str, Any]:
    """What is of the other team: its rows by table, and the logs and files of its executions by path."""
    # The API writes down when a token was used, a moment after that.
    of_team = "SELECT (to_jsonb(t) - 'last_used_at')::text FROM {} t WHERE team_id = %s ORDER BY 1"
    of_hosts = "SELECT t::text FROM {} t JOIN hosts h ON h.name = t.host_name WHERE h.team_id = %s ORDER BY 1"
    statements = {
        **{table: of_team.format(table) for table in THEIRS},
        **{table: of_hosts.format(table) for table in OF_THEIR_HOSTS},
        "hosts": "SELECT name, team_id, shared_teams, revoked_at FROM hosts WHERE team_id = %s ORDER BY name",
    }
    found: dict[str, Any] = {what: lab.database.execute(one, (lab.theirs.id,)) for what, one in statements.items()}
    executions = lab.database.execute("SELECT id::text FROM deployment_executions WHERE team_id = %s", (lab.theirs.id,))
    for kind in ("logs", "artifacts"):
        files = (file for (one,) in executions for file in (lab.store / kind / one).rglob("*") if file.is_file())
        found[f"bytes of {kind}"] = {str(file): file.read_bytes() for file in files}
    return found
