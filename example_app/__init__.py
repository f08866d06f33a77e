"""A small product with flask-chatbotkit-auth: people sign in with their email address, get a bot and a plan, and chat.

``flask --app example_app run --debug`` starts it. Without a ChatBotKit secret it runs on a stand-in of the API, in
partner and in contact mode side by side, see ``demo.py``. With one it is the real thing::

    SECRET_KEY=… CHATBOTKIT_API_SECRET=sk-… FLASK_MAIL_SERVER=… flask --app example_app run

``CHATBOTKIT_AUTH_ADAPTER=contact`` makes users contacts of your account, where they would be sub-accounts.
"""

from __future__ import annotations

import os
from datetime import UTC, datetime
from typing import Any

from flask import Flask, Response, abort, flash, redirect, render_template, request, url_for
from flask_login import current_user, login_required
from flask_wtf.csrf import CSRFProtect
from werkzeug.wrappers import Response as AnyResponse

from flask_chatbotkit_auth import ChatBotKitAuth, User, current_auth
from flask_chatbotkit_auth.chat import (
    UnknownConversation,
    create_conversation,
    delete_conversation,
    list_conversations,
    list_messages,
    stream_completion,
)

from . import demo

BACKSTORY = "You are the friendly host of Parley. You answer briefly, in plain words."
PLANS = {"free": {"messages": 100}, "pro": {"messages": 5000}}

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
    )
    app.config.update(config)
    app.config.from_prefixed_env()  # FLASK_MAIL_SERVER, FLASK_MAIL_PORT and so on
    if os.environ.get("CHATBOTKIT_API_SECRET", demo.SECRET) == demo.SECRET:
        demo.init_app(app, create_app)
    if not app.secret_key:
        raise RuntimeError("Set SECRET_KEY to a long random text, the same for every process.")
    CSRFProtect(app)
    auth = ChatBotKitAuth(app)
    sub_accounts = app.config.get("CHATBOTKIT_AUTH_ADAPTER", os.environ.get("CHATBOTKIT_AUTH_ADAPTER")) != "contact"

    # New accounts

    @auth.new_user_callback
    def first_plan(_identifier: str) -> dict[str, Any]:
        return {"meta": {"plan": "free"}, **({"limits": PLANS["free"]} if sub_accounts else {})}

    def make_bot(user: User) -> dict[str, Any]:
        client = current_auth.client_for(user)
        # It runs again where it failed half-way: a bot that is there already is taken.
        bot = next(client.paginate("/bot/list", {"meta.main": True}), None)
        made = bot or client.post("/bot/create", {"name": "Parley", "backstory": BACKSTORY, "meta": {"main": True}})
        return {"bot": made["id"]}

    if sub_accounts:  # contacts have no bots of their own
        auth.provision(make_bot)

    @auth.delete_callback
    def may_delete(user: User) -> str | None:
        return "Cancel your plan first." if user.meta.get("plan") == "pro" else None

    # Pages

    @app.get("/")
    def home() -> str:
        return render_template("home.html")

    @app.get("/dashboard")
    @login_required  # type: ignore[untyped-decorator]  # Flask-Login has no type information
    def dashboard() -> str:
        id = request.args.get("conversation")
        try:
            kept = [] if id in (None, "new") else list_messages(current_user, str(id))
        except UnknownConversation:
            abort(404)
        said = [{"type": each["type"], "text": each["text"]} for each in kept if each["type"] in ("user", "bot")]
        return render_template("dashboard.html", conversation=id, messages=said)

    @app.post("/welcome")
    @login_required  # type: ignore[untyped-decorator]
    def welcome() -> AnyResponse:
        name = request.form.get("name", "").strip()[:60]
        if name:
            current_auth.update_user(current_user, name=name)
        return redirect(url_for("dashboard"))

    @app.post("/plan")
    @login_required  # type: ignore[untyped-decorator]
    def change_plan() -> AnyResponse:
        # A real product asks for money first, and changes the plan when the payment provider says so.
        set_plan(current_user.id, request.form.get("plan", ""))
        return redirect(url_for("home"))

    # Chat: kept by ChatBotKit, and found again on any device

    @app.post("/chat")
    @login_required  # type: ignore[untyped-decorator]
    def begin() -> Response:
        bot = current_user.meta.get("bot")
        id = create_conversation(current_user, **({"botId": bot} if bot else {"backstory": BACKSTORY}))
        answer: Response = chat(id)
        answer.headers["X-Conversation"] = url_for("chat", id=id)
        return answer

    @app.post("/chat/<id>")
    @login_required  # type: ignore[untyped-decorator]
    def chat(id: str) -> Response:
        return stream_completion(current_user, request.get_json(), conversation=id)

    @app.get("/history")
    @login_required  # type: ignore[untyped-decorator]
    def history() -> str:
        return render_template("history.html", conversations=list_conversations(current_user))

    @app.post("/history/<id>/delete")
    @login_required  # type: ignore[untyped-decorator]
    def forget(id: str) -> AnyResponse:
        delete_conversation(current_user, id)
        return redirect(url_for("history"))

    # Administration

    def administrators_only() -> None:
        if current_user.meta.get("role") != "admin":
            abort(404)

    def set_plan(id: str, plan: str) -> None:
        if plan not in PLANS:
            abort(400)
        current_auth.admin.update(id, meta={"plan": plan}, **({"limits": PLANS[plan]} if sub_accounts else {}))

    @app.get("/admin")
    @login_required  # type: ignore[untyped-decorator]
    def admin() -> str:
        administrators_only()
        users, after = current_auth.adapter.page(after=request.args.get("after"), take=20)
        return render_template("admin.html", users=users, after=after, plans=PLANS)

    @app.post("/admin/<id>")
    @login_required  # type: ignore[untyped-decorator]
    def decide(id: str) -> AnyResponse:
        administrators_only()
        action = request.form.get("action", "")
        if id == current_user.id and action == "suspend":
            flash("You cannot suspend yourself.")
        elif action in ("suspend", "resume"):
            getattr(current_auth, action)(id)
        else:
            set_plan(id, action)
        return redirect(url_for("admin"))

    @app.template_filter()
    def moment(milliseconds: int) -> str:
        return datetime.fromtimestamp(milliseconds / 1000, UTC).strftime("%d %B, %H:%M UTC")

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
