"""The account page and its JSON: profile, sessions, deleting the account."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any

from flask import jsonify, redirect, request, url_for
from flask_login import current_user
from werkzeug.wrappers import Response as AnyResponse

from ..device import device_name
from ..devices import forget_device, known_device
from ..exceptions import APIStatusError, InvalidConfirmation, LifecycleDisabled
from ..flows import challenges, deletion, profile
from ..flows import sign_in as flows
from ..languages import current_language
from ..languages import gettext as _
from ..login import current_session
from ..profile import clean_name, profile_problem, refusal
from ..state import current_auth
from ..stores.base import SessionRecord
from .blueprint import after_sign_out, blueprint, challenge_json, page
from .errors import code_sent, done, failed
from .flash import take
from .forms import optional_text, text, wants_json

View = Callable[..., AnyResponse]

MAX_SESSIONS = 50
"""How many sessions are listed: this one, and those that were used last. "Sign out all others" ends the rest as well."""


def own(view: View) -> View:
    """Require a signed-in person, and pass their session to ``view``."""

    @wraps(view)
    def guarded(**values: Any) -> AnyResponse:
        record = current_session()
        if record is not None and current_user.is_authenticated:
            return view(record, **values)
        if wants_json():
            return failed(401, "not_signed_in", _("You're not signed in. Sign in to continue."))
        # Only a GET can be the target after a sign-in. After a POST it is the page of the form.
        back = url_for("chatbotkit_auth.account")
        if request.method != "POST":
            back = request.script_root + request.full_path.rstrip("?")
        return redirect(url_for("chatbotkit_auth.sign_in", next=back), 303 if request.method == "POST" else 302)

    return guarded


@blueprint.get("/account")
@own
def account(record: SessionRecord) -> AnyResponse:
    if wants_json():
        return jsonify(
            user=record.user.public(),
            sessions=[_session_json(each) for each in _sessions(record)],
            can_update=current_auth.adapter.auto_update,
            can_delete=current_auth.adapter.auto_delete,
            **({"passkeys": _passkeys().own_json(record)} if current_auth.config.passkeys else {}),
            **({"can_change_email": True} if current_auth.config.email_change else {}),
        )
    user, shown = record.user, take()
    typed = shown.typed if shown else {}
    return page(
        "account",
        shown,
        user=user,
        sessions=_sessions(record),
        can_update=current_auth.adapter.auto_update,
        can_delete=current_auth.adapter.auto_delete,
        shows_activity=current_auth.config.events,
        can_change_email=current_auth.config.email_change,
        profile_picture=current_auth.config.profile_picture,
        now=current_auth.clock(),
        device_known=known_device(user.email, lifetime=current_auth.config.device_lifetime, now=current_auth.clock()),
        name=typed.get("name", user.name),
        image=typed.get("image", user.image),
        **(_passkeys().on_account_page(record) if current_auth.config.passkeys else {}),
    )


def _passkeys() -> Any:
    from . import passkeys  # only where they are on

    return passkeys


@blueprint.post("/account/profile")
@own
def account_profile(record: SessionRecord) -> AnyResponse:
    if not current_auth.adapter.auto_update:
        raise LifecycleDisabled("CHATBOTKIT_AUTH_AUTO_UPDATE")
    user = record.user
    # Only the fields that the person has changed, so that newer values are not overwritten.
    fields = ("name", "image") if current_auth.config.profile_picture or wants_json() else ("name",)
    typed = {key: value.strip() for key in fields if (value := optional_text(key)) is not None}
    if "name" in typed:
        typed["name"] = clean_name(typed["name"])
    changes = {key: value for key, value in typed.items() if value != (getattr(user, key) or "")}
    errors = {key: sentence for key, value in changes.items() if (sentence := profile_problem(key, value, user.kind))}
    if errors:
        return failed(400, "invalid_profile", next(iter(errors.values())), errors=errors, fields=errors)
    if changes:
        try:
            user = profile.change(user, changes)
        except APIStatusError as error:
            if error.field not in changes:
                raise
            sentence = refusal(error.field)
            errors = {error.field: sentence}
            return failed(400, "invalid_profile", sentence, errors=errors, fields=errors)
    return jsonify(user=user.public()) if wants_json() else done(_("Profile saved."))


@blueprint.post("/account/sessions/<session_id>/end")
@own
def account_end_session(record: SessionRecord, session_id: str) -> AnyResponse:
    if session_id == record.id:
        flows.sign_out()
        target = after_sign_out()
        return jsonify(ended=1, redirect=target) if wants_json() else redirect(target, 303)
    current_auth.require_fresh(record)
    if current_auth.end_session(record.user, session_id):
        return jsonify(ended=1) if wants_json() else done(_("That device is signed out."))
    # The answer is the same for another person's session and for one that does not exist.
    return failed(404, "no_session", _("You're no longer signed in on that device."))


@blueprint.post("/account/sessions/end-others")
@own
def account_end_others(record: SessionRecord) -> AnyResponse:
    current_auth.require_fresh(record)
    ended = current_auth.end_sessions(record.user, keep=record.id)
    return jsonify(ended=ended) if wants_json() else done(_("All other devices are signed out."))


@blueprint.post("/account/device/forget")
@own
def account_forget_device(record: SessionRecord) -> AnyResponse:
    forget_device()
    return jsonify(forgotten=True) if wants_json() else done(_("This device is forgotten. You are still signed in."))


@blueprint.get("/account/delete")
@own
def account_delete(record: SessionRecord) -> AnyResponse:
    if not current_auth.adapter.auto_delete:
        raise LifecycleDisabled("CHATBOTKIT_AUTH_AUTO_DELETE")
    shown, challenge = take(), deletion.pending(record.user)
    return page(
        "account_delete",
        shown,
        email=record.user.email,
        code_sent=challenge is not None,
        unsent=challenge is not None and challenge.sends == 0,
        resend_in=challenges.resend_in(challenge) if challenge else 0,
        resends_left=challenges.resends_left(challenge) if challenge else 0,
        proved=deletion.proved(record.user),
        confirm=shown.typed.get("confirm", "") if shown else "",
        numeric=current_auth.provider.numeric,
        code_length=current_auth.provider.length,
    )


@blueprint.post("/account/delete/code")
@own
def account_delete_code(record: SessionRecord) -> AnyResponse:
    challenge = deletion.request_code(record.user)
    return challenge_json(challenge) if wants_json() else code_sent(challenge, "account_delete")


@blueprint.post("/account/delete")
@own
def account_delete_post(record: SessionRecord) -> AnyResponse:
    if not current_auth.adapter.auto_delete:
        raise LifecycleDisabled("CHATBOTKIT_AUTH_AUTO_DELETE")
    try:
        deletion.delete_account(record.user, text("code"), text("confirm"))
    except InvalidConfirmation as error:
        # The page asks for the code first, and then for the confirmation.
        if optional_text("confirm") is None and not wants_json():
            if deletion.proved(record.user):
                return redirect(url_for("chatbotkit_auth.account_delete"), 303)
            sentence = _("Enter the code")
            return failed(400, "invalid_code", sentence, errors={"code": sentence})
        sentence = _("That isn't the email address of this account")
        return failed(error.http_status, error.error_code, sentence, errors={"confirm": sentence})
    if wants_json():
        return jsonify(deleted=True, redirect=url_for("chatbotkit_auth.sign_in"))
    message = _("Everything in it is gone, and you're signed out everywhere.")
    return done(message, "sign_in", title=_("Your account is deleted"), action_label=_("Go to sign-in"))


def _sessions(record: SessionRecord) -> list[dict[str, Any]]:
    language, with_apps = current_language(), current_auth.config.app_sessions
    others = [each for each in current_auth.registry.list(record.user.id, limit=MAX_SESSIONS) if each.id != record.id]
    return [
        {
            "id": each.id,
            "device": device_name(each.user_agent, language),
            "ip": each.ip,
            "created_at": each.created_at,
            "last_seen_at": each.seen_at,
            "current": each.id == record.id,
            **({"client": each.client, "name": each.name} if with_apps else {}),
        }
        # This device first: the time of the last use is written only from time to time.
        for each in (record, *others[: MAX_SESSIONS - 1])
    ]


def _session_json(session: dict[str, Any]) -> dict[str, Any]:
    times = ("created_at", "last_seen_at")
    return {key: value.isoformat() if key in times else value for key, value in session.items()}
