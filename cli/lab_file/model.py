"""What a lab file may say: the API's own words, checked as the API checks them.

What is not said has the API's default, but for `paused`: whether a deployment is paused is the file's business only
when the file says so, because people pause for reasons of the moment.
"""

from __future__ import annotations

import shlex
import unicodedata
from datetime import UTC, datetime
from typing import Annotated, Any

from pydantic import AfterValidator, AwareDatetime, BaseModel, BeforeValidator, ConfigDict, Field, StringConstraints
from pydantic import model_validator as checked_whole
from pydantic_core import PydanticCustomError

from libs.contracts import CatchUp, OnDeviceBusy
from libs.schedule import CronError, resolve_hash, zone

MOST_ENTRIES = 500
_TURNS = frozenset("\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")
_FIRST_YEAR, _LAST_YEAR = 1970, 9000


def refusal(sentence: str) -> PydanticCustomError:
    """A refused value, in a whole sentence; braces in it mean nothing."""
    return PydanticCustomError("refused", "{sentence}", {"sentence": sentence})


def _plain(text: str, allowed: str = "") -> str:
    if any(unicodedata.category(sign) in {"Cc", "Cs", "Zl", "Zp"} and sign not in allowed for sign in text):
        raise refusal("There is a control character in it; write plain text on one line.")
    if not _TURNS.isdisjoint(text):
        raise refusal("There is a sign in it that turns the direction of reading; write the letters alone.")
    return text


def _splittable(text: str) -> str:
    _plain(text, "\t\n")
    try:
        shlex.split(text)
    except ValueError as error:
        raise refusal(f"The parameters cannot be split into arguments ({error}); close every quote.") from None
    return text


def _script(name: str) -> str:
    if name.startswith(("/", "\\")) or ".." in name.replace("\\", "/").split("/"):
        raise refusal(f"{name} leaves the folder of the scripts; write a path inside of it, such as health.py.")
    return name


def _cron(expression: str) -> str:
    try:
        resolve_hash(expression, "")
    except CronError as error:
        raise refusal(f"{error.message}. {error.hint}".rstrip()) from None
    return expression


def _zone(name: str) -> str:
    try:
        zone(name)
    except CronError as error:
        raise refusal(f"{error.message}. {error.hint}".rstrip()) from None
    return name


def _text_only(value: Any) -> Any:
    if value is not None and not isinstance(value, str | datetime):
        raise refusal(f"{value} is not a time; write RFC 3339, such as 2026-11-24T08:00:00Z.")
    return value


def _in_utc(at: datetime) -> datetime:
    try:
        at = at.astimezone(UTC)
    except OverflowError:
        raise refusal("This year is outside of the calendar.") from None
    if not _FIRST_YEAR <= at.year < _LAST_YEAR:
        raise refusal(f"The year {at.year} is not between {_FIRST_YEAR} and {_LAST_YEAR}.")
    return at


Label = Annotated[str, StringConstraints(min_length=1, max_length=255), AfterValidator(_plain)]
Note = Annotated[str, StringConstraints(max_length=1000), AfterValidator(_plain)]
When = Annotated[AwareDatetime, BeforeValidator(_text_only), AfterValidator(_in_utc)]
_Seconds = Annotated[float, Field(strict=True, gt=0, le=31_536_000)]


class Declared(BaseModel):
    """A part of a lab file: a key that is not known is refused."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False, use_attribute_docstrings=True)


class Policies(Declared):
    """What a deployment may say besides where and when it runs; absent is the API's default."""

    parameters: Annotated[str, StringConstraints(max_length=10_000), AfterValidator(_splittable)] | None = None
    """The script's arguments, such as --limit 2."""
    userinterface_name: Note = ""
    """Name of the user interface under test: the script's first argument."""
    timezone: Annotated[str, StringConstraints(max_length=255), AfterValidator(_zone)] = "UTC"
    """An IANA name, such as Europe/Berlin."""
    start_date: When | None = None
    """First moment; RFC 3339 with zone."""
    end_date: When | None = None
    """It expires then; RFC 3339 with zone."""
    max_executions: Annotated[int, Field(strict=True, ge=1, le=1_000_000_000)] | None = None
    """It completes after so many."""
    catch_up: CatchUp = CatchUp.LATEST
    """Of what was missed: the latest, all, or none is run afterwards."""
    catch_up_window_seconds: Annotated[int, Field(strict=True, ge=1, le=31_536_000)] = 600
    """How late it may still start."""
    on_device_busy: OnDeviceBusy = OnDeviceBusy.SKIP
    """Skip the run when the device is taken, or let it wait (queue)."""
    max_wait_seconds: Annotated[int, Field(strict=True, ge=0, le=31_536_000)] = 3600
    """Longest wait for the device, with on_device_busy: queue."""
    timeout_seconds: _Seconds = 3600
    """Longest run."""
    silence_timeout_seconds: _Seconds | None = None
    """Longest time without output."""


