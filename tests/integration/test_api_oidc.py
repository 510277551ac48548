"""People of an issuer: its tokens beside our own, every way to forge one, its keys as they change."""

from __future__ import annotations

import asyncio
import json
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from typing import Any

import httpx
import pytest
from cryptography.hazmat.primitives import serialization

from services.api import issuer as issuer_module
from services.api.core.claims import ClaimRule
from services.api.core.issuer_keys import Header
from services.api.failed_tries import FailedTries
from services.api.issuer import ASK_AGAIN_SECONDS, FRESH_SECONDS, MOST_BYTES, IssuerKeys
from services.api.people import Issuer, People
from services.api.problems import ProblemError
from services.api.shapes.problem import Kind
from tests.support.api import Api, created, problem
from tests.support.issuer import AUDIENCE, CONFIGURATION, KEYS, FakeIssuer, fake_issuer, private_key, published, signed
from tests.support.ledger import shift_now

EC, ED, RSA = (partial(private_key, kind) for kind in ("P-256", "Ed25519", "RSA-2048"))
SMALL, STRANGER = partial(private_key, "RSA-1024"), partial(private_key, "P-256", 1)
RULES = (
    ClaimRule(claim="groups", value="lab-editors", team="lab", role="editor"),
    ClaimRule(claim="groups", value="lab-admins", team="lab", role="admin"),
    ClaimRule(claim="groups", value="routers", team="routers", role="viewer"),
    ClaimRule(claim="groups", value="ghosts", team="nobody-made-it", role="admin"),
    ClaimRule(claim="realm_access.roles", value="keeper", role="operator"),
)


@dataclass
class Clock:
    now: float = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def issuer() -> Iterator[FakeIssuer]:
    with fake_issuer() as made:
        made.keys = [
            published(EC(), kid="ec", use="sig"),
            published(ED(), kid="ed"),
            published(RSA(), kid="rsa", alg="RS256"),
            published(RSA(), kid="pss", alg="PS256"),
            published(SMALL(), kid="small"),
            published(STRANGER(), kid="for-encryption", use="enc"),
            {"kty": "oct", "kid": "shared", "k": "c2VjcmV0LXNlY3JldC1zZWNyZXQtc2VjcmV0LXNlY3I", "alg": "HS256"},
            {"kty": "RSA", "kid": "broken", "n": "!", "e": "AQAB"},
            published(EC(), kid="ec", key_ops=7),
            published(STRANGER(), kid="to-sign", key_ops=["sign"]),
            published(STRANGER(), kid="of-no-curve", crv="P-999"),
            published(STRANGER(), kid=["a", "list"], alg=["ES256"]),
            {**published(STRANGER(), kid="private"), "d": "AQAB"},
            *(7, None, [], {}, {"kty": 7}, {"kty": "OKP", "crv": "Ed25519", "x": 7}),
        ]
        yield made


def claims(issuer: FakeIssuer, *without: str, **other: Any) -> dict[str, Any]:
    """Of Ann, an editor of the lab, for five minutes."""
    now = int(time.time())
    said = {"iss": issuer.url, "aud": AUDIENCE, "sub": "42", "preferred_username": "ann", "iat": now, "exp": now + 300}
    said = {**said, "groups": ["lab-editors"], **other}
    return {name: value for name, value in said.items() if name not in without}


def people(issuer: FakeIssuer, clock: Callable[[], float]) -> People:
    return People(Issuer(issuer.url, AUDIENCE, None, timedelta(seconds=60), RULES), clock)


def with_issuer(api: Api, issuer: FakeIssuer) -> Clock:
    """Let the application take its tokens; the clock by which its keys age."""
    clock = Clock()
    api.app.state.authenticator._people = people(issuer, clock)
    api.app.state.authenticator._failures = FailedTries(10_000)
    return clock


def pem(key: Any) -> bytes:
    raw: bytes = key.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    return raw


