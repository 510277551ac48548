"""From what an issuer says of a person to a team and a role; and the settings that say how."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from libs.chassis.settings import SettingsError, load
from services.api.core.claims import ClaimError, ClaimRule, Right, TeamError, good_until, person, right, rights
from services.api.core.cross_site import is_word_of, word_of
from services.api.issuer import is_safe
from services.api.settings import Settings

NOW = datetime(2026, 11, 23, 10, tzinfo=UTC)
SKEW = timedelta(seconds=60)


def rule(claim: str, value: str, role: Any, team: str | None = None) -> ClaimRule:
    return ClaimRule(claim=claim, value=value, role=role, team=team)


RULES = (
    rule("groups", "lab-admins", "admin", "lab"),
    rule("groups", "lab-people", "viewer", "lab"),
    rule("groups", "routers", "editor", "routers"),
    rule("realm_access.roles", "keeper", "operator"),
    rule("https://lab.example/role", "boss", "operator", "lab"),
)


@pytest.mark.parametrize(
    ("claims", "granted"),
    [
        ({}, {}),
        ({"groups": []}, {}),
        ({"groups": "lab-people"}, {"lab": "viewer"}),
        ({"groups": ["lab-people", "lab-admins"]}, {"lab": "admin"}),
        ({"groups": ["lab-admins", "lab-people", "routers"]}, {"lab": "admin", "routers": "editor"}),
        ({"groups": ["LAB-ADMINS", "lab-admin", "xlab-admins"]}, {}),
        ({"groups": "lab-people lab-admins"}, {}),
        ({"groups": [["lab-admins"], {"lab-admins": 1}, 1, None, True]}, {}),
        ({"groups": {"lab-admins": True}}, {}),
        ({"realm_access": {"roles": ["keeper"]}}, {None: "operator"}),
        ({"realm_access.roles": ["keeper"]}, {None: "operator"}),
        ({"realm_access.roles": [], "realm_access": {"roles": ["keeper"]}}, {}),
        ({"realm_access": ["roles", "keeper"]}, {}),
        ({"realm_access": None}, {}),
        ({"https://lab.example/role": "boss", "groups": "lab-people"}, {"lab": "operator"}),
    ],
)
def test_claims_give_the_most_powerful_role_for_each_team(claims: dict[str, Any], granted: dict[Any, str]) -> None:
    assert rights(claims, RULES) == rights(claims, RULES[::-1]) == granted


@pytest.mark.parametrize(
    ("granted", "wanted", "chosen"),
    [
        ({"lab": "admin"}, None, Right("lab", "admin")),
        ({"lab": "admin"}, "lab", Right("lab", "admin")),
        ({"lab": "admin", "routers": "viewer"}, "routers", Right("routers", "viewer")),
        ({None: "operator"}, None, Right(None, "operator")),
        ({None: "operator", "lab": "admin"}, None, Right(None, "operator")),
        ({None: "operator"}, "routers", Right("routers", "operator")),
    ],
)
def test_who_has_one_right_or_says_which_gets_it(granted: dict[Any, str], wanted: str | None, chosen: Right) -> None:
    assert right(granted, wanted) == chosen


def test_who_has_none_or_several_is_told() -> None:
    cases: list[tuple[dict[str | None, str], str | None, str, bool]] = [
        ({}, None, "gives you a role", False),
        ({}, "lab", "no role in a team lab", False),
        ({"lab": "admin"}, "routers", "no role in a team routers", False),
        ({"lab": "admin", "routers": "viewer"}, None, "lab, routers", True),
    ]
    for granted, wanted, words, must_choose in cases:
        with pytest.raises(TeamError, match=words) as refused:
            right(granted, wanted)
        assert refused.value.must_choose is must_choose


def at(seconds: float) -> float:
    return NOW.timestamp() + seconds


@pytest.mark.parametrize(
    ("times", "wrong"),
    [
        ({"exp": at(300), "iat": at(-5)}, None),
        ({"exp": at(-59), "iat": at(-500)}, None),
        ({"exp": at(-60), "iat": at(-500)}, "expired"),
        ({"exp": at(300), "iat": at(60)}, None),
        ({"exp": at(300), "iat": at(61)}, "future"),
        ({"exp": at(300), "iat": at(0), "nbf": at(60)}, None),
        ({"exp": at(300), "iat": at(0), "nbf": at(61)}, "not good yet"),
        ({"exp": at(300), "iat": at(0), "nbf": None}, "right time in nbf"),
        ({"iat": at(0)}, "right time in exp"),
        ({"exp": at(300)}, "right time in iat"),
        ({"exp": str(at(300)), "iat": at(0)}, "right time in exp"),
        ({"exp": True, "iat": at(0)}, "right time in exp"),
        ({"exp": 1e30, "iat": at(0)}, "right time in exp"),
        ({"exp": float("inf"), "iat": at(0)}, "right time in exp"),
        ({"exp": float("nan"), "iat": at(0)}, "right time in exp"),
        ({"exp": at(300), "iat": -1}, "right time in iat"),
    ],
)
def test_a_token_is_good_between_its_times_give_or_take_the_clocks(times: dict[str, Any], wrong: str | None) -> None:
    if wrong is None:
        assert good_until(times, NOW, SKEW) == datetime.fromtimestamp(times["exp"], UTC) + SKEW
    else:
        with pytest.raises(ClaimError, match=wrong):
            good_until(times, NOW, SKEW)


def test_who_it_is_names_the_subject_and_the_issuer_and_never_what_cannot_be_read() -> None:
    issuer = "https://id.lab"
    assert person({"sub": "42", "preferred_username": "ann"}, issuer) == "ann (42 at https://id.lab)"
    for other in ({}, {"preferred_username": ""}, {"preferred_username": "a\nb"}, {"preferred_username": ["ann"]}):
        assert person({"sub": "42", **other}, issuer) == "42 at https://id.lab"
    assert person({"sub": "42", "preferred_username": "\u202enna"}, issuer) == "42 at https://id.lab"
    for bad in ("", "x" * 256, "4\n2", "4\u202e2", 42, None):
        with pytest.raises(ClaimError):
            person({"sub": bad, "preferred_username": "ann"}, issuer)


def test_a_word_belongs_to_one_cookie() -> None:
    assert is_word_of("one", word_of("one"))
    for word in (word_of("two"), "", None, "one", "é" * 43):
        assert not is_word_of("one", word)


NEEDED = {
    "RIGBEAT_DATABASE_URL": "postgresql://-",
    "RIGBEAT_INGEST_DATABASE_URL": "postgresql://-",
    "RIGBEAT_AMQP_URL": "amqp://127.0.0.1",
}
OIDC = {
    "RIGBEAT_OIDC_ISSUER": "https://id.lab/realms/lab",
    "RIGBEAT_OIDC_AUDIENCE": "rigbeat",
    "RIGBEAT_OIDC_ROLES": '[{"claim": "groups", "value": "/lab-admins", "team": "lab", "role": "admin"}]',
}


def test_the_settings_of_an_issuer_are_whole_or_absent() -> None:
    assert load(Settings, NEEDED).issuer() is None
    issuer = load(Settings, NEEDED | OIDC).issuer()
    assert issuer is not None
    assert issuer.rules == (rule("groups", "/lab-admins", "admin", "lab"),)
    bad = [
        ({"RIGBEAT_OIDC_ROLES": ""}, "needs"),
        ({"RIGBEAT_OIDC_AUDIENCE": ""}, "needs"),
        ({"RIGBEAT_OIDC_ISSUER": ""}, "RIGBEAT_OIDC_ISSUER is not set"),
        ({"RIGBEAT_OIDC_ISSUER": "http://id.lab"}, "https"),
        ({"RIGBEAT_OIDC_ISSUER": "https://a:b@id.lab"}, "https"),
        ({"RIGBEAT_OIDC_ISSUER": "https://id.lab?x=1"}, "query"),
        ({"RIGBEAT_OIDC_JWKS_URL": "http://10.0.0.1/keys"}, "https"),
        ({"RIGBEAT_OIDC_CLOCK_SKEW_SECONDS": "301"}, "300"),
        ({"RIGBEAT_OIDC_ROLES": '[{"claim": "groups", "value": "x", "role": "admin"}]'}, "needs a team"),
        ({"RIGBEAT_OIDC_ROLES": '[{"claim": "groups", "value": "x", "team": "lab", "role": "host"}]'}, "role"),
        ({"RIGBEAT_OIDC_ROLES": '[{"claim": "groups", "value": "", "team": "lab", "role": "admin"}]'}, "value"),
        ({"RIGBEAT_OIDC_ROLES": '[{"claim": "g", "value": "x", "team": "a", "role": "admin", "r": 1}]'}, "[.]r:"),
        ({"RIGBEAT_PUBLIC_URL": "https://rigbeat.lab/api"}, "PUBLIC_URL"),
    ]
    for given, words in bad:
        with pytest.raises(SettingsError, match=words):
            load(Settings, NEEDED | OIDC | given)


def test_an_address_is_safe_over_tls_or_on_this_machine() -> None:
    for url in (
        "https://id.lab",
        "https://id.lab:8443/realms/lab",
        "http://127.0.0.1:9",
        "http://[::1]:9",
        "http://localhost",
    ):
        assert is_safe(url), url
    for url in (
        *(
            "http://id.lab",
            "http://127.0.0.1.evil.example",
            "http://localhost.evil.example",
            "http://127.0.0.1@evil.example",
        ),
        *(
            "https://",
            "https://id.lab:port",
            "file:///etc/passwd",
            "ftp://127.0.0.1",
            "https://id.lab#x",
            "id.lab",
            "http://[::1",
        ),
    ):
        assert not is_safe(url), url
