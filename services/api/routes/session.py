"""`/session`: a browser signs in with a token or a link, asks who it is, and signs out. `/login-links`: such links."""

from __future__ import annotations

from fastapi import APIRouter, Request, Response

from services.api import cookies
from services.api.auth import Caller, Credentials, Given, Viewer, address_of
from services.api.core.cross_site import word_of
from services.api.people import TEAM_HEADER
from services.api.routes.workroom import workroom
from services.api.sessions import SignIn
from services.api.shapes.problem import refusals
from services.api.shapes.session import LoginLink, Session, SignInWith
from services.api.statements import SQL
from services.api.transactions import transaction

router = APIRouter(tags=["session"])

SIGN_IN_PATH = "/sign-in"


def sign_in(request: Request) -> SignIn:
    """The ways in and out of this application."""
    return SignIn(workroom(request).database, request.app.state.authenticator, cookies.rules(request))


def unknown(request: Request, team: str | None = None) -> Credentials:
    """What a browser brings that has still to sign in: at most the session that it had before."""
    wanted = team or request.headers.get(TEAM_HEADER) or None
    return Credentials(address_of(request), None, cookies.presented(request), wanted)


@router.post(
    "/session", status_code=201, responses=refusals({429: "There were too many failed tries from this address"})
)
async def begin(request: Request, response: Response, wanted: SignInWith) -> Session:
    """Sign in: a token or the code of a login link becomes a cookie, which scripts cannot read.

    The session ends when you sign out, when it is not used for long, and at once with the token that it was made from.
    """
    cookies.require_not_elsewhere(request)
    ways, given = sign_in(request), unknown(request, wanted.team)
    if wanted.token is not None:
        opened = await ways.with_token(wanted.token, given)
    else:
        opened = await ways.with_link(wanted.code or "", given)
    cookies.hand_over(request, response, opened.cookie, opened.lasts)
    response.headers["Cache-Control"] = "no-store"
    return await _session(request, opened.caller, opened.cookie)


@router.get("/session")
async def show(request: Request, response: Response, caller: Viewer, given: Given) -> Session:
    """Who asks: by cookie or by token."""
    response.headers["Cache-Control"] = "no-store"
    return await _session(request, caller, given.cookie if caller.session_id is not None else None)


@router.delete("/session", status_code=204)
async def end(request: Request, response: Response, caller: Viewer) -> None:
    """Sign out: the next request with this cookie is refused, the streams that it opened end."""
    await sign_in(request).out(caller)
    cookies.take_back(request, response)


@router.post("/login-links", status_code=201)
async def link(request: Request, response: Response, caller: Viewer) -> LoginLink:
    """A link that signs a browser in once within ten minutes, with the rights of the token that asks for it."""
    code, expires = await sign_in(request).link(caller)
    response.headers["Cache-Control"] = "no-store"
    return LoginLink(url=f"{cookies.own_origin(request)}{SIGN_IN_PATH}?code={code}", expires_at=expires)


async def _session(request: Request, caller: Caller, cookie: str | None) -> Session:
    team_name = None
    if caller.team_id is not None:
        async with transaction(workroom(request).database, caller) as connection:
            team_name = await connection.fetchval(SQL.team_name, caller.team_id)
    return Session(
        name=caller.name,
        role=caller.role.value,
        team_id=caller.team_id,
        team_name=team_name,
        expires_at=caller.expires_at,
        idle_seconds=cookies.rules(request).idle.total_seconds() if cookie is not None else None,
        csrf_token=word_of(cookie) if cookie is not None else None,
    )
