"""What answers a form or an error: a page, a redirect with a message, or JSON."""

from __future__ import annotations

import logging
from contextlib import suppress
from typing import Any

from flask import Response, current_app, g, jsonify, make_response, redirect, request, url_for
from flask_wtf.csrf import CSRFError
from werkzeug.exceptions import HTTPException, RequestEntityTooLarge
from werkzeug.wrappers import Response as AnyResponse

from ..exceptions import (
    APIError,
    ChatBotKitAuthError,
    InvalidCode,
    InvalidEmail,
    LifecycleDisabled,
    RateLimited,
    SignInDenied,
    SignUpDisabled,
    StoreError,
    TooManyAttempts,
)
from ..failures import report
from ..flows.pending import current_holder
from ..languages import gettext as _
from ..login import current_session, is_app_request
from ..remote import client_address
from ..state import current_auth
from ..stores.base import Challenge, State
from . import flash
from .blueprint import blueprint, challenge_facts, page
from .flash import Flash
from .fleeting import save_no_session
from .forms import text, wants_json
from .origin import OriginRefused
from .redirects import safe_next
from .sentences import explain, title_of

_log = logging.getLogger("flask_chatbotkit_auth")

_FORMS = {
    "sign_in_post": ("sign_in", ("email", "remember")),
    "verify_post": ("verify", ()),
    "resend": ("verify", ()),
    "sign_out_post": ("sign_out", ()),
    "account_profile": ("account", ("name", "image")),
    "account_end_session": ("account", ()),
    "account_end_others": ("account", ()),
    "account_email_post": ("account_email", ("email",)),
    "account_email_verify": ("account_email", ()),
    "account_delete_code": ("account_delete", ()),
    "account_delete_post": ("account_delete", ("confirm",)),
}
"""For the endpoint of each POST: the page with its form, and the fields that are shown again."""

_ADDRESS_FORMS = ("chatbotkit_auth.sign_in_post", "chatbotkit_auth.account_email_post")


def answer(shown: Flash, endpoint: str | None = None) -> AnyResponse:
    """Answer a form: redirect to a page that shows ``shown`` once. Render the page directly if ``shown`` cannot be stored.

    :param endpoint: the page; by default the one with the form.
    """
    endpoint = endpoint or _form()[0]
    if endpoint.startswith("account") and current_session() is None:
        endpoint = "sign_in"
    endpoint = f"chatbotkit_auth.{endpoint}"
    m = flash.keep(shown)
    if m is None:
        if "chatbotkit_auth_flash" in g:  # rendering its page has failed as well
            return message_page(shown)
        g.chatbotkit_auth_flash = shown
        made: AnyResponse = current_app.make_response(current_app.ensure_sync(current_app.view_functions[endpoint])())
        return made
    next = safe_next() if endpoint == "chatbotkit_auth.sign_in" else None
    return redirect(url_for(endpoint, next=next, m=m), 303)


def done(message: str, endpoint: str | None = None, **more: Any) -> AnyResponse:
    """Answer a form that has succeeded: redirect to a page that says so once."""
    return answer(Flash(message=message, **more), endpoint)


def code_sent(challenge: Challenge, endpoint: str) -> AnyResponse:
    """Answer a form that has sent a code: redirect to the page that asks for it, which says if it was not the first one."""
    if challenge.sends > 1:
        return done(_("New code sent. Earlier codes still work."), endpoint)
    return redirect(url_for(f"chatbotkit_auth.{endpoint}"), 303)


def failed(
    status: int, code: str, message: str, *, errors: dict[str, str] | None = None, **details: Any
) -> AnyResponse:
    """Answer an error that is not an exception: with JSON, or with the form again, filled with what was typed.

    :param errors: sentences by field, for input that is wrong.
    :param details: further fields of the JSON error.
    """
    if wants_json():
        if is_app_request():
            details |= _challenge_in_hand()
        return make_response(jsonify(error={"code": code, "message": message, **details}), status)
    return answer(Flash(status, "" if errors else message, code, errors=errors or {}, typed=_typed()))


def problem(error: ChatBotKitAuthError, endpoint: str | None = None) -> AnyResponse:
    """Answer an exception: with JSON, with the form that it came from, or with a page of its own.

    :param endpoint: the page; by default the one with the form.
    """
    report(error)
    if isinstance(error, RateLimited):
        _log_refusal(error)
        if current_app.debug and error.limit.endswith(":email"):
            _log.warning("While you develop, lift it with: flask chatbotkit-auth limits clear EMAIL")
    if wants_json():
        return json_problem(error)
    # Errors of the store in an application's own views arrive here as well.
    ours = request.method == "POST" and request.blueprint == "chatbotkit_auth"
    return answer(flash_of(error), endpoint) if ours else message_page(flash_of(error))


def json_problem(error: ChatBotKitAuthError) -> Response:
    """Return ``{"error": {"code", "message", …}}`` with the error's status."""
    details: dict[str, Any] = {"code": error.error_code, "message": explain(error)}
    for name in ("attempts_left", "retry_after"):
        if hasattr(error, name) and not isinstance(error, APIError):
            details[name] = getattr(error, name)
    if is_app_request():
        details |= _challenge_in_hand()
    response = make_response(jsonify(error=details), error.http_status)
    if "retry_after" in details:
        response.headers["Retry-After"] = str(details["retry_after"])
    return response


