"""Requests of one role that follow from each other: what is made is read, changed, run, ended, and asked for again.

Which operation follows from which, schemathesis finds in the OpenAPI document: an id that one answers is a parameter of
another.
"""

from __future__ import annotations

import math
import random
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import requests
import schemathesis
from hypothesis import HealthCheck, Phase, seed, settings
from hypothesis.errors import FlakyFailure, FlakyReplay, FlakyStrategyDefinition, UnsatisfiedAssumption
from schemathesis import GenerationMode
from schemathesis.core.parameters import ParameterLocation
from schemathesis.generation.stateful.state_machine import APIStateMachine, StepInput, StepOutput

from tests.attack.attack import ENDLESS, From, Report, address, answered, judge
from tests.attack.lab import EVERY_HOUR, Lab

STEPS = 12
CHAINS_AT_ONCE = 4
TRIES = 8
"""Rounds for each that is needed: one ends at once when the server answers otherwise than it did before."""
_MOSTLY = 0.9
_FIRST_PLACE = 10_000
"""Of the addresses: those before it are the attack's on single operations."""


def chains(lab: Lab, role: str, cases: int, number: int) -> Report:
    """So many requests in chains, and more until one has followed from another; fewer only if most rounds end early.

    `number` is the seed.
    """
    report = Report(role)
    document = schemathesis.openapi.from_url(f"{lab.url}/openapi.json").exclude(path=list(ENDLESS))
    # A wrong request leads nowhere, may go without its token on purpose, and the first chain of a round would have
    # nothing else.
    document.config.generation.update(modes=[GenerationMode.POSITIVE])
    chances = random.Random(number)

    class Chain(document.as_state_machine()):  # type: ignore[misc]  # made of the document
        def setup(self) -> None:
            self.session = requests.Session()
            self.session.trust_env = False
            self.session.mount("http://", From(address(role, _FIRST_PLACE + chances.randrange(10_000))))
            with _noted(report, "the begin of a chain"):
                lab.mend()
                self.token = lab.token(role)

        def teardown(self) -> None:
            self.session.close()
            super().teardown()

        def step(self, input: StepInput) -> StepOutput | None:  # noqa: A002 # so schemathesis calls it
            case = input.case
            headers = {} if self.token is None else {"Authorization": f"Bearer {self.token}"}
            with _noted(report, case.operation.label):
                _settle(case, lab, chances)
                answer = answered(case, report, self.session, headers)
                if answer is None:
                    return None  # and the chain goes on
                self.after_call(answer, case)
                judge(case, answer, lab, report)
                report.followed += _follows(input) and answer.status_code < 300
            return StepOutput(answer, case)

    machine: type[APIStateMachine] = Chain
    how = settings(
        max_examples=CHAINS_AT_ONCE,
        stateful_step_count=STEPS,
        deadline=None,
        database=None,
        phases=(Phase.generate,),
        suppress_health_check=list(HealthCheck),
    )
    for _ in range(TRIES * math.ceil(cases / (STEPS * CHAINS_AT_ONCE))):
        if report.cases >= cases and report.followed:
            break
        seed(chances.randrange(1 << 30))(machine)
        try:
            machine.run(settings=how)
        except (FlakyReplay, FlakyStrategyDefinition):
            pass  # A server that remembers answers otherwise than before, so that another chain is drawn of the same.
        except FlakyFailure as error:
            # What hypothesis makes of the same if it is a draw that is turned down the second time, and nothing else.
            _, others = error.split(UnsatisfiedAssumption)
            if others is not None:
                said = "".join(traceback.format_exception(others))
                report.findings.setdefault("a chain went wrong once, and not again", said)
    return report


@contextmanager
def _noted(report: Report, where: str) -> Iterator[None]:
    """Report what breaks in here at once: hypothesis tries it again, and if it is well then, says something else."""
    try:
        yield
    except Exception as error:
        report.findings.setdefault(f"{where}: the attack itself broke: {error!r}", traceback.format_exc())
        raise


def _follows(step: StepInput) -> bool:
    """Whether its path has an id out of an earlier step of its chain."""
    return any(location is ParameterLocation.PATH for location, _ in step.applied_parameters)


def _settle(case: schemathesis.Case[Any], lab: Lab, chances: random.Random) -> None:
    """What nobody draws by chance: our own host, device and script, and an expression that is one."""
    case.query = {name: value for name, value in (case.query or {}).items() if name != "follow"}
    known = {**lab.ours.names, "cron_expression": EVERY_HOUR}
    if isinstance(case.body, dict):
        for name in list(case.body):
            if name in known and name != "name" and chances.random() < _MOSTLY:
                case.body[name] = known[name]
