"""The audit trail: every kind of event, what is in no row, who may read it, and what becomes of it."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient
from flask_babel import Babel
from flask_mail import Message
from werkzeug.test import TestResponse

from flask_chatbotkit_auth import (
    ChatBotKitAuth,
    ConfigurationError,
    MemoryStore,
    app_session_added,
    current_auth,
    link_used,
)
from flask_chatbotkit_auth.events import KINDS, MOST_REFUSALS, Trail
from flask_chatbotkit_auth.exceptions import StoreError
from flask_chatbotkit_auth.signals import emit
from flask_chatbotkit_auth.stores import Store
from flask_chatbotkit_auth.stores.documents import DocumentStore
from flask_chatbotkit_auth.stores.events import Event
from flask_chatbotkit_auth.testing import Sandbox, SoftwareAuthenticator
from flask_chatbotkit_auth.testing.plugin import read_code
from tests.support.apps import Clock, MakeApp
from tests.support.kinds import EVERY
from tests.support.steps import post

ADA, NEW, BEN = "ada@example.com", "ada@new.example", "ben@example.com"
PHONE = "Mozilla/5.0 (Linux; Android 14) Chrome/126.0 Mobile Safari/537.36"
ORIGIN = "https://shop.example.com"
JSON = {"Accept": "application/json"}
ON = {"CHATBOTKIT_AUTH_EVENTS": True}
EVERYTHING = {
    "CHATBOTKIT_AUTH_EVENTS": True,
    "CHATBOTKIT_AUTH_EMAIL_CHANGE": True,
    "CHATBOTKIT_AUTH_NOTICES": True,
    "CHATBOTKIT_AUTH_PASSKEYS": True,
    "CHATBOTKIT_AUTH_AUTO_DELETE": True,
    "CHATBOTKIT_AUTH_ORIGIN": ORIGIN,
}

SignIn = Callable[..., TestResponse]
Outbox = list[Message]


def trail_of(app: Flask) -> Trail:
    trail = app.extensions["chatbotkit_auth"].trail
    assert isinstance(trail, Trail)
    return trail


def events(app: Flask, **wanted: Any) -> list[Event]:
    with app.app_context():
        return trail_of(app).find(**{"limit": 500, **wanted})


def kinds(app: Flask, **wanted: Any) -> list[str]:
    return [each.kind for each in reversed(events(app, **wanted))]


def send(client: FlaskClient, path: str, **body: Any) -> TestResponse:
    return post(client, f"/auth{path}", body)


@pytest.mark.parametrize("store_url", EVERY, indirect=True, scope="module")
@pytest.mark.parametrize("kind", ["partner", "contact"])
def test_every_kind_is_written_and_holds_nothing_secret(
    make_app: MakeApp,
    store: Store,
    sign_in: SignIn,
    chatbotkit_outbox: Outbox,
    clock: Clock,
    kind: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    limits = {"request:device": "4/hour", "request:email": "4/hour"}
    app = make_app(store=store, CHATBOTKIT_AUTH_ADAPTER=kind, CHATBOTKIT_AUTH_RATE_LIMITS=limits, **EVERYTHING)
    auth: ChatBotKitAuth = app.extensions["test_auth"]
    ada, other = app.test_client(), app.test_client()
    for client in (ada, other):
        client.environ_base["HTTP_USER_AGENT"] = PHONE
    device = SoftwareAuthenticator(ORIGIN)

    sign_in(ada, ADA)
    clock.advance(1)
    sign_in(other, ADA)  # a new browser: a notice
    send(ada, "/account/profile", name="Ada")
    send(ada, "/account/sessions/end-others")
    assert device.register(ada, name=f"Phone of {ADA}").status_code == 200
    assert device.sign_in(ada).status_code == 200
    send(ada, "/passkey", credential={"id": "x"})
    account = ada.get("/auth/account", headers=JSON).get_json()
    assert send(ada, f"/account/passkeys/{account['passkeys'][0]['id']}/remove").status_code == 200
    send(ada, "/account/email", email=NEW)
    assert send(ada, "/account/email/verify", code=read_code(chatbotkit_outbox[-1])).status_code == 200
    send(other, "/sign-in", email=NEW)
    wrong = "000000" if read_code(chatbotkit_outbox[-1]) != "000000" else "111111"
    assert send(other, "/verify", code=wrong).status_code == 400
    code = read_code(chatbotkit_outbox[-1])
    auth.sign_in_callback(lambda identifier, user: False)
    assert send(other, "/verify", code=code).status_code == 403
    auth.sign_in_callback(lambda identifier, user: True)
    for _ in range(10):
        send(app.test_client(), "/sign-in", email=BEN)
    with app.test_request_context(headers={"User-Agent": PHONE}):
        (user,) = [each for each in current_auth.adapter.list() if each.email == NEW]
        emit(link_used, app, user=user)
        emit(app_session_added, app, user=user)
        with monkeypatch.context() as patch:
            patch.setattr(current_auth.mailer, "deliver", _fail)
            current_auth.notices.send("new_sign_in", user)
        current_auth.delete_user(user)
    third = app.test_client()
    sign_in(third, "grace@example.com")
    send(third, "/sign-out")

    written = events(app)
    assert {each.kind for each in written} == set(KINDS)
    counts = {kind: [each.kind for each in written].count(kind) for kind in KINDS}
    assert counts | dict.fromkeys(("code_sent", "sign_in", "notice_sent", "user_updated", "user_created"), 1) | {
        "sessions_ended": 1
    } == dict.fromkeys(KINDS, 1), counts
    assert counts["sign_in"] == 4, "two by a code, one by a passkey, and one more"
    texts = [json.dumps({**vars(each), "at": "", "detail": dict(each.detail)}) for each in written]
    codes = {read_code(mail) for mail in chatbotkit_outbox if "code" in str(mail.subject)}
    tokens = set()
    for client in (ada, other, third):
        for name in ("session", "remember_token", "chatbotkit_auth_device"):
            cookie = client.get_cookie(name)
            tokens |= {cookie.value} if cookie is not None else set()
    for text in texts:
        assert not any(address in text for address in (ADA, NEW, BEN, "grace@example.com")), text
        assert not any(f'"{code}"' in text for code in codes), text
        assert not any(token in text for token in tokens), text
        assert "cbk-" not in text
    signed_in = next(each for each in reversed(written) if each.kind == "sign_in")
    assert (signed_in.device, signed_in.ip, signed_in.method) == ("Chrome on Android", "127.0.0.1", "code")
    assert signed_in.address == "a•••@example.com"
    assert signed_in.session_id is not None


def _fail(*_: object, **__: object) -> None:
    raise ConfigurationError("no mail today")


def test_the_event_of_a_sign_in_stands_or_falls_with_its_session(
    make_app: MakeApp, tmp_path: object, sign_in: SignIn
) -> None:
    app = make_app(CHATBOTKIT_AUTH_STORE_URL=f"sqlite:///{tmp_path}/store.db", **ON)
    client = app.test_client()
    sign_in(client, ADA)
    (event,) = events(app, kind="sign_in")
    sessions = client.get("/auth/account", headers=JSON).get_json()["sessions"]
    assert [event.session_id] == [each["id"] for each in sessions]


@pytest.mark.parametrize("store_url", EVERY, indirect=True, scope="module")
def test_so_does_the_event_of_a_sign_in_by_a_passkey(
    make_app: MakeApp, store: Store, sign_in: SignIn, clock: Clock
) -> None:
    app, device = make_app(store=store, **EVERYTHING), SoftwareAuthenticator(ORIGIN)
    sign_in(client := app.test_client(), ADA)
    assert device.register(client).status_code == 200
    clock.advance(1)
    assert device.sign_in(client).status_code == 200
    (current,) = [
        each["id"] for each in client.get("/auth/account", headers=JSON).get_json()["sessions"] if each["current"]
    ]
    newest = events(app, kind="sign_in")[0]
    assert (newest.method, newest.session_id, newest.address) == ("passkey", current, "a•••@example.com")


def test_a_refused_passkey_names_its_owner(
    make_app: MakeApp, sign_in: SignIn, chatbotkit_sandbox: Sandbox, tmp_path: object
) -> None:
    more = {"CHATBOTKIT_AUTH_STORE_URL": f"sqlite:///{tmp_path}/store.db", "CHATBOTKIT_API_RETRIES": 0}
    app, device = make_app(**EVERYTHING, **more), SoftwareAuthenticator(ORIGIN)
    sign_in(client := app.test_client(), ADA)
    assert device.register(client).status_code == 200
    with app.app_context():
        (user,) = current_auth.adapter.list()
        current_auth.suspend(user)
    assert device.sign_in(app.test_client()).status_code == 403
    chatbotkit_sandbox.fail("*", status=503)
    assert device.sign_in(app.test_client()).status_code == 503
    failed, refused = events(app, kind="sign_in_failed")
    assert (refused.user_id, refused.address, refused.outcome) == (user.id, "a•••@example.com", "refused")
    assert (failed.user_id, failed.address, failed.outcome) == (user.id, None, "failed")


def test_a_flood_is_one_event_a_window(make_app: MakeApp, clock: Clock) -> None:
    app = make_app(CHATBOTKIT_AUTH_RATE_LIMITS={"request:email": "2/hour", "request:ip": None}, **ON)
    for _ in range(40):
        send(app.test_client(), "/sign-in", email=ADA)
    assert kinds(app) == ["code_sent", "code_sent", "limit_reached"]
    clock.advance(3601)
    for _ in range(5):
        send(app.test_client(), "/sign-in", email=ADA)
    assert kinds(app).count("limit_reached") == 2


def test_refusals_that_no_limit_counts_fill_no_store(make_app: MakeApp, clock: Clock) -> None:
    app = make_app(**ON)
    client = app.test_client()
    send(client, "/sign-in", email=ADA)
    for _ in range(MOST_REFUSALS + 20):
        send(client, "/verify", code="1")  # of a wrong length: compared with nothing
    assert kinds(app).count("code_refused") == MOST_REFUSALS
    clock.advance(timedelta(hours=1))
    send(client, "/verify", code="1")
    assert kinds(app).count("code_refused") == MOST_REFUSALS + 1


def test_a_client_with_many_addresses_fills_no_store(make_app: MakeApp) -> None:
    app = make_app(**ON)
    for number in range(2 * MOST_REFUSALS):
        client = app.test_client()
        client.environ_base["REMOTE_ADDR"] = f"2001:db8:1:{number:x}::1"
        send(client, "/sign-in", email="no address")
    assert kinds(app).count("code_refused") == MOST_REFUSALS


def test_events_are_kept_for_as_long_as_is_set(make_app: MakeApp, sign_in: SignIn, clock: Clock) -> None:
    app = make_app(CHATBOTKIT_AUTH_EVENTS_KEEP=timedelta(days=2), **ON)
    sign_in(app.test_client(), ADA)
    clock.advance(timedelta(days=1))
    sign_in(app.test_client(), BEN)
    clock.advance(timedelta(days=1, seconds=1))
    with app.app_context():
        current_auth.purge()
    assert {each.address for each in events(app)} == {"b•••@example.com"}


def test_a_store_that_loses_events_changes_no_answer(
    make_app: MakeApp, sign_in: SignIn, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    app = make_app(**ON)

    def fail(*_: object) -> None:
        raise StoreError("the disk is full")

    monkeypatch.setattr(app.extensions["chatbotkit_auth"].store, "add_event", fail)
    client = app.test_client()
    assert sign_in(client, ADA).status_code == 200
    assert client.get("/dashboard").status_code == 200
    assert "the event code_sent could not be kept (the disk is full)" in caplog.text
    assert kinds(app) == ["sign_in"], "it came with its session"


def test_a_store_without_events_is_refused(make_app: MakeApp) -> None:
    class Plain(DocumentStore):
        read = MemoryStore.read
        swap = MemoryStore.swap
        keys = MemoryStore.keys
        ping = MemoryStore.ping
        purge = MemoryStore.purge
        limits_storage = MemoryStore.limits_storage

    with pytest.raises(ConfigurationError, match="CHATBOTKIT_AUTH_EVENTS: Plain does not keep events"):
        make_app(store=Plain(), **ON)


def test_events_are_found_under_an_earlier_key(make_app: MakeApp, tmp_path: object, sign_in: SignIn) -> None:
    url = f"sqlite:///{tmp_path}/store.db"
    sign_in(make_app(SECRET_KEY="old", CHATBOTKIT_AUTH_STORE_URL=url, **ON).test_client(), ADA)
    app = make_app(SECRET_KEY="new", SECRET_KEY_FALLBACKS=["old"], CHATBOTKIT_AUTH_STORE_URL=url, **ON)
    sign_in(app.test_client(), ADA)
    assert kinds(app, identifier=ADA).count("sign_in") == 2
    assert kinds(app, identifier=BEN) == []


# The person's own


def test_recent_activity_names_devices_in_the_language_of_the_person(make_app: MakeApp, sign_in: SignIn) -> None:
    app = make_app(**ON)
    Babel(app, default_locale="de")
    client = app.test_client()
    client.environ_base["HTTP_USER_AGENT"] = PHONE
    sign_in(client, ADA)
    assert events(app, kind="sign_in")[0].device == "Chrome on Android", "the store keeps one name for all languages"
    assert "<bdi>Chrome auf Android</bdi>" in client.get("/auth/account/activity").text
    devices = {each["device"] for each in client.get("/auth/account/activity", headers=JSON).get_json()["activity"]}
    assert devices == {"Chrome auf Android"}


@pytest.mark.parametrize("config", [{}, {"CHATBOTKIT_AUTH_EMAIL_CHANGE": True}])
def test_recent_activity_is_the_persons_own(
    make_app: MakeApp, sign_in: SignIn, chatbotkit_outbox: Outbox, clock: Clock, config: dict[str, Any]
) -> None:
    app = make_app(**ON, **config)
    ada, ben = app.test_client(), app.test_client()
    ada.environ_base["HTTP_USER_AGENT"] = PHONE
    sign_in(ben, BEN)
    clock.advance(60)
    sign_in(ada, ADA)
    clock.advance(60)
    send(ada, "/account/profile", name="Ada")
    found = ada.get("/auth/account/activity", headers=JSON).get_json()["activity"]
    assert [each["kind"] for each in found] == ["user_updated", "sign_in", "user_created"]
    assert found[1] == {
        "id": found[1]["id"],
        "at": "2026-01-01T12:01:00+00:00",
        "kind": "sign_in",
        "device": "Chrome on Android",
        "ip": "127.0.0.1",
        "method": "code",
    }
    theirs = ben.get("/auth/account/activity", headers=JSON).get_json()["activity"]
    assert {each["id"] for each in theirs}.isdisjoint({each["id"] for each in found})
    for query in (f"user_id={found[0]['id']}", f"before={theirs[0]['id']}x", "before=%00", "before=" + "9" * 29):
        mine = ben.get(f"/auth/account/activity?{query}", headers=JSON)
        assert mine.status_code == 200
        assert {each["id"] for each in mine.get_json()["activity"]} <= {each["id"] for each in theirs}
    older = ada.get(f"/auth/account/activity?before={found[0]['id']}", headers=JSON).get_json()["activity"]
    assert older == found[1:]
    assert 'href="/auth/account/activity"' in ada.get("/auth/account").text
    page = ada.get("/auth/account/activity").text
    for text in ("Recent activity", "Signed in", "Profile changed", "Chrome on Android"):
        assert text in page


def test_whoever_gets_an_address_later_sees_nothing_of_who_had_it(
    make_app: MakeApp, sign_in: SignIn, chatbotkit_outbox: Outbox
) -> None:
    app = make_app(CHATBOTKIT_AUTH_EMAIL_CHANGE=True, **ON)
    ada = app.test_client()
    sign_in(ada, ADA)
    send(ada, "/account/email", email=NEW)
    send(ada, "/account/email/verify", code=read_code(chatbotkit_outbox[-1]))
    kinds = [each["kind"] for each in ada.get("/auth/account/activity", headers=JSON).get_json()["activity"]]
    assert kinds == ["email_changed", "sign_in", "user_created"]
    heir = app.test_client()
    sign_in(heir, ADA)
    found = heir.get("/auth/account/activity", headers=JSON).get_json()["activity"]
    assert [each["kind"] for each in found] == ["sign_in", "user_created"]


def test_nobody_sees_anything(make_app: MakeApp) -> None:
    client = make_app(**ON).test_client()
    assert client.get("/auth/account/activity", headers=JSON).status_code == 401
    assert client.get("/auth/account/activity").location == "/auth/sign-in?next=/auth/account/activity"


# Off


def test_where_it_is_off_there_is_nothing(make_app: MakeApp, sign_in: SignIn) -> None:
    app = make_app()
    client = app.test_client()
    sign_in(client, ADA)
    assert client.get("/auth/account/activity").status_code == 404
    assert "Recent activity" not in client.get("/auth/account").text
    assert app.extensions["chatbotkit_auth"].store.events() == []
    result = app.test_cli_runner().invoke(args=["chatbotkit-auth", "events"])
    assert result.exit_code == 1
    assert "CHATBOTKIT_AUTH_EVENTS" in result.output


def test_what_is_off_is_not_imported() -> None:
    step = (
        "import flask, flask_chatbotkit_auth, sys; app = flask.Flask('app', instance_path='/nowhere'); "
        "app.config.update(SECRET_KEY='x', CHATBOTKIT_API_SECRET='sk-test'); flask_chatbotkit_auth.ChatBotKitAuth(app); "
        "off = ('events', 'web.activity', 'web.address', 'flows.address', 'cli.events'); "
        "print([each for each in off if 'flask_chatbotkit_auth.' + each in sys.modules])"
    )
    run = subprocess.run([sys.executable, "-c", step], capture_output=True, text=True, check=True)
    assert run.stdout == "[]\n"
