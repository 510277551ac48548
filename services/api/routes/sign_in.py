"""`/sign-in`, where a login link leads, `/`, and `/docs`."""

from __future__ import annotations

import re
from typing import Annotated
from urllib.parse import parse_qs

from fastapi import APIRouter, Query, Request, Response
from fastapi.responses import RedirectResponse

from services.api import cookies, pages
from services.api.auth import Authenticator
from services.api.problems import REFUSALS, ProblemError, problem_of
from services.api.routes.session import SIGN_IN_PATH, sign_in, unknown

router = APIRouter(include_in_schema=False)

_CODE = re.compile(r"[A-Za-z0-9_-]{43}")
_NOT_A_LINK = "This is not a login link. The command rigbeat login-link prints one."


@router.get(SIGN_IN_PATH)
async def ask(code: Annotated[str, Query()] = "") -> Response:
    """A page with one button: who only looks at the link (a preview, a scanner) must not spend it."""
    if _CODE.fullmatch(code) is None:
        return pages.refused_page(400, _NOT_A_LINK, {})
    return pages.sign_in_page(code)


@router.post(SIGN_IN_PATH)
async def begin(request: Request) -> Response:
    """Sign in with the code of the form, and go to `/`."""
    try:
        cookies.require_not_elsewhere(request)
        code = _code(await request.body())
        if code is None:
            return pages.refused_page(400, _NOT_A_LINK, {})
        opened = await sign_in(request).with_link(code, unknown(request))
    except REFUSALS as error:
        problem = problem_of(error)
        headers = error.headers if isinstance(error, ProblemError) else {}
        return pages.refused_page(problem.status, problem.detail, headers)
    answer = RedirectResponse("/", 303, pages.HEADERS)
    cookies.hand_over(request, answer, opened.cookie, opened.lasts)
    return answer


@router.get("/")
async def home(request: Request) -> Response:
    """Who is signed in, and where to go on."""
    authenticator: Authenticator = request.app.state.authenticator
    caller = await authenticator.signed_in(unknown(request))
    return pages.home_page(None if caller is None else caller.name, None if caller is None else caller.role)


@router.get("/docs")
async def reference_of_the_api(request: Request) -> Response:
    """What the API is, for people."""
    return pages.reference_page(request.app.state.reference())


def _code(form: bytes) -> str | None:
    try:
        [code] = parse_qs(form.decode("ascii"), strict_parsing=True, max_num_fields=2)["code"]
    except (ValueError, KeyError):
        return None
    return code if _CODE.fullmatch(code) else None
