"""A small product with flask-chatbotkit-auth: people sign in with their e-mail address, then chat.

``flask --app example_app run --debug`` starts it. Without a ChatBotKit secret it runs on a stand-in of the API, in
partner and in contact mode side by side, see ``demo.py``. With one it is the real thing::

    SECRET_KEY=… CHATBOTKIT_API_SECRET=sk-… FLASK_MAIL_SERVER=… flask --app example_app run

``CHATBOTKIT_AUTH_ADAPTER=contact`` makes users contacts of your account, where they would be sub-accounts.
"""

from __future__ import annotations

import os
from typing import Any

from flask import Flask, Response, render_template, request
from flask_login import current_user, login_required
from flask_wtf.csrf import CSRFProtect

from flask_chatbotkit_auth import ChatBotKitAuth
from flask_chatbotkit_auth.chat import stream_completion

from . import demo

BACKSTORY = "You are the friendly host of Parley. You answer briefly, in plain words."

CONTENT_SECURITY_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data: https:; connect-src 'self'; "
    "frame-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)


def create_app(instance_path: str | None = None, **config: Any) -> Flask:
    """Make the application.

    :param instance_path: the folder for codes and sessions; by default ``instance`` beside this package.
    :param config: further settings.
    """
    app = Flask(__name__, instance_path=instance_path)
    app.config.update(
        SECRET_KEY=os.environ.get("SECRET_KEY"),
        MAX_CONTENT_LENGTH=1024 * 1024,
        CHATBOTKIT_AUTH_AUTO_CREATE=True,  # whoever proves an address gets an account
        CHATBOTKIT_AUTH_AUTO_DELETE=True,  # and may delete it again on the account page
        CHATBOTKIT_AUTH_EMAIL_CHANGE=True,
        CHATBOTKIT_AUTH_EVENTS=True,  # "Recent activity"
        CHATBOTKIT_AUTH_SITE_NAME="Parley",
        CHATBOTKIT_AUTH_SIGN_IN_REDIRECT="/dashboard",
        CHATBOTKIT_AUTH_SIGN_OUT_REDIRECT="/",
        **config,
    )
    app.config.from_prefixed_env()  # FLASK_MAIL_SERVER, FLASK_MAIL_PORT and so on
    if os.environ.get("CHATBOTKIT_API_SECRET", demo.SECRET) == demo.SECRET:
        demo.init_app(app, create_app)
    if not app.secret_key:
        raise RuntimeError("Set SECRET_KEY to a long random text, the same for every process.")
    CSRFProtect(app)
    ChatBotKitAuth(app)

    @app.get("/")
    def home() -> str:
        return render_template("home.html")

    @app.get("/dashboard")
    @login_required  # type: ignore[untyped-decorator]  # Flask-Login has no type information
    def dashboard() -> str:
        return render_template("dashboard.html")

    @app.post("/chat")
    @login_required  # type: ignore[untyped-decorator]
    def chat() -> Response:
        # The browser says what was said so far; who the bot is, only the server says.
        return stream_completion(current_user, request.get_json(), backstory=BACKSTORY)

    @app.after_request
    def protect(response: Response) -> Response:
        response.headers.setdefault("Content-Security-Policy", CONTENT_SECURITY_POLICY)
        response.headers.setdefault("Referrer-Policy", "same-origin")
        response.headers.setdefault("X-Content-Type-Options", "nosniff")
        if request.endpoint and not request.endpoint.endswith("static"):
            # So that "back" shows nothing once somebody has signed out.
            response.headers["Cache-Control"] = "no-store"
        return response

    return app
