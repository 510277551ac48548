"""Schedules that people choose by name; what each means is said by `describe`."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Preset:
    """A name for a list on a page, and its expression."""

    name: str
    cron_expression: str


PRESETS = (
    Preset("Every minute", "* * * * *"),
    Preset("Every 5 minutes", "*/5 * * * *"),
    Preset("Every 10 minutes", "*/10 * * * *"),
    Preset("Every 15 minutes", "*/15 * * * *"),
    Preset("Every 30 minutes", "*/30 * * * *"),
    Preset("Every hour", "0 * * * *"),
    Preset("Every 2 hours", "0 */2 * * *"),
    Preset("Three times a day", "0 8,14,20 * * *"),
    Preset("Daily at 2am", "0 2 * * *"),
    Preset("Daily at 10am", "0 10 * * *"),
    Preset("Hourly overnight", "0 22-6 * * *"),
    Preset("Weekdays at 9am", "0 9 * * 1-5"),
    Preset("Business hours", "0 9-17 * * 1-5"),
    Preset("Business hours, every 30 minutes", "*/30 9-17 * * 1-5"),
    Preset("Weekly Monday", "0 0 * * 1"),
    Preset("Weekends at midnight", "0 0 * * 0,6"),
    Preset("Monthly", "0 0 1 * *"),
)
