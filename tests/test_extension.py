"""``ChatBotKitAuth`` and ``init_app``: what is put together, shared, refused and left alone."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from flask import Flask
from flask_login import LoginManager, UserMixin, current_user, login_required, login_user
from flask_mail import Mail
from werkzeug.test import TestResponse

from flask_chatbotkit_auth import (
    ChatBotKitAuth,
    ChatBotKitClient,
    ConfigurationError,
    ContactAdapter,
    MemoryStore,
    PartnerAdapter,
    User,
    UserAdapter,
    current_auth,
)
from flask_chatbotkit_auth.config import Config
from flask_chatbotkit_auth.testing import Sandbox
from tests.support.apps import MakeApp
from tests.support.steps import ask, error

ADA = "ada@example.com"
SignIn = Callable[..., TestResponse]


def _app(**config: Any) -> Flask:
    app = Flask("shop")
    app.config.update(SECRET_KEY="not a secret", TESTING=True, CHATBOTKIT_API_SECRET="sk-test", **config)
    return app


def test_two_lines_are_a_complete_application(chatbotkit_sandbox: Sandbox, tmp_path: Any, sign_in: SignIn) -> None:
    app = Flask("shop", instance_path=str(tmp_path))
    app.config.update(
        SECRET_KEY="not a secret",
        CHATBOTKIT_API_SECRET="sk-test",
        CHATBOTKIT_API_URL=chatbotkit_sandbox.url,
        CHATBOTKIT_AUTH_AUTO_CREATE=True,
        TESTING=True,
    )
    ChatBotKitAuth(app)

    @app.get("/dashboard")
    @login_required  # type: ignore[untyped-decorator]
    def dashboard() -> str:
        return f"Hello {current_user.email}"

    client = app.test_client()
    assert client.get("/dashboard").headers["Location"] == "/auth/sign-in?next=%2Fdashboard"
    assert sign_in(client, ADA).status_code == 200
    assert client.get("/dashboard").text == f"Hello {ADA}"
    assert (tmp_path / "chatbotkit_auth.db").exists()
    app.extensions["chatbotkit_auth"].store.close()


def test_a_factory_and_several_applications(chatbotkit_sandbox: Sandbox, sign_in: SignIn) -> None:
    auth = ChatBotKitAuth()
    apps = [_app(CHATBOTKIT_API_URL=chatbotkit_sandbox.url, CHATBOTKIT_AUTH_STORE_URL="memory://") for _ in range(2)]
    for app, auto_create in zip(apps, (True, False), strict=True):
        app.config["CHATBOTKIT_AUTH_AUTO_CREATE"] = auto_create
        auth.init_app(app)
    client = apps[0].test_client()
    assert sign_in(client, ADA).status_code == 200
    stores = []
    for app in apps:
        with app.app_context():
            stores.append(current_auth.store)
    assert stores[0] is not stores[1]
    stranger = apps[1].test_client()
    cookie = client.get_cookie("session")
    assert cookie is not None
    stranger.set_cookie("session", cookie.value)
    assert stranger.get("/auth/session").get_json()["user"] is None


def test_a_second_init_app_is_refused() -> None:
    app = _app()
    auth = ChatBotKitAuth(app)
    with pytest.raises(RuntimeError, match="already"):
        auth.init_app(app)


def test_a_missing_secret_is_one_line_in_the_log_and_an_error_at_the_first_call(
    make_app: MakeApp, caplog: pytest.LogCaptureFixture, bare_environment: None
) -> None:
    app = make_app(CHATBOTKIT_API_SECRET=None, CHATBOTKIT_API_URL=None)
    (line,) = caplog.records
    assert (line.levelname, "CHATBOTKIT_API_SECRET is not set" in line.getMessage()) == ("ERROR", True)
    auth = app.extensions["chatbotkit_auth"]
    calls: list[Callable[[], object]] = [lambda: auth.adapter.get("u1"), lambda: auth.client.get("/user/list")]
    calls.append(lambda: next(iter(auth.adapter.list())))
    for call in calls:
        with pytest.raises(ConfigurationError, match=r"CHATBOTKIT_API_SECRET.*CHATBOTKIT_API_TOKEN.*dashboard"):
            call()


def test_without_a_secret_people_are_told_what_is_true(
    make_app: MakeApp, caplog: pytest.LogCaptureFixture, bare_environment: None
) -> None:
    app = make_app(CHATBOTKIT_API_SECRET=None, CHATBOTKIT_AUTH_AUTO_CREATE=False)
    answer = ask(app.test_client())
    assert error(answer) == (503, "upstream_unavailable")
    assert "CHATBOTKIT_API_SECRET is not set" in caplog.records[-1].getMessage()


NAMES_OF_THE_SECRET = ("CHATBOTKIT_API_SECRET", "CHATBOTKIT_API_TOKEN", "CBK_API_TOKEN", "CHATBOTKIT_API_KEY")


@pytest.mark.parametrize("name", NAMES_OF_THE_SECRET)
@pytest.mark.parametrize("place", ["app.config", "environment"])
def test_the_secret_has_four_names(
    monkeypatch: pytest.MonkeyPatch, chatbotkit_sandbox: Sandbox, bare_environment: None, name: str, place: str
) -> None:
    app = Flask("shop")
    app.config.update(CHATBOTKIT_API_URL=chatbotkit_sandbox.url, CHATBOTKIT_AUTH_STORE_URL="memory://")
    for other in NAMES_OF_THE_SECRET:
        monkeypatch.delenv(other, raising=False)
    if place == "environment":
        monkeypatch.setenv(name, "sk-test")
    else:
        app.config[name] = "sk-test"
    ChatBotKitAuth(app)
    with app.app_context():
        assert current_auth.adapter.get_by_email("nobody@example.com") is None
    assert chatbotkit_sandbox.requests[-1].headers["Authorization"] == "Bearer sk-test"


def test_the_application_goes_before_the_environment_and_newer_names_before_older_ones(
    monkeypatch: pytest.MonkeyPatch, bare_environment: None
) -> None:
    def secret(**config: str) -> str | None:
        return Config.load(config, os.environ).api_secret

    monkeypatch.delenv("CBK_API_TOKEN", raising=False)
    for name in reversed(NAMES_OF_THE_SECRET):
        monkeypatch.setenv(name, f"{name} of the environment")
        assert secret() == f"{name} of the environment"
    config: dict[str, str] = {}
    for name in reversed(NAMES_OF_THE_SECRET):
        config[name] = f"{name} of the application"
        assert secret(**config) == f"{name} of the application"


@pytest.mark.parametrize(
    ("config", "match"),
    [
        ({"CHATBOTKIT_API_URL": "api.chatbotkit.com"}, "CHATBOTKIT_API_URL"),
        ({"CHATBOTKIT_AUTH_STORE_URL": "nonsense"}, "CHATBOTKIT_AUTH_STORE_URL"),
        ({"CHATBOTKIT_AUTH_STORE_URL": "oracle+nothing://x"}, "CHATBOTKIT_AUTH_STORE_URL"),
        ({"CHATBOTKIT_AUTH_CODE_LENGTH": 3}, "CHATBOTKIT_AUTH_CODE_LENGTH"),
        ({"CHATBOTKIT_AUTH_RATE_LIMITS": {"request:ip": "many"}}, "CHATBOTKIT_AUTH_RATE_LIMITS"),
        ({"CHATBOTKIT_AUTH_RATE_LIMIT_STORAGE_URI": "x://y"}, "CHATBOTKIT_AUTH_RATE_LIMIT_STORAGE_URI"),
    ],
)
def test_a_wrong_setting_stops_at_the_start(config: dict[str, Any], match: str) -> None:
    with pytest.raises(ConfigurationError, match=match):
        ChatBotKitAuth(_app(**config))


def test_a_wrong_adapter_is_refused() -> None:
    with pytest.raises(ConfigurationError, match='give "partner" \\(or "user"\\), "contact" or a UserAdapter'):
        ChatBotKitAuth(_app(), adapter="users")


@pytest.mark.parametrize(
    ("name", "adapter"), [("partner", PartnerAdapter), ("user", PartnerAdapter), ("contact", ContactAdapter)]
)
def test_the_adapter_by_name_or_by_setting(name: str, adapter: type) -> None:
    for auth, app in ((ChatBotKitAuth(adapter=name), _app()), (ChatBotKitAuth(), _app(CHATBOTKIT_AUTH_ADAPTER=name))):
        auth.init_app(app)
        with app.app_context():
            assert type(current_auth.adapter) is adapter
            assert current_auth.kind == ("contact" if name == "contact" else "partner")


def test_the_switches_reach_the_adapter() -> None:
    app = _app(CHATBOTKIT_AUTH_AUTO_CREATE=True, CHATBOTKIT_AUTH_AUTO_UPDATE=False, CHATBOTKIT_AUTH_AUTO_DELETE=True)
    ChatBotKitAuth(app)
    with app.app_context():
        adapter = current_auth.adapter
        assert (adapter.auto_create, adapter.auto_update, adapter.auto_delete) == (True, False, True)


def test_switches_that_an_adapter_of_ones_own_does_not_follow_are_told(caplog: pytest.LogCaptureFixture) -> None:
    adapter = PartnerAdapter(ChatBotKitClient("sk-test"), auto_delete=True)
    ChatBotKitAuth(_app(CHATBOTKIT_AUTH_AUTO_CREATE=True, CHATBOTKIT_AUTH_AUTO_UPDATE="yes"), adapter=adapter)
    (told,) = (each for each in caplog.messages if "adapter" in each)
    assert told.startswith("CHATBOTKIT_AUTH_AUTO_CREATE")
    assert "auto_create=True" in told
    caplog.clear()
    ChatBotKitAuth(_app(), adapter=adapter)
    assert not any("adapter" in each for each in caplog.messages)


def test_an_adapter_has_its_switches_without_the_constructor_of_its_base(sign_in: SignIn) -> None:
    class Directory(UserAdapter):
        def __init__(self) -> None:
            self.people: dict[str, User] = {}

        def get(self, id: str) -> User | None:
            return self.people.get(id)

        def get_by_email(self, email: str) -> User | None:
            return next((each for each in self.people.values() if each.email == email), None)

        def create(self, email: str, **fields: Any) -> User:
            return self.people.setdefault("u1", User(id="u1", email=email, **fields))

        def update(self, id: str, **fields: Any) -> User:
            raise NotImplementedError

        def delete(self, id: str) -> None:
            raise NotImplementedError

        def list(self, **filters: Any) -> Iterator[User]:
            return iter(self.people.values())

    closed = Directory()
    assert (closed.auto_create, closed.auto_update, closed.auto_delete) == (False, True, False)

    class Open(Directory):
        auto_create = True

    app = Flask("shop")
    app.config.update(SECRET_KEY="not a secret", TESTING=True)
    ChatBotKitAuth(app, adapter=Open(), store=MemoryStore())
    assert sign_in(app.test_client(), ADA).get_json()["user"]["id"] == "u1"


def test_parts_that_are_given_are_used(chatbotkit_sandbox: Sandbox, sign_in: SignIn) -> None:
    client = ChatBotKitClient("sk-test", chatbotkit_sandbox.url)
    adapter = ContactAdapter(client, auto_create=True)
    store = MemoryStore()
    app = Flask("shop")
    app.config.update(SECRET_KEY="not a secret", TESTING=True)
    ChatBotKitAuth(app, adapter=adapter, store=store, client=client)
    assert sign_in(app.test_client(), ADA).status_code == 200
    with app.app_context():
        assert (current_auth.adapter, current_auth.store, current_auth.client) == (adapter, store, client)


def test_an_adapter_of_ones_own_needs_no_secret(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CHATBOTKIT_API_SECRET", raising=False)
    app = Flask("shop")
    ChatBotKitAuth(app, adapter=PartnerAdapter(ChatBotKitClient("sk-test")), store=MemoryStore())
    with app.app_context(), pytest.raises(ConfigurationError, match="CHATBOTKIT_API_SECRET"):
        _ = current_auth.client


def test_the_applications_login_manager_and_its_other_users_stay(chatbotkit_sandbox: Sandbox, sign_in: SignIn) -> None:
    class Admin(UserMixin):  # type: ignore[misc]
        id = "7"
        email = "admin@example.com"

    app = _app(
        CHATBOTKIT_API_URL=chatbotkit_sandbox.url,
        CHATBOTKIT_AUTH_STORE_URL="memory://",
        CHATBOTKIT_AUTH_AUTO_CREATE=True,
    )
    manager = LoginManager(app)
    manager.login_view = "admin_sign_in"
    manager.user_loader(lambda user_id: Admin() if user_id == "7" else None)
    ChatBotKitAuth(app)
    assert app.login_manager is manager  # type: ignore[attr-defined]
    assert manager.login_view == "admin_sign_in"

    @app.get("/admin")
    def admin_sign_in() -> str:
        login_user(Admin())
        return "ok"

    @app.get("/me")
    @login_required  # type: ignore[untyped-decorator]
    def me() -> str:
        return str(current_user.email)

    admin, person = app.test_client(), app.test_client()
    admin.get("/admin")
    sign_in(person, ADA)
    assert admin.get("/me").text == "admin@example.com"
    assert person.get("/me").text == ADA
    assert admin.get("/auth/session").get_json()["user"] is None


def test_an_applications_mail_stays() -> None:
    app = _app()
    mail = Mail(app)
    state = app.extensions["mail"]
    ChatBotKitAuth(app, mail=mail)
    assert app.extensions["mail"] is state


def test_a_login_manager_shared_by_two_applications(chatbotkit_sandbox: Sandbox, sign_in: SignIn) -> None:
    manager = LoginManager()
    apps = [
        _app(
            CHATBOTKIT_API_URL=chatbotkit_sandbox.url,
            CHATBOTKIT_AUTH_STORE_URL="memory://",
            CHATBOTKIT_AUTH_AUTO_CREATE=True,
        )
        for _ in range(2)
    ]
    for app in apps:
        ChatBotKitAuth(app, login_manager=manager)
    for app in apps:
        client = app.test_client()
        assert sign_in(client, ADA).status_code == 200
        assert client.get("/auth/session").get_json()["user"]["email"] == ADA


def test_current_auth_outside_an_application_says_what_to_do() -> None:
    with Flask("bare").app_context(), pytest.raises(RuntimeError, match="Call ChatBotKitAuth"):
        _ = current_auth.store


def test_a_users_own_class_may_be_current_user(make_app: MakeApp, sign_in: SignIn) -> None:
    class Customer(UserMixin):  # type: ignore[misc]
        def __init__(self, user: User) -> None:
            self.id = user.id
            self.email = f"customer {user.email}"

    app = make_app()
    auth: ChatBotKitAuth = app.extensions["test_auth"]
    auth.user_callback(Customer)
    client = app.test_client()
    sign_in(client, ADA)
    assert client.get("/dashboard").text == f"Hello customer {ADA}"
    assert client.get("/auth/session").get_json()["user"]["email"] == ADA


def test_an_inactive_user_of_ones_own_is_refused(
    make_app: MakeApp, sign_in: SignIn, chatbotkit_sandbox: Sandbox
) -> None:
    class Suspended(UserMixin):  # type: ignore[misc]
        is_active = False
        id = "x"

    app = make_app()
    auth: ChatBotKitAuth = app.extensions["test_auth"]
    auth.user_callback(lambda user: Suspended())
    answer = sign_in(app.test_client(), ADA)
    assert (answer.status_code, answer.get_json()["error"]["code"]) == (403, "sign_in_denied")


@pytest.mark.parametrize("path", ["/auth/sign-in", "/auth/session", "/auth/account"])
def test_a_missing_secret_key_is_told_with_how_to_make_one(make_app: MakeApp, path: str) -> None:
    client = make_app(SECRET_KEY=None).test_client()
    with pytest.raises(RuntimeError, match=r"SECRET_KEY is not set.*secrets.token_hex"):
        client.get(path)


def test_a_secret_key_may_be_any_text(make_app: MakeApp, sign_in: SignIn) -> None:
    client = make_app(SECRET_KEY="…ключ…").test_client()
    assert sign_in(client, ADA).status_code == 200
    client.delete_cookie("session")
    assert client.get("/dashboard").text == f"Hello {ADA}"


def test_init_app_opens_nothing(monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> None:
    import socket

    def refuse(*_args: object, **_named: object) -> None:
        raise AssertionError("init_app opened a connection")

    monkeypatch.setattr(socket, "create_connection", refuse)
    monkeypatch.setattr(socket.socket, "connect", refuse)
    app = Flask("shop", instance_path=str(tmp_path / "instance"))
    app.config.update(CHATBOTKIT_API_SECRET="sk-test")
    ChatBotKitAuth(app)
    assert not (tmp_path / "instance").exists()
