"""The command `rigbeat`: its parts put together."""

from __future__ import annotations

import typer

from cli.commands import dead_letters, deployments, executions, hosts, retention, scripts, teams, tokens
from cli.commands.audit import audit
from cli.commands.broker import broker
from cli.commands.lab_files import apply, diff, export, print_schema
from cli.commands.login_link import login_link
from cli.commands.next import next_fires
from cli.commands.recover import recover
from cli.commands.status import status
from cli.commands.up import up
from cli.commands.verify import verify
from cli.commands.why import why
from cli.options import ApiUrlOption, Given, HomeOption, JsonOption

app = typer.Typer(
    name="rigbeat",
    help="Distributed cron for device labs: every fire has one row, every refusal a reason.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)


@app.callback()
def common(
    context: typer.Context, as_json: JsonOption = False, home: HomeOption = None, api_url: ApiUrlOption = None
) -> None:
    """Keep what is given before the command; the command itself takes the same."""
    context.obj = Given(as_json, home, api_url)


app.command()(up)
app.command()(status)
app.command("next")(next_fires)
app.command()(why)
app.command()(verify)
app.command()(recover)
app.command()(broker)
app.command()(audit)
app.command("login-link")(login_link)
app.command()(apply)
app.command()(diff)
app.command()(export)
app.command("schema")(print_schema)
app.add_typer(deployments.app, name="deployments")
app.add_typer(executions.app, name="executions")
app.add_typer(hosts.app, name="hosts")
app.add_typer(scripts.app, name="scripts")
app.add_typer(dead_letters.app, name="dead-letters")
app.add_typer(tokens.app, name="tokens")
app.add_typer(teams.app, name="teams")
app.add_typer(retention.app, name="retention")
