"""The scheduler's configuration."""

from __future__ import annotations

from pydantic import Field, SecretStr

from libs.chassis.peer_settings import PeerSettings


class Settings(PeerSettings):
    """Durations in seconds. The defaults are the production values; tests shorten some."""

    database_url: SecretStr = Field(description="postgresql://rigbeat_scheduler:…@host/database")
    amqp_url: SecretStr = Field(description="amqp(s)://user:…@host/vhost")
    http_port: int = Field(default=9101, ge=0, le=65535, description="port of /livez, /readyz, /metrics")
    http_host: str = Field(default="127.0.0.1", description="the address that is listened on")
    claim_batch: int = Field(default=1000, ge=1, le=5000, description="deployments a transaction")
    publish_batch: int = Field(default=1000, ge=1, le=5000, description="messages that are confirmed together")
    confirm_seconds: float = Field(default=5, gt=0, lt=15, description="how long a batch waits for its confirms")
    undeliverable_seconds: float = Field(
        default=10, ge=0, description="how long a message is tried for which the broker has no queue"
    )
    sweep_seconds: float = Field(default=5, gt=0, description="pause between two looks for what got stuck")
    scan_seconds: float = Field(
        default=60, ge=0.05, le=3600, description="pause between two looks at the invariants, by one of all schedulers"
    )
    scan_period_seconds: float = Field(
        default=3600, ge=300, le=86_400, description="how far such a look reaches back: fires, runs and endings"
    )
    republish_seconds: float = Field(
        default=60,
        gt=0,
        description="a trigger or command that its online host did not answer is sent again after; a host whose devices"
        " do something else than the ledger believes is asked at most every ten times this",
    )
    offline_seconds: float = Field(default=30, gt=0, description="a host unheard for so long is offline")
    host_lost_margin_seconds: float = Field(
        default=300, gt=0, description="what a run may exceed its time limit before its silent host is given up"
    )
    outbox_keep_seconds: float = Field(default=86_400, gt=0, description="how long sent messages are kept")
    feed_keep_seconds: float = Field(default=86_400, gt=0, description="how long the change feed reaches back")
