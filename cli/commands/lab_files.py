"""`rigbeat apply`, `diff`, `export` and `schema`: deployments and locks as a file declares them."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import typer

from cli import completing
from cli.client import Api, Json
from cli.commands.carrying_out import Result, carry_out
from cli.errors import CliError, ExitCode
from cli.lab_file import plan as planning
from cli.lab_file import reading, schema, source, writing
from cli.lab_file.plan import Action, Plan, Step, World
from cli.lab_file.reading import Read
from cli.lab_file.source import Fault
from cli.options import Run, command
from cli.output import Column

_COLUMNS = (
    Column("action"),
    Column("kind"),
    Column("name"),
    Column("field"),
    Column("before", cut=True),
    Column("after", cut=True),
    Column("note", cut=True, spare=True),
)
_DONE = {Action.CREATE: "created", Action.CHANGE: "changed", Action.REPLACE: "replaced", Action.DELETE: "deleted"}

FileOption = Annotated[
    Path, typer.Option("-f", "--file", metavar="FILE", help="The file, such as lab.yaml; - is standard input.")
]
PruneOption = Annotated[
    bool, typer.Option("--prune", help="Delete, too, what the file owns (its key owns) and does not declare.")
]


@command
def apply(
    run: Run,
    file: FileOption,
    prune: PruneOption = False,
    replace: Annotated[
        bool,
        typer.Option("--replace", help="Delete and make anew what cannot be edited: host, device, script."),
    ] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask; for programs.")] = False,
) -> None:
    """Make deployments and device locks as a file declares them: the plan is shown, then you are asked."""
    if not yes and (run.out.as_json or str(file) == "-" or not (sys.stdin.isatty() and sys.stderr.isatty())):
        raise CliError(ExitCode.USAGE, "Nobody can be asked here; look with rigbeat diff, then apply with --yes.")
    read = _read(file)
    with run.api() as api:
        team, plan = _plan(api, file, read, prune=prune)
        if not run.out.as_json:
            _show(run, plan)
        if plan.replacements and not replace:
            raise CliError(
                ExitCode.USAGE,
                "Nothing is done: these must be deleted and made anew, which --replace does:",
                tuple(f"  {_at(file, read, step)}: {step.name}: {step.note}" for step in plan.replacements),
            )
        if plan.to_do and not yes and not typer.confirm("Do this?", err=True):
            raise CliError(ExitCode.NO, "Nothing was changed.")
        _do(run, api, file, read, team, plan)


@command
def diff(run: Run, file: FileOption, prune: PruneOption = False) -> None:
    """Show what apply would do. Exit code 1 when there is something, 0 when there is nothing."""
    read = _read(file)
    with run.api() as api:
        team, plan = _plan(api, file, read, prune=prune)
    if run.out.as_json:
        run.out.fields(_as_json(file, team, plan, ()))
    else:
        _show(run, plan)
    if plan.to_do:
        raise typer.Exit(ExitCode.NO)


@command
def export(
    run: Run,
    host: Annotated[
        str | None, typer.Option("--host", help="Only of this host.", autocompletion=completing.hosts)
    ] = None,
) -> None:
    """Print the team's deployments that are not over, and the locks, as a file for apply."""
    with run.api() as api:
        team = _team(api)
        there = _world(api, team)
    ours = [each for each in there.deployments if host in {None, each["host_name"]}]
    values = writing.declared(ours, [each for each in there.hosts if host in {None, each["name"]}])
    if run.out.as_json:
        run.out.fields(values)
    else:
        heading = [f"Deployments and device locks of the team {team['name']}.", "rigbeat apply -f FILE makes them so."]
        sys.stdout.write(writing.text_of(values, heading))


@command
def print_schema(run: Run) -> None:
    """Print the JSON Schema of these files, for editors."""
    sys.stdout.write(schema.text())


def _read(file: Path) -> Read:
    try:
        text = _content(file)
        read = reading.read(text.decode())
    except OSError as error:
        raise CliError(ExitCode.USAGE, f"{file} cannot be read: {error.strerror}.") from None
    except UnicodeDecodeError as error:
        line = text.count(b"\n", 0, error.start) + 1
        raise CliError(ExitCode.USAGE, f"{file}:{line}: This is not UTF-8.") from None
    if read.faults:
        raise _faulty(file, read.faults)
    return read


_MOST_BYTES = 4 * source.MOST_SIGNS + 1


def _content(file: Path) -> bytes:
    if str(file) == "-":
        content = sys.stdin.buffer.read(_MOST_BYTES)
    else:
        with file.open("rb") as opened:
            content = opened.read(_MOST_BYTES)
    if len(content) == _MOST_BYTES:
        raise CliError(ExitCode.USAGE, f"{file} is too large: at most {source.MOST_SIGNS} signs are read.")
    return content