def good(issuer: FakeIssuer) -> dict[str, str]:
    said, now = claims(issuer), int(time.time())
    return {
        "ES256": signed(said, EC(), kid="ec"),
        "EdDSA": signed(said, ED(), "EdDSA", kid="ed"),
        "RS256": signed(said, RSA(), "RS256", kid="rsa"),
        "PS256": signed(said, RSA(), "PS256", kid="pss"),
        "no kid, and one key that fits": signed(said, ED(), "EdDSA"),
        "an access token": signed(said, EC(), kid="ec", typ="at+jwt"),
        "no typ": signed(said, EC(), kid="ec", typ=None),
        "also for others": signed(claims(issuer, aud=["account", AUDIENCE]), EC(), kid="ec"),
        "just expired, by our clock": signed(claims(issuer, exp=now - 30), EC(), kid="ec"),
        "from a clock that is ahead": signed(claims(issuer, iat=now + 30, nbf=now + 30), EC(), kid="ec"),
        "jku of a stranger, signed by the right key": signed(said, EC(), kid="ec", jku="http://127.0.0.1:1/keys"),
    }


def bad(issuer: FakeIssuer) -> dict[str, str]:
    said, now = claims(issuer), int(time.time())
    ec = partial(signed, key=EC(), kid="ec")
    right = ec(said)
    head, body, signature = right.split(".")
    boss = ec(claims(issuer, groups=["lab-admins"])).split(".")[1]
    own = published(STRANGER(), kid="own")
    stranger = partial(signed, said, STRANGER())
    return {
        "expired": ec(claims(issuer, exp=now - 120)),
        "not good yet": ec(claims(issuer, nbf=now + 120)),
        "issued in the future": ec(claims(issuer, iat=now + 120)),
        **{f"without {name}": ec(claims(issuer, name)) for name in ("exp", "iat", "sub", "iss", "aud")},
        **{f"{name} null": ec(claims(issuer, **{name: None})) for name in ("exp", "iat", "sub", "iss", "aud", "nbf")},
        "of another issuer": ec(claims(issuer, iss="https://evil.example")),
        "of the issuer with a slash": ec(claims(issuer, iss=f"{issuer.url}/")),
        "of two issuers": ec(claims(issuer, iss=[issuer.url])),
        "for somebody else": ec(claims(issuer, aud="other")),
        "for us in part": ec(claims(issuer, aud=f"{AUDIENCE}-staging")),
        "for others": ec(claims(issuer, aud=["a", "b"])),
        "for nobody": ec(claims(issuer, aud=[])),
        "sub a number": ec(claims(issuer, sub=42)),
        "bound to a key": ec(claims(issuer, cnf={"jkt": "x"})),
        "claims no object": ec([said]),
        "claims no JSON": ec(b"{"),
        "none": f"{signed(said, None, 'none', kid='ec').rstrip('.')}.AA",
        "none, without signature": signed(said, None, "none", kid="ec"),
        "None": signed(said, EC(), kid="ec", alg="None"),
        "signature taken off": f"{head}.{body}.",
        "claims exchanged": f"{head}.{boss}.{signature}",
        "HS256 with the public key": signed(said, pem(RSA()), "HS256", kid="rsa"),
        "HS256 with the EC public key": signed(said, pem(EC()), "HS256", kid="ec"),
        "HS256 with a shared key": signed(said, b"secret-secret-secret-secret-secr", "HS256", kid="shared"),
        "RS256 that is HS256": signed(said, pem(RSA()), "HS256", kid="rsa", alg="RS256"),
        "RS256 with a key for PS256": signed(said, RSA(), "RS256", kid="pss"),
        "RS512 with a key for RS256": signed(said, RSA(), "RS512", kid="rsa"),
        "another key's name": signed(said, ED(), "EdDSA", kid="ec"),
        "another key under the name": stranger(kid="ec"),
        "unknown key": stranger(kid="unknown"),
        **{
            f"a key that is {kid}": stranger(kid=kid) for kid in ("for-encryption", "to-sign", "private", "of-no-curve")
        },
        "a key of 1024 bits": signed(said, SMALL(), "RS256", kid="small"),
        "name of the key a number": ec(said, kid=1),
        "no name, several fit": signed(said, RSA(), "RS512"),
        "brings its key": stranger(kid="own", jwk=own),
        "brings its key, known name": stranger(kid="ec", jwk=own),
        "tells where its key is": stranger(kid="own", jku=f"{issuer.url}/evil"),
        "tells where its certificate is": stranger(kid="own", x5u=f"{issuer.url}/evil"),
        "crit": ec(said, crit=["exp"]),
        "crit, empty": ec(said, crit=[]),
        "crit of an extension": ec(said, crit=["b64"], b64=True),
        "b64": ec(said, b64=False, crit=["b64"]),
        "to sign out": ec(said, typ="logout+jwt"),
        "of an event": ec(said, typ="secevent+jwt"),
        "typ a list": ec(said, typ=["JWT"]),
        "five parts": f"{right}.x.y",
        "two parts": f"{head}.{body}",
        "a comma": f"{right},{right}",
        "padded": f"{right}=",
        "too long": ec(claims(issuer, more="x" * 20_000)),
    }


