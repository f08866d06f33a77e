"""Notices about an account: over real SMTP, by a queue, by a hook, and what happens when they cannot be sent."""

from __future__ import annotations

from typing import Any

import pytest
from flask import Flask

from flask_chatbotkit_auth import ConfigurationError, User, notice_failed, notice_sent
from flask_chatbotkit_auth.mail import smtp
from flask_chatbotkit_auth.mail.notices import WORDS, Kind
from tests.support.apps import MakeApp
from tests.support.mail import MailServer, text_of

Server = tuple[MailServer, dict[str, Any]]

ADA = User(id="u1", email="ada@example.com", kind="partner")
ON = {"CHATBOTKIT_AUTH_NOTICES": True, "CHATBOTKIT_AUTH_ORIGIN": "https://shop.example"}


def send(app: Flask, kind: Kind, **facts: Any) -> bool:
    with app.test_request_context():
        sent: bool = app.extensions["chatbotkit_auth"].notices.send(kind, ADA, **facts)
        return sent


def test_a_new_sign_in_is_told_with_device_time_and_a_way_to_act(make_app: MakeApp, mail_server: Server) -> None:
    server, config = mail_server
    app = make_app(**ON, **config)
    heard: list[dict[str, Any]] = []
    with notice_sent.connected_to(lambda _app, **data: heard.append(data), app):
        assert send(app, "new_sign_in", device="Chrome on Android")
    (message,) = server.mails
    assert (message["Subject"], message["To"]) == ("New sign-in to Shop", "ada@example.com")
    for kind in ("plain", "html"):
        text = text_of(message, kind)
        assert "Chrome on Android" in text
        assert "12:00 UTC on 1 January 2026" in text
        assert "If this was you, you can ignore this email. If not, sign out your other devices." in text
        assert "https://shop.example/auth/account" in text
    assert [(data["kind"], data["user"]) for data in heard] == [("new_sign_in", ADA)]


@pytest.mark.parametrize("kind", [kind for kind in WORDS if kind != "new_sign_in"])
def test_the_switch_is_about_new_sign_ins_alone(make_app: MakeApp, mail_server: Server, kind: Kind) -> None:
    server, config = mail_server
    app = make_app(**config)
    assert not send(app, "new_sign_in")
    assert server.mails == []
    assert send(app, kind)
    assert "Shop" in text_of(server.mails[0], "plain")


def test_the_old_address_gets_a_notice_without_a_link(make_app: MakeApp, mail_server: Server) -> None:
    server, config = mail_server
    app = make_app(**ON, **config)
    assert send(app, "email_changed", to="old@example.com", email="a•••@new.example")
    (message,) = server.mails
    assert (message["To"], message["Subject"]) == ("old@example.com", "Your email address was changed")
    for kind in ("plain", "html"):
        assert "a•••@new.example" in text_of(message, kind)
        assert "http" not in text_of(message, kind)


def test_a_name_that_a_person_chose_stays_one_escaped_line(make_app: MakeApp, mail_server: Server) -> None:
    server, config = mail_server
    assert send(make_app(**config), "passkey_added", name="Phone\r\n\r\n    123456\n<b>")
    (message,) = server.mails
    assert "Phone 123456 <b>" in text_of(message, "plain").splitlines()
    assert "Phone 123456 &lt;b&gt;" in text_of(message, "html")


def test_a_passkey_that_is_named_after_its_device_is_named_once(make_app: MakeApp, mail_server: Server) -> None:
    server, config = mail_server
    assert send(make_app(**config), "passkey_added", name="Chrome on Linux", device="Chrome on Linux")
    assert text_of(server.mails[0], "plain").count("Chrome on Linux") == 1
    assert text_of(server.mails[0], "html").count("Chrome on Linux") == 2, "in the preview, and in the mail"


def test_a_notice_is_queued_where_there_is_a_queue(make_app: MakeApp, mail_server: Server) -> None:
    server, config = mail_server
    app = make_app(**ON, **config)
    queued: list[Any] = []
    app.extensions["test_auth"].queue_mail(queued.append)
    assert send(app, "new_sign_in")
    assert (len(queued), server.connections) == (1, 0)
    with app.app_context():
        app.extensions["chatbotkit_auth"].send_mail(queued[0])
    assert server.mails[0]["Subject"] == "New sign-in to Shop"


