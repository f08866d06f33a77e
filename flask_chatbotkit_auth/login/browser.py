"""The session of a browser: beginning it, going on with another one, and leaving."""

from __future__ import annotations

import logging

from flask import current_app, g, request, session
from flask_login import login_user, logout_user

from ..exceptions import StoreError
from ..proxies import running_app, this_session
from ..stores.base import SessionRecord
from .auth import Auth
from .cookie import read_cookie
from .loader import LATER_LOADER, asks_us
from .request import cookie_name, current_session, is_app_request

_log = logging.getLogger("flask_chatbotkit_auth")


def enter(auth: Auth, user: object, token: str, record: SessionRecord, *, remember: bool = True) -> None:
    """End the browser's old session and begin a new one for ``user``, against session fixation (ASVS 7.2.4).

    The cookie contains the token, and nothing about the person. Flask-Login's remember cookie keeps the token after the
    browser is closed. Then the person is still signed in, but not fresh.

    :param remember: whether the browser stays signed in after it is closed.
    """
    try:
        before = current_session()
        if before is not None:
            auth.registry.end(before.id)
    except StoreError as error:
        # The new session is stored, and the proof was used, so the person must be signed in even if this fails.
        _log.warning("the session before could not be ended (%s)", error)
    session = this_session()
    kept = {key: session[key] for key in auth.config.session_keep if key in session}
    session.clear()
    session.update(kept)
    g.chatbotkit_auth_entering = True
    try:
        login_user(user, remember=remember, duration=auth.config.session_lifetime, force=True)
    finally:
        del g.chatbotkit_auth_entering
    session["_user_id"] = token
    session["_fresh"] = record.proved_at is not None
    if not remember:
        session["_remember"] = "clear"
    if not asks_us(running_app()):
        _log.error("%s", LATER_LOADER)
    renew()
    g.chatbotkit_auth_session = record
    auth.registry.confirm(record)


def go_on(auth: Auth, token: str, record: SessionRecord) -> None:
    """Switch the browser to another session of the same person. The application's own keys in the Flask session stay.

    The token is new, so that a copy of the old one is useless (ASVS 7.2.4).
    """
    session = this_session()
    cookie = request.cookies.get(cookie_name(running_app()))
    if cookie and read_cookie(cookie) == session.get("_user_id"):
        session["_remember"] = "set"
        session["_remember_seconds"] = auth.config.session_lifetime.total_seconds()
    session["_user_id"] = token
    session["_fresh"] = True
    renew()
    g.chatbotkit_auth_session = record
    current_app.login_manager._update_request_context_with_user(auth.present(record.user))  # type: ignore[attr-defined]
    auth.registry.confirm(record)


def renew() -> None:
    """Give a server-side Flask session a new id, so that the old id is useless."""
    regenerate = getattr(current_app.session_interface, "regenerate", None)
    if regenerate is not None and not is_app_request():
        regenerate(session)


def leave() -> None:
    """Clear the browser's Flask session, and delete the remember cookie."""
    session.clear()
    g.pop("chatbotkit_auth_session", None)
    g.pop("chatbotkit_auth_suspended", None)
    logout_user()
