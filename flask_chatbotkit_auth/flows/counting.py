"""What each step of a flow counts against the rate limits, and what is taken back."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator
from contextlib import contextmanager

from flask import current_app, request

from ..devices import known_device
from ..exceptions import APIError, APIStatusError, MailError, RateLimited
from ..remote import client_address, client_networks
from ..signals import emit, limit_reached
from ..state import current_auth


def count(step: str, identifier: str) -> None:
    """Count one request for a code, or one code that was typed.

    A browser that has proved the address before is counted apart, so that nobody else can use up its limit; where its own
    is used up it is refused, and does not fall back to the shared one.

    :param step: ``"request"`` or ``"verify"``.
    :raises RateLimited: there were too many, for this address (or this device) or from this client.
    """
    auth = current_auth
    _warn_if_clients_share_an_address()
    with telling_limits(identifier), auth.store.connected():
        # The client first: one that is over its own limit must not use up somebody else's.
        auth.limiter.hit_client(f"{step}:ip", request.remote_addr)
        auth.limiter.hit(*_bucket(step, identifier))


def take_back(step: str, identifier: str, *, client: bool) -> None:
    """Take one :func:`count` back.

    :param client: whether that of the client's address, too.
    """
    networks = client_networks(request.remote_addr) if client else ()
    of_client = [(f"{step}:ip", network, times) for network, times in networks]
    current_auth.limiter.refund_all([(*_bucket(step, identifier), 1), *of_client])


@contextmanager
def request_refunded(identifier: str) -> Iterator[None]:
    """Take the count of a request back when what happens inside fails, and the failure is ours and everybody's.

    What fails for this address alone stays counted, or whoever makes mails fail on purpose would have no limit. The
    client's count stays in any case.
    """
    try:
        yield
    except (APIError, MailError) as error:
        if _is_everybodys(error):
            take_back("request", identifier, client=False)
        raise


@contextmanager
def telling_limits(identifier: str = "") -> Iterator[None]:
    """Signal ``limit_reached`` when a limit refuses inside for the first time in its window."""
    try:
        yield
    except RateLimited as error:
        if error.first:
            app = current_app._get_current_object()  # type: ignore[attr-defined]
            emit(limit_reached, app, limit=error.limit, identifier=identifier, retry_after=error.retry_after)
        raise


def _bucket(step: str, identifier: str) -> tuple[str, str]:
    auth = current_auth
    nonce = known_device(identifier, lifetime=auth.config.device_lifetime, now=auth.clock())
    if nonce is None:
        return f"{step}:email", identifier
    return f"{step}:device", f"{nonce}:{identifier}"


def _is_everybodys(error: APIError | MailError) -> bool:
    if isinstance(error, MailError):
        return error.for_everybody
    return not (isinstance(error, APIStatusError) and error.status in (400, 404, 409, 422))


def _warn_if_clients_share_an_address() -> None:
    address = client_address(request.remote_addr)
    try:
        ip = ipaddress.ip_address(address or "")
    except ValueError:
        current_auth.warn_once(
            "requests come without a client's address, as through a Unix socket: the limits by client count all of them as "
            "one. Let the proxy in front send X-Forwarded-For, and add ProxyFix."
        )
        return
    proxied = "X-Forwarded-For" in request.headers or "Forwarded" in request.headers
    if proxied and (ip.is_private or ip.is_loopback) and "werkzeug.proxy_fix.orig" not in request.environ:
        current_auth.warn_once(
            "requests come through a proxy, and every client has its address: the limits by client count all of them as "
            "one. Add ProxyFix."
        )
