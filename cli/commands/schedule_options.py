"""The options that creating and editing a deployment share. What they mean is checked by the API alone."""

from __future__ import annotations

from typing import Annotated

import typer

from cli import completing
from libs.contracts import CatchUp, OnDeviceBusy

HostOption = Annotated[str | None, typer.Option("--host", help="Such as lab-1.", autocompletion=completing.hosts)]
DeviceOption = Annotated[str | None, typer.Option("--device", help="Such as stb-1.", autocompletion=completing.devices)]
ParametersOption = Annotated[str | None, typer.Option("--parameters", help="The script's, such as '--limit 2'.")]
InterfaceOption = Annotated[str | None, typer.Option("--userinterface", help="Name of the user interface under test.")]
TimezoneOption = Annotated[
    str | None, typer.Option("--tz", metavar="ZONE", help="Such as Europe/Berlin; UTC at first.")
]
StartOption = Annotated[str | None, typer.Option("--start", metavar="TIME", help="First moment; RFC 3339 with zone.")]
EndOption = Annotated[str | None, typer.Option("--end", metavar="TIME", help="Expires then; RFC 3339 with zone.")]
MaxExecutionsOption = Annotated[int | None, typer.Option("--max-executions", help="Completes after so many.")]
OnDeviceBusyOption = Annotated[
    OnDeviceBusy | None, typer.Option("--on-device-busy", help="Skip the run, or let it wait for the device.")
]
MaxWaitOption = Annotated[
    int | None, typer.Option("--max-wait", metavar="SECONDS", help="Longest wait for the device.")
]
CatchUpOption = Annotated[
    CatchUp | None, typer.Option("--catch-up", help="Of what was missed: the latest, all, or none.")
]
CatchUpWindowOption = Annotated[
    int | None, typer.Option("--catch-up-window", metavar="SECONDS", help="How late it may still start.")
]
TimeoutOption = Annotated[float | None, typer.Option("--timeout", metavar="SECONDS", help="Longest run.")]
SilenceOption = Annotated[
    float | None, typer.Option("--silence-timeout", metavar="SECONDS", help="Longest time without output.")
]
