"""Changing the address: a fresh proof, a code to the new address, and the change at the very end."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient
from flask_mail import Message
from werkzeug.test import TestResponse

from flask_chatbotkit_auth import (
    ChatBotKitAuth,
    ConfigurationError,
    MemoryStore,
    StoreError,
    User,
    email_changed,
    session_ended,
    user_updated,
)
from flask_chatbotkit_auth.testing import Sandbox
from flask_chatbotkit_auth.testing.plugin import read_code
from tests.support.apps import Clock, MakeApp
from tests.support.steps import error, post
from tests.support.workers import at_once

ADA, NEW, BEN = "ada@example.com", "ada@new.example", "ben@example.com"
PHONE = "Mozilla/5.0 (Linux; Android 14) Chrome/126.0 Mobile Safari/537.36"

SignIn = Callable[..., TestResponse]
Outbox = list[Message]


@pytest.fixture(params=["partner", "contact"])
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def app(make_app: MakeApp, kind: str) -> Flask:
    return make_app(CHATBOTKIT_AUTH_EMAIL_CHANGE=True, CHATBOTKIT_AUTH_ADAPTER=kind, CHATBOTKIT_AUTH_SESSION_CHECK=0)


@pytest.fixture
def ada(client: FlaskClient, sign_in: SignIn) -> FlaskClient:
    """A browser in which Ada is signed in."""
    client.environ_base["HTTP_USER_AGENT"] = PHONE
    sign_in(client, ADA)
    return client


@pytest.fixture
def partner(make_app: MakeApp) -> Flask:
    """An application for what is the same in both modes."""
    return make_app(CHATBOTKIT_AUTH_EMAIL_CHANGE=True, CHATBOTKIT_AUTH_SESSION_CHECK=0)


def ask(client: FlaskClient, email: str = NEW) -> TestResponse:
    return post(client, "/auth/account/email", {"email": email})


def verify(client: FlaskClient, code: str = "") -> TestResponse:
    return post(client, "/auth/account/email/verify", {"code": code})


def change(client: FlaskClient, outbox: Outbox, email: str = NEW) -> TestResponse:
    assert ask(client, email).status_code == 200
    return verify(client, read_code(outbox[-1]))


def submit(client: FlaskClient, path: str, **fields: str) -> TestResponse:
    token = client.get("/auth/session").get_json()["csrf_token"]
    answer = client.post(f"/auth/account{path}", data={**fields, "csrf_token": token})
    assert answer.status_code == 303
    return client.get(answer.location)


def user(client: FlaskClient) -> Any:
    return client.get("/auth/session").get_json()["user"]


def records(sandbox: Sandbox, kind: str) -> list[dict[str, Any]]:
    return list((sandbox.users if kind == "partner" else sandbox.contacts).values())


def test_the_address_is_changed_and_everything_follows(
    app: Flask, ada: FlaskClient, sign_in: SignIn, chatbotkit_sandbox: Sandbox, chatbotkit_outbox: Outbox, kind: str
) -> None:
    other = app.test_client()
    sign_in(other, ADA)
    with ada.session_transaction() as session:
        session["cart"] = ["tea"]
    before = {name: ada.get_cookie(name) for name in ("session", "remember_token", "chatbotkit_auth_device")}
    heard: list[Any] = []
    (id,) = (each["id"] for each in records(chatbotkit_sandbox, kind))

    def hear_change(_app: Flask, user: User, before: str) -> None:
        heard.append((user.email, before))

    def hear_update(_app: Flask, user: User, fields: list[str]) -> None:
        heard.append((user.email, fields))

    def hear_end(_app: Flask, reason: str) -> None:
        heard.append(reason)

    asked = ask(ada, " Ada@NEW.example ")
    assert asked.get_json() == {"challenge": {"email": "a•••@new.example", "expires_in": 600, "resend_in": 30}}
    mail = chatbotkit_outbox[-1]
    assert mail.recipients == [NEW]
    assert "your code to change your Shop email address" in str(mail.subject)
    assert user(ada)["email"] == ADA
    with (
        email_changed.connected_to(hear_change, app),
        user_updated.connected_to(hear_update, app),
        session_ended.connected_to(hear_end, app),
    ):
        answer = verify(ada, read_code(mail))
    assert answer.status_code == 200
    assert answer.get_json()["user"]["email"] == NEW
    assert answer.get_json()["user"]["email_verified"] is not None
    assert heard == ["address_changed", (NEW, ["email"]), (NEW, ADA)]

    # This browser goes on, with all that was in its session; every other one is signed out.
    assert ada.get("/dashboard").text == f"Hello {NEW}"
    with ada.session_transaction() as session:
        assert session["cart"] == ["tea"]
    assert other.get("/dashboard").status_code == 302
    assert all(ada.get_cookie(name) != cookie for name, cookie in before.items())
    (row,) = app.extensions["chatbotkit_auth"].store.list_sessions(id, now=app.extensions["chatbotkit_auth"].clock())
    assert (row.identifier, row.method) == (NEW, "code")
    copy = app.test_client()
    for cookie in before.values():
        assert cookie is not None
        copy.set_cookie(cookie.key, cookie.value)
    assert copy.get("/dashboard").status_code == 302

    # The old address is told, and is a stranger from now on.
    notice = chatbotkit_outbox[-1]
    assert (notice.recipients, notice.subject) == ([ADA], "Your email address was changed")
    for text in (notice.body, notice.html):
        assert "a•••@new.example" in str(text)
        assert "Chrome on Android" in str(text)
        assert "http" not in str(text)
        assert NEW not in str(text)
    stranger = app.test_client()
    assert sign_in(stranger, ADA).get_json()["user"]["id"] != id
    again = app.test_client()
    assert sign_in(again, NEW).get_json()["user"]["id"] == id


def test_a_contact_moves_in_one_update(
    make_app: MakeApp, sign_in: SignIn, chatbotkit_sandbox: Sandbox, chatbotkit_outbox: Outbox
) -> None:
    app = make_app(CHATBOTKIT_AUTH_EMAIL_CHANGE=True, CHATBOTKIT_AUTH_ADAPTER="contact")
    client = app.test_client()
    sign_in(client, ADA)
    (contact,) = chatbotkit_sandbox.contacts.values()
    before = contact["fingerprint"]
    ask(client)
    chatbotkit_sandbox.requests.clear()
    assert verify(client, read_code(chatbotkit_outbox[-1])).status_code == 200
    updates = [call for call in chatbotkit_sandbox.requests if call.path.endswith("/update")]
    assert len(updates) == 1
    (contact,) = chatbotkit_sandbox.contacts.values()
    assert (contact["email"], contact["meta"]["email"]) == (NEW, NEW)
    assert contact["fingerprint"] != before


def test_a_typo_that_is_never_proved_changes_nothing(
    app: Flask, ada: FlaskClient, sign_in: SignIn, chatbotkit_sandbox: Sandbox, kind: str
) -> None:
    assert ask(ada, "ada@typo.example").status_code == 200
    assert error(verify(ada, "000000")) == (400, "invalid_code")
    assert user(ada)["email"] == ADA
    assert [each["email"] for each in records(chatbotkit_sandbox, kind)] == [ADA]
    # Another address may be typed at once, and its code alone counts.
    assert ask(ada, NEW).get_json()["challenge"]["email"] == "a•••@new.example"
    assert sign_in(app.test_client(), ADA).status_code == 200


def test_that_an_address_is_taken_is_told_after_the_proof_alone(
    app: Flask, ada: FlaskClient, sign_in: SignIn, chatbotkit_sandbox: Sandbox, chatbotkit_outbox: Outbox, kind: str
) -> None:
    sign_in(app.test_client(), BEN)
    free, taken = ask(ada, NEW), ask(ada, BEN)
    assert (free.status_code, taken.status_code) == (200, 200)
    assert free.get_json()["challenge"] | {"email": ""} == taken.get_json()["challenge"] | {"email": ""}
    code = read_code(chatbotkit_outbox[-1])
    assert error(verify(ada, code)) == (409, "email_taken")
    assert error(verify(ada, code)) == (400, "no_challenge")
    assert sorted(each["email"] for each in records(chatbotkit_sandbox, kind)) == [ADA, BEN]
    assert user(ada)["email"] == ADA
    assert change(ada, chatbotkit_outbox).status_code == 200


def test_one_code_at_once_changes_the_address_once(
    app: Flask, ada: FlaskClient, chatbotkit_sandbox: Sandbox, chatbotkit_outbox: Outbox
) -> None:
    ask(ada)
    code = read_code(chatbotkit_outbox[-1])
    token = ada.get("/auth/session").get_json()["csrf_token"]
    cookies = [ada.get_cookie(name) for name in ("session", "remember_token")]
    clients = [app.test_client() for _ in range(6)]
    for client in clients:
        for cookie in cookies:
            assert cookie is not None
            client.set_cookie(cookie.key, cookie.value)
    path, headers = "/auth/account/email/verify", {"X-CSRFToken": token}
    answers = at_once(6, lambda number: clients[number].post(path, json={"code": code}, headers=headers))
    assert sorted(answer.status_code for answer in answers)[:2] != [200, 200]
    assert [answer.status_code for answer in answers].count(200) == 1
    winner = clients[[answer.status_code for answer in answers].index(200)]
    assert user(winner)["email"] == NEW
    notices = [each for each in chatbotkit_outbox if each.subject == "Your email address was changed"]
    assert len(notices) == 1


def test_of_two_changes_at_once_one_wins_and_ends_the_other(
    partner: Flask, sign_in: SignIn, chatbotkit_sandbox: Sandbox, chatbotkit_outbox: Outbox
) -> None:
    clients, codes = [partner.test_client() for _ in range(2)], []
    for number, client in enumerate(clients):
        sign_in(client, ADA)
        ask(client, f"ada@{number}.example")
        codes.append(read_code(chatbotkit_outbox[-1]))
    tokens = [client.get("/auth/session").get_json()["csrf_token"] for client in clients]
    answers = at_once(
        2,
        lambda number: clients[number].post(
            "/auth/account/email/verify", json={"code": codes[number]}, headers={"X-CSRFToken": tokens[number]}
        ),
    )
    statuses = [answer.status_code for answer in answers]
    assert statuses.count(200) == 1, [answer.get_json() for answer in answers]
    winner = statuses.index(200)
    assert user(clients[winner])["email"] == f"ada@{winner}.example"
    assert user(clients[1 - winner]) is None
    assert [each["email"] for each in chatbotkit_sandbox.users.values()] == [f"ada@{winner}.example"]


def test_of_two_people_who_want_one_address_one_gets_it(
    app: Flask, ada: FlaskClient, sign_in: SignIn, chatbotkit_sandbox: Sandbox, chatbotkit_outbox: Outbox, kind: str
) -> None:
    ben = app.test_client()
    sign_in(ben, BEN)
    codes = []
    for client in (ada, ben):
        ask(client)
        codes.append(read_code(chatbotkit_outbox[-1]))
    tokens = [client.get("/auth/session").get_json()["csrf_token"] for client in (ada, ben)]
    answers = at_once(
        2,
        lambda number: (ada, ben)[number].post(
            "/auth/account/email/verify", json={"code": codes[number]}, headers={"X-CSRFToken": tokens[number]}
        ),
    )
    assert sorted(answer.status_code for answer in answers) == [200, 409]
    assert [each["email"] for each in records(chatbotkit_sandbox, kind)].count(NEW) == 1


def test_a_write_that_fails_is_tried_again_without_a_code(
    app: Flask, ada: FlaskClient, chatbotkit_sandbox: Sandbox, chatbotkit_outbox: Outbox, kind: str
) -> None:
    ask(ada)
    code = read_code(chatbotkit_outbox[-1])
    chatbotkit_sandbox.fail("*/update", status=500)
    assert error(verify(ada, code)) == (503, "upstream_unavailable")
    page = ada.get("/auth/account/email").text
    assert "Your code was right" in page
    assert 'name="code" value=""' in page
    assert user(ada)["email"] == ADA
    chatbotkit_sandbox.heal()
    assert verify(ada).get_json()["user"]["email"] == NEW
    assert user(ada)["email"] == NEW


@pytest.mark.parametrize(
    ("method", "status"), [("add_session", 503), ("end_sessions", 503), ("finish", 200), ("touch_session", 200)]
)
def test_the_old_address_is_told_whatever_fails_after_the_change(
    app: Flask,
    ada: FlaskClient,
    chatbotkit_sandbox: Sandbox,
    chatbotkit_outbox: Outbox,
    kind: str,
    monkeypatch: pytest.MonkeyPatch,
    method: str,
    status: int,
) -> None:
    def fail(*_args: object, **_named: object) -> None:
        raise StoreError("gone")

    ask(ada)
    code = read_code(chatbotkit_outbox[-1])
    with monkeypatch.context() as patch:
        patch.setattr(app.extensions["chatbotkit_auth"].store, method, fail)
        assert verify(ada, code).status_code == status
    assert [each["email"] for each in records(chatbotkit_sandbox, kind)] == [NEW]
    notice = chatbotkit_outbox[-1]
    assert (notice.recipients, notice.subject) == ([ADA], "Your email address was changed")
    if status == 503:
        assert verify(ada).status_code == 200
    assert user(ada)["email"] == NEW


def test_another_browser_with_the_same_cookie_needs_the_code_all_the_same(
    app: Flask, ada: FlaskClient, chatbotkit_sandbox: Sandbox, chatbotkit_outbox: Outbox
) -> None:
    ask(ada)
    copy = app.test_client()
    for name in ("session", "remember_token"):
        cookie = ada.get_cookie(name)
        assert cookie is not None
        copy.set_cookie(name, cookie.value)
    chatbotkit_sandbox.fail("*/update", status=500)
    verify(ada, read_code(chatbotkit_outbox[-1]))
    chatbotkit_sandbox.heal()
    assert error(verify(copy))[0] == 400
    assert user(ada)["email"] == ADA


def test_a_code_of_another_purpose_changes_nothing(
    make_app: MakeApp, sign_in: SignIn, chatbotkit_outbox: Outbox
) -> None:
    app = make_app(CHATBOTKIT_AUTH_EMAIL_CHANGE=True, CHATBOTKIT_AUTH_AUTO_DELETE=True)
    client = app.test_client()
    sign_in(client, ADA)
    post(client, "/auth/account/delete/code", {})
    deletion = read_code(chatbotkit_outbox[-1])
    assert error(verify(client, deletion)) == (400, "no_challenge")
    post(client, "/auth/sign-in", {"email": NEW})
    assert error(verify(client, read_code(chatbotkit_outbox[-1]))) == (400, "no_challenge")
    ask(client)
    ours = read_code(chatbotkit_outbox[-1])
    for path, body in (("/auth/verify", {}), ("/auth/account/delete", {"confirm": ADA})):
        assert error(post(client, path, {"code": ours, **body})) == (400, "no_challenge")
    assert user(client)["email"] == ADA


def test_a_change_belongs_to_the_person_who_began_it(
    partner: Flask, sign_in: SignIn, chatbotkit_outbox: Outbox
) -> None:
    client = partner.test_client()
    sign_in(client, ADA)
    ask(client)
    code = read_code(chatbotkit_outbox[-1])
    with client.session_transaction() as session:
        kept = session["chatbotkit_auth"]
    sign_in(client, BEN)
    assert error(verify(client, code)) == (400, "no_challenge")
    with client.session_transaction() as session:
        session["chatbotkit_auth"] = kept
    assert error(verify(client, code)) == (400, "no_challenge")
    assert user(client)["email"] == BEN


def test_a_proof_older_than_ten_minutes_is_asked_for_again(
    partner: Flask, sign_in: SignIn, chatbotkit_outbox: Outbox, clock: Clock
) -> None:
    client = partner.test_client()
    sign_in(client, ADA)
    clock.advance(9 * 60)
    assert ask(client).status_code == 200
    clock.advance(2 * 60)  # the mail was slow, and that is nobody's fault
    assert verify(client, read_code(chatbotkit_outbox[-1])).status_code == 200
    clock.advance(10 * 60)
    assert error(ask(client, ADA)) == (403, "not_fresh")
    # The page leads to the sign-in, for the same person, and back.
    answer = client.get("/auth/account/email")
    assert answer.location == "/auth/sign-in?again=1&next=/auth/account/email"
    page = client.get(answer.location)
    assert page.status_code == 200
    assert f'value="{NEW}"' in page.text
    assert 'name="next" value="/auth/account/email"' in page.text
    sign_in(client, NEW)
    assert ask(client, ADA).status_code == 200


def test_a_session_that_proved_nothing_begins_no_change(partner: Flask) -> None:
    auth: ChatBotKitAuth = partner.extensions["test_auth"]
    assert auth
    state = partner.extensions["chatbotkit_auth"]
    partner.add_url_rule("/enter", "enter", lambda: state.sign_in(state.adapter.create(ADA)).email)
    client = partner.test_client()
    client.get("/enter")
    assert error(ask(client)) == (403, "not_fresh")


def test_five_changes_a_day(partner: Flask, sign_in: SignIn, clock: Clock) -> None:
    client = partner.test_client()
    sign_in(client, ADA)
    for number in range(5):
        assert ask(client, f"ada@{number}.example").status_code == 200
    refused = ask(client)
    assert error(refused) == (429, "rate_limited")
    assert "Too many changes" in refused.get_json()["error"]["message"]
    assert ask(client, "no address").status_code == 400


def test_another_code_for_the_same_address(
    partner: Flask, sign_in: SignIn, clock: Clock, chatbotkit_outbox: Outbox
) -> None:
    client = partner.test_client()
    sign_in(client, ADA)
    ask(client)
    first = read_code(chatbotkit_outbox[-1])
    assert error(ask(client)) == (429, "rate_limited")
    clock.advance(31)
    assert ask(client).status_code == 200
    assert read_code(chatbotkit_outbox[-1]) != first
    assert verify(client, first).status_code == 200


def test_another_code_is_told_to_have_been_sent(partner: Flask, sign_in: SignIn, clock: Clock) -> None:
    client = partner.test_client()
    sign_in(client, ADA)
    assert "New code sent" not in submit(client, "/email", email=NEW).text
    clock.advance(31)
    assert "New code sent. Earlier codes still work." in submit(client, "/email", email=NEW).text


def test_what_is_no_new_address_is_told_at_the_field(partner: Flask, sign_in: SignIn) -> None:
    client = partner.test_client()
    sign_in(client, ADA)
    assert error(ask(client, "Ada@example.com")) == (400, "invalid_email")
    for typed, sentence in (("nonsense@", "Enter a valid email address"), (ADA, "This is your address already")):
        page = submit(client, "/email", email=typed)
        assert page.status_code == 400
        assert sentence in page.text
        assert f'value="{typed}"' in page.text


def test_the_application_may_refuse_an_address(partner: Flask, sign_in: SignIn, chatbotkit_outbox: Outbox) -> None:
    auth: ChatBotKitAuth = partner.extensions["test_auth"]
    client = partner.test_client()
    sign_in(client, ADA)
    seen: list[tuple[str, str]] = []

    @auth.sign_in_callback
    def only_ours(identifier: str, user: User) -> bool:
        seen.append((identifier, user.email))
        return identifier.endswith("@example.com")

    assert error(change(client, chatbotkit_outbox)) == (403, "sign_in_denied")
    assert seen == [(NEW, NEW)]
    assert user(client)["email"] == ADA
    assert change(client, chatbotkit_outbox, "grace@example.com").status_code == 200


def test_a_sign_in_by_the_old_address_that_is_under_way_gets_no_session(
    partner: Flask, sign_in: SignIn, chatbotkit_outbox: Outbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    ada, eve = partner.test_client(), partner.test_client()
    sign_in(ada, ADA)
    store = partner.extensions["chatbotkit_auth"].store
    complete = store.complete

    def change_first(*args: Any, **named: Any) -> Any:
        assert change(ada, chatbotkit_outbox).status_code == 200
        return complete(*args, **named)

    post(eve, "/auth/sign-in", {"email": ADA})
    code = read_code(chatbotkit_outbox[-1])
    with monkeypatch.context() as patch:
        patch.setattr(store, "complete", change_first)
        assert error(post(eve, "/auth/verify", {"code": code})) == (400, "no_challenge")
    assert user(eve) is None
    assert user(ada)["email"] == NEW


def test_a_hook_is_told_at_the_old_address(partner: Flask, sign_in: SignIn, chatbotkit_outbox: Outbox) -> None:
    auth: ChatBotKitAuth = partner.extensions["test_auth"]
    told: list[Any] = []

    @auth.send_notice
    def tell(kind: str, user: User, facts: dict[str, Any]) -> None:
        told.append((kind, user.email, facts["email"]))

    client = partner.test_client()
    sign_in(client, ADA)
    assert change(client, chatbotkit_outbox).status_code == 200
    assert told == [("email_changed", ADA, "a•••@new.example")]


def test_by_hand(partner: Flask, sign_in: SignIn, chatbotkit_outbox: Outbox) -> None:
    client = partner.test_client()
    sign_in(client, ADA)
    assert 'href="/auth/account/email"' in client.get("/auth/account").text
    assert "New email address" in client.get("/auth/account/email").text
    page = submit(client, "/email", email=NEW)
    assert "We sent a code to" in page.text
    assert re.search("ada(<wbr>)?@new.example", page.text)
    wrong = submit(client, "/email/verify", code="000000" if read_code(chatbotkit_outbox[-1]) != "000000" else "1" * 6)
    assert wrong.status_code == 400
    assert "4 tries left" in wrong.text
    assert "New email address" in client.get("/auth/account/email?new=1").text
    done = submit(client, "/email/verify", code=read_code(chatbotkit_outbox[-1]))
    assert done.status_code == 200
    assert "Your email address is changed." in done.text
    assert NEW in done.text


def test_nothing_is_there_where_it_is_off(make_app: MakeApp, sign_in: SignIn) -> None:
    app = make_app()
    client = app.test_client()
    sign_in(client, ADA)
    assert ask(client).status_code == 404
    assert client.get("/auth/account/email").status_code == 404
    assert "Change address" not in client.get("/auth/account").text


def test_it_needs_auto_update(make_app: MakeApp) -> None:
    with pytest.raises(ConfigurationError, match="CHATBOTKIT_AUTH_EMAIL_CHANGE needs CHATBOTKIT_AUTH_AUTO_UPDATE"):
        make_app(CHATBOTKIT_AUTH_EMAIL_CHANGE=True, CHATBOTKIT_AUTH_AUTO_UPDATE=False, store=MemoryStore())
