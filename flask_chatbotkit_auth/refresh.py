"""The refresh of users: each account is fetched from time to time, by one request, for all its sessions."""

from __future__ import annotations

import logging
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass
from datetime import datetime, timedelta
from threading import Lock, get_ident

from .breaker import Breaker
from .exceptions import APIError
from .newest import Newest
from .upstream.adapters.base import UserAdapter
from .user import User

_log = logging.getLogger("flask_chatbotkit_auth")

_PEOPLE = 10_000
_CLAIMED = timedelta(seconds=5)
_UNDECIDED = timedelta(minutes=1)


class Gone(Exception):  # an answer, not an error
    """The account does not exist any more, or belongs to another parent account."""


@dataclass
class Known:
    """The newest snapshot of a person in this worker, and when it was read from the API."""

    user: User
    refreshed_at: datetime
    written_at: datetime
    """When this worker last wrote it to the store, or read it from there."""


class Directory:
    """Fetches accounts for a worker, one request at a time for each account, and keeps the snapshots.

    A refresh does not retry. The next request tries again, when the :class:`~flask_chatbotkit_auth.breaker.Breaker` allows
    it.
    """

    def __init__(self, adapter: UserAdapter, clock: Callable[[], datetime]) -> None:
        self._adapter = adapter
        self._clock = clock
        self._breaker = Breaker()
        self._lock = Lock()
        self._people: Newest[str, Known] = Newest(_PEOPLE)
        self._running: dict[str, tuple[int, Future[Known]]] = {}

    def known(self, user_id: str) -> Known | None:
        """Return the snapshot of a person that this worker has, however old it is, or ``None``."""
        return self._people.get(user_id)

    def learn(self, user: User, now: datetime, written_at: datetime | None = None) -> Known:
        """Keep the snapshot of a user who was just read from the API."""
        known = Known(user, now, written_at or now)
        with self._lock:
            self._people[user.id] = known
        return known

    def forget(self, user_id: str) -> None:
        """Forget a person."""
        with self._lock:
            self._people.pop(user_id, None)

    def refresh(
        self,
        user_id: str,
        since: datetime,
        *,
        wait: bool,
        take: Callable[[User], datetime | None],
        claim: Callable[[], bool],
    ) -> Known | None:
        """Fetch a person, unless another request is fetching them, or the breaker forbids it.

        :param since: when the caller's snapshot was read. A newer one is returned without a call.
        :param wait: whether to wait for the other request, and to raise if there is no answer.
        :param take: stores the new snapshot, and returns when it was last written; ``None`` keeps the one before.
        :param claim: returns whether this worker, and no other one, is to fetch the person.
        :returns: the person, or ``None`` if the caller should use the snapshot that it has.
        :raises Gone: the account does not exist.
        :raises APIError: only with ``wait``.
        """
        now = self._clock()
        with self._lock:
            known = self._people.get(user_id)
            if known is not None and known.refreshed_at > since:
                return known
            running = self._running.get(user_id)
            if running is None and self._breaker.may_try(user_id, now):
                own_fetch: Future[Known] = Future()
                self._running[user_id] = (get_ident(), own_fetch)
            elif running is None:
                if wait:
                    raise APIError("the user is too old to be served, and the API failed a moment ago")
                return None
        if running is not None:
            thread, fetch = running
            # The application's callbacks run during a fetch, and can ask for the current user.
            if not wait or thread == get_ident():
                return None
            return fetch.result()
        try:
            if not wait and not claim():
                self._breaker.hold(user_id, now + _CLAIMED)
                own_fetch.set_exception(APIError("another worker fetches the user"))
                return None
            result = self._fetch(user_id, take)
            own_fetch.set_result(result)
        except BaseException as error:
            own_fetch.set_exception(error)
            if isinstance(error, APIError) and not wait:
                return None
            raise
        finally:
            with self._lock:
                del self._running[user_id]
        return result

    def _fetch(self, user_id: str, take: Callable[[User], datetime | None]) -> Known:
        now = self._clock()
        try:
            user = self._ask(user_id)
        except APIError as error:
            self._breaker.failed(user_id, error, now)
            _log.warning("user %s could not be refreshed (%s)", user_id, error)
            raise
        except BaseException:
            # Gone is an answer as well. Other exceptions say nothing about the account, and must not keep anybody waiting.
            self._breaker.succeeded(user_id)
            raise
        self._breaker.succeeded(user_id)
        written_at = take(user)
        if written_at is None:
            self._breaker.hold(user_id, now + _UNDECIDED)
            raise APIError("the application could not say whether the person may stay signed in")
        return self.learn(user, now, written_at)

    def _ask(self, user_id: str) -> User:
        user = self._adapter.refresh(user_id)
        if user is None:
            raise Gone
        return user
