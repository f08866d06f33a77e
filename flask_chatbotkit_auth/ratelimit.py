"""Rate limits, counted with the *limits* library.

The library is imported with the first limiter, since that takes as long as importing the package itself.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext, suppress
from functools import cached_property
from typing import TYPE_CHECKING, Any, cast

from .clock import utcnow
from .exceptions import ConfigurationError, RateLimited, StoreError
from .keys import NO_SECRET_KEY, keyed_digest
from .remote import client_networks

if TYPE_CHECKING:
    from limits import RateLimitItem
    from limits.storage import Storage


FIXED_LIMITS: Mapping[str, str] = {"verify:again": "5/hour", "profile:user": "30/hour"}
"""The limits that cannot be configured.

They are how often a verified challenge accepts a code again, by the id of the challenge, and how often a person can change
their profile, by the id of the user.
"""

TIMEOUT = 5.0
"""Seconds to wait until a Redis accepts a connection, and until it answers."""

SecretKeys = Callable[[], Sequence[str | bytes]]
"""Returns the application's secret key, and after it its fallbacks."""


class RateLimiter:
    """The rate limits of an application: the configured ones, such as ``request:email``, and :data:`FIXED_LIMITS`.

    A name without a limit is never refused. Keys are stored as HMACs, so that somebody who reads the storage cannot find
    addresses by trying them.

    :param rates: the limits by name, in the notation of the *limits* library. Several are separated by ``;``.
    :param storage: where to count: a storage of the *limits* library, or its URI.
    :param secret_keys: returns the keys from which the key of the HMAC is derived.
    :raises ConfigurationError: the library does not accept a limit or the URI.
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
        """Count one hit against the limit ``name`` for ``key``, such as an identifier.

        Counting and checking are one step, so that all workers together never exceed the limit.

        :param times: the factor by which the limit is multiplied for this key.
        :raises RateLimited: the limit is reached. ``retry_after`` says for how long.
        :raises StoreError: the storage failed.
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
                raise  # its text has the cause and the cure
            except self._errors as error:
                raise StoreError(
                    f"the rate limits cannot be counted ({type(error).__name__}): check that what "
                    "CHATBOTKIT_AUTH_RATE_LIMIT_STORAGE_URI names runs and can be reached"
                ) from error
            seconds = max(1, math.ceil(reset - utcnow().timestamp()))
            raise RateLimited(seconds, name, first=count == item.amount + 1)

    def together(self) -> AbstractContextManager[None]:
        """Use one connection for all counts inside, if the storage supports it.

        Each :meth:`hit` is still its own step. Code inside must wait for nothing but the storage.
        """
        together = getattr(self._storage, "together", None)
        return nullcontext() if together is None else cast("AbstractContextManager[None]", together())

    def hit_client(self, name: str, address: str | None) -> None:
        """Count one hit for a client, and for the networks of an IPv6 client.

        :param address: the request's ``remote_addr``.
        :raises RateLimited: as :meth:`hit`.
        :raises StoreError: as :meth:`hit`.
        """
        for network, times in client_networks(address):
            self.hit(name, network, times=times)

    def refund(self, name: str, key: str, *, times: int = 1) -> None:
        """Undo one :meth:`hit`, if its window still lasts and the storage supports it (Memcached does not)."""
        self.refund_all([(name, key, times)])

    def refund_all(self, hits: Iterable[tuple[str, str, int]]) -> None:
        """Undo several hits, in one step if the storage is one of our stores.

        :param hits: for each hit, the name of the limit, the key, and the factor of the limit.
        """
        items = [
            (_multiplied(item, times), name, self._digest(key))
            for name, key, times in hits
            for item in self._items.get(name, ())
        ]
        # This is called after a success, which must not fail if this fails. A count then only stays too high.
        with suppress(*self._errors):
            if not hasattr(self._storage, "take_back"):
                for item, name, digest in items:
                    self._take_back(item, name, digest)
            elif items:
                self._storage.take_back([item.key_for(name, digest) for item, name, digest in items])

    def _take_back(self, item: RateLimitItem, name: str, digest: str) -> None:
        with suppress(*self._errors):
            # A new window must not begin below zero, which would allow one hit too many.
            if self._storage.get(item.key_for(name, digest)) > 0:
                self._limiter.hit(item, name, digest, cost=-1)

    def clear(self, name: str, key: str) -> None:
        """Delete the hits of ``key`` against the limit ``name``, including those under an earlier secret key.

        :raises StoreError: the storage cannot be reached.
        """
        for secret_key in self._required_keys():
            for item in self._items.get(name, ()):
                try:
                    self._limiter.clear(item, name, _digest(secret_key, key))
                except StoreError:
                    raise
                except self._errors as error:
                    raise StoreError(
                        f"the rate limits cannot be cleared ({type(error).__name__}): check that what "
                        "CHATBOTKIT_AUTH_RATE_LIMIT_STORAGE_URI names runs and can be reached"
                    ) from error

    @property
    def shared(self) -> bool:
        """Whether other processes share the counts."""
        from limits.storage import MemoryStorage

        return not isinstance(self._storage, MemoryStorage)

    def check(self) -> bool:
        """Return whether the storage answers."""
        return bool(self._storage.check())

    def _digest(self, key: str) -> str:
        return _digest(self._required_keys()[0], key)

    def _required_keys(self) -> Sequence[str | bytes]:
        keys = self._secret_keys()
        if not keys:
            raise ConfigurationError(NO_SECRET_KEY)
        return keys

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


def _options(uri: str) -> dict[str, Any]:
    # With an older driver, a server that takes a command and does not answer holds the request for ever.
    if not uri.startswith(("redis", "valkey")):
        return {}
    waits = {"socket_timeout": TIMEOUT, "socket_connect_timeout": TIMEOUT}
    # The driver asks a Sentinel with options of its own, and newer ones ask up to eleven times.
    return {**waits, "sentinel_kwargs": {**waits, "retry": None}} if "+sentinel:" in uri else waits


def _open(uri: str) -> Storage:
    from limits.storage import storage_from_string

    if uri.startswith("sqlalchemy+"):
        from .stores import limits as counting  # noqa: F401  # makes this kind of URI known to the library
    try:
        storage = cast("Storage", storage_from_string(uri, **_options(uri)))
        if hasattr(client := getattr(storage, "storage", None), "connection_pool"):
            from .stores.redis_connect import check_options

            check_options(client)
    except ConfigurationError:
        raise
    except Exception as error:  # noqa: BLE001  # a cluster is connected here, and drivers have exceptions of their own
        raise ConfigurationError(
            "CHATBOTKIT_AUTH_RATE_LIMIT_STORAGE_URI cannot be opened by the limits library. Give one of its URIs, such as "
            f"redis://host:6379, install its driver, and see that a cluster runs ({type(error).__name__})."
        ) from None
    return storage
