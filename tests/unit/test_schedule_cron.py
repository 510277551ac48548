"""What an expression may be, and what is said about one that may not."""

from __future__ import annotations

import pickle

import pytest

from libs.schedule import PRESETS, CronError, parse, resolve_hash, zone

SEED_PATTERNS = (
    "*/5 * * * *",
    "*/10 * * * *",
    "*/30 * * * *",
    "0 * * * *",
    "0 */2 * * *",
    "0 2 * * *",
    "0 10 * * *",
    "0 9 * * 1-5",
    "0 9-17 * * 1-5",
    "0 0 * * 1",
)
SEED_EXAMPLES = ("*/15 * * * *", "0 8,14,20 * * *", "*/30 9-17 * * 1-5", "0 0 * * 0,6")
SEED_TIPS = ("* * * * *", "0 22-6 * * *", "0 1 * * 1", "*/15 9-17 * * 1-5")


@pytest.mark.parametrize("expression", SEED_PATTERNS + SEED_EXAMPLES + SEED_TIPS)
def test_the_patterns_of_the_old_guide_are_accepted_as_written(expression: str) -> None:
    assert parse(expression).expression == expression


def test_presets_hold_every_pattern_of_the_old_guide() -> None:
    expressions = [preset.cron_expression for preset in PRESETS]
    assert len(expressions) >= 14
    assert len({preset.name for preset in PRESETS}) == len(set(expressions)) == len(expressions)
    assert set(SEED_PATTERNS + SEED_EXAMPLES) <= set(expressions)
    assert all(parse(expression).expression == expression for expression in expressions)


@pytest.mark.parametrize(
    ("expression", "field", "values"),
    [
        ("0 0 * * 7", 4, (0,)),
        ("0 0 * * 0", 4, (0,)),
        ("0 0 * * sun", 4, (0,)),
        ("0 0 * * 5-7", 4, (0, 5, 6)),
        ("0 0 * * 0-7", 4, (0, 1, 2, 3, 4, 5, 6)),
        ("0 0 * * FRI-MON", 4, (0, 1, 5, 6)),
        ("0 0 * * 7-2", 4, (0, 1, 2)),
        ("0 0 * * 1/2", 4, (0, 1, 3, 5)),
        ("0 0 * * */7", 4, (0,)),
        ("0 0 * jan,DEC *", 3, (1, 12)),
        ("0 0 * NOV-FEB *", 3, (1, 2, 11, 12)),
        ("0 0 28-3/2 * *", 2, (1, 3, 28, 30)),
        ("0 22-6 * * *", 1, (0, 1, 2, 3, 4, 5, 6, 22, 23)),
        ("0 22-6/3 * * *", 1, (1, 4, 22)),
        ("0 9-17/4 * * *", 1, (9, 13, 17)),
        ("5/20 * * * *", 0, (5, 25, 45)),
        ("*/60 * * * *", 0, (0,)),
        ("*/25,7 * * * *", 0, (0, 7, 25, 50)),
        ("05 * * * *", 0, (5,)),
    ],
)
def test_fields_mean(expression: str, field: int, values: tuple[int, ...]) -> None:
    assert parse(expression).fields[field].values == values


def test_expressions_are_normalised() -> None:
    assert parse(" 0\t9  * jan mon-Fri ").expression == "0 9 * JAN MON-FRI"


@pytest.mark.parametrize(
    ("expression", "field", "message"),
    [
        ("", "expression", "The expression is empty"),
        ("0 9 * *", "expression", "A cron expression has 5 fields, this one has 4"),
        ("0 0 9 * * 1", "expression", "A cron expression has 5 fields, this one has 6"),
        ("@daily", "expression", "@daily is a nickname; nicknames are not supported"),
        ("@reboot", "expression", "@reboot is a nickname; nicknames are not supported"),
        ("0 24 * * *", "hour", "24 is not an hour (0 to 23)"),
        ("60 * * * *", "minute", "60 is not a minute (0 to 59)"),
        ("0 0 0 * *", "day_of_month", "0 is not a day of the month (1 to 31)"),
        ("0 0 32 * *", "day_of_month", "32 is not a day of the month (1 to 31)"),
        ("0 0 * 13 *", "month", "13 is not a month (1 to 12, or JAN to DEC)"),
        ("0 0 * * 8", "day_of_week", "8 is not a day of the week (0 to 7, Sunday is 0 and 7, or SUN to SAT)"),
        ("0 0 * MON *", "month", "MON is not a month (1 to 12, or JAN to DEC)"),
        ("0 0 * * MONDAY", "day_of_week", "MONDAY is not a day of the week (0 to 7, Sunday is 0 and 7, or SUN to SAT)"),
        ("*/61 * * * *", "minute", "61 is too long a step for a minute (1 to 60)"),
        ("0 */25 * * *", "hour", "25 is too long a step for an hour (1 to 24)"),
        ("0-10/61 * * * *", "minute", "61 is too long a step for a minute (1 to 60)"),
        ("*/0 * * * *", "minute", "A step of 0 never moves on"),
        ("R * * * *", "minute", "R in the minute is a random value, which would differ between schedulers"),
        ("R(0-30)/5 * * * *", "minute", "R(0-30)/5 in the minute is a random value, which would differ between"),
        (
            "H 2 * * *",
            "minute",
            "H in the minute is not resolved: H becomes a fixed number when a deployment is created",
        ),
        ("H/15 * * * *", "minute", "H/15 in the minute is not resolved"),
        ("0 0 L * *", "day_of_month", "L in the day of month: the last day (L) is not supported"),
        ("0 0 * * 5L", "day_of_week", "5L in the day of week: the last day (L) is not supported"),
        ("0 0 * * L5", "day_of_week", "L5 in the day of week: the last day (L) is not supported"),
        ("0 0 15W * *", "day_of_month", "15W in the day of month: the nearest weekday (W) is not supported"),
        ("0 0 LW * *", "day_of_month", "LW in the day of month: the nearest weekday (W) is not supported"),
        ("0 0 * * 1#2", "day_of_week", "1#2 in the day of week: the n-th weekday of a month (#) is not supported"),
        ("0 0 ? * *", "day_of_month", "? in the day of month is not supported"),
        ("1,,2 * * * *", "minute", "An entry of the minute is empty"),
        ("-5 * * * *", "minute", "-5 is not a minute (0 to 59)"),
        ("1.5 * * * *", "minute", "1.5 cannot be read as a minute"),
        ("5- * * * *", "minute", "5- cannot be read as a minute"),
        ("*/ * * * *", "minute", "*/ cannot be read as a minute"),
        ("*-5 * * * *", "minute", "*-5 cannot be read as a minute"),
        ("0~30 * * * *", "minute", "0~30 cannot be read as a minute"),
        ("１ * * * *", "minute", "'\\uff11' cannot be read as a minute"),
        ("0 0 * * frı", "day_of_week", "'fr\\u0131' cannot be read as a day of the week"),
        ("0 0 * *\n*", "expression", "A cron expression has 5 fields, this one has 4"),
        ("0 0 * * 1\n", "day_of_week", "'1\\n' cannot be read as a day of the week"),
        ("0 0 * * *\u00a0", "day_of_week", "'*\\xa0' cannot be read as a day of the week"),
        ("0 0 31 2 *", "expression", "0 0 31 2 * never fires: no month of it has a day 31"),
        ("0 0 30 2 */1", "expression", "0 0 30 2 */1 never fires: no month of it has a day 30"),
        ("0 0 31 4,6,9,11 *", "expression", "0 0 31 4,6,9,11 * never fires: no month of it has a day 31"),
        (",".join(["1"] * 500) + " * * * *", "expression", "The expression has 1007 characters; 200 are allowed"),
    ],
)
def test_refusals_name_the_field_and_the_fault(expression: str, field: str, message: str) -> None:
    with pytest.raises(CronError) as refusal:
        parse(expression)
    assert refusal.value.field == field
    assert refusal.value.message.startswith(message)
    assert refusal.value.hint.endswith(".")


