"""The example application as a demo, and as the process that the README starts.

What it does as a product its own tests tell, in ``example_app/tests``.
"""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import requests
from flask import Flask
from flask_mail import Message
from werkzeug.test import TestResponse

import example_app
from example_app.demo import MAILS_KEPT, SECRET
from flask_chatbotkit_auth.testing import Sandbox
from tests.support.screenshots import demo_of
from tests.support.serving import served
from tests.support.wsgi_servers import free_port

SignIn = Callable[..., TestResponse]
HELLO = {"messages": [{"type": "user", "text": "Hello"}]}
INLINE = re.compile(r"<style|\sstyle=|\son\w+=|<script(?![^>]*\ssrc=)|javascript:", re.IGNORECASE)


pytestmark = pytest.mark.usefixtures("bare_environment")


@pytest.fixture(params=["partner", "contact"])
def kind(request: pytest.FixtureRequest, bare_environment: None, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setenv("CHATBOTKIT_AUTH_ADAPTER", request.param)
    return str(request.param)


@pytest.fixture
def app(tmp_path: Path, bare_environment: None) -> Iterator[Flask]:
    app = example_app.create_app(str(tmp_path), DEMO=True)
    yield app
    sandbox_of(app).stop()


def sandbox_of(app: Flask) -> Sandbox:
    sandbox = demo_of(app).sandbox
    assert sandbox
    return sandbox


# The pages


def test_the_people_who_are_there_are_known(kind: str, app: Flask, sign_in: SignIn) -> None:
    client = app.test_client()
    sign_in(client, "ada@example.com")
    assert "Hello, Ada." in client.get("/dashboard").text
    assert client.get("/auth/account").status_code == 200
    assert len(sandbox_of(app).users) == len(sandbox_of(app).contacts) == 2


def test_the_chat_is_guarded(app: Flask, sign_in: SignIn) -> None:
    client = app.test_client()
    assert client.post("/chat", json=HELLO).status_code == 400
    sign_in(client, "ada@example.com")
    before = len(sandbox_of(app).requests)
    assert client.post("/chat", json=HELLO).status_code == 400
    token = client.get("/auth/session").get_json()["csrf_token"]
    response = client.post("/chat/c1", json={"messages": []}, headers={"X-CSRFToken": token})
    assert response.get_json()["error"]["code"] == "invalid_messages"
    assert len(sandbox_of(app).requests) == before


def test_pages_are_safe_by_their_headers_and_hold_nothing_inline(app: Flask, sign_in: SignIn) -> None:
    client = app.test_client()
    sign_in(client, "ada@example.com")
    for path in ("/", "/dashboard", "/dashboard?conversation=new", "/history", "/admin", "/auth/account", "/inbox"):
        page = client.get(path)
        assert page.status_code == 200
        assert "unsafe" not in page.headers["Content-Security-Policy"]
        assert page.headers["Cache-Control"] == "no-store"
        assert not INLINE.search(page.text)
    with client.get("/static/app.css") as style:
        assert "no-store" not in style.headers["Cache-Control"]


# The demo


def test_the_home_page_shows_both_modes_and_the_calls_of_each_step(kind: str, app: Flask, sign_in: SignIn) -> None:
    client = app.test_client()
    page = client.get("/").text
    assert page.count("ada@example.com</bdi>") == page.count("ben@example.com</bdi>") == 2
    assert re.search(rf'id="{kind}">\w+ <span class="badge">you are here', page)
    sign_in(client, "eve@example.com")
    client.get("/dashboard")
    opened, typed, asked = demo_of(app).steps
    assert (opened.title, opened.calls) == ("Opened the dashboard", [])
    resource = "user" if kind == "partner" else "contact"
    assert (typed.title, typed.calls[:2]) == ("Typed a code", [f"GET /{resource}/list", f"POST /{resource}/create"])
    assert ("POST /bot/create" in typed.calls) is (kind == "partner")
    assert (asked.title, asked.calls) == ("Asked for a code", [])
    page = client.get("/").text
    assert f"{len(typed.calls)} calls" in page
    assert "<bdi>eve@example.com</bdi> <span" in page


def test_both_modes_run_side_by_side_in_one_browser(kind: str, app: Flask) -> None:
    other = {"partner": "contact", "contact": "partner"}[kind]
    with served(app) as origin, requests.Session() as browser:
        homes = {kind: origin, other: f"{origin}/{other}"}
        emails = {kind: "eve@example.com", other: "zoe@example.com"}
        for each in (kind, other):
            sign_in_over_http(homes[each], emails[each], browser)
        for each in (kind, other):
            assert f"Hello, {emails[each]}." in browser.get(f"{homes[each]}/dashboard", timeout=30).text
            page = browser.get(f"{homes[each]}/", timeout=30).text
            assert re.search(rf'id="{each}">\w+ <span class="badge">you are here', page)
            assert all(f"<bdi>{email}</bdi>" in page for email in emails.values())
            invitation = re.search(r'href="([^"]+)">Try it as', page)
            assert invitation
            assert origin + invitation.group(1) == f"{homes[other if each == kind else kind]}/"
    made = {step.kind: step.calls[:2] for step in demo_of(app).steps if step.title == "Typed a code"}
    assert made == {
        "partner": ["GET /user/list", "POST /user/create"],
        "contact": ["GET /contact/list", "POST /contact/create"],
    }
    assert len(sandbox_of(app).users) == len(sandbox_of(app).contacts) == 3


def test_what_was_refused_is_no_step(app: Flask) -> None:
    client = app.test_client()
    token = client.get("/auth/session").get_json()["csrf_token"]
    client.post("/auth/sign-in", json={"email": "nobody"}, headers={"X-CSRFToken": token})
    assert not demo_of(app).steps


def test_the_inbox_shows_the_mails_newest_first(app: Flask, sign_in: SignIn) -> None:
    client = app.test_client()
    assert "No mail yet" in client.get("/inbox").text
    assert client.get("/inbox/latest").get_json() == {"latest": ""}
    sign_in(client, "ada@example.com")
    sign_in(app.test_client(), "ben@example.com")
    page = client.get("/inbox").text
    assert page.index("ben@example.com") < page.index("ada@example.com")
    ids = re.findall(r'src="/inbox/(\d+)"', page)
    assert client.get("/inbox/latest").get_json() == {"latest": ids[0]}
    frame = client.get(f"/inbox/{ids[0]}")
    assert "New sign-in to Parley" in frame.text, "Ben had an account, and this browser is new to him"
    assert "is your Parley sign-in code" in client.get(f"/inbox/{ids[1]}").text
    assert "sandbox" in frame.headers["Content-Security-Policy"]
    assert "script-src" not in frame.headers["Content-Security-Policy"]
    assert frame.headers["X-Frame-Options"] == "SAMEORIGIN"
    assert client.get("/inbox/1").status_code == 404


def test_the_inbox_does_not_grow_without_end_and_starts_empty(app: Flask, tmp_path: Path) -> None:
    for number in range(MAILS_KEPT + 2):
        message = Message(subject=str(number), recipients=["ada@example.com"], sender="a@example.com")
        with app.app_context():
            demo_of(app).keep(app, message=message)
    subjects = [mail.message["Subject"] for mail in demo_of(app).mails()]
    assert subjects == [str(number) for number in range(MAILS_KEPT + 1, 1, -1)]
    another = example_app.create_app(str(tmp_path))
    assert demo_of(another).mails() == []
    sandbox_of(another).stop()


@pytest.mark.parametrize(
    ("address", "headers"),
    [
        ("192.0.2.7", {}),
        ("127.0.0.1", {"Host": "rebound.example"}),
        ("127.0.0.1", {"X-Forwarded-For": "192.0.2.7"}),
        ("127.0.0.1", {"Forwarded": "for=192.0.2.7"}),
        ("127.0.0.1", {"X-Forwarded-Proto": "https"}),
        ("127.0.0.1", {"X-Real-IP": "192.0.2.7"}),
        ("127.0.0.1", {"Via": "1.1 proxy"}),
    ],
)
def test_the_inbox_is_for_nobody_else(app: Flask, sign_in: SignIn, address: str, headers: dict[str, str]) -> None:
    client = app.test_client()
    sign_in(client, "ada@example.com")
    id = demo_of(app).mails()[0].id
    for path in ("/inbox", "/inbox/latest", f"/inbox/{id}"):
        assert client.get(path).status_code == 200
        assert client.get(path, headers=headers, environ_base={"REMOTE_ADDR": address}).status_code == 404
    home = client.get("/", headers=headers, environ_base={"REMOTE_ADDR": address})
    assert home.status_code == 200
    assert "ada@example.com" not in home.text


@pytest.mark.parametrize("switch", [None, "debug", "FLASK_DEMO"])
def test_the_inbox_needs_a_switch(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    sign_in: SignIn,
    capsys: pytest.CaptureFixture[str],
    switch: str | None,
) -> None:
    # A secret that is lost in production leads here, behind a proxy that shows in no header.
    monkeypatch.setenv("FLASK_DEBUG" if switch == "debug" else "FLASK_DEMO", "1" if switch else "0")
    app = example_app.create_app(str(tmp_path))
    try:
        client = app.test_client()
        sign_in(client, "eve@example.com")
        for path in ("/inbox", "/inbox/latest"):
            assert client.get(path).status_code == (200 if switch else 404)
            assert client.get(path, environ_overrides={"SERVER_PROTOCOL": "HTTP/1.0"}).status_code == 404
        assert client.get("/contact/inbox").status_code == (200 if switch else 404)
        assert ("set FLASK_DEMO=1" in capsys.readouterr().err) == (switch is None)
    finally:
        sandbox_of(app).stop()


def test_ipv6_is_this_machine_too(app: Flask) -> None:
    client = app.test_client()
    page = client.get("/inbox", headers={"Host": "[::1]:5000"}, environ_base={"REMOTE_ADDR": "::1"})
    assert page.status_code == 200


def test_with_a_secret_there_is_no_demo(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, chatbotkit_sandbox: Sandbox, sign_in: SignIn
) -> None:
    monkeypatch.setenv("SECRET_KEY", "not a secret")
    monkeypatch.setenv("CHATBOTKIT_API_SECRET", "sk-test")
    monkeypatch.setenv("CHATBOTKIT_API_URL", chatbotkit_sandbox.url)
    monkeypatch.setenv("FLASK_MAIL_SUPPRESS_SEND", "true")
    client = example_app.create_app(str(tmp_path)).test_client()
    sign_in(client, "ada@example.com")
    assert client.get("/inbox").status_code == 404
    assert "demo" not in client.get("/").text
    assert "Hello, ada@example.com" in client.get("/dashboard").text
    assert [user["email"] for user in chatbotkit_sandbox.users.values()] == ["ada@example.com"]


def test_what_the_sandbox_command_says_to_export_is_a_demo_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, sign_in: SignIn
) -> None:
    with Sandbox(SECRET) as sandbox:
        monkeypatch.setenv("SECRET_KEY", "not a secret")
        monkeypatch.setenv("CHATBOTKIT_API_SECRET", SECRET)
        monkeypatch.setenv("CHATBOTKIT_API_URL", sandbox.url)
        client = example_app.create_app(str(tmp_path), DEMO=True).test_client()
        sign_in(client, "eve@example.com")
        assert "eve@example.com" in client.get("/inbox").text
        assert "This is a demo" in client.get("/").text
        assert len(sandbox.users) == 1


