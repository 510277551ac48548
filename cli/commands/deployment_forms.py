"""`rigbeat deployments create | edit | copy`: what is written of a deployment."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from cli import completing
from cli.commands.deployment_columns import COLUMNS
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
from cli.commands.which import Which, deployment_id
from cli.errors import CliError, ExitCode
from cli.options import Run, command

_CLEARABLE = ("parameters", "userinterface_name", "start_date", "end_date", "max_executions", "silence_timeout_seconds")

CronOption = Annotated[str | None, typer.Option("--cron", help="Five fields, such as '*/10 * * * *'.")]
ClearOption = Annotated[
    list[str] | None,
    typer.Option("--clear", metavar="FIELD", help=f"Back to nothing: {', '.join(_CLEARABLE)}."),
]


@command
def create(
    run: Run,
    script: Annotated[str, typer.Option(help="Such as health.py.", autocompletion=completing.scripts)],
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
    body = given(
        script_name=script,
        cron_expression=cron,
        host_name=host,
        device_id=device,
        targets=[target_of(each) for each in target] if target else None,
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
        run.out.many(api.post("/deployments", body)["items"], COLUMNS)


@command
def edit(
    run: Run,
    which: Which,
    name: Annotated[str | None, typer.Option(help="Another name.")] = None,
    cron: CronOption = None,
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
    clear: ClearOption = None,
    if_match: Annotated[
        int | None, typer.Option(metavar="VERSION", help="Refuse when somebody else has changed it since.")
    ] = None,
) -> None:
    """Edit a deployment, at once; what is not given stays. Host and device stay: copy it."""
    body = given(
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
    ) | cleared(clear)
    if not body:
        raise CliError(ExitCode.USAGE, "Nothing to change was given; see rigbeat deployments edit --help.")
    with run.api() as api:
        run.out.one(api.patch(f"/deployments/{deployment_id(api, which)}", body, if_match), COLUMNS)


@command
def copy(
    run: Run,
    which: Which,
    host: HostOption = None,
    device: DeviceOption = None,
    script: Annotated[str | None, typer.Option(help="Another script, such as health.py.")] = None,
    name: Annotated[str | None, typer.Option(help="Default: the script's name and the time.")] = None,
    cron: CronOption = None,
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
    clear: ClearOption = None,
) -> None:
    """Create another one like it, which begins anew; what is given differs. Also of one that is over or deleted."""
    body = given(
        host_name=host,
        device_id=device,
        script_name=script,
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
    ) | cleared(clear)
    with run.api() as api:
        run.out.one(api.post(f"/deployments/{deployment_id(api, which)}/copy", body), COLUMNS)


def cleared(fields: list[str] | None) -> dict[str, Any]:
    """What goes back to nothing. `CliError` for a field that cannot."""
    unknown = sorted(set(fields or ()) - set(_CLEARABLE))
    if unknown:
        raise CliError(ExitCode.USAGE, f"{unknown[0]} cannot be cleared, only {', '.join(_CLEARABLE)}.")
    return dict.fromkeys(fields or ())


def target_of(text: str) -> dict[str, str]:
    """HOST/DEVICE. `CliError` for anything else."""
    host, slash, device = text.partition("/")
    if not (host and slash and device):
        raise CliError(ExitCode.USAGE, f"{text!r} is no target; write HOST/DEVICE, such as lab-1/stb-1.")
    return {"host_name": host, "device_id": device}


def given(**fields: Any) -> dict[str, Any]:
    """What was given of these."""
    return {name: value for name, value in fields.items() if value is not None}