def _faulty(file: Path, faults: Sequence[Fault]) -> CliError:
    number = "one fault" if len(faults) == 1 else f"{len(faults)} faults"
    lines = tuple(f"{file}:{each.place.line}:{each.place.column}: {each.sentence}" for each in faults)
    return CliError(ExitCode.USAGE, f"{file} has {number}; nothing is done:", lines)


def _plan(api: Api, file: Path, read: Read, *, prune: bool) -> tuple[Json, Plan]:
    assert read.file is not None
    if prune and read.file.owns is None:
        raise CliError(
            ExitCode.USAGE,
            f"{file} does not say what it owns, so nothing of it can be pruned; add owns: with patterns of names.",
        )
    team = _team(api)
    made = planning.make(read, _world(api, team), prune=prune)
    if isinstance(made, Plan):
        return team, made
    raise _faulty(file, made)


def _team(api: Api) -> Json:
    """The token's own: names are unique in it, and nobody else's things are touched."""
    for team in api.items("/teams"):
        if team["own"]:
            return team
    raise CliError(ExitCode.USAGE, "This token belongs to no team; a file is one team's, so use a token of it.")


def _world(api: Api, team: Json) -> World:
    deployments = [each for each in api.items("/deployments") if each["team_id"] == team["id"]]
    # An operator sees all hosts; the file is about those of its team.
    hosts = [each for each in api.items("/hosts") if team["id"] in {each["team_id"], *each["shared_teams"]}]
    now = datetime.fromtimestamp(time.time(), UTC)
    return World(team["id"], deployments, hosts, api.items("/scripts"), now)


def _do(run: Run, api: Api, file: Path, read: Read, team: Json, plan: Plan) -> None:
    results: list[Result] = []
    try:
        for result in carry_out(api, plan):
            results.append(result)
            did = "refused:" if result.refused is not None else _DONE[result.step.action]
            run.out.note(f"{did} {result.step.kind} {result.step.name}")
    finally:
        # Also when the API went away in between: what was done by then is told.
        if run.out.as_json:
            run.out.fields(_as_json(file, team, plan, results))
    refusals = [result for result in results if result.refused is not None]
    if refusals:
        raise CliError(
            ExitCode.REFUSED,
            f"{len(refusals)} of {len(results)} were refused:",
            tuple(line for result in refusals for line in _lines(file, read, result)),
        )


def _lines(file: Path, read: Read, result: Result) -> Iterator[str]:
    step, refused = result.step, result.refused
    assert refused is not None
    if not refused.errors:
        yield f"  {_at(file, read, step)}: {step.name}: {refused.sentence}"
    for error in refused.errors:
        hint = f" ({error['hint']})" if error.get("hint") else ""
        yield f"  {_at(file, read, step, str(error['field']))}: {step.name}: {error['message']}{hint}"


def _at(file: Path, read: Read, step: Step, *field: str) -> str:
    if step.number is None:
        return str(file)
    place = read.place(f"{step.kind}s", step.number, *field)
    return f"{file}:{place.line}:{place.column}"


def _show(run: Run, plan: Plan) -> None:
    rows = [row for step in plan.to_do for row in _rows(step)]
    if rows:
        run.out.many(rows, _COLUMNS)
        run.out.note(f"{plan.in_words()}.")
    else:
        run.out.note(f"No difference: {plan.in_words()}.")


def _rows(step: Step) -> Iterable[Mapping[str, Any]]:
    about = {"action": str(step.action), "kind": str(step.kind), "name": step.name, "note": step.note}
    for change in step.changes:
        yield about | {"field": change.field, "before": _shown(change.before), "after": _shown(change.after)}


def _shown(value: Any) -> Any:
    return str(int(value)) if isinstance(value, float) and value.is_integer() else value


def _as_json(file: Path, team: Json, plan: Plan, results: Sequence[Result]) -> dict[str, Any]:
    became = {id(result.step): result for result in results}

    def told(step: Step) -> dict[str, Any]:
        result = became.get(id(step))
        return {
            "action": str(step.action),
            "kind": str(step.kind),
            "name": step.name,
            "changes": [{"field": each.field, "before": each.before, "after": each.after} for each in step.changes],
            "note": step.note or None,
            "done": None if result is None else result.refused is None,
            "refused": None if result is None or result.refused is None else result.refused.sentence,
        }

    return {
        "file": str(file),
        "team": team["name"],
        "summary": plan.summary(),
        "steps": [told(step) for step in plan.steps],
    }
