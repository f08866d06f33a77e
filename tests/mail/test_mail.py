"""Mails over real SMTP: what arrives, and what happens when the server does not take it."""

from __future__ import annotations

import logging
import pickle
import socket
import threading
import uuid
from email.parser import BytesParser
from email.policy import default
from importlib.metadata import version
from typing import Any

import pytest
from flask import Flask, Request
from flask.testing import FlaskClient
from flask_mail import Message as Mail
from flask_mail import email_dispatched
from redis import Redis
from rq import Queue, SimpleWorker

from flask_chatbotkit_auth import MailError, current_auth
from flask_chatbotkit_auth.mail import smtp
from flask_chatbotkit_auth.mail.verification import VerificationRequest
from flask_chatbotkit_auth.testing import Sandbox
from tests.support.apps import Clock, MakeApp
from tests.support.mail import MailServer, text_of
from tests.support.steps import post


def _request_code(client: FlaskClient, email: str = "ada@example.com") -> Any:
    return post(client, "/auth/sign-in", {"email": email})


def test_a_code_arrives_as_text_and_html(make_app: MakeApp, mail_server: tuple[MailServer, dict[str, Any]]) -> None:
    server, config = mail_server
    app = make_app(CHATBOTKIT_AUTH_SITE_NAME="Ada & Söhne", CHATBOTKIT_AUTH_MAIL_SENDER="hello@shop.example", **config)
    client = app.test_client()
    agent = "Mozilla/5.0 (Linux; Android 14) Chrome/126.0 Mobile Safari/537.36"
    token = client.get("/auth/session").get_json()["csrf_token"]
    headers = {"X-CSRFToken": token, "User-Agent": agent}
    assert client.post("/auth/sign-in", json={"email": "Ada@Example.com"}, headers=headers).status_code == 200
    (message,) = server.mails
    code = message["Subject"].split()[0]
    assert len(code) == 6
    assert message["Subject"] == f"{code} is your Ada & Söhne sign-in code"
    assert (message["To"], message["From"]) == ("ada@example.com", "hello@shop.example")
    assert server.recipients == [["ada@example.com"]]
    assert message["Auto-Submitted"] == "auto-generated"
    assert message["Message-ID"].endswith("@shop.example>"), "the machine's own name is nobody's business"
    assert message["Reply-To"] is None
    text, html = text_of(message, "plain"), text_of(message, "html")
    for body in (text, html):
        assert code in body
        assert "10 minutes" in body
        assert "Chrome on Android" in body
    assert text.startswith(code)
    assert "Ada &amp; Söhne" in html
    assert client.post("/auth/verify", json={"code": code}, headers=headers).status_code == 200


def test_a_mail_wears_the_brand(make_app: MakeApp, mail_server: tuple[MailServer, dict[str, Any]]) -> None:
    server, config = mail_server
    app = make_app(
        CHATBOTKIT_AUTH_MAIL_SENDER="Shop <hello@süd.example>",
        CHATBOTKIT_AUTH_MAIL_REPLY_TO="help@shop.example",
        CHATBOTKIT_AUTH_MAIL_COLOR="#0f766e",
        CHATBOTKIT_AUTH_LOGO_URL="https://shop.example/logo.png",
        **config,
    )
    _request_code(app.test_client())
    (message,) = server.mails
    assert message["Reply-To"] == "help@shop.example"
    assert message["Message-ID"].endswith("@xn--sd-xka.example>")
    html = text_of(message, "html")
    assert 'bgcolor="#0f766e"' in html
    assert html.count("https://shop.example/logo.png") == 1
    assert html.count("http") == 1, "nothing else is loaded that could tell that the mail was opened"


@pytest.mark.parametrize("name", ["A shop " + "of many words " * 90, "Ein Geschäft " * 9], ids=["ascii", "umlauts"])
def test_a_long_name_is_folded_and_reads_as_it_was(make_app: MakeApp, chatbotkit_outbox: list[Any], name: str) -> None:
    app = make_app(CHATBOTKIT_AUTH_SITE_NAME=name)
    assert _request_code(app.test_client()).status_code == 200
    with app.app_context():
        sent = chatbotkit_outbox[0].as_bytes()
    headers = sent.partition(b"\r\n\r\n")[0]
    assert headers.isascii()
    assert max(len(line) for line in headers.split(b"\r\n")) <= 998  # RFC 5322, 2.1.1
    message = BytesParser(policy=default).parsebytes(sent)
    assert message["Subject"].split()[1:] == f"is your {name} sign-in code".split()