def test_a_hook_gets_what_it_takes_in_place_of_the_mail(make_app: MakeApp, mail_server: Server) -> None:
    server, config = mail_server
    app = make_app(**ON, **config)
    told: list[tuple[str, Any]] = []

    @app.extensions["test_auth"].send_notice  # type: ignore[untyped-decorator]
    def tell(facts: dict[str, Any], kind: str) -> None:
        told.append((kind, facts["device"]))

    assert send(app, "new_sign_in", device="Firefox on Linux")
    assert told == [("new_sign_in", "Firefox on Linux")]
    assert server.mails == []


@pytest.mark.parametrize("what", ["server", "hook", "template", "deadline"])
def test_a_notice_that_fails_breaks_nothing_and_is_told(
    make_app: MakeApp,
    mail_server: Server,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Any,
    what: str,
) -> None:
    server, config = mail_server
    app = make_app(**ON, **config)
    if what == "server":
        server.refusal = "550 no such mailbox: ada@example.com"
    elif what == "hook":
        app.extensions["test_auth"].send_notice(lambda user: {}[user.email])
    elif what == "deadline":
        monkeypatch.setattr(smtp, "TIMEOUT", -1)
    else:
        own = tmp_path / "chatbotkit_auth" / "mail"
        own.mkdir(parents=True)
        (own / "notice.txt").write_text("{{ nothing.here.at.all }} ada@example.com")
        app.jinja_loader.searchpath.insert(0, str(tmp_path))  # type: ignore[union-attr]
    heard: list[dict[str, Any]] = []
    with notice_failed.connected_to(lambda _app, **data: heard.append(data), app):
        assert not send(app, "new_sign_in")
    assert [(data["kind"], data["user"]) for data in heard] == [("new_sign_in", ADA)]
    assert isinstance(heard[0]["error"], Exception)
    (record,) = [each for each in caplog.records if each.levelname == "ERROR"]
    assert record.getMessage().startswith("the notice new_sign_in was not sent: ")
    assert "ada@" not in record.getMessage()
    assert server.mails == []


def test_a_hook_that_wants_what_there_is_not_is_refused_at_once(make_app: MakeApp) -> None:
    auth = make_app().extensions["test_auth"]
    with pytest.raises(ConfigurationError, match="wants 'address'"):
        auth.send_notice(lambda address, kind: None)
    with pytest.raises(ConfigurationError, match="wants 'user_or_none'"):
        auth.send_verification_request(lambda identifier, code, expires_at, user_or_none: None)
    auth.send_verification_request(lambda code, *, extra=1, **more: None)


@pytest.mark.parametrize(
    ("given", "origin"),
    [
        ("https://shop.example.com", "https://shop.example.com"),
        ("https://Shop.Example.com/", "https://shop.example.com"),
        ("https://shop.example.com:443", "https://shop.example.com"),
        ("https://shop.example.com:8443", "https://shop.example.com:8443"),
        ("https://läden.example", "https://xn--lden-loa.example"),
        ("http://localhost:5000", "http://localhost:5000"),
        ("http://127.0.0.1", "http://127.0.0.1"),
    ],
)
def test_an_origin_is_kept_as_browsers_write_it(make_app: MakeApp, given: str, origin: str) -> None:
    app = make_app(CHATBOTKIT_AUTH_ORIGIN=given)
    assert app.extensions["chatbotkit_auth"].config.origin == origin


@pytest.mark.parametrize(
    "given",
    [
        "shop.example.com",
        "http://shop.example.com",
        "https://shop.example.com/auth",
        "https://shop.example.com?x",
        "https://user@shop.example.com",
        "https://",
        "https://a..b",
        "https://shop.example.com:99999",
        "https://shop.example.com:0",
        "ftp://localhost",
        "https://shop.example.com https://evil.example",
        "null",
        5,
    ],
)
def test_what_is_no_origin_is_refused(make_app: MakeApp, given: object) -> None:
    with pytest.raises(ConfigurationError, match="CHATBOTKIT_AUTH_ORIGIN"):
        make_app(CHATBOTKIT_AUTH_ORIGIN=given)


def test_notices_need_an_origin(make_app: MakeApp) -> None:
    with pytest.raises(ConfigurationError, match="CHATBOTKIT_AUTH_NOTICES needs CHATBOTKIT_AUTH_ORIGIN"):
        make_app(CHATBOTKIT_AUTH_NOTICES=True)
