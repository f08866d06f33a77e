"""The blueprint: its checks and headers, and the values that every template gets."""

from __future__ import annotations

from functools import cache
from hashlib import sha256
from pathlib import Path
from typing import Any

from flask import (
    Blueprint,
    Request,
    Response,
    g,
    has_request_context,
    jsonify,
    make_response,
    render_template,
    request,
    url_for,
)
from flask.blueprints import BlueprintSetupState
from flask_wtf.csrf import generate_csrf
from markupsafe import Markup
from werkzeug.exceptions import RequestEntityTooLarge

from .. import measure
from ..failures import report_status
from ..flows import challenges
from ..flows.pending import current_holder
from ..identifier import mask
from ..keys import NO_SECRET_KEY
from ..languages import current_language
from ..mail.compose import site_name
from ..proxies import running_app, this_request
from ..rendering import template
from ..state import current_state
from ..stores.base import Challenge
from .flash import Flash
from .fleeting import save_no_session
from .forms import wants_json
from .origin import check_csrf
from .redirects import mounted, opens

MAX_BODY = 64 * 1024
"""The most bytes of a request's body. Every legitimate request is much smaller."""

HOST = "chatbotkit_auth_host"
"""The variable for the host in our URLs, if the application uses host matching."""


_HEADERS = (
    ("X-Content-Type-Options", "nosniff"),
    ("Referrer-Policy", "same-origin"),
    ("X-Frame-Options", "DENY"),
)


class _State(BlueprintSetupState):
    """Serves the pages under every host if the application uses host matching."""

    def add_url_rule(self, rule: str, endpoint: str | None = None, view_func: Any = None, **options: Any) -> None:
        if self.app.url_map.host_matching:
            options["host"] = f"<{HOST}>"
        super().add_url_rule(rule, endpoint, view_func, **options)


class _Blueprint(Blueprint):
    enable_openapi = False
    """Read by APIFlask, whose document would otherwise need a schema for every page."""

    def send_static_file(self, filename: str) -> Response:
        # Caches keep our files for everybody. A session that is permanent would be in the headers of each of them.
        save_no_session()
        return super().send_static_file(filename)

    def make_setup_state(self, app: Any, options: dict[str, Any], first_registration: bool = False) -> _State:
        return _State(self, app, options, first_registration)


blueprint: Blueprint = _Blueprint(
    "chatbotkit_auth", "flask_chatbotkit_auth", template_folder="templates", static_folder="static"
)
blueprint.enable_openapi = False  # type: ignore[attr-defined]  # APIFlask asks each blueprint, and knows only its own


@blueprint.url_value_preprocessor
def _drop_host(_endpoint: str | None, values: dict[str, Any] | None) -> None:
    if values is not None:
        values.pop(HOST, None)


@blueprint.url_defaults
def _complete_url(endpoint: str, values: dict[str, Any]) -> None:
    app = running_app()
    if app.url_map.host_matching:
        values.setdefault(HOST, request.host if has_request_context() else app.config["SERVER_NAME"])
    if endpoint == "chatbotkit_auth.static" and "filename" in values and "v" not in values:
        values["v"] = _version(values["filename"])


@cache
def _version(filename: str) -> str | None:
    """Return the version of a file, which is part of its URL, so that browsers can cache it for ever."""
    try:
        return sha256((Path(__file__).parents[1] / "static" / filename).read_bytes()).hexdigest()[:12]
    except OSError:
        return None


@blueprint.before_request
def _begin() -> Response | None:
    # One function and not four, since Flask itself has work with each.
    request = this_request()
    g.chatbotkit_auth_measured = measure.begin()
    if not running_app().secret_key:  # not in init_app, since an application can set it later
        raise RuntimeError(NO_SECRET_KEY)
    if _waits_for_strict_cookie(request):
        url = request.script_root + request.full_path.rstrip("?")
        return _html("_reload", 200, url=url)
    _refuse_large_bodies(request)
    check_csrf(request)
    return None


def _waits_for_strict_cookie(request: Request) -> bool:
    """Return whether to answer with a page that reloads itself: to a visit from another site without a ``Strict`` cookie.

    The browser does not send the cookie now, but will with the reload. A new session without it would replace the person's
    own session, and its pending challenge.
    """
    config = running_app().config
    return (
        (config["SESSION_COOKIE_SAMESITE"] or "").lower() == "strict"
        and request.method in ("GET", "HEAD")
        and request.endpoint != "chatbotkit_auth.static"
        and request.headers.get("Sec-Fetch-Site") == "cross-site"
        and config["SESSION_COOKIE_NAME"] not in request.cookies
        # A script gets its answer at once. Its browser takes no Strict cookie from there.
        and not (wants_json() and request.headers.get("Sec-Fetch-Mode") != "navigate")
    )


