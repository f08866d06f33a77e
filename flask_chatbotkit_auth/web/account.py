"""The signed-in person's own page, and its JSON: profile, sessions, the end of the account."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any

from flask import Response, jsonify, make_response, redirect, request, url_for
from flask_login import current_user
from werkzeug.wrappers import Response as AnyResponse

from ..device import device_name
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
    TooManyAttempts,
)
from ..flows import deletion
from ..flows import sign_in as flows
from ..identifier import same_identifier
from ..languages import N_, current_language
from ..languages import gettext as _
from ..login import current_session
from ..profile import profile_problem
from ..state import current_auth
from ..stores.base import SessionRecord
from .blueprint import after_sign_out, blueprint, challenge_json, explain, json_problem, page, with_retry_after
from .forms import given, text, wants_json

View = Callable[..., AnyResponse]


def _own(view: View) -> View:
    """Let only a signed-in person of ours in, and hand ``view`` their session."""

    @wraps(view)
    def guarded(**values: Any) -> AnyResponse:
        record = current_session() if current_user.is_authenticated else None
        if record is not None:
            return view(record, **values)
        if wants_json():
            return _json_error(401, "not_signed_in", _("You are not signed in, or no longer. Sign in to go on."))
        # Only a page can be gone back to; a form that was sent meanwhile leads to the page that it is on.
        back = url_for("chatbotkit_auth.account")
        if request.method == "GET":
            back = request.script_root + request.full_path.rstrip("?")
        return redirect(url_for("chatbotkit_auth.sign_in", next=back), 302 if request.method == "GET" else 303)

    return guarded


@blueprint.get("/account")
@_own
def account(record: SessionRecord) -> AnyResponse:
    if wants_json():
        return jsonify(
            user=record.user.public(),
            sessions=[_session_json(each) for each in _sessions(record)],
            can_update=current_auth.adapter.auto_update,
            can_delete=current_auth.adapter.auto_delete,
        )
    return _account_page(record, notice=_NOTICES.get(request.args.get("done", "")))


@blueprint.post("/account/profile")
@_own
def account_profile(record: SessionRecord) -> AnyResponse:
    if not current_auth.adapter.auto_update:
        raise LifecycleDisabled("CHATBOTKIT_AUTH_AUTO_UPDATE")
    user = record.user
    # Of what was sent, only what differs from what the person saw, so that nothing newer is put back.
    typed = {key: value.strip() for key in ("name", "image") if (value := given(key)) is not None}
    changes = {key: value for key, value in typed.items() if value != (getattr(user, key) or "")}
    errors = {key: sentence for key, value in changes.items() if (sentence := profile_problem(key, value))}
    if errors:
        if wants_json():
            return _json_error(400, "invalid_profile", next(iter(errors.values())), fields=errors)
        return _account_page(record, 400, errors=errors, typed=typed)
    if changes:
        try:
            user = current_auth.update_user(user, **changes)
        except APIError as error:
            if wants_json():
                return json_problem(error, _sentence(error))
            return _account_page(record, error.http_status, error=_sentence(error), typed=typed)
    return jsonify(user=user.public()) if wants_json() else _back("saved")


@blueprint.post("/account/sessions/<session_id>/end")
@_own
def account_end_session(record: SessionRecord, session_id: str) -> AnyResponse:
    if session_id == record.id:
        flows.sign_out()
        target = after_sign_out()
        return jsonify(ended=1, redirect=target) if wants_json() else redirect(target, 303)
    if current_auth.end_session(record.user, session_id):
        return jsonify(ended=1) if wants_json() else _back("ended")
    # Another person's session reads the same as one that nobody has.
    message = _("You are not signed in on that device, or no longer.")
    if wants_json():
        return _json_error(404, "no_session", message)
    return _message(404, _("Signed out already"), message, "chatbotkit_auth.account", _("Back to your account"))


@blueprint.post("/account/sessions/end-others")
@_own
def account_end_others(record: SessionRecord) -> AnyResponse:
    ended = current_auth.end_sessions(record.user, keep=record.id)
    return jsonify(ended=ended) if wants_json() else _back("ended_others")


@blueprint.get("/account/delete")
@_own
def account_delete(record: SessionRecord) -> AnyResponse:
    if not current_auth.adapter.auto_delete:
        raise LifecycleDisabled("CHATBOTKIT_AUTH_AUTO_DELETE")
    return _delete_page(record)


@blueprint.post("/account/delete/code")
@_own
def account_delete_code(record: SessionRecord) -> AnyResponse:
    try:
        challenge = deletion.request_code(record.user)
    except (InvalidEmail, RateLimited, MailError) as error:
        return json_problem(error, _sentence(error)) if wants_json() else _delete_page(record, error)
    return challenge_json(challenge) if wants_json() else redirect(url_for("chatbotkit_auth.account_delete"), 303)


@blueprint.post("/account/delete")
@_own
def account_delete_post(record: SessionRecord) -> AnyResponse:
    if not current_auth.adapter.auto_delete:
        raise LifecycleDisabled("CHATBOTKIT_AUTH_AUTO_DELETE")
    # Before the code, which a slip of the pen here must not use up.
    if not same_identifier(text("confirm"), record.user.email):
        sentence = _("That is not the e-mail address of this account. Type it in full.")
        if wants_json():
            return _json_error(400, "invalid_confirmation", sentence)
        return _delete_page(record, errors={"confirm": sentence}, status=400)
    try:
        deletion.delete_account(record.user, text("code"))
    except (NoChallenge, InvalidCode, CodeExpired, TooManyAttempts, RateLimited, APIError) as error:
        return json_problem(error, _sentence(error)) if wants_json() else _delete_page(record, error)
    if wants_json():
        return jsonify(deleted=True, redirect=url_for("chatbotkit_auth.sign_in"))
    message = _("Everything in it is gone, and you are signed out on every device.")
    return _message(200, _("Your account is deleted"), message, "chatbotkit_auth.sign_in", _("Go to sign-in"))


_NOTICES = {
    "saved": N_("Your profile is saved."),
    "ended": N_("That device is signed out."),
    "ended_others": N_("All other devices are signed out."),
}


def _sessions(record: SessionRecord) -> list[dict[str, Any]]:
    language = current_language()
    return [
        {
            "id": each.id,
            "device": device_name(each.user_agent, language),
            "ip": each.ip,
            "created_at": each.created_at,
            "last_seen_at": each.seen_at,
            "current": each.id == record.id,
        }
        for each in current_auth.sessions(record.user)
    ]


def _session_json(session: dict[str, Any]) -> dict[str, Any]:
    times = ("created_at", "last_seen_at")
    return {key: value.isoformat() if key in times else value for key, value in session.items()}


def _account_page(
    record: SessionRecord,
    status: int = 200,
    *,
    errors: dict[str, str] | None = None,
    error: str | None = None,
    notice: str | None = None,
    typed: dict[str, str] | None = None,
) -> Response:
    user = record.user
    shown = {"name": user.name, "image": user.image, **(typed or {})}
    return page(
        "account",
        status,
        user=user,
        sessions=_sessions(record),
        can_update=current_auth.adapter.auto_update,
        can_delete=current_auth.adapter.auto_delete,
        errors=errors or {},
        error=error,
        notice=notice and _(notice),
        **shown,
    )


def _delete_page(
    record: SessionRecord,
    error: ChatBotKitAuthError | None = None,
    *,
    errors: dict[str, str] | None = None,
    status: int = 200,
) -> Response:
    if isinstance(error, InvalidCode) and error.attempts_left:
        errors = {"code": _sentence(error)}
    response = page(
        "account_delete",
        error.http_status if error else status,
        email=record.user.email,
        code_sent=deletion.pending(record.user) is not None,
        confirm=text("confirm"),
        numeric=current_auth.provider.numeric,
        errors=errors or {},
        error=None if error is None or errors else _sentence(error),
    )
    return with_retry_after(response, error) if error else response


def _message(status: int, title: str, message: str, endpoint: str, label: str) -> Response:
    return page(
        "message", status, title=title, message=message, status=status, action_url=url_for(endpoint), action_label=label
    )


def _json_error(status: int, code: str, message: str, **details: Any) -> Response:
    return make_response(jsonify(error={"code": code, "message": message, **details}), status)


def _back(done: str) -> AnyResponse:
    return redirect(url_for("chatbotkit_auth.account", done=done), 303)


def _sentence(error: ChatBotKitAuthError) -> str:
    """Return the sentence that a person reads here, where nobody is about to sign in."""
    if isinstance(error, InvalidCode) and error.attempts_left == 0:
        return _("That code is not right, and this was the last try. Ask for another code.")
    if isinstance(error, TooManyAttempts):
        return _("Too many wrong codes. Ask for another code.")
    if isinstance(error, CodeExpired):
        return _("This code has expired. Ask for another one.")
    if isinstance(error, NoChallenge):
        return _("This code was for something else, or for another browser. Ask for a new one here.")
    if isinstance(error, InvalidEmail):
        return _("Your account has no e-mail address that we can write to. Ask the people who run this site.")
    if isinstance(error, RateLimited) and error.limit == "resend:max":
        return _("That was the last code we can send for now. Use the newest one.")
    if isinstance(error, APIError):
        return _("We cannot reach your account just now. Try again in a moment.")
    return explain(error)
