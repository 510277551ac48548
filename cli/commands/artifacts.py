"""What scripts left behind: `rigbeat executions artifacts` and `report`."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, BinaryIO
from urllib.parse import quote

import typer

from cli import screen
from cli.client import Api
from cli.commands.which import execution_id
from cli.errors import CliError, ExitCode
from cli.options import Run, command
from cli.output import Column

_COLUMNS = (Column("name"), Column("size"), Column("url"))

Which = Annotated[str, typer.Argument(metavar="EXECUTION", help="Its id.")]
Into = Annotated[Path | None, typer.Option("--output", "-o", metavar="FILE", help="Write it to this file.")]


def add_to(app: typer.Typer) -> None:
    """Give `app` the two commands."""
    app.command("artifacts")(artifacts)
    app.command("report")(report)


@command
def artifacts(
    run: Run,
    which: Which,
    name: Annotated[str | None, typer.Option("--get", metavar="NAME", help="Fetch this one.")] = None,
    output: Into = None,
) -> None:
    """List the files that the script left behind, or fetch one of them (to standard output without -o)."""
    path = f"/executions/{execution_id(which)}/artifacts"
    if name is None and output is not None:
        raise CliError(ExitCode.USAGE, "-o needs --get: say which of the files is to be written there.")
    with run.api() as api:
        if name is None:
            run.out.many(api.get(path)["items"], _COLUMNS)
        else:
            _fetch(api, f"{path}/{quote(name)}", output)


@command
def report(run: Run, which: Which, output: Into = None) -> None:
    """Print where the report is, or write it to a file; exit code 1 if the script left none."""
    path = f"/executions/{execution_id(which)}"
    with run.api() as api:
        execution = api.get(path)
        if execution["report_url"] is None:
            raise CliError(ExitCode.NO, "There is no report: the script left no report.html behind.")
        if output is not None:
            _fetch(api, f"{path}/report", output)
        elif run.out.as_json:
            run.out.fields({"report_url": f"{api.url}{execution['report_url']}"})
        else:
            sys.stdout.write(f"{api.url}{execution['report_url']}\n")


def _fetch(api: Api, path: str, output: Path | None) -> None:
    with api.stream(path) as answer:
        if output is None:
            screen.write(answer.iter_bytes())
            return
        try:
            with output.open("wb") as file:
                _copy(answer.iter_bytes(), file)
        except OSError as error:
            raise CliError(ExitCode.USAGE, f"{output} cannot be written: {error.strerror}") from error


def _copy(parts: Iterator[bytes], target: BinaryIO) -> None:
    target.writelines(parts)
    target.flush()
