"""The API's configuration, one for its web workers and its ingest."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Annotated
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field, IPvAnyNetwork, SecretStr, model_validator

from libs.chassis.exposure import why_not_listen
from libs.chassis.peer_settings import PeerSettings
from services.api.broker_users import BrokerUsers
from services.api.certificate import Certificate, certificate_problem
from services.api.cookies import SessionRules
from services.api.core.claims import ClaimRule
from services.api.issuer import is_safe
from services.api.people import Issuer


def _safe(url: str) -> str:
    if not is_safe(url):
        raise ValueError("must be an https address (http only on this machine), without a user and a fragment")
    return url


def _of_an_issuer(url: str) -> str:
    if "?" in url:
        raise ValueError("an issuer's address has no query")
    return _safe(url)


class Settings(PeerSettings):
    """What `python -m services.api` reads; durations in seconds."""

    database_url: SecretStr = Field(description="postgresql://rigbeat_api:…@host/database")
    ingest_database_url: SecretStr = Field(description="postgresql://rigbeat_ingest:…@host/database")
    amqp_url: SecretStr = Field(description="amqp(s)://user:…@host/vhost")
    amqp_management_url: SecretStr | None = Field(
        default=None,
        description="http(s)://user:…@host:port of RabbitMQ's management, with which each host gets a user of its own",
    )
    hosts_amqp_url: str | None = Field(
        default=None,
        pattern=r"^amqps?://[^@/]+(/.*)?$",
        description="amqp(s)://host:port/vhost as hosts reach the broker, without a user; as we do unless given",
    )
    http_host: str = Field(
        default="127.0.0.1", description="the address that is listened on; another than loopback needs TLS"
    )
    http_port: int = Field(default=8080, ge=0, le=65535, description="a port; 0 takes a free one")
    tls_cert_file: Path | None = Field(
        default=None, description="PEM file of the certificate, then those of its issuers; taken anew when it changes"
    )
    tls_key_file: Path | None = Field(default=None, description="PEM file of its key, without a password")
    trusted_proxies: tuple[IPvAnyNetwork, ...] = Field(
        default=(),
        description='["10.0.0.7", "10.1.0.0/16"]: proxies that end TLS before the API; their X-Forwarded-For is'
        " believed",
    )
    declare_seconds: float = Field(
        default=60, gt=0, description="pause between two looks whether the broker still has all exchanges and queues"
    )
    artifacts_url: str = Field(
        default="file:///var/lib/rigbeat/artifacts",
        pattern=r"^(file:///.+|s3://.+)$",
        description="file:///folder or s3://bucket/prefix",
    )
    public_url: str | None = Field(
        default=None,
        pattern=r"^https?://[^/@?#\s]+/?$",
        description="where people's browsers find the API, such as https://rigbeat.lab; as they asked unless given",
    )
    session_seconds: float = Field(
        default=604_800, ge=60, le=31_536_000, description="a browser that signed in does so again after so long"
    )
    session_idle_seconds: float = Field(
        default=28_800, ge=60, le=31_536_000, description="and after so long in which it asked for nothing"
    )
    oidc_issuer: Annotated[str, AfterValidator(_of_an_issuer)] | None = Field(
        default=None,
        description="the issuer (OpenID Connect) whose tokens let people in, exactly as its tokens name it",
    )
    oidc_audience: str | None = Field(default=None, min_length=1, description="for whom its tokens are meant: us")
    oidc_jwks_url: Annotated[str, AfterValidator(_safe)] | None = Field(
        default=None, description="where it publishes its keys; as its configuration says unless given"
    )
    oidc_clock_skew_seconds: float = Field(
        default=60, ge=0, le=300, description="how far its clock may be from the ledger's"
    )
    oidc_roles: tuple[ClaimRule, ...] = Field(
        default=(),
        description='who may do what: [{"claim": "groups", "value": "lab-admins", "team": "lab", "role": "admin"}]',
    )
    web_workers: int = Field(default=2, ge=1, le=64, description="processes that answer HTTP")
    web_database_connections: int = Field(default=8, ge=1, le=100, description="connections a web worker")
    watchdog_seconds: float = Field(
        default=60,
        ge=1,
        description="a consumer that the broker gives nothing for so long, though it should, ends its process",
    )

    @model_validator(mode="after")
    def _issuer_is_whole(self) -> Settings:
        if self.oidc_issuer is None:
            if self.oidc_audience is not None or self.oidc_jwks_url is not None or self.oidc_roles:
                raise ValueError("RIGBEAT_OIDC_ISSUER is not set, but other settings of it are; set it, or none")
        elif self.oidc_audience is None or not self.oidc_roles:
            raise ValueError("RIGBEAT_OIDC_ISSUER needs RIGBEAT_OIDC_AUDIENCE and RIGBEAT_OIDC_ROLES too")
        return self

    def issuer(self) -> Issuer | None:
        """Whose tokens are taken besides our own; None for nobody's."""
        if self.oidc_issuer is None or self.oidc_audience is None:
            return None
        skew = timedelta(seconds=self.oidc_clock_skew_seconds)
        return Issuer(self.oidc_issuer, self.oidc_audience, self.oidc_jwks_url, skew, self.oidc_roles)

    def session_rules(self) -> SessionRules:
        """How long people stay signed in, and where their browsers find us."""
        return SessionRules(
            timedelta(seconds=self.session_seconds), timedelta(seconds=self.session_idle_seconds), self.public_url
        )

    def wrong(self) -> Iterator[str]:
        """As of every program, and what the address that is listened on needs."""
        yield from super().wrong()
        if problem := certificate_problem(self.tls_cert_file, self.tls_key_file):
            yield problem
        tls = self.tls_cert_file is not None
        allowed = self.plaintext_allowed
        if problem := why_not_listen(self.http_host, tls=tls, proxies=self.trusted_proxies, plaintext=allowed):
            yield f"RIGBEAT_HTTP_HOST: {problem}"

    def certificate(self) -> Certificate | None:
        """What TLS is served with; None: without. Raises `OSError` when the files were taken away since the start."""
        if self.tls_cert_file is None or self.tls_key_file is None:
            return None
        return Certificate(self.tls_cert_file, self.tls_key_file)

    def broker_users(self) -> BrokerUsers | None:
        """The way to the broker's users of hosts; None when they are set up elsewhere."""
        if self.amqp_management_url is None:
            return None
        management, broker = self.amqp_management_url.get_secret_value(), self.amqp_url.get_secret_value()
        return BrokerUsers(management, broker, ca_file=self.trusted)

    def address_for_hosts(self) -> str:
        """Where hosts reach the broker, without a user."""
        if self.hosts_amqp_url is not None:
            return self.hosts_amqp_url
        parts = urlsplit(self.amqp_url.get_secret_value())
        return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"