def test_a_missing_secret_key_is_told_at_the_start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CHATBOTKIT_API_SECRET", "sk-test")
    with pytest.raises(RuntimeError, match="SECRET_KEY"):
        example_app.create_app(str(tmp_path))


# The process


@contextmanager
def started(*command: str, cwd: Path, env: dict[str, str] | None = None) -> Iterator[str]:
    """Run a server in a bare environment until the end of the block, and give the origin that it names."""
    bin = str(Path(sys.executable).parent)
    process = subprocess.Popen(
        [f"{bin}/{command[0]}", *command[1:]],
        cwd=cwd,
        env={"PATH": f"{bin}:/usr/bin:/bin", "FLASK_DEMO": "1", **(env or {})},
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    with process:
        assert process.stderr
        watchdog = threading.Timer(60, os.killpg, (process.pid, signal.SIGKILL))
        watchdog.start()
        try:
            lines = []
            for line in process.stderr:
                lines.append(line)
                found = re.search(r"(?:Running on|Listening at:) (http://127\.0\.0\.1:\d+)", line)
                if found:
                    yield found.group(1)
                    return
            pytest.fail("the server did not start:\n" + "".join(lines))
        finally:
            watchdog.cancel()
            # With its children: reloaders and masters leave theirs behind.
            os.killpg(process.pid, signal.SIGKILL)


def sign_in_over_http(origin: str, email: str, browser: requests.Session | None = None) -> requests.Session:
    """Sign in as a person does who reads the inbox page."""
    session = browser or requests.Session()

    def post(path: str, body: Any) -> requests.Response:
        token = session.get(f"{origin}/auth/session", timeout=30).json()["csrf_token"]
        response = session.post(f"{origin}{path}", json=body, headers={"X-CSRFToken": token}, timeout=30)
        assert response.status_code == 200, response.text
        return response

    post("/auth/sign-in", {"email": email})
    code = re.search(r"(\w+) is your Parley sign-in code", session.get(f"{origin}/inbox", timeout=30).text)
    assert code
    user = post("/auth/verify", {"code": code.group(1)}).json()["user"]
    assert user["email"] == email
    assert '"result"' in post("/chat", HELLO).text
    return session


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A folder with nothing in it but the example."""
    shutil.copytree(Path(example_app.__file__).parent, tmp_path / "example_app")
    return tmp_path


@pytest.mark.parametrize("options", [(), ("--debug",)], ids=["plain", "with the reloader"])
def test_one_command_gives_a_working_product(checkout: Path, options: tuple[str, ...]) -> None:
    with (
        started("flask", "--app", "example_app", "run", "--port", "0", *options, cwd=checkout) as origin,
        sign_in_over_http(origin, "eve@example.com") as session,
    ):
        assert "Hello, eve@example.com" in session.get(f"{origin}/dashboard", timeout=30).text
    assert {path.name for path in checkout.iterdir()} == {"example_app", "instance"}


def test_the_address_that_flask_prints_leads_to_the_one_that_mails_and_passkeys_name(checkout: Path) -> None:
    port = free_port()
    command = ("flask", "--app", "example_app", "run", "--port", str(port))
    with started(*command, cwd=checkout) as origin, requests.Session() as browser:
        assert origin == f"http://127.0.0.1:{port}"
        browser.headers["Accept"] = "text/html"
        for path in ("/auth/account", "/dashboard"):
            assert browser.get(f"{origin}{path}", timeout=30).url.startswith(
                f"http://localhost:{port}/auth/sign-in?next="
            )
        for path in ("/contact/auth/sign-in?next=/dashboard", "/auth/sign-in?next=/dashboard"):
            page = browser.get(f"{origin}{path}", timeout=30)
            assert page.url == f"http://localhost:{port}{path}"
        token = re.search(r'name="csrf_token"[^>]*value="([^"]+)"', page.text)
        assert token
        body = {"email": "eve@example.com", "csrf_token": token.group(1)}
        browser.post(page.url, data=body, timeout=30).raise_for_status()
        newest = browser.get(f"http://localhost:{port}/inbox/latest", timeout=30).json()["latest"]
        mail = browser.get(f"http://localhost:{port}/inbox/{newest}", timeout=30).text
        link = re.search(r'href="([^"]+/auth/link\?t=[^"]+)"', mail)
        assert link
        asked = browser.get(link.group(1), timeout=30).text
        assert "Sign in to Parley as e•••@example.com?" in re.sub("<[^>]+>", "", asked)


def test_workers_share_a_sandbox_that_was_started_apart(checkout: Path) -> None:
    command = ("gunicorn", "--workers", "4", "--bind", "127.0.0.1:0", "example_app:create_app()")
    with Sandbox(SECRET) as sandbox:
        env = {"SECRET_KEY": "not a secret", "CHATBOTKIT_API_URL": sandbox.url}
        with started(*command, cwd=checkout, env=env) as origin:
            for number in range(3):
                with sign_in_over_http(origin, f"eve{number}@example.com") as session:
                    for _ in range(8):
                        page = session.get(f"{origin}/dashboard", timeout=30, allow_redirects=False)
                        assert page.status_code == 200
        assert len(sandbox.users) == 3
