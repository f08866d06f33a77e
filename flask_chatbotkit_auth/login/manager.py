"""The ``LoginManager``: our loader becomes its own, and what the application itself does with Flask-Login is followed."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from flask import Flask, current_app, g, request, session
from flask_login import LoginManager, session_protected, user_logged_in, user_logged_out

from ..exceptions import StoreError
from ..sessions import TOKEN_PREFIX, session_id
from ..signals import emit, user_signed_out
from ..stores.base import SessionRecord
from ..user import User
from .auth import Find
from .loader import Loader, asks_us

_SESSION_KEYS = ("_user_id", "_fresh", "_id")


def prepare(
    app: Flask, manager: LoginManager | None, find: Find, *, make: Callable[[], LoginManager] = LoginManager
) -> None:
    """Register our user loader, with the application's own ``LoginManager`` if it has one.

    :param find: returns the state of the running application, since several can share one ``LoginManager``.
    :param make: creates the ``LoginManager`` if the application has none.
    """
    chosen: Any = manager or getattr(app, "login_manager", None)
    if chosen is None:
        chosen = make()
        # Our sign-in page shows no flashed message, which would then appear on the application's next page.
        chosen.login_message = None
        chosen.needs_refresh_message = None
    if getattr(app, "login_manager", None) is not chosen:
        chosen.init_app(app)
    chosen.login_view = chosen.login_view or "chatbotkit_auth.sign_in"
    chosen.refresh_view = chosen.refresh_view or "chatbotkit_auth.sign_in"
    if not asks_us(app):
        chosen.user_loader(Loader(chosen, find))
    app.extensions["chatbotkit_auth_login"] = find
    app.extensions["chatbotkit_auth_manager"] = chosen
    # Connected once for all applications. The receivers check whether an application uses this extension.
    user_logged_in.connect(_on_login)
    user_logged_out.connect(_on_logout)
    session_protected.connect(_on_protection)


def follow_manager(app: Flask) -> LoginManager | None:
    """Register our user loader again if the application has initialised another ``LoginManager`` since :func:`prepare`.

    :returns: that manager, or ``None`` if it is still the one from before.
    """
    manager = getattr(app, "login_manager", None)
    if manager is app.extensions["chatbotkit_auth_manager"]:
        return None
    prepare(app, manager, app.extensions["chatbotkit_auth_login"])
    return manager


def has_request_loader() -> bool:
    """Return whether the application has its own ``request_loader``, which may read other tokens."""
    manager: Any = current_app.login_manager  # type: ignore[attr-defined]
    return manager._request_callback is not None


def _on_login(app: Flask, user: Any, **_more: object) -> None:
    # The application called Flask-Login's login_user itself. What that writes into the session would sign nobody in.
    find: Find | None = app.extensions.get("chatbotkit_auth_login")
    if find is None or g.get("chatbotkit_auth_entering") or not asks_us(app):
        return
    loader: Loader = app.login_manager._user_callback  # type: ignore[attr-defined]
    if loader.own is not None and not isinstance(user, User):
        return
    auth = find()
    user = user._get_current_object() if hasattr(user, "_get_current_object") else user
    before: SessionRecord | None = g.pop("chatbotkit_auth_session", None)
    try:
        token, record = auth.adopt(user)
    except BaseException:
        for key in (*_SESSION_KEYS, "_remember", "_remember_seconds"):
            session.pop(key, None)
        app.login_manager._update_request_context_with_user()  # type: ignore[attr-defined]
        raise
    if before is not None:
        auth.registry.end(before.id)
    session["_user_id"] = token
    session["_fresh"] = False
    g.chatbotkit_auth_session = record
    auth.registry.confirm(record)


def _on_logout(app: Flask, **_more: object) -> None:
    # The application called Flask-Login's logout_user itself. A copy of the cookie must be as useless as after our own
    # sign-out.
    find: Find | None = app.extensions.get("chatbotkit_auth_login")
    record: SessionRecord | None = g.pop("chatbotkit_auth_session", None) or g.pop("chatbotkit_auth_suspended", None)
    if find is not None and record is not None:
        find().registry.end(record.id)
        emit(user_signed_out, app, user=record.user)


def _on_protection(app: Flask, **_more: object) -> None:
    # session_protection="strong" has cleared the session, since the cookie came from another browser and may be a copy.
    find: Find | None = app.extensions.get("chatbotkit_auth_login")
    if find is None or "_user_id" in session or session.get("_remember") != "clear":
        return  # "basic" clears nothing, and sends this signal for every visitor with a session who is not signed in
    before = app.session_interface.open_session(app, request._get_current_object())  # type: ignore[attr-defined]
    token = None if before is None else before.get("_user_id")
    if isinstance(token, str) and token.startswith(TOKEN_PREFIX):
        try:
            find().registry.end(session_id(token))
        except StoreError:
            pass  # it is reported when the page is rendered; the browser is still signed out
