"""The ingest's configuration."""

from __future__ import annotations

from pydantic import Field, SecretStr

from libs.chassis.peer_settings import PeerSettings


class Settings(PeerSettings):
    """No default for a secret or an address: what is missing is said at the start."""

    ingest_database_url: SecretStr = Field(description="postgresql://rigbeat_ingest:…@host/database")
    amqp_url: SecretStr = Field(description="amqp(s)://user:…@host/vhost")
    ingest_http_port: int | None = Field(
        default=None, ge=0, le=65535, description="port of /livez, /readyz, /metrics; not set: none"
    )
    http_host: str = "127.0.0.1"
    watchdog_seconds: float = Field(
        default=60,
        ge=1,
        description="a consumer that the broker gives nothing for so long, though it should, ends its process",
    )
