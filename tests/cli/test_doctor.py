"""The doctor, in applications that are sound and in ones that are not."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path
from typing import Any

import pytest
from flask import Flask
from flask_login import LoginManager
from werkzeug.middleware.proxy_fix import ProxyFix

from flask_chatbotkit_auth import ChatBotKitAuth, ChatBotKitClient, PartnerAdapter, StoreError
from flask_chatbotkit_auth.testing import Sandbox
from tests.support.apps import MakeApp
from tests.support.commands import findings, flask, run

# What production looks like; the test itself only has no mail server.
SOUND: dict[str, Any] = {
    "SECRET_KEY": "0123456789abcdef0123456789abcdef",
    "SESSION_COOKIE_SECURE": True,
    "CHATBOTKIT_AUTH_MAIL_SENDER": "shop@example.com",
    "SESSION_COOKIE_NAME": "__Host-session",
    "REMEMBER_COOKIE_NAME": "__Host-remember",
}


def test_a_sound_application_has_nothing_to_fear(make_app: MakeApp, tmp_path: Path) -> None:
    app = make_app(**SOUND, CHATBOTKIT_AUTH_STORE_URL=f"sqlite:///{tmp_path}/store.db")
    app.extensions["test_auth"].send_verification_request(lambda *_: None)
    app.wsgi_app = ProxyFix(app.wsgi_app)  # type: ignore[method-assign]
    result = run(app, "doctor")
    assert result.exit_code == 0
    lines = result.stdout.splitlines()
    assert [line.split()[:2] for line in lines] == [
        ["ok", name]
        for name in (
            "configuration",
            "api",
            "clock",
            "store",
            "server",
            "limits",
            "mail",
            "cookies",
            "proxy",
            "user_loader",
        )
    ]
    assert "auto create on, auto update on, auto delete off" in lines[0]
    assert "sk-test" not in result.output
    app.extensions["chatbotkit_auth"].store.close()


@pytest.mark.parametrize("adapter", ["partner", "contact"])
def test_doctor_calls_the_api_of_the_adapter(make_app: MakeApp, chatbotkit_sandbox: Sandbox, adapter: str) -> None:
    assert findings(make_app(CHATBOTKIT_AUTH_ADAPTER=adapter))["api"][0] == "ok"
    paths = [request.path for request in chatbotkit_sandbox.requests]
    assert ("/api/v1/contact/list" in paths) is (adapter == "contact")
    assert "Authorization" not in chatbotkit_sandbox.requests[-1].headers, "the clock needs no secret"


@pytest.mark.parametrize(
    ("config", "state", "text"),
    [
        ({"SECRET_KEY": None}, "failure", "SECRET_KEY is not set"),
        ({"SECRET_KEY": "dev"}, "warning", "SECRET_KEY is short"),
        ({**SOUND, "CHATBOTKIT_AUTH_AUTO_CRATE": True}, "warning", "Did you mean CHATBOTKIT_AUTH_AUTO_CREATE"),
        ({**SOUND, "CHATBOTKIT_AUTH_RATE_LIMITS": {"verify:email": None}}, "warning", "switches verify:email off"),
        ({**SOUND, "CHATBOTKIT_AUTH_CODE_LIFETIME": 3600, "provider": None}, "warning", "longer than 10 minutes"),
        ({**SOUND, "CHATBOTKIT_AUTH_CODE_LIFETIME": 10, "provider": None}, "warning", "before most mails arrive"),
    ],
    ids=["no key", "short key", "a slip", "no limit", "long codes", "short codes"],
)
def test_doctor_reads_the_configuration(
    chatbotkit_sandbox: Sandbox, config: dict[str, Any], state: str, text: str
) -> None:
    app = Flask("shop")
    app.config.update(TESTING=True, CHATBOTKIT_API_SECRET="sk-test", CHATBOTKIT_API_URL=chatbotkit_sandbox.url)
    app.config.update(CHATBOTKIT_AUTH_STORE_URL="memory://", **{key: config[key] for key in config if key.isupper()})
    ChatBotKitAuth(app)
    found = findings(app)["configuration"]
    assert found[0] == state
    assert text in found[1]


@pytest.mark.parametrize(
    ("fault", "text"),
    [
        ({"status": 401}, "refuses CHATBOTKIT_API_SECRET"),
        ({"status": 403}, "may not list sub-accounts"),
        ({"status": 402}, "choose a plan"),
        ({"status": 503}, "answered 503 .* Wait, and look at the status page"),
        ({"drop": True}, "CHATBOTKIT_API_URL"),
        ({"status": 404, "body": "<html></html>"}, "is CHATBOTKIT_API_URL the address of a ChatBotKit API"),
    ],
    ids=str,
)
def test_doctor_tries_the_api(make_app: MakeApp, chatbotkit_sandbox: Sandbox, fault: dict[str, Any], text: str) -> None:
    chatbotkit_sandbox.fail("*/list", **fault)
    state, sentence = findings(make_app(CHATBOTKIT_API_RETRIES=0))["api"]
    assert state == "failure"
    assert re.search(text, sentence)


@pytest.mark.parametrize(
    ("seconds", "direction"),
    [(-120, "120 seconds ahead of"), (3600, "3600 seconds behind"), (30, "30 seconds behind"), (0, "")],
)
def test_doctor_compares_the_clock(
    make_app: MakeApp, chatbotkit_sandbox: Sandbox, seconds: int, direction: str
) -> None:
    theirs = format_datetime(datetime.now(UTC) + timedelta(seconds=seconds), usegmt=True)
    chatbotkit_sandbox.fail("/api/v1", status=404, headers={"Date": theirs})
    state, text = findings(make_app())["clock"]
    assert state == ("failure" if abs(seconds) > 60 else "warning" if direction else "ok")
    if direction:
        assert re.search(r"\d+ seconds " + direction.split(" ", 2)[2], text)
        number = int(re.findall(r"\d+", text)[0])
        assert abs(number - abs(seconds)) <= 3


@pytest.mark.parametrize("fault", [{"drop": True}, {"status": 404, "headers": {"Date": "yesterday"}}], ids=str)
def test_a_clock_that_cannot_be_compared_is_a_warning(
    make_app: MakeApp, chatbotkit_sandbox: Sandbox, fault: dict[str, Any]
) -> None:
    chatbotkit_sandbox.fail("/api/v1", **fault)
    state, text = findings(make_app())["clock"]
    assert state == "warning"
    assert "not compared" in text


def test_doctor_tries_the_store(make_app: MakeApp, monkeypatch: pytest.MonkeyPatch) -> None:
    app = make_app()
    assert findings(app)["store"][0] == "warning", "one process's memory"
    state = app.extensions["chatbotkit_auth"]
    monkeypatch.setattr(state.limiter, "check", lambda: False)
    assert "RATE_LIMIT_STORAGE_URI" in findings(app)["store"][1]

    def fail() -> None:
        raise StoreError("the database of the sign-in store failed")

    monkeypatch.setattr(state.store, "ping", fail)
    assert findings(app)["store"] == ("failure", "the database of the sign-in store failed")


def test_doctor_tries_the_mail_server(make_app: MakeApp, monkeypatch: pytest.MonkeyPatch) -> None:
    assert "MAIL_SUPPRESS_SEND" in findings(make_app())["mail"][1]
    unset = findings(make_app(MAIL_SUPPRESS_SEND=False))["mail"]
    assert unset[0] == "failure"
    assert "set MAIL_SERVER" in unset[1]
    away = make_app(MAIL_SUPPRESS_SEND=False, MAIL_SERVER="127.0.0.1", MAIL_PORT=1)
    assert findings(away)["mail"][0] == "failure"
    monkeypatch.setenv("FLASK_DEBUG", "1")
    assert findings(make_app(MAIL_SUPPRESS_SEND=False))["mail"] == (
        "warning",
        "no MAIL_SERVER: codes are printed to the console while in debug mode",
    )


def test_doctor_looks_at_the_cookies(make_app: MakeApp, monkeypatch: pytest.MonkeyPatch) -> None:
    state, text = findings(make_app(SESSION_COOKIE_HTTPONLY=False, REMEMBER_COOKIE_SAMESITE="None"))["cookies"]
    assert state == "warning"
    for name in (
        "SESSION_COOKIE_SECURE",
        "REMEMBER_COOKIE_SECURE",
        "SESSION_COOKIE_HTTPONLY",
        "REMEMBER_COOKIE_SAMESITE",
    ):
        assert f"{name} is" in text
    monkeypatch.setenv("FLASK_DEBUG", "1")
    assert findings(make_app())["cookies"][0] == "ok"


def test_doctor_tells_that_strict_cookies_make_every_link_a_strangers(make_app: MakeApp) -> None:
    strict = {"SESSION_COOKIE_SAMESITE": "Strict", "CHATBOTKIT_AUTH_ORIGIN": "https://shop.example.com"}
    assert "CHATBOTKIT_AUTH_MAIL_LINK" in findings(make_app(CHATBOTKIT_AUTH_MAIL_LINK=True, **strict))["cookies"][1]
    assert "CHATBOTKIT_AUTH_MAIL_LINK" not in findings(make_app(**strict))["cookies"][1]


def test_doctor_sees_a_user_loader_that_replaced_ours(make_app: MakeApp) -> None:
    app = make_app()
    manager: LoginManager = app.login_manager  # type: ignore[attr-defined]
    manager.user_loader(lambda _id: None)
    state, text = findings(app)["user_loader"]
    assert state == "failure"
    assert "user_callback" in text


def test_an_adapter_of_ones_own_needs_no_api(make_app: MakeApp, chatbotkit_sandbox: Sandbox) -> None:
    adapter = PartnerAdapter(ChatBotKitClient("sk-test", chatbotkit_sandbox.url))
    found = findings(make_app(CHATBOTKIT_API_SECRET=None, parts={"adapter": adapter}))
    assert (found["api"][0], found["clock"][0]) == ("ok", "ok")
    assert not chatbotkit_sandbox.requests


def test_a_missing_secret_is_said_on_one_screen(tmp_path: Path) -> None:
    (tmp_path / "app.py").write_text(
        "from flask import Flask\nfrom flask_chatbotkit_auth import ChatBotKitAuth\n"
        "app = Flask(__name__)\nChatBotKitAuth(app)\n"
    )
    nowhere = {"CHATBOTKIT_API_URL": "http://127.0.0.1:9"}
    process = flask("chatbotkit-auth", "doctor", cwd=tmp_path, **nowhere)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 1
    assert re.search(r"^failure +api +CHATBOTKIT_API_SECRET is not set", out, re.MULTILINE)
    assert len((out + err).splitlines()) <= 24
    assert "Traceback" not in err

    process = flask("chatbotkit-auth", "users", "list", cwd=tmp_path, **nowhere)
    _out, err = process.communicate(timeout=60)
    assert process.returncode == 1
    assert err.splitlines()[-1].startswith("Error: CHATBOTKIT_API_SECRET is not set")
    assert "Traceback" not in err

    process = flask("run", "--port", "0", cwd=tmp_path, **nowhere)
    assert process.stderr is not None
    told = []
    for line in process.stderr:
        told.append(line)
        if "Running on" in line:
            break
    process.terminate()
    process.communicate(timeout=60)
    assert len([line for line in told if "CHATBOTKIT_API_SECRET is not set" in line]) == 1
    assert "Traceback" not in "".join(told)


@pytest.mark.parametrize(
    ("source", "name", "text"),
    [
        (
            "app.config['CHATBOTKIT_AUTH_CODE_LENGTH'] = 'six'\nChatBotKitAuth(app)",
            "configuration",
            "CHATBOTKIT_AUTH_CODE_LENGTH",
        ),
        ("import no_such_module", "application", "ModuleNotFoundError"),
    ],
    ids=["a wrong setting", "an application that cannot be imported"],
)
def test_an_application_that_does_not_start_is_a_finding(tmp_path: Path, source: str, name: str, text: str) -> None:
    (tmp_path / "app.py").write_text(
        f"from flask import Flask\nfrom flask_chatbotkit_auth import ChatBotKitAuth\napp = Flask(__name__)\n{source}\n"
    )
    process = flask("chatbotkit-auth", "doctor", cwd=tmp_path)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 1
    assert out.startswith(f"failure  {name}")
    assert text in out
    assert "Traceback" not in err


# Whatever a look raises


def test_whatever_a_look_raises_is_a_finding(make_app: MakeApp, monkeypatch: pytest.MonkeyPatch) -> None:
    app = make_app()

    def fail(*_: object) -> None:
        raise ZeroDivisionError("the password is hunter2")

    monkeypatch.setattr(app.extensions["chatbotkit_auth"].store, "ping", fail)
    monkeypatch.setattr(app, "login_manager", property(fail))
    monkeypatch.setattr(app.extensions["chatbotkit_auth"], "mailer", None)
    app.extensions["mail"].suppress = False
    result = run(app, "doctor")
    assert result.exit_code == 1
    assert "Traceback" not in result.output
    assert "hunter2" not in result.output
    found = findings(app)
    assert found["store"] == ("failure", "the sign-in store failed (ZeroDivisionError)")
    assert found["mail"][0] == "failure"
    assert "AttributeError" in found["mail"][1]


# The API


def test_a_sub_accounts_secret_cannot_make_sub_accounts(make_app: MakeApp, chatbotkit_sandbox: Sandbox) -> None:
    parent = ChatBotKitClient("sk-test", chatbotkit_sandbox.url)
    user = chatbotkit_sandbox.add_user("ada@example.com")
    secret = parent.post(f"/user/{user['id']}/token/create")["token"]
    state, text = findings(make_app(CHATBOTKIT_API_SECRET=secret))["api"]
    assert state == "failure"
    assert "may not create sub-accounts" in text
    assert secret not in text


@pytest.mark.parametrize("adapter", ["partner", "contact"])
@pytest.mark.parametrize("people", [0, 1])
def test_the_try_to_create_changes_nothing(
    make_app: MakeApp, chatbotkit_sandbox: Sandbox, adapter: str, people: int
) -> None:
    for _ in range(people):
        chatbotkit_sandbox.add_user("ada@example.com")
        chatbotkit_sandbox.add_contact("ada@example.com")
    before = dict(chatbotkit_sandbox.users), dict(chatbotkit_sandbox.contacts)
    findings(make_app(CHATBOTKIT_AUTH_ADAPTER=adapter))
    assert (dict(chatbotkit_sandbox.users), dict(chatbotkit_sandbox.contacts)) == before


def test_a_deployment_that_ignores_the_filter_is_a_finding(make_app: MakeApp, chatbotkit_sandbox: Sandbox) -> None:
    chatbotkit_sandbox.fail("*/list", body='{"items": [{"id": "u1", "email": "eve@example.com"}], "cursor": "u1"}')
    state, text = findings(make_app())["api"]
    assert state == "warning"
    assert "ignores the filter" in text


def test_no_credentials_of_netrc_leave(
    make_app: MakeApp, chatbotkit_sandbox: Sandbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "netrc").write_text(
        "machine 127.0.0.1 login ada password hunter2\ndefault login ada password hunter2\n"
    )
    (tmp_path / "netrc").chmod(0o600)
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    assert findings(make_app())["clock"][0] == "ok"
    assert chatbotkit_sandbox.requests
    sent = {each.headers.get("Authorization") for each in chatbotkit_sandbox.requests}
    assert sent == {"Bearer sk-test", None}


# The application


@pytest.mark.parametrize("name", ["app", "wsgi", "main"])
def test_an_audience_that_others_have_is_a_finding(chatbotkit_sandbox: Sandbox, name: str) -> None:
    app = Flask(name)
    app.config.update(SOUND, TESTING=True, CHATBOTKIT_API_SECRET="sk-test", CHATBOTKIT_API_URL=chatbotkit_sandbox.url)
    app.config["CHATBOTKIT_AUTH_STORE_URL"] = "memory://"
    ChatBotKitAuth(app)
    state, text = findings(app)["configuration"]
    assert state == "warning"
    assert f'CHATBOTKIT_AUTH_AUDIENCE is left at "{name}"' in text


@pytest.mark.parametrize(
    "wrong",
    [
        {"SESSION_COOKIE_SECURE": False},
        {"SESSION_COOKIE_DOMAIN": "shop.example"},
        {"SESSION_COOKIE_PATH": "/shop"},
        {"APPLICATION_ROOT": "/shop"},
        {"REMEMBER_COOKIE_DOMAIN": "shop.example"},
    ],
    ids=str,
)
def test_a_host_cookie_that_no_browser_keeps_is_a_failure(make_app: MakeApp, wrong: dict[str, Any]) -> None:
    named = {"SESSION_COOKIE_NAME": "__Host-session", "REMEMBER_COOKIE_NAME": "__Host-remember_token"}
    state, text = findings(make_app(**{"SESSION_COOKIE_SECURE": True, **named, **wrong}))["cookies"]
    assert state == "failure"
    assert (
        f"{next(iter(wrong)).partition('_')[0].replace('APPLICATION', 'SESSION')}_COOKIE_NAME begins with __Host-"
        in text
    )


def test_cookies_that_a_neighbour_can_plant_are_a_finding(make_app: MakeApp) -> None:
    named = {"SESSION_COOKIE_NAME": "__Host-session", "REMEMBER_COOKIE_NAME": "__Host-remember"}
    state, text = findings(make_app(SESSION_COOKIE_SECURE=True))["cookies"]
    assert state == "warning"
    assert 'SESSION_COOKIE_NAME = "__Host-session"' in text
    assert "REMEMBER_COOKIE_NAME" in text
    assert findings(make_app(SESSION_COOKIE_SECURE=True, **named))["cookies"][0] == "ok"
    # Where the prefix is not allowed it is not recommended.
    assert (
        "__Host-" not in findings(make_app(SESSION_COOKIE_SECURE=True, SESSION_COOKIE_DOMAIN="a.example"))["cookies"][1]
    )


def test_a_proxy_is_looked_for(make_app: MakeApp) -> None:
    app = make_app()
    state, text = findings(app)["proxy"]
    assert state == "warning"
    assert "ProxyFix is not set" in text
    inner = app.wsgi_app
    app.wsgi_app = ProxyFix(inner, x_for=0)  # type: ignore[method-assign]
    assert "x_for=0" in findings(app)["proxy"][1]
    app.wsgi_app = ProxyFix(inner, x_for=2)  # type: ignore[method-assign]
    assert findings(app)["proxy"] == ("ok", "ProxyFix believes 2 of the addresses in X-Forwarded-For")


def test_limits_in_the_memory_of_each_worker_are_a_finding(make_app: MakeApp) -> None:
    state, text = findings(make_app(CHATBOTKIT_AUTH_RATE_LIMIT_STORAGE_URI="memory://"))["limits"]
    assert state == "warning"
    assert "memory://" in text
