"""Padded answers: they take the same time whether an address has an account or not."""

from __future__ import annotations

import math
import random
import time
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager

COLD = 0.3
"""The least seconds for an answer while a worker has sent few codes. The first ones load modules and templates."""

_ENOUGH = 8


class Pace:
    """Pads answers with the recent durations of this worker, of answers that sent a code and of answers that did not.

    The time must not reveal whether a code was sent: somebody who measures often enough can see differences of a millisecond.
    So every answer takes at least as long as nine of ten recent answers of either kind, and some take as long as a random
    answer of the other kind.
    """

    def __init__(self) -> None:
        self._durations: dict[bool, deque[float]] = {sends: deque(maxlen=64) for sends in (True, False)}

    def __repr__(self) -> str:
        return "Pace()"

    @contextmanager
    def padded(self, *, sends: bool) -> Iterator[None]:
        """Pad the duration of what runs inside, even if it raises.

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
