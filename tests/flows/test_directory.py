"""Whole sign-ins and account pages over a faithful API: nobody loses data, and nobody gets into another's account."""

from __future__ import annotations

from collections.abc import Callable
from html import unescape
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from flask_chatbotkit_auth import ChatBotKitAuth, ContactAdapter, EmailTaken, User, current_auth, user_created
from flask_chatbotkit_auth import profile as profile_module
from flask_chatbotkit_auth.testing import Sandbox
from tests.support.apps import MakeApp
from tests.support.steps import post

ADA, EVE = "ada@example.com", "eve@example.com"
PICTURE = "https://example.com/a.png"

SignIn = Callable[..., TestResponse]


def profile(client: FlaskClient, **fields: str) -> TestResponse:
    return post(client, "/auth/account/profile", fields)


def user_id(answer: TestResponse) -> str:
    return str(answer.get_json()["user"]["id"])


@pytest.fixture
def contacts(make_app: MakeApp) -> Flask:
    return make_app(CHATBOTKIT_AUTH_ADAPTER="contact")


def fingerprint(app: Flask, email: str) -> str:
    with app.app_context():
        adapter = current_auth.adapter
        assert isinstance(adapter, ContactAdapter)
        return adapter.fingerprint(email)


def test_a_person_of_the_node_adapter_who_saves_a_picture_stays_who_they_are(
    contacts: Flask, sign_in: SignIn, chatbotkit_sandbox: Sandbox
) -> None:
    record = chatbotkit_sandbox.add_contact(ADA, meta={"email": ADA, "image": "", "plan": "pro"})
    client = contacts.test_client()
    sign_in(client, ADA)
    assert profile(client, image=PICTURE).status_code == 200
    assert record["meta"] == {"email": ADA, "image": PICTURE, "plan": "pro"}
    assert user_id(sign_in(contacts.test_client(), ADA)) == record["id"]
    assert len(chatbotkit_sandbox.contacts) == 1


@pytest.mark.parametrize("kind", ["partner", "contact"])
@pytest.mark.parametrize("knows_update", [True, False])
def test_what_an_application_writes_into_meta_leaves_the_rest(
    make_app: MakeApp, sign_in: SignIn, chatbotkit_sandbox: Sandbox, kind: str, knows_update: bool
) -> None:
    chatbotkit_sandbox.knows_update = knows_update
    app = make_app(CHATBOTKIT_AUTH_ADAPTER=kind)
    id = user_id(sign_in(app.test_client(), ADA))
    record = (chatbotkit_sandbox.users if kind == "partner" else chatbotkit_sandbox.contacts)[id]
    before = dict(record["meta"])
    with app.app_context():
        current_auth.update_user(id, meta={"plan": "pro"})
        current_auth.update_user(id, meta={"theme": "dark"})
    assert record["meta"] == {**before, "plan": "pro", "theme": "dark"}
    app.extensions["chatbotkit_auth"].adapter.auto_create = False
    assert user_id(sign_in(app.test_client(), ADA)) == id


def test_who_has_the_old_address_of_a_contact_gets_an_account_of_their_own(
    contacts: Flask, sign_in: SignIn, chatbotkit_sandbox: Sandbox
) -> None:
    moved = chatbotkit_sandbox.add_contact(
        EVE, name="Eve", fingerprint=fingerprint(contacts, ADA), verifiedAt=1, meta={"email": EVE}
    )
    user = sign_in(contacts.test_client(), ADA).get_json()["user"]
    assert (user["id"] != moved["id"], user["email"], user["name"]) == (True, ADA, None)


def test_a_suspended_person_stays_out_whatever_way_the_account_is_found(
    make_app: MakeApp, chatbotkit_sandbox: Sandbox, sign_in: SignIn
) -> None:
    app = make_app(CHATBOTKIT_AUTH_ADAPTER="contact")
    auth: ChatBotKitAuth = app.extensions["test_auth"]
    seen: list[User] = []

    @auth.sign_in_callback
    def may(identifier: str, user: User) -> bool:
        seen.append(user)
        return not user.meta.get("suspended")

    record = chatbotkit_sandbox.add_contact(
        ADA, fingerprint=fingerprint(app, ADA), verifiedAt=1, meta={"email": "", "suspended": True}
    )
    created: list[User] = []
    with user_created.connected_to(lambda _app, user, **_more: created.append(user)):
        answer = sign_in(app.test_client(), ADA)
    assert (answer.status_code, answer.get_json()["error"]["code"]) == (403, "sign_in_denied")
    assert [user.id for user in seen] == ["", record["id"]]
    assert created == []


