"""`rigbeat deployments`: what is scheduled, and changing it."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from cli.client import Api, Json
from cli.commands.schedule_options import (
    CatchUpOption,
    CatchUpWindowOption,
    DeviceOption,
    EndOption,
    HostOption,
    InterfaceOption,
    MaxExecutionsOption,
    MaxWaitOption,
    OnDeviceBusyOption,
    ParametersOption,
    SilenceOption,
    StartOption,
    TimeoutOption,
    TimezoneOption,
)
from cli.commands.which import deployment_id
from cli.errors import CliError, ExitCode
from cli.options import Run, command
from cli.output import Column
from libs.contracts import DeploymentStatus

app = typer.Typer(no_args_is_help=True, help="What is scheduled: list, create, edit, pause, resume, stop, run, delete.")

_COLUMNS = (
    Column("id"),
    Column("name"),
    Column("status"),
    Column("host_name"),
    Column("device_id"),
    Column("script_name", spare=True),
    Column("cron_expression"),
    Column("timezone", spare=True),
    Column("next_fire_at", spare=True),
    Column("execution_count", spare=True),
    Column("max_executions", spare=True),
    Column("description", cut=True, spare=True),
)
_RUN_COLUMNS = (Column("id"), Column("deployment_name"), Column("status"), Column("scheduled_at"))
_CLEARABLE = ("parameters", "userinterface_name", "start_date", "end_date", "max_executions", "silence_timeout_seconds")

Which = Annotated[str, typer.Argument(metavar="DEPLOYMENT", help="Its id or its name.")]
ReasonOption = Annotated[str | None, typer.Option("--reason", help="Why; kept and shown.")]


@app.command("list")
@command
def list_deployments(
    run: Run,
    status: Annotated[list[DeploymentStatus] | None, typer.Option(help="Only these; may be given again.")] = None,
    host: Annotated[str | None, typer.Option(help="Only of this host.")] = None,
    device: Annotated[str | None, typer.Option(help="Only of this device.")] = None,
    script: Annotated[str | None, typer.Option(help="Only of this script.")] = None,
    text: Annotated[str | None, typer.Option(help="Only with this text in it.")] = None,
    deleted: Annotated[bool, typer.Option("--deleted", help="Deleted ones too.")] = False,
    limit: Annotated[int | None, typer.Option(min=1, help="At most so many; all unless given.")] = None,
) -> None:
    """List the deployments, newest first."""
    filters = {
        "status": [each.value for each in status or []],
        "host_name": host,
        "device_id": device,
        "script_name": script,
        "q": text,
        "deleted": deleted or None,
    }
    with run.api() as api:
        run.out.many(api.items("/deployments", filters, limit), _COLUMNS)


@app.command()
@command
def show(run: Run, which: Which) -> None:
    """Show one deployment with all its fields."""
    with run.api() as api:
        run.out.fields(api.get(f"/deployments/{deployment_id(api, which)}"))


@app.command()
@command
def create(
    run: Run,
    script: Annotated[str, typer.Option(help="Such as health.py.")],
    cron: Annotated[str, typer.Option(help="Five fields, such as '*/10 * * * *'.")],
    host: HostOption = None,
    device: DeviceOption = None,
    target: Annotated[
        list[str] | None, typer.Option(metavar="HOST/DEVICE", help="One deployment for each; may be given again.")
    ] = None,
    name: Annotated[str | None, typer.Option(help="Default: the script's name and the time.")] = None,
    parameters: ParametersOption = None,
    userinterface: InterfaceOption = None,
    tz: TimezoneOption = None,
    start: StartOption = None,
    end: EndOption = None,
    max_executions: MaxExecutionsOption = None,
    on_device_busy: OnDeviceBusyOption = None,
    max_wait: MaxWaitOption = None,
    catch_up: CatchUpOption = None,
    catch_up_window: CatchUpWindowOption = None,
    timeout: TimeoutOption = None,
    silence_timeout: SilenceOption = None,
) -> None:
    """Create a deployment, or one for each --target: all of them or none."""
    body = _given(
        script_name=script,
        cron_expression=cron,
        host_name=host,
        device_id=device,
        targets=[_target(each) for each in target] if target else None,
        name=name,
        parameters=parameters,
        userinterface_name=userinterface,
        timezone=tz,
        start_date=start,
        end_date=end,
        max_executions=max_executions,
        on_device_busy=on_device_busy,
        max_wait_seconds=max_wait,
        catch_up=catch_up,
        catch_up_window_seconds=catch_up_window,
        timeout_seconds=timeout,
        silence_timeout_seconds=silence_timeout,
    )
    with run.api() as api:
        run.out.many(api.post("/deployments", body)["items"], _COLUMNS)


@app.command()
@command
def edit(
    run: Run,
    which: Which,
    name: Annotated[str | None, typer.Option(help="Another name.")] = None,
    cron: Annotated[str | None, typer.Option(help="Five fields, such as '*/10 * * * *'.")] = None,
    parameters: ParametersOption = None,
    userinterface: InterfaceOption = None,
    tz: TimezoneOption = None,
    start: StartOption = None,
    end: EndOption = None,
    max_executions: MaxExecutionsOption = None,
    on_device_busy: OnDeviceBusyOption = None,
    max_wait: MaxWaitOption = None,
    catch_up: CatchUpOption = None,
    catch_up_window: CatchUpWindowOption = None,
    timeout: TimeoutOption = None,
    silence_timeout: SilenceOption = None,
    clear: Annotated[
        list[str] | None, typer.Option(metavar="FIELD", help=f"Back to nothing: {', '.join(_CLEARABLE)}.")
    ] = None,
    if_match: Annotated[
        int | None, typer.Option(metavar="VERSION", help="Refuse when somebody else has changed it since.")
    ] = None,
) -> None:
    """Edit a deployment, at once; what is not given stays. Host and device stay: create another one there."""
    body = _given(
        name=name,
        cron_expression=cron,
        parameters=parameters,
        userinterface_name=userinterface,
        timezone=tz,
        start_date=start,
        end_date=end,
        max_executions=max_executions,
        on_device_busy=on_device_busy,
        max_wait_seconds=max_wait,
        catch_up=catch_up,
        catch_up_window_seconds=catch_up_window,
        timeout_seconds=timeout,
        silence_timeout_seconds=silence_timeout,
    ) | dict.fromkeys(clear or ())
    unknown = sorted(set(clear or ()) - set(_CLEARABLE))
    if unknown:
        raise CliError(ExitCode.USAGE, f"{unknown[0]} cannot be cleared, only {', '.join(_CLEARABLE)}.")
    if not body:
        raise CliError(ExitCode.USAGE, "Nothing to change was given; see rigbeat deployments edit --help.")
    with run.api() as api:
        run.out.one(api.patch(f"/deployments/{deployment_id(api, which)}", body, if_match), _COLUMNS)


@app.command()
@command
def pause(run: Run, which: Which, reason: ReasonOption = None) -> None:
    """Fire no more until it is resumed."""
    _act(run, which, "pause", reason)


@app.command()
@command
def resume(run: Run, which: Which, reason: ReasonOption = None) -> None:
    """Fire again from now on; what fell into the pause is not missed."""
    _act(run, which, "resume", reason)


@app.command()
@command
def stop(run: Run, which: Which, reason: ReasonOption = None) -> None:
    """Fire no more, ever."""
    _act(run, which, "stop", reason)


@app.command("run")
@command
def run_now(run: Run, which: Which, reason: ReasonOption = None) -> None:
    """Run it once, now, besides its schedule."""
    with run.api() as api:
        path = f"/deployments/{deployment_id(api, which)}/run"
        run.out.one(api.post(path, _given(reason=reason)), _RUN_COLUMNS)


@app.command()
@command
def delete(run: Run, which: Which) -> None:
    """Stop it and take it out of the lists; its history stays."""
    with run.api() as api:
        deleted = api.delete(f"/deployments/{deployment_id(api, which)}")
        if deleted is not None:
            run.out.one(deleted, _COLUMNS)


def _act(run: Run, which: str, action: str, reason: str | None) -> None:
    with run.api() as api:
        changed = _post(api, which, action, reason)
        run.out.one(changed, _COLUMNS)
    if changed.get("host_acknowledged") is False:
        run.out.note("The host has not confirmed it yet: what it already took may still start.")


def _post(api: Api, which: str, action: str, reason: str | None) -> Json:
    return api.post(f"/deployments/{deployment_id(api, which)}/{action}", _given(reason=reason))


def _target(text: str) -> dict[str, str]:
    host, slash, device = text.partition("/")
    if not (host and slash and device):
        raise CliError(ExitCode.USAGE, f"{text!r} is no target; write HOST/DEVICE, such as lab-1/stb-1.")
    return {"host_name": host, "device_id": device}


def _given(**fields: Any) -> dict[str, Any]:
    return {name: value for name, value in fields.items() if value is not None}