def _refuse_large_bodies(request: Request) -> None:
    environ = request.environ
    size = request.content_length or 0 if environ.get("CONTENT_LENGTH") else 0
    if "HTTP_TRANSFER_ENCODING" in environ:
        try:
            # If a body has no length, Werkzeug reads as much as is allowed and drops the rest silently. One byte more is
            # allowed than is accepted, which shows whether the body is too large.
            request.max_content_length = MAX_BODY + 1
            size = len(request.get_data())
        except AttributeError:
            # Flask before 3.1 has no limit for a single request, so a request must state its length.
            size = MAX_BODY + 1
    if size > MAX_BODY:
        raise RequestEntityTooLarge


@blueprint.after_request
def _end(response: Response) -> Response:
    request, status = this_request(), response.status_code
    name = (request.endpoint or "").rpartition(".")[2]
    if status >= 500 and not g.get("chatbotkit_auth_shown"):  # else the failure was already reported
        report_status(status)
    if name == "static":
        _protect_file(response, request)
    else:
        measure.end(g.get("chatbotkit_auth_measured"), "request", name, str(status))
        _protect_page(response)
    return response


def _protect_file(response: Response, request: Request) -> None:
    response.headers.setdefault("X-Content-Type-Options", "nosniff")
    filename = (request.view_args or {})["filename"]
    # With a slash, a file has no end of names, such as x/../auth.css, and each one would be remembered.
    known = response.status_code in (200, 304) and "/" not in filename
    if known and request.args.get("v") == _version(filename):
        response.headers["Cache-Control"] = "public, max-age=31536000, immutable"


def _protect_page(response: Response) -> None:
    headers = response.headers
    headers["Cache-Control"] = "no-store"
    policy = current_state().config.content_security_policy
    # Each look-up of a header compares it with all headers, so they are read once.
    there = {name.lower() for name, _value in headers}
    for name, value in (*_HEADERS, ("Content-Security-Policy", policy)):
        if value is not None and name.lower() not in there:
            headers.add(name, value)


def page(name: str, shown: Flash | None = None, /, **context: Any) -> Response:
    """Return a page, from the application's own template of this name or ours.

    :param shown: the message of the page, with its status.
    """
    shown = shown or Flash()
    config = current_state().config
    language = current_language()
    context.update(
        error=shown.message if shown.code else None,
        notice=None if shown.code else shown.message,
        errors=shown.errors,
        attempts_left=shown.attempts_left,
        waits=(shown.retry_after or 0) > config.resend_cooldown.total_seconds(),
        site_name=site_name(config),
        logo_url=config.logo_url,
        private="chatbotkit_auth_session" in g,
        home_url=after_sign_out() if config.sign_out_redirect else after_sign_in(),
        csrf_token=generate_csrf,
        csrf_field=csrf_field,
        language=language,
        _=language.gettext,
        ngettext=language.ngettext,
        pgettext=language.pgettext,
    )
    response = _html(name, shown.status, **context)
    if shown.retry_after is not None:
        response.headers["Retry-After"] = str(shown.retry_after)
    return response


def _html(name: str, status: int, /, **context: Any) -> Response:
    response = make_response(render_template(template(f"{name}.html"), **context), status)
    response.mimetype = "text/html"  # the response class of an application with an API may have another default
    return response


def csrf_field() -> Markup:
    """Return the hidden field with the CSRF token, under the name that the application has set."""
    name = running_app().config["WTF_CSRF_FIELD_NAME"]
    return Markup('<input type="hidden" name="{}" value="{}">').format(name, generate_csrf())


def after_sign_in() -> str:
    """Return the URL after a sign-in without a ``next``."""
    target = current_state().config.sign_in_redirect
    if target is None:
        target = "/" if opens("/") else None
    return mounted(target, request.script_root) if target else url_for("chatbotkit_auth.account")


def after_sign_out() -> str:
    """Return the URL after a sign-out."""
    target = current_state().config.sign_out_redirect
    return mounted(target, request.script_root) if target else url_for("chatbotkit_auth.sign_in")


def challenge_json(challenge: Challenge) -> Response:
    """Return ``{"challenge": {"email", "expires_in", "resend_in"}}``, for an app with a ``token``."""
    return jsonify(challenge=challenge_facts(challenge))


def challenge_facts(challenge: Challenge) -> dict[str, Any]:
    """Return the public fields of a challenge: the masked address, and seconds; for an app also its token."""
    facts: dict[str, Any] = {
        "email": mask(challenge.identifier),
        "expires_in": challenges.expires_in(challenge),
        "resend_in": challenges.resend_in(challenge),
    }
    token = getattr(current_holder(), "token", None)
    return {**facts, "token": token} if token else facts
