"""The second look, a moment later, for what a lagging node of a database cluster does not have yet."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

Found = TypeVar("Found")

_LAG = 0.05
"""Seconds that a node of a database cluster may lag behind the node that stored a session or a challenge."""

_REST = 4 * _LAG
"""Seconds without a second look after one that found nothing, so that invalid tokens cannot keep every thread waiting."""


class SecondLook:
    """Looks again a moment later for what was not found, since the node that answered may lag behind."""

    def __init__(self) -> None:
        self._next = 0.0

    def __call__(self, look: Callable[[], Found | None]) -> Found | None:
        """Call ``look``, and again if it finds nothing, unless a second look has just been useless."""
        found = look()
        if found is None and time.monotonic() >= self._next:
            time.sleep(_LAG)
            found = look()
            if found is None:
                self._next = time.monotonic() + _REST
        return found