def _challenge_in_hand() -> dict[str, Any]:
    """Return ``{"challenge": …}`` if an app's challenge has changed and is pending: the app needs the new token."""
    holder = current_holder()
    if not getattr(holder, "changed", False):
        return {}
    with suppress(StoreError):
        challenge = current_auth.store.get_challenge(str(holder.read().get("challenge")))
        if challenge is not None and challenge.state is not State.COMPLETED:
            return {"challenge": challenge_facts(challenge)}
    return {}


def message_page(shown: Flash) -> Response:
    """Return a page that shows only ``shown``."""
    return page(
        "message",
        shown,
        title=shown.title or title_of(shown.status),
        message=shown.message or next(iter(shown.errors.values()), ""),
        status=shown.status,
        retry_after=shown.retry_after,
        action_url=shown.action_url or url_for("chatbotkit_auth.sign_in"),
        action_label=shown.action_label or _("Back to sign-in"),
    )


def flash_of(error: ChatBotKitAuthError) -> Flash:
    """Return the message of a page about ``error``, with what was typed."""
    message = explain(error)
    own: dict[str, Any] = {}
    if isinstance(error, LifecycleDisabled):
        # Only a signed-in person gets this one.
        own = {"title": _("Turned off"), "action_label": _("Back to your account")}
        own["action_url"] = url_for("chatbotkit_auth.account")
    elif isinstance(error, (SignInDenied, SignUpDisabled)):
        own = {"title": title_of(error.http_status)}
    field = _field(error)
    return Flash(
        error.http_status,
        "" if field else message,
        error.error_code,
        retry_after=error.retry_after if isinstance(error, (RateLimited, TooManyAttempts)) else None,
        attempts_left=error.attempts_left if isinstance(error, InvalidCode) and text("code").strip() else None,
        errors={field: message} if field else {},
        typed=_typed(),
        **own,
    )


def _field(error: ChatBotKitAuthError) -> str | None:
    """Return the field of the form that ``error`` is about, or ``None``."""
    if isinstance(error, InvalidCode) and error.attempts_left:
        return "code"
    return "email" if isinstance(error, InvalidEmail) and request.endpoint in _ADDRESS_FORMS else None


def _form() -> tuple[str, tuple[str, ...]]:
    here = (request.endpoint or "").rpartition(".")[2]
    return _FORMS.get(here) or ("account" if here.startswith("account") else "sign_in", ())


def _typed() -> dict[str, str]:
    return {name: text(name) for name in _form()[1] if text(name)}


def _log_refusal(reason: object) -> None:
    # The rule, not the path: that can contain the id of a session, or anything else that a client wrote into it.
    _log.warning("%s refused to %s: %s", request.url_rule, client_address(request.remote_addr), reason)


@blueprint.errorhandler(ChatBotKitAuthError)
def _on_error(error: ChatBotKitAuthError) -> AnyResponse:
    return problem(error)


@blueprint.errorhandler(CSRFError)
def _on_csrf_error(error: CSRFError) -> AnyResponse:
    _log_refusal(error.description)
    foreign = isinstance(error, OriginRefused)
    if foreign:
        message = _("That came from another site, so nothing was done. Try again here.")
    elif flash.cookies_work():
        message = _("This page was out of date, so we refreshed it. Nothing is lost: try again.")
    else:
        message = _("Your browser sent no cookie. Allow cookies for this site, then try again.")
    without_session = foreign and current_app.config["SESSION_COOKIE_NAME"] not in request.cookies
    if without_session:
        # The browser keeps the session cookie back (SameSite), and an answer with a new one would replace it.
        save_no_session()
    if wants_json():
        check = {"check": getattr(error, "detail", None) or _cure(error)} if current_app.debug else {}
        return make_response(jsonify(error={"code": "csrf", "message": message, **check}), 403)
    if without_session:
        again = url_for(f"chatbotkit_auth.{_form()[0]}")
        own: dict[str, Any] = {"title": _("That didn't work"), "action_url": again, "action_label": _("Try again")}
        return message_page(Flash(403, message, "csrf", **own))
    return answer(Flash(403, message, "csrf", typed={} if foreign else _typed()))


def _cure(error: CSRFError) -> str:
    """Return what a developer of a front end does about a request that came without a valid token."""
    if not flash.cookies_work():
        return (
            f"{error.description} No cookie of ours came along. Call GET /auth/session first, and keep its cookie: with "
            'fetch that takes credentials: "include" where the front end has another origin.'
        )
    token = (
        " Send csrf_token of GET /auth/session in the header X-CSRFToken." if "token" in str(error.description) else ""
    )
    return f"{error.description}{token}"


@blueprint.errorhandler(RequestEntityTooLarge)
def _on_large_body(error: HTTPException) -> AnyResponse:
    message = _("That's more than this form can take. Make it shorter.")
    if wants_json():
        return make_response(jsonify(error={"code": "too_large", "message": message}), 413)
    return message_page(Flash(413, message, title=_("Too much text")))
