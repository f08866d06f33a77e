"""How far two clocks may differ, and what the doctor says about it."""

from __future__ import annotations

from datetime import timedelta

from .findings import Look

WORTH_A_WARNING = timedelta(seconds=1)
"""From this difference on, a worker may reject a session cookie that another worker has just signed."""

TOO_MUCH = timedelta(seconds=60)


def told(skew: timedelta, whose: str) -> Look:
    """Return the finding for a clock.

    :param skew: how far this machine's clock is ahead of the other one; negative if it is behind.
    """
    if abs(skew) < WORTH_A_WARNING:
        return "ok", f"this machine and {whose} agree on the time"
    seconds = f"{abs(skew).total_seconds():.0f}"
    direction = "ahead of" if skew > timedelta(0) else "behind"
    sentence = (
        f"this machine is {seconds} second{'' if seconds == '1' else 's'} {direction} {whose}; set every machine's clock by "
        "NTP, since a worker drops session cookies from another one's future"
    )
    return ("failure" if abs(skew) > TOO_MUCH else "warning"), sentence
