"""What a product needs of accounts: fields of new ones, provisioning, administration, suspension, deletion."""

from __future__ import annotations

from collections.abc import Callable
from threading import Event
from typing import Any

import pytest
from flask import Flask

from flask_chatbotkit_auth import (
    ChatBotKitAuth,
    DeletionDenied,
    EmailTaken,
    User,
    current_auth,
    user_created,
    user_deleted,
    user_signed_in,
)
from flask_chatbotkit_auth.testing import Sandbox
from tests.support.apps import Clock
from tests.support.sites import ADA, SignIn, Worker, auth_of, copy_of, fetches, is_in
from tests.support.steps import ask, error, verify
from tests.support.workers import at_once


def hooks_of(app: Flask) -> ChatBotKitAuth:
    auth: ChatBotKitAuth = app.extensions["test_auth"]
    return auth


def test_a_new_account_is_made_with_its_fields_in_one_call(
    worker: Worker, chatbotkit_sandbox: Sandbox, sign_in: SignIn
) -> None:
    app = worker()
    hooks_of(app).new_user_callback(
        lambda identifier: {"name": identifier.partition("@")[0], "limits": {"messages": 10}, "meta": {"plan": "free"}}
    )
    sign_in(app.test_client(), ADA)
    (create,) = (each for each in chatbotkit_sandbox.requests if each.path.endswith("/create"))
    assert (create.json["name"], create.json["limits"]) == ("ada", {"messages": 10})
    assert create.json["meta"]["plan"] == "free"
    assert not any(each.path.endswith("/update") for each in chatbotkit_sandbox.requests)


def test_an_account_is_prepared_once(worker: Worker, sign_in: SignIn, chatbotkit_sandbox: Sandbox) -> None:
    app = worker()
    prepared: list[str] = []

    @hooks_of(app).provision
    def prepare(user: User) -> dict[str, str]:
        prepared.append(user.id)
        return {"bot": "b1"}

    for _time in range(2):
        client = app.test_client()
        user_id = sign_in(client, ADA).get_json()["user"]["id"]
        assert is_in(client)
    assert prepared == [user_id]
    meta = chatbotkit_sandbox.users[user_id]["meta"]
    assert meta["bot"] == "b1"
    assert meta["provisionedAt"]


def test_a_preparation_that_fails_keeps_the_code(worker: Worker, mail_code: Callable[..., str]) -> None:
    app = worker()
    answers: list[Any] = [RuntimeError("no bots today"), {}]
    created: list[str] = []

    @hooks_of(app).provision
    def prepare(_user: User) -> Any:
        answer = answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    def hear(_app: Flask, user: User) -> None:
        created.append(user.email)

    client = app.test_client()
    with user_created.connected_to(hear, app):
        ask(client)
        assert error(verify(client, mail_code())) == (503, "not_ready")
        assert not is_in(client)
        assert verify(client, "").status_code == 200
    assert is_in(client)
    assert created == [ADA]


def test_two_workers_prepare_an_account_once(
    worker: Worker, sign_in: SignIn, chatbotkit_sandbox: Sandbox, clock: Clock
) -> None:
    here, there = worker(), worker()
    client = here.test_client()
    sign_in(client, ADA)
    begun, done = Event(), Event()
    prepared: list[str] = []

    def prepare(user: User) -> dict[str, str]:
        prepared.append(user.id)
        begun.set()
        assert done.wait(30)
        return {"bot": "b1"}

    for app in (here, there):
        hooks_of(app).provision(prepare)
    elsewhere = copy_of(client, there)

    def visit(number: int) -> int:
        if number == 0:
            return client.get("/dashboard").status_code
        assert begun.wait(30)
        status = elsewhere.get("/dashboard").status_code
        done.set()
        return status

    assert at_once(2, visit) == [200, 503]
    clock.advance(5)
    assert is_in(elsewhere)
    assert len(prepared) == 1


