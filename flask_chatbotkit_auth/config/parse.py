"""A parser for each kind of setting: it takes a value of ``app.config``, or a text of the environment, and checks it.

Every parser raises :exc:`ValueError` for a wrong value, with the cure as its text.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Mapping
from datetime import timedelta

from ..mailbox import parse_mailbox

DEFAULT_RATE_LIMITS: Mapping[str, str] = {
    "request:email": "5/15minutes",
    "request:ip": "30/hour",
    "verify:email": "20/hour;50/day",
    "verify:ip": "100/hour",
    "request:device": "10/15minutes",
    "verify:device": "20/hour",
    "passkey:ip": "100/hour",
    "change:user": "5/day",
}


_ORIGIN = re.compile(r"(https?)://([a-z0-9.-]+|\[[0-9a-f:.]+\])(?::([0-9]{1,5}))?/?")
_PORTS = {"http": "80", "https": "443"}
_NEVER_KEPT = ("_user_id", "_id", "_fresh", "_remember", "_remember_seconds", "csrf_token", "chatbotkit_auth")
"""Keys of the Flask session that Flask-Login, Flask-WTF and this extension set."""


def text(value: object) -> str:
    """Return a text without the white space around it; it must not be empty."""
    if isinstance(value, int) and not isinstance(value, bool):  # Flask's `from_prefixed_env` reads "2048" as a number
        value = str(value)
    if not isinstance(value, str) or not value.strip():
        raise ValueError("give a text that is not empty")
    return value.strip()


def switch(value: object) -> bool:
    """Return a boolean, which an environment variable writes as ``true``, ``1``, ``yes`` or ``on``, or as their opposites."""
    if isinstance(value, bool) or value in (0, 1):  # Flask's `from_prefixed_env` reads "1" as a number
        return bool(value)
    if isinstance(value, str) and value.strip().lower() in ("1", "true", "yes", "on"):
        return True
    if isinstance(value, str) and value.strip().lower() in ("0", "false", "no", "off", ""):
        return False
    raise ValueError("give True or False")


def whole(minimum: int) -> Callable[[object], int]:
    """Return the parser of a whole number that is at least ``minimum``."""

    def parse(value: object) -> int:
        if isinstance(value, str) and value.strip().isdecimal():
            value = int(value)
        if isinstance(value, bool) or not isinstance(value, int) or value < minimum:
            raise ValueError(f"give a whole number of at least {minimum}")
        return value

    return parse


def duration(*, zero: bool = False) -> Callable[[object], timedelta]:
    """Return the parser of a duration, in seconds or as a ``timedelta``.

    :param zero: whether 0 is a duration too.
    """

    def parse(value: object) -> timedelta:
        if isinstance(value, str) and re.fullmatch(r"[0-9]+(\.[0-9]+)?", value.strip(), re.ASCII):
            value = float(value)
        if isinstance(value, (int, float)) and not isinstance(value, bool) and 0 <= value < 1e9:
            value = timedelta(seconds=value)
        if not isinstance(value, timedelta) or value < timedelta(0) or not (value or zero):
            raise ValueError(f"give seconds or a timedelta, {'0 or more' if zero else 'above 0'}")
        return value

    return parse


def seconds(value: object) -> float:
    """Return a number of seconds, above 0 and below an hour."""
    if isinstance(value, timedelta):
        value = value.total_seconds()
    try:
        number = float(value)  # type: ignore[arg-type]  # anything else raises TypeError, answered below
    except TypeError:
        number = 0.0
    except ValueError:
        number = 0.0
    if isinstance(value, bool) or not 0 < number < 3600:
        raise ValueError("give a number of seconds above 0")
    return number


def one_of(*words: str) -> Callable[[object], str]:
    """Return the parser of one of these words."""

    def parse(value: object) -> str:
        if value not in words:
            raise ValueError("give one of " + ", ".join(f'"{word}"' for word in words))
        return str(value)

    return parse


def adapter(value: object) -> str:
    """Return ``"partner"`` or ``"contact"``; ``"user"`` is another name for ``"partner"``."""
    kind = one_of("partner", "user", "contact")(value)
    return "partner" if kind == "user" else kind


def mailbox(value: object) -> str | tuple[str, str]:
    """Return a mailbox: an address, with or without a name, or the pair of both that Flask-Mail takes."""
    mailbox = (value[0], value[1]) if isinstance(value, (tuple, list)) and len(value) == 2 else text(value)
    parse_mailbox(mailbox)
    return mailbox


def origin(value: object) -> str:
    """Return the origin of a site in normal form: no path, no default port, the host name in ASCII."""
    origin = text(value).lower().rstrip("/")
    found = re.fullmatch(r"(https?)://([\w.-]+|\[[0-9a-f:]+\])(?::(\d{1,5}))?", origin)
    try:
        scheme, host, port = found.groups() if found else ("", "", None)
        host = host.encode("idna").decode()
    except UnicodeError:
        host = ""
    local = host in ("localhost", "127.0.0.1", "[::1]") or host.endswith(".localhost")
    if not host or (scheme == "http" and not local) or not 0 < int(port or 1) < 65536:
        raise ValueError(
            'give scheme and host of the site, without a path, such as "https://shop.example.com" (http for localhost only)'
        )
    usual = {"http": 80, "https": 443}[scheme]
    return f"{scheme}://{host}" + (f":{int(port)}" if port and int(port) != usual else "")


def path(value: object) -> str:
    """Return a path that begins with a slash and does not end with one."""
    prefix = text(value).rstrip("/")
    if not prefix.startswith("/") or "//" in prefix:
        raise ValueError('give a path that begins with a slash and is longer than it, such as "/auth"')
    return prefix


def origins(value: object) -> tuple[str, ...]:
    """Return origins in normal form, from a list, or from a text with commas between them."""
    listed = value.split(",") if isinstance(value, str) else value
    if not isinstance(listed, Iterable):
        raise ValueError('give a list of origins, such as ["https://app.example.com"]')
    origins = []
    for each in listed:
        found = _ORIGIN.fullmatch(each.strip().lower()) if isinstance(each, str) else None
        if found is None:
            if isinstance(each, str) and not each.strip():
                continue
            raise ValueError(
                f'{each!r} is no origin: give scheme, host and port alone, as in "https://app.example.com"'
            )
        scheme, host, port = found.groups()
        origins.append(f"{scheme}://{host}" + ("" if port in (None, _PORTS[scheme]) else f":{port}"))
    return tuple(origins)


def color(value: object) -> str:
    """Return a colour, as CSS writes it in hexadecimal."""
    if not isinstance(value, str) or not re.fullmatch(r"#(?:[0-9a-fA-F]{3}){1,2}", value.strip()):
        raise ValueError('give a colour as "#" and three or six hexadecimal digits, such as "#0f766e"')
    return value.strip()


def count_or_none(value: object) -> int | None:
    """Return a whole number of at least 1, or ``None`` for no limit."""
    if isinstance(value, str) and value.strip().lower() == "none":
        return None
    try:
        return whole(1)(value)
    except ValueError:
        raise ValueError("give a whole number of at least 1, or None for no cap") from None


def session_keys(value: object) -> tuple[str, ...]:
    """Return names of keys in the Flask session. A key that belongs to the sign-in itself is refused."""
    if isinstance(value, str):
        value = [key.strip() for key in value.split(",") if key.strip()]
    if not isinstance(value, (list, tuple, set, frozenset)) or not all(isinstance(key, str) and key for key in value):
        raise ValueError("give a tuple of names (in an environment variable: separated by commas)")
    for key in value:
        if key in _NEVER_KEPT or key.startswith("chatbotkit_auth"):
            raise ValueError(f"{key} belongs to the sign-in itself, and a new session must not keep it")
    return tuple(value)


def rate_limits(value: object) -> dict[str, str | None]:
    """Return all rate limits: the defaults, with the limits in ``value`` in their place."""
    cure = (
        f"give a mapping from {', '.join(DEFAULT_RATE_LIMITS)} to a limit such as "
        '"5/15minutes", or to None to switch it off (in an environment variable: as JSON)'
    )
    if isinstance(value, str):
        try:
            value = json.loads(value)
        except ValueError:
            raise ValueError(cure) from None
    if not isinstance(value, Mapping) or not value.keys() <= DEFAULT_RATE_LIMITS.keys():
        raise ValueError(cure)
    if not all(limit is None or (isinstance(limit, str) and limit) for limit in value.values()):
        raise ValueError(cure)
    return {**DEFAULT_RATE_LIMITS, **value}
