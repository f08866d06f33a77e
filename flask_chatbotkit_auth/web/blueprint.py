"""What all our pages share: the blueprint, its safety, and how an exception reads to a person."""

from __future__ import annotations

import logging
from typing import Any

from flask import Blueprint, Response, current_app, g, jsonify, make_response, render_template, request, url_for
from flask_wtf.csrf import CSRFError, CSRFProtect, generate_csrf
from werkzeug.exceptions import HTTPException, RequestEntityTooLarge

from ..exceptions import (
    APIError,
    ChatBotKitAuthError,
    CodeExpired,
    InvalidCode,
    InvalidEmail,
    LifecycleDisabled,
    MailError,
    NoChallenge,
    RateLimited,
    SignInDenied,
    SignUpDisabled,
    StoreError,
    TooManyAttempts,
)
from ..failures import report, report_status
from ..flows import challenges
from ..identifier import mask
from ..languages import N_, current_language, ngettext
from ..languages import gettext as _
from ..mail.mailer import site_name
from ..state import current_auth
from ..stores.base import Challenge
from .forms import wants_json
from .redirects import mounted

_log = logging.getLogger("flask_chatbotkit_auth")

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


def page(template: str, status: int = 200, /, **context: Any) -> Response:
    """Return a page of ours, or the application's own of the same name."""
    config = current_auth.config
    language = current_language()
    context.update(
        site_name=site_name(config),
        logo_url=config.logo_url,
        home_url=mounted(config.sign_out_redirect or config.sign_in_redirect, request.script_root),
        csrf_token=generate_csrf,
        language=language,
        _=language.gettext,
        ngettext=language.ngettext,
    )
    return make_response(render_template(f"chatbotkit_auth/{template}.html", **context), status)


def after_sign_in() -> str:
    """Return where people go after signing in without a ``next``."""
    return mounted(current_auth.config.sign_in_redirect, request.script_root)


def after_sign_out() -> str:
    """Return where people go after signing out."""
    target = current_auth.config.sign_out_redirect
    return mounted(target, request.script_root) if target else url_for("chatbotkit_auth.sign_in")


def problem(error: ChatBotKitAuthError) -> Response:
    """Return the answer about ``error`` where no form can show it: a page of its own, or JSON."""
    if wants_json():
        return json_problem(error)
    response = page(
        "message",
        error.http_status,
        title=_title(error),
        message=explain(error),
        status=error.http_status,
        retry_after=getattr(error, "retry_after", None),
        **_way_on(error),
    )
    return with_retry_after(response, error)


def json_problem(error: ChatBotKitAuthError, message: str | None = None) -> Response:
    """Return ``{"error": {"code", "message", …}}`` with the error's status.

    :param message: the sentence for the person, by default that of :func:`explain`.
    """
    details: dict[str, Any] = {"code": error.error_code, "message": message or explain(error)}
    for name in ("attempts_left", "retry_after"):
        if hasattr(error, name) and not isinstance(error, APIError):
            details[name] = getattr(error, name)
    response = make_response(jsonify(error=details), error.http_status)
    return with_retry_after(response, error)


def challenge_json(challenge: Challenge) -> Response:
    """Return ``{"challenge": {"email", "expires_in", "resend_in"}}``: a masked address, and seconds."""
    return jsonify(
        challenge={
            "email": mask(challenge.identifier),
            "expires_in": challenges.expires_in(challenge),
            "resend_in": challenges.resend_in(challenge),
        }
    )


def with_retry_after(response: Response, error: ChatBotKitAuthError) -> Response:
    """Add the ``Retry-After`` header where waiting helps."""
    report(error)
    if isinstance(error, RateLimited):
        _log_refusal(error)
    if isinstance(error, (RateLimited, TooManyAttempts)):
        response.headers["Retry-After"] = str(error.retry_after)
    return response


def _log_refusal(reason: object) -> None:
    # The rule and not the path, which may hold a session's id, or whatever else the client wrote into it.
    _log.warning("%s refused to %s: %s", request.url_rule, request.remote_addr, reason)


