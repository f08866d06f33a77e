"""The identifier: one e-mail address, normalised so that one person is one account."""

from __future__ import annotations

import unicodedata
from functools import lru_cache

from .exceptions import InvalidEmail

MAX_LENGTH = 254
"""Characters in an address that a mail server must accept (RFC 5321 §4.5.3.1.3, less the angle brackets)."""

MAX_LOCAL_LENGTH = 64
"""Characters before the ``@`` that a mail server must accept (RFC 5321 §4.5.3.1.1)."""

MASKED = "•••@"
"""What stands for all but the first character before the ``@`` of a masked address."""


def normalize_identifier(address: str) -> str:
    """Return the identifier of ``address``: NFKC, the whole of it lower-cased, the domain in its ASCII (IDNA) form.

    No provider's habits are folded: dots and ``+tags`` are kept (OWASP Input Validation, e-mail). The part before the
    ``@`` must be ASCII, since most mail servers take no other and look-alike letters live there.

    :raises InvalidEmail: it is not exactly one address. The text says why, without repeating the address.
    """
    # A longer text is refused before any work: NFKC expands a character to at most 18.
    if len(address) > MAX_LENGTH + 64:
        raise InvalidEmail("the address is too long")
    return _normalize(address)


def same_identifier(address: object, identifier: str) -> bool:
    """Whether ``address``, from an answer of the API, is the address behind ``identifier``."""
    if not isinstance(address, str) or not address:
        return False
    if address == identifier:
        return True
    try:
        return normalize_identifier(address) == identifier
    except InvalidEmail:
        return False


def mask(identifier: str) -> str:
    """Return ``a•••@example.com`` for ``ada@example.com``: enough to recognise one's own, for logs and JSON answers."""
    local, _, domain = identifier.rpartition("@")
    return f"{local[:1]}{MASKED}{domain}"


@lru_cache(maxsize=256)
def _normalize(address: str) -> str:
    # Imported at the first address and not with the package: a worker that signs nobody in never needs it.
    from email_validator import EmailNotValidError, validate_email

    text = unicodedata.normalize("NFKC", address.strip()).lower()
    try:
        parts = validate_email(text, check_deliverability=False, allow_smtputf8=False)
    except EmailNotValidError:
        # The library's sentence may quote the address, and this text may be logged.
        raise InvalidEmail("not one valid e-mail address") from None
    identifier = f"{parts.local_part}@{parts.ascii_domain}"
    if "=?" in identifier:
        # The beginning of an encoded word (RFC 2047): a mail server that decodes it delivers to another address.
        raise InvalidEmail("not one valid e-mail address")
    if len(identifier) > MAX_LENGTH or len(parts.local_part) > MAX_LOCAL_LENGTH:
        raise InvalidEmail("the address is too long")
    return identifier
