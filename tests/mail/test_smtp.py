"""The way to the mail server: certificates, the one deadline, logins, and servers that cannot be one."""

from __future__ import annotations

import socket
import ssl
import threading
import time
from base64 import b64encode
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from aiosmtpd.smtp import SMTP, AuthResult, Envelope, LoginPassword, Session
from flask import Flask
from werkzeug.test import TestResponse

from flask_chatbotkit_auth import ConfigurationError
from flask_chatbotkit_auth.cli.doctor.mail import mail as look
from flask_chatbotkit_auth.mail import smtp
from flask_chatbotkit_auth.testing import Sandbox
from tests.support.apps import MakeApp
from tests.support.certificates import self_signed
from tests.support.mail import MailServer, serving

Post = Callable[..., TestResponse]
ADA = {"email": "ada@example.com"}


def certificate(folder: Path, name: str) -> tuple[Path, ssl.SSLContext]:
    """Make a self-signed certificate for ``name``; return its path and a server's context with it."""
    path, key = self_signed(folder, name)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(path, key)
    return path, context


@pytest.fixture
def trusting(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[Path], None]]:
    """Have this process trust a certificate as if the system did."""

    def trust(path: Path) -> None:
        monkeypatch.setenv("SSL_CERT_FILE", str(path))
        smtp._context.cache_clear()

    smtp._context.cache_clear()
    yield trust
    smtp._context.cache_clear()


def _seen(app: Flask) -> tuple[str, str]:
    with app.app_context():
        return look()


@pytest.mark.parametrize("way", ["MAIL_USE_TLS", "MAIL_USE_SSL"])
@pytest.mark.parametrize("trusted", [False, True], ids=["unknown", "of another name"])
def test_a_certificate_that_is_not_the_servers_gets_neither_password_nor_code(
    make_app: MakeApp,
    post: Post,
    tmp_path: Path,
    trusting: Callable[[Path], None],
    caplog: pytest.LogCaptureFixture,
    way: str,
    trusted: bool,
) -> None:
    path, context = certificate(tmp_path, "mail.other.example" if trusted else "localhost")
    if trusted:
        trusting(path)
    server, logins = MailServer(), []

    def authenticate(*_: Any) -> AuthResult:
        logins.append(1)
        return AuthResult(success=True)

    options = {"tls_context": context} if way == "MAIL_USE_TLS" else {"ssl_context": context}
    with serving(server, authenticator=authenticate, auth_require_tls=False, **options) as config:
        config |= {"MAIL_SERVER": "localhost", way: True, "MAIL_USERNAME": "shop", "MAIL_PASSWORD": "secret"}
        app = make_app(**config)
        answer = post(app.test_client(), "/auth/sign-in", ADA)
        assert (answer.status_code, answer.get_json()["error"]["code"]) == (503, "mail_unavailable")
        assert (server.mails, logins) == ([], [])
        assert "the certificate of the mail server localhost is not trusted" in caplog.text
        assert _seen(app)[0] == "failure"
        assert "CHATBOTKIT_AUTH_MAIL_TLS_VERIFY" in _seen(app)[1]
        loose = make_app(**config, CHATBOTKIT_AUTH_MAIL_TLS_VERIFY=False)
        assert post(loose.test_client(), "/auth/sign-in", ADA).status_code == 200
        assert len(server.mails) == 1
        assert _seen(loose)[0] == "warning"
        assert "CHATBOTKIT_AUTH_MAIL_TLS_VERIFY is off" in _seen(loose)[1]


@pytest.mark.parametrize("way", ["MAIL_USE_TLS", "MAIL_USE_SSL"])
def test_a_right_certificate_is_taken(
    make_app: MakeApp, post: Post, tmp_path: Path, trusting: Callable[[Path], None], way: str
) -> None:
    path, context = certificate(tmp_path, "localhost")
    trusting(path)
    server = MailServer()
    options = {"tls_context": context} if way == "MAIL_USE_TLS" else {"ssl_context": context}
    with serving(server, **options) as config:
        app = make_app(**{**config, "MAIL_SERVER": "localhost", way: True})
        assert post(app.test_client(), "/auth/sign-in", ADA).status_code == 200
    assert len(server.mails) == 1