def test_an_administrator_is_bound_by_no_switch(worker: Worker, sign_in: SignIn, chatbotkit_sandbox: Sandbox) -> None:
    app = worker(CHATBOTKIT_AUTH_AUTO_UPDATE=False, CHATBOTKIT_AUTH_AUTO_CREATE=False)
    deleted: list[str | None] = []

    def hear(_app: Flask, user_id: str, user: User | None) -> None:
        deleted.append(user.email if user else None)

    with app.app_context():
        user = current_auth.admin.create("Ada@Example.com", name="Ada", meta={"plan": "pro"})
        with pytest.raises(EmailTaken):
            current_auth.admin.create(ADA)
        with pytest.raises(TypeError, match="'colour'"):
            current_auth.admin.update(user, colour="red")
    client = app.test_client()
    sign_in(client, ADA)
    with app.app_context(), user_deleted.connected_to(hear, app):
        assert current_auth.admin.update(user, name="Countess").name == "Countess"
        assert client.get("/auth/session").get_json()["user"]["name"] == "Countess"
        assert current_auth.admin.delete(user.id) == 1
    assert deleted == [ADA]
    assert not is_in(client)


def test_suspension_is_at_once_and_for_sign_ins_too(
    worker: Worker, sign_in: SignIn, chatbotkit_sandbox: Sandbox
) -> None:
    app = worker()
    client = app.test_client()
    user_id = sign_in(client, ADA).get_json()["user"]["id"]
    with app.app_context():
        current_auth.suspend(user_id)
        assert current_auth.user(user_id) is None
    assert not is_in(client)
    assert error(sign_in(app.test_client(), ADA)) == (403, "sign_in_denied")
    with app.app_context():
        current_auth.resume(user_id)
        assert current_auth.user(user_id) is not None
    assert is_in(client)


def test_a_user_by_id_is_as_their_requests_see_them(worker: Worker, chatbotkit_sandbox: Sandbox, clock: Clock) -> None:
    record = chatbotkit_sandbox.add_user(ADA)
    app = worker()
    hooks_of(app).user_callback(lambda user: User(id=user.id, email=user.email, name="of our own"))
    with app.app_context():
        for _time in range(3):
            found = current_auth.user(record["id"])
            assert found is not None
            assert found.name == "of our own"
        assert fetches(chatbotkit_sandbox) == 1
        clock.advance(900)
        chatbotkit_sandbox.users.clear()
        assert current_auth.user(record["id"]) is None
        assert current_auth.user("nobody") is None


@pytest.mark.parametrize("answer", ["Cancel your plan first.", False])
def test_the_application_may_keep_an_account(
    worker: Worker, sign_in: SignIn, chatbotkit_sandbox: Sandbox, answer: object
) -> None:
    app = worker(CHATBOTKIT_AUTH_AUTO_DELETE=True)
    user_id = sign_in(app.test_client(), ADA).get_json()["user"]["id"]
    hooks_of(app).delete_callback(lambda user: answer)
    with app.app_context():
        with pytest.raises(DeletionDenied) as refused:
            current_auth.delete_user(user_id)
        assert refused.value.reason == (answer or None)
        assert user_id in chatbotkit_sandbox.users
        current_auth.admin.delete(user_id)
    assert user_id not in chatbotkit_sandbox.users


