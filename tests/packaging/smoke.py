"""A sign-in with nothing but the installed wheel: run by the gate in a clean environment, away from the checkout."""

from __future__ import annotations

import re
import tempfile
from pathlib import Path

from flask import Flask
from flask_login import current_user, login_required
from flask_mail import Message, email_dispatched

import flask_chatbotkit_auth
from flask_chatbotkit_auth import ChatBotKitAuth
from flask_chatbotkit_auth.testing import Sandbox


def main() -> None:
    package = Path(flask_chatbotkit_auth.__file__).parent
    assert "site-packages" in package.parts, package
    assert (package / "py.typed").exists()
    assert len(list(package.glob("translations/*/LC_MESSAGES/*.mo"))) == 12
    mails: list[Message] = []

    def record(_app: object, message: Message) -> None:
        mails.append(message)

    email_dispatched.connect(record)
    with Sandbox(secret="sk-test") as sandbox, tempfile.TemporaryDirectory() as instance:
        app = Flask("smoke", instance_path=instance)
        app.config.update(
            SECRET_KEY="smoke",
            CHATBOTKIT_API_SECRET="sk-test",
            CHATBOTKIT_API_URL=sandbox.url,
            CHATBOTKIT_AUTH_AUTO_CREATE=True,
            MAIL_SUPPRESS_SEND=True,
        )
        ChatBotKitAuth(app)

        @app.get("/dashboard")
        @login_required  # type: ignore[untyped-decorator]  # Flask-Login has no type information
        def dashboard() -> str:
            return f"Hello {current_user.email}"

        client = app.test_client()
        page = client.get("/dashboard", follow_redirects=True).text
        token = re.findall(r'name="csrf_token" value="([^"]+)"', page)[0]
        client.post("/auth/sign-in", data={"email": "ada@example.com", "next": "/dashboard", "csrf_token": token})
        assert client.get("/auth/static/auth.css").status_code == 200
        code = mails[0].subject.split()[0]
        answer = client.post("/auth/verify", data={"code": code, "csrf_token": token}, follow_redirects=True)
        assert answer.text == "Hello ada@example.com", answer.text
        app.extensions["chatbotkit_auth"].store.close()
    print("1 passed, 0 failed")  # noqa: T201


if __name__ == "__main__":
    main()
