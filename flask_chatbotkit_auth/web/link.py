"""The page of the link in the mail. Registered only if ``CHATBOTKIT_AUTH_MAIL_LINK`` is on.

A GET changes nothing, since mail scanners follow links. The button's POST signs in.
"""

from __future__ import annotations

from typing import Any

from flask import Flask, jsonify, redirect, request, url_for
from werkzeug.wrappers import Response as AnyResponse

from ..exceptions import CodeExpired, NoChallenge, TooManyAttempts
from ..flows import challenges, sign_in
from ..flows import link as flow
from ..identifier import mask
from ..languages import gettext as _
from ..login import current_session
from .blueprint import HOST, after_sign_in, challenge_json, page
from .errors import failed, message_page
from .flash import Flash, take
from .forms import text, wants_json
from .sign_in import new_token


def register(app: Flask, prefix: str) -> None:
    """Add the endpoints to an application."""
    host: dict[str, Any] = {"host": f"<{HOST}>"} if app.url_map.host_matching else {}
    for method, name, view in (("GET", "link", show), ("POST", "link_post", follow)):
        app.add_url_rule(f"{prefix}/link", f"chatbotkit_auth.{name}", view, methods=[method], **host)


def show() -> AnyResponse:
    token = request.args.get("t", "")
    challenge = flow.find(token)
    if challenge is None:
        return _elsewhere()
    try:
        challenges.require_open(challenge)
    except (NoChallenge, CodeExpired, TooManyAttempts):
        if wants_json():
            raise
        return redirect(url_for("chatbotkit_auth.verify"))  # it says what has happened to the challenge
    if wants_json():
        return challenge_json(challenge)
    return page("link", take(), email=mask(challenge.identifier), token=token)


def follow() -> AnyResponse:
    token, next = text("t"), sign_in.pending_next()
    challenge = flow.find(token)
    if challenge is None:
        return _elsewhere()
    try:
        user = flow.sign_in_by_link(token)
    except (NoChallenge, CodeExpired, TooManyAttempts):
        if wants_json():
            raise
        return redirect(url_for("chatbotkit_auth.verify"), 303)
    target = next or after_sign_in()
    if wants_json():
        return jsonify(user=user.public(), redirect=target, csrf_token=new_token())
    return redirect(target, 303)


def _elsewhere() -> AnyResponse:
    sentence = _(
        "This link works only in the browser where you asked for it. Go back there and type the code from the email."
    )
    if wants_json():
        return failed(400, "no_challenge", sentence)
    if current_session() is not None:
        # Probably by this link, which was opened again. The page shows the address.
        return redirect(url_for("chatbotkit_auth.account"), 303 if request.method == "POST" else 302)
    return message_page(Flash(400, sentence, "no_challenge", title=_("Open it in the other browser")))
