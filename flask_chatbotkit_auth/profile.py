"""What may stand in a profile: a name that can be shown, a picture that browsers load safely."""

from __future__ import annotations

import unicodedata
from urllib.parse import urlsplit

from .languages import gettext as _
from .languages import ngettext
from .user import Kind

MAX_NAME = 100
"""Characters in a name."""

MAX_BYTES = 191
"""Bytes of UTF-8 that ChatBotKit keeps of a name, and of a sub-account's picture."""

MAX_IMAGE = 2000
"""Characters in the address of a contact's picture, which lies in ``meta``."""

_DIRECTION_CONTROLS = "\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069"


def profile_problem(field: str, value: str, kind: Kind) -> str | None:
    """Return the sentence about what is wrong with a ``name`` or an ``image``; ``None`` where it may be kept.

    Both may be empty. An image is the ``https`` address of a picture, without credentials.

    :param kind: what the account is; a sub-account's picture must be shorter than a contact's.
    """
    return _name_problem(value) if field == "name" else _image_problem(value, kind)


def refusal(field: str) -> str:
    """Return the sentence about a value that the API refuses, though :func:`profile_problem` finds nothing."""
    if field == "name":
        return _("This name cannot be kept. Try a shorter one.")
    if field == "image":
        return _("This picture's address cannot be kept. Try a shorter one.")
    return _("This cannot be kept as it is. Change it, then try again.")


def _name_problem(name: str) -> str | None:
    if len(name) > MAX_NAME:
        return ngettext(
            "This name is too long. Use at most %(num)s character.",
            "This name is too long. Use at most %(num)s characters.",
            MAX_NAME,
        )
    if len(name.encode(errors="replace")) > MAX_BYTES:
        # Told in characters of the person's own script: nobody counts bytes.
        return _("This name is too long. Use a shorter one.")
    # Control characters, line ends, halves of characters, and what turns the text around it.
    if any(unicodedata.category(each) in ("Cc", "Zl", "Zp", "Cs") or each in _DIRECTION_CONTROLS for each in name):
        return _("This name holds characters that cannot be shown. Type it again.")
    return None


def _image_problem(image: str, kind: Kind) -> str | None:
    if not image:
        return None
    sentence = _("That is not the address of a picture. Give one that starts with https://, or leave it empty.")
    if kind == "partner" and len(image.encode(errors="replace")) > MAX_BYTES:
        return ngettext(
            "This address of a picture is too long. Use one of at most %(num)s character.",
            "This address of a picture is too long. Use one of at most %(num)s characters.",
            MAX_BYTES,
        )
    if len(image) > MAX_IMAGE or "\\" in image or not image.isprintable() or " " in image:
        return sentence
    try:
        parts = urlsplit(image)
        parts.port  # noqa: B018  # raises where it is none
    except ValueError:
        return sentence
    return None if parts.scheme == "https" and parts.hostname and parts.username is None else sentence
