"""Configuration from the environment: read once, checked whole, all that is wrong said at once.

A field `amqp_url` is the variable `RIGBEAT_AMQP_URL`, or the text of the file that `RIGBEAT_AMQP_URL_FILE` names
(stripped of white space at both ends); both given is an error. An empty variable counts as not given. Lists and
objects are JSON. Variables of other services are ignored, since one environment may serve several.
"""

from __future__ import annotations

import enum
import json
import os
import types
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar, Union, get_args, get_origin

from pydantic import Field, ValidationError
from pydantic.fields import FieldInfo
from pydantic_settings import BaseSettings, InitSettingsSource, PydanticBaseSettingsSource, SettingsConfigDict

PREFIX = "RIGBEAT_"
FILE_SUFFIX = "_FILE"

# Only values of these types are printed back: any text may hold a password, a URL often does.
_HARMLESS: tuple[type, ...] = (bool, int, float, enum.Enum, Path, type(None))


class ServiceSettings(BaseSettings):
    """What every service has; a service adds its own fields."""

    model_config = SettingsConfigDict(extra="ignore", frozen=True)

    log_format: Literal["console", "json"] = Field(
        default="console", description="how log lines look: console for people, json for programs"
    )

    def wrong(self) -> Iterable[str]:
        """What is wrong although each value is right by itself: a sentence each, which begins with its variable."""
        return ()

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Only arguments: `load` reads the environment, because pydantic's own source stops at its first bad JSON."""
        return (init_settings,)


class SettingsError(Exception):
    """Every bad value, one line each: the variable, what is wrong, what would be right. Never a secret's value."""

    def __init__(self, problems: Iterable[str]) -> None:
        self.problems = tuple(problems)
        super().__init__("\n".join(self.problems))


S = TypeVar("S", bound=ServiceSettings)


def load(cls: type[S], environment: Mapping[str, str] | None = None) -> S:
    """The settings of this process; `environment` is the process's own unless given. Raises `SettingsError`."""
    given = os.environ if environment is None else environment  # noqa: TID251  # this is the place where it is read
    values: dict[str, Any] = {}
    problems: dict[str, str] = {}
    for name, field in cls.model_fields.items():
        try:
            text = _text(cls, name, given)
            if text is not None:
                values[name] = _parsed(cls, name, field, text)
        except _BadValueError as bad:
            problems[name] = str(bad)
    try:
        settings = cls(**values)
    except ValidationError as error:
        for problem in error.errors(include_url=False, include_context=False):
            where = problem["loc"]
            name = str(where[0]) if where else ""
            if name not in problems:
                problems[name] = _sentence(cls, where, problem["type"], problem["msg"], values.get(name))
    else:
        wrong = [*problems.values(), *settings.wrong()]
        if not wrong:
            return settings
        raise SettingsError(wrong)
    raise SettingsError(problems.values()) from None


class _BadValueError(Exception):
    """One problem, already in words."""


def _text(cls: type[ServiceSettings], name: str, given: Mapping[str, str]) -> str | None:
    variable = PREFIX + name.upper()
    from_file = variable + FILE_SUFFIX
    direct = given.get(variable) or None
    path = given.get(from_file) or None
    if path is None or f"{name}{FILE_SUFFIX.lower()}" in cls.model_fields:
        return direct
    if direct is not None:
        raise _BadValueError(f"{variable}: {from_file} is set too; set one of the two")
    try:
        return Path(path).read_text(encoding="utf-8").strip()
    except OSError as error:
        raise _BadValueError(
            f"{from_file}: cannot read {path!r} ({error.strerror}); name a readable text file"
        ) from None
    except UnicodeDecodeError:
        raise _BadValueError(f"{from_file}: {path!r} is not text; name a file in UTF-8") from None


def _parsed(cls: type[ServiceSettings], name: str, field: FieldInfo, text: str) -> Any:
    if not InitSettingsSource(cls, {}).field_is_complex(field):
        return text
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        raise _BadValueError(
            f"{PREFIX}{name.upper()}: is not JSON ({error.msg} at character {error.pos + 1}){_wanted(field)}"
        ) from None
    except (ValueError, RecursionError):  # a number of thousands of digits; lists within lists within lists
        raise _BadValueError(f"{PREFIX}{name.upper()}: is not JSON that can be read{_wanted(field)}") from None


def _sentence(cls: type[ServiceSettings], where: tuple[int | str, ...], kind: str, message: str, value: Any) -> str:
    if not where or str(where[0]) not in cls.model_fields:
        return f"settings: {message.removeprefix('Value error, ')}"
    field = cls.model_fields[str(where[0])]
    variable = PREFIX + str(where[0]).upper()
    if kind == "missing" and len(where) == 1:
        return f"{variable}: is not set, and there is no default{_wanted(field)}"
    inside = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in where[1:])
    if isinstance(value, str) and value and not _harmless(field.annotation):
        message = message.replace(value, "***")
    shown = f"{value!r}: " if _harmless(field.annotation) else ""
    return f"{variable}{inside}: {shown}{message[:1].lower()}{message[1:]}{_wanted(field)}"


def _wanted(field: FieldInfo) -> str:
    return f" (wanted: {field.description})" if field.description else ""


def _harmless(annotation: Any) -> bool:
    origin = get_origin(annotation)
    if origin is Literal:
        return True
    if origin in {Union, types.UnionType}:
        return all(_harmless(part) for part in get_args(annotation))
    if origin is Annotated:
        return _harmless(get_args(annotation)[0])
    return isinstance(annotation, type) and issubclass(annotation, _HARMLESS)
