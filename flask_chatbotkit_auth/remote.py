"""The client of a request: its address, its user agent, and the networks that rate limits count it under."""

from __future__ import annotations

import ipaddress
from functools import lru_cache

MAX_ADDRESS = 45
"""The most characters of an address. A text that is not an address is cut to this length."""

MAX_PROGRAM = 400
"""The most characters of a user agent."""

UNKNOWN = "unknown"
"""The address of a client that has none, as behind a Unix socket."""


@lru_cache(maxsize=1024)
def client_address(remote_addr: str | None) -> str | None:
    """Return the client's address without a port and without the brackets of IPv6, or ``None`` if it has none.

    Some proxies (Azure Application Gateway, IIS) append the port to ``X-Forwarded-For``. It differs for each connection, so
    each connection would count as another client.

    :param remote_addr: the request's ``remote_addr``, as ``ProxyFix`` leaves it.
    """
    text = (remote_addr or "").strip()
    ip = parse_ip(text)
    if ip is None and text.startswith("["):
        ip = parse_ip(text[1:].partition("]")[0])
    elif ip is None and text.count(":") == 1:
        ip = parse_ip(text.partition(":")[0])
    if ip is None:
        return _shown(text)[:MAX_ADDRESS] or None
    mapped = ip.ipv4_mapped if isinstance(ip, ipaddress.IPv6Address) else None
    return str(mapped or ip)


def client_program(user_agent: str) -> str | None:
    """Return the user agent of a client, cut to :data:`MAX_PROGRAM`, or ``None`` if it sends none.

    :param user_agent: the request's ``User-Agent``. It can contain anything, and not every database accepts control
        characters.
    """
    return _shown(user_agent)[:MAX_PROGRAM] or None


@lru_cache(maxsize=1024)
def client_networks(remote_addr: str | None) -> tuple[tuple[str, int], ...]:
    """Return the networks that a client counts under, each with the factor by which the limit is multiplied for it.

    An IPv4 address counts on its own. With IPv6, one customer has at least a /64, and often a /56 or a /48. A /56 has twice
    the limit, and a /48 three times.
    """
    address = client_address(remote_addr) or UNKNOWN
    ip = parse_ip(address)
    if not isinstance(ip, ipaddress.IPv6Address):
        return ((address, 1),)
    return tuple((_network(ip, size), times) for size, times in ((64, 1), (56, 2), (48, 3)))


def _shown(text: str) -> str:
    return text if text.isprintable() else "".join(each for each in text if each.isprintable())


@lru_cache(maxsize=1024)
def parse_ip(text: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    """Return the IP address in a text, or ``None``."""
    try:
        return ipaddress.ip_address(text)
    except ValueError:
        return None


def _network(ip: ipaddress.IPv6Address, size: int) -> str:
    return str(ipaddress.IPv6Network((int(ip) >> (128 - size) << (128 - size), size)))
