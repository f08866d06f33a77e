"""Changing the email address: pages and JSON. Registered only if ``CHATBOTKIT_AUTH_EMAIL_CHANGE`` is on."""

from __future__ import annotations

from typing import Any

from flask import Flask, jsonify, redirect, request, url_for
from werkzeug.wrappers import Response as AnyResponse

from ..exceptions import ConfigurationError, NoChallenge, NotFresh
from ..flows import address as flow
from ..flows import challenges
from ..identifier import same_identifier
from ..languages import gettext as _
from ..login import current_session, held_token, is_app_request
from ..state import current_auth
from ..stores.base import SessionRecord
from ..upstream.adapters.base import UserAdapter
from .account import own
from .blueprint import HOST, challenge_json, page
from .errors import code_sent, done, failed
from .flash import take
from .forms import text, wants_json


def register(app: Flask, prefix: str, adapter: UserAdapter) -> None:
    """Add the endpoints to an application.

    :raises ConfigurationError: auto update is off.
    """
    if not adapter.auto_update:
        raise ConfigurationError(
            "CHATBOTKIT_AUTH_EMAIL_CHANGE needs CHATBOTKIT_AUTH_AUTO_UPDATE: people cannot change what may not be changed. "
            "Set CHATBOTKIT_AUTH_AUTO_UPDATE to true, or leave CHATBOTKIT_AUTH_EMAIL_CHANGE off."
        )
    host: dict[str, Any] = {"host": f"<{HOST}>"} if app.url_map.host_matching else {}
    for method, path, name, view in (
        ("GET", "/account/email", "account_email", show),
        ("POST", "/account/email", "account_email_post", request_code),
        ("POST", "/account/email/verify", "account_email_verify", verify),
    ):
        app.add_url_rule(f"{prefix}{path}", f"chatbotkit_auth.{name}", view, methods=[method], **host)


@own
def show(record: SessionRecord) -> AnyResponse:
    user = record.user
    if wants_json():
        waiting = flow.pending(user)
        if waiting is None:
            raise NoChallenge("this browser has no change of address that a code can complete")
        return challenge_json(waiting)
    shown = take()
    challenge = None if "new" in request.args else flow.pending(user)
    if challenge is None and shown is None:
        try:
            flow.require_fresh(record)
        except NotFresh:
            return _prove_first()
    return page(
        "account_email",
        shown,
        email=user.email,
        new_email=shown.typed.get("email", "") if shown else "",
        sent_to=challenge and challenge.identifier,
        proved=challenge is not None and flow.proved(user),
        unsent=challenge is not None and challenge.sends == 0,
        resend_in=challenges.resend_in(challenge) if challenge else 0,
        resends_left=challenges.resends_left(challenge) if challenge else 0,
        numeric=current_auth.provider.numeric,
        code_length=current_auth.provider.length,
    )


@own
def request_code(record: SessionRecord) -> AnyResponse:
    if same_identifier(text("email").strip(), record.user.email):
        sentence = _("This is your address already")
        return failed(400, "invalid_email", sentence, errors={"email": sentence})
    try:
        challenge = flow.request_code(record, text("email"))
    except NotFresh:
        if wants_json():
            raise
        return _prove_first()
    return challenge_json(challenge) if wants_json() else code_sent(challenge, "account_email")


@own
def verify(record: SessionRecord) -> AnyResponse:
    user = flow.change_address(record, text("code"))
    if wants_json():
        return jsonify(user=user.public(), **_new_token())
    return done(_("Your email address is changed. Use it from now on to sign in."), "account")


def _new_token() -> dict[str, str]:
    """Return the new token of an app, whose session was replaced. A browser receives it as a cookie."""
    record = current_session()
    if record is None or not is_app_request():
        return {}
    return {"token": held_token(), "expires_at": record.expires_at.isoformat()}


def _prove_first() -> AnyResponse:
    """Redirect to the sign-in page, and back here afterwards. Signing in again is the proof."""
    back = url_for("chatbotkit_auth.account_email")
    return redirect(url_for("chatbotkit_auth.sign_in", again=1, next=back), 303 if request.method == "POST" else 302)
