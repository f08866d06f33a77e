"""Whether a POST comes from our own pages: the browser's word about its origin, then Flask-WTF's token."""

from __future__ import annotations

from flask import Flask, current_app, g, request
from flask_wtf.csrf import CSRFError, CSRFProtect, validate_csrf
from wtforms import ValidationError

from ..state import current_auth

# Not registered with the application, whose own views it would guard as well; only asked about the requests here.
_csrf = CSRFProtect()


class OriginRefused(CSRFError):  # type: ignore[misc]  # Flask-WTF has no type information
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
    known = _check_origin()
    if g.get("csrf_valid"):  # the application has checked the token itself
        return
    if not known:
        _csrf.protect()  # the token, and over HTTPS the Referer, too
        return
    try:
        validate_csrf(_token())
    except ValidationError as error:
        raise CSRFError(error.args[0]) from None


def take_over(app: Flask, blueprint: object) -> None:
    """Have an application-wide ``CSRFProtect`` leave our pages to :func:`check_csrf`, which asks for no ``Referer``."""
    csrf = app.extensions.get("csrf")
    if isinstance(csrf, CSRFProtect):
        csrf.exempt(blueprint)


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


def _token() -> str | None:
    config = current_app.config
    given = request.form.get(config["WTF_CSRF_FIELD_NAME"])
    return given or next((found for name in config["WTF_CSRF_HEADERS"] if (found := request.headers.get(name))), None)