def test_a_name_with_a_line_break_adds_no_header(
    make_app: MakeApp, mail_server: tuple[MailServer, dict[str, Any]]
) -> None:
    server, config = mail_server
    app = make_app(CHATBOTKIT_AUTH_SITE_NAME="Shop\r\nBcc: eve@example.com\n<b>", **config)
    assert _request_code(app.test_client()).status_code == 200
    (message,) = server.mails
    assert message["Bcc"] is None
    assert message["Subject"].endswith("is your Shop Bcc: eve@example.com <b> sign-in code")
    assert "<b>" not in text_of(message, "html")


def test_a_code_is_never_a_link(make_app: MakeApp, mail_server: tuple[MailServer, dict[str, Any]]) -> None:
    server, config = mail_server
    app = make_app(**config)
    _request_code(app.test_client())
    code = server.mails[0]["Subject"].split()[0]
    for kind in ("plain", "html"):
        for line in text_of(server.mails[0], kind).splitlines():
            assert not ("http" in line and code in line)


def test_the_host_header_gets_into_no_mail(make_app: MakeApp, mail_server: tuple[MailServer, dict[str, Any]]) -> None:
    server, config = mail_server
    client = make_app(**config).test_client()
    token = client.get("/auth/session", headers={"Host": "evil.example"}).get_json()["csrf_token"]
    client.post(
        "/auth/sign-in", json={"email": "ada@example.com"}, headers={"Host": "evil.example", "X-CSRFToken": token}
    )
    (message,) = server.mails
    assert "evil.example" not in message.as_string()
    assert "evil.example" not in text_of(message, "html")


def test_with_a_known_name_the_mail_says_where_to_start_again(
    make_app: MakeApp, mail_server: tuple[MailServer, dict[str, Any]]
) -> None:
    server, config = mail_server
    app = make_app(SERVER_NAME="shop.example", **config)
    _request_code(app.test_client())
    assert "http://shop.example/auth/sign-in" in text_of(server.mails[0], "plain")
    assert server.mails[0]["From"] == "no-reply@shop.example"


def test_an_unknown_address_gets_no_mail(make_app: MakeApp, mail_server: tuple[MailServer, dict[str, Any]]) -> None:
    server, config = mail_server
    app = make_app(CHATBOTKIT_AUTH_AUTO_CREATE=False, **config)
    assert _request_code(app.test_client()).status_code == 200
    assert server.mails == []
    assert server.connections == 1, "the mail server is asked all the same, so that an outage shows in no other way"


def test_an_unknown_address_can_be_told(make_app: MakeApp, mail_server: tuple[MailServer, dict[str, Any]]) -> None:
    server, config = mail_server
    app = make_app(CHATBOTKIT_AUTH_AUTO_CREATE=False, CHATBOTKIT_AUTH_UNKNOWN_USER="mail", **config)
    assert _request_code(app.test_client()).status_code == 200
    (message,) = server.mails
    assert message["To"] == "ada@example.com"
    assert "There is no Shop account for ada@example.com" in text_of(message, "plain")


@pytest.mark.parametrize("auto_create", [True, False])
def test_a_dead_mail_server_is_told_and_resend_works(
    make_app: MakeApp,
    mail_server: tuple[MailServer, dict[str, Any]],
    chatbotkit_sandbox: Sandbox,
    auto_create: bool,
    caplog: pytest.LogCaptureFixture,
) -> None:
    server, config = mail_server
    chatbotkit_sandbox.add_user("ada@example.com")
    server.refusal = "451 come back later"
    client = make_app(CHATBOTKIT_AUTH_AUTO_CREATE=auto_create, **config).test_client()
    answer = _request_code(client)
    assert (answer.status_code, answer.get_json()["error"]["code"]) == (503, "mail_unavailable")
    assert "MAIL_SERVER" in caplog.text
    assert "ada@" not in caplog.text
    server.refusal = None
    again = post(client, "/auth/resend", {})
    assert again.status_code == 200
    code = server.mails[0]["Subject"].split()[0]
    assert post(client, "/auth/verify", {"code": code}).status_code == 200


