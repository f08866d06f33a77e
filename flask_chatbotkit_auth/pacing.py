"""Answers that take equally long, whoever has an account: what only some of them do is hidden in a padded duration."""

from __future__ import annotations

import math
import random
import time
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager

COLD = 0.3
"""Seconds that an answer takes at least while a worker has sent few codes: the first ones load modules and templates."""

_ENOUGH = 8


class Pace:
    """How long it took this worker lately to send a code, and to only seem to; and answers that take as long as both.

    Whether a code was sent must not show in the time, which a stopwatch far away can tell to the millisecond when it
    measures often enough. So every answer takes at least as long as nine of ten of either kind took, and now and then as
    long as any of the other kind.
    """

    def __init__(self) -> None:
        self._durations: dict[bool, deque[float]] = {sends: deque(maxlen=64) for sends in (True, False)}

    def __repr__(self) -> str:
        return "Pace()"

    @contextmanager
    def padded(self, *, sends: bool) -> Iterator[None]:
        """Make what runs inside take the usual time, whether it ends well or raises.

        :param sends: whether it sends a code.
        """
        start = time.perf_counter()
        least = self._usual(sends)
        try:
            yield
        finally:
            elapsed = time.perf_counter() - start
            self._durations[sends].append(elapsed)
            time.sleep(max(0.0, least - elapsed))

    def _usual(self, sends: bool) -> float:
        own, other = tuple(self._durations[sends]), tuple(self._durations[not sends])
        if len(own) + len(other) < _ENOUGH:
            return max((COLD, *own, *other))
        least = max(_nine_of_ten(own), _nine_of_ten(other))
        return max(least, random.choice(other)) if other else least  # noqa: S311  # no secret


def _nine_of_ten(durations: tuple[float, ...]) -> float:
    return sorted(durations)[math.ceil(len(durations) * 0.9) - 1] if durations else 0.0
