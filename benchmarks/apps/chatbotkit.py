"""A page behind this package, with its defaults; the limits are as high as a benchmark needs, and counted all the same."""

from __future__ import annotations

import os

from flask import Flask, Response, g, request
from flask_login import current_user, login_required
from werkzeug.middleware.proxy_fix import ProxyFix

from flask_chatbotkit_auth import ChatBotKitAuth

from .instruments import API, FOLDER, MAIL_PORT, count_sqlalchemy, instrumented

LIMITS = dict.fromkeys(("request:email", "request:ip", "verify:email", "verify:ip"), "10000000/hour")

app = Flask(__name__)
app.config.update(
    SECRET_KEY="not a secret",
    MAIL_SERVER="127.0.0.1",
    MAIL_PORT=MAIL_PORT,
    CHATBOTKIT_API_SECRET="sk-test",
    CHATBOTKIT_API_URL=API,
    CHATBOTKIT_AUTH_AUTO_CREATE=True,
    CHATBOTKIT_AUTH_STORE_URL=os.environ.get("BENCHMARK_STORE", f"sqlite:///{FOLDER}/store.db"),
    CHATBOTKIT_AUTH_SESSION_CHECK=int(os.environ.get("BENCHMARK_SESSION_CHECK", "5")),
    CHATBOTKIT_AUTH_RATE_LIMITS=LIMITS,
    CHATBOTKIT_AUTH_SIGN_IN_REDIRECT="/page",
)
count_sqlalchemy()
auth = ChatBotKitAuth(app)

if "BENCHMARK_HOOK" in os.environ:

    @auth.send_verification_request
    def send(code: str) -> None:
        g.code = code

    @app.after_request
    def tell(answer: Response) -> Response:
        if "code" in g:
            answer.headers["X-Code"] = g.code
        if "X-Sign-In" in request.headers:
            answer.headers["X-Sign-In"] = request.headers["X-Sign-In"]
        return answer


@app.get("/page")
@login_required  # type: ignore[untyped-decorator]  # Flask-Login has no type information
def page() -> str:
    return f"Hello {current_user.email}"


application = instrumented(ProxyFix(app) if "BENCHMARK_PROXY" in os.environ else app)
