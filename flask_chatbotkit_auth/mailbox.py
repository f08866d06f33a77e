"""A mailbox: an address with or without a name, for the sender of mails and for replies."""

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

    :param name: the name that mail programs show; ``""`` without one.
    :param address: the address in ASCII, with an international domain in its IDNA form.
    """

    name: str
    address: str

    @property
    def domain(self) -> str:
        """The part after the ``@``."""
        return self.address.rpartition("@")[2]


def parse_mailbox(value: object) -> Mailbox:
    """Return the mailbox that a setting names: ``"address"``, ``"name <address>"``, or a pair of name and address.

    :raises ValueError: it is not exactly one mailbox. The text says what to write.
    """
    if isinstance(value, tuple) and len(value) == 2 and isinstance(value[0] or "", str) and isinstance(value[1], str):
        return _checked(value[0] or "", value[1])
    if not isinstance(value, str):
        raise ValueError(_CURE)
    return _parsed(value)


@lru_cache(maxsize=64)
def _parsed(value: str) -> Mailbox:
    name, address = parseaddr(value.strip())
    # `parseaddr` omits what it does not understand: in `Shop, Berlin <no-reply@example.com>` the address.
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
