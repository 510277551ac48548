"""The settings of a program that speaks to others over a network: whom it trusts, and that it speaks TLS."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Literal

from pydantic import Field, SecretStr

from libs.chassis.exposure import trusting, why_not
from libs.chassis.settings import PREFIX, ServiceSettings
from libs.chassis.tls import ca_problem

_URL = "_url"


class PeerSettings(ServiceSettings):
    """Every field that ends in `_url` is held to the rule of libs/chassis/exposure.py."""

    ca_file: Path | None = Field(
        default=None,
        description="a PEM file of the certificate authorities that are trusted, instead of the system's",
    )
    plaintext: Literal["refused", "allowed"] = Field(
        default="refused", description="allowed: other machines may be spoken to, and listened to, without TLS"
    )

    @property
    def plaintext_allowed(self) -> bool:
        """Whether the operator has said so."""
        return self.plaintext == "allowed"

    def wrong(self) -> Iterator[str]:
        """The files and urls that cannot be used."""
        if self.ca_file is not None and (problem := ca_problem(self.ca_file)):
            yield f"{PREFIX}CA_FILE: {problem}"
        for name in type(self).model_fields:
            value = getattr(self, name)
            if not name.endswith(_URL) or value is None:
                continue
            text = value.get_secret_value() if isinstance(value, SecretStr) else str(value)
            if problem := self.why_not(text):
                yield f"{PREFIX}{name.upper()}: {problem}"

    def why_not(self, url: str) -> str | None:
        """Why nobody may connect to this url, in a sentence; None when they may."""
        return why_not(url, plaintext=self.plaintext_allowed)

    def reach(self, url: SecretStr | str) -> str:
        """The url as connections are opened with it, of the broker or of the database."""
        text = url.get_secret_value() if isinstance(url, SecretStr) else url
        return trusting(text, self.trusted, plaintext=self.plaintext_allowed)

    @property
    def trusted(self) -> str | None:
        """The file of who is trusted, found from wherever a connection is opened."""
        return None if self.ca_file is None else str(self.ca_file.absolute())
