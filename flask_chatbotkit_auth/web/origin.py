"""Whether a POST comes from our own pages: the browser's word about its origin, then Flask-WTF's token."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from flask import Flask, current_app, g, request
from flask_wtf.csrf import CSRFProtect, same_origin, validate_csrf
from wtforms import ValidationError

from ..keys import secret_keys
from ..login import is_app_request
from ..state import current_auth

if TYPE_CHECKING:  # Flask-WTF has no type information
    from werkzeug.exceptions import BadRequest as CSRFError
else:
    from flask_wtf.csrf import CSRFError


class OriginRefused(CSRFError):
    """The browser says that the request comes from a page of somebody else.

    :param detail: what it says, for the JSON in debug mode; no log holds what a client wrote.
    """

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(reason)
        self.detail = detail


def check_csrf() -> None:
    """Let a state change through only if it comes from us, or from an origin that the configuration trusts.

    A neighbouring host can plant a session cookie whose token it knows, and its forms are no cross-site requests to
    ``SameSite``. So the token alone is not enough where the browser tells more.

    :raises CSRFError: it does not; the description says which check refused.
    """
    if request.method in ("GET", "HEAD", "OPTIONS") or not current_app.config.get("WTF_CSRF_ENABLED", True):
        return
    if is_app_request():  # it carries no cookie that another site could make a browser send
        return
    known = _check_origin()
    if g.get("csrf_valid"):  # the application has checked the token itself
        return
    try:
        validate_csrf(_token(), secret_key=_keys())
    except ValidationError as error:
        raise CSRFError(error.args[0]) from None
    if not known:
        _check_referer()


def take_over(app: Flask, blueprint: object) -> None:
    """Have an application-wide ``CSRFProtect`` leave our pages to :func:`check_csrf`, which asks for no ``Referer``."""
    csrf = app.extensions.get("csrf")
    if isinstance(csrf, CSRFProtect):
        csrf.exempt(blueprint)


def exempt_app_requests(csrf: CSRFProtect) -> CSRFProtect:
    """Have an application's own ``CSRFProtect`` let requests of apps through, which send a bearer token and no CSRF token.

    It is safe, since no cookie counts in such a request. It changes nothing unless ``CHATBOTKIT_AUTH_APP_SESSIONS`` is on.

    :returns: the same object.
    """
    protect = csrf.protect

    def protect_browsers(*arguments: Any, **options: Any) -> None:
        if is_app_request():
            g.csrf_valid = True  # a form of Flask-WTF looks here before it asks for a token
        else:
            protect(*arguments, **options)

    csrf.protect = protect_browsers
    return csrf


def _check_origin() -> bool:
    """Return whether it is certain that the request comes from us or a trusted origin; ``False`` where nothing is known.

    :raises OriginRefused: it comes from somewhere else.
    """
    site, origin = request.headers.get("Sec-Fetch-Site"), request.headers.get("Origin")
    own = f"{request.scheme}://{request.host}".lower()
    trusted = current_auth.config.trusted_origins
    if site in ("same-origin", "none"):
        return True
    if site:
        if origin is not None and origin.lower() in trusted:
            return True
        raise OriginRefused("The Origin is not trusted.", f"Sec-Fetch-Site is {site!r} and Origin is {origin!r}.")
    if origin is None or origin == "null":
        return False  # an old browser, or a privacy setting
    if origin.lower() == own or origin.lower() in trusted:
        return True
    raise OriginRefused("The Origin is not trusted.", f"Origin is {origin!r}, and this application is {own!r}.")


def _check_referer() -> None:
    """Over HTTPS, ask for a ``Referer`` from here, as Flask-WTF does.

    :raises CSRFError: there is none, or it is somebody else's.
    """
    if not (request.is_secure and current_app.config["WTF_CSRF_SSL_STRICT"]):
        return
    if not request.referrer:
        raise CSRFError("The referrer header is missing.")
    if not same_origin(request.referrer, f"https://{request.host}/"):
        raise CSRFError("The referrer does not match the host.")


def _keys() -> list[str | bytes] | None:
    """Return the keys that a token may be signed under, the oldest first; ``None`` for the key of Flask-WTF's own.

    While the key changes, one worker shows a form and another one, whose first key is the other, takes it. Flask-WTF knows
    ``SECRET_KEY`` alone.
    """
    if current_app.config.get("WTF_CSRF_SECRET_KEY") is not None:
        return None
    return secret_keys(current_app.config)[::-1]


def _token() -> str | None:
    config = current_app.config
    given = request.form.get(config["WTF_CSRF_FIELD_NAME"])
    return given or next((found for name in config["WTF_CSRF_HEADERS"] if (found := request.headers.get(name))), None)
