"""Deployments for a first look, made over the API like everybody's.

Chosen so that everything that can become of a fire is seen within five minutes, whenever the system was started: each
reason below needs three minutes at most, and the schedules of a minute need no luck with the clock.
"""

from __future__ import annotations

from typing import Any

from cli.client import Api
from cli.up.plan import HOST

_COMMON = {"host_name": HOST, "userinterface_name": "demo"}

_SAMPLES: tuple[dict[str, Any], ...] = (
    # Succeeds every minute: nobody else wants this device, and it is well.
    {
        "name": "dns-router-1",
        "device_id": "router-1",
        "script_name": "dns.py",
        "cron_expression": "* * * * *",
        "parameters": "--lookups 20 --limit-ms 200",
    },
    # Takes two and a half minutes and fires every minute: the second fire is queued, the third skipped, "Already queued
    # (max 1)". It waits for the health check that comes in the same minute, instead of being skipped.
    {
        "name": "soak-stb-1",
        "device_id": "stb-1",
        "script_name": "soak.py",
        "cron_expression": "* * * * *",
        "parameters": "--seconds 150 --interval 5",
        "on_device_busy": "queue",
    },
    # Wants the box that the soak has: skipped, device_busy.
    {
        "name": "health-stb-1",
        "device_id": "stb-1",
        "script_name": "health.py",
        "cron_expression": "* * * * *",
        "parameters": "--limit 5",
        "on_device_busy": "skip",
    },
    # Fails every third minute: the tuner of this box has lost its signal then (cli/up/plan.py, FLAKY).
    {
        "name": "zap-stb-2",
        "device_id": "stb-2",
        "script_name": "zap.py",
        "cron_expression": "* * * * *",
        "parameters": "--channels 5",
        "on_device_busy": "queue",
    },
    # Leaves a JUnit file and an HTML report; waits for the zaps that come in the same minute.
    {
        "name": "suite-stb-2",
        "device_id": "stb-2",
        "script_name": "suite.py",
        "cron_expression": "*/2 * * * *",
        "on_device_busy": "queue",
    },
)


def sample_bodies() -> list[dict[str, Any]]:
    """What is sent for each."""
    return [_COMMON | sample for sample in _SAMPLES]


def create_samples(api: Api) -> int:
    """Make them, if there never was a deployment; how many were made."""
    if api.items("/deployments", {"deleted": True}, limit=1):
        return 0
    for body in sample_bodies():
        api.post("/deployments", body)
    return len(_SAMPLES)
