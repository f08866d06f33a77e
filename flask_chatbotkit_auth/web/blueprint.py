"""What all our pages share: the blueprint, its safety, and what every template gets."""

from __future__ import annotations

from typing import Any

from flask import Blueprint, Response, current_app, g, jsonify, make_response, render_template, request, url_for
from flask_wtf.csrf import CSRFProtect, generate_csrf
from markupsafe import Markup
from werkzeug.exceptions import RequestEntityTooLarge

from ..failures import report_status
from ..flows import challenges
from ..identifier import mask
from ..languages import current_language
from ..mail.compose import site_name
from ..state import current_auth
from ..stores.base import Challenge
from .flash import Flash
from .redirects import mounted
from .templates import template

MAX_BODY = 64 * 1024
"""Bytes of a request's body; nothing that a person sends here comes near."""

_HEADERS = {
    "Referrer-Policy": "same-origin",
    "X-Frame-Options": "DENY",
    "Content-Security-Policy": (
        "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self' data: https:; connect-src 'self'; "
        "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
    ),
}
"""Of every page, unless the application sets its own."""

blueprint: Blueprint = Blueprint(
    "chatbotkit_auth", "flask_chatbotkit_auth", template_folder="templates", static_folder="static"
)

# Not registered with the application, whose own views it would guard as well; only asked about the requests here.
_csrf = CSRFProtect()


@blueprint.before_request
def _refuse_large_bodies() -> None:
    size = request.content_length or 0
    if "Transfer-Encoding" in request.headers:
        try:
            # Of a body without a length Werkzeug reads as much as is allowed and drops the rest without a word: allow one
            # byte more than is taken, which tells that there is more.
            request.max_content_length = MAX_BODY + 1
            size = len(request.get_data())
        except AttributeError:
            size = MAX_BODY + 1  # Flask before 3.1 has no limit for a single request: there it must state its length
    if size > MAX_BODY:
        raise RequestEntityTooLarge


@blueprint.before_request
def _check_csrf() -> None:
    # An application's own CSRFProtect may have checked it before.
    if current_app.config.get("WTF_CSRF_ENABLED", True) and not g.get("csrf_valid"):
        _csrf.protect()


@blueprint.after_request
def _no_silent_failure(response: Response) -> Response:
    if not g.get("chatbotkit_auth_shown"):  # the request before, which failed, has told about it
        report_status(response.status_code)
    return response


@blueprint.after_request
def _protect(response: Response) -> Response:
    headers = response.headers
    headers.setdefault("X-Content-Type-Options", "nosniff")
    if request.endpoint == "chatbotkit_auth.static":
        return response
    headers["Cache-Control"] = "no-store"
    for name, value in _HEADERS.items():
        if name not in headers:
            headers.add(name, value)
    return response


def page(name: str, shown: Flash | None = None, /, **context: Any) -> Response:
    """Return a page of ours, or the application's own of the same name.

    :param shown: what happened, which the page tells under the status that belongs to it.
    """
    shown = shown or Flash()
    config = current_auth.config
    language = current_language()
    context.update(
        error=shown.message if shown.code else None,
        notice=None if shown.code else shown.message,
        errors=shown.errors,
        attempts_left=shown.attempts_left,
        site_name=site_name(config),
        logo_url=config.logo_url,
        home_url=mounted(config.sign_out_redirect or config.sign_in_redirect, request.script_root),
        csrf_token=generate_csrf,
        csrf_field=csrf_field,
        language=language,
        _=language.gettext,
        ngettext=language.ngettext,
        pgettext=language.pgettext,
    )
    response = make_response(render_template(template(f"{name}.html"), **context), shown.status)
    if shown.retry_after is not None:
        response.headers["Retry-After"] = str(shown.retry_after)
    return response


def csrf_field() -> Markup:
    """Return the hidden field that every form has, under the name that the application has set."""
    name = current_app.config["WTF_CSRF_FIELD_NAME"]
    return Markup('<input type="hidden" name="{}" value="{}">').format(name, generate_csrf())


def after_sign_in() -> str:
    """Return where people go after signing in without a ``next``."""
    return mounted(current_auth.config.sign_in_redirect, request.script_root)


def after_sign_out() -> str:
    """Return where people go after signing out."""
    target = current_auth.config.sign_out_redirect
    return mounted(target, request.script_root) if target else url_for("chatbotkit_auth.sign_in")


def challenge_json(challenge: Challenge) -> Response:
    """Return ``{"challenge": {"email", "expires_in", "resend_in"}}``: a masked address, and seconds."""
    return jsonify(
        challenge={
            "email": mask(challenge.identifier),
            "expires_in": challenges.expires_in(challenge),
            "resend_in": challenges.resend_in(challenge),
        }
    )