async def test_a_token_of_the_issuer_lets_in_and_no_forged_one(api: Api, issuer: FakeIssuer) -> None:
    with_issuer(api, issuer)
    issuer.instead["/evil"] = (200, {}, b'{"keys": []}')
    for what, token in good(issuer).items():
        answer = await (await api.client(token)).get("/session")
        assert answer.status_code == 200, (what, answer.text)
        assert (answer.json()["role"], answer.json()["team_id"]) == ("editor", str(api.team)), what
    for what, token in bad(issuer).items():
        answer = await (await api.client(token)).get("/session")
        assert answer.status_code == 401, (what, answer.text)
        problem(answer, 401, "unauthenticated")
        signing_in = await (await api.client(None)).post("/session", json={"token": token})
        assert signing_in.status_code == (422 if what == "too long" else 401), (what, signing_in.text)
    assert api.database.execute("SELECT 1 FROM sessions") == []
    assert issuer.asked == [CONFIGURATION, KEYS], "asked once, and nowhere else"


async def test_claims_give_roles_in_teams_and_the_audit_names_the_person(api: Api, issuer: FakeIssuer) -> None:
    with_issuer(api, issuer)
    routers = api.database.team("routers")

    async def of(*groups: str, team: str | None = None, **other: Any) -> httpx.AsyncClient:
        token = signed(claims(issuer, groups=list(groups), **other), EC(), kid="ec")
        client = await api.client(token)
        client.headers.update({"X-Rigbeat-Team": team} if team else {})
        return client

    ann = await of("lab-editors", "all")
    who = f"ann (42 at {issuer.url})"
    assert (await ann.get("/session")).json()["name"] == who
    made = await created(ann)
    assert made["created_by"] == who
    problem(await ann.get("/tokens"), 403, "forbidden")
    problem(await ann.post("/login-links"), 403, "forbidden")
    assert (await (await of("lab-editors", "lab-admins")).get("/tokens")).status_code == 200
    audit = "SELECT actor, token_prefix, team_id FROM audit_log WHERE resource LIKE 'deployment/%%'"
    assert api.database.execute(audit) == [(who, None, api.team)]
    for groups, team, status, kind in (
        (["strangers"], None, 403, "forbidden"),
        ([], None, 403, "forbidden"),
        (["ghosts"], None, 403, "forbidden"),
        (["ghosts"], "nobody-made-it", 403, "forbidden"),
        (["lab-editors"], "routers", 403, "forbidden"),
        (["lab-editors", "routers"], None, 422, "invalid-input"),
    ):
        problem(await (await of(*groups, team=team)).get("/deployments"), status, kind)
    # One who is in both sees the one that is meant, and what it holds.
    both = await of("lab-editors", "routers", team="routers")
    assert (await both.get("/session")).json()["team_id"] == str(routers)
    assert (await both.get("/deployments")).json()["items"] == []
    problem(await both.get(f"/deployments/{made['id']}"), 404, "not-found")
    problem(await both.delete(f"/deployments/{made['id']}"), 403, "forbidden")
    keeper = await of("lab-editors", realm_access={"roles": ["keeper"]})
    assert (await keeper.get("/session")).json()["role"] == "operator"
    assert [team["name"] for team in (await keeper.get("/teams")).json()["items"]] == ["lab", "routers"]
    # A token of ours that names another team is refused, not taken for it.
    own = await api.of_role("viewer")
    assert (await own.get("/deployments", headers={"X-Rigbeat-Team": "lab"})).status_code == 200
    problem(await own.get("/deployments", headers={"X-Rigbeat-Team": "routers"}), 403, "forbidden")


