"""Other extensions in the same application: each does its work, and so do we."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from flask import session
from flask_babel import Babel
from flask_login import current_user, login_required
from werkzeug.test import TestResponse

from flask_chatbotkit_auth import ChatBotKitAuth
from flask_chatbotkit_auth.testing import Sandbox
from tests.support.apps import MakeApp

ADA = "ada@example.com"
SignIn = Callable[..., TestResponse]
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::ResourceWarning")


def test_flask_cors(make_app: MakeApp, sign_in: SignIn) -> None:
    cors = pytest.importorskip("flask_cors")
    app = make_app()
    cors.CORS(app, origins=["https://front.example"], supports_credentials=True)
    client = app.test_client()
    sign_in(client, ADA)
    answer = client.get("/auth/session", headers={"Origin": "https://front.example"})
    assert answer.headers["Access-Control-Allow-Origin"] == "https://front.example"
    assert answer.get_json()["user"]["email"] == ADA
    assert (
        "Access-Control-Allow-Origin"
        not in client.get("/auth/session", headers={"Origin": "https://evil.example"}).headers
    )


def test_flask_talisman(make_app: MakeApp, sign_in: SignIn) -> None:
    talisman = pytest.importorskip("flask_talisman")
    app = make_app()
    talisman.Talisman(app, force_https=False, session_cookie_secure=False)
    client = app.test_client()
    sign_in(client, ADA)
    page = client.get("/auth/account")
    assert page.status_code == 200
    # One policy, not two that exclude each other.
    assert len(page.headers.getlist("Content-Security-Policy")) == 1
    assert page.headers.getlist("X-Frame-Options") in (["DENY"], ["SAMEORIGIN"])


def test_flask_restx(make_app: MakeApp, sign_in: SignIn) -> None:
    restx: Any = pytest.importorskip("flask_restx")
    app = make_app()
    api = restx.Api(app, prefix="/api")

    @api.route("/me")
    class Me(restx.Resource):  # type: ignore[misc]
        @login_required  # type: ignore[untyped-decorator]
        def get(self) -> dict[str, str]:
            return {"email": current_user.email}

    client = app.test_client()
    assert client.get("/api/me", headers={"Accept": "application/json"}).status_code in (302, 401)
    sign_in(client, ADA)
    assert client.get("/api/me").get_json() == {"email": ADA}
    assert client.get("/auth/account").status_code == 200


def test_flask_admin(make_app: MakeApp, sign_in: SignIn) -> None:
    admin: Any = pytest.importorskip("flask_admin")
    app = make_app()
    Babel(app)  # which Flask-Admin uses where it is installed

    class Index(admin.AdminIndexView):  # type: ignore[misc]
        def is_accessible(self) -> bool:
            return bool(current_user.is_authenticated)

    admin.Admin(app, index_view=Index())
    client = app.test_client()
    assert client.get("/admin/").status_code == 403
    sign_in(client, ADA)
    assert client.get("/admin/").status_code == 200


def test_flask_socketio(make_app: MakeApp, sign_in: SignIn) -> None:
    socketio = pytest.importorskip("flask_socketio")
    app = make_app()
    server = socketio.SocketIO(app, async_mode="threading")

    @server.on("connect")  # type: ignore[untyped-decorator]
    def connect(_auth: object = None) -> bool:
        return bool(current_user.is_authenticated)

    @server.on("whoami")  # type: ignore[untyped-decorator]
    def whoami() -> None:
        server.emit("you", current_user.email)

    client = app.test_client()
    assert not server.test_client(app, flask_test_client=client).is_connected()
    sign_in(client, ADA)
    socket = server.test_client(app, flask_test_client=client)
    assert socket.is_connected()
    socket.emit("whoami")
    assert socket.get_received()[-1]["args"] == [ADA]


def test_flask_session_on_the_server(make_app: MakeApp, sign_in: SignIn, tmp_path: Path) -> None:
    flask_session = pytest.importorskip("flask_session")
    cachelib = pytest.importorskip("cachelib")
    app = make_app(SESSION_TYPE="cachelib", SESSION_CACHELIB=cachelib.FileSystemCache(str(tmp_path / "sessions")))
    flask_session.Session(app)

    @app.get("/basket")
    def basket() -> str:
        session["basket"] = "tea"
        return "kept"

    client = app.test_client()
    client.get("/basket")
    before = client.get_cookie("session")
    sign_in(client, ADA)
    after = client.get_cookie("session")
    assert before is not None
    assert after is not None
    assert before.value != after.value
    assert client.get("/dashboard").text == f"Hello {ADA}"


def test_apiflask(chatbotkit_sandbox: Sandbox, sign_in: SignIn) -> None:
    apiflask = pytest.importorskip("apiflask")
    app: Any = apiflask.APIFlask("shop")
    app.config.update(
        SECRET_KEY="not a secret",
        TESTING=True,
        CHATBOTKIT_API_SECRET="sk-test",
        CHATBOTKIT_API_URL=chatbotkit_sandbox.url,
        CHATBOTKIT_AUTH_AUTO_CREATE=True,
        CHATBOTKIT_AUTH_STORE_URL="memory://",
    )
    ChatBotKitAuth(app)
    client = app.test_client()
    sign_in(client, ADA)
    document = client.get("/openapi.json")
    assert document.status_code == 200
    assert not [path for path in document.get_json()["paths"] if path.startswith("/auth")]
    assert client.get("/auth/session").get_json()["user"]["email"] == ADA
