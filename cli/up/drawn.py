"""What is drawn at random once and kept for the next start: `HOME/secrets.json`, read by its owner alone."""

from __future__ import annotations

import json
import secrets
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from pathlib import Path

from cli.errors import CliError, ExitCode
from cli.home import write_whole

_PASSWORD_BYTES = 24


@dataclass
class Drawn:
    """`passwords` by role of the database; `host_tokens` of former versions, which nobody uses any more."""

    passwords: dict[str, str] = field(default_factory=dict)
    host_tokens: dict[str, str] = field(default_factory=dict)

    def draw(self, roles: Iterable[str]) -> None:
        """A password for each role that has none."""
        for role in roles:
            self.passwords.setdefault(role, secrets.token_urlsafe(_PASSWORD_BYTES))


def read(path: Path) -> Drawn:
    """What was drawn; nothing at first."""
    try:
        return Drawn(**json.loads(path.read_text()))
    except FileNotFoundError:
        return Drawn()
    except (ValueError, TypeError):
        raise CliError(
            ExitCode.NO, f"{path} cannot be understood; remove it, and what it held is drawn anew."
        ) from None


def write(path: Path, drawn: Drawn) -> None:
    """Keep it."""
    write_whole(path, json.dumps(asdict(drawn), indent=2) + "\n", secret=True)
