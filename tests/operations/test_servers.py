"""A sign-in under every server that people run Flask with, eight people at once."""

from __future__ import annotations

import base64
import json
import threading
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from http.cookies import SimpleCookie
from pathlib import Path
from typing import Any

import pytest
from flask import Flask

from flask_chatbotkit_auth.testing import Sandbox
from tests.support.servers import Browser, Mailbox, gunicorn, mailbox
from tests.support.wsgi_servers import free_port, hypercorn, nginx, started, uwsgi, waitress

PEOPLE = 8


@pytest.fixture
def box() -> Iterator[Mailbox]:
    with mailbox() as box:
        yield box


@pytest.fixture
def settings(chatbotkit_sandbox: Sandbox, postgresql_url: str, box: Mailbox) -> dict[str, str]:
    return {
        "FLASK_SECRET_KEY": "served",
        "FLASK_MAIL_SERVER": "127.0.0.1",
        "FLASK_MAIL_PORT": str(box.port),
        "CHATBOTKIT_API_SECRET": "sk-test",
        "CHATBOTKIT_API_URL": chatbotkit_sandbox.url,
        "CHATBOTKIT_AUTH_AUTO_CREATE": "true",
        "CHATBOTKIT_AUTH_STORE_URL": postgresql_url,
        "CHATBOTKIT_AUTH_SESSION_CHECK": "0",
        "CHATBOTKIT_AUTH_RATE_LIMITS": '{"request:ip": null, "verify:ip": null}',
    }


def story(origin: str, box: Mailbox) -> None:
    """Sign eight people in at the same time; each must see themselves and nobody else, ten times over."""
    run = uuid.uuid4().hex[:8]
    barrier = threading.Barrier(PEOPLE)

    def person(number: int) -> None:
        email = f"person{number}-{run}@example.com"
        with Browser(origin, "127.0.0.1") as browser:
            barrier.wait()
            answer = browser.ask(email)
            assert answer.status_code == 200, answer.text
            assert browser.verify(box.codes(email)[-1]).status_code == 200
            assert {browser.email for _ in range(10)} == {email}
            assert browser.post("/auth/sign-out", {}).status_code == 200
            assert browser.email is None

    with ThreadPoolExecutor(PEOPLE) as pool:
        list(pool.map(person, range(PEOPLE)))


def no_traceback(log: Path) -> None:
    assert "Traceback" not in log.read_text()


@pytest.mark.servers
@pytest.mark.parametrize(
    "options",
    [
        ("-k", "sync"),
        ("-k", "gthread", "--threads", "4"),
        ("-k", "gevent"),
        ("-k", "gthread", "--threads", "4", "--preload"),
    ],
    ids=["sync", "gthread", "gevent", "preload"],
)
def test_gunicorn(tmp_path: Path, settings: dict[str, str], box: Mailbox, options: tuple[str, ...]) -> None:
    with gunicorn(tmp_path, settings, *options) as origin:
        story(origin, box)
    no_traceback(tmp_path / "gunicorn.log")


@pytest.mark.servers
@pytest.mark.parametrize("command", [waitress, hypercorn])
def test_another_server(
    tmp_path: Path, settings: dict[str, str], box: Mailbox, command: Callable[[int], list[str]]
) -> None:
    port = free_port()
    with started(command(port), port, tmp_path, settings) as origin:
        story(origin, box)
    no_traceback(tmp_path / "server.log")


@pytest.fixture
def programs(uwsgi_program: str, installed: Callable[[str], str]) -> tuple[str, str]:
    """The paths of uWSGI and of nginx, which stands in front of it."""
    return uwsgi_program, installed("nginx")


def under_uwsgi(folder: Path, settings: dict[str, str], box: Mailbox, programs: tuple[str, str], *options: str) -> None:
    port = free_port()
    with (
        started(uwsgi(programs[0], port, *options), port, folder, settings),
        nginx(programs[1], port, folder / "nginx") as origin,
    ):
        story(origin, box)
    no_traceback(folder / "server.log")


def test_uwsgi(tmp_path: Path, settings: dict[str, str], box: Mailbox, programs: tuple[str, str]) -> None:
    under_uwsgi(tmp_path, settings, box, programs)


@pytest.mark.servers
def test_uwsgi_with_an_application_for_each_worker(
    tmp_path: Path, settings: dict[str, str], box: Mailbox, programs: tuple[str, str]
) -> None:
    under_uwsgi(tmp_path, settings, box, programs, "--lazy-apps")


# A function as a service


@pytest.mark.servers
def test_a_lambda_behind_an_api_gateway(app: Flask, chatbotkit_outbox: Any) -> None:
    from apig_wsgi import make_lambda_handler

    handler = make_lambda_handler(app)
    jar: dict[str, str] = {}

    def call(method: str, path: str, body: object = None, **headers: str) -> Any:
        event = {
            "version": "2.0",
            "rawPath": path,
            "rawQueryString": "",
            "cookies": [f"{name}={value}" for name, value in jar.items()],
            "headers": {"host": "shop.example", "accept": "application/json", **headers},
            "requestContext": {
                "http": {"protocol": "HTTP/1.1", "method": method, "path": path, "sourceIp": "203.0.113.7"}
            },
            "isBase64Encoded": False,
        }
        if body is not None:
            event["headers"]["content-type"] = "application/json"  # type: ignore[index]
            event["body"] = json.dumps(body)
        answer = handler(event, None)
        for line in answer.get("cookies", ()):
            jar.update({name: morsel.value for name, morsel in SimpleCookie(line).items()})
        text = answer["body"]
        return json.loads(base64.b64decode(text) if answer.get("isBase64Encoded") else text)

    token = {"x-csrftoken": call("GET", "/auth/session")["csrf_token"]}
    assert "challenge" in call("POST", "/auth/sign-in", {"email": "ada@example.com"}, **token)
    code = chatbotkit_outbox[-1].subject.split()[0]
    assert call("POST", "/auth/verify", {"code": code}, **token)["user"]["email"] == "ada@example.com"
    assert call("GET", "/auth/session")["user"]["email"] == "ada@example.com"