async def test_a_person_signs_in_for_as_long_as_the_token_is_good(api: Api, issuer: FakeIssuer) -> None:
    with_issuer(api, issuer)
    api.database.team("routers")
    said = claims(issuer, groups=["lab-editors", "routers"])
    token = signed(said, EC(), kid="ec")
    client = await api.client(None)
    problem(await client.post("/session", json={"token": token}), 422, "invalid-input")
    session = (await client.post("/session", json={"token": token, "team": "lab"})).json()
    assert (session["role"], session["team_name"]) == ("editor", "lab")
    assert session["expires_at"].startswith(time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(said["exp"] + 60)))
    # The same person in the same team; another one, or another team of hers, is somebody else.
    with_team = {"Authorization": f"Bearer {token}", "X-Rigbeat-Team": "lab"}
    assert (await client.get("/session", headers=with_team)).status_code == 200
    problem(await client.get("/session", headers={**with_team, "X-Rigbeat-Team": "routers"}), 401, "unauthenticated")
    bob = signed({**said, "sub": "43"}, EC(), kid="ec")
    problem(
        await client.get("/session", headers={**with_team, "Authorization": f"Bearer {bob}"}), 401, "unauthenticated"
    )
    # It needs the issuer no more, until it ends.
    api.app.state.authenticator._people = None
    assert (await client.get("/session")).json() == session
    shift_now(api.database, 350)
    assert (await client.get("/session")).status_code == 200
    shift_now(api.database, 365)
    problem(await client.get("/session"), 401, "unauthenticated")


def keys(issuer: FakeIssuer, clock: Clock, url: str | None = None) -> IssuerKeys:
    return IssuerKeys(issuer.url, url, clock)


EC_KEY = Header("ES256", "ec")


async def test_keys_are_fetched_anew_when_they_age_and_for_a_new_name_but_not_for_every_name(
    issuer: FakeIssuer,
) -> None:
    clock = Clock()
    known = keys(issuer, clock)
    assert await known.key(EC_KEY) is not None
    # The issuer goes over to a new key; a token of it comes at once.
    issuer.keys = [published(EC(), kid="ec"), published(STRANGER(), kid="new")]
    clock.now += ASK_AGAIN_SECONDS - 1
    assert await known.key(Header("ES256", "new")) is None, "asked less than half a minute ago"
    clock.now += 1
    found = await asyncio.gather(*(known.key(Header("ES256", "new")) for _ in range(20)))
    assert None not in found
    assert issuer.asked.count(KEYS) == 2
    # Whoever makes up names has the issuer asked once in half a minute.
    for number in range(60):
        clock.now += 1
        assert await known.key(Header("ES256", f"made-up-{number}")) is None
    assert issuer.asked.count(KEYS) == 4
    # It takes back the old one.
    issuer.keys = issuer.keys[1:]
    assert await known.key(EC_KEY) is not None
    clock.now += FRESH_SECONDS
    assert await known.key(EC_KEY) is None


