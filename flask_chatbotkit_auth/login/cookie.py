"""The remember cookie: it follows the session cookie, and is read and renewed with the fallbacks of the key."""

from __future__ import annotations

from flask import Flask, Response, current_app, request, session
from flask_login import COOKIE_NAME, decode_cookie
from werkzeug.datastructures import ImmutableMultiDict

from ..sessions import TOKEN_PREFIX
from .auth import Find
from .request import client_mark


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
    name = cookie_name() + "="
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
    name = cookie_name()
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
    token = read_cookie(cookie)
    if token is None or session.get("_user_id", token) != token:
        return
    if "_user_id" not in session:
        session.update(_user_id=token, _fresh=False, _id=client_mark())
    session["_remember"] = "set"
    session["_remember_seconds"] = find().config.session_lifetime.total_seconds()


def read_cookie(cookie: str) -> str | None:
    """Return the content of the remember cookie, if it was signed with the key or one of its fallbacks."""
    if not cookie.rpartition("|")[2].isascii():
        return None
    keys = (current_app.secret_key, *(current_app.config.get("SECRET_KEY_FALLBACKS") or ()))
    for key in keys:
        raw = key.encode() if isinstance(key, str) else key
        if raw and (token := decode_cookie(cookie, key=raw)):
            return str(token)
    return None


def cookie_name() -> str:
    """Return the name of the remember cookie."""
    name: str = current_app.config.get("REMEMBER_COOKIE_NAME", COOKIE_NAME)
    return name
