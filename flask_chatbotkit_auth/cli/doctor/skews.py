"""How far two clocks may differ, and what the doctor says of it."""

from __future__ import annotations

from datetime import timedelta

from .findings import Look

WORTH_A_WARNING = timedelta(seconds=1)
"""From here on a worker may drop the session cookie that another one has just signed."""

TOO_MUCH = timedelta(seconds=60)


def told(skew: timedelta, whose: str) -> Look:
    """Return what is to be said about this machine's clock, which is ahead of another by ``skew``, or behind it."""
    if abs(skew) < WORTH_A_WARNING:
        return "ok", f"this machine and {whose} agree on the time"
    seconds = f"{abs(skew).total_seconds():.0f}"
    direction = "ahead of" if skew > timedelta(0) else "behind"
    sentence = (
        f"this machine is {seconds} second{'' if seconds == '1' else 's'} {direction} {whose}; set every machine's clock by "
        "NTP, since a worker drops session cookies from another one's future"
    )
    return ("failure" if abs(skew) > TOO_MUCH else "warning"), sentence
