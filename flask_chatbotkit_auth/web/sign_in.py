"""Signing in and out: pages and JSON. The steps themselves are in ``flows``."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

from flask import Response, g, jsonify, redirect, request, url_for
from flask import session as browser
from flask_login import current_user, login_fresh
from flask_wtf.csrf import generate_csrf
from werkzeug.wrappers import Response as AnyResponse

from ..exceptions import MailError, NoChallenge, RateLimited, StoreError
from ..flows import challenges
from ..flows import sign_in as flows
from ..identifier import MAX_LENGTH, same_identifier
from ..languages import gettext as _
from ..login import current_session
from ..proxies import running_app
from ..state import current_auth
from ..stores.base import Challenge, SessionRecord, State
from .around import REFUSED
from .blueprint import after_sign_in, after_sign_out, blueprint, challenge_facts, challenge_json, page
from .errors import done, failed, message_page, problem
from .flash import Flash, take
from .forms import remembered, text, wants_json
from .redirects import safe_next


@blueprint.get("/sign-in")
def sign_in() -> AnyResponse:
    shown = take()
    if shown is not None and shown.title:
        return message_page(shown)
    # A person whose session is not fresh comes here to sign in again, so only a fresh session is redirected. Pages that
    # need an even newer proof link here with `again`.
    record = current_session()
    if shown is None and record is not None and login_fresh() and "again" not in request.args:
        if browser.pop(REFUSED, False):
            return page("signed_in", email=record.user.email, go_url=after_sign_in(), refused=True)
        return redirect(safe_next() or after_sign_in())
    return _sign_in_page(shown)


@blueprint.post("/sign-in")
def sign_in_post() -> AnyResponse:
    record = current_session()
    if record is not None and not wants_json() and not login_fresh() and _is_another(text("email"), record):
        sentence = _("You're signed in with another address. Sign out first to use this one.")
        return failed(400, "invalid_email", sentence, errors={"email": sentence})
    try:
        challenge = flows.request_code(text("email"), next=safe_next(), remember=remembered() is not False)
    except MailError as error:
        # The challenge stays, and its page offers to send another code.
        return problem(error, "verify")
    except RateLimited as error:
        # The person may already have a valid code for this address.
        before = flows.pending()
        known = before is not None and same_identifier(text("email"), before.identifier)
        return problem(error, "verify" if known else None)
    if wants_json():
        return challenge_json(challenge)
    return redirect(url_for("chatbotkit_auth.verify"), 303)


@blueprint.get("/verify")
def verify() -> AnyResponse:
    if wants_json():
        pending = flows.pending()
        if pending is None:
            raise NoChallenge("this browser has no challenge that a code can complete")
        return challenge_json(pending)
    shown = take()
    if shown is not None and shown.title:
        return message_page(shown)
    challenge = flows.latest()
    if challenge is not None and challenge.state is State.COMPLETED:
        return _used_page()
    if challenge is not None:
        return _verify_page(shown, challenge)
    if shown is None:
        return redirect(url_for("chatbotkit_auth.sign_in"))
    record = current_session()
    if record is not None:  # signed in meanwhile, in another tab, so there is nothing to try again
        return page("signed_in", Flash(shown.status), email=record.user.email, go_url=after_sign_in(), refused=False)
    return _sign_in_page(shown)


@blueprint.post("/verify")
def verify_post() -> AnyResponse:
    next = flows.pending_next()
    try:
        user = flows.sign_in_by_code(text("code"), remember=remembered())
    except NoChallenge:
        challenge = flows.latest()
        if wants_json() or challenge is None or challenge.state is not State.COMPLETED:
            raise
        # Another request was faster, and this browser may already have its new cookie. Keep that, and redirect.
        browser.modified = False
        return redirect(url_for("chatbotkit_auth.verify"), 303)
    target = next or after_sign_in()
    if wants_json():
        return jsonify(user=user.public(), redirect=target, csrf_token=new_token())
    if current_auth.config.passkeys and text("passkey"):
        target = _passkeys().after_code(target)
    return redirect(target, 303)


@blueprint.get("/resend")
def resend_get() -> AnyResponse:
    # For a reload of the page after a refused resend.
    return redirect(url_for("chatbotkit_auth.verify"))


@blueprint.post("/resend")
def resend() -> AnyResponse:
    challenge = flows.resend_code()
    if wants_json():
        return challenge_json(challenge)
    return done(_("New code sent. Earlier codes still work."))


@blueprint.get("/sign-out")
def sign_out() -> AnyResponse:
    return page("sign_out" if current_user.is_authenticated else "signed_out", take())


@blueprint.post("/sign-out")
def sign_out_post() -> AnyResponse:
    flows.sign_out()
    target = after_sign_out()
    return jsonify(redirect=target) if wants_json() else redirect(target, 303)


@blueprint.get("/session")
def session() -> Response:
    pending = None
    with suppress(StoreError):  # the token is needed anyway, and what needs the store raises its own error
        pending = flows.pending()
    answer: dict[str, Any] = {"user": None, "expires_at": None}
    if (record := current_session()) is not None and current_user.is_authenticated:
        answer = {"user": record.user.public(), "expires_at": record.expires_at.isoformat()}
        answer = current_auth.hooks.session_answer(answer, current_user._get_current_object())
    answer["challenge"] = challenge_facts(pending) if pending else None
    answer["csrf_token"] = generate_csrf()
    return jsonify(answer)


def openapi() -> Response:
    """Answer the OpenAPI document. It is not part of the blueprint, since it is only served if the setting is on."""
    from .openapi import document  # imported at the first request

    return jsonify(document(current_auth, cookie=running_app().config["SESSION_COOKIE_NAME"], root=request.script_root))


def new_token() -> str:
    """Return the CSRF token of the new session, not one that was made earlier in this request."""
    g.pop(running_app().config["WTF_CSRF_FIELD_NAME"], None)
    return str(generate_csrf())


def _sign_in_page(shown: Flash | None) -> Response:
    pending, record = flows.pending(), current_session()
    before = pending or flows.latest()
    # A signed-in person signs in again here, so the page is only about their own address.
    fixed = record.user.email if record is not None else ""
    if fixed and pending is not None and not same_identifier(fixed, pending.identifier):
        pending = None
    return page(
        "sign_in",
        shown,
        email=fixed or _email(shown, before.identifier if before is not None else ""),
        again=record is not None,
        fixed=bool(fixed),
        next=safe_next() or "",
        pending=pending.identifier if pending and pending.sends else None,
        creates_account=current_auth.adapter.auto_create,
        passkey_options=_passkeys().options_json() if current_auth.config.passkeys else None,
        remember_choice=current_auth.config.remember_choice,
    )


def _is_another(email: str, record: SessionRecord) -> bool:
    """Return whether this is another address than that of the signed-in person, who may have none."""
    return bool(record.user.email) and not same_identifier(email, record.user.email)


def _passkeys() -> Any:
    from . import passkeys  # only where they are on

    return passkeys


def _email(shown: Flash | None, known: str) -> str:
    """Return the initial value of the field for the address."""
    if shown is not None and shown.typed:
        return shown.typed.get("email", "")
    if "email" in request.args:
        return request.args["email"][:MAX_LENGTH]
    # "Use another address" or "Start again": shown to be corrected. It is not in the URL, which would be logged.
    return known


def _used_page() -> Response:
    """Return the page for a code that was already used, as when a person presses the button twice."""
    shown = Flash(
        NoChallenge.http_status,
        _("If that was you a moment ago, you're signed in. If not, send a new code."),
        NoChallenge.error_code,
        title=_("This code has been used"),
        # That page redirects a signed-in person, and shows the form to everybody else.
        action_url=url_for("chatbotkit_auth.sign_in", next=flows.pending_next()),
        action_label=_("Continue"),
    )
    flows.forget()
    return message_page(shown)


def _verify_page(shown: Flash | None, challenge: Challenge) -> Response:
    provider, expired = current_auth.provider, challenges.expired(challenge)
    return page(
        "verify",
        shown,
        email=challenge.identifier,
        again=current_session() is not None,
        verified=flows.proved(challenge) and not expired,
        ended=challenge.state is State.OPEN and challenges.attempts_left(challenge) == 0,
        numeric=provider.numeric,
        code_length=provider.length,
        unsent=challenge.sends == 0,
        resend_in=challenges.resend_in(challenge),
        resends_left=challenges.resends_left(challenge),
        expired=expired,
        passkey_host=current_auth.config.passkeys and _passkeys().host_of_offer(),
        start_url=url_for("chatbotkit_auth.sign_in", next=flows.pending_next()),
    )
