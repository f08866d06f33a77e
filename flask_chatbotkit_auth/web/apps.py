"""Sign-in for apps, in JSON. Registered only if ``CHATBOTKIT_AUTH_APP_SESSIONS`` is on."""

from __future__ import annotations

from typing import Any

from flask import Flask, Response, jsonify, request
from flask_login import current_user
from werkzeug.wrappers import Response as AnyResponse

from ..flows import apps as flow
from ..flows import sign_in as flows
from ..flows.pending import HOLDER
from ..login import current_session, held_session
from ..profile import clean_label
from ..state import current_auth
from . import bearer
from .blueprint import HOST, challenge_json
from .forms import text


def register(app: Flask, prefix: str) -> None:
    """Add the endpoints to an application, and let it accept bearer tokens."""
    bearer.prepare(app, app.login_manager)  # type: ignore[attr-defined]
    host: dict[str, Any] = {"host": f"<{HOST}>"} if app.url_map.host_matching else {}
    for methods, path, view in (
        (["POST"], "sign-in", sign_in),
        (["POST"], "verify", verify),
        (["POST"], "resend", resend),
        (["GET", "POST"], "session", session),
        (["POST"], "sign-out", sign_out),
    ):
        endpoint = f"chatbotkit_auth.app_{view.__name__}"
        app.add_url_rule(f"{prefix}/app/{path}", endpoint, view, methods=methods, **host)


def sign_in() -> Response:
    _holder().name = clean_label(text("name")) or None
    return challenge_json(flows.request_code(text("email")))


def verify() -> Response:
    token, record = flow.sign_in_by_code(text("code"), _holder())
    return jsonify(user=record.user.public(), token=token, expires_at=record.expires_at.isoformat())


def resend() -> Response:
    return challenge_json(flows.resend_code())


def session() -> Response:
    record = current_session()
    assert record is not None  # noqa: S101  # any other request was refused before
    answer: dict[str, Any] = {"user": record.user.public(), "expires_at": record.expires_at.isoformat()}
    answer = current_auth.hooks.session_answer(answer, current_user._get_current_object())
    return jsonify(answer)


def sign_out() -> AnyResponse:
    if held_session() is None:
        return bearer.refuse()
    return jsonify(ended=int(flow.sign_out()))


def _holder() -> flow.App:
    holder: flow.App = request.environ[HOLDER]
    return holder