def test_a_server_without_starttls_gets_no_code_where_it_is_asked_for(
    make_app: MakeApp, mail_server: tuple[MailServer, dict[str, Any]], post: Post
) -> None:
    server, config = mail_server
    assert post(make_app(**config, MAIL_USE_TLS=True).test_client(), "/auth/sign-in", ADA).status_code == 503
    assert server.mails == []


@pytest.mark.parametrize("mechanism", ["PLAIN", "LOGIN"])
def test_a_user_name_and_a_password_may_hold_any_character(make_app: MakeApp, post: Post, mechanism: str) -> None:
    server, seen = MailServer(), []

    def authenticate(_server: Any, _session: Any, _envelope: Any, _mechanism: str, given: LoginPassword) -> AuthResult:
        seen.append((given.login.decode(), given.password.decode()))
        return AuthResult(success=True)

    other = {"PLAIN": "LOGIN", "LOGIN": "PLAIN"}[mechanism]
    with serving(server, authenticator=authenticate, auth_require_tls=False, auth_exclude_mechanism=[other]) as config:
        app = make_app(**config, MAIL_USERNAME="läden@shop.example", MAIL_PASSWORD="pässwörd€密码")
        assert post(app.test_client(), "/auth/sign-in", ADA).status_code == 200
    assert len(server.mails) == 1
    assert seen == [("läden@shop.example", "pässwörd€密码")]


def test_a_refused_login_says_what_to_check(make_app: MakeApp, post: Post, caplog: pytest.LogCaptureFixture) -> None:
    server = MailServer()
    refuse = {"authenticator": lambda *_: AuthResult(success=False, handled=False), "auth_require_tls": False}
    with serving(server, **refuse) as config:
        app = make_app(**config, MAIL_USERNAME="shop", MAIL_PASSWORD="wröng-secret")
        assert post(app.test_client(), "/auth/sign-in", ADA).status_code == 503
        assert "check MAIL_USERNAME and MAIL_PASSWORD" in caplog.text
        assert _seen(app)[0] == "failure"
    assert "wröng-secret" not in caplog.text
    assert b64encode("wröng-secret".encode()).decode() not in caplog.text


@pytest.mark.parametrize(
    "setting",
    [
        {"MAIL_SERVER": "smtp..example.com"},
        {"MAIL_SERVER": "x" * 70 + ".example.com"},
        {"MAIL_SERVER": "no-such-host.invalid"},
        {"MAIL_PORT": 99999},
        {"MAIL_PORT": "smtp-no-such"},
        {"MAIL_PORT": 1},
        {"MAIL_DEFAULT_SENDER": ("Shop", None)},
        {"MAIL_DEFAULT_SENDER": ("Shop", "no address")},
        {"MAIL_DEFAULT_SENDER": "Shop GmbH, Berlin <no-reply@shop.example>"},
        {"MAIL_DEFAULT_SENDER": "ä@shop.example"},
        {"MAIL_DEFAULT_SENDER": 5},
    ],
    ids=str,
)
def test_a_setting_that_cannot_be_right_is_a_sentence_and_never_a_traceback(
    make_app: MakeApp,
    mail_server: tuple[MailServer, dict[str, Any]],
    post: Post,
    chatbotkit_sandbox: Sandbox,
    caplog: pytest.LogCaptureFixture,
    setting: dict[str, Any],
) -> None:
    server, config = mail_server
    chatbotkit_sandbox.add_user("ada@example.com")
    app = make_app(CHATBOTKIT_AUTH_AUTO_CREATE=False, **{**config, **setting})
    for email in ("ada@example.com", "nobody@example.com"):
        answer = post(app.test_client(), "/auth/sign-in", {"email": email})
        assert (answer.status_code, answer.get_json()["error"]["code"]) == (503, "mail_unavailable")
    assert server.mails == []
    state, text = _seen(app)
    assert state == "failure"
    assert "MAIL_S" in text or "MAIL_PORT" in text
    errors = [record for record in caplog.records if record.levelname == "ERROR"]
    assert len(errors) == 1, "one line, though it failed twice"
    assert errors[0].exc_info is None


