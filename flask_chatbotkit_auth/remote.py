"""Where a request comes from: the client's address without its port, and the networks that a client is counted by."""

from __future__ import annotations

import ipaddress
from functools import lru_cache

MAX_ADDRESS = 45
"""Characters in an address; what is no address is cut there."""

MAX_PROGRAM = 400
"""Characters of what a client calls itself."""

UNKNOWN = "unknown"
"""Stands for the address of a client that has none, as behind a Unix socket."""


@lru_cache(maxsize=1024)
def client_address(remote_addr: str | None) -> str | None:
    """Return the client's address alone, without a port and without the brackets of IPv6; ``None`` where it has none.

    Some proxies (Azure Application Gateway, IIS) append the port to ``X-Forwarded-For``. It is another one for each
    connection, and would make each of them another client.

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
    """Return what a client calls itself, cut to :data:`MAX_PROGRAM`; ``None`` where it says nothing.

    :param user_agent: the request's ``User-Agent``. It may hold anything; not every database takes a control character.
    """
    return _shown(user_agent)[:MAX_PROGRAM] or None


@lru_cache(maxsize=1024)
def client_networks(remote_addr: str | None) -> tuple[tuple[str, int], ...]:
    """Return what a client is counted under, each with the number of times a limit that holds for it.

    An IPv4 address counts for itself. Of IPv6 one customer has a /64 whole, and often a /56 or a /48: those share twice
    and three times the limit.
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
    """Return the address that a text is, or ``None``."""
    try:
        return ipaddress.ip_address(text)
    except ValueError:
        return None


def _network(ip: ipaddress.IPv6Address, size: int) -> str:
    return str(ipaddress.IPv6Network((int(ip) >> (128 - size) << (128 - size), size)))