@pytest.mark.parametrize("known", [True, False])
def test_a_mail_server_that_is_gone_answers_alike_for_all(
    make_app: MakeApp, chatbotkit_sandbox: Sandbox, known: bool
) -> None:
    if known:
        chatbotkit_sandbox.add_user("ada@example.com")
    app = make_app(CHATBOTKIT_AUTH_AUTO_CREATE=False, MAIL_SERVER="127.0.0.1", MAIL_PORT=1, MAIL_SUPPRESS_SEND=False)
    answer = _request_code(app.test_client())
    assert (answer.status_code, answer.get_json()["error"]["code"]) == (503, "mail_unavailable")


@pytest.mark.parametrize("refusal", ["451 come back later", "550 no such mailbox", "452 full"])
def test_a_recipient_that_is_refused_is_refused_whoever_it_is(
    make_app: MakeApp, mail_server: tuple[MailServer, dict[str, Any]], chatbotkit_sandbox: Sandbox, refusal: str
) -> None:
    server, config = mail_server
    server.refusal = refusal
    chatbotkit_sandbox.add_user("ada@example.com")
    app = make_app(CHATBOTKIT_AUTH_AUTO_CREATE=False, **config)
    for email in ("ada@example.com", "eve@example.com"):
        answer = _request_code(app.test_client(), email)
        assert (answer.status_code, answer.get_json()["error"]["code"]) == (503, "mail_unavailable")
    assert server.mails == []


def test_the_failure_of_a_mail_quotes_nobody(make_app: MakeApp, mail_server: tuple[MailServer, dict[str, Any]]) -> None:
    server, config = mail_server
    server.refusal = "550 no such mailbox: ada@example.com"
    app = make_app(**config)
    auth = app.extensions["chatbotkit_auth"]
    with app.test_request_context(), pytest.raises(MailError) as failed:
        auth.mailer.send_code(VerificationRequest(identifier="ada@example.com", code="3f9a2c", expires_at=auth.clock()))
    assert "ada" not in f"{failed.value} {failed.value!r}"
    assert failed.value.__cause__ is None
    assert failed.value.__suppress_context__


@pytest.mark.parametrize("sender", ["no-reply@b..é", "no-reply@shop.example\nBcc: eve@example.com"])
def test_a_sender_that_cannot_be_one_answers_alike_for_all(
    make_app: MakeApp, mail_server: tuple[MailServer, dict[str, Any]], chatbotkit_sandbox: Sandbox, sender: str
) -> None:
    server, config = mail_server
    chatbotkit_sandbox.add_user("ada@example.com")
    app = make_app(CHATBOTKIT_AUTH_AUTO_CREATE=False, MAIL_DEFAULT_SENDER=sender, **config)
    for email in ("ada@example.com", "nobody@example.com"):
        answer = _request_code(app.test_client(), email)
        assert (answer.status_code, answer.get_json()["error"]["code"]) == (503, "mail_unavailable")
    assert server.mails == []


def test_a_sender_given_as_a_pair_keeps_its_name(
    make_app: MakeApp, mail_server: tuple[MailServer, dict[str, Any]]
) -> None:
    server, config = mail_server
    app = make_app(MAIL_DEFAULT_SENDER=("Shop, Inc", "no-reply@shop.example"), **config)
    assert _request_code(app.test_client()).status_code == 200
    (message,) = server.mails
    (sender,) = message["From"].addresses
    assert (sender.display_name, sender.addr_spec) == ("Shop, Inc", "no-reply@shop.example")
    assert message["Message-ID"].endswith("@shop.example>")


