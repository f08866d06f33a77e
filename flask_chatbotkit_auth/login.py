"""Flask-Login: loading the user from the cookies, starting and ending the session of a browser, the remember cookie.

Everything that uses Flask-Login, including its private names, is in this file.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any, Protocol

from flask import Flask, Response, current_app, g, request, session
from flask_login import (
    COOKIE_NAME,
    LoginManager,
    current_user,
    decode_cookie,
    login_fresh,
    login_user,
    logout_user,
    session_protected,
    user_logged_in,
    user_logged_out,
)
from werkzeug.datastructures import ImmutableMultiDict

from .config import Config
from .exceptions import APIError, NotReady, StoreError
from .sessions import APP_TOKEN_PREFIX, TOKEN_PREFIX, ForeignSession, SessionRegistry, session_id
from .signals import emit, user_signed_out
from .stores.base import SessionRecord
from .user import User


class Auth(Protocol):
    """The part of :class:`~flask_chatbotkit_auth.state.AuthState` that this file uses."""

    config: Config
    registry: SessionRegistry

    @property
    def clock(self) -> Callable[[], datetime]:
        """Returns the current time."""

    def present(self, user: User) -> Any | None:
        """Return the ``current_user`` for ``user``, or ``None`` while they are suspended."""

    def prepared(self, user: User) -> User:
        """Return the user after the application's ``provision`` hook has returned for them."""

    def adopt(self, user: Any) -> tuple[str, SessionRecord]:
        """Open a session for a person whom the application signs in itself. Return its token and its row."""


Find = Callable[[], Auth]

_log = logging.getLogger("flask_chatbotkit_auth")

APP_REQUEST = "flask_chatbotkit_auth.app_request"
"""The key of the WSGI environment that marks a request of an app. No client can set it."""

_SESSION_KEYS = ("_user_id", "_fresh", "_id")


# Setting up


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
        chosen.user_loader(_Loader(chosen, find))
    app.extensions["chatbotkit_auth_login"] = find
    # Connected once for all applications. The receivers check whether an application uses this extension.
    user_logged_in.connect(_on_login)
    user_logged_out.connect(_on_logout)
    session_protected.connect(_on_protection)


def has_request_loader() -> bool:
    """Return whether the application has its own ``request_loader``, which may read other tokens."""
    manager: Any = current_app.login_manager  # type: ignore[attr-defined]
    return manager._request_callback is not None


def asks_us(app: Flask) -> bool:
    """Return whether the application's ``LoginManager`` uses our user loader."""
    return isinstance(getattr(getattr(app, "login_manager", None), "_user_callback", None), _Loader)


class _Loader:
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
    if (record.client == "app") != is_app_request():
        return None
    shown = auth.present(record.user)
    if shown is None:
        g.chatbotkit_auth_suspended = record
        return None
    # Flask-Login does not set this when it loads from the remember cookie. Then session_protection="strong" would see another
    # browser at the next request.
    if "_id" not in session:
        session["_id"] = client_mark()
    if is_app_request():
        session["_fresh"] = _proved_lately(record, auth.clock(), auth.config.fresh)
    elif session.get("_fresh") and not _proved_lately(record, auth.clock(), auth.config.fresh):
        session["_fresh"] = False
    g.chatbotkit_auth_session = record
    if request.blueprint != "chatbotkit_auth":
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
    cookie = request.cookies.get(_cookie_name())
    remembered = _decode(cookie) if cookie else None
    if remembered is None or remembered == token:
        session["_remember"] = "clear"


# Starting and ending sessions


def is_app_request() -> bool:
    """Return whether this request is from an app, with a bearer token or without one yet. It uses no cookies."""
    return APP_REQUEST in request.environ


def current_session() -> SessionRecord | None:
    """Return the session of this request, or ``None`` if nobody is signed in with this extension.

    :raises StoreError: the store cannot be reached.
    """
    current_user.is_authenticated  # noqa: B018  # Flask-Login loads the user, and the loader stores the session in `g`
    record: SessionRecord | None = g.get("chatbotkit_auth_session")
    return record


def is_fresh(record: SessionRecord, now: datetime, max_age: timedelta) -> bool:
    """Return whether the holder of a session has proved the address within ``max_age``.

    A browser that was restarted since then, or that Flask-Login considers another one, is not fresh either.
    """
    return _proved_lately(record, now, max_age) and (record.client != "browser" or bool(login_fresh()))


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
    renew()
    g.chatbotkit_auth_session = record
    auth.registry.confirm(record)


def go_on(auth: Auth, token: str, record: SessionRecord) -> None:
    """Switch the browser to another session of the same person. The application's own keys in the Flask session stay.

    The token is new, so that a copy of the old one is useless (ASVS 7.2.4).
    """
    cookie = request.cookies.get(_cookie_name())
    if cookie and _decode(cookie) == session.get("_user_id"):
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


def leave() -> None:
    """Clear the browser's Flask session, and delete the remember cookie."""
    session.clear()
    g.pop("chatbotkit_auth_session", None)
    g.pop("chatbotkit_auth_suspended", None)
    logout_user()


def _on_login(app: Flask, user: Any, **_more: object) -> None:
    # The application called Flask-Login's login_user itself. What that writes into the session would sign nobody in.
    find: Find | None = app.extensions.get("chatbotkit_auth_login")
    if find is None or g.get("chatbotkit_auth_entering") or not asks_us(app):
        return
    loader: _Loader = app.login_manager._user_callback  # type: ignore[attr-defined]
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


