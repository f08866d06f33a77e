"""Flask-Login: how it learns who a browser's cookie stands for, and how a browser comes and goes.

All that touches Flask-Login, its private names included, is here.
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
    """What is needed here of :class:`~flask_chatbotkit_auth.state.AuthState`."""

    config: Config
    registry: SessionRegistry

    @property
    def clock(self) -> Callable[[], datetime]:
        """Returns the time now."""

    def present(self, user: User) -> Any | None:
        """Return what ``current_user`` is for ``user``, or ``None`` while they are suspended."""

    def prepared(self, user: User) -> User:
        """Return the user once the application's ``provision`` hook has returned for them."""

    def adopt(self, user: Any) -> tuple[str, SessionRecord]:
        """Open a session for somebody whom the application signs in itself; return its token and its row."""


Find = Callable[[], Auth]

_log = logging.getLogger("flask_chatbotkit_auth")

APP_REQUEST = "flask_chatbotkit_auth.app_request"
"""The key of the WSGI environment that marks a request of an app; no client can set it."""

_SESSION_KEYS = ("_user_id", "_fresh", "_id")


# Set up


def prepare(
    app: Flask, manager: LoginManager | None, find: Find, *, make: Callable[[], LoginManager] = LoginManager
) -> None:
    """Have Flask-Login ask us about our sessions, with the application's own ``LoginManager`` where it has one.

    :param find: returns the state of the running application; one ``LoginManager`` may serve several.
    :param make: makes the ``LoginManager`` where the application has none.
    """
    chosen: Any = manager or getattr(app, "login_manager", None)
    if chosen is None:
        chosen = make()
        # Our sign-in page needs no flashed sentence, which would turn up on the application's next page instead.
        chosen.login_message = None
        chosen.needs_refresh_message = None
    if getattr(app, "login_manager", None) is not chosen:
        chosen.init_app(app)
    chosen.login_view = chosen.login_view or "chatbotkit_auth.sign_in"
    chosen.refresh_view = chosen.refresh_view or "chatbotkit_auth.sign_in"
    if not asks_us(app):
        chosen.user_loader(_Loader(chosen, find))
    app.extensions["chatbotkit_auth_login"] = find
    # Connected once for all applications; each is asked whether it is one of ours.
    user_logged_in.connect(_on_login)
    user_logged_out.connect(_on_logout)
    session_protected.connect(_on_protection)


def asks_us(app: Flask) -> bool:
    """Return whether the application's ``LoginManager`` asks us who is signed in."""
    return isinstance(getattr(getattr(app, "login_manager", None), "_user_callback", None), _Loader)


class _Loader:
    """The ``user_loader``. Ids that are no tokens of ours are the application's own, and go to its own loader."""

    def __init__(self, manager: Any, find: Find) -> None:
        self._manager = manager
        self._find = find
        self.own: Callable[[Any], Any] | None = manager._user_callback

    def __call__(self, user_id: Any) -> Any:
        if isinstance(user_id, str) and user_id.startswith(APP_TOKEN_PREFIX) and not is_app_request():
            return None  # a token of an app is nothing in a cookie
        if not isinstance(user_id, str) or not user_id.startswith((TOKEN_PREFIX, APP_TOKEN_PREFIX)):
            if self.own is not None:
                return self.own(user_id)
            return self._adopt(user_id)
        try:
            return _load(self._find(), user_id)
        except (StoreError, NotReady):
            # The page about it is rendered with a `current_user`, too, and must not ask once more.
            self._manager._update_request_context_with_user()
            raise

    def _adopt(self, user_id: Any) -> Any:
        """Sign in whom ``FlaskLoginClient(user=…)`` of Flask-Login has put into the session of a test.

        It writes an id, and not what Flask-Login's own ``login_user`` writes beside it.
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
        return None  # nobody for now; the cookies stay, since the session does
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
    # Flask-Login leaves this out where it loads from the remember cookie, and session_protection="strong" would take that
    # for another browser at the next request.
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
    """Have the browser forget a token whose session has ended, or it would ask anew at every request.

    The remember cookie stays where it holds another token: whoever planted a dead session must not sign the person out.
    """
    session.pop("_user_id", None)
    if is_app_request():
        return
    cookie = request.cookies.get(_cookie_name())
    remembered = _decode(cookie) if cookie else None
    if remembered is None or remembered == token:
        session["_remember"] = "clear"


# Coming and going


def is_app_request() -> bool:
    """Return whether this request is an app's, with a bearer token or about to get one: it reads and sets no cookie."""
    return APP_REQUEST in request.environ


def current_session() -> SessionRecord | None:
    """Return the session of this request, or ``None`` when nobody of ours is signed in.

    :raises StoreError: the store cannot be reached.
    """
    current_user.is_authenticated  # noqa: B018  # has Flask-Login load the user, and the loader leave the session
    record: SessionRecord | None = g.get("chatbotkit_auth_session")
    return record


def is_fresh(record: SessionRecord, now: datetime, max_age: timedelta) -> bool:
    """Return whether the holder of a session has proved the address in the last ``max_age``.

    A browser that was restarted since, or that Flask-Login no longer takes for the same one, is not fresh either.
    """
    return _proved_lately(record, now, max_age) and (record.client != "browser" or bool(login_fresh()))


