"""Passkeys over HTTP: made after a code, used the next day, named, removed; and everything that must not work."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from types import SimpleNamespace
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient
from flask_mail import Message
from werkzeug.test import TestResponse

from flask_chatbotkit_auth import (
    ConfigurationError,
    SignInDenied,
    User,
    passkey_added,
    passkey_refused,
    sign_in_failed,
    user_signed_in,
)
from flask_chatbotkit_auth.stores import Store
from flask_chatbotkit_auth.testing import Sandbox, SoftwareAuthenticator
from tests.support.apps import Clock, MakeApp
from tests.support.steps import ADA, error, post, signed_in_as

ORIGIN = "https://shop.example.com"

SignIn = Callable[..., TestResponse]
Outbox = list[Message]


@pytest.fixture(params=["partner", "contact"])
def app(make_app: MakeApp, request: pytest.FixtureRequest) -> Flask:
    return make_app(CHATBOTKIT_AUTH_PASSKEYS=True, CHATBOTKIT_AUTH_ORIGIN=ORIGIN, CHATBOTKIT_AUTH_ADAPTER=request.param)


@pytest.fixture
def device() -> SoftwareAuthenticator:
    return SoftwareAuthenticator(ORIGIN)


@pytest.fixture
def registered(app: Flask, client: FlaskClient, device: SoftwareAuthenticator, sign_in: SignIn) -> FlaskClient:
    """A browser that is signed in by a code and has made a passkey."""
    sign_in(client, ADA)
    assert device.register(client, name="My phone").status_code == 200
    return client


def options(client: FlaskClient) -> Any:
    return post(client, "/auth/passkey/options", {}).get_json()["publicKey"]


# The whole way


def test_the_next_day_needs_no_mail(
    app: Flask,
    registered: FlaskClient,
    device: SoftwareAuthenticator,
    chatbotkit_sandbox: Sandbox,
    chatbotkit_outbox: Outbox,
    clock: Clock,
) -> None:
    clock.advance(timedelta(days=1))
    tomorrow = app.test_client()
    chatbotkit_sandbox.requests.clear()
    chatbotkit_outbox.clear()
    seen: list[dict[str, Any]] = []
    with user_signed_in.connected_to(lambda _app, **data: seen.append(data), app):
        answer = device.sign_in(tomorrow, next="/dashboard")
    assert answer.status_code == 200
    assert answer.get_json()["redirect"] == "/dashboard"
    assert tomorrow.get("/dashboard").text == f"Hello {ADA}"
    assert len(chatbotkit_sandbox.requests) == 1
    assert chatbotkit_outbox == []
    assert [(each["method"], each["created"]) for each in seen] == [("passkey", False)]
    assert app.extensions["chatbotkit_auth"].store.list_sessions(seen[0]["user"].id, now=clock())[0].method == "passkey"


def test_a_new_passkey_is_told_by_mail_and_by_signal(
    app: Flask, client: FlaskClient, device: SoftwareAuthenticator, sign_in: SignIn, chatbotkit_outbox: Outbox
) -> None:
    sign_in(client, ADA)
    chatbotkit_outbox.clear()
    seen: list[Any] = []
    with passkey_added.connected_to(lambda _app, **data: seen.append(data["passkey"]), app):
        answer = device.register(client, name="  My \n phone ")
    passkey = answer.get_json()["passkey"]
    assert passkey.keys() == {"id", "name", "provider", "synced", "created_at", "used_at"}
    assert (passkey["name"], passkey["synced"], passkey["used_at"]) == ("My phone", True, None)
    assert [each.name for each in seen] == ["My phone"]
    (mail,) = chatbotkit_outbox
    assert "passkey was added" in str(mail.subject)
    assert "My phone" in str(mail.body)


def test_one_device_makes_one_passkey(registered: FlaskClient, device: SoftwareAuthenticator) -> None:
    with pytest.raises(ValueError, match="already"):
        device.register(registered)


def test_a_passkey_is_renamed_and_removed(app: Flask, registered: FlaskClient, device: SoftwareAuthenticator) -> None:
    account = registered.get("/auth/account", headers={"Accept": "application/json"}).get_json()
    (passkey,) = account["passkeys"]
    path = f"/auth/account/passkeys/{passkey['id']}"
    assert post(registered, f"{path}/name", {"name": "Old phone"}).get_json()["passkey"]["name"] == "Old phone"
    assert error(post(registered, f"{path}/name", {"name": " "})) == (400, "invalid_profile")
    removed = post(registered, f"{path}/remove", {}).get_json()
    assert removed["removed"] == 1
    assert removed["accepted"]["allAcceptedCredentialIds"] == []
    assert removed["accepted"]["rpId"] == "shop.example.com"
    assert error(post(registered, f"{path}/remove", {})) == (404, "unknown_passkey")
    assert error(device.sign_in(app.test_client())) == (404, "unknown_passkey")


def test_nobody_touches_the_passkey_of_another_person(
    app: Flask, registered: FlaskClient, device: SoftwareAuthenticator, sign_in: SignIn
) -> None:
    account = registered.get("/auth/account", headers={"Accept": "application/json"}).get_json()
    path = f"/auth/account/passkeys/{account['passkeys'][0]['id']}"
    eve = app.test_client()
    sign_in(eve, "eve@example.com")
    assert error(post(eve, f"{path}/name", {"name": "Mine"})) == (404, "unknown_passkey")
    assert error(post(eve, f"{path}/remove", {})) == (404, "unknown_passkey")
    assert device.sign_in(app.test_client()).status_code == 200


def test_twenty_passkeys_are_enough(registered: FlaskClient) -> None:
    for _ in range(19):
        assert SoftwareAuthenticator(ORIGIN).register(registered).status_code == 200
    assert error(post(registered, "/auth/account/passkeys/options", {})) == (409, "too_many_passkeys")


def test_a_parent_domain_serves_several_hosts(make_app: MakeApp, client: FlaskClient, sign_in: SignIn) -> None:
    other = "https://app.example.com"
    app = make_app(
        CHATBOTKIT_AUTH_PASSKEYS=True,
        CHATBOTKIT_AUTH_ORIGIN=ORIGIN,
        CHATBOTKIT_AUTH_PASSKEY_RP_ID="example.com",
        CHATBOTKIT_AUTH_PASSKEY_ORIGINS=[other],
    )
    browser, device = app.test_client(), SoftwareAuthenticator(other)
    sign_in(browser, ADA)
    assert device.register(browser).status_code == 200
    device.origin = ORIGIN
    assert device.sign_in(app.test_client()).status_code == 200


# What must not work


def test_an_answer_signs_in_once(app: Flask, registered: FlaskClient, device: SoftwareAuthenticator) -> None:
    browser = app.test_client()
    answer = device.get(options(browser))
    assert post(browser, "/auth/passkey", {"credential": answer}).status_code == 200
    post(browser, "/auth/sign-out", {})
    refused: list[str] = []
    with passkey_refused.connected_to(lambda _app, **data: refused.append(data["error"].error_code), app):
        assert error(post(browser, "/auth/passkey", {"credential": answer}))[0] == 400
    assert len(refused) == 1
    assert signed_in_as(browser) is None


def test_an_answer_works_only_in_the_browser_that_asked(
    app: Flask, registered: FlaskClient, device: SoftwareAuthenticator
) -> None:
    answer = device.get(options(app.test_client()))
    thief = app.test_client()
    assert error(post(thief, "/auth/passkey", {"credential": answer})) == (400, "invalid_passkey")
    assert signed_in_as(thief) is None


def test_an_answer_expires(app: Flask, registered: FlaskClient, device: SoftwareAuthenticator, clock: Clock) -> None:
    browser = app.test_client()
    answer = device.get(options(browser))
    clock.advance(600)
    assert error(post(browser, "/auth/passkey", {"credential": answer})) == (400, "passkey_expired")


def test_two_tabs_both_work(app: Flask, registered: FlaskClient, device: SoftwareAuthenticator) -> None:
    browser = app.test_client()
    first, second = options(browser), options(browser)
    assert post(browser, "/auth/passkey", {"credential": device.get(second)}).status_code == 200
    browser.get("/auth/session")
    assert first != second


@pytest.mark.parametrize(
    "wrong",
    [
        {"origin": "https://evil.example.com"},
        {"origin": "https://example.com"},
        {"cross_origin": True},
        {"verifies": False},
    ],
)
def test_another_page_another_frame_and_nobody_are_refused(
    app: Flask, registered: FlaskClient, device: SoftwareAuthenticator, wrong: dict[str, Any]
) -> None:
    vars(device).update(wrong)
    assert error(device.sign_in(app.test_client())) == (400, "invalid_passkey")


def test_the_owner_must_be_named(app: Flask, registered: FlaskClient, device: SoftwareAuthenticator) -> None:
    browser = app.test_client()
    for handle in (None, "AAAA"):
        answer = device.get(options(browser))
        answer["response"]["userHandle"] = handle
        assert error(post(browser, "/auth/passkey", {"credential": answer})) == (400, "invalid_passkey")


def test_the_counter_of_a_bound_passkey_goes_up_only(app: Flask, client: FlaskClient, sign_in: SignIn) -> None:
    device = SoftwareAuthenticator(ORIGIN)
    device.synced = False
    sign_in(client, ADA)
    assert device.register(client).status_code == 200
    assert device.sign_in(app.test_client()).status_code == 200
    (held,) = device.credentials.values()
    held.sign_count -= 1  # a copy of it, which has counted less
    assert error(device.sign_in(app.test_client())) == (400, "invalid_passkey")
    assert device.sign_in(app.test_client()).status_code == 200


def test_the_counter_of_a_synced_passkey_is_not_judged(app: Flask, client: FlaskClient, sign_in: SignIn) -> None:
    device = SoftwareAuthenticator(ORIGIN)
    sign_in(client, ADA)
    device.register(client)
    (held,) = device.credentials.values()
    for count in (7, 3):
        held.sign_count = count
        assert device.sign_in(app.test_client()).status_code == 200


def test_making_one_needs_a_fresh_proof(
    client: FlaskClient, device: SoftwareAuthenticator, sign_in: SignIn, clock: Clock
) -> None:
    sign_in(client, ADA)
    clock.advance(timedelta(minutes=10, seconds=1))
    assert error(post(client, "/auth/account/passkeys/options", {})) == (403, "not_fresh")


def test_making_one_needs_the_person_of_the_options(
    app: Flask, client: FlaskClient, device: SoftwareAuthenticator, sign_in: SignIn
) -> None:
    sign_in(client, ADA)
    made = device.create(post(client, "/auth/account/passkeys/options", {}).get_json()["publicKey"])
    eve = app.test_client()
    sign_in(eve, "eve@example.com")
    assert error(post(eve, "/auth/account/passkeys", {"credential": made})) == (400, "invalid_passkey")
    assert post(client, "/auth/account/passkeys", {"credential": made}).status_code == 200
    assert error(post(client, "/auth/account/passkeys", {"credential": made})) == (400, "passkey_expired")


def test_a_challenge_for_making_one_signs_nobody_in(
    app: Flask, registered: FlaskClient, device: SoftwareAuthenticator
) -> None:
    given = post(registered, "/auth/account/passkeys/options", {}).get_json()["publicKey"]
    answer = device.get({"challenge": given["challenge"], "rpId": "shop.example.com"})
    assert error(post(registered, "/auth/passkey", {"credential": answer})) == (400, "invalid_passkey")


@pytest.mark.parametrize("credential", [None, [], "text", 7, {}, {"id": 7}, {"response": {"clientDataJSON": "e30"}}])
def test_junk_is_refused(client: FlaskClient, app: Flask, credential: object) -> None:
    assert error(post(client, "/auth/passkey", {"credential": credential})) == (400, "invalid_passkey")


@pytest.mark.parametrize(("size", "status"), [(1023, 200), (1024, 400)])
def test_a_credential_has_an_id_of_the_size_that_the_standard_allows(
    client: FlaskClient,
    device: SoftwareAuthenticator,
    sign_in: SignIn,
    monkeypatch: pytest.MonkeyPatch,
    size: int,
    status: int,
) -> None:
    sign_in(client, ADA)
    random = SimpleNamespace(token_bytes=lambda _size: bytes(size))
    monkeypatch.setattr("flask_chatbotkit_auth.testing.authenticator.secrets", random)
    assert device.register(client).status_code == status
    assert len(client.get("/auth/account", headers={"Accept": "application/json"}).get_json()["passkeys"]) == (
        status == 200
    )
    assert device.sign_in(client).status_code == (200 if status == 200 else 404)


@pytest.mark.parametrize("end", ["end_sessions", "suspend"])
def test_who_was_signed_out_by_another_worker_changes_no_passkey(
    app: Flask, registered: FlaskClient, make_app: MakeApp, end: str
) -> None:
    auth = app.extensions["chatbotkit_auth"]
    settings = {"CHATBOTKIT_AUTH_ADAPTER": auth.kind, "CHATBOTKIT_AUTH_ORIGIN": ORIGIN}
    another = make_app(store=auth.store, **settings)
    account = registered.get("/auth/account", headers={"Accept": "application/json"}).get_json()
    id, (passkey,) = account["user"]["id"], account["passkeys"]
    answer = SoftwareAuthenticator(ORIGIN).create(
        post(registered, "/auth/account/passkeys/options", {}).get_json()["publicKey"]
    )
    with another.app_context():
        getattr(another.extensions["chatbotkit_auth"], end)(id)
    assert signed_in_as(registered) == ADA  # this worker has not looked yet
    added = post(registered, "/auth/account/passkeys", {"credential": answer})
    assert error(added) == (403, "not_fresh")
    assert error(post(registered, f"/auth/account/passkeys/{passkey['id']}/remove", {})) == (403, "not_fresh")
    assert [each.id for each in auth.store.list_passkeys(id)] == [passkey["id"]]


# Outages, refusals, accounts that are gone


def test_the_provision_hook_shows_in_the_session_of_a_passkey(
    app: Flask, registered: FlaskClient, device: SoftwareAuthenticator, chatbotkit_sandbox: Sandbox
) -> None:
    @app.extensions["test_auth"].provision  # type: ignore[untyped-decorator]
    def prepare(user: object) -> dict[str, str]:
        return {"plan": "pro"}

    plans: list[object] = []

    def hear(_app: Flask, user: User) -> None:
        plans.append(user.meta.get("plan"))

    browser = app.test_client()
    with user_signed_in.connected_to(hear, app):
        assert device.sign_in(browser).status_code == 200
    chatbotkit_sandbox.requests.clear()
    assert browser.get("/dashboard").status_code == 200
    assert plans == ["pro"]
    assert chatbotkit_sandbox.requests == []


def test_an_outage_uses_no_answer_up(
    app: Flask, registered: FlaskClient, device: SoftwareAuthenticator, chatbotkit_sandbox: Sandbox
) -> None:
    browser = app.test_client()
    answer = device.get(options(browser))
    chatbotkit_sandbox.fail("*/fetch", status=503, times=3)
    assert error(post(browser, "/auth/passkey", {"credential": answer})) == (503, "upstream_unavailable")
    assert post(browser, "/auth/passkey", {"credential": answer}).status_code == 200


def test_the_application_may_refuse(app: Flask, registered: FlaskClient, device: SoftwareAuthenticator) -> None:
    @app.extensions["test_auth"].sign_in_callback  # type: ignore[untyped-decorator]
    def refuse(identifier: str, user: object) -> None:
        raise SignInDenied("Not today.")

    answer = device.sign_in(app.test_client())
    assert error(answer) == (403, "sign_in_denied")
    assert answer.get_json()["error"]["message"] == "Not today."


def test_a_suspended_person_stays_out(app: Flask, registered: FlaskClient, device: SoftwareAuthenticator) -> None:
    with app.app_context():
        auth = app.extensions["chatbotkit_auth"]
        auth.suspend(auth.adapter.get_by_email(ADA))
    assert error(device.sign_in(app.test_client())) == (403, "sign_in_denied")


def test_who_is_suspended_in_the_middle_of_a_sign_in_with_a_passkey_stays_out(
    app: Flask, registered: FlaskClient, device: SoftwareAuthenticator, monkeypatch: pytest.MonkeyPatch
) -> None:
    auth, browser = app.extensions["chatbotkit_auth"], app.test_client()
    use, id = auth.store.use_passkey, str(registered.get("/auth/session").get_json()["user"]["id"])
    failed: list[Any] = []

    def suspend_first(*args: Any, **named: Any) -> Any:
        auth.suspend(id)
        return use(*args, **named)

    def hear(_app: Flask, user_id: str, error: Exception) -> None:
        failed.append((user_id, type(error)))

    with monkeypatch.context() as patch, sign_in_failed.connected_to(hear, app):
        patch.setattr(auth.store, "use_passkey", suspend_first)
        assert error(device.sign_in(browser)) == (403, "sign_in_denied")
    assert failed == [(id, SignInDenied)]
    assert signed_in_as(browser) is None
    with app.app_context():
        auth.resume(id)
    assert signed_in_as(browser) is None
    assert device.sign_in(browser).status_code == 200


def test_a_passkey_outlives_an_answer_that_the_account_is_gone(
    app: Flask, registered: FlaskClient, device: SoftwareAuthenticator, chatbotkit_sandbox: Sandbox
) -> None:
    body = '{"message": "gone", "code": "NOT_FOUND"}'
    chatbotkit_sandbox.fail("*/fetch", status=404, times=1, body=body)
    assert error(device.sign_in(app.test_client())) == (404, "unknown_passkey")
    assert device.sign_in(app.test_client()).status_code == 200


def test_a_passkey_outlives_a_refresh_that_does_not_find_the_account(
    app: Flask,
    registered: FlaskClient,
    device: SoftwareAuthenticator,
    clock: Clock,
    chatbotkit_sandbox: Sandbox,
) -> None:
    clock.advance(timedelta(minutes=16))
    chatbotkit_sandbox.fail("*/fetch", status=404, times=1, body='{"message": "gone", "code": "NOT_FOUND"}')
    assert registered.get("/auth/session").get_json()["user"] is None
    assert device.sign_in(app.test_client()).status_code == 200


def test_the_passkeys_of_a_deleted_account_go(
    app: Flask, registered: FlaskClient, device: SoftwareAuthenticator, clock: Clock
) -> None:
    with app.app_context():
        auth = app.extensions["chatbotkit_auth"]
        user = auth.adapter.get_by_email(ADA)
        auth.admin.delete(user)
        assert auth.store.list_passkeys(user.id) == []
    assert error(device.sign_in(app.test_client())) == (404, "unknown_passkey")


def test_purging_removes_what_is_gone_for_thirty_days_and_asks_once_more(
    app: Flask,
    registered: FlaskClient,
    device: SoftwareAuthenticator,
    chatbotkit_sandbox: Sandbox,
    clock: Clock,
) -> None:
    auth = app.extensions["chatbotkit_auth"]
    runner = app.test_cli_runner()
    with app.app_context():
        user = auth.adapter.get_by_email(ADA)
    records = chatbotkit_sandbox.users if user.kind == "partner" else chatbotkit_sandbox.contacts
    record = records.pop(user.id)
    assert error(device.sign_in(app.test_client())) == (404, "unknown_passkey")
    records[user.id] = record
    clock.advance(timedelta(days=31))
    assert runner.invoke(args=["chatbotkit-auth", "purge"]).exit_code == 0
    assert len(auth.store.list_passkeys(user.id)) == 1
    del records[user.id]
    assert error(device.sign_in(app.test_client())) == (404, "unknown_passkey")
    clock.advance(timedelta(days=31))
    assert runner.invoke(args=["chatbotkit-auth", "purge"]).exit_code == 0
    assert auth.store.list_passkeys(user.id) == []


# Pages


def test_the_pages_show_nothing_of_it_where_it_is_off(make_app: MakeApp, sign_in: SignIn) -> None:
    client = make_app().test_client()
    pages = [client.get("/auth/sign-in").text]
    sign_in(client, ADA)
    pages.append(client.get("/auth/account").text)
    assert all("asskey" not in page and "webauthn" not in page for page in pages)
    assert client.get("/.well-known/passkey-endpoints").status_code == 404
    assert client.post("/auth/passkey/options").status_code == 404


def test_an_offer_follows_a_code_where_the_device_can(
    app: Flask, client: FlaskClient, chatbotkit_outbox: Outbox, sign_in: SignIn
) -> None:
    sign_in(client, ADA)
    offer = client.get("/auth/passkey/offer?next=/dashboard")
    assert "Sign in faster next time" in offer.text
    assert 'href="/dashboard"' in offer.text
    client.set_cookie("chatbotkit_auth_passkey_later", "1")
    assert client.get("/auth/passkey/offer?next=/dashboard").location == "/dashboard"


def test_no_offer_for_somebody_who_has_one_or_is_not_signed_in(app: Flask, registered: FlaskClient) -> None:
    assert registered.get("/auth/passkey/offer?next=/dashboard").location == "/dashboard"
    assert app.test_client().get("/auth/passkey/offer?next=/dashboard").location == "/dashboard"


def test_password_managers_find_where_passkeys_are_looked_after(app: Flask, client: FlaskClient) -> None:
    page = f"{ORIGIN}/auth/account#passkeys"
    assert client.get("/.well-known/passkey-endpoints").get_json() == {"enroll": page, "manage": page}


# Configuration


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"CHATBOTKIT_AUTH_ORIGIN": None}, "CHATBOTKIT_AUTH_ORIGIN"),
        ({"CHATBOTKIT_AUTH_PASSKEY_RP_ID": "evil.com"}, "parent domain"),
        ({"CHATBOTKIT_AUTH_PASSKEY_RP_ID": "com"}, "parent domain"),
        ({"CHATBOTKIT_AUTH_PASSKEY_ORIGINS": ["https://other.net"]}, "parent domain"),
    ],
)
def test_a_wrong_setting_says_so(make_app: MakeApp, settings: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ConfigurationError, match=sentence):
        make_app(**{"CHATBOTKIT_AUTH_PASSKEYS": True, "CHATBOTKIT_AUTH_ORIGIN": ORIGIN, **settings})


def test_a_store_without_passkeys_is_refused(make_app: MakeApp) -> None:
    class Bare(Store):
        def limits_storage(self) -> Any:
            return "memory://"

    Bare.__abstractmethods__ = frozenset()
    with pytest.raises(ConfigurationError, match="Bare does not keep passkeys"):
        make_app(
            store=Bare(),  # type: ignore[abstract]
            CHATBOTKIT_AUTH_PASSKEYS=True,
            CHATBOTKIT_AUTH_ORIGIN=ORIGIN,
        )
