"""A circuit breaker for an API that fails: which account can be fetched again, and when.

It applies only to the refresh of users. What a person asks for, such as a sign-in or a change of the profile, always tries.
"""

from __future__ import annotations

import random
from datetime import datetime, timedelta
from threading import Lock

from .exceptions import APIConnectionError, APIError, APITimeout
from .newest import Newest

FIRST_WAIT = timedelta(seconds=2)
LONGEST_WAIT = timedelta(minutes=5)
LONGEST_RETRY_AFTER = timedelta(hours=1)
"""The longest ``Retry-After`` that is respected."""

_PROBE = timedelta(minutes=1)
"""The time after which a probe counts as lost, since its thread may have been killed."""

_ACCOUNTS = 10_000


class Breaker:
    """Opens after a connection error, or after failures of two different accounts. Then one request at a time tries.

    If only one account fails, only that account waits. The waits double, up to five minutes, and have jitter, so that
    workers do not all try at the same moment. ``Retry-After`` makes them longer.
    """

    def __init__(self) -> None:
        self._lock = Lock()
        self._accounts: Newest[str, tuple[int, datetime]] = Newest(_ACCOUNTS)
        self._failing: set[str] = set()
        self._openings = 0
        self._again_at: datetime | None = None
        self._probe_until: datetime | None = None

    def may_try(self, account: str, now: datetime) -> bool:
        """Return whether ``account`` can be fetched now.

        If so, the caller must report the result with one of the methods below.
        """
        with self._lock:
            if (own := self._accounts.get(account)) is not None and now < own[1]:
                return False
            if self._again_at is None:
                return True
            if now < self._again_at or (self._probe_until is not None and now < self._probe_until):
                return False
            self._probe_until = now + _PROBE
            return True

    def hold(self, account: str, until: datetime) -> None:
        """Do not fetch one account until then, for a reason that says nothing about the API."""
        with self._lock:
            self._probe_until = None
            self._note(account, self._accounts.get(account, (0, until))[0], until)

    def succeeded(self, account: str) -> None:
        """Note that the API has answered."""
        with self._lock:
            self._accounts.pop(account, None)
            self._failing.clear()
            self._openings = 0
            self._again_at = self._probe_until = None

    def failed(self, account: str, error: APIError, now: datetime) -> None:
        """Note that the API could not be reached, or failed for ``account``."""
        asked = min(timedelta(seconds=getattr(error, "retry_after", None) or 0), LONGEST_RETRY_AFTER)
        with self._lock:
            self._failing.add(account)
            failures = self._accounts.get(account, (0, now))[0]
            again_at = now + max(_wait(failures), asked)
            is_open = self._again_at is not None
            if is_open or isinstance(error, (APIConnectionError, APITimeout)) or len(self._failing) > 1:
                wait = max(_wait(self._openings), asked)
                self._again_at = max(self._again_at or now, now + wait)
                self._openings += 1
                # The next probe should be about another account, if there is a request of one.
                again_at = max(again_at, self._again_at + wait / 4)
            self._probe_until = None
            self._note(account, failures + 1, again_at)

    def _note(self, account: str, failures: int, again_at: datetime) -> None:
        self._accounts[account] = (failures, again_at)


def _wait(failures: int) -> timedelta:
    longest = min(FIRST_WAIT * (1 << min(failures, 10)), LONGEST_WAIT)
    return longest * random.uniform(0.8, 1)  # noqa: S311  # spreads the workers, guards nothing
