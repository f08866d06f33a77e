"""Clocks that differ: logs a session cookie that is dated in the future, which Flask drops silently."""

from __future__ import annotations

import logging
import time
from base64 import urlsafe_b64decode

from flask import Flask, Request
from flask.sessions import SecureCookieSessionInterface
from itsdangerous import BadSignature, SignatureExpired

_log = logging.getLogger("flask_chatbotkit_auth")

_KEY = "chatbotkit_auth_skew_told"


def look(app: Flask, request: Request) -> None:
    """Check the session cookie of a request of ``app``, until one is dated in the future."""
    if app.extensions.get(_KEY):
        return
    cookie = request.cookies.get(app.config["SESSION_COOKIE_NAME"], "")
    # Not with `session`, which would add `Vary: Cookie` to the answer.
    if cookie.count(".") >= 2 and _signed_at(cookie) > int(time.time()):
        seconds = _seconds_ahead(app, cookie)
        if seconds > 0:
            app.extensions[_KEY] = True
            _log.error(
                "a session cookie from %s seconds in the future was dropped; set the clock of every machine by NTP",
                seconds,
                extra={"event": "clock_skew"},
            )


def _signed_at(cookie: str) -> int:
    """Return the time in the cookie, without checking its signature; 0 if there is none."""
    stamp = cookie.rsplit(".", 2)[1]
    if "+" in stamp or "/" in stamp:  # which Python takes for "-" and "_", with a warning from 3.15 on
        return 0
    try:
        return int.from_bytes(urlsafe_b64decode(stamp + "=" * (-len(stamp) % 4)), "big")
    except ValueError:
        return 0


def _seconds_ahead(app: Flask, cookie: str) -> int:
    """Return by how many seconds a cookie that this application signed is dated in the future."""
    interface = app.session_interface
    if not isinstance(interface, SecureCookieSessionInterface):
        return 0
    serializer = interface.get_signing_serializer(app)
    if serializer is None:
        return 0
    try:
        serializer.loads(cookie, max_age=int(app.permanent_session_lifetime.total_seconds()))
    except SignatureExpired as error:
        signed = error.date_signed
        return max(0, int(signed.timestamp()) - int(time.time())) if signed is not None else 0
    except BadSignature:
        pass
    return 0
