"""The fields of a profile: which names can be shown, and which pictures browsers load safely."""

from __future__ import annotations

import unicodedata
from urllib.parse import urlsplit

from .languages import gettext as _
from .languages import ngettext
from .user import Kind

MAX_NAME = 100
"""The most characters in a name."""

MAX_LABEL = 64
"""The most characters in the name of a passkey or an app."""

MAX_BYTES = 191
"""Bytes of UTF-8 that ChatBotKit stores of a name, and of the address of a sub-account's picture."""

MAX_IMAGE = 2000
"""The most characters in the address of a contact's picture, which is stored in ``meta``."""

MAX_MARKS = 3
"""The most combining marks on one letter. No script in use needs more, and many marks cover the lines around a name."""

MAX_TYPED = 1000
"""The most characters that are looked at for a name. Much of what is pasted may be invisible, and is removed."""

_JOINERS = "\u200c\u200d"
_FILLERS = "\u034f\u115f\u1160\u17b4\u17b5\u180b\u180c\u180d\u180e\u2800\u3164\uffa0"


def clean_name(name: str) -> str:
    """Return ``name`` with single spaces, and without characters that are invisible or disturb the text around it.

    Removed are invisible characters, characters that change the direction of writing, fillers, and combining marks beyond
    :data:`MAX_MARKS` on one letter. Joiners stay between letters and in emoji, which need them. Control characters and halves
    of characters stay; :func:`profile_problem` refuses them. A text of more than :data:`MAX_TYPED` characters stays as it is,
    and is refused, too.
    """
    # To normalise a pile of marks takes a time that grows with its square: seconds for what fits into a request.
    if len(name) > MAX_TYPED:
        return name
    kept: list[str] = []
    marks = 0
    for each in unicodedata.normalize("NFC", name):
        category = unicodedata.category(each)
        marks = marks + 1 if category in ("Mn", "Me") else 0
        if each in _JOINERS:
            if not kept or kept[-1] in _JOINERS or kept[-1].isspace():
                continue
        elif category == "Cf" or each in _FILLERS or (marks and not kept) or marks > MAX_MARKS:
            continue
        # Line ends and other control characters do not count as spaces. They are refused.
        kept.append(" " if category == "Zs" else each)
    return " ".join(part for part in "".join(kept).strip(_JOINERS + " ").split(" ") if part)


def clean_label(text: str) -> str:
    """Return the name of a passkey or an app as one line that can be shown, or ``""`` if nothing is left of it."""
    kinds = ((each, unicodedata.category(each)) for each in text[: 4 * MAX_LABEL])
    line = "".join(" " if kind == "Cc" else each for each, kind in kinds if kind != "Cs")
    return " ".join(clean_name(line).split())[:MAX_LABEL].strip()


def profile_problem(field: str, value: str, kind: Kind) -> str | None:
    """Return a sentence about what is wrong with a ``name`` or an ``image``, or ``None`` if it is valid.

    Both may be empty. An image is the ``https`` address of a picture, without credentials.

    :param kind: the kind of the account. A sub-account's picture must be shorter than a contact's.
    """
    return _name_problem(value) if field == "name" else _image_problem(value, kind)


def refusal(field: str) -> str:
    """Return the sentence about a value that the API refuses although :func:`profile_problem` accepts it."""
    if field == "name":
        return _("This name can't be saved. Try a shorter one.")
    if field == "image":
        return _("This picture's address can't be saved. Try a shorter one.")
    return _("This can't be saved as it is. Change it, then try again.")


def _name_problem(name: str) -> str | None:
    if len(name) > MAX_NAME:
        return ngettext(
            "This name is too long. Use at most %(num)s character.",
            "This name is too long. Use at most %(num)s characters.",
            MAX_NAME,
        )
    if len(name.encode(errors="replace")) > MAX_BYTES:
        # The sentence counts characters of the person's own script, since nobody counts bytes.
        return _("This name is too long. Use a shorter one.")
    # Control characters, line ends and halves of characters. `clean_name` removes other invisible characters.
    if any(unicodedata.category(each) in ("Cc", "Zl", "Zp", "Cs") for each in name):
        return _("This name has characters that can't be shown")
    return None


def _image_problem(image: str, kind: Kind) -> str | None:
    if not image:
        return None
    sentence = _("Enter an address that starts with https://, or leave this empty")
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
