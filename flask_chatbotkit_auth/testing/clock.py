"""A clock that passes only when told."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta


class Clock:
    """The time of a test: it stands still until it is told to go on. The fixture ``chatbotkit_clock`` is one.

    Called, it returns :attr:`now`.

    :param now: what it shows at first, aware; by default the time now.
    """

    now: datetime
    """The time it shows, aware, in UTC."""

    def __init__(self, now: datetime | None = None) -> None:
        self.freeze(now or datetime.now(UTC))

    def __call__(self) -> datetime:
        return self.now

    def freeze(self, moment: datetime) -> None:
        """Show ``moment`` from here on, be it earlier or later.

        :raises ValueError: it is not aware, and might mean any hour of a day.
        """
        if moment.utcoffset() is None:
            raise ValueError("give an aware time, such as datetime(2026, 1, 1, tzinfo=timezone.utc)")
        self.now = moment.astimezone(UTC)

    def advance(self, duration: timedelta | float) -> None:
        """Go on by ``duration``, in seconds or as a ``timedelta``."""
        self.now += duration if isinstance(duration, timedelta) else timedelta(seconds=duration)
