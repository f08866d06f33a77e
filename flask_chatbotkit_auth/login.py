"""Flask-Login: how it learns who a browser's cookie stands for, and how a browser comes and goes."""

from __future__ import annotations

from datetime import timedelta

from flask import current_app, g, request, session
from flask_login import COOKIE_NAME, current_user, decode_cookie, login_user, logout_user
from werkzeug.datastructures import ImmutableMultiDict

from .exceptions import APIError
from .sessions import TOKEN_PREFIX, SessionRegistry
from .stores.base import SessionRecord
from .user import User


def load_user(registry: SessionRegistry, token: str) -> User | None:
    """Return the user behind the token in the browser's cookie; the work of Flask-Login's ``user_loader``."""
    try:
        record = registry.load(token)
    except APIError:
        return None  # nobody for now; the cookies stay, since the session does
    if record is None:
        # The session has ended: have the browser forget both cookies, or it would ask anew at every request.
        session.pop("_user_id", None)
        session["_remember"] = "clear"
        return None
    # Flask-Login leaves this out where it loads from the remember cookie, and session_protection="strong" would take that
    # for another browser at the next request.
    if "_id" not in session:
        session["_id"] = _browser()
    g.chatbotkit_auth_session = record
    return record.user


def current_session() -> SessionRecord | None:
    """Return the session of this request, or ``None`` when nobody of ours is signed in.

    :raises StoreError: the store cannot be reached.
    """
    current_user.is_authenticated  # noqa: B018  # has Flask-Login load the user, and load_user leave the session
    record: SessionRecord | None = g.get("chatbotkit_auth_session")
    return record


def enter(user: object, token: str, record: SessionRecord, *, lifetime: timedelta) -> None:
    """Drop the browser's old Flask session and begin a new one for ``user``, against session fixation (ASVS 7.2.4).

    It holds the token, never anything about the person. Flask-Login's remember cookie carries the token past the end of
    the browser's own session; then the person is signed in, but no longer fresh.
    """
    session.clear()
    login_user(user, remember=True, duration=lifetime)
    session["_user_id"] = token
    renew()
    g.chatbotkit_auth_session = record


def renew() -> None:
    """Have a session that is kept on the server go on under a new id: whoever knows the one before has nothing."""
    regenerate = getattr(current_app.session_interface, "regenerate", None)
    if regenerate is not None:
        regenerate(session)


def leave() -> None:
    """Empty the browser's Flask session and have it drop the remember cookie."""
    session.clear()
    g.pop("chatbotkit_auth_session", None)
    logout_user()


def renew_remember_cookie(lifetime: timedelta) -> None:
    """Sign this browser's remember cookie anew where it was signed under a key of ``SECRET_KEY_FALLBACKS``.

    Flask reads its own session under those keys; Flask-Login does not, and would forget the person.
    """
    config = current_app.config
    name = config.get("REMEMBER_COOKIE_NAME", COOKIE_NAME)
    cookie = request.cookies.get(name)
    if cookie and not cookie.isascii():
        # Nobody signed this, and Flask-Login's comparison raises TypeError on it: every page would answer 500 for as long
        # as the browser keeps the cookie, which a neighbour under the same domain may have planted.
        request.cookies = ImmutableMultiDict(each for each in request.cookies.items(multi=True) if each[0] != name)
        return
    keys = config.get("SECRET_KEY_FALLBACKS") or ()
    if not keys or not cookie or not cookie.startswith(TOKEN_PREFIX) or decode_cookie(cookie):
        return
    token = next((found for key in keys if (found := decode_cookie(cookie, key=key))), None)
    if token is None or session.get("_user_id", token) != token:
        return
    if "_user_id" not in session:
        session.update(_user_id=token, _fresh=False, _id=_browser())
    session["_remember"] = "set"
    session["_remember_seconds"] = lifetime.total_seconds()


def _browser() -> str:
    """Return what Flask-Login's session protection knows the browser by."""
    identifier: str = current_app.login_manager._session_identifier_generator()  # type: ignore[attr-defined]
    return identifier
