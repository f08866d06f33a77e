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


SPECIAL_DOMAINS = ("local", "localhost", "test", "invalid", "onion", "home.arpa")
"""Domains that no public mail server delivers to, and that closed networks and developers use (RFC 6761, RFC 8375)."""


def normalize_identifier(address: str, *, special_domains: bool = False) -> str:
    """Return the identifier of ``address``: NFKC, the whole of it lower-cased, the domain in its ASCII (IDNA) form.

    No provider's habits are folded: dots and ``+tags`` are kept (OWASP Input Validation, e-mail). The part before the
    ``@`` must be ASCII, since most mail servers take no other and look-alike letters live there. Spaces and invisible
    characters around the address are dropped, as texts that were copied from a page or a chat have them.

    :param special_domains: whether an address under one of :data:`SPECIAL_DOMAINS` is one.
    :raises InvalidEmail: it is not exactly one address. The text says why, without repeating the address.
    """
    # A longer text is refused before any work: NFKC expands a character to at most 18.
    if len(address) > MAX_LENGTH + 64:
        raise InvalidEmail("the address is too long")
    return _normalize(address, special_domains)


def has_special_domain(identifier: str) -> bool:
    """Return whether an identifier is under one of :data:`SPECIAL_DOMAINS`."""
    return _special_domain(identifier.rpartition("@")[2]) is not None


def same_identifier(address: object, identifier: str) -> bool:
    """Whether ``address``, from an answer of the API, is the address behind ``identifier``."""
    if not isinstance(address, str) or not address:
        return False
    if address == identifier:
        return True
    try:
        return normalize_identifier(address, special_domains=True) == identifier
    except InvalidEmail:
        return False


def mask(identifier: str) -> str:
    """Return ``a•••@example.com`` for ``ada@example.com``: enough to recognise one's own, for logs and JSON answers."""
    local, _, domain = identifier.rpartition("@")
    return f"{local[:1]}{MASKED}{domain}"


@lru_cache(maxsize=256)
def _normalize(address: str, special_domains: bool) -> str:
    # Imported at the first address and not with the package: a worker that signs nobody in never needs it.
    from email_validator import EmailNotValidError, validate_email

    text = unicodedata.normalize("NFKC", _trim(address)).lower()
    special = _special_domain(text.rpartition("@")[2]) if special_domains else None
    if special is not None:
        # The library refuses these domains in any case. The syntax is checked under a public one in their place.
        text = text.removesuffix(special) + _STAND_IN
    try:
        parts = validate_email(text, check_deliverability=False, allow_smtputf8=False)
    except EmailNotValidError:
        # The library's sentence may quote the address, and this text may be logged.
        raise InvalidEmail("not one valid e-mail address") from None
    domain = parts.ascii_domain or ""
    if special is not None:
        domain = domain.removesuffix(_STAND_IN) + special
    identifier = f"{parts.local_part}@{domain}"
    if "=?" in identifier:
        # The beginning of an encoded word (RFC 2047): a mail server that decodes it delivers to another address.
        raise InvalidEmail("not one valid e-mail address")
    if len(identifier) > MAX_LENGTH or len(parts.local_part) > MAX_LOCAL_LENGTH:
        raise InvalidEmail("the address is too long")
    return identifier


_STAND_IN = "example.com"


def _special_domain(domain: str) -> str | None:
    return next((each for each in SPECIAL_DOMAINS if domain == each or domain.endswith(f".{each}")), None)


def _trim(text: str) -> str:
    """Drop spaces and invisible characters at both ends. Control characters stay, and make it no address."""
    start, end = 0, len(text)
    while start < end and _invisible(text[start]):
        start += 1
    while end > start and _invisible(text[end - 1]):
        end -= 1
    return text[start:end]


def _invisible(character: str) -> bool:
    # Zero-width and bidirectional marks are Cf; variation selectors are Mn. U+3164 and U+2800 are letters that show nothing.
    # An override, which shows a text backwards, comes from no copied page: what it is around was made to be misread.
    return (
        character.isspace()
        or (unicodedata.category(character) == "Cf" and character not in "\u202d\u202e")
        or "\ufe00" <= character <= "\ufe0f"
        or character in "\u034f\u115f\u1160\u3164\uffa0\u2800"
    )