def test_a_link_from_elsewhere_keeps_a_strict_session(worker: Worker, sign_in: SignIn) -> None:
    client = worker(SESSION_COOKIE_SAMESITE="Strict").test_client()
    headers = {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate"}
    first = client.get("/auth/sign-in", headers=headers)
    assert 'http-equiv="refresh"' in first.text
    assert "Set-Cookie" not in first.headers
    again = client.get("/auth/sign-in", headers={**headers, "Sec-Fetch-Site": "same-origin"})
    assert "<form" in again.text


def test_everybody_is_signed_out_by_one_command(worker: Worker, sign_in: SignIn) -> None:
    app = worker(CHATBOTKIT_AUTH_SESSION_CHECK=0)
    clients = [app.test_client() for _ in range(2)]
    for number, client in enumerate(clients):
        sign_in(client, f"ada{number}@example.com")
    run = app.test_cli_runner().invoke
    assert "Name a user" in run(args=["chatbotkit-auth", "sessions", "end"]).output
    told = run(args=["chatbotkit-auth", "sessions", "end", "--all", "--yes"])
    assert "2 sessions ended" in told.stdout, auth_of(app)
    assert [is_in(client) for client in clients] == [False, False]


@pytest.mark.parametrize("kind", ["partner", "contact"])
def test_the_address_of_an_account_that_others_made_is_known_to_be_proved(
    worker: Worker, sign_in: SignIn, chatbotkit_sandbox: Sandbox, clock: Clock, kind: str
) -> None:
    app, elsewhere = (worker(CHATBOTKIT_AUTH_ADAPTER=kind) for _ in range(2))
    told: list[User] = []

    def hear(_app: Flask, user: User, **_more: Any) -> None:
        told.append(user)

    with app.app_context():
        made = current_auth.admin.create(ADA)
    if kind == "contact":
        chatbotkit_sandbox.contacts[made.id].pop("verifiedAt", None)
    client, proved_at = app.test_client(), clock.now.isoformat()
    with user_signed_in.connected_to(hear, app):
        assert sign_in(client, ADA).get_json()["user"]["email_verified"]
    chatbotkit_sandbox.requests.clear()
    for browser in (client, copy_of(client, elsewhere)):
        for _time in range(2):
            shown = browser.get("/auth/session").get_json()["user"]["email_verified"]
            assert shown == proved_at or kind == "contact"
            assert shown
            clock.advance(901)
    assert told[0].email_verified is not None
    assert {each.method for each in chatbotkit_sandbox.requests} == {"GET"}
    if kind == "partner":
        assert "verifiedAt" not in chatbotkit_sandbox.users[made.id].get("meta", {})


def test_nobody_proves_an_address_by_another_way_in(worker: Worker, chatbotkit_sandbox: Sandbox) -> None:
    record = chatbotkit_sandbox.add_user(ADA)
    app = worker()

    @app.post("/enter")
    def enter() -> dict[str, str]:
        current_auth.sign_in(record["id"])
        return {}

    client = app.test_client()
    client.post("/enter")
    assert client.get("/auth/session").get_json()["user"]["email_verified"] is None


def test_hooks_may_be_asynchronous(app: Flask, sign_in: SignIn, chatbotkit_sandbox: Sandbox) -> None:
    hooks, sent = hooks_of(app), []

    @hooks.send_verification_request
    async def send(identifier: str, code: str) -> None:
        sent.append((identifier, code))

    @hooks.sign_up_callback
    async def may_sign_up(identifier: str) -> bool:
        return identifier == ADA

    @hooks.sign_in_callback
    async def may_sign_in(identifier: str, user: User) -> str | None:
        return None if user.name != "Mallory" else "You left"

    @hooks.new_user_callback
    async def begin(identifier: str) -> dict[str, Any]:
        return {"name": "Ada"}

    @hooks.provision
    async def provide(user: User) -> dict[str, Any]:
        return {"bot": "b1"}

    @hooks.session_callback
    async def tell(session: dict[str, Any], user: User) -> dict[str, Any]:
        return {**session, "bot": user.meta["bot"]}

    @hooks.user_callback
    async def as_it_is(user: User) -> User:
        return user

    client = app.test_client()
    assert ask(client).status_code == 200
    assert verify(client, sent[0][1]).status_code == 200
    (account,) = chatbotkit_sandbox.users.values()
    assert (account["name"], account["meta"]["bot"]) == ("Ada", "b1")
    assert client.get("/auth/session").get_json()["bot"] == "b1"
    ask(app.test_client(), "eve@example.com")
    assert len(sent) == 1
    account["name"] = "Mallory"
    client = app.test_client()
    ask(client)
    assert error(verify(client, sent[1][1])) == (403, "sign_in_denied")
