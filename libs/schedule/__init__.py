"""The rules of time, pure: cron, zones, windows, the limit, catch-up. Scheduler, API and verify share them."""

from libs.schedule.cron import Cron, CronError, parse, zone
from libs.schedule.hashed import resolve_hash
from libs.schedule.occurrences import next_occurrence, occurrences
from libs.schedule.plan import (
    Backlog,
    Decision,
    Fire,
    Plan,
    decide,
    due_at,
    first_fire,
    missed,
    window_seconds,
)
from libs.schedule.presets import PRESETS, Preset
from libs.schedule.words import describe

__all__ = [
    "PRESETS",
    "Backlog",
    "Cron",
    "CronError",
    "Decision",
    "Fire",
    "Plan",
    "Preset",
    "decide",
    "describe",
    "due_at",
    "first_fire",
    "missed",
    "next_occurrence",
    "occurrences",
    "parse",
    "resolve_hash",
    "window_seconds",
    "zone",
]
