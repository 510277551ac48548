"""Which deployment or execution is meant: people know names, programs ids; executions have ids alone."""

from __future__ import annotations

from typing import Annotated
from uuid import UUID

import typer

from cli import completing
from cli.client import Api
from cli.errors import CliError, ExitCode

Which = Annotated[
    str,
    typer.Argument(metavar="DEPLOYMENT", help="Its id or its name.", autocompletion=completing.deployments),
]
Whiches = Annotated[
    list[str],
    typer.Argument(
        metavar="DEPLOYMENT", help="Its id or its name; may be several.", autocompletion=completing.deployments
    ),
]


def deployment_id(api: Api, which: str) -> str:
    """The id, or that of the deployment with exactly this name; names are unique among those not deleted."""
    if is_id(which):
        return which
    for deployment in api.items("/deployments", {"q": which}):
        if deployment["name"] == which:
            return str(deployment["id"])
    raise CliError(ExitCode.REFUSED, f"There is no deployment {which!r}.")


def execution_id(which: str) -> str:
    """The id, which it must be."""
    if not is_id(which):
        raise CliError(ExitCode.USAGE, f"{which!r} is not an id of an execution; see rigbeat executions list.")
    return which


def is_id(text: str) -> bool:
    """Whether this is an id."""
    try:
        UUID(text)
    except ValueError:
        return False
    return True
