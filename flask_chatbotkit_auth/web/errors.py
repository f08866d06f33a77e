"""How an exception reads to a person, and what answers it: a page or JSON."""

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
    APIStatusError,
    ChatBotKitAuthError,
    CodeExpired,
    DeletionDenied,
    EmailTaken,
    InvalidCode,
    InvalidEmail,
    InvalidPasskey,
    LifecycleDisabled,
    MailError,
    NoChallenge,
    NotFresh,
    NotReady,
    PasskeyExpired,
    RateLimited,
    SignInDenied,
    SignUpDisabled,
    StoreError,
    TooManyAttempts,
    TooManyPasskeys,
    UnknownPasskey,
)
from ..failures import report
from ..flows.pending import current_holder
from ..languages import N_, ngettext
from ..languages import gettext as _
from ..login import current_session, is_app_request
from ..state import current_auth
from ..stores.base import State
from . import flash
from .blueprint import blueprint, challenge_facts, page
from .flash import Flash
from .forms import text, wants_json
from .origin import OriginRefused
from .redirects import safe_next

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
"""By the endpoint of a POST: the page that its form is on, and the fields that are shown again."""


_ADDRESS_FORMS = ("chatbotkit_auth.sign_in_post", "chatbotkit_auth.account_email_post")


def answer(shown: Flash, endpoint: str | None = None) -> AnyResponse:
    """Answer a form: redirect to a page that shows ``shown`` once, or render it at once where that cannot be kept.

    :param endpoint: the page, by default the one that the form is on.
    """
    endpoint = endpoint or _form()[0]
    if endpoint.startswith("account") and current_session() is None:
        endpoint = "sign_in"
    endpoint = f"chatbotkit_auth.{endpoint}"
    m = flash.keep(shown)
    if m is None:
        if "chatbotkit_auth_flash" in g:  # its page failed, too
            return message_page(shown)
        g.chatbotkit_auth_flash = shown
        made: AnyResponse = current_app.make_response(current_app.ensure_sync(current_app.view_functions[endpoint])())
        return made
    next = safe_next() if endpoint == "chatbotkit_auth.sign_in" else None
    return redirect(url_for(endpoint, next=next, m=m), 303)


def done(message: str, endpoint: str | None = None, **more: Any) -> AnyResponse:
    """Answer a form that did its work: redirect to a page that says so once."""
    return answer(Flash(message=message, **more), endpoint)


def failed(
    status: int, code: str, message: str, *, errors: dict[str, str] | None = None, **details: Any
) -> AnyResponse:
    """Answer about something wrong that is no exception: JSON, or the form again with what was typed.

    :param errors: sentences by field, where the fault is in what was typed.
    :param details: what the JSON says beside code and message.
    """
    if wants_json():
        if is_app_request():
            details |= _challenge_in_hand()
        return make_response(jsonify(error={"code": code, "message": message, **details}), status)
    return answer(Flash(status, "" if errors else message, code, errors=errors or {}, typed=_typed()))


def problem(error: ChatBotKitAuthError, endpoint: str | None = None) -> AnyResponse:
    """Answer about ``error``: JSON, the form that it came from, or a page of its own.

    :param endpoint: the page, by default the one that the form is on.
    """
    report(error)
    if isinstance(error, RateLimited):
        _log_refusal(error)
    if wants_json():
        return json_problem(error)
    # An application's own views meet errors of the store here, too.
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
    """Return ``{"challenge": …}`` where an app's challenge has changed and goes on: it must hold the newest token."""
    holder = current_holder()
    if not getattr(holder, "changed", False):
        return {}
    with suppress(StoreError):
        challenge = current_auth.store.get_challenge(str(holder.read().get("challenge")))
        if challenge is not None and challenge.state is not State.COMPLETED:
            return {"challenge": challenge_facts(challenge)}
    return {}


