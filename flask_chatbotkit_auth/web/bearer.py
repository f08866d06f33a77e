"""Requests of apps: the bearer token in the header ``Authorization`` identifies the person, and cookies are ignored."""

from __future__ import annotations

from typing import Any

from flask import Flask, Response, g, request
from flask_login import LoginManager
from flask_login.signals import user_needs_refresh, user_unauthorized
from werkzeug.datastructures import ImmutableMultiDict
from werkzeug.wrappers import Response as AnyResponse

from ..exceptions import NotFresh, SignInDenied
from ..flows.apps import App
from ..flows.pending import HOLDER
from ..languages import gettext as _
from ..login import APP_REQUEST, current_session, has_request_loader, hold_token, is_app_request
from ..proxies import running_app
from ..sessions import APP_TOKEN_PREFIX, TOKEN_PREFIX
from .errors import failed, problem
from .fleeting import save_no_session
from .forms import text

_OURS = "chatbotkit_auth"
_FOR_ANYBODY = {
    f"{_OURS}.{name}"
    for name in ("app_sign_in", "app_verify", "app_resend", "app_sign_out", "static", "openapi", "passkey_endpoints")
}
"""Our endpoints that also work with an expired token."""


def prepare(app: Flask, manager: LoginManager) -> None:
    """Let an application accept the tokens of apps in every request.

    :param manager: its ``LoginManager``, which is changed to answer apps with JSON instead of a redirect.
    """
    # Before everything that may use the current user, including extensions that were initialised first.
    app.before_request_funcs.setdefault(None, []).insert(0, _begin)
    # Functions after a request are called in reverse order of registration.
    app.after_request_funcs.setdefault(None, []).insert(0, _without_cookies)
    answer_apps(manager)


def answer_apps(manager: LoginManager) -> None:
    """Change a ``LoginManager`` to answer apps with JSON instead of a redirect."""
    to_sign_in, to_prove = manager.unauthorized, manager.needs_refresh

    def unauthorized() -> Any:
        if not is_app_request():
            return to_sign_in()
        user_unauthorized.send(running_app())
        return refuse()

    def needs_refresh() -> Any:
        if not is_app_request():
            return to_prove()
        user_needs_refresh.send(running_app())
        return problem(NotFresh())

    manager.unauthorized = unauthorized
    manager.needs_refresh = needs_refresh


def refuse() -> AnyResponse:
    """Answer a request of an app without a valid session: 401, or 403 if suspended, or 503 if it could not be checked."""
    unreachable = g.get("chatbotkit_auth_unreachable")
    if unreachable is not None:
        return problem(unreachable)
    if "chatbotkit_auth_suspended" in g:
        return problem(SignInDenied())
    if _bearer() is None:
        return _challenged(failed(401, "not_signed_in", _("You're not signed in. Sign in to continue.")), "Bearer")
    answer = failed(401, "invalid_token", _("You're signed out. Sign in again."))
    return _challenged(answer, 'Bearer error="invalid_token"')


def _challenged(answer: AnyResponse, challenge: str) -> AnyResponse:
    answer.headers["WWW-Authenticate"] = challenge  # RFC 6750, section 3
    return answer


def _begin() -> AnyResponse | Response | None:
    token, ours = _bearer(), request.blueprint == _OURS
    if token is None and not (ours and (request.endpoint or "").startswith(f"{_OURS}.app_")):
        return None
    if token is not None and not (ours or _is_for_us(token)):
        return None
    _forget_cookies(token)
    if not ours or request.method == "OPTIONS" or request.endpoint in _FOR_ANYBODY:
        return None
    return refuse() if current_session() is None else None


def _without_cookies(response: Response) -> Response:
    if is_app_request():
        response.headers.remove("Set-Cookie")
    return response


def _is_for_us(token: str) -> bool:
    """Return whether the request has a token of ours, and not one that the application reads itself."""
    return token.startswith((APP_TOKEN_PREFIX, TOKEN_PREFIX)) or not has_request_loader()


def _bearer() -> str | None:
    """Return the bearer token of the header, ``""`` if it is malformed, or ``None`` if there is none."""
    # Not by `request.authorization`, which raises for some headers of other schemes, such as Basic with bytes above 127.
    scheme, _, token = request.environ.get("HTTP_AUTHORIZATION", "").partition(" ")
    if scheme.lower() != "bearer":
        return None
    token = token.strip()
    return "" if "=" in token.rstrip("=") else token


def _forget_cookies(token: str | None) -> None:
    """Replace the cookies of the request with its token, for Flask-Login and all other code."""
    request.environ[APP_REQUEST] = True
    if (request.endpoint or "").startswith((f"{_OURS}.app_", f"{_OURS}.account")):
        request.environ[HOLDER] = App(lambda: text("challenge"))
    request.cookies = ImmutableMultiDict()
    save_no_session()
    if token is not None and token.startswith(APP_TOKEN_PREFIX):
        hold_token(token)