def test_a_mail_server_that_hangs_holds_no_worker(make_app: MakeApp, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(smtp, "TIMEOUT", 0.2)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        app = make_app(MAIL_SERVER="127.0.0.1", MAIL_PORT=silent.getsockname()[1], MAIL_SUPPRESS_SEND=False)
        assert _request_code(app.test_client()).status_code == 503


def test_html_says_what_to_do_when_the_mail_failed(make_app: MakeApp) -> None:
    app = make_app(MAIL_SERVER="127.0.0.1", MAIL_PORT=1, MAIL_SUPPRESS_SEND=False, WTF_CSRF_ENABLED=False)
    answer = app.test_client().post("/auth/sign-in", data={"email": "ada@example.com"})
    assert answer.status_code == 503
    assert "then send a new code" in answer.text
    assert "/auth/resend" in answer.text


def test_a_page_says_that_a_code_was_sent_only_if_one_was(
    make_app: MakeApp, mail_server: tuple[MailServer, dict[str, Any]], clock: Clock
) -> None:
    server, config = mail_server
    client = make_app(**config, WTF_CSRF_ENABLED=False).test_client()
    server.refusal = "450 4.2.0 Greylisted"
    for page in (client.post("/auth/sign-in", data={"email": "ada@example.com"}), client.get("/auth/verify")):
        assert "We can send a new one to" in page.text
        assert "We sent a" not in page.text
        assert "Check your spam folder" not in page.text
    assert "Enter the code" not in client.get("/auth/sign-in").text
    server.refusal = None
    client.post("/auth/resend")
    assert "Enter the code we sent to" in client.get("/auth/sign-in").text
    server.refusal = "450 4.2.0 Greylisted"
    clock.advance(31)
    page = client.post("/auth/resend", follow_redirects=True)
    assert "then send a new code" in page.text
    assert "We sent a 6-digit code to" in page.text


def test_without_a_mail_server_debug_prints_the_code(make_app: MakeApp, capsys: pytest.CaptureFixture[str]) -> None:
    app = make_app(TESTING=False, MAIL_SUPPRESS_SEND=False)
    app.debug = True
    client = app.test_client()
    assert _request_code(client).status_code == 200
    printed = capsys.readouterr().err
    assert "Sign-in code for ada@example.com" in printed
    code = printed.split("ada@example.com:")[1].split()[0]
    assert post(client, "/auth/verify", {"code": code}).status_code == 200


def test_without_a_mail_server_outside_debug_the_log_has_the_cure(
    make_app: MakeApp, caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    app = make_app(TESTING=False, MAIL_SUPPRESS_SEND=False)
    assert _request_code(app.test_client()).status_code == 503
    assert "set MAIL_SERVER" in caplog.text
    assert "Sign-in code" not in capsys.readouterr().err


def test_the_hook_replaces_the_mail(make_app: MakeApp, chatbotkit_outbox: list[Any]) -> None:
    app = make_app(TESTING=False, MAIL_SUPPRESS_SEND=False)
    sent: list[tuple[Any, ...]] = []

    @app.extensions["test_auth"].send_verification_request  # type: ignore[untyped-decorator]
    def send(identifier: str, code: str, expires_at: object, user: object) -> None:
        sent.append((identifier, code, user))

    client = app.test_client()
    assert _request_code(client).status_code == 200
    ((identifier, code, user),) = sent
    assert (identifier, user) == ("ada@example.com", None)
    assert chatbotkit_outbox == []
    assert post(client, "/auth/verify", {"code": code}).status_code == 200


def test_a_hook_that_raises_is_told_and_logs_no_code(make_app: MakeApp, caplog: pytest.LogCaptureFixture) -> None:
    app = make_app()
    codes: list[str] = []

    @app.extensions["test_auth"].send_verification_request  # type: ignore[untyped-decorator]
    def send(identifier: str, code: str, expires_at: object, user: object) -> None:
        codes.append(code)
        raise ValueError(f"no way to send {code}")

    answer = _request_code(app.test_client())
    assert (answer.status_code, answer.get_json()["error"]["code"]) == (503, "mail_unavailable")
    assert codes[0] not in caplog.text
    assert codes[0] not in answer.text


def test_an_own_sender_without_a_mail_server_answers_alike_for_all(
    make_app: MakeApp, chatbotkit_sandbox: Sandbox
) -> None:
    chatbotkit_sandbox.add_user("ada@example.com")
    app = make_app(
        TESTING=False,
        MAIL_SUPPRESS_SEND=False,
        CHATBOTKIT_AUTH_AUTO_CREATE=False,
        CHATBOTKIT_AUTH_UNKNOWN_USER="mail",
    )
    app.extensions["test_auth"].send_verification_request(lambda *_: None)
    for email in ("ada@example.com", "eve@example.com"):
        assert _request_code(app.test_client(), email).status_code == 200


@pytest.mark.parametrize("trusted", [["shop.example"], None])
def test_a_link_needs_a_name_that_somebody_vouches_for(
    make_app: MakeApp, mail_server: tuple[MailServer, dict[str, Any]], trusted: list[str] | None
) -> None:
    server, config = mail_server
    client = make_app(TRUSTED_HOSTS=trusted, **config).test_client()
    token = client.get("/auth/session", base_url="http://shop.example").get_json()["csrf_token"]
    headers = {"X-CSRFToken": token}
    client.post("/auth/sign-in", json={"email": "ada@example.com"}, headers=headers, base_url="http://shop.example")
    text = text_of(server.mails[0], "plain")
    checks = tuple(int(part) for part in version("flask").split(".")[:2]) >= (3, 1)
    assert ("http://shop.example/auth/sign-in" in text) == bool(trusted and checks)


@pytest.mark.parametrize("page", ["sign-in", "app/sign-in"])
def test_a_name_that_nobody_vouches_for_is_in_no_mail(
    make_app: MakeApp, mail_server: tuple[MailServer, dict[str, Any]], page: str
) -> None:
    server, config = mail_server
    app = make_app(CHATBOTKIT_AUTH_APP_SESSIONS=True, **config)

    class Careful(Request):
        trusted_hosts = ["shop.example"]  # noqa: RUF012  # as Werkzeug declares it

    app.request_class = Careful
    client = app.test_client()
    token = client.get("/auth/session", base_url="http://shop.example").get_json()["csrf_token"]
    session = client.get_cookie("session", domain="shop.example")
    assert session
    headers = {"X-CSRFToken": token, "Cookie": f"session={session.value}", "Sec-Fetch-Site": "same-origin"}
    for host, status in (("evil.example", 400), ("shop.example", 200)):
        answer = app.test_client(use_cookies=False).post(
            f"/auth/{page}", json={"email": "ada@example.com"}, headers=headers, base_url=f"http://{host}"
        )
        assert answer.status_code == status
    assert len(server.mails) == 1
    assert "http://shop.example/auth/sign-in" in text_of(server.mails[0], "plain")


def test_templates_are_the_applications_to_replace(
    make_app: MakeApp, chatbotkit_outbox: list[Any], tmp_path: Any
) -> None:
    app = make_app()
    own = tmp_path / "templates" / "chatbotkit_auth" / "mail"
    own.mkdir(parents=True)
    (own / "code.txt").write_text("Hi! {{ code }}")
    (own / "code.html").write_text(
        '{% extends "chatbotkit_auth/mail/code.html" %}{% block footer %}{{ super() }} Imprint{% endblock %}'
    )
    app.jinja_loader.searchpath.insert(0, str(tmp_path / "templates"))  # type: ignore[union-attr]
    _request_code(app.test_client())
    (mail,) = chatbotkit_outbox
    assert mail.body.startswith("Hi! ")
    assert mail.html.count("This email went to") == mail.html.count("Imprint") == 1, "ours of the same name is extended"


def test_a_receiver_that_fails_is_not_the_mail_servers_failure(
    make_app: MakeApp, mail_server: tuple[MailServer, dict[str, Any]], caplog: pytest.LogCaptureFixture
) -> None:
    server, config = mail_server
    app = make_app(**config)

    def fail(_app: Flask, message: Mail) -> None:
        raise TypeError("no number")

    with email_dispatched.connected_to(fail, app):
        _request_code(app.test_client())
    assert len(server.mails) == 1
    (line,) = (each for each in caplog.records if each.levelno >= logging.WARNING)
    assert line.getMessage() == "a receiver of email-dispatched failed"


def test_many_sends_at_once_do_not_mix(make_app: MakeApp, mail_server: tuple[MailServer, dict[str, Any]]) -> None:
    server, config = mail_server
    app = make_app(CHATBOTKIT_AUTH_RATE_LIMITS={"request:ip": None}, **config)
    barrier = threading.Barrier(8)

    def ask(number: int) -> None:
        barrier.wait()
        _request_code(app.test_client(), f"person{number}@example.com")

    threads = [threading.Thread(target=ask, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(message["To"] for message in server.mails) == [f"person{number}@example.com" for number in range(8)]
    assert len({message["Subject"] for message in server.mails}) == 8


# Sending later


def _queueing(app: Flask) -> list[Mail]:
    queued: list[Mail] = []
    app.extensions["test_auth"].queue_mail(queued.append)
    return queued


def test_a_queued_mail_is_sent_when_the_job_runs(
    make_app: MakeApp, mail_server: tuple[MailServer, dict[str, Any]]
) -> None:
    server, config = mail_server
    app = make_app(**config)
    queued = _queueing(app)
    client = app.test_client()
    assert _request_code(client).status_code == 200
    assert server.connections == 0
    (message,) = queued
    arrived = pickle.loads(pickle.dumps(message))  # noqa: S301  # as a queue does
    with app.app_context():
        current_auth.send_mail(arrived)
    code = server.mails[0]["Subject"].split()[0]
    for shown in (repr(arrived), str(arrived), f"{arrived}"):
        assert code not in shown
        assert "ada@" not in shown
    assert post(client, "/auth/verify", {"code": code}).status_code == 200


def test_a_queue_that_is_full_is_told_and_resend_works(make_app: MakeApp, caplog: pytest.LogCaptureFixture) -> None:
    app = make_app()

    def full(message: Mail) -> None:
        raise RuntimeError(f"no room for {message.body}")

    app.extensions["test_auth"].queue_mail(full)
    client = app.test_client()
    answer = _request_code(client)
    assert (answer.status_code, answer.get_json()["error"]["code"]) == (503, "mail_unavailable")
    assert "queue of mails failed with RuntimeError" in caplog.text
    queued = _queueing(app)
    assert post(client, "/auth/resend", {}).status_code == 200
    code = queued[0].subject.split()[0]
    assert post(client, "/auth/verify", {"code": code}).status_code == 200


@pytest.mark.parametrize(("unknown", "count"), [("silent", 0), ("mail", 1)])
def test_for_an_unknown_address_nothing_or_what_is_configured_is_queued(
    make_app: MakeApp, mail_server: tuple[MailServer, dict[str, Any]], unknown: str, count: int
) -> None:
    server, config = mail_server
    app = make_app(CHATBOTKIT_AUTH_AUTO_CREATE=False, CHATBOTKIT_AUTH_UNKNOWN_USER=unknown, **config)
    queued = _queueing(app)
    assert _request_code(app.test_client()).status_code == 200
    assert len(queued) == count
    assert server.connections == 0


def test_a_job_that_cannot_send_raises_without_the_code(
    make_app: MakeApp, mail_server: tuple[MailServer, dict[str, Any]]
) -> None:
    server, config = mail_server
    app = make_app(**config)
    queued = _queueing(app)
    _request_code(app.test_client())
    server.refusal = "451 come back later"
    with app.app_context(), pytest.raises(MailError) as caught:
        current_auth.send_mail(queued[0])
    assert "ada@" not in str(caught.value)
    assert queued[0].subject.split()[0] not in str(caught.value)


_worker_app: list[Flask] = []


def send_queued(message: Mail) -> None:
    """A job, as the worker of a queue finds it by name."""
    with _worker_app[0].app_context():
        current_auth.send_mail(message)


def test_a_worker_of_rq_sends_what_lies_in_redis(
    make_app: MakeApp,
    mail_server: tuple[MailServer, dict[str, Any]],
    redis_url: str,
    caplog: pytest.LogCaptureFixture,
) -> None:
    server, config = mail_server
    app = make_app(**config)
    _worker_app[:] = [app]
    caplog.set_level("DEBUG", "rq")
    with Redis.from_url(redis_url) as connection:
        queue = Queue(f"test-{uuid.uuid4().hex}", connection=connection)
        app.extensions["test_auth"].queue_mail(
            lambda message: queue.enqueue(send_queued, message, ttl=600, result_ttl=0, failure_ttl=0)
        )
        assert _request_code(app.test_client()).status_code == 200
        assert (len(queue), server.mails) == (1, [])
        SimpleWorker([queue], connection=connection).work(burst=True)
        assert len(queue) == 0
        queue.delete()
    (mail,) = server.mails
    logged = "\n".join(each.getMessage() for each in caplog.records if each.name.startswith("rq"))
    assert "test_mail.send_queued" in logged, "the worker logs its jobs with their arguments"
    assert mail["Subject"].split()[0] not in logged
    assert "ada@" not in logged
