"""What each step of a flow counts against the rate limits, and what it refunds."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from ..devices import known_device
from ..exceptions import APIError, APIStatusError, MailError, RateLimited
from ..proxies import running_app, this_request
from ..remote import client_address, client_networks, parse_ip
from ..signals import emit, limit_reached
from ..state import AuthState, current_auth, current_state

Hit = tuple[str, str, int]
"""One count: the name of the limit, the key, and the factor of the limit."""


def count(step: str, identifier: str) -> list[Hit]:
    """Count a request for a code, or a code that was typed.

    A browser that has proved the address before has its own limit, which nobody else can use up. When it is used up, the
    browser is refused, and does not use the shared limit.

    :param step: ``"request"`` or ``"verify"``.
    :returns: the counts for ``RateLimiter.refund_all``, that of the address or the device first.
    :raises RateLimited: a limit of this address, this device or this client is reached.
    """
    with telling_limits(identifier), current_auth.limiter.together():
        return count_untold(step, identifier)


def count_untold(step: str, identifier: str) -> list[Hit]:
    """Count as :func:`count`, but send no ``limit_reached``, whose receivers must not run while a connection is held."""
    auth = current_state()
    _warn_if_clients_share_an_address(auth)
    address = this_request().remote_addr
    of_client = [(f"{step}:ip", network, times) for network, times in client_networks(address)]
    hits = [_bucket(auth, step, identifier), *of_client]
    # The client first: a client over its own limit must not use up the limit of an address.
    for name, key, times in (*of_client, hits[0]):
        auth.limiter.hit(name, key, times=times)
    return hits


@contextmanager
def request_refunded(counted: Sequence[Hit]) -> Iterator[None]:
    """Refund the count of a request if the code inside fails with a failure that affects everybody.

    A failure for only this address stays counted. Otherwise somebody who makes mails fail on purpose would have no limit. The
    count of the client is never refunded.

    :param counted: the result of :func:`count`.
    """
    try:
        yield
    except (APIError, MailError) as error:
        if _is_everybodys(error):
            current_auth.limiter.refund_all(counted[:1])
        raise


@contextmanager
def telling_limits(identifier: str = "") -> Iterator[None]:
    """Send ``limit_reached`` if a limit refuses for the first time in its window inside."""
    try:
        yield
    except RateLimited as error:
        if error.first:
            told = {"limit": error.limit, "identifier": identifier, "retry_after": error.retry_after}
            emit(limit_reached, running_app(), **told)
        raise


def _bucket(auth: AuthState, step: str, identifier: str) -> Hit:
    nonce = known_device(identifier, lifetime=auth.config.device_lifetime, now=auth.clock())
    if nonce is None:
        return f"{step}:email", identifier, 1
    return f"{step}:device", f"{nonce}:{identifier}", 1


def _is_everybodys(error: APIError | MailError) -> bool:
    if isinstance(error, MailError):
        return error.for_everybody
    return not (isinstance(error, APIStatusError) and error.status in (400, 404, 409, 422))


def _warn_if_clients_share_an_address(auth: AuthState) -> None:
    request = this_request()
    address = client_address(request.remote_addr)
    ip = parse_ip(address or "")
    if ip is None:
        auth.warn_once(
            "requests come without a client's address, as through a Unix socket: the limits by client count all of them as "
            "one. Let the proxy in front send X-Forwarded-For, and add ProxyFix."
        )
        return
    proxied = "X-Forwarded-For" in request.headers or "Forwarded" in request.headers
    if proxied and (ip.is_private or ip.is_loopback) and "werkzeug.proxy_fix.orig" not in request.environ:
        auth.warn_once(
            "requests come through a proxy, and every client has its address: the limits by client count all of them as "
            "one. Add ProxyFix."
        )
