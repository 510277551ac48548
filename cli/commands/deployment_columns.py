"""The columns of deployments in tables."""

from __future__ import annotations

from cli.output import Column

COLUMNS = (
    Column("id"),
    Column("name"),
    Column("status"),
    Column("host_name"),
    Column("device_id"),
    Column("script_name", spare=True),
    Column("cron_expression"),
    Column("timezone", spare=True),
    Column("next_fire_at", spare=True),
    Column("execution_count", spare=True),
    Column("max_executions", spare=True),
    Column("description", cut=True, spare=True),
)