def message_page(shown: Flash) -> Response:
    """Return a page that says ``shown`` and nothing else."""
    return page(
        "message",
        shown,
        title=shown.title or _title(shown.status),
        message=shown.message or next(iter(shown.errors.values()), ""),
        status=shown.status,
        retry_after=shown.retry_after,
        action_url=shown.action_url or url_for("chatbotkit_auth.sign_in"),
        action_label=shown.action_label or _("Back to sign-in"),
    )


def explain(error: ChatBotKitAuthError) -> str:
    """Return the sentence that a person reads: what happened, and what to do next."""
    if (request.endpoint or "").startswith("chatbotkit_auth.account"):
        return _explain_to_signed_in(error)
    return _explain(error)


def _explain(error: ChatBotKitAuthError) -> str:
    if isinstance(error, InvalidCode):
        if not text("code").strip():
            return _("Enter the code")
        if error.attempts_left == 0:
            return _("That code isn't right, and that was the last try.")
        return _("That code isn't right")
    if isinstance(error, RateLimited):
        return _rate_limit_sentence(error)
    if isinstance(error, SignInDenied):
        return error.reason or _("You can't sign in here. If that's a mistake, contact the people who run this site.")
    if isinstance(error, DeletionDenied) and error.reason:
        return error.reason
    if _refused(error):
        return _("This was refused, and trying again won't help. Contact the people who run this site.")
    if isinstance(error, APIError) and request.endpoint in _BEFORE_A_CODE:
        return _("We can't reach our servers right now. Try again in a moment.")  # no code has been typed yet
    for kind, sentence in _SENTENCES:
        if isinstance(error, kind):
            return _(sentence)
    return _("Something went wrong on our side. Try again in a moment.")


def _explain_to_signed_in(error: ChatBotKitAuthError) -> str:
    """Return the sentence on a page of the account, where nobody is about to sign in."""
    if isinstance(error, InvalidCode) and error.attempts_left == 0:
        return _("That code isn't right, and that was the last try. Send a new code.")
    if isinstance(error, RateLimited) and error.limit == "resend:max":
        return _("That was the last code we can send for now. Use the newest one.")
    if isinstance(error, InvalidEmail) and request.endpoint == "chatbotkit_auth.account_email_post":
        return _explain(error)  # it is about what was typed
    for kind, sentence in _ACCOUNT_SENTENCES:
        if isinstance(error, kind) and not _refused(error):
            return _(sentence)
    return _explain(error)


_BEFORE_A_CODE = ("chatbotkit_auth.sign_in_post", "chatbotkit_auth.app_sign_in")


def _refused(error: ChatBotKitAuthError) -> bool:
    """Return whether the API has understood and refused, so that the same thing will be refused again."""
    return isinstance(error, APIStatusError) and error.status in (400, 409, 422)


_SENTENCES: tuple[tuple[type[ChatBotKitAuthError], str], ...] = (
    (InvalidEmail, N_("Enter a valid email address")),
    (NoChallenge, N_("This sign-in is over, or was started in another browser. Send a new code.")),
    (CodeExpired, N_("This code has expired")),
    (TooManyAttempts, N_("Too many wrong codes. Send a new code.")),
    (SignUpDisabled, N_("There's no account for this address. If you need one, contact the people who run this site.")),
    (LifecycleDisabled, N_("This is turned off here. If you need it, contact the people who run this site.")),
    (DeletionDenied, N_("This account can't be deleted right now. Contact the people who run this site.")),
    (NotFresh, N_("Confirm it's you: sign in again, then try once more.")),
    (NotReady, N_("We're still setting up your account. Try again in a moment.")),
    (EmailTaken, N_("This address has an account already. Use another one, or sign in with this one.")),
    (UnknownPasskey, N_("This passkey isn't known here any more. Sign in with a code, then you can create a new one.")),
    (PasskeyExpired, N_("This page was open for too long. Try again.")),
    (InvalidPasskey, N_("That didn't work. Try again, or sign in with a code.")),
    (TooManyPasskeys, N_("You have as many passkeys as you can have. Remove one first.")),
    (MailError, N_("We couldn't send the email. Wait a moment, then send a new code.")),
    (APIError, N_("We can't reach our servers right now. Your code is still good. Try again in a moment.")),
    (StoreError, N_("We can't sign anyone in right now. Try again in a moment.")),
)

