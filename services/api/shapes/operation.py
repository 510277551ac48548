"""What an operator asks of the whole installation: verify, recover."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Annotated, Literal

from pydantic import ConfigDict, Field

from libs.contracts import Instant
from libs.invariants import CheckName, Finding
from services.api.shapes.base import Body, Shape, When


class VerifyRequest(Body):
    """What is to be looked at."""

    since: When | None = Field(
        default=None, description="RFC 3339; fires and runs from then on. Default: a day before now; at most 31 days"
    )


class NamedCheck(Shape):
    """One of an invariant's checks. The names are a contract, as the names of metrics are; new ones may come."""

    check: CheckName
    ok: bool
    rows: int
    examples: list[str]


class InvariantCheck(Shape):
    """One invariant: how many rows break it, up to ten of them in words, the grace that was given, and its checks."""

    invariant: Literal["I1", "I2", "I4", "I5", "I7"]
    ok: bool
    rows: int
    examples: list[str]
    note: str
    by_check: list[NamedCheck]


class Verification(Shape):
    """Whether the invariants hold."""

    model_config = ConfigDict(
        frozen=True,
        json_schema_extra={
            "examples": [
                {
                    "ok": False,
                    "checked_at": "2026-11-23T10:30:00Z",
                    "checks": [
                        {
                            "invariant": "I1",
                            "ok": False,
                            "rows": 1,
                            "examples": [
                                "health (019a0f6e-…) has no row for its fire at 2026-11-23T10:20:00Z",
                            ],
                            "note": "12 deployments since 2026-11-22 10:30 UTC, no grace.",
                            "by_check": [
                                {
                                    "check": "missing_fires",
                                    "ok": False,
                                    "rows": 1,
                                    "examples": [
                                        "health (019a0f6e-…) has no row for its fire at 2026-11-23T10:20:00Z",
                                    ],
                                },
                                {"check": "extra_fires", "ok": True, "rows": 0, "examples": []},
                            ],
                        }
                    ],
                }
            ]
        },
    )

    ok: bool
    checked_at: Instant
    checks: list[InvariantCheck]

    @classmethod
    def of(cls, checked_at: datetime, findings: Sequence[Finding]) -> Verification:
        """The shape of findings."""
        checks = [
            InvariantCheck.model_validate(
                {
                    "invariant": one.invariant,
                    "ok": one.ok,
                    "rows": one.rows,
                    "examples": list(one.examples),
                    "note": one.note,
                    "by_check": [
                        {"check": each.name, "ok": each.ok, "rows": each.rows, "examples": list(each.examples)}
                        for each in one.checks
                    ],
                }
            )
            for one in findings
        ]
        return cls(ok=all(one.ok for one in findings), checked_at=checked_at, checks=checks)


class RecoverRequest(Body):
    """How long to wait for the hosts, and which recovery goes on."""

    wait_seconds: Annotated[float, Field(ge=0, le=3600)] = Field(
        default=30, description="from the beginning of the recovery; then firing goes on without who has not answered"
    )
    ledger_epoch: Annotated[int, Field(strict=True, ge=1)] | None = Field(
        default=None, description="of the recovery that goes on; an ended one is only told. Default: begin, or go on"
    )


class RecoveringHost(Shape):
    """One host: whether it is heard, and whether all that it had to say again has been taken in."""

    name: str
    status: Literal["online", "offline"]
    answered: bool


class Recovery(Shape):
    """How far it is. While `firing` is false nothing is fired, and the same request goes on."""

    model_config = ConfigDict(
        frozen=True,
        json_schema_extra={
            "examples": [
                {
                    "ledger_epoch": 29930070,
                    "firing": True,
                    "held_at": None,
                    "hosts": [{"name": "lab-1", "status": "online", "answered": True}],
                }
            ]
        },
    )

    ledger_epoch: int
    firing: bool
    held_at: Instant | None
    hosts: list[RecoveringHost]
