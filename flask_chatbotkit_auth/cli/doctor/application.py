"""The looks at the application itself: its settings, its cookies, its proxy, its user loader."""

from __future__ import annotations

from typing import Any

from flask import current_app

from ...config import unknown_keys
from ...keys import NO_SECRET_KEY
from ...login import LATER_LOADER, asks_us, follow_manager
from ...proxies import running_app
from ...state import current_auth
from .findings import Look, from_hints

MAX_CODE_LIFETIME = 600
"""Seconds that a code may be good for (OWASP ASVS 5.0, 6.5.5)."""

MIN_CODE_LIFETIME = 60
"""Seconds that most mails take at most, and a person to type the code."""

MIN_SECRET_KEY = 16
"""Characters that a ``SECRET_KEY`` has when it was made at random."""

_USUAL_NAMES = ("app", "wsgi", "main", "__main__")


def configuration() -> Look:
    """Warn about settings that are allowed but risky."""
    config = current_auth.config
    key = current_app.secret_key
    if not key:
        return "failure", NO_SECRET_KEY
    hints = unknown_keys(current_app.config)
    if len(key) < MIN_SECRET_KEY:
        hints.append("SECRET_KEY is short enough to be guessed; make one at random.")
    lifetime = current_auth.provider.lifetime.total_seconds()
    if lifetime > MAX_CODE_LIFETIME:
        hints.append("Codes are good for longer than 10 minutes; lower CHATBOTKIT_AUTH_CODE_LIFETIME.")
    if lifetime < MIN_CODE_LIFETIME:
        hints.append("Codes expire before most mails arrive; raise CHATBOTKIT_AUTH_CODE_LIFETIME, which is in seconds.")
    if off := [name for name, rate in config.rate_limits.items() if rate is None]:
        hints.append(f"CHATBOTKIT_AUTH_RATE_LIMITS switches {', '.join(off)} off.")
    audience = getattr(config, "audience", None) or current_app.name
    if audience in _USUAL_NAMES:
        hints.append(
            f'CHATBOTKIT_AUTH_AUDIENCE is left at "{audience}", which other applications are called, too; name this one, so '
            "that a session of another application with the same store and key opens nothing here."
        )
    adapter = current_auth.adapter
    kinds = "sub-accounts" if current_auth.kind == "partner" else "contacts"
    switches = {"create": adapter.auto_create, "update": adapter.auto_update, "delete": adapter.auto_delete}
    told = ", ".join(f"auto {name} {'on' if on else 'off'}" for name, on in switches.items())
    return from_hints(hints, f"users are {kinds}; {told}")


def cookies() -> Look:
    """Check the names and flags of the two cookies that hold a session token."""
    for cookie in ("SESSION_COOKIE", "REMEMBER_COOKIE"):
        kept = current_app.config.get(f"{cookie}_SECURE") and _allows_host_prefix(cookie)
        if _has_host_prefix(cookie) and not kept:
            return "failure", (
                f"{cookie}_NAME begins with __Host-, and a browser drops such a cookie without Secure, or with a domain or a "
                f"path. Set {cookie}_SECURE to True and {cookie}_PATH to /, and leave {cookie}_DOMAIN out, or choose another "
                "name."
            )
    hints = []
    for cookie, name in (("SESSION_COOKIE", "session"), ("REMEMBER_COOKIE", "remember_token")):
        setting = {flag: current_app.config.get(f"{cookie}_{flag}") for flag in ("SECURE", "HTTPONLY", "SAMESITE")}
        if not setting["SECURE"] and not current_app.debug:
            hints.append(f"{cookie}_SECURE is off; set it to True where the site is served over HTTPS.")
        if not setting["HTTPONLY"]:
            hints.append(f"{cookie}_HTTPONLY is off; scripts can read who is signed in.")
        if str(setting["SAMESITE"]).lower() not in ("lax", "strict"):
            hints.append(f'{cookie}_SAMESITE is not "Lax"; other sites can act for a signed-in person.')
        if (
            cookie == "SESSION_COOKIE"
            and str(setting["SAMESITE"]).lower() == "strict"
            and current_auth.config.mail_link
        ):
            hints.append(
                'SESSION_COOKIE_SAMESITE is "Strict" and CHATBOTKIT_AUTH_MAIL_LINK is on: a browser keeps the cookie back '
                'when a link in a mail is opened, and each link looks as if it came from another browser. Set it to "Lax".'
            )
        if setting["SECURE"] and not _has_host_prefix(cookie) and _allows_host_prefix(cookie):
            hints.append(
                f'Set {cookie}_NAME = "__Host-{name}": a neighbour under the same domain cannot plant a cookie of that name. '
                "(Everybody signs in once more.)"
            )
    return from_hints(hints, "their flags are as they should be")


def _has_host_prefix(cookie: str) -> bool:
    return str(current_app.config.get(f"{cookie}_NAME", "")).startswith("__Host-")


def _allows_host_prefix(cookie: str) -> bool:
    config = current_app.config
    path = config.get(f"{cookie}_PATH") or (config["APPLICATION_ROOT"] if cookie == "SESSION_COOKIE" else "/")
    return path == "/" and not config.get(f"{cookie}_DOMAIN")


def proxy() -> Look:
    """Look for ``ProxyFix``. Without it, everybody behind a proxy counts as one client for the rate limits."""
    fix = _middleware("ProxyFix")
    if fix is None:
        return "ok" if current_app.debug else "warning", (
            "ProxyFix is not set: behind a reverse proxy, or on a unix socket, all people together count as one client. Wrap "
            "app.wsgi_app in ProxyFix with the number of proxies that you run; without a proxy nothing is to be done."
        )
    believed = {name: getattr(fix, name, 0) for name in ("x_for", "x_proto", "x_host")}
    if not believed["x_for"]:
        return (
            "warning",
            "ProxyFix has x_for=0: all people together count as one client; set it to the number of your proxies",
        )
    hints = []
    if not believed["x_proto"]:
        hints.append(
            "ProxyFix has x_proto=0: links in mails begin with http, and forms are compared with the wrong origin."
        )
    return from_hints(hints, f"ProxyFix believes {believed['x_for']} of the addresses in X-Forwarded-For")


def _middleware(name: str) -> Any:
    layer: Any = current_app.wsgi_app
    for _ in range(20):
        if layer is None or type(layer).__name__ == name:
            return layer
        layer = next(
            (found for key in ("app", "wsgi_app", "application") if (found := getattr(layer, key, None))), None
        )
    return None


def user_loader() -> Look:
    """Check that Flask-Login still uses our user loader."""
    follow_manager(running_app())  # as the first request does
    if asks_us(current_app):
        return "ok", "Flask-Login asks us who is signed in"
    return "failure", LATER_LOADER
