"""The little application that the attacks meet: served by gunicorn, told by its environment what to be.

``CHATBOTKIT_…`` is read by the extension itself, and ``FLASK_…`` by Flask (``FLASK_SECRET_KEY`` and so on).
"""

from __future__ import annotations

import os

from cachelib import FileSystemCache
from flask import Flask, request, session
from flask_login import current_user, login_required
from flask_session import Session

from flask_chatbotkit_auth import ChatBotKitAuth


def create_app() -> Flask:
    app = Flask("shop", instance_path=os.environ["SHOP_INSTANCE"])
    app.config.from_prefixed_env()
    if app.config.get("SERVER_SIDE_SESSIONS"):
        app.config.update(
            SESSION_TYPE="cachelib", SESSION_CACHELIB=FileSystemCache(os.path.join(app.instance_path, "sessions"))
        )
        Session(app)
    auth = ChatBotKitAuth(app)
    denied = app.config.get("DENIED", "")

    @auth.sign_in_callback
    def may_sign_in(identifier: str, _user: object) -> bool:
        return bool(identifier != denied)

    @app.get("/")
    def home() -> str:
        return "home"

    @app.get("/dashboard")
    @login_required  # type: ignore[untyped-decorator]  # Flask-Login has no type information
    def dashboard() -> str:
        return f"Hello {current_user.email}"

    @app.get("/basket")
    def basket() -> str:
        """Put something of the application's own into the session of a visitor."""
        session["basket"] = request.args.get("item", "")
        return "kept"

    return app