class Deployment(Policies):
    """A script on one device of one host, on a schedule, known by its name."""

    name: Label
    """Unique in the team: who renames it in the file means another one."""
    host_name: Label
    """Such as lab-1."""
    device_id: Label
    """Such as stb-1."""
    script_name: Annotated[Label, AfterValidator(_script)]
    """A path under the scripts' folder, such as health.py."""
    cron_expression: Annotated[str, StringConstraints(max_length=1000), AfterValidator(_cron)]
    """Five fields, such as */10 * * * *; H is a fixed place of its own for each name."""
    paused: Annotated[bool, Field(strict=True)] | None = None
    """Whether it is paused; absent: as people left it."""
    paused_reason: Note | None = None
    """Why it is paused; kept and shown when it gets paused."""

    @checked_whole(mode="after")
    def _fits_together(self) -> Deployment:
        if self.paused_reason is not None and not self.paused:
            raise refusal("paused_reason is given without paused: true.")
        if self.start_date is not None and self.end_date is not None and self.end_date <= self.start_date:
            raise refusal("The end is not after the start; choose a later end_date or an earlier start_date.")
        return self


class Defaults(Policies):
    """What every deployment of the file has, unless it says otherwise itself (null: the API's default)."""

    host_name: Label | None = None
    """Such as lab-1."""
    device_id: Label | None = None
    """Such as stb-1."""
    script_name: Annotated[Label, AfterValidator(_script)] | None = None
    """Such as health.py."""
    cron_expression: Annotated[str, StringConstraints(max_length=1000), AfterValidator(_cron)] | None = None
    """Such as 0 3 * * *."""
    paused: Annotated[bool, Field(strict=True)] | None = None
    """Whether all of them are paused."""
    paused_reason: Note | None = None
    """Why they are paused."""


class Lock(Declared):
    """A device that is taken, by whoever applies the file; nothing starts on it."""

    host_name: Label
    """Such as lab-1."""
    device_id: Label
    """Such as stb-1."""
    reason: Annotated[Note, StringConstraints(min_length=1)]
    """Why; everybody who wonders reads it."""
    expires_at: When | None = None
    """Until when, at most 30 days; absent: until it is unlocked. Once it has passed, the entry means nothing."""


class Owns(Declared):
    """What --prune may take away when it is not in the file. Patterns as a shell's: * and ? and [a-z]."""

    deployments: Annotated[tuple[Label, ...], Field(max_length=MOST_ENTRIES)] = ()
    """Patterns of names, such as nightly-*; every deployment of the file must fit one of them."""
    locks: Annotated[tuple[Label, ...], Field(max_length=MOST_ENTRIES)] = ()
    """Patterns of HOST/DEVICE, such as lab-1/*; every lock of the file must fit one of them."""


class LabFile(Declared):
    """Deployments and device locks of one team, as they are to be."""

    owns: Owns | None = None
    """What --prune may take away; without it, nothing."""
    defaults: Defaults = Defaults()
    """What every deployment of the file has, unless it says otherwise."""
    deployments: Annotated[tuple[Deployment, ...], Field(max_length=MOST_ENTRIES)] = ()
    """What is scheduled."""
    locks: Annotated[tuple[Lock, ...], Field(max_length=MOST_ENTRIES)] = ()
    """Which devices are taken."""
