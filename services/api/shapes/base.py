"""What all shapes have in common, and the types of fields that people write."""

from __future__ import annotations

import shlex
import unicodedata
from datetime import UTC, datetime
from typing import Annotated, Any, Generic, TypeVar

from pydantic import AfterValidator, AwareDatetime, BaseModel, BeforeValidator, ConfigDict, Field, StringConstraints
from pydantic_core import PydanticCustomError

from libs.schedule import CronError, resolve_hash, zone

T = TypeVar("T")

_BREAKS = "\t\n"
# Signs that turn around what stands before or after them: a name would be read as another. Letters that run from right
# to left need none of them.
_TURNS = frozenset("\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")
_FIRST_YEAR, _LAST_YEAR = 1970, 9000


class Shape(BaseModel):
    """Something that the API answers; what is absent is null."""

    model_config = ConfigDict(frozen=True)


class Body(BaseModel):
    """Something that people send: a field that is not known is refused."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class Page(Shape, Generic[T]):
    """A part of a list; `next` is the cursor of the following one, null at the end."""

    items: list[T]
    next: str | None


class Items(Shape, Generic[T]):
    """What was made in one go."""

    items: list[T]


def refusal(message: str, hint: str = "") -> PydanticCustomError:
    """A refused value, in words; braces in them mean nothing."""
    return PydanticCustomError("refused", "{sentence}", {"sentence": message, "hint": hint})


def _has_control(text: str, allowed: str = "") -> bool:
    return any(unicodedata.category(sign) in {"Cc", "Cs", "Zl", "Zp"} and sign not in allowed for sign in text)


def _printable(text: str) -> str:
    if _has_control(text):
        raise refusal("There is a control character in it", "Write plain text on one line.")
    return _straight(text)


def _straight(text: str) -> str:
    if not _TURNS.isdisjoint(text):
        raise refusal("There is a sign in it that turns the direction of reading", "Write the letters alone.")
    return text


def _splittable(text: str) -> str:
    if _has_control(text, _BREAKS):
        raise refusal("There is a control character in it", "Write plain text.")
    _straight(text)
    try:
        shlex.split(text)
    except ValueError as error:
        raise refusal(f"The parameters cannot be split into arguments: {error}", "Close every quote.") from None
    return text


def _script(name: str) -> str:
    if name.startswith(("/", "\\")) or ".." in name.replace("\\", "/").split("/"):
        raise refusal(
            f"{name} leaves the folder of the scripts", "Write a path inside of the scripts' folder, such as health.py."
        )
    return name


def _cron(expression: str) -> str:
    try:
        resolve_hash(expression, "")
    except CronError as error:
        raise refusal(error.message, error.hint) from None
    return expression


def _zone(name: str) -> str:
    try:
        zone(name)
    except CronError as error:
        raise refusal(error.message, error.hint) from None
    return name


def _text_only(value: Any) -> Any:
    # pydantic would read a number as seconds since 1970.
    if value is not None and not isinstance(value, str | datetime):
        raise refusal("A time is a text", "Write RFC 3339, such as 2026-11-24T08:00:00Z.")
    return value


def _in_utc(at: datetime) -> datetime:
    try:
        at = at.astimezone(UTC)
    except OverflowError:
        raise refusal("This year is outside of the calendar") from None
    if not _FIRST_YEAR <= at.year < _LAST_YEAR:
        raise refusal(f"The year {at.year} is not between {_FIRST_YEAR} and {_LAST_YEAR}")
    return at


Label = Annotated[str, StringConstraints(min_length=1, max_length=255), AfterValidator(_printable)]
"""A name: 1 to 255 characters, none of them a control character."""

Note = Annotated[str, StringConstraints(max_length=1000), AfterValidator(_printable)]
"""A short text of a person; may be empty."""

ScriptName = Annotated[Label, AfterValidator(_script)]
"""A path under the scripts' folder that never leaves it."""

Parameters = Annotated[str, StringConstraints(max_length=10_000), AfterValidator(_splittable)]
"""Arguments as in a shell's line; they must split."""

CronExpression = Annotated[str, StringConstraints(max_length=1000), AfterValidator(_cron)]
"""Five fields; `H` is resolved at creation."""

Timezone = Annotated[str, StringConstraints(max_length=255), AfterValidator(_zone)]
"""An IANA name."""

When = Annotated[AwareDatetime, BeforeValidator(_text_only), AfterValidator(_in_utc)]
"""An aware instant, RFC 3339, kept in UTC."""

Count = Annotated[int, Field(strict=True, ge=1, le=1_000_000_000)]
Seconds = Annotated[float, Field(strict=True, gt=0, le=31_536_000)]
WholeSeconds = Annotated[int, Field(strict=True, ge=0, le=31_536_000)]
Window = Annotated[int, Field(strict=True, ge=1, le=31_536_000)]
