"""``current_auth``: the running application's state, from anywhere in a request."""

from __future__ import annotations

from typing import cast

from flask import current_app
from werkzeug.local import LocalProxy

from .state import AuthState


def _find() -> AuthState:
    state: AuthState | None = current_app.extensions.get("chatbotkit_auth")
    if state is None:
        raise RuntimeError(
            "This application has no ChatBotKitAuth. Call ChatBotKitAuth(app), or auth.init_app(app) in the factory."
        )
    return state


current_auth: AuthState = cast(AuthState, LocalProxy(_find))
