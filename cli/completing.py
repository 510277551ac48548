"""What the shell offers on Tab: names of the API's things. Quietly nothing when there is no API, or it refuses.

Only names of plain signs are offered: shells read an offer as a part of their language, and anybody may name a
deployment.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import typer

from cli.client import Api
from cli.errors import CliError
from cli.options import Given, run_of

_PATIENCE_SECONDS = 1.5
_MOST = 500
_PLAIN = re.compile(r"[\w.@+:/-]+")
_ID_BEGINS = 4
"""Ids are offered once so much of one is there; before that they are in the way of the names."""

Offer = tuple[str, str]


def deployments(ctx: typer.Context, incomplete: str) -> list[Offer]:
    """Names of deployments with what they are, and ids where one was begun."""
    return _ask(ctx, lambda api: _deployments(api, incomplete))


def hosts(ctx: typer.Context, incomplete: str) -> list[Offer]:
    """Names of hosts that are not revoked, with their status."""
    return _ask(ctx, lambda api: _hosts(api, incomplete))


def devices(ctx: typer.Context, incomplete: str) -> list[Offer]:
    """Ids of devices: of the host that stands before, or of all."""
    chosen = ctx.params.get("host")
    return _ask(ctx, lambda api: _devices(api, incomplete, chosen))


def scripts(ctx: typer.Context, incomplete: str) -> list[Offer]:
    """Names of scripts, with the hosts that have them."""
    return _ask(ctx, lambda api: _scripts(api, incomplete))


def _deployments(api: Api, incomplete: str) -> list[Offer]:
    offers = []
    for each in api.items("/deployments", limit=_MOST):
        what = f"{each['status']}, {each['script_name']} on {each['host_name']}/{each['device_id']}"
        offers.append((each["name"], what))
        if len(incomplete) >= _ID_BEGINS:
            offers.append((each["id"], each["name"]))
    return _fitting(offers, incomplete)


def _hosts(api: Api, incomplete: str) -> list[Offer]:
    return _fitting(
        [(each["name"], each["status"]) for each in api.items("/hosts", limit=_MOST) if each["status"] != "revoked"],
        incomplete,
    )


def _devices(api: Api, incomplete: str, host: str | None) -> list[Offer]:
    found = [
        (device["device_id"], f"{device['status']}, of {each['name']}")
        for each in api.items("/hosts", limit=_MOST)
        if host in {None, each["name"]}
        for device in each["devices"]
    ]
    return _fitting(found, incomplete)


def _scripts(api: Api, incomplete: str) -> list[Offer]:
    hosts_of: dict[str, list[str]] = {}
    for each in api.items("/scripts", limit=_MOST):
        hosts_of.setdefault(each["name"], []).append(each["host_name"])
    return _fitting([(name, ", ".join(found)) for name, found in hosts_of.items()], incomplete)


def _fitting(offers: list[Offer], incomplete: str) -> list[Offer]:
    """Those that begin so; what is said of them is plain, too."""
    return [
        (value, re.sub(r"[^\w.,@+:/ -]", " ", told))
        for value, told in offers
        if value.startswith(incomplete) and _PLAIN.fullmatch(value)
    ]


def _ask(ctx: typer.Context, what: Callable[[Api], list[Offer]]) -> list[Offer]:
    try:
        with run_of(_given(ctx.params).over(_given(ctx.find_root().params))).api(patience=_PATIENCE_SECONDS) as api:
            return what(api)
    except CliError:
        return []


def _given(params: Mapping[str, Any]) -> Given:
    home = params.get("home")
    return Given(home=None if home is None else Path(home), api_url=params.get("api_url"))