_ACCOUNT_SENTENCES: tuple[tuple[type[ChatBotKitAuthError], str], ...] = (
    (TooManyAttempts, N_("Too many wrong codes. Send a new code.")),
    (CodeExpired, N_("This code has expired")),
    (NoChallenge, N_("That code was for something else, or for another browser. Send a new code.")),
    (InvalidEmail, N_("Your account has no email address we can write to. Contact the people who run this site.")),
    (PasskeyExpired, N_("This page was open for too long. Try again.")),
    (InvalidPasskey, N_("That didn't work. Try again.")),
    (APIError, N_("We can't reach our servers right now. Try again in a moment.")),
)


def _rate_limit_sentence(error: RateLimited) -> str:
    if error.limit == "resend:max":
        return _("That was the last code we can send for now. Use the newest one.")
    if error.limit.startswith("verify"):
        return _("Too many wrong codes. Wait %(time)s.", time=_in_words(error.retry_after))
    if error.limit.startswith(("profile", "change")):
        return _("Too many changes. Wait %(time)s.", time=_in_words(error.retry_after))
    return _("You've asked for too many codes. Wait %(time)s.", time=_in_words(error.retry_after))


def _in_words(seconds: int) -> str:
    if seconds < 90:
        # Translators: in "Wait %(time)s."
        return ngettext("%(num)s second", "%(num)s seconds", seconds)
    if seconds <= 90 * 60:
        # Translators: in "Wait %(time)s."
        return ngettext("%(num)s minute", "%(num)s minutes", -(-seconds // 60))
    # Translators: in "Wait %(time)s."
    return ngettext("%(num)s hour", "%(num)s hours", -(-seconds // 3600))


def flash_of(error: ChatBotKitAuthError) -> Flash:
    """Return what a page says about ``error``, with what was typed."""
    message = explain(error)
    own: dict[str, Any] = {}
    if isinstance(error, LifecycleDisabled):
        # Only a signed-in person meets this one.
        own = {"title": _("Turned off"), "action_label": _("Back to your account")}
        own["action_url"] = url_for("chatbotkit_auth.account")
    elif isinstance(error, (SignInDenied, SignUpDisabled)):
        own = {"title": _title(error.http_status)}
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
    """Return the field of the form that ``error`` is about, if it is about one."""
    if isinstance(error, InvalidCode) and error.attempts_left:
        return "code"
    return "email" if isinstance(error, InvalidEmail) and request.endpoint in _ADDRESS_FORMS else None


def _form() -> tuple[str, tuple[str, ...]]:
    here = (request.endpoint or "").rpartition(".")[2]
    return _FORMS.get(here) or ("account" if here.startswith("account") else "sign_in", ())


def _typed() -> dict[str, str]:
    return {name: text(name) for name in _form()[1] if text(name)}


def _title(status: int) -> str:
    if status == 429:
        return _("Please wait")
    if status == 403:
        return _("You can't sign in")
    if status >= 500:
        return _("We'll be right back")
    return _("That didn't work")


def _log_refusal(reason: object) -> None:
    # The rule and not the path, which may hold a session's id, or whatever else the client wrote into it.
    _log.warning("%s refused to %s: %s", request.url_rule, request.remote_addr, reason)


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
    if wants_json():
        check = {"check": getattr(error, "detail", None) or error.description} if current_app.debug else {}
        return make_response(jsonify(error={"code": "csrf", "message": message, **check}), 403)
    return answer(Flash(403, message, "csrf", typed={} if foreign else _typed()))


@blueprint.errorhandler(RequestEntityTooLarge)
def _on_large_body(error: HTTPException) -> AnyResponse:
    message = _("That's more than this form can take. Make it shorter.")
    if wants_json():
        return make_response(jsonify(error={"code": "too_large", "message": message}), 413)
    return message_page(Flash(413, message, title=_("Too much text")))
