"""The API's configuration, one for its web workers and its ingest."""

from __future__ import annotations

from pydantic import Field, SecretStr

from libs.chassis.settings import ServiceSettings


class Settings(ServiceSettings):
    """What `python -m services.api` reads; durations in seconds."""

    database_url: SecretStr = Field(description="postgresql://rigbeat_api:…@host/database")
    ingest_database_url: SecretStr = Field(description="postgresql://rigbeat_ingest:…@host/database")
    amqp_url: SecretStr = Field(description="amqp://user:…@host/vhost")
    http_host: str = Field(default="127.0.0.1", description="the address that is listened on")
    http_port: int = Field(default=8080, ge=0, le=65535, description="a port; 0 takes a free one")
    declare_seconds: float = Field(
        default=60, gt=0, description="pause between two looks whether the broker still has all exchanges and queues"
    )
    artifacts_url: str = Field(
        default="file:///var/lib/rigbeat/artifacts",
        pattern=r"^(file:///.+|s3://.+)$",
        description="file:///folder or s3://bucket/prefix",
    )
    web_workers: int = Field(default=2, ge=1, le=64, description="processes that answer HTTP")
    web_database_connections: int = Field(default=8, ge=1, le=100, description="connections a web worker")
    watchdog_seconds: float = Field(
        default=60,
        ge=1,
        description="a consumer that the broker gives nothing for so long, though it should, ends its process",
    )
