"""The ``user_loader``: whom the token of a cookie or of an app signs in."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from flask import Flask, current_app, g, request, session

from ..exceptions import APIError, NotReady, StoreError
from ..proxies import running_app, this_request, this_session
from ..sessions import APP_TOKEN_PREFIX, TOKEN_PREFIX, ForeignSession
from .auth import Auth, Find
from .cookie import read_cookie
from .request import client_mark, cookie_name, is_app_request, proved_lately

LATER_LOADER = (
    "another user_loader was registered after init_app, so nobody stays signed in. Register yours before it, or return your "
    "users from @auth.user_callback."
)


def asks_us(app: Flask) -> bool:
    """Return whether the application's ``LoginManager`` uses our user loader."""
    return isinstance(getattr(getattr(app, "login_manager", None), "_user_callback", None), Loader)


class Loader:
    """The ``user_loader``. Ids that are not our tokens are passed to the application's own loader."""

    def __init__(self, manager: Any, find: Find) -> None:
        self._manager = manager
        self._find = find
        self.own: Callable[[Any], Any] | None = manager._user_callback

    def __call__(self, user_id: Any) -> Any:
        if isinstance(user_id, str) and user_id.startswith(APP_TOKEN_PREFIX) and not is_app_request():
            return None  # the token of an app is not valid in a cookie
        if not isinstance(user_id, str) or not user_id.startswith((TOKEN_PREFIX, APP_TOKEN_PREFIX)):
            if self.own is not None:
                return self.own(user_id)
            return self._adopt(user_id)
        try:
            return _load(self._find(), user_id)
        except (StoreError, NotReady):
            # The error page also uses `current_user`, and must not load it again.
            self._manager._update_request_context_with_user()
            raise

    def _adopt(self, user_id: Any) -> Any:
        """Sign in the user of Flask-Login's test client ``FlaskLoginClient(user=…)``.

        It writes only the id into the session, without the other keys that ``login_user`` writes.
        """
        if not current_app.testing or "_id" in session or "_remember" in session:
            return None
        auth, fresh = self._find(), session.get("_fresh")
        try:
            token, record = auth.adopt(str(user_id))
        except LookupError:
            return None
        session.update(_user_id=token, _id=client_mark(), _fresh=fresh)
        g.chatbotkit_auth_session = record
        return auth.present(record.user)


def _load(auth: Auth, token: str) -> Any:
    try:
        record = auth.registry.load(token)
    except APIError as error:
        g.chatbotkit_auth_unreachable = error
        return None  # signed out for now; the cookies stay, since the session may work again
    except ForeignSession:
        return None  # nobody here
    if record is None:
        _drop(token)
        return None
    in_app = is_app_request()
    if (record.client == "app") != in_app:
        return None
    shown = auth.present(record.user)
    if shown is None:
        g.chatbotkit_auth_suspended = record
        return None
    session = this_session()
    # Flask-Login does not set this when it loads from the remember cookie. Then session_protection="strong" would see another
    # browser at the next request.
    if "_id" not in session:
        session["_id"] = client_mark()
    if in_app:
        session["_fresh"] = proved_lately(record, auth.clock(), auth.config.fresh)
    elif session.get("_fresh") and not proved_lately(record, auth.clock(), auth.config.fresh):
        session["_fresh"] = False
    g.chatbotkit_auth_session = record
    if this_request().blueprint != "chatbotkit_auth":
        user = auth.prepared(record.user)
        if user is not record.user:
            g.chatbotkit_auth_session = replace(record, user=user)
            shown = auth.present(user)
    return shown


def _drop(token: str) -> None:
    """Delete the token of a session that has ended from the cookies, so that it is not looked up at every request.

    A remember cookie with another token stays, so that somebody who plants an ended session cannot sign the person out.
    """
    session.pop("_user_id", None)
    if is_app_request():
        return
    cookie = request.cookies.get(cookie_name(running_app()))
    remembered = read_cookie(cookie) if cookie else None
    if remembered is None or remembered == token:
        session["_remember"] = "clear"
