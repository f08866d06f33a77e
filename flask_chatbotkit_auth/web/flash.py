"""The message after a form: kept over one redirect, and shown once (Post/Redirect/Get)."""

from __future__ import annotations

import json
import secrets
import zlib
from dataclasses import asdict, dataclass, field
from typing import Any

from flask import g, session
from flask_login import COOKIE_NAME

from ..proxies import running_app, this_request

MAX_TYPED = 320
"""The most characters of input that the session keeps. With more, the page is rendered directly."""

_MAX_BYTES = 1400
"""The most bytes of all kept messages, compressed as Flask's session is. Browsers drop cookies above 4 kB."""

_KEY = "chatbotkit_auth_flash"


@dataclass(frozen=True)
class Flash:
    """The message that the page after the redirect shows."""

    status: int = 200
    message: str = ""
    code: str = ""
    """The error code; ``""`` for a success."""

    title: str = ""
    """The heading, if the message has a page of its own."""

    action_url: str = ""
    action_label: str = ""
    retry_after: int | None = None
    attempts_left: int | None = None
    errors: dict[str, str] = field(default_factory=dict)
    """Error sentences, by the name of the field."""

    typed: dict[str, str] = field(default_factory=dict)
    """The input of the person, without codes."""


def keep(flash: Flash) -> str | None:
    """Keep ``flash`` in the browser's session. Return the value of ``m`` in the URL of the page that shows it.

    The random ``m`` binds the message to its page, so that two tabs do not mix their messages.

    :returns: ``None`` if it cannot be kept: the browser sent no cookie of ours, and so probably blocks cookies, or the
        message is too large. Then the page must be rendered directly.
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
            break  # messages of tabs that were closed before the redirect
        kept = {each: value, **kept}
    session[_KEY] = kept
    return m


def take() -> Flash | None:
    """Return the message that this page shows once, or ``None``."""
    if "chatbotkit_auth_flash" in g:
        flash: Flash = g.chatbotkit_auth_flash
        return flash
    request = this_request()
    m = request.args.get("m")
    if m is None or request.method != "GET":
        return None
    kept = session.get(_KEY)
    if not isinstance(kept, dict) or m not in kept:
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
    """Return whether this browser has sent a cookie of ours, and so accepts cookies."""
    config, cookies = running_app().config, this_request().cookies
    return config["SESSION_COOKIE_NAME"] in cookies or config.get("REMEMBER_COOKIE_NAME", COOKIE_NAME) in cookies


def _size(kept: dict[str, Any]) -> int:
    return len(zlib.compress(json.dumps(kept).encode()))
