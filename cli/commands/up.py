"""`rigbeat up`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from cli.errors import CliError, ExitCode
from cli.home import Home
from cli.options import Run, command
from libs.chassis.exposure import is_loopback


@command
def up(
    run: Run,
    port: Annotated[int | None, typer.Option(help="Port of the API.  [default: 8080]", min=1, max=65535)] = None,
    bind: Annotated[
        str | None, typer.Option(metavar="ADDRESS", help="Serve other machines too, on this address, over TLS.")
    ] = None,
    tls_port: Annotated[int, typer.Option(help="The port for other machines.", min=1, max=65535)] = 8443,
    tls_cert: Annotated[
        Path | None, typer.Option(metavar="FILE", help="PEM of the certificate, then of its issuers.")
    ] = None,
    tls_key: Annotated[Path | None, typer.Option(metavar="FILE", help="PEM of its key.")] = None,
    demo: Annotated[bool, typer.Option("--demo/--no-demo", help="Make sample deployments at the first start.")] = True,
) -> None:
    """Run the whole system here, in the foreground, until Ctrl-C.

    PostgreSQL, RabbitMQ, the API, two schedulers, and the host lab-1 with three virtual devices; all of it listens
    on this machine alone and keeps its state in the home. A second start continues where the first one ended.
    With --bind other machines reach the API, by TLS and with a token; nothing else ever leaves this machine.
    """
    _require_tls(bind, tls_cert, tls_key)
    try:
        # Not at the top: every other command does without the servers' programs and drivers.
        from cli.up.plan import Door
        from cli.up.system import up as bring_up
    except ModuleNotFoundError as missing:
        raise CliError(
            ExitCode.NO, f"{missing.name} is not installed: rigbeat up needs pip install 'rigbeat[stack]'."
        ) from None
    home = Home(run.home.path.absolute())
    door = None
    if bind is not None and tls_cert is not None and tls_key is not None:
        door = Door(bind, tls_port, tls_cert, tls_key)
    bring_up(home, run.settings, port, demo=demo, hints=_hints(run), door=door)


def _require_tls(bind: str | None, cert: Path | None, key: Path | None) -> None:
    given = [name for name, value in (("--tls-cert", cert), ("--tls-key", key)) if value is not None]
    if bind is None:
        if given:
            raise CliError(ExitCode.USAGE, f"{given[0]} is for other machines: say with --bind on which address.")
        return
    if is_loopback(bind) and not given:
        raise CliError(ExitCode.USAGE, f"{bind} is this machine, where it listens anyhow: leave --bind out.")
    if cert is None or key is None:
        raise CliError(
            ExitCode.USAGE,
            f"Tokens would cross the network to {bind} in the clear: give --tls-cert and --tls-key with --bind.",
        )


def _hints(run: Run) -> list[str]:
    where = "" if run.home.path == type(run.settings).model_fields["home"].default else f" --home {run.home.path}"
    lines = [
        (f"rigbeat{where} deployments list", "what is scheduled"),
        (f"rigbeat{where} executions list", "what ran, and why something did not"),
        (f"tail -f {run.settings.deployments_log}", "the log of the host"),
    ]
    longest = max(len(line) for line, _ in lines)
    return [*(f"  {line:<{longest}}   {what}" for line, what in lines), "Ctrl-C stops it."]
