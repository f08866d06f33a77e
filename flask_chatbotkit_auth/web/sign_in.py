"""The pages and JSON of the sign-in. What happens is in ``flows``; here is only how it is asked for and answered."""

from __future__ import annotations

from typing import Any

from flask import Response, current_app, jsonify, redirect, request, url_for
from flask_login import current_user, login_fresh
from flask_wtf.csrf import generate_csrf
from werkzeug.wrappers import Response as AnyResponse

from ..exceptions import (
    APIError,
    ChatBotKitAuthError,
    CodeExpired,
    InvalidCode,
    InvalidEmail,
    MailError,
    NoChallenge,
    RateLimited,
    TooManyAttempts,
)
from ..flows import challenges
from ..flows import sign_in as flows
from ..languages import gettext as _
from ..login import current_session
from ..state import current_auth
from ..stores.base import Challenge, State
from .blueprint import (
    after_sign_in,
    after_sign_out,
    blueprint,
    challenge_json,
    explain,
    json_problem,
    page,
    with_retry_after,
)
from .forms import next_path, text, wants_json


@blueprint.get("/sign-in")
def sign_in() -> AnyResponse:
    # A person whose session is no longer fresh comes here to prove themselves again, so only a fresh one is sent on.
    if current_session() is not None and login_fresh():
        return redirect(next_path() or after_sign_in())
    return page("sign_in", email="", next=next_path() or "", error=None)


@blueprint.post("/sign-in")
def sign_in_post() -> AnyResponse:
    email = text("email")
    try:
        challenge = flows.request_code(email, next=next_path())
    except MailError as error:
        # The challenge stays: the code page offers to send another code at once.
        return json_problem(error) if wants_json() else _verify_page(error)
    except (InvalidEmail, RateLimited, APIError) as error:
        if wants_json():
            return json_problem(error)
        return _sign_in_page(error, email, sentence=_request_sentence(error))
    if wants_json():
        return challenge_json(challenge)
    return redirect(url_for("chatbotkit_auth.verify"), 303)


@blueprint.get("/verify")
def verify() -> AnyResponse:
    challenge = flows.pending()
    if challenge is None:
        return redirect(url_for("chatbotkit_auth.sign_in"))
    notice = _("Another code is on its way. The earlier ones still work.") if request.args.get("sent") else None
    return _verify_page(None, challenge, notice=notice)


@blueprint.post("/verify")
def verify_post() -> AnyResponse:
    next = flows.pending_next()
    challenge = None
    try:
        challenge = flows.verify_code(text("code"))
        user = flows.complete_sign_in(challenge)
    except (InvalidCode, TooManyAttempts, RateLimited, APIError) as error:
        return json_problem(error) if wants_json() else _verify_page(error, verified=challenge is not None)
    except (NoChallenge, CodeExpired) as error:
        if wants_json():
            return json_problem(error)
        used = (challenge or flows.latest()) if isinstance(error, NoChallenge) else None
        return _used_page(next) if used is not None else _sign_in_page(error, "")
    target = next or after_sign_in()
    if wants_json():
        return jsonify(user=user.public(), redirect=target)
    return redirect(target, 303)


@blueprint.get("/resend")
def resend_get() -> AnyResponse:
    # Whoever reloads the page after a refused resend.
    return redirect(url_for("chatbotkit_auth.verify"))


@blueprint.post("/resend")
def resend() -> AnyResponse:
    try:
        challenge = flows.resend_code()
    except (NoChallenge, CodeExpired) as error:
        return json_problem(error) if wants_json() else _sign_in_page(error, "")
    except (RateLimited, TooManyAttempts, MailError, APIError) as error:
        return json_problem(error) if wants_json() else _verify_page(error)
    if wants_json():
        return challenge_json(challenge)
    return redirect(url_for("chatbotkit_auth.verify", sent=1), 303)


@blueprint.get("/sign-out")
def sign_out() -> AnyResponse:
    return page("sign_out" if current_user.is_authenticated else "signed_out")


@blueprint.post("/sign-out")
def sign_out_post() -> AnyResponse:
    flows.sign_out()
    target = after_sign_out()
    return jsonify(redirect=target) if wants_json() else redirect(target, 303)


@blueprint.get("/session")
def session() -> Response:
    answer: dict[str, Any] = {"user": None, "expires_at": None}
    if current_user.is_authenticated and (record := current_session()) is not None:
        answer = {"user": record.user.public(), "expires_at": record.expires_at.isoformat()}
        if current_auth.hooks.session is not None:
            answer = current_auth.hooks.session(answer, current_user._get_current_object()) or answer
    answer["csrf_token"] = generate_csrf()
    return jsonify(answer)


def openapi() -> Response:
    """Answer with the description of the JSON API; no page of the blueprint, since only some applications serve it."""
    from .openapi import document  # only where somebody asks

    return jsonify(document(current_auth, cookie=current_app.config["SESSION_COOKIE_NAME"], root=request.script_root))


def _sign_in_page(error: ChatBotKitAuthError, email: str, *, sentence: str | None = None) -> Response:
    context = {"email": email, "next": next_path() or flows.pending_next() or "", "error": sentence or explain(error)}
    return with_retry_after(page("sign_in", error.http_status, **context), error)


def _used_page(next: str | None) -> Response:
    """Return the page for a code that has signed somebody in, who may have pressed the button twice."""
    return page(
        "message",
        NoChallenge.http_status,
        title=_("This code has been used"),
        message=_(
            "If that was you a moment ago, you are signed in. If not, start again and we will send you a new code."
        ),
        status=NoChallenge.http_status,
        # Sends on who is signed in, and shows everybody else the form.
        action_url=url_for("chatbotkit_auth.sign_in", next=next),
        action_label=_("Go on"),
    )


def _verify_page(
    error: ChatBotKitAuthError | None,
    challenge: Challenge | None = None,
    *,
    verified: bool = False,
    notice: str | None = None,
) -> Response:
    challenge = challenge or flows.latest()
    if challenge is None:
        return _sign_in_page(error or NoChallenge(), "")
    provider = current_auth.provider
    response = page(
        "verify",
        200 if error is None else error.http_status,
        email=challenge.identifier,
        error=error and explain(error),
        attempts_left=getattr(error, "attempts_left", None),
        verified=verified or flows.proved(challenge),
        ended=challenge.state is State.OPEN and challenges.attempts_left(challenge) == 0,
        numeric=provider.numeric,
        code_length=provider.length,
        resend_in=challenges.resend_in(challenge),
        resends_left=challenges.resends_left(challenge),
        notice=notice,
    )
    return response if error is None else with_retry_after(response, error)


def _request_sentence(error: ChatBotKitAuthError) -> str | None:
    """Return what to say instead where no code has been typed yet."""
    if isinstance(error, APIError):
        return _("We cannot reach our user directory just now. Try again in a moment.")
    return None