@pytest.mark.parametrize(
    ("expression", "fixed", "intersect"),
    [
        ("0 2 * * *", True, True),
        ("15,45 2 1 * 1", True, False),
        ("0 */2 1 * */2", False, True),
        ("*/10 2 */2 * 1", False, True),
        ("0-59 0-23 1-31 * 1", True, False),
    ],
)
def test_stars_at_the_start_decide_about_days_and_daylight_saving(
    expression: str, fixed: bool, intersect: bool
) -> None:
    cron = parse(expression)
    assert (cron.is_fixed_time, cron.days_intersect) == (fixed, intersect)


def test_zones_are_iana_names() -> None:
    assert zone("Europe/Berlin").key == "Europe/Berlin"
    assert zone("UTC") is zone("UTC")


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("Europe/Berln", "Did you mean Europe/Berlin?"),
        ("europe/berlin", "Did you mean Europe/Berlin?"),
        ("Europe", "IANA"),
        ("", "IANA"),
        ("../../etc/passwd", "IANA"),
        ("/etc/localtime", "IANA"),
        ("x" * 100_000, "IANA"),
        ("UTC\0", ""),
    ],
)
def test_unknown_zones_are_refused(name: str, hint: str) -> None:
    with pytest.raises(CronError, match="is not a known time zone") as refusal:
        zone(name)
    assert refusal.value.field == "timezone"
    assert hint in refusal.value.hint
    assert len(refusal.value.message) < 120


def test_a_refusal_survives_the_way_between_processes() -> None:
    refusal = CronError("hour", "24 is not an hour (0 to 23)", "Midnight is hour 0.")
    copied = pickle.loads(pickle.dumps(refusal))
    assert (copied.field, copied.message, copied.hint) == (refusal.field, refusal.message, refusal.hint)


def test_h_is_drawn_from_the_key_and_stays() -> None:
    """The numbers are stored for ever: this table may never change."""
    assert resolve_hash("H H * * *", "team/nightly") == resolve_hash("h h * * *", "team/nightly")
    assert resolve_hash("0 2 * * thu", "team/nightly") == "0 2 * * THU"
    drawn = [resolve_hash("H H H(1-7) H/4 H", key) for key in ("team/a", "team/b", "team/c")]
    assert drawn == ["41 4 6 4-12/4 1", "8 11 5 2-12/4 5", "33 19 7 3-12/4 6"]


def test_h_spreads_over_its_whole_range() -> None:
    minutes = {parse(resolve_hash("H(0-29) * * * *", f"team/{n}")).fields[0].values[0] for n in range(500)}
    assert minutes == set(range(30))
    days = {parse(resolve_hash("0 0 H * *", f"team/{n}")).fields[2].values[0] for n in range(500)}
    assert days == set(range(1, 29))
    steps = {parse(resolve_hash("H/15 * * * *", f"team/{n}")).fields[0].values for n in range(100)}
    assert steps == {tuple(range(first, 60, 15)) for first in range(15)}


@pytest.mark.parametrize(
    "expression", ["H(0-60) * * * *", "H(30-10) * * * *", "H/61 * * * *", "H/0 * * * *", "Hx 1 * * *"]
)
def test_h_is_refused_outside_its_field(expression: str) -> None:
    with pytest.raises(CronError) as refusal:
        resolve_hash(expression, "team/a")
    assert refusal.value.field == "minute"
