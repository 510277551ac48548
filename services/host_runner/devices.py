"""The devices of this host: from `RIGBEAT_DEVICES` (JSON), else from `devices.toml` in the state directory.

[[devices]]
device_id = "stb-1"
model = "settopbox"
labels = { room = "4" }
"""

from __future__ import annotations

import tomllib
from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError

from libs.chassis.settings import SettingsError
from libs.contracts import DeviceInfo


class _File(BaseModel):
    model_config = ConfigDict(extra="forbid")

    devices: tuple[DeviceInfo, ...]


def load(given: tuple[DeviceInfo, ...], state_dir: Path) -> tuple[DeviceInfo, ...]:
    """The devices, in the order in which they are written. Raises `SettingsError` for a bad file or a double id."""
    path = state_dir / "devices.toml"
    if not given and path.exists():
        given = _read(path)
    if not given:
        raise SettingsError([f"RIGBEAT_DEVICES: is not set and there is no {path}: name at least one device"])
    names = [device.device_id for device in given]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise SettingsError([f"RIGBEAT_DEVICES: {name} is named twice" for name in twice])
    return given


def _read(path: Path) -> tuple[DeviceInfo, ...]:
    try:
        return _File.model_validate(tomllib.loads(path.read_text(encoding="utf-8"))).devices
    except ValidationError as error:
        raise SettingsError(
            f"{path}: {'.'.join(map(str, problem['loc']))}: {problem['msg']}"
            for problem in error.errors(include_url=False, include_input=False)
        ) from None
    except (OSError, ValueError, RecursionError) as error:  # not text, not TOML, or nested without end
        raise SettingsError([f"{path}: cannot be read: {error}"]) from None
