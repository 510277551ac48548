"""Deployments for a first look, made over the API like everybody's."""

from __future__ import annotations

from typing import Any

from cli.client import Api
from cli.up.plan import HOST

_SAMPLES: tuple[dict[str, Any], ...] = (
    {"name": "health-stb-1", "device_id": "stb-1", "script_name": "health.py", "cron_expression": "* * * * *"},
    {"name": "health-stb-2", "device_id": "stb-2", "script_name": "health.py", "cron_expression": "*/2 * * * *"},
    {"name": "zap-stb-1", "device_id": "stb-1", "script_name": "zap.py", "cron_expression": "*/5 * * * *"},
    # Longer than a minute, so that the others on this box are seen to be skipped, with the reason.
    {
        "name": "soak-stb-2",
        "device_id": "stb-2",
        "script_name": "soak.py",
        "cron_expression": "3-59/10 * * * *",
        "parameters": "--seconds 60",
    },
)
# The parameters of a short look; what waits for the device is run after it instead of being skipped.
_WAITS = {"zap-stb-1", "soak-stb-2"}


def create_samples(api: Api) -> int:
    """Make them, if there never was a deployment; how many were made."""
    if api.items("/deployments", {"deleted": True}, limit=1):
        return 0
    for sample in _SAMPLES:
        busy = "queue" if sample["name"] in _WAITS else "skip"
        api.post("/deployments", {"host_name": HOST, "userinterface_name": "demo", "on_device_busy": busy} | sample)
    return len(_SAMPLES)
