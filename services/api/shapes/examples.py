"""What the API's document shows as examples; each is true to its shape, and a test holds them to it."""

from __future__ import annotations

from typing import Any

_ID = "0199f3a2-1c00-7c3e-9b51-5f0e8a7d2c41"
_OTHER_ID = "0199f3a2-4a10-7d02-8c1f-2b9d64e0a713"
_SCHEDULE: dict[str, Any] = {"cron_expression": "*/10 * * * *", "timezone": "Europe/Berlin"}

NEW: dict[str, Any] = {
    "name": "health-stb-1",
    "host_name": "lab-1",
    "device_id": "stb-1",
    "script_name": "health.py",
    "userinterface_name": "demo",
    "parameters": "--limit 2",
    **_SCHEDULE,
    "end_date": "2026-12-24T00:00:00Z",
    "max_executions": 20,
    "on_device_busy": "queue",
}

NEW_FOR_SEVERAL: dict[str, Any] = {
    "script_name": "health.py",
    "cron_expression": "0 2 * * *",
    "targets": [
        {"host_name": "lab-1", "device_id": "stb-1"},
        {"host_name": "lab-1", "device_id": "stb-2", "userinterface_name": "demo"},
    ],
}

PATCH: dict[str, Any] = {"cron_expression": "0 9-17 * * 1-5", "max_executions": 40, "end_date": None}

COPY: dict[str, Any] = {"device_id": "stb-2", "name": "health-stb-2"}

BECAUSE: dict[str, Any] = {"reason": "New firmware until noon"}

DEPLOYMENT: dict[str, Any] = {
    "id": _ID,
    "name": "health-stb-1",
    "team_id": "0199f39f-8800-7a11-b2d4-90c1e7f65a38",
    "host_name": "lab-1",
    "device_id": "stb-1",
    "script_name": "health.py",
    "userinterface_name": "demo",
    "parameters": "--limit 2",
    **_SCHEDULE,
    "description": "Every 10 minutes",
    "start_date": None,
    "end_date": "2026-12-24T00:00:00Z",
    "max_executions": 20,
    "execution_count": 3,
    "last_executed_at": "2026-11-23T10:20:00.041200Z",
    "next_fire_at": "2026-11-23T10:30:00Z",
    "status": "active",
    "status_reason": None,
    "status_by": None,
    "host_acknowledged": None,
    "catch_up": "latest",
    "catch_up_window_seconds": 600,
    "on_device_busy": "queue",
    "max_wait_seconds": 3600,
    "timeout_seconds": 3600.0,
    "silence_timeout_seconds": None,
    "version": 1,
    "created_at": "2026-11-23T09:52:13.507118Z",
    "created_by": "ann",
    "updated_at": "2026-11-23T09:52:13.507118Z",
    "deleted_at": None,
}

_PAUSED: dict[str, Any] = DEPLOYMENT | {
    "status": "paused",
    "status_reason": "New firmware until noon",
    "status_by": "ann",
    "next_fire_at": None,
    "host_acknowledged": True,
    "version": 2,
}

BULK: dict[str, Any] = {"ids": [_ID, _OTHER_ID], "action": "pause", "reason": "New firmware until noon"}

BULK_PATCH: dict[str, Any] = {"ids": [_ID, _OTHER_ID], "patch": {"on_device_busy": "queue"}}

BULK_ANSWER: dict[str, Any] = {
    "items": [
        {"id": _ID, "ok": True, "problem": None, "deployment": _PAUSED, "execution_id": None},
        {
            "id": _OTHER_ID,
            "ok": False,
            "problem": {
                "type": "/problems/wrong-state",
                "title": "That cannot be done in the present state",
                "status": 409,
                "detail": "The deployment is paused already",
                "errors": [],
            },
            "deployment": None,
            "execution_id": None,
        },
    ]
}

PREVIEW_REQUEST: dict[str, Any] = {
    "cron_expression": "*/30 * * * *",
    "timezone": "Europe/Berlin",
    "count": 2,
    "script_name": "health.py",
    "targets": [{"host_name": "lab-1", "device_id": "stb-1"}],
    "on_device_busy": "skip",
}

PREVIEW: dict[str, Any] = {
    "valid": True,
    "error": None,
    "description": "Every 30 minutes",
    "next": ["2026-11-23T10:30:00Z", "2026-11-23T11:00:00Z"],
    "notes": [],
    "runs_per_day": 48.0,
    "conflicts": [
        {
            "at": "2026-11-23T11:00:00Z",
            "host_name": "lab-1",
            "device_id": "stb-1",
            "deployment": "zap-hourly",
            "would": "skipped: device_busy",
            "alternative_cron": "1-59/30 * * * *",
        }
    ],
}

PREVIEW_REFUSED: dict[str, Any] = {
    "valid": False,
    "error": {"field": "hour", "message": "24 is not an hour (0 to 23)", "hint": "Midnight is hour 0."},
    "description": None,
    "next": [],
    "notes": [],
    "runs_per_day": None,
    "conflicts": None,
}