def explain(error: ChatBotKitAuthError) -> str:
    """Return the sentence that a person reads: what happened, and what to do next."""
    if isinstance(error, InvalidCode):
        if error.attempts_left == 0:
            return _("That code is not right, and this was the last try. Start again to get a new code.")
        return _("That code is not right. Check the mail and type the newest code.")
    if isinstance(error, RateLimited):
        return _rate_limit_sentence(error)
    if isinstance(error, SignInDenied):
        return error.reason or _("You may not sign in here. If that is a mistake, ask the people who run this site.")
    for kind, sentence in _SENTENCES:
        if isinstance(error, kind):
            return _(sentence)
    return _("Something went wrong on our side. Try again in a moment.")


_SENTENCES: tuple[tuple[type[ChatBotKitAuthError], str], ...] = (
    (InvalidEmail, N_("That is not an e-mail address we can write to. Type one address, such as ada@example.com.")),
    (NoChallenge, N_("This sign-in is over, or was started in another browser. Start again to get a new code.")),
    (CodeExpired, N_("This code has expired. Start again and we will send you a new one.")),
    (TooManyAttempts, N_("Too many wrong codes. This sign-in has ended; start again to get a new code.")),
    (SignUpDisabled, N_("There is no account for this address. If you need one, ask the people who run this site.")),
    (LifecycleDisabled, N_("This is switched off here. If you need it, ask the people who run this site.")),
    (MailError, N_("We could not send the mail just now. Wait a moment, then ask for another code.")),
    (APIError, N_("We cannot reach your account just now. Your code is still good: try again in a moment.")),
    (StoreError, N_("We cannot sign anybody in just now. Try again in a moment.")),
)


def _rate_limit_sentence(error: RateLimited) -> str:
    if error.limit == "resend:max":
        return _("That was the last code we can send for this sign-in. Use the newest one, or start again.")
    if error.limit.startswith("verify"):
        return _("Too many wrong codes. Wait %(time)s, then try again.", time=_in_words(error.retry_after))
    return _("Too many codes were asked for. Wait %(time)s, then try again.", time=_in_words(error.retry_after))


def _in_words(seconds: int) -> str:
    if seconds < 90:
        # Translators: in "Wait %(time)s, then try again."
        return ngettext("%(num)s second", "%(num)s seconds", seconds)
    # Translators: in "Wait %(time)s, then try again."
    return ngettext("%(num)s minute", "%(num)s minutes", -(-seconds // 60))


def _way_on(error: ChatBotKitAuthError) -> dict[str, str]:
    if isinstance(error, LifecycleDisabled):
        # Only who is signed in meets this one.
        return {"action_url": url_for("chatbotkit_auth.account"), "action_label": _("Back to your account")}
    return {"action_url": url_for("chatbotkit_auth.sign_in"), "action_label": _("Back to sign-in")}


def _title(error: ChatBotKitAuthError) -> str:
    if isinstance(error, LifecycleDisabled):
        return _("Switched off")
    if error.http_status == 429:
        return _("Please wait a little")
    if error.http_status == 403:
        return _("You cannot sign in")
    if error.http_status >= 500:
        return _("We will be right back")
    return _("That did not work")


@blueprint.errorhandler(ChatBotKitAuthError)
def _on_error(error: ChatBotKitAuthError) -> Response:
    return problem(error)


@blueprint.errorhandler(CSRFError)
def _on_csrf_error(error: CSRFError) -> Response:
    _log_refusal(error.description)
    message = _("This page was open for too long, or cookies are blocked. Nothing is lost: try again.")
    if wants_json():
        return make_response(jsonify(error={"code": "csrf", "message": message}), 403)
    return page(
        "message",
        403,
        title=_("Please try again"),
        message=message,
        status=403,
        action_url=url_for("chatbotkit_auth.sign_in"),
        action_label=_("Back to sign-in"),
    )


@blueprint.errorhandler(RequestEntityTooLarge)
def _on_large_body(error: HTTPException) -> Response:
    message = _("That is far more than this form takes. Type it again, shorter.")
    if wants_json():
        return make_response(jsonify(error={"code": "too_large", "message": message}), 413)
    return page(
        "message",
        413,
        title=_("Too much text"),
        message=message,
        status=413,
        action_url=url_for("chatbotkit_auth.sign_in"),
        action_label=_("Back to sign-in"),
    )
