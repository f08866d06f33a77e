"""A mailbox: the name and the one address that a mail comes from, or that an answer goes to."""

from __future__ import annotations

import re
from email.utils import formataddr, parseaddr
from functools import lru_cache
from typing import NamedTuple

_LOCAL = re.compile(r"(?=.{1,64}$)[\w!#$%&'*+/=?^`{|}~-]+(\.[\w!#$%&'*+/=?^`{|}~-]+)*", re.ASCII)
_DOMAIN = re.compile(r"[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?|\[[0-9a-f.:]+\]", re.ASCII | re.IGNORECASE)

_CURE = 'give one address, such as "no-reply@example.com" or "A shop <no-reply@example.com>"'


class Mailbox(NamedTuple):
    """A checked mailbox.

    :param name: what mail programs show, as it is read; ``""`` without one.
    :param address: in ASCII, an international domain in its IDNA form.
    """

    name: str
    address: str

    @property
    def domain(self) -> str:
        """What stands behind the ``@``."""
        return self.address.rpartition("@")[2]


def parse_mailbox(value: object) -> Mailbox:
    """Return the mailbox that a setting names: ``"address"``, ``"name <address>"``, or a pair of name and address.

    :raises ValueError: it names none, or more than one. The text says what to give.
    """
    if isinstance(value, tuple) and len(value) == 2 and isinstance(value[0] or "", str) and isinstance(value[1], str):
        return _checked(value[0] or "", value[1])
    if not isinstance(value, str):
        raise ValueError(_CURE)
    return _parsed(value)


@lru_cache(maxsize=64)
def _parsed(value: str) -> Mailbox:
    name, address = parseaddr(value.strip())
    # What `parseaddr` does not understand it leaves out: of `Shop, Berlin <no-reply@example.com>` the address.
    if not value.strip().endswith(f"<{address}>" if "<" in value else address) or not value.strip().isprintable():
        quoted = formataddr(("Shop, Inc", "no-reply@example.com"))
        raise ValueError(f"{_CURE}; a name with a comma or another special character goes in quotes: '{quoted}'")
    if "<" not in value and address != value.strip():
        raise ValueError(_CURE)
    return _checked(name, address)


def _checked(name: str, address: str) -> Mailbox:
    local, _, domain = address.rpartition("@")
    try:
        domain = domain.encode("idna").decode()
    except UnicodeError:
        domain = ""
    if not _LOCAL.fullmatch(local) or not _DOMAIN.fullmatch(domain) or not name.isprintable():
        raise ValueError(_CURE)
    return Mailbox(name, f"{local}@{domain}")