def enter(auth: Auth, user: object, token: str, record: SessionRecord, *, remember: bool = True) -> None:
    """Drop the browser's old session and begin a new one for ``user``, against session fixation (ASVS 7.2.4).

    It holds the token, never anything about the person. Flask-Login's remember cookie carries the token past the end of
    the browser's own session; then the person is signed in, but no longer fresh.

    :param remember: whether the browser stays signed in when it is closed.
    """
    try:
        before = current_session()
        if before is not None:
            auth.registry.end(before.id)
    except StoreError as error:
        # The new session is stored, and the proof is used up: the person must come in all the same.
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
    """Have the browser go on in another session of the same person. What the application keeps in its own stays.

    Its token is new, so that a copy of the one before is worth nothing (ASVS 7.2.4).
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
    """Have a session that is kept on the server go on under a new id: whoever knows the one before has nothing."""
    regenerate = getattr(current_app.session_interface, "regenerate", None)
    if regenerate is not None and not is_app_request():
        regenerate(session)


def held_session() -> SessionRecord | None:
    """Return the session that this browser holds, be its person suspended or not."""
    record: SessionRecord | None = current_session() or g.get("chatbotkit_auth_suspended")
    return record


def leave() -> None:
    """Empty the browser's Flask session and have it drop the remember cookie."""
    session.clear()
    g.pop("chatbotkit_auth_session", None)
    g.pop("chatbotkit_auth_suspended", None)
    logout_user()


def _on_login(app: Flask, user: Any, **_more: object) -> None:
    # The application called Flask-Login's login_user itself: what that wrote into the session would sign nobody in.
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
    # The application called Flask-Login's logout_user itself: a copy of the cookie must be as dead as after our own.
    find: Find | None = app.extensions.get("chatbotkit_auth_login")
    record: SessionRecord | None = g.pop("chatbotkit_auth_session", None) or g.pop("chatbotkit_auth_suspended", None)
    if find is not None and record is not None:
        find().registry.end(record.id)
        emit(user_signed_out, app, user=record.user)


def _on_protection(app: Flask, **_more: object) -> None:
    # session_protection="strong" has emptied the session, since the cookie came from another browser: a copy, perhaps.
    find: Find | None = app.extensions.get("chatbotkit_auth_login")
    if find is None or "_user_id" in session or session.get("_remember") != "clear":
        return  # "basic", which empties nothing, tells of every visitor who has a session and nobody signed in
    before = app.session_interface.open_session(app, request._get_current_object())  # type: ignore[attr-defined]
    token = None if before is None else before.get("_user_id")
    if isinstance(token, str) and token.startswith(TOKEN_PREFIX):
        try:
            find().registry.end(session_id(token))
        except StoreError:
            pass  # reported where the page is made; the browser is signed out all the same


def _proved_lately(record: SessionRecord, now: datetime, max_age: timedelta) -> bool:
    return record.proved_at is not None and now - record.proved_at < max_age


# The remember cookie


def guard_cookies(app: Flask, find: Find) -> None:
    """Have the remember cookie follow the session cookie, and the keys, in what the application has left open."""
    names = ("SECURE", "HTTPONLY", "SAMESITE", "DOMAIN", "PATH")
    # Flask-Login writes its own defaults into no configuration: what is there is the application's.
    ours = [name for name in names if app.config.get(f"REMEMBER_COOKIE_{name}") is None]

    def follow() -> None:
        # Only what the application has left open. `Secure` is for it to decide, who knows whether it is reached over
        # HTTPS; `flask chatbotkit-auth doctor` reminds.
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
            # Once more at the first request: an application may go on setting its session cookie up after init_app.
            app.extensions["chatbotkit_auth_cookies"] = True
            follow()
        _use_key_as_bytes(app)
        renew_remember_cookie(find)

    follow()
    app.before_request(before)
    # The first one registered is called last, after Flask-Login has written its cookie.
    app.after_request_funcs.setdefault(None, []).insert(0, _complete_remember_cookie)


def _use_key_as_bytes(app: Flask) -> None:
    # Flask-Login signs its remember cookie with the key as Latin-1, and fails, after the code is spent, where it is not.
    # As the bytes that Flask itself makes of it, it suits both. At each use, since it may be set or rotated at any time.
    if isinstance(app.secret_key, str) and not app.secret_key.isascii():
        app.secret_key = app.secret_key.encode()


def _complete_remember_cookie(response: Response) -> Response:
    """Add to Flask-Login's cookie what it does not know of: ``Partitioned``, and ``Secure`` where it deletes one."""
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
    """Sign this browser's remember cookie anew where it was signed under a key of ``SECRET_KEY_FALLBACKS``.

    Flask reads its own session under those keys; Flask-Login does not, and would forget the person.
    """
    name = _cookie_name()
    cookie = request.cookies.get(name)
    if not cookie:
        return
    if not cookie.rpartition("|")[2].isascii():
        # Nobody signed this, and Flask-Login's comparison raises TypeError on it: every page would answer 500 for as long
        # as the browser keeps the cookie, which a neighbour under the same domain may have planted.
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
    """Return what the remember cookie holds, if it was signed under the key or one of its fallbacks."""
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
    """Return what Flask-Login's session protection knows the client by."""
    identifier: str = current_app.login_manager._session_identifier_generator()  # type: ignore[attr-defined]
    return identifier
