"""What every command takes (`--json`, `--home`, `--api-url`), before or after its name, and how every command fails."""

from __future__ import annotations

import functools
import inspect
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Concatenate

import typer

from cli import processes
from cli.client import Api
from cli.errors import CliError, ExitCode
from cli.home import Home
from cli.output import Output, plain
from cli.settings import Settings
from libs.chassis.exposure import hosts, is_loopback
from libs.chassis.settings import SettingsError, load

JsonOption = Annotated[bool, typer.Option("--json", help="Print the API's own objects as JSON.")]
HomeOption = Annotated[
    Path | None, typer.Option("--home", metavar="DIR", help="Folder of a system on this machine (RIGBEAT_HOME).")
]
ApiUrlOption = Annotated[
    str | None, typer.Option("--api-url", metavar="URL", help="Where the API listens (RIGBEAT_API_URL).")
]


@dataclass(frozen=True)
class Given:
    """The common options as they were typed."""

    as_json: bool = False
    home: Path | None = None
    api_url: str | None = None

    def over(self, other: Given) -> Given:
        """These, and the other's where these say nothing."""
        return Given(self.as_json or other.as_json, self.home or other.home, self.api_url or other.api_url)


@dataclass(frozen=True)
class Run:
    """One call of a command: what it was told, and where its answer goes."""

    settings: Settings
    home: Home
    api_url: str | None
    out: Output

    def api(self, **how: float) -> Api:
        """The API that is meant: named, else the one of the system in HOME. `how`: as `Api` takes it."""
        url = self._url()
        token = self._token(url)
        if token is not None and not token.isascii():
            raise CliError(ExitCode.USAGE, "The token is not one of Rigbeat's; check RIGBEAT_TOKEN.")
        return Api(url, token, ca_file=self.settings.trusted, **how)

    def _url(self) -> str:
        named = self.api_url or self.settings.api_url
        if named is not None:
            if not named.startswith(("http://", "https://")):
                raise CliError(ExitCode.USAGE, f"{named} is not a URL; write one such as http://127.0.0.1:8080.")
            if problem := self.settings.why_not(named):
                raise CliError(ExitCode.USAGE, f"The API's url: {problem}.")
            return named
        for process in known_processes(self.home):
            if process.name.startswith("api-") and process.port is not None:
                return f"http://127.0.0.1:{process.port}"
        raise CliError(
            ExitCode.OUT_OF_REACH,
            f"No system was started in {self.home.path}: start one with `rigbeat up`, or name the API with --api-url.",
        )

    def _token(self, url: str) -> str | None:
        if self.settings.token is not None:
            return self.settings.token.get_secret_value()
        if not all(is_loopback(host) for host in hosts(url)):
            return None  # HOME's is the operator's of the system here: no other machine is told it
        try:
            return self.home.token.read_text().strip()
        except FileNotFoundError:
            return None
        except PermissionError:
            raise CliError(
                ExitCode.USAGE, f"{self.home.token} belongs to another user; set RIGBEAT_TOKEN to a token of yours."
            ) from None


def known_processes(home: Home) -> list[processes.Process]:
    """`HOME/processes.json`; `CliError` when it cannot be understood."""
    try:
        return processes.read(home)
    except ValueError as error:
        raise CliError(ExitCode.NO, f"{error}; `rigbeat up` writes it anew.") from None


def command(function: Callable[Concatenate[Run, ...], None]) -> Callable[..., None]:
    """A command for typer: `Run` is made from the common options, which are added to the function's own."""
    signature = inspect.signature(function, eval_str=True)
    own = list(signature.parameters.values())[1:]
    keyword = inspect.Parameter.KEYWORD_ONLY
    common = [
        inspect.Parameter("as_json", keyword, default=False, annotation=JsonOption),
        inspect.Parameter("home", keyword, default=None, annotation=HomeOption),
        inspect.Parameter("api_url", keyword, default=None, annotation=ApiUrlOption),
    ]
    context = inspect.Parameter("context", inspect.Parameter.POSITIONAL_OR_KEYWORD, annotation=typer.Context)

    @functools.wraps(function)
    def called(context: typer.Context, **told: Any) -> None:
        given = Given(told.pop("as_json"), told.pop("home"), told.pop("api_url"))
        before = context.find_root().obj
        try:
            function(run_of(given.over(before) if isinstance(before, Given) else given), **told)
        except CliError as error:
            for line in (f"rigbeat: {error.sentence}", *error.more):
                sys.stderr.write(f"{plain(line)}\n")
            raise typer.Exit(error.code) from None

    parameters = [context, *own, *common]
    called.__signature__ = signature.replace(parameters=parameters)  # type: ignore[attr-defined]
    called.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters} | {"return": None}
    del called.__wrapped__  # typer would read the types of the function within
    return called


def run_of(given: Given) -> Run:
    """What a command is told, from the options and the environment. `CliError` when that is not right."""
    try:
        settings = load(Settings)
    except SettingsError as error:
        raise CliError(
            ExitCode.USAGE, "the environment is not right:", tuple(f"  {p}" for p in error.problems)
        ) from None
    return Run(settings, Home(given.home or settings.home), given.api_url, Output(as_json=given.as_json))
