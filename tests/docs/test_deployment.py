"""The deployment of the documentation, file by file: gunicorn with its own settings, PostgreSQL, Redis, nginx, a new key."""

from __future__ import annotations

import socket
import subprocess
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import requests

from flask_chatbotkit_auth.stores import open_store
from flask_chatbotkit_auth.testing import Sandbox
from tests.support.certificates import self_signed
from tests.support.samples import files, replay, sample, written_in
from tests.support.servers import Browser, Mailbox, gunicorn, mailbox

ADA = f"ada-{uuid.uuid4().hex[:8]}@example.com"  # the counts of an earlier run may still be in Redis
CLIENT = "127.0.0.9"

Settings = dict[str, str]


@pytest.fixture
def box() -> Iterator[Mailbox]:
    with mailbox() as box:
        yield box


@pytest.fixture
def settings(chatbotkit_sandbox: Sandbox, postgresql_url: str, redis_url: str, box: Mailbox) -> Settings:
    """What the configuration of the page leaves to the environment, and a mail server that takes mail without ado."""
    return {
        "SECRET_KEY": "0123456789abcdef",
        "CHATBOTKIT_API_SECRET": "sk-test",
        "CHATBOTKIT_API_URL": chatbotkit_sandbox.url,
        "DATABASE_URL": postgresql_url,
        "REDIS_URL": redis_url,
        "CHATBOTKIT_AUTH_RATE_LIMITS": '{"request:ip": null, "verify:ip": null}',
        "MAIL_PASSWORD": "none",
        "FLASK_MAIL_SERVER": "127.0.0.1",
        "FLASK_MAIL_PORT": str(box.port),
        "FLASK_MAIL_USE_TLS": "false",
        "FLASK_MAIL_USERNAME": "null",
        "FLASK_MAIL_PASSWORD": "null",
    }


@contextmanager
def deployed(folder: Path, settings: Settings) -> Iterator[str]:
    """Write the files of the page and start them, at a free port."""
    files(folder, "deploy-")
    with gunicorn(folder, settings, app="shop:create_app()", folder=folder) as origin:
        yield origin
    assert "Traceback" not in (folder / "gunicorn.log").read_text()


@contextmanager
def nginx(program: str, folder: Path, upstream: str) -> Iterator[tuple[str, Path]]:
    """Serve the page's own server block over TLS in front of ``upstream``; give its origin and certificate."""
    certificate, key = self_signed(folder, "shop.example", "127.0.0.1")
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    (block,) = written_in("nginx")
    server = (
        block.code.replace("listen 443 ssl", f"listen 127.0.0.1:{port} ssl")
        .replace("/etc/ssl/shop.example.pem", str(certificate))
        .replace("/etc/ssl/shop.example.key", str(key))
        .replace("http://127.0.0.1:8000", upstream)
    )
    places = "".join(
        f"{each}_temp_path {folder / each};" for each in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    (folder / "nginx.conf").write_text(
        f"pid {folder}/nginx.pid; error_log {folder}/error.log;\n"
        f"events {{}}\nhttp {{ access_log off; {places}\n{server}\n}}\n"
    )
    command = [program, "-c", str(folder / "nginx.conf"), "-e", str(folder / "error.log"), "-p", str(folder)]
    # It listens by the time that this returns, and goes on in the background.
    started = subprocess.run(command, capture_output=True, text=True, check=False)
    assert started.returncode == 0, started.stderr
    try:
        yield f"https://127.0.0.1:{port}", certificate
    finally:
        subprocess.run([*command, "-s", "stop"], check=True)


class BehindAProxy(Browser):
    """A browser whose requests look as they do after the page's proxy. It sends back cookies that are ``Secure``."""

    def __init__(self, origin: str) -> None:
        super().__init__(origin, "127.0.0.1")
        forwarded = {"X-Forwarded-For": CLIENT, "X-Forwarded-Proto": "https", "X-Forwarded-Host": "shop.example"}
        self.session.headers.update({"Referer": "https://shop.example/", **forwarded})

    def send(self, method: str, path: str, **how: Any) -> requests.Response:
        answer = super().send(method, path, **how)
        assert all(cookie.secure for cookie in answer.cookies)
        for cookie in self.session.cookies:
            cookie.secure = False
        return answer


def sign_in(browser: Browser, box: Mailbox) -> None:
    answer = browser.ask(ADA)
    assert answer.status_code == 200, answer.text
    assert browser.verify(box.codes(ADA)[-1]).status_code == 200
    assert browser.get("/dashboard").text == f"Hello {ADA}"


def client_of_the_session(settings: Settings, sandbox: Sandbox) -> str | None:
    """Return the address that the one session of the one user is noted with."""
    (user,) = sandbox.users
    store = open_store(settings["DATABASE_URL"])
    (session,) = store.list_sessions(user, now=datetime.now(UTC))
    store.close()
    return session.ip


def test_the_deployment_signs_in_and_outlives_a_restart_and_a_new_key(
    tmp_path: Path, settings: Settings, box: Mailbox, chatbotkit_sandbox: Sandbox
) -> None:
    with deployed(tmp_path, settings) as origin, BehindAProxy(origin) as browser:
        sign_in(browser, box)
        # The client is who the proxy says, and the link is to the site as people know it.
        assert client_of_the_session(settings, chatbotkit_sandbox) == CLIENT
        (text,) = (part for part in box.to(ADA)[0].walk() if part.get_content_type() == "text/plain")
        assert "https://shop.example/auth/sign-in" in str(text.get_payload(decode=True))
        browser.session.headers["X-Forwarded-Host"] = "evil.example"
        assert browser.get("/auth/sign-in").status_code == 400
        browser.session.headers["X-Forwarded-Host"] = "shop.example"
        cookies = browser.cookies

    settings.update(SECRET_KEY="fedcba9876543210", OLD_SECRET_KEYS="0123456789abcdef another")
    with deployed(tmp_path, settings) as origin, BehindAProxy(origin) as browser:
        browser.cookies = cookies
        assert browser.email == ADA

    del settings["OLD_SECRET_KEYS"]
    with deployed(tmp_path, settings) as origin, BehindAProxy(origin) as browser:
        browser.cookies = cookies
        assert browser.email is None


def test_the_deployment_signs_in_through_nginx(
    tmp_path: Path,
    settings: Settings,
    box: Mailbox,
    chatbotkit_sandbox: Sandbox,
    installed: Callable[[str], str],
) -> None:
    # What a client claims of itself does not get past the proxy.
    claims = {"X-Forwarded-For": "203.0.113.9", "X-Forwarded-Host": "evil.example", "X-Forwarded-Proto": "http"}
    own = {"Host": "shop.example", "Referer": "https://shop.example/"}
    with (
        deployed(tmp_path, settings) as upstream,
        nginx(installed("nginx"), tmp_path, upstream) as (origin, certificate),
        Browser(origin) as browser,
    ):
        browser.session.verify = str(certificate)
        browser.session.headers.update({**claims, **own})
        sign_in(browser, box)
    assert client_of_the_session(settings, chatbotkit_sandbox) == "127.0.0.1"


def test_the_doctor_says_what_the_page_shows(tmp_path: Path, settings: Settings) -> None:
    files(tmp_path, "deploy-")
    settings["SECRET_KEY"] = uuid.uuid4().hex
    del settings["CHATBOTKIT_AUTH_RATE_LIMITS"]
    replay(sample("console-doctor"), tmp_path, **settings)
