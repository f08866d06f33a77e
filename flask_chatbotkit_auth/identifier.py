"""The identifier: an email address, normalised so that one person has one account."""

from __future__ import annotations

import unicodedata
from functools import lru_cache

from .exceptions import InvalidEmail

MAX_LENGTH = 254
"""The most characters in an address (RFC 5321 §4.5.3.1.3, without the angle brackets)."""

MAX_LOCAL_LENGTH = 64
"""The most characters before the ``@`` (RFC 5321 §4.5.3.1.1)."""

MASKED = "•••@"
"""The text in a masked address that replaces everything before the ``@`` except the first character."""


SPECIAL_DOMAINS = ("local", "localhost", "test", "invalid", "onion", "home.arpa")
"""Domains without public mail servers, which closed networks and developers use (RFC 6761, RFC 8375)."""


def normalize_identifier(address: str, *, special_domains: bool = False) -> str:
    """Return the identifier of ``address``: in NFKC and lower case, with the domain in its ASCII (IDNA) form.

    Dots and ``+tags`` are kept, whatever a provider does with them (OWASP Input Validation, email). The part before the ``@``
    must be ASCII: most mail servers accept nothing else, and it excludes look-alike letters. Spaces and invisible characters
    around the address are removed, since text that was copied from a page or a chat often has them.

    :param special_domains: whether an address under one of :data:`SPECIAL_DOMAINS` is accepted.
    :raises InvalidEmail: it is not exactly one address. The text says why, without the address.
    """
    # A text that is too long is refused first. NFKC expands a character to at most 18.
    if len(address) > MAX_LENGTH + 64:
        raise InvalidEmail("the address is too long")
    return _normalize(address, special_domains)


def has_special_domain(identifier: str) -> bool:
    """Return whether an identifier is under one of :data:`SPECIAL_DOMAINS`."""
    return _special_domain(identifier.rpartition("@")[2]) is not None


def same_identifier(address: object, identifier: str) -> bool:
    """Return whether ``address``, from an answer of the API, has the normal form ``identifier``."""
    if not isinstance(address, str) or not address:
        return False
    if address == identifier:
        return True
    try:
        return normalize_identifier(address, special_domains=True) == identifier
    except InvalidEmail:
        return False


def mask(identifier: str) -> str:
    """Return ``a•••@example.com`` for ``ada@example.com``, for logs and JSON answers. People recognise their own."""
    local, _, domain = identifier.rpartition("@")
    return f"{local[:1]}{MASKED}{domain}"


@lru_cache(maxsize=256)
def _normalize(address: str, special_domains: bool) -> str:
    # Imported at the first address: a worker in which nobody signs in never needs it.
    from email_validator import EmailNotValidError, validate_email

    text = unicodedata.normalize("NFKC", _trim(address)).lower()
    special = _special_domain(text.rpartition("@")[2]) if special_domains else None
    if special is not None:
        # The library always refuses these domains, so the syntax is checked with a public domain instead.
        text = text.removesuffix(special) + _STAND_IN
    try:
        parts = validate_email(text, check_deliverability=False, allow_smtputf8=False)
    except EmailNotValidError:
        # The library's text can quote the address, and this one can be logged.
        raise InvalidEmail("not one valid e-mail address") from None
    domain = parts.ascii_domain or ""
    if special is not None:
        domain = domain.removesuffix(_STAND_IN) + special
    identifier = f"{parts.local_part}@{domain}"
    if "=?" in identifier:
        # This begins an encoded word (RFC 2047). A mail server that decodes it would deliver to another address.
        raise InvalidEmail("not one valid e-mail address")
    if len(identifier) > MAX_LENGTH or len(parts.local_part) > MAX_LOCAL_LENGTH:
        raise InvalidEmail("the address is too long")
    return identifier


_STAND_IN = "example.com"


def _special_domain(domain: str) -> str | None:
    return next((each for each in SPECIAL_DOMAINS if domain == each or domain.endswith(f".{each}")), None)


def _trim(text: str) -> str:
    """Remove spaces and invisible characters at both ends. Control characters stay, so that the address is refused."""
    start, end = 0, len(text)
    while start < end and _invisible(text[start]):
        start += 1
    while end > start and _invisible(text[end - 1]):
        end -= 1
    return text[start:end]


def _invisible(character: str) -> bool:
    # Zero-width and bidirectional marks are Cf; variation selectors are Mn. U+3164 and U+2800 are invisible letters.
    # An override, which shows text backwards, is not on pages that people copy from. It is there to deceive.
    return (
        character.isspace()
        or (unicodedata.category(character) == "Cf" and character not in "\u202d\u202e")
        or "\ufe00" <= character <= "\ufe0f"
        or character in "\u034f\u115f\u1160\u3164\uffa0\u2800"
    )
