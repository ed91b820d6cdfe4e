"""Cron expressions: when a job is due next. Pure, no time zones."""

from __future__ import annotations

from datetime import datetime, timedelta

# minute, hour, day of month, month, day of week (0 and 7 are Sunday)
_RANGES = ((0, 59), (0, 23), (1, 31), (1, 12), (0, 7))

FREQUENCIES = {
    "All": "*/4 * * * *",
    "Hourly": "0 * * * *",
    "Hourly Long": "0 * * * *",
    "Daily": "0 0 * * *",
    "Daily Long": "0 0 * * *",
    "Weekly": "0 0 * * 0",
    "Weekly Long": "0 0 * * 0",
    "Monthly": "0 0 1 * *",
    "Monthly Long": "0 0 1 * *",
    "Yearly": "0 0 1 1 *",
    "Annual": "0 0 1 1 *",
}


def parse(expression: str) -> tuple[frozenset[int], ...]:
    """Return the five sets of values an expression allows; ValueError names the bad part."""
    parts = expression.split()
    if len(parts) != 5:
        raise ValueError(f"cron expression {expression!r} has {len(parts)} fields, wants 5")
    fields = [
        _field(p, low, high, expression) for p, (low, high) in zip(parts, _RANGES, strict=True)
    ]
    fields[4] = frozenset(day % 7 for day in fields[4])
    return tuple(fields)


def _field(part: str, low: int, high: int, expression: str) -> frozenset[int]:
    allowed: set[int] = set()
    for item in part.split(","):
        span, _, step = item.partition("/")
        try:
            if span == "*":
                first, last = low, high
            elif "-" in span:
                first, last = (int(end) for end in span.split("-"))
            else:
                first = int(span)
                last = high if step else first
            width = int(step) if step else 1
        except ValueError:
            raise ValueError(f"cron expression {expression!r}: {item!r} is no number") from None
        if not low <= first <= last <= high or width < 1:
            raise ValueError(f"cron expression {expression!r}: {item!r} is not in {low}-{high}")
        allowed.update(range(first, last + 1, width))
    return frozenset(allowed)


def next_run(expression: str, after: datetime) -> datetime:
    """Return the first minute later than `after` that the expression matches.

    Day of month and day of week are alternatives when both are restricted, as in cron. Raises
    ValueError for a bad expression or one that never comes (30 February).
    """
    minutes, hours, days, months, weekdays = parse(expression)
    _, _, day_text, _, weekday_text = expression.split()
    either = not day_text.startswith("*") and not weekday_text.startswith("*")
    moment = after.replace(second=0, microsecond=0) + timedelta(minutes=1)
    end = moment + timedelta(days=8 * 366)
    while moment < end:
        day_fits, weekday_fits = moment.day in days, (moment.weekday() + 1) % 7 in weekdays
        day_matches = (day_fits or weekday_fits) if either else (day_fits and weekday_fits)
        if moment.month not in months or not day_matches:
            moment = moment.replace(hour=0, minute=0) + timedelta(days=1)
        elif moment.hour not in hours:
            moment = moment.replace(minute=0) + timedelta(hours=1)
        elif moment.minute not in minutes:
            moment += timedelta(minutes=1)
        else:
            return moment
    raise ValueError(f"cron expression {expression!r} never comes")


def is_due(expression: str, last: datetime, now: datetime) -> bool:
    """Return whether a run was due between `last` and `now`."""
    return next_run(expression, last) <= now