def test_an_account_that_was_there_before_is_not_created_again_at_each_sign_in(
    contacts: Flask, sign_in: SignIn, chatbotkit_sandbox: Sandbox
) -> None:
    chatbotkit_sandbox.add_contact(
        ADA, name="Ada", fingerprint=fingerprint(contacts, ADA), verifiedAt=1, meta={"email": "", "image": PICTURE}
    )
    created: list[User] = []
    with user_created.connected_to(lambda _app, user, **_more: created.append(user)):
        for _ in range(2):
            user = sign_in(contacts.test_client(), ADA).get_json()["user"]
            assert (user["name"], user["image"]) == ("Ada", PICTURE)
    assert created == []


# What is too long


@pytest.mark.parametrize("kind", ["partner", "contact"])
def test_a_name_is_measured_in_bytes(
    make_app: MakeApp, sign_in: SignIn, chatbotkit_sandbox: Sandbox, kind: str
) -> None:
    client = make_app(CHATBOTKIT_AUTH_ADAPTER=kind).test_client()
    sign_in(client, ADA)
    answer = profile(client, name="я" * 96)
    assert (answer.status_code, list(answer.get_json()["error"]["fields"])) == (400, ["name"])
    assert profile(client, name="я" * 95).status_code == 200


@pytest.mark.parametrize(("kind", "status"), [("partner", 400), ("contact", 200)])
def test_a_picture_is_measured_where_it_is_kept(
    make_app: MakeApp, sign_in: SignIn, chatbotkit_sandbox: Sandbox, kind: str, status: int
) -> None:
    client = make_app(CHATBOTKIT_AUTH_ADAPTER=kind).test_client()
    sign_in(client, ADA)
    assert profile(client, image="https://example.com/" + "a" * 180).status_code == status
    assert profile(client, image=PICTURE).status_code == 200


def test_what_the_api_refuses_is_told_at_its_field_and_nothing_typed_is_lost(
    app: Flask, client: FlaskClient, sign_in: SignIn, chatbotkit_sandbox: Sandbox
) -> None:
    sign_in(client, ADA)
    chatbotkit_sandbox.fail("*/update", status=400, message='"name" contains an invalid value')
    answer = profile(client, name="Ada L.")
    assert (answer.status_code, answer.get_json()["error"]["code"]) == (400, "invalid_profile")
    assert list(answer.get_json()["error"]["fields"]) == ["name"]
    token = client.get("/auth/session").get_json()["csrf_token"]
    page = client.post("/auth/account/profile", data={"name": "Ada L.", "csrf_token": token}, follow_redirects=True)
    assert page.status_code == 400
    assert 'value="Ada L."' in page.text
    assert profile_module.refusal("name") in unescape(page.text)


def test_a_refusal_about_nothing_typed_is_not_called_an_outage(
    client: FlaskClient, sign_in: SignIn, chatbotkit_sandbox: Sandbox
) -> None:
    sign_in(client, ADA)
    chatbotkit_sandbox.fail("*/update", status=400, message='"colour" is not allowed')
    message = profile(client, name="Ada").get_json()["error"]["message"]
    assert "This was refused" in message


# Addresses


@pytest.mark.parametrize("kind", ["partner", "contact"])
def test_an_application_cannot_give_away_somebodys_address(
    make_app: MakeApp, sign_in: SignIn, chatbotkit_sandbox: Sandbox, kind: str
) -> None:
    app = make_app(CHATBOTKIT_AUTH_ADAPTER=kind)
    ada, eve = (user_id(sign_in(app.test_client(), each)) for each in (ADA, EVE))
    with app.app_context():
        with pytest.raises(EmailTaken) as caught:
            current_auth.update_user(eve, email="Ada@Example.com")
        assert (caught.value.error_code, caught.value.http_status) == ("email_taken", 409)
        assert current_auth.update_user(eve, email="Eve.New@Example.com").email == "eve.new@example.com"
    assert user_id(sign_in(app.test_client(), ADA)) == ada
    assert user_id(sign_in(app.test_client(), "eve.new@example.com")) == eve


def test_limits_of_a_sub_account_are_the_applications_to_set(
    app: Flask, client: FlaskClient, sign_in: SignIn, chatbotkit_sandbox: Sandbox
) -> None:
    id = user_id(sign_in(client, ADA))
    with app.app_context():
        user: Any = current_auth.update_user(id, limits={"messages": 5, "database": {"datasets": 1}})
    assert user.limits == chatbotkit_sandbox.users[id]["limits"] == {"messages": 5, "database": {"datasets": 1}}
