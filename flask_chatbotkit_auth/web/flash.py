"""What the answer to a form says: kept over one redirect, shown once (Post/Redirect/Get)."""

from __future__ import annotations

import json
import secrets
import zlib
from dataclasses import asdict, dataclass, field
from typing import Any

from flask import current_app, g, request, session
from flask_login import COOKIE_NAME

MAX_TYPED = 320
"""Characters of what a person typed that the session carries; where there is more, the page is rendered at once."""

_MAX_BYTES = 1400
"""Of all kept answers, compressed as Flask's session is. A browser drops a cookie above 4 kB."""

_KEY = "chatbotkit_auth_flash"


@dataclass(frozen=True)
class Flash:
    """What happened, as the page after the redirect shows it."""

    status: int = 200
    message: str = ""
    code: str = ""
    """The machine-readable name of the error; ``""`` for good news."""

    title: str = ""
    """The heading, where this fills a page of its own."""

    action_url: str = ""
    action_label: str = ""
    retry_after: int | None = None
    attempts_left: int | None = None
    errors: dict[str, str] = field(default_factory=dict)
    """Sentences by the name of the field that they are about."""

    typed: dict[str, str] = field(default_factory=dict)
    """What the person typed, never a code."""


def keep(flash: Flash) -> str | None:
    """Keep ``flash`` in the browser's session; return the value of ``m`` in the page's URL that shows it.

    The random ``m`` binds it to its page, so that two tabs do not take each other's.

    :returns: ``None`` where it cannot be kept: the browser sent no cookie of ours, so it probably takes none, or there is
        too much of it. Then the page must be rendered at once.
    """
    if not cookies_work() or sum(map(len, flash.typed.values())) > MAX_TYPED:
        return None
    m = secrets.token_urlsafe(9)
    kept = {m: {name: value for name, value in asdict(flash).items() if value not in ("", None, {})}}
    if _size(kept) > _MAX_BYTES:
        return None
    before = session.get(_KEY)
    for each, value in reversed(before.items()) if isinstance(before, dict) else ():
        if _size({each: value, **kept}) > _MAX_BYTES:
            break  # tabs that were closed before the redirect
        kept = {each: value, **kept}
    session[_KEY] = kept
    return m


def take() -> Flash | None:
    """Return what this page is to show once, or ``None`` for the plain page."""
    if "chatbotkit_auth_flash" in g:
        flash: Flash = g.chatbotkit_auth_flash
        return flash
    kept, m = session.get(_KEY), request.args.get("m")
    if request.method != "GET" or not isinstance(kept, dict) or m not in kept:
        return None
    values = kept[m]
    rest = {each: value for each, value in kept.items() if each != m}
    if rest:
        session[_KEY] = rest
    else:
        del session[_KEY]
    g.chatbotkit_auth_shown = True
    return Flash(**values)


def cookies_work() -> bool:
    """Return whether this browser has sent a cookie of ours, so that it will send what is kept now, too."""
    config = current_app.config
    ours = (config["SESSION_COOKIE_NAME"], config.get("REMEMBER_COOKIE_NAME", COOKIE_NAME))
    return any(name in request.cookies for name in ours)


def _size(kept: dict[str, Any]) -> int:
    return len(zlib.compress(json.dumps(kept).encode()))
