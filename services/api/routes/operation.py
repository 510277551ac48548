"""`/verify` and `/recover`: what an operator asks of the whole installation."""

from __future__ import annotations

from fastapi import APIRouter, Request

from services.api.auth import Operator
from services.api.recovery import advance
from services.api.routes.workroom import workroom
from services.api.shapes.operation import (
    RecoveringHost,
    RecoverRequest,
    Recovery,
    Verification,
    VerifyRequest,
)
from services.api.transactions import change
from services.api.verify import findings

router = APIRouter(tags=["operation"])


@router.post("/verify")
async def verify(request: Request, caller: Operator, wanted: VerifyRequest | None = None) -> Verification:
    """Check the invariants I1, I2, I4, I5 and I7 on the ledger as it is now; nothing is changed."""
    since = wanted.since if wanted is not None else None
    checked_at, found = await findings(workroom(request).database, caller, since)
    return Verification.of(checked_at, found)


@router.post("/recover")
async def recover(request: Request, caller: Operator, wanted: RecoverRequest | None = None) -> Recovery:
    """After a restore: hold firing, have every host send its events again, then fire on.

    Answers at once; repeat it with the `ledger_epoch` of the answer until `firing` is true.
    """
    wanted = wanted or RecoverRequest()
    state = await change(
        workroom(request).database,
        caller,
        lambda connection: advance(
            connection, caller, wait_seconds=wanted.wait_seconds, ledger_epoch=wanted.ledger_epoch
        ),
    )
    return Recovery(
        ledger_epoch=state.ledger_epoch,
        firing=state.firing,
        held_at=state.held_at,
        hosts=[
            RecoveringHost(name=host.name, status="online" if host.online else "offline", answered=host.answered)
            for host in state.hosts
        ],
    )
