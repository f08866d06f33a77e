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
    """How long it took this worker lately to send a code, and answers that take as long.

    Whether a code was sent must not show in the time, which a stopwatch far away can tell to the millisecond when it
    measures often enough. So each answer, with a code and without, takes at least as long as nine of ten codes took.
    """

    def __init__(self) -> None:
        self._durations: deque[float] = deque(maxlen=64)

    def __repr__(self) -> str:
        return "Pace()"

    @contextmanager
    def padded(self, *, sends: bool) -> Iterator[None]:
        """Make what runs inside take the usual time, whether it ends well or raises.

        :param sends: whether it sends a code. What does not takes now and then longer than the usual time, as sending does.
        """
        start = time.perf_counter()
        durations = tuple(self._durations)
        least = self._usual(durations)
        if not sends and durations:
            least = max(least, random.choice(durations))  # noqa: S311  # no secret
        try:
            yield
        finally:
            elapsed = time.perf_counter() - start
            if sends:
                self._durations.append(elapsed)
            time.sleep(max(0.0, least - elapsed))

    @staticmethod
    def _usual(durations: tuple[float, ...]) -> float:
        if len(durations) < _ENOUGH:
            return max((COLD, *durations))
        return sorted(durations)[math.ceil(len(durations) * 0.9) - 1]
