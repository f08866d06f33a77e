"""The remember cookie: it follows the session cookie, and is read and renewed with the fallbacks of the key."""

from __future__ import annotations

from collections.abc import Callable

from flask import Flask, Request, Response, session
from flask_login import decode_cookie
from werkzeug.datastructures import ImmutableMultiDict

from ..keys import secret_keys
from ..proxies import running_app
from ..sessions import TOKEN_PREFIX
from .auth import Find
from .request import client_mark, cookie_name


def follow_session_cookie(app: Flask) -> Callable[[], None]:
    """Give the remember cookie the attributes of the session cookie, unless the application has set its own.

    :returns: a function that does it again.
    """
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

    follow()
    return follow


def _use_key_as_bytes(app: Flask) -> None:
    # Flask-Login encodes a text key as Latin-1 to sign its remember cookie. If that is impossible, it fails after the code is
    # spent. The bytes that Flask itself makes of the key work for both. This is repeated, since the key may change later.
    key = app.config["SECRET_KEY"]
    if isinstance(key, str) and not key.isascii():
        app.secret_key = key.encode()


def complete_cookie(app: Flask, response: Response) -> None:
    """Add to Flask-Login's cookie what it does not support: ``Partitioned``, and ``Secure`` on deletion."""
    config = app.config
    secure, partitioned = config.get("REMEMBER_COOKIE_SECURE"), config.get("SESSION_COOKIE_PARTITIONED")
    if not (secure or partitioned) or "Set-Cookie" not in response.headers:
        return
    name = cookie_name(app) + "="
    cookies = response.headers.getlist("Set-Cookie")
    if any(each.startswith(name) for each in cookies):
        response.headers.setlist("Set-Cookie", [])
        for each in cookies:
            if each.startswith(name):
                each += "" if "; Secure" in each else "; Secure"
                each += "; Partitioned" if partitioned and "; Partitioned" not in each else ""
            response.headers.add("Set-Cookie", each)


def renew_cookie(app: Flask, request: Request, find: Find) -> None:
    """Sign the remember cookie of a request again if it was signed with a key of ``SECRET_KEY_FALLBACKS``.

    Flask accepts its own session with those keys, but Flask-Login does not, and would sign the person out.
    """
    _use_key_as_bytes(app)
    name = cookie_name(app)
    cookie = request.cookies.get(name)
    if not cookie:
        return
    if not cookie.rpartition("|")[2].isascii():
        # This cookie has no valid signature, and Flask-Login's comparison raises TypeError for it. Each page would answer 500
        # as long as the browser keeps the cookie. A sibling domain can plant such a cookie.
        request.cookies = ImmutableMultiDict(each for each in request.cookies.items(multi=True) if each[0] != name)
        return
    keys = app.config.get("SECRET_KEY_FALLBACKS") or ()
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
    for key in secret_keys(running_app().config):
        raw = key.encode() if isinstance(key, str) else key
        if token := decode_cookie(cookie, key=raw):
            return str(token)
    return None
