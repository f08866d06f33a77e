"""Where people are sent: by ``next`` to this host and nowhere else, by the configuration within the application."""

from __future__ import annotations

from urllib.parse import urlsplit

MAX_LENGTH = 1024
"""Bytes; a longer target is dropped rather than carried in a cookie, which browsers drop above 4 kB."""


def safe_path(target: str | None, host: str) -> str | None:
    """Return ``target`` as a path on this host, or ``None`` when it leads anywhere else (ASVS 5.0, 3.7.2).

    A browser reads a URL more kindly than a parser does: it takes a backslash for a slash and drops tabs and line ends.
    So everything but a plain path is refused, but for a URL that names exactly this host. Halves of characters, which JSON
    can name, fit into no ``Location`` header.

    :param host: the request's host with its port, as the browser knows it.
    """
    if (
        not target
        or len(target.encode(errors="replace")) > MAX_LENGTH
        or "\\" in target
        or any(ord(each) <= 32 or ord(each) == 127 or "\ud800" <= each <= "\udfff" for each in target)
    ):
        return None
    try:
        parts = urlsplit(target)
    except ValueError:
        return None
    if parts.scheme or parts.netloc:
        if parts.scheme not in ("http", "https") or parts.netloc != host:
            return None
        target = parts._replace(scheme="", netloc="").geturl() or "/"
    return target if target.startswith("/") and not target.startswith("//") else None


def mounted(target: str, root: str) -> str:
    """Return a configured ``target`` as the browser has to know it: a path is the application's own, as its routes are.

    A whole URL leads where it says.

    :param root: the path that the application is mounted at, ``""`` for the whole of its host.
    """
    return root + target if target.startswith("/") and not target.startswith("//") else target
