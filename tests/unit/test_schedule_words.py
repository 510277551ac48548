"""What expressions are called."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from libs.schedule import PRESETS, CronError, describe, occurrences


@pytest.mark.parametrize(
    ("expression", "words"),
    [
        # The old guide's patterns, examples and tips.
        ("*/5 * * * *", "Every 5 minutes"),
        ("*/10 * * * *", "Every 10 minutes"),
        ("*/30 * * * *", "Every 30 minutes"),
        ("0 * * * *", "Every hour"),
        ("0 */2 * * *", "Every 2 hours"),
        ("0 2 * * *", "At 02:00, every day"),
        ("0 10 * * *", "At 10:00, every day"),
        ("0 9 * * 1-5", "At 09:00, Monday to Friday"),
        ("0 9-17 * * 1-5", "Every hour from 09:00 to 17:00, Monday to Friday"),
        ("0 0 * * 1", "At 00:00, on Monday"),
        ("*/15 * * * *", "Every 15 minutes"),
        ("0 8,14,20 * * *", "At 08:00, 14:00 and 20:00, every day"),
        ("*/30 9-17 * * 1-5", "Every 30 minutes from 09:00 to 17:30, Monday to Friday"),
        ("0 0 * * 0,6", "At 00:00, on Saturday and Sunday"),
        ("* * * * *", "Every minute"),
        ("0 22-6 * * *", "Every hour from 22:00 to 06:00"),
        ("0 1 * * 1", "At 01:00, on Monday"),
        ("*/15 9-17 * * 1-5", "Every 15 minutes from 09:00 to 17:45, Monday to Friday"),
        # A step that does not divide its field is not what it seems.
        ("*/7 * * * *", "Every 7 minutes, starting anew each hour"),
        ("0 */5 * * *", "At 00:00, 05:00, 10:00, 15:00 and 20:00, every day"),
        ("0 */7 * * *", "At 00:00, 07:00, 14:00 and 21:00, every day"),
        ("0,45 * * * *", "At minutes 0 and 45 of every hour"),
        ("*/60 * * * *", "Every hour"),
        ("15 * * * *", "Every hour, at minute 15"),
        ("15 */2 * * *", "Every 2 hours, at minute 15"),
        ("0 1-23/2 * * *", "Every 2 hours from 01:00"),
        ("5/15 * * * *", "Every 15 minutes from minute 5"),
        ("10-20 * * * *", "At minutes 10 to 20 of every hour"),
        ("1,2,4,17 9-17 * * *", "At minutes 1, 2, 4 and 17 of every hour from 09:01 to 17:17"),
        ("* 2 * * *", "Every minute from 02:00 to 02:59"),
        ("*/10 8,12 * * *", "Every 10 minutes in the hours 08 and 12"),
        ("15,45 2 * * *", "At 02:15 and 02:45, every day"),
        ("0,30 22-6 * * *", "Every 30 minutes from 22:00 to 06:30"),
        # Days: OR, and AND.
        ("0 0 1 * *", "At 00:00, on day 1 of the month"),
        ("0 0 1,15 1,7 *", "At 00:00, on days 1 and 15 of the month, in January and July"),
        ("0 0 1-7 * *", "At 00:00, on days 1 to 7 of the month"),
        ("0 0 */2 * *", "At 00:00, every 2 days from day 1 of the month"),
        ("0 0 13 * 5", "At 00:00, on day 13 of the month, or on Friday"),
        ("0 0 */2 * 1", "At 00:00, every 2 days from day 1 of the month if it is Monday"),
        ("0 0 1-31 * 1", "At 00:00, every day"),
        ("0 0 * * FRI-MON", "At 00:00, Friday to Monday"),
        ("0 12 * * 7", "At 12:00, on Sunday"),
        ("30 6 * JUN-AUG SAT,SUN", "At 06:30, on Saturday and Sunday, from June to August"),
        ("0 0 * NOV-FEB *", "At 00:00, every day, from November to February"),
        ("59 23 31 12 *", "At 23:59, on day 31 of the month, in December"),
    ],
)
def test_describe(expression: str, words: str) -> None:
    assert describe(expression) == describe(expression, "Europe/Berlin") == words


PRESET_WORDS = {
    # name: words, and how often in the four weeks from Monday 23 November 2026 on
    "Every minute": ("Every minute", 28 * 24 * 60),
    "Every 5 minutes": ("Every 5 minutes", 28 * 24 * 12),
    "Every 10 minutes": ("Every 10 minutes", 28 * 24 * 6),
    "Every 15 minutes": ("Every 15 minutes", 28 * 24 * 4),
    "Every 30 minutes": ("Every 30 minutes", 28 * 24 * 2),
    "Every hour": ("Every hour", 28 * 24),
    "Every 2 hours": ("Every 2 hours", 28 * 12),
    "Three times a day": ("At 08:00, 14:00 and 20:00, every day", 28 * 3),
    "Daily at 2am": ("At 02:00, every day", 28),
    "Daily at 10am": ("At 10:00, every day", 28),
    "Hourly overnight": ("Every hour from 22:00 to 06:00", 28 * 9),
    "Weekdays at 9am": ("At 09:00, Monday to Friday", 20),
    "Business hours": ("Every hour from 09:00 to 17:00, Monday to Friday", 20 * 9),
    "Business hours, every 30 minutes": ("Every 30 minutes from 09:00 to 17:30, Monday to Friday", 20 * 18),
    "Weekly Monday": ("At 00:00, on Monday", 4),
    "Weekends at midnight": ("At 00:00, on Saturday and Sunday", 8),
    "Monthly": ("At 00:00, on day 1 of the month", 1),
}


def test_every_preset_says_what_it_does_and_does_it() -> None:
    monday = datetime(2026, 11, 23, tzinfo=UTC)
    before, last = monday - timedelta(seconds=1), monday + timedelta(days=28) - timedelta(seconds=1)
    told = {
        preset.name: (
            describe(preset.cron_expression),
            sum(1 for _ in occurrences(preset.cron_expression, "UTC", before, last)),
        )
        for preset in PRESETS
    }
    assert told == PRESET_WORDS
    assert len(PRESETS) >= 14
    assert len({words for words, _ in told.values()}) == len(PRESETS), "they are told apart by their words"


def test_what_does_not_fire_has_no_words() -> None:
    with pytest.raises(CronError):
        describe("0 0 31 2 *")
