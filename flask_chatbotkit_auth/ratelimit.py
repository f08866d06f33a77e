"""Rate limits, counted by the *limits* library.

It is imported by the first limiter and not with the package: it takes as long as all that the package itself imports.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext, suppress
from functools import cached_property
from typing import TYPE_CHECKING, cast

from .clock import utcnow
from .exceptions import ConfigurationError, RateLimited, StoreError
from .keys import keyed_digest
from .remote import client_networks

if TYPE_CHECKING:
    from limits import RateLimitItem
    from limits.storage import Storage


FIXED_LIMITS: Mapping[str, str] = {"verify:again": "5/hour", "profile:user": "30/hour"}
"""What no configuration changes: how often a challenge that is verified takes a code again, by the challenge's id, and how
often a person may change the own profile, by the user's id."""

SecretKeys = Callable[[], Sequence[str | bytes]]
"""Returns the application's secret key and, after it, its fallbacks."""


class RateLimiter:
    """The limits of one application, by name: the configured ones, such as ``request:email``, and :data:`FIXED_LIMITS`.

    A name that has no limit lets everything pass. Keys are counted under an HMAC, so that nobody who reads the storage
    finds an address by trying all of them.

    :param rates: limits by name, in the notation of the *limits* library; several are separated by ``;``.
    :param storage: where to count, an object or URI of the *limits* library.
    :param secret_keys: returns the keys from which that of the HMAC is derived.
    :raises ConfigurationError: a limit or the URI is not one that the library knows.
    """

    def __init__(self, rates: Mapping[str, str | None], storage: Storage | str, secret_keys: SecretKeys) -> None:
        from limits.strategies import FixedWindowRateLimiter

        self._items = {name: _parse(name, rate) for name, rate in rates.items() if rate is not None}
        if isinstance(storage, str):
            storage = _open(storage)
        self._storage = storage
        self._limiter = FixedWindowRateLimiter(storage)
        self._secret_keys = secret_keys

    def hit(self, name: str, key: str, *, times: int = 1) -> None:
        """Count one against the limit ``name`` for ``key``, such as an identifier.

        Counting and checking are one step, so that any number of workers together never exceed the limit.

        :param times: how many times the limit holds for this key.
        :raises RateLimited: the limit is reached; ``retry_after`` says for how long.
        :raises StoreError: it cannot be counted.
        """
        for item in self._items.get(name, ()):
            item = _multiplied(item, times)
            digest = self._digest(key)
            try:
                if self._limiter.hit(item, name, digest):
                    continue
                reset = self._limiter.get_window_stats(item, name, digest).reset_time
                count = self._storage.get(item.key_for(name, digest))
            except StoreError:
                raise  # which says what is wrong, and the cure
            except self._errors as error:
                raise StoreError(
                    f"the rate limits cannot be counted ({type(error).__name__}): check that what "
                    "CHATBOTKIT_AUTH_RATE_LIMIT_STORAGE_URI names runs and can be reached"
                ) from error
            seconds = max(1, math.ceil(reset - utcnow().timestamp()))
            raise RateLimited(seconds, name, first=count == item.amount + 1)

    def together(self) -> AbstractContextManager[None]:
        """Count several times inside for the price of one way to the storage, where it knows how.

        Each :meth:`hit` stays a step of its own. Nothing that waits for anybody but the storage belongs inside.
        """
        together = getattr(self._storage, "together", None)
        return nullcontext() if together is None else cast("AbstractContextManager[None]", together())

    def hit_client(self, name: str, address: str | None) -> None:
        """Count one for a client, and for the networks that an IPv6 client may have whole.

        :param address: the request's ``remote_addr``.
        :raises RateLimited: as :meth:`hit`.
        :raises StoreError: as :meth:`hit`.
        """
        for network, times in client_networks(address):
            self.hit(name, network, times=times)

    def refund(self, name: str, key: str, *, times: int = 1) -> None:
        """Take back one :meth:`hit`, where the storage can (Memcached cannot) and the window it fell into still lasts."""
        self.refund_all([(name, key, times)])

    def refund_all(self, hits: Iterable[tuple[str, str, int]]) -> None:
        """Take back several hits, in one step where the storage is a store of ours.

        :param hits: of each the name of the limit, the key, and how many times the limit holds for it.
        """
        items = [
            (_multiplied(item, times), name, self._digest(key))
            for name, key, times in hits
            for item in self._items.get(name, ())
        ]
        # Called after a success, which a count that stays too high must not turn into a failure.
        with suppress(*self._errors):
            if not hasattr(self._storage, "take_back"):
                for item, name, digest in items:
                    self._take_back(item, name, digest)
            elif items:
                self._storage.take_back([item.key_for(name, digest) for item, name, digest in items])

    def _take_back(self, item: RateLimitItem, name: str, digest: str) -> None:
        with suppress(*self._errors):
            # A new window must not begin below zero: it would let one more pass than the limit.
            if self._storage.get(item.key_for(name, digest)) > 0:
                self._limiter.hit(item, name, digest, cost=-1)

    def clear(self, name: str, key: str) -> None:
        """Forget every hit of ``key`` against the limit ``name``, those counted under an earlier secret key as well.

        :raises StoreError: the storage cannot be reached.
        """
        for secret_key in self._secret_keys():
            for item in self._items.get(name, ()):
                try:
                    self._limiter.clear(item, name, _digest(secret_key, key))
                except StoreError:
                    raise
                except self._errors as error:
                    raise StoreError(f"the rate limits cannot be cleared ({type(error).__name__})") from error

    @property
    def shared(self) -> bool:
        """Whether other processes see the same counts."""
        from limits.storage import MemoryStorage

        return not isinstance(self._storage, MemoryStorage)

    def check(self) -> bool:
        """Return whether the storage answers."""
        return bool(self._storage.check())

    def _digest(self, key: str) -> str:
        keys = self._secret_keys()
        if not keys:
            raise ConfigurationError(
                "SECRET_KEY is not set. Rate limits are counted under a key that is derived from it."
            )
        return _digest(keys[0], key)

    @cached_property
    def _errors(self) -> tuple[type[Exception], ...]:
        errors = self._storage.base_exceptions
        return (*errors, StoreError) if isinstance(errors, tuple) else (errors, StoreError)


def _digest(secret_key: str | bytes, key: str) -> str:
    return keyed_digest(secret_key, "rate limits", key)[:32]


def _multiplied(item: RateLimitItem, times: int) -> RateLimitItem:
    return item if times == 1 else type(item)(item.amount * times, item.multiples, item.namespace)


def _parse(name: str, rate: str) -> list[RateLimitItem]:
    from limits import parse_many

    try:
        return parse_many(rate)
    except ValueError:
        raise ConfigurationError(
            f'CHATBOTKIT_AUTH_RATE_LIMITS: "{rate}" for {name} is not a limit. Write one such as "5/15minutes", or several '
            'such as "20/hour;50/day".'
        ) from None


def _open(uri: str) -> Storage:
    from limits import errors
    from limits.storage import storage_from_string

    if uri.startswith("sqlalchemy+"):
        from .stores import limits as counting  # noqa: F401  # makes this kind of URI known to the library
    try:
        return cast("Storage", storage_from_string(uri))
    except (errors.ConfigurationError, ValueError) as error:
        raise ConfigurationError(
            "CHATBOTKIT_AUTH_RATE_LIMIT_STORAGE_URI cannot be opened by the limits library. Give one of its URIs, such as "
            f"redis://host:6379, and install its driver ({type(error).__name__})."
        ) from None