async def test_an_issuer_that_is_away_shuts_nobody_out_whose_key_was_seen(issuer: FakeIssuer) -> None:
    clock = Clock()
    known, never = keys(issuer, clock), keys(issuer, clock)
    assert await known.key(EC_KEY) is not None
    issuer.instead = {CONFIGURATION: (503, {}, b"")}
    clock.now += 100 * FRESH_SECONDS
    assert await known.key(EC_KEY) is not None
    for _ in range(3):
        with pytest.raises(ProblemError) as away:
            await never.key(EC_KEY)
        assert (away.value.kind, away.value.headers) == (Kind.UNAVAILABLE, {"Retry-After": "30"})
    assert issuer.asked.count(CONFIGURATION) == 3, "each once"
    issuer.instead = {}
    clock.now += ASK_AGAIN_SECONDS
    assert await never.key(EC_KEY) is not None


@pytest.mark.parametrize("path", [CONFIGURATION, KEYS])
async def test_an_answer_of_the_issuer_that_is_not_right_gives_no_keys(
    issuer: FakeIssuer, path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(issuer_module, "WHOLE_SECONDS", 0.5)
    _, _, right = issuer.answer(path)
    at_keys = f"{issuer.url}{KEYS}"
    with_user = at_keys.replace("//", "//user@")
    answers: dict[str, tuple[int, dict[str, str], bytes]] = {
        "away": (503, {}, b""),
        "redirect": (302, {"Location": "/elsewhere"}, b""),
        "no JSON": (200, {}, b"<html>"),
        "deep": (200, {}, b"[" * 100_000),
        "no object": (200, {}, b"[]"),
        "nothing": (200, {}, b"{}"),
        "huge": (200, {}, b" " * (MOST_BYTES + 1) + right),
        "broken off": (200, {"Content-Length": "1000000"}, right[:10]),
        "of another issuer": (200, {}, json.dumps({"issuer": "https://evil.example", "jwks_uri": at_keys}).encode()),
        "keys of a user": (200, {}, json.dumps({"issuer": issuer.url, "jwks_uri": with_user}).encode()),
        "keys in clear": (200, {}, b'{"issuer": "%s", "jwks_uri": "http://10.0.0.1/keys"}' % issuer.url.encode()),
        "keys nowhere": (200, {}, b'{"issuer": "%s", "jwks_uri": 7}' % issuer.url.encode()),
        "only a shared key": (200, {}, b'{"keys": [{"kty": "oct", "k": "c2VjcmV0", "kid": "ec"}]}'),
        "not a list": (200, {}, b'{"keys": {"kid": "ec"}}'),
    }
    issuer.instead["/elsewhere"] = (200, {}, right)
    for what, answer in answers.items():
        issuer.instead[path] = answer
        with pytest.raises(ProblemError):
            await keys(issuer, Clock()).key(EC_KEY)
        assert "/elsewhere" not in issuer.asked, what
    # One that keeps us waiting: the wait has an end. So it has for one that answers drop by drop.
    issuer.instead[path] = (200, {}, b" " * 100 + right)
    issuer.drips = True
    begun = time.monotonic()
    with pytest.raises(ProblemError):
        await keys(issuer, Clock()).key(EC_KEY)
    assert time.monotonic() - begun < 3
    issuer.drips = False
    del issuer.instead[path]
    let_go = threading.Event()
    issuer.before[path] = partial(let_go.wait, 5)
    begun = time.monotonic()
    with pytest.raises(ProblemError):
        await keys(issuer, Clock()).key(EC_KEY)
    assert time.monotonic() - begun < 3
    let_go.set()
    assert await keys(issuer, Clock()).key(EC_KEY) is not None


async def test_the_address_of_the_keys_may_be_given(issuer: FakeIssuer) -> None:
    issuer.instead[CONFIGURATION] = (404, {}, b"")
    assert await keys(issuer, Clock(), f"{issuer.url}{KEYS}").key(EC_KEY) is not None
    assert issuer.asked == [KEYS]
