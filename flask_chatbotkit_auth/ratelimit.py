"""Rate limits, counted by the *limits* library.

It is imported by the first limiter and not with the package: it takes as long as all that the package itself imports.
"""

from __future__ import annotations

import hashlib
import ipaddress
import math
from collections.abc import Callable, Mapping
from functools import cached_property
from typing import TYPE_CHECKING, cast

from .clock import utcnow
from .exceptions import ConfigurationError, RateLimited, StoreError

if TYPE_CHECKING:
    from limits import RateLimitItem
    from limits.storage import Storage


FIXED_LIMITS: Mapping[str, str] = {"verify:again": "5/hour"}
"""What no configuration changes: how often a challenge that is verified takes a code again, by the challenge's id."""


class RateLimiter:
    """The limits of one application, by name: the configured ones, such as ``request:email``, and :data:`FIXED_LIMITS`.

    A name that has no limit lets everything pass.

    :param rates: limits by name, in the notation of the *limits* library.
    :param storage: where to count, an object or URI of the *limits* library.
    :raises ConfigurationError: a limit or the URI is not one that the library knows.
    """

    def __init__(self, rates: Mapping[str, str | None], storage: Storage | str) -> None:
        from limits.strategies import FixedWindowRateLimiter

        self._items = {name: _parse(name, rate) for name, rate in rates.items() if rate is not None}
        if isinstance(storage, str):
            storage = _open(storage)
        self._storage = storage
        self._limiter = FixedWindowRateLimiter(storage)

    def hit(self, name: str, key: str) -> None:
        """Count one against the limit ``name`` for ``key``, an identifier or client address.

        Counting and checking are one step, so that any number of workers together never exceed the limit.

        :raises RateLimited: the limit is reached; ``retry_after`` says for how long.
        :raises StoreError: it cannot be counted.
        """
        item = self._items.get(name)
        if item is None:
            return
        hashed = _hashed(key)
        try:
            if self._limiter.hit(item, name, hashed):
                return
            reset = self._limiter.get_window_stats(item, name, hashed).reset_time
        except self._errors as error:
            raise StoreError(f"the rate limits cannot be counted ({type(error).__name__})") from error
        raise RateLimited(max(1, math.ceil(reset - utcnow().timestamp())), name)

    def refund(self, name: str, key: str) -> None:
        """Take back one :meth:`hit`, where the storage can (Memcached cannot) and the window it fell into still lasts."""

        def work(item: RateLimitItem) -> None:
            # A new window must not begin below zero: it would let one more pass than the limit.
            hashed = _hashed(key)
            if getattr(self._storage, "never_below_zero", False) or self._storage.get(item.key_for(name, hashed)) > 0:
                self._limiter.hit(item, name, hashed, cost=-1)

        self._quietly(name, work)

    def clear(self, name: str, key: str) -> None:
        """Forget every hit of ``key`` against the limit ``name``."""
        self._quietly(name, lambda item: self._limiter.clear(item, name, _hashed(key)))

    def check(self) -> bool:
        """Return whether the storage answers."""
        return bool(self._storage.check())

    def _quietly(self, name: str, work: Callable[[RateLimitItem], object]) -> None:
        # Called after a success, which a count that stays too high must not turn into a failure.
        item = self._items.get(name)
        if item is not None:
            try:
                work(item)
            except self._errors:
                pass

    @cached_property
    def _errors(self) -> tuple[type[Exception], ...]:
        errors = self._storage.base_exceptions
        return (*errors, StoreError) if isinstance(errors, tuple) else (errors, StoreError)


def client_key(address: str | None) -> str:
    """Return what a client address is counted under: an IPv6 address by its /64, which one customer has whole."""
    try:
        ip = ipaddress.ip_address(address or "")
    except ValueError:
        return address or "unknown"
    if ip.version == 4:
        return str(ip)
    if ip.ipv4_mapped is not None:
        return str(ip.ipv4_mapped)
    return str(ipaddress.IPv6Network((int(ip) >> 64 << 64, 64)))


def _hashed(key: str) -> str:
    # No storage learns an address, and every key is of one length whatever was typed.
    return hashlib.sha256(key.encode()).hexdigest()[:32]


def _parse(name: str, rate: str) -> RateLimitItem:
    from limits import parse

    try:
        return parse(rate)
    except ValueError:
        raise ConfigurationError(
            f'CHATBOTKIT_AUTH_RATE_LIMITS: "{rate}" for {name} is not a limit. Write one such as "5/15minutes".'
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
