"""`rigbeat up`."""

from __future__ import annotations

from typing import Annotated

import typer

from cli.errors import CliError, ExitCode
from cli.home import Home
from cli.options import Run, command


@command
def up(
    run: Run,
    port: Annotated[int | None, typer.Option(help="Port of the API.  [default: 8080]", min=1, max=65535)] = None,
    demo: Annotated[bool, typer.Option("--demo/--no-demo", help="Make sample deployments at the first start.")] = True,
) -> None:
    """Run the whole system here, in the foreground, until Ctrl-C.

    PostgreSQL, RabbitMQ, the API, two schedulers, and the host lab-1 with three virtual devices; all of it listens
    on this machine alone and keeps its state in the home. A second start continues where the first one ended.
    """
    try:
        # Not at the top: every other command does without the servers' programs and drivers.
        from cli.up.system import up as bring_up
    except ModuleNotFoundError as missing:
        raise CliError(
            ExitCode.NO, f"{missing.name} is not installed: rigbeat up needs pip install 'rigbeat[stack]'."
        ) from None
    home = Home(run.home.path.absolute())
    bring_up(home, run.settings, port, demo=demo, hints=_hints(run))


def _hints(run: Run) -> list[str]:
    where = "" if run.home.path == type(run.settings).model_fields["home"].default else f" --home {run.home.path}"
    lines = [
        (f"rigbeat{where} deployments list", "what is scheduled"),
        (f"rigbeat{where} executions list", "what ran, and why something did not"),
        (f"tail -f {run.settings.deployments_log}", "the log of the host"),
    ]
    longest = max(len(line) for line, _ in lines)
    return [*(f"  {line:<{longest}}   {what}" for line, what in lines), "Ctrl-C stops it."]