def _proved_lately(record: SessionRecord, now: datetime, max_age: timedelta) -> bool:
    return record.proved_at is not None and now - record.proved_at < max_age


# The remember cookie


def guard_cookies(app: Flask, find: Find) -> None:
    """Give the remember cookie the attributes and keys of the session cookie, unless the application has set its own."""
    names = ("SECURE", "HTTPONLY", "SAMESITE", "DOMAIN", "PATH")
    # Flask-Login does not write its defaults into the configuration, so what is there is set by the application.
    ours = [name for name in names if app.config.get(f"REMEMBER_COOKIE_{name}") is None]

    def follow() -> None:
        # Only what the application has not set. `Secure` is not set here, since only the application knows whether it is
        # reached over HTTPS. `flask chatbotkit-auth doctor` warns if it is missing.
        if app.config["SESSION_COOKIE_SAMESITE"] is None:
            app.config["SESSION_COOKIE_SAMESITE"] = "Lax"
        values = {
            "SECURE": app.config["SESSION_COOKIE_SECURE"],
            "HTTPONLY": True,
            "SAMESITE": app.config["SESSION_COOKIE_SAMESITE"],
            "DOMAIN": app.session_interface.get_cookie_domain(app),
            "PATH": app.session_interface.get_cookie_path(app),
        }
        app.config.update({f"REMEMBER_COOKIE_{name}": values[name] for name in ours})
        _use_key_as_bytes(app)

    def before() -> None:
        if not app.extensions.get("chatbotkit_auth_cookies"):
            # Again at the first request, since an application may configure its session cookie after init_app.
            app.extensions["chatbotkit_auth_cookies"] = True
            follow()
        _use_key_as_bytes(app)
        renew_remember_cookie(find)

    follow()
    app.before_request(before)
    # Functions after a request run in reverse order of registration, so this one runs after Flask-Login has written its
    # cookie.
    app.after_request_funcs.setdefault(None, []).insert(0, _complete_remember_cookie)


def _use_key_as_bytes(app: Flask) -> None:
    # Flask-Login encodes a text key as Latin-1 to sign its remember cookie. If that is impossible, it fails after the code is
    # spent. The bytes that Flask itself makes of the key work for both. This is repeated, since the key may change later.
    if isinstance(app.secret_key, str) and not app.secret_key.isascii():
        app.secret_key = app.secret_key.encode()


def _complete_remember_cookie(response: Response) -> Response:
    """Add to Flask-Login's cookie what it does not support: ``Partitioned``, and ``Secure`` on deletion."""
    config = current_app.config
    secure, partitioned = config.get("REMEMBER_COOKIE_SECURE"), config.get("SESSION_COOKIE_PARTITIONED")
    if not (secure or partitioned) or "Set-Cookie" not in response.headers:
        return response
    name = _cookie_name() + "="
    cookies = response.headers.getlist("Set-Cookie")
    if any(each.startswith(name) for each in cookies):
        response.headers.setlist("Set-Cookie", [])
        for each in cookies:
            if each.startswith(name):
                each += "" if "; Secure" in each else "; Secure"
                each += "; Partitioned" if partitioned and "; Partitioned" not in each else ""
            response.headers.add("Set-Cookie", each)
    return response


def renew_remember_cookie(find: Find) -> None:
    """Sign this browser's remember cookie again if it was signed with a key of ``SECRET_KEY_FALLBACKS``.

    Flask accepts its own session with those keys, but Flask-Login does not, and would sign the person out.
    """
    name = _cookie_name()
    cookie = request.cookies.get(name)
    if not cookie:
        return
    if not cookie.rpartition("|")[2].isascii():
        # This cookie has no valid signature, and Flask-Login's comparison raises TypeError for it. Each page would answer 500
        # as long as the browser keeps the cookie. A sibling domain can plant such a cookie.
        request.cookies = ImmutableMultiDict(each for each in request.cookies.items(multi=True) if each[0] != name)
        return
    keys = current_app.config.get("SECRET_KEY_FALLBACKS") or ()
    if not keys or not cookie.startswith(TOKEN_PREFIX) or decode_cookie(cookie):
        return
    token = _decode(cookie)
    if token is None or session.get("_user_id", token) != token:
        return
    if "_user_id" not in session:
        session.update(_user_id=token, _fresh=False, _id=client_mark())
    session["_remember"] = "set"
    session["_remember_seconds"] = find().config.session_lifetime.total_seconds()


def _decode(cookie: str) -> str | None:
    """Return the content of the remember cookie, if it was signed with the key or one of its fallbacks."""
    if not cookie.rpartition("|")[2].isascii():
        return None
    keys = (current_app.secret_key, *(current_app.config.get("SECRET_KEY_FALLBACKS") or ()))
    for key in keys:
        raw = key.encode() if isinstance(key, str) else key
        if raw and (token := decode_cookie(cookie, key=raw)):
            return str(token)
    return None


def _cookie_name() -> str:
    name: str = current_app.config.get("REMEMBER_COOKIE_NAME", COOKIE_NAME)
    return name


def client_mark() -> str:
    """Return the identifier of the client in Flask-Login's session protection."""
    identifier: str = current_app.login_manager._session_identifier_generator()  # type: ignore[attr-defined]
    return identifier
