"""The session of the running request: who holds it, and how lately the address was proved."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from flask import Flask, current_app, g, session
from flask_login import COOKIE_NAME, current_user, login_fresh

from ..proxies import running_app, this_request, this_session
from ..stores.base import SessionRecord

APP_REQUEST = "flask_chatbotkit_auth.app_request"
"""The key of the WSGI environment that marks a request of an app. No client can set it."""


def is_app_request() -> bool:
    """Return whether this request is from an app, with a bearer token or without one yet. It uses no cookies."""
    return APP_REQUEST in this_request().environ


def current_session() -> SessionRecord | None:
    """Return the session of this request, or ``None`` if nobody is signed in with this extension.

    :raises StoreError: the store cannot be reached.
    """
    record: SessionRecord | None = g.get("chatbotkit_auth_session")
    if record is None:
        _load_user()
        record = g.get("chatbotkit_auth_session")
    return record


def was_read() -> bool:
    """Return whether this request's session cookie was accepted, and has named its person. It loads nothing."""
    return "chatbotkit_auth_session" in g and bool(this_session().get("_fresh"))


def _load_user() -> None:
    app: Any = running_app()
    manager = app.login_manager
    loads = manager._request_callback or getattr(manager, "_header_callback", None)
    if loads or "_user_id" in session or cookie_name(app) in this_request().cookies:
        current_user.is_authenticated  # noqa: B018  # Flask-Login loads the user, and the loader stores the session in `g`
    elif "_login_user" not in g:
        # Nobody is named. Flask-Login would find that out with much work, and again for each template.
        manager._update_request_context_with_user()


def cookie_name(app: Flask) -> str:
    """Return the name of the remember cookie."""
    name: str = app.config.get("REMEMBER_COOKIE_NAME", COOKIE_NAME)
    return name


def is_fresh(record: SessionRecord, now: datetime, max_age: timedelta) -> bool:
    """Return whether the holder of a session has proved the address within ``max_age``.

    A browser that was restarted since then, or that Flask-Login considers another one, is not fresh either.
    """
    return proved_lately(record, now, max_age) and (record.client != "browser" or bool(login_fresh()))


def proved_lately(record: SessionRecord, now: datetime, max_age: timedelta) -> bool:
    """Return whether the address of a session was proved within ``max_age``."""
    return record.proved_at is not None and now - record.proved_at < max_age


def hold_token(token: str) -> None:
    """Put an app's token into the Flask session of this request, in place of a browser's session."""
    # Without the last key, Flask-Login would write a remember cookie.
    session.update(_user_id=token, _id=client_mark(), _fresh=False, _remember="")


def held_token() -> str:
    """Return the token in the Flask session of this request."""
    return str(session["_user_id"])


def held_session() -> SessionRecord | None:
    """Return the session of this browser, even if its person is suspended."""
    record: SessionRecord | None = current_session() or g.get("chatbotkit_auth_suspended")
    return record


def client_mark() -> str:
    """Return the identifier of the client in Flask-Login's session protection."""
    identifier: str = current_app.login_manager._session_identifier_generator()  # type: ignore[attr-defined]
    return identifier