class Grudging(MailServer):
    """A mail server that gives one answer of a step that is not the usual one; ``None`` closes the connection."""

    def __init__(self, step: str, answer: str | None) -> None:
        super().__init__()
        self.step = step
        self.answer = answer

    def _answer(self, server: SMTP, step: str) -> str | None:
        if step != self.step:
            return None
        if self.answer is None:
            assert server.transport is not None
            server.transport.close()
        return self.answer or "250 OK"

    async def handle_MAIL(
        self, server: SMTP, _session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        envelope.mail_from, envelope.mail_options = address, options
        return self._answer(server, "MAIL") or "250 OK"

    async def handle_RCPT(
        self, server: SMTP, session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        answer = self._answer(server, "RCPT")
        return answer or await super().handle_RCPT(server, session, envelope, address, options)

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:
        return self._answer(server, "DATA") or await super().handle_DATA(server, session, envelope)


@pytest.mark.parametrize(
    ("step", "answer", "sentence"),
    [
        ("RCPT", "450 4.2.0 <ada@example.com>: Greylisted", "does not take the mail now (450), and may in a moment"),
        ("MAIL", "451 4.3.0 Try again later", "does not take the mail now (451), and may in a moment"),
        ("DATA", "421 4.7.0 Too many", "does not take the mail now (421), and may in a moment"),
        ("MAIL", "553 5.7.1 Not your sender", "refused the sender (553); check CHATBOTKIT_AUTH_MAIL_SENDER"),
        ("MAIL", "552 5.3.4 Too large", "did not take the mail (552)"),
        ("DATA", "552 5.3.4 Too large for ada@example.com", "did not take the mail (552)"),
        ("MAIL", "530 5.7.0 Authentication required", "wants a login or TLS first (530); check MAIL_USERNAME"),
        ("RCPT", "550 5.7.1 <ada@example.com>: Relay denied", "refused the recipient (550)"),
        ("RCPT", None, "closed the connection before it took the mail"),
        ("DATA", None, "closed the connection before it took the mail"),
    ],
)
def test_a_server_that_does_not_take_the_mail_is_told_in_one_line_and_another_try_needs_no_wait(
    make_app: MakeApp, post: Post, caplog: pytest.LogCaptureFixture, step: str, answer: str | None, sentence: str
) -> None:
    server = Grudging(step, answer)
    with serving(server) as config:
        client = make_app(**config).test_client()
        refused = post(client, "/auth/sign-in", ADA)
        assert (refused.status_code, refused.get_json()["error"]["code"]) == (503, "mail_unavailable")
        server.step = ""
        assert post(client, "/auth/resend", {}).status_code == 200
    (line,) = [record.getMessage() for record in caplog.records if record.levelname == "ERROR"]
    assert sentence in line
    assert "ada@" not in caplog.text
    assert len(server.mails) == 1


@pytest.mark.parametrize(
    ("greeting", "sentence"),
    [
        (b"421 4.3.2 Too busy\r\n", "does not take the mail now (421)"),
        (b"554 No SMTP service here\r\n", "did not take the mail (554)"),
        (b"SSH-2.0-OpenSSH_9.2\r\n", "does not speak SMTP on this port"),
        (b"", "closed the connection before it took the mail"),
    ],
)
def test_a_greeting_that_is_none_is_told(make_app: MakeApp, greeting: bytes, sentence: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def serve() -> None:
            connection, _ = listening.accept()
            connection.sendall(greeting)
            connection.close()

        thread = threading.Thread(target=serve)
        thread.start()
        app = make_app(MAIL_SERVER="127.0.0.1", MAIL_PORT=listening.getsockname()[1], MAIL_SUPPRESS_SEND=False)
        state, text = _seen(app)
        thread.join()
    assert (state, sentence in text) == ("failure", True), text


def _dribbling(seconds: float) -> tuple[socket.socket, threading.Thread]:
    """A server that says one more byte of an endless greeting every few milliseconds."""
    listening = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        connection, _ = listening.accept()
        with connection:
            end = time.monotonic() + seconds
            try:
                while time.monotonic() < end:
                    connection.sendall(b"2")
                    connection.settimeout(0.02)
                    try:
                        if connection.recv(1) == b"":
                            return
                    except TimeoutError:
                        continue
            except OSError:
                return

    thread = threading.Thread(target=serve)
    thread.start()
    return listening, thread


def test_a_server_that_dribbles_holds_no_worker_beyond_the_deadline(
    make_app: MakeApp, post: Post, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    # No step of it is slow, so that a time-out of each step would never end it.
    monkeypatch.setattr(smtp, "TIMEOUT", 0.3)
    listening, thread = _dribbling(20)
    with listening:
        app = make_app(MAIL_SERVER="127.0.0.1", MAIL_PORT=listening.getsockname()[1], MAIL_SUPPRESS_SEND=False)
        assert post(app.test_client(), "/auth/sign-in", ADA).status_code == 503
    assert "did not answer in time (0.3 seconds)" in caplog.text
    thread.join(5)
    assert not thread.is_alive(), "the connection was left open"


@pytest.mark.parametrize(("missing", "value"), [("MAIL_SERVER", None), ("MAIL_SERVER", "")])
def test_a_mail_server_that_is_set_to_nothing_is_none(
    make_app: MakeApp, post: Post, capsys: pytest.CaptureFixture[str], missing: str, value: str | None
) -> None:
    app = make_app(TESTING=False, MAIL_SUPPRESS_SEND=False, **{missing: value})
    assert _seen(app)[0] == "failure"
    assert post(app.test_client(), "/auth/sign-in", ADA).status_code == 503
    app.debug = True
    assert _seen(app)[0] == "warning"
    assert post(app.test_client(), "/auth/sign-in", ADA).status_code == 200
    assert "Sign-in code for ada@example.com" in capsys.readouterr().err


@pytest.mark.parametrize("value", [None, "unset"])
def test_the_environment_names_the_mail_server_where_the_application_does_not(
    make_app: MakeApp,
    mail_server: tuple[MailServer, dict[str, Any]],
    post: Post,
    monkeypatch: pytest.MonkeyPatch,
    value: str | None,
) -> None:
    server, config = mail_server
    monkeypatch.setenv("MAIL_SERVER", config["MAIL_SERVER"])
    monkeypatch.setenv("MAIL_PORT", str(config["MAIL_PORT"]))
    monkeypatch.setenv("MAIL_DEFAULT_SENDER", "Shop <hello@shop.example>")
    monkeypatch.setenv("MAIL_USE_TLS", "false")
    app = make_app(MAIL_SUPPRESS_SEND=False, **({} if value else {"MAIL_SERVER": None}))
    assert post(app.test_client(), "/auth/sign-in", ADA).status_code == 200
    assert server.mails[0]["From"] == "Shop <hello@shop.example>"
    own = make_app(MAIL_SUPPRESS_SEND=False, MAIL_DEFAULT_SENDER="own@shop.example")
    assert own.extensions["mail"].default_sender == "own@shop.example"


def test_a_port_in_the_environment_that_is_none_is_told(make_app: MakeApp, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MAIL_PORT", "smtp")
    with pytest.raises(ConfigurationError, match="MAIL_PORT"):
        make_app()


@pytest.mark.parametrize("most", [1, 2])
def test_a_limit_of_mails_a_connection_changes_nothing(
    make_app: MakeApp, mail_server: tuple[MailServer, dict[str, Any]], post: Post, most: int
) -> None:
    server, config = mail_server
    app = make_app(**config, MAIL_MAX_EMAILS=most)
    assert post(app.test_client(), "/auth/sign-in", ADA).status_code == 200
    assert (len(server.mails), server.connections) == (1, 1)
