"""What an application does with its users through ``current_auth``, and the switches that guard it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient
from flask_login import AnonymousUserMixin
from flask_mail import Message
from werkzeug.test import TestResponse

from flask_chatbotkit_auth import (
    APIError,
    APIStatusError,
    ChatBotKitClient,
    ConfigurationError,
    EmailTaken,
    LifecycleDisabled,
    NotAuthorized,
    NotFound,
    PartnerAdapter,
    StoreError,
    User,
    current_auth,
    session_ended,
    user_deleted,
    user_updated,
)
from flask_chatbotkit_auth.testing import Sandbox
from flask_chatbotkit_auth.testing.plugin import read_code
from tests.support.apps import Clock, MakeApp
from tests.support.sites import Worker
from tests.support.steps import ask, verify

ADA = "ada@example.com"

SignIn = Callable[..., TestResponse]


def signed_in_user(client: FlaskClient, sign_in: SignIn) -> str:
    return str(sign_in(client, ADA).get_json()["user"]["id"])


@pytest.mark.parametrize("adapter", ["partner", "contact"])
def test_an_update_is_seen_by_every_session(make_app: MakeApp, sign_in: SignIn, adapter: str) -> None:
    app = make_app(CHATBOTKIT_AUTH_ADAPTER=adapter)
    client, other = app.test_client(), app.test_client()
    id = signed_in_user(client, sign_in)
    sign_in(other, ADA)
    heard: list[list[str]] = []

    def hear(_app: Flask, user: User, fields: list[str]) -> None:
        heard.append(fields)

    with app.app_context(), user_updated.connected_to(hear, app):
        updated = current_auth.update_user(id, name="Ada", image="https://example.com/a.png", meta={"plan": "pro"})
    assert (updated.name, updated.image, updated.meta["plan"]) == ("Ada", "https://example.com/a.png", "pro")
    assert heard == [["image", "meta", "name"]]
    for each in (client, other):
        assert each.get("/auth/session").get_json()["user"]["name"] == "Ada"


def test_only_what_is_given_is_changed(make_app: MakeApp, chatbotkit_sandbox: Sandbox) -> None:
    record = chatbotkit_sandbox.add_user(ADA, name="Ada", meta={"plan": "pro", "since": 1})
    with make_app().app_context():
        user = current_auth.update_user(record["id"], meta={"plan": "free"})
        assert (user.name, dict(user.meta)) == ("Ada", {"plan": "free", "since": 1})
        with pytest.raises(TypeError, match="'colour'"):
            current_auth.update_user(record["id"], colour="red")
        with pytest.raises(NotFound):
            current_auth.update_user("nobody", name="x")


def test_a_deletion_ends_every_session(make_app: MakeApp, sign_in: SignIn, chatbotkit_sandbox: Sandbox) -> None:
    app = make_app(CHATBOTKIT_AUTH_AUTO_DELETE=True)
    client = app.test_client()
    id = signed_in_user(client, sign_in)
    heard: list[tuple[str, str, str]] = []

    def hear(_app: Flask, user_id: str, reason: str, user: User | None = None) -> None:
        heard.append((user_id, reason, user.email if user else ""))

    with app.app_context(), user_deleted.connected_to(hear, app), session_ended.connected_to(hear, app):
        current_auth.delete_user(id)
        current_auth.delete_user(id)
    assert heard == [(id, "deleted", ""), (id, "deleted", ADA), (id, "deleted", "")]
    assert id not in chatbotkit_sandbox.users
    assert client.get("/dashboard").status_code == 302


@pytest.mark.parametrize("method", ["save_user", "end_sessions"])
def test_what_happened_to_an_account_is_told_although_the_store_fails(
    make_app: MakeApp, sign_in: SignIn, monkeypatch: pytest.MonkeyPatch, method: str
) -> None:
    app = make_app(CHATBOTKIT_AUTH_AUTO_DELETE=True)
    id = signed_in_user(app.test_client(), sign_in)
    heard: list[str] = []

    def fail(*_args: object, **_named: object) -> None:
        raise StoreError("gone")

    def hear(_app: Flask, **_data: object) -> None:
        heard.append(method)

    monkeypatch.setattr(app.extensions["chatbotkit_auth"].store, method, fail)
    user_deleted.connect(hear, app)
    user_updated.connect(hear, app)
    with app.app_context(), pytest.raises(StoreError):
        current_auth.update_user(id, name="Ada") if method == "save_user" else current_auth.delete_user(id)
    assert heard == [method]


def test_who_is_suspended_in_the_middle_of_a_sign_in_stays_out(
    make_app: MakeApp, sign_in: SignIn, chatbotkit_outbox: list[Message], monkeypatch: pytest.MonkeyPatch
) -> None:
    app = make_app()
    id = signed_in_user(app.test_client(), sign_in)
    state = app.extensions["chatbotkit_auth"]
    complete = state.store.complete

    def suspend_first(*args: Any, **named: Any) -> Any:
        state.suspend(id)
        return complete(*args, **named)

    client = app.test_client()
    with monkeypatch.context() as patch:
        patch.setattr(state.store, "complete", suspend_first)
        ask(client, ADA)
        assert verify(client, read_code(chatbotkit_outbox[-1])).status_code == 400
    assert client.get("/auth/session").get_json()["user"] is None
    with app.app_context():
        current_auth.resume(id)
    assert client.get("/auth/session").get_json()["user"] is None
    sign_in(client, ADA)


@pytest.mark.parametrize("has_session", [True, False])
def test_whose_account_another_worker_deletes_in_the_middle_of_a_sign_in_gets_no_session(
    worker: Worker,
    sign_in: SignIn,
    chatbotkit_outbox: list[Message],
    monkeypatch: pytest.MonkeyPatch,
    has_session: bool,
) -> None:
    app, another = worker(), worker()
    id = signed_in_user(app.test_client(), sign_in)
    state = app.extensions["chatbotkit_auth"]
    complete = state.store.complete
    if not has_session:
        state.store.end_sessions(id)

    def delete_first(*args: Any, **named: Any) -> Any:
        with another.app_context():
            current_auth.admin.delete(id)
        return complete(*args, **named)

    client = app.test_client()
    with monkeypatch.context() as patch:
        patch.setattr(state.store, "complete", delete_first)
        ask(client, ADA)
        assert verify(client, read_code(chatbotkit_outbox[-1])).status_code == 400
    assert client.get("/auth/session").get_json()["user"] is None


def test_a_switch_that_is_off_says_which(make_app: MakeApp, sign_in: SignIn, chatbotkit_sandbox: Sandbox) -> None:
    app = make_app(CHATBOTKIT_AUTH_AUTO_UPDATE=False)
    client = app.test_client()
    id = signed_in_user(client, sign_in)
    chatbotkit_sandbox.requests.clear()
    with app.app_context():
        with pytest.raises(LifecycleDisabled, match="CHATBOTKIT_AUTH_AUTO_UPDATE"):
            current_auth.update_user(id, name="Ada")
        with pytest.raises(LifecycleDisabled, match="CHATBOTKIT_AUTH_AUTO_DELETE"):
            current_auth.delete_user(id)
    assert not chatbotkit_sandbox.requests
    assert client.get("/dashboard").status_code == 200


@pytest.mark.parametrize("adapter", ["partner", "contact"])
def test_auto_update_off_still_signs_people_in(
    make_app: MakeApp, sign_in: SignIn, chatbotkit_sandbox: Sandbox, adapter: str
) -> None:
    if adapter == "partner":
        chatbotkit_sandbox.add_user(ADA)
    else:
        chatbotkit_sandbox.add_contact(ADA, meta={"email": ADA})
    client = make_app(
        CHATBOTKIT_AUTH_ADAPTER=adapter, CHATBOTKIT_AUTH_AUTO_UPDATE=False, CHATBOTKIT_AUTH_AUTO_CREATE=False
    ).test_client()
    sign_in(client, ADA)
    assert client.get("/dashboard").status_code == 200
    assert all(request.method == "GET" for request in chatbotkit_sandbox.requests)


def test_sessions_are_told_and_ended(make_app: MakeApp, sign_in: SignIn, clock: Clock) -> None:
    app = make_app()
    first, second = app.test_client(), app.test_client()
    id = signed_in_user(first, sign_in)
    clock.advance(60)
    sign_in(second, ADA)
    with app.app_context():
        newest, oldest = current_auth.sessions(id)
        assert newest.seen_at > oldest.seen_at
        assert not current_auth.end_session("somebody else", newest.id)
        assert current_auth.end_session(id, newest.id)
        assert not current_auth.end_session(id, newest.id)
        assert second.get("/dashboard").status_code == 302
        assert current_auth.end_sessions(oldest.user, keep=oldest.id) == 0
        assert current_auth.end_sessions(oldest.user) == 1
    assert first.get("/dashboard").status_code == 302


def test_a_contact_that_moves_leaves_its_old_address_behind(
    make_app: MakeApp, sign_in: SignIn, chatbotkit_sandbox: Sandbox
) -> None:
    app = make_app(CHATBOTKIT_AUTH_ADAPTER="contact")
    id = signed_in_user(app.test_client(), sign_in)
    with app.app_context():
        assert current_auth.update_user(id, email="countess@example.com").email == "countess@example.com"
    # Who has the old address now is somebody else, and `ensure` must not hand them this contact by its fingerprint.
    assert sign_in(app.test_client(), ADA).get_json()["user"]["id"] != id
    assert sign_in(app.test_client(), "countess@example.com").get_json()["user"]["id"] == id
    with app.app_context(), pytest.raises(EmailTaken):
        current_auth.update_user(id, email=ADA)


# Acting on ChatBotKit


def test_a_client_acts_as_the_sub_account(
    app: Flask, client: FlaskClient, sign_in: SignIn, chatbotkit_sandbox: Sandbox
) -> None:
    id = signed_in_user(client, sign_in)
    with app.app_context():
        current_auth.client_for(id).get("/contact/list")
        assert chatbotkit_sandbox.requests[-1].headers["x-runas-user-id"] == id
        current_auth.client.get("/contact/list")
        assert "x-runas-user-id" not in chatbotkit_sandbox.requests[-1].headers


def test_a_contacts_client_is_the_accounts(make_app: MakeApp, chatbotkit_sandbox: Sandbox) -> None:
    contact = chatbotkit_sandbox.add_contact(ADA, meta={"email": ADA})
    with make_app(CHATBOTKIT_AUTH_ADAPTER="contact").app_context():
        user = current_auth.adapter.get(contact["id"])
        assert user is not None
        assert current_auth.client_for(user) is current_auth.client
        with pytest.raises(ConfigurationError, match="CHATBOTKIT_AUTH_ADAPTER"):
            current_auth.browser_token(user)


def test_a_browser_token_opens_what_it_was_made_for(
    app: Flask, client: FlaskClient, sign_in: SignIn, chatbotkit_sandbox: Sandbox
) -> None:
    id = signed_in_user(client, sign_in)
    with app.app_context():
        answer = current_auth.browser_token(id, seconds=60, allowed_routes=["/contact/list"])
        request = chatbotkit_sandbox.requests[-1]
        assert request.path.endswith(f"/{id}/session/create")
        assert request.json == {"durationInSeconds": 60, "config": {"allowedRoutes": ["/contact/list"]}}
        assert sorted(answer) == ["expiresAt", "id", "token"]
        browser = ChatBotKitClient(answer["token"], chatbotkit_sandbox.url)
        assert browser.get("/contact/list")["items"] == []
        with pytest.raises(NotAuthorized):
            browser.get("/user/list")
        current_auth.browser_token(id)
        assert chatbotkit_sandbox.requests[-1].json == {"durationInSeconds": 900}


@pytest.mark.parametrize("id", ["", "..", "../x", "a/../b"])
def test_what_is_no_id_reaches_no_path(app: Flask, chatbotkit_sandbox: Sandbox, id: str) -> None:
    with app.app_context(), pytest.raises(APIError):
        current_auth.browser_token(id)
    assert not chatbotkit_sandbox.requests


def test_without_a_client_its_uses_say_so(chatbotkit_sandbox: Sandbox, make_app: MakeApp) -> None:
    class Directory(PartnerAdapter):
        pass

    adapter: Any = Directory(ChatBotKitClient("sk-test", chatbotkit_sandbox.url))
    app = make_app(CHATBOTKIT_API_SECRET=None, parts={"adapter": adapter})
    with app.app_context():
        assert current_auth.adapter is adapter
        with pytest.raises(ConfigurationError, match="CHATBOTKIT_API_SECRET"):
            current_auth.client_for("x")


def test_an_error_of_the_api_is_raised_and_ends_nothing(
    make_app: MakeApp, sign_in: SignIn, chatbotkit_sandbox: Sandbox
) -> None:
    app = make_app(CHATBOTKIT_AUTH_AUTO_DELETE=True, CHATBOTKIT_API_RETRIES=0)
    client = app.test_client()
    id = signed_in_user(client, sign_in)
    chatbotkit_sandbox.fail("*", status=500)
    with app.app_context():
        with pytest.raises(APIStatusError):
            current_auth.delete_user(id)
        with pytest.raises(APIStatusError):
            current_auth.update_user(id, name="Ada")
    assert client.get("/dashboard").status_code == 200


def test_nobody_is_no_user(make_app: MakeApp) -> None:
    with make_app().test_request_context(), pytest.raises(ValueError, match="nobody is signed in"):
        current_auth.client_for(AnonymousUserMixin())


def test_normal_traffic_sweeps_what_is_over(make_app: MakeApp, clock: Clock) -> None:
    app = make_app(CHATBOTKIT_AUTH_RATE_LIMITS={"request:ip": None})
    store = app.extensions["chatbotkit_auth"].store
    largest = 0
    for number in range(4 * 64):
        client = app.test_client()
        token = client.get("/auth/session").get_json()["csrf_token"]
        client.post("/auth/sign-in", json={"email": f"{number}@example.com"}, headers={"X-CSRFToken": token})
        clock.advance(120)
        largest = max(largest, len(store.keys("challenge:")))
    # A challenge is over after 10 minutes and kept for another hour, 35 of them; the sweep comes with every 64th.
    assert largest <= 35 + 64 + 1


def test_a_sweep_that_fails_costs_nobody_their_code(
    make_app: MakeApp,
    monkeypatch: pytest.MonkeyPatch,
    chatbotkit_outbox: list[Message],
    caplog: pytest.LogCaptureFixture,
) -> None:
    app = make_app(CHATBOTKIT_AUTH_RATE_LIMITS={"request:ip": None, "request:email": None})

    def fail(**_: object) -> int:
        raise StoreError("the disk is full")

    monkeypatch.setattr(app.extensions["chatbotkit_auth"].store, "purge", fail)
    client = app.test_client()
    token = client.get("/auth/session").get_json()["csrf_token"]
    for _ in range(64):
        answer = client.post("/auth/sign-in", json={"email": "ada@example.com"}, headers={"X-CSRFToken": token})
        assert answer.status_code == 200
    assert len(chatbotkit_outbox) == 64
    assert caplog.text.count("expired records could not be deleted (the disk is full)") == 1
