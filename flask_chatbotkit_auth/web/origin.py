"""CSRF protection: the origin of a POST, as the browser states it, and then Flask-WTF's token."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from flask import Flask, Request, g
from flask_wtf.csrf import CSRFProtect, same_origin, validate_csrf
from wtforms import ValidationError

from ..keys import secret_keys
from ..login import is_app_request
from ..proxies import running_app
from ..state import current_state

if TYPE_CHECKING:  # Flask-WTF has no type information
    from werkzeug.exceptions import BadRequest as CSRFError
else:
    from flask_wtf.csrf import CSRFError


_CURE = "If its pages are yours, name the Origin in CHATBOTKIT_AUTH_TRUSTED_ORIGINS."


class OriginRefused(CSRFError):
    """The browser says that the request comes from a page of another site.

    :param detail: what the browser says, for the JSON in debug mode. It is not logged, since a client wrote it.
    """

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(reason)
        self.detail = detail


def check_csrf(request: Request) -> None:
    """Raise unless a state-changing request comes from our own pages or a trusted origin.

    A sibling domain can plant a session cookie whose token it knows, and its forms count as same-site for ``SameSite``. So
    the token alone is not enough if the browser says more.

    :raises CSRFError: the request comes from elsewhere. The description says which check refused it.
    """
    config = running_app().config
    if request.method in ("GET", "HEAD", "OPTIONS") or not config.get("WTF_CSRF_ENABLED", True):
        return
    if is_app_request():  # it does not use cookies, which another site could make a browser send
        if not request.is_json and "Authorization" not in request.headers:
            # A page of any site can send a form without asking (CORS). Its visitors would send codes to somebody's address,
            # and use up limits.
            _check_origin(request)
        return
    known = _check_origin(request)
    if g.get("csrf_valid"):  # the application has already checked the token
        return
    try:
        validate_csrf(_token(request, config), secret_key=_keys(config))
    except ValidationError as error:
        raise CSRFError(error.args[0]) from None
    if not known and request.is_secure and config["WTF_CSRF_SSL_STRICT"]:
        _check_referer(request)


def take_over(app: Flask, blueprint: object) -> None:
    """Exempt our pages from an application-wide ``CSRFProtect``. They use :func:`check_csrf`, which needs no ``Referer``."""
    csrf = app.extensions.get("csrf")
    if isinstance(csrf, CSRFProtect):
        csrf.exempt(blueprint)


def exempt_app_requests(csrf: CSRFProtect) -> CSRFProtect:
    """Exempt requests of apps from an application's own ``CSRFProtect``. They send a bearer token and no CSRF token.

    This is safe, since cookies are ignored in such a request. It has no effect unless ``CHATBOTKIT_AUTH_APP_SESSIONS`` is on.

    :returns: the same object.
    """
    protect = csrf.protect

    def protect_browsers(*arguments: Any, **options: Any) -> None:
        if is_app_request():
            g.csrf_valid = True  # forms of Flask-WTF read this before they check a token
        else:
            protect(*arguments, **options)

    csrf.protect = protect_browsers
    return csrf


def _check_origin(request: Request) -> bool:
    """Return whether the request certainly comes from us or a trusted origin; ``False`` if that is unknown.

    :raises OriginRefused: it comes from elsewhere.
    """
    site = request.headers.get("Sec-Fetch-Site")
    if site in ("same-origin", "none"):
        return True
    origin = request.headers.get("Origin")
    trusted = current_state().config.trusted_origins
    if site:
        if origin is not None and origin.lower() in trusted:
            return True
        raise OriginRefused(
            "The Origin is not trusted.", f"Sec-Fetch-Site is {site!r} and Origin is {origin!r}. {_CURE}"
        )
    if origin is None or origin == "null":
        return False  # an old browser, or a privacy setting
    own = f"{request.scheme}://{request.host}".lower()
    if origin.lower() == own or origin.lower() in trusted:
        return True
    raise OriginRefused("The Origin is not trusted.", f"Origin is {origin!r}, and this application is {own!r}. {_CURE}")


def _check_referer(request: Request) -> None:
    """Require a ``Referer`` from this site, as Flask-WTF does over HTTPS.

    :raises CSRFError: it is missing, or from another site.
    """
    if not request.referrer:
        raise CSRFError("The referrer header is missing.")
    with suppress(ValueError):  # no URL, such as https://[
        if same_origin(request.referrer, f"https://{request.host}/"):
            return
    raise CSRFError("The referrer does not match the host.")


def _keys(config: Mapping[str, Any]) -> list[str | bytes] | None:
    """Return the keys with which a token can be signed, the oldest first, or ``None`` for the key of Flask-WTF.

    During a rotation of the key, one worker can render a form and another one, with another first key, receive it.
    Flask-WTF uses only ``SECRET_KEY``.
    """
    if config.get("WTF_CSRF_SECRET_KEY") is not None:
        return None
    return secret_keys(config)[::-1]


def _token(request: Request, config: Mapping[str, Any]) -> str | None:
    in_form = request.form.get(config["WTF_CSRF_FIELD_NAME"])
    return in_form or next((found for name in config["WTF_CSRF_HEADERS"] if (found := request.headers.get(name))), None)
