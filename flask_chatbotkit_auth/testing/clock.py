"""A clock for tests. It stands still until a test moves it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta


class Clock:
    """The time in a test. It stands still until the test moves it. The fixture ``chatbotkit_clock`` is one.

    Calling it returns :attr:`now`.

    :param now: the time at which it starts, aware; by default the current time.
    """

    now: datetime
    """The time that it shows, aware, in UTC."""

    def __init__(self, now: datetime | None = None) -> None:
        self.freeze(now or datetime.now(UTC))

    def __call__(self) -> datetime:
        return self.now

    def freeze(self, moment: datetime) -> None:
        """Set the time to ``moment``, which can be earlier or later.

        :raises ValueError: ``moment`` is not aware.
        """
        if moment.utcoffset() is None:
            raise ValueError("give an aware time, such as datetime(2026, 1, 1, tzinfo=timezone.utc)")
        self.now = moment.astimezone(UTC)

    def advance(self, duration: timedelta | float) -> None:
        """Move the time on by ``duration``, in seconds or as a ``timedelta``."""
        self.now += duration if isinstance(duration, timedelta) else timedelta(seconds=duration)
