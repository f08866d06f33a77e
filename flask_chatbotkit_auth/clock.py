"""Time: aware and in UTC in the code, milliseconds since the epoch in the API and the store."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from functools import partial

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECOND = timedelta(milliseconds=1)

_now: Callable[[], datetime] = partial(datetime.now, UTC)
"""The clock that :func:`utcnow` reads. The fixture ``chatbotkit_clock`` replaces it during a test."""


def utcnow() -> datetime:
    """Return the current time, aware, in UTC. The whole package uses this clock."""
    return _now()


def to_milliseconds(moment: datetime) -> int:
    """Return whole milliseconds since the epoch for an aware time."""
    return (moment - EPOCH) // _MILLISECOND


def from_milliseconds(value: float) -> datetime:
    """Return the aware UTC time of milliseconds since the epoch.

    :raises OverflowError: the time is out of range.
    """
    return EPOCH + value * _MILLISECOND


def plausible_time(value: object) -> datetime | None:
    """Return the time in a field of an API answer, or ``None`` if the field contains anything else."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return None
    try:
        return from_milliseconds(value)
    except (OverflowError, ValueError):
        return None
