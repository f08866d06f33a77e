"""Time: aware and UTC inside, milliseconds since the epoch in the API and in the store."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from functools import partial

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECOND = timedelta(milliseconds=1)

_now: Callable[[], datetime] = partial(datetime.now, UTC)
"""What :func:`utcnow` reads; the fixture ``chatbotkit_clock`` takes its place while a test runs."""


def utcnow() -> datetime:
    """Return the time now, aware, in UTC: the clock of everything here unless another is given."""
    return _now()


def to_milliseconds(moment: datetime) -> int:
    """Return whole milliseconds since the epoch for an aware time."""
    return (moment - EPOCH) // _MILLISECOND


def from_milliseconds(value: float) -> datetime:
    """Return the aware UTC time of milliseconds since the epoch.

    :raises OverflowError: it is no time that a calendar has.
    """
    return EPOCH + value * _MILLISECOND


def plausible_time(value: object) -> datetime | None:
    """Return the time of a field of an API answer, which may hold anything; ``None`` when it holds no time."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return None
    try:
        return from_milliseconds(value)
    except (OverflowError, ValueError):
        return None
