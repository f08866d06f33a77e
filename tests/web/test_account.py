"""The account page and its JSON: profile, own sessions, and the end of the account."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient
from flask_login import UserMixin, login_user
from flask_mail import Message
from werkzeug.test import TestResponse

from flask_chatbotkit_auth import ChatBotKitAuth, MailError, StoreError, User, session_ended, user_deleted, user_updated
from flask_chatbotkit_auth.testing import Sandbox
from flask_chatbotkit_auth.testing.plugin import read_code
from tests.support.apps import Clock, MakeApp
from tests.support.steps import error
from tests.support.steps import post as send
from tests.support.workers import at_once

ADA = "ada@example.com"
PHONE = "Mozilla/5.0 (Linux; Android 14) Chrome/126.0 Mobile Safari/537.36"
POSTS = (
    "/auth/account/profile",
    "/auth/account/sessions/x/end",
    "/auth/account/sessions/end-others",
    "/auth/account/device/forget",
    "/auth/account/delete",
    "/auth/account/delete/code",
)

SignIn = Callable[..., TestResponse]
Outbox = list[Message]


@pytest.fixture
def app(make_app: MakeApp) -> Flask:
    return make_app(CHATBOTKIT_AUTH_AUTO_DELETE=True, CHATBOTKIT_AUTH_USER_REFRESH=300)


@pytest.fixture
def ada(client: FlaskClient, sign_in: SignIn) -> FlaskClient:
    """A browser in which Ada is signed in."""
    sign_in(client, ADA)
    return client


def post(client: FlaskClient, path: str, **fields: Any) -> TestResponse:
    return send(client, f"/auth/account{path}", fields)


def submit(client: FlaskClient, path: str, follow: bool = True, **fields: str) -> TestResponse:
    """Post a form as a browser does, and follow the redirect that answers it."""
    token = client.get("/auth/session").get_json()["csrf_token"]
    form = {**fields, "csrf_token": token}
    answer = client.post(f"/auth/account{path}", data=form)
    assert answer.status_code == 303
    return client.get(answer.location) if follow else answer


def account(client: FlaskClient) -> Any:
    return client.get("/auth/account", headers={"Accept": "application/json"}).get_json()


def delete(client: FlaskClient, code: str, confirm: str = ADA) -> TestResponse:
    return post(client, "/delete", code=code, confirm=confirm)


# Who may come in


def test_nobody_is_sent_to_sign_in_and_back(client: FlaskClient) -> None:
    answer = client.get("/auth/account?done=saved")
    assert answer.status_code == 302
    assert answer.location == "/auth/sign-in?next=/auth/account?done%3Dsaved"
    assert client.get("/auth/account/delete").location == "/auth/sign-in?next=/auth/account/delete"
    assert error(client.get("/auth/account", headers={"Accept": "application/json"})) == (401, "not_signed_in")


@pytest.mark.parametrize("path", POSTS)
def test_nobody_changes_anything(client: FlaskClient, chatbotkit_sandbox: Sandbox, path: str) -> None:
    assert error(send(client, path, {})) == (401, "not_signed_in")
    form = submit(client, path.removeprefix("/auth/account"), follow=False)
    assert (form.status_code, form.location) == (303, "/auth/sign-in?next=/auth/account")
    assert not chatbotkit_sandbox.requests


@pytest.mark.parametrize("path", POSTS)
def test_a_post_without_its_token_changes_nothing(ada: FlaskClient, path: str) -> None:
    assert error(ada.post(path, json={"name": "Eve"})) == (403, "csrf")


def test_a_user_of_the_applications_own_is_nobody_here(app: Flask, client: FlaskClient) -> None:
    class Local(UserMixin):  # type: ignore[misc]  # Flask-Login has no type information
        id = "7"

    users: Any = app.login_manager  # type: ignore[attr-defined]
    ours = users._user_callback
    users.user_loader(lambda id: Local() if id == "7" else ours(id))
    app.add_url_rule("/local", "local", lambda: str(login_user(Local())))
    client.get("/local")
    answer = client.get("/auth/account")
    assert answer.status_code == 302
    assert client.get(answer.location).status_code == 200, "they may sign in, and are not sent in a circle"


# The page


def test_the_account_as_json(ada: FlaskClient, clock: Clock) -> None:
    answer = account(ada)
    assert sorted(answer) == ["can_delete", "can_update", "sessions", "user"]
    assert answer["user"]["email"] == ADA
    assert (answer["can_update"], answer["can_delete"]) == (True, True)
    (session,) = answer["sessions"]
    assert re.fullmatch("[0-9a-f]{64}", session.pop("id"))
    assert session == {
        "device": None,
        "ip": "127.0.0.1",
        "created_at": clock.now.isoformat(),
        "last_seen_at": clock.now.isoformat(),
        "current": True,
    }


def test_the_page_shows_devices_and_marks_this_one(app: Flask, ada: FlaskClient, sign_in: SignIn, clock: Clock) -> None:
    clock.advance(60)
    phone = app.test_client()
    phone.environ_base["HTTP_USER_AGENT"] = PHONE
    phone.environ_base["REMOTE_ADDR"] = "192.0.2.7"
    sign_in(phone, ADA)
    devices = account(ada)["sessions"]
    assert [(each["device"], each["ip"], each["current"]) for each in devices] == [
        (None, "127.0.0.1", True),
        ("Chrome on Android", "192.0.2.7", False),
    ]
    page = ada.get("/auth/account")
    assert page.status_code == 200
    assert page.headers["Cache-Control"] == "no-store"
    for text in (
        "Unknown device",
        "Chrome on Android",
        "192.0.2.7",
        "This device",
        ADA,
        "Sign out everywhere else",
        "Save",
    ):
        assert text in page.text
    assert page.text.count("This device") == 1
    assert "An unknown thing" not in ada.get("/auth/account?done=An unknown thing").text


def test_of_many_sessions_this_one_and_those_used_last_are_listed(app: Flask, ada: FlaskClient, clock: Clock) -> None:
    auth = app.extensions["chatbotkit_auth"]
    (mine,) = auth.store.list_sessions(ada.get("/auth/session").get_json()["user"]["id"], now=clock())
    for number in range(60):
        used = clock() + timedelta(seconds=number + 1)
        auth.store.add_session(replace(mine, id=f"{number:064}", seen_at=used), now=clock())
    listed = ada.get("/auth/account", headers={"Accept": "application/json"}).get_json()["sessions"]
    assert [int(each["id"], 16) for each in listed[1:]] == [int(f"{number:064}", 16) for number in range(59, 10, -1)]
    assert [each["current"] for each in listed] == [True] + [False] * 49
    assert ada.get("/auth/account").text.count('class="auth-device-form"') == 49
    with app.app_context():
        assert len(auth.sessions(mine.user)) == 61


def test_switches_that_are_off_leave_their_parts_out(make_app: MakeApp, sign_in: SignIn) -> None:
    client = make_app(CHATBOTKIT_AUTH_AUTO_UPDATE=False).test_client()
    sign_in(client, ADA)
    page = client.get("/auth/account").text
    assert "Save" not in page
    assert "Delete my account" not in page
    assert (account(client)["can_update"], account(client)["can_delete"]) == (False, False)
    for path in ("/profile", "/delete", "/delete/code"):
        assert error(post(client, path, name="Ada", confirm=ADA, code="000000")) == (403, "lifecycle_disabled")
    refused = client.get("/auth/account/delete")
    assert refused.status_code == 403
    assert "Turned off" in refused.text
    assert "/auth/account" in refused.text


def test_a_mapped_user_sees_the_chatbotkit_account(app: Flask, client: FlaskClient, sign_in: SignIn) -> None:
    class Member(UserMixin):  # type: ignore[misc]  # Flask-Login has no type information
        def __init__(self, user: User) -> None:
            self.id = user.id

    auth: ChatBotKitAuth = app.extensions["test_auth"]
    auth.user_callback(Member)
    sign_in(client, ADA)
    assert account(client)["user"]["email"] == ADA
    assert post(client, "/profile", name="Ada").get_json()["user"]["name"] == "Ada"
    assert "Your account" in client.get("/auth/account").text


# Profile


def test_a_profile_is_changed_and_seen_everywhere(
    app: Flask, ada: FlaskClient, sign_in: SignIn, chatbotkit_sandbox: Sandbox
) -> None:
    other = app.test_client()
    sign_in(other, ADA)
    heard: list[tuple[str, list[str]]] = []

    def hear(_app: Flask, user: User, fields: list[str]) -> None:
        heard.append((user.email, fields))

    with user_updated.connected_to(hear, app):
        answer = post(ada, "/profile", name="  Ada 🧮 Lovelace ", image="https://example.com/ada.png")
    assert answer.status_code == 200
    assert heard == [(ADA, ["image", "name"])]
    for client in (ada, other):
        user = account(client)["user"]
        assert (user["name"], user["image"]) == ("Ada 🧮 Lovelace", "https://example.com/ada.png")
    (record,) = chatbotkit_sandbox.users.values()
    assert record["name"] == "Ada 🧮 Lovelace"


def test_the_form_saves_and_says_so(ada: FlaskClient) -> None:
    answer = submit(ada, "/profile", follow=False, name="Ada", image="")
    page = ada.get(answer.location).text
    assert "Profile saved." in page
    assert 'value="Ada"' in page
    assert "Profile saved." not in ada.get(answer.location).text, "a reload claims nothing"


def test_what_is_not_sent_stays_and_what_is_blank_is_blanked(ada: FlaskClient, chatbotkit_sandbox: Sandbox) -> None:
    post(ada, "/profile", name="Ada", image="https://example.com/ada.png")
    post(ada, "/profile", image=None, name=5)
    assert post(ada, "/profile").get_json()["user"]["name"] == "Ada"
    assert post(ada, "/profile", name="").get_json()["user"] == account(ada)["user"]
    assert account(ada)["user"]["name"] is None
    assert account(ada)["user"]["image"] == "https://example.com/ada.png"


@pytest.mark.parametrize("field", ["email", "id", "meta", "kind", "email_verified"])
def test_nothing_but_name_and_picture_is_ones_own_to_change(
    ada: FlaskClient, chatbotkit_sandbox: Sandbox, field: str
) -> None:
    before = account(ada)["user"]
    record = dict(chatbotkit_sandbox.users[before["id"]])
    eve = chatbotkit_sandbox.add_user("eve@example.com", name="Eve")
    for value in ("eve@example.org", eve["id"]):
        assert post(ada, "/profile", name="Ada", **{field: value}).status_code == 200
        shown = account(ada)["user"]
        assert shown["name"] == "Ada"
        assert all(shown[key] == before[key] for key in ("id", "email", "email_verified", "kind"))
        after = chatbotkit_sandbox.users[before["id"]]
        assert all(after[key] == record[key] for key in ("id", "email", "meta"))
        assert post(ada, "/profile", name="").status_code == 200
    assert chatbotkit_sandbox.users[eve["id"]]["name"] == "Eve"


def test_what_did_not_change_is_not_written(ada: FlaskClient, chatbotkit_sandbox: Sandbox) -> None:
    post(ada, "/profile", name="Ada")
    # Somebody else has changed it upstream; this form still shows, and sends, what it was.
    (record,) = chatbotkit_sandbox.users.values()
    record["name"] = "Countess"
    chatbotkit_sandbox.requests.clear()
    post(ada, "/profile", name="Ada")
    assert not chatbotkit_sandbox.requests
    assert record["name"] == "Countess"


@pytest.mark.parametrize(
    "name",
    ["x" * 101, "a" + 4000 * "\u0316\u0301", "a\ud800b", "a\nb", "a\0b", "a\x1bb", "a\u2028b"],
    ids=lambda name: ascii(name[:10]),
)
def test_a_name_that_cannot_be_shown_is_refused(ada: FlaskClient, name: str, chatbotkit_sandbox: Sandbox) -> None:
    chatbotkit_sandbox.requests.clear()
    answer = post(ada, "/profile", name=name)
    assert error(answer) == (400, "invalid_profile")
    assert list(answer.get_json()["error"]["fields"]) == ["name"]
    assert not chatbotkit_sandbox.requests


@pytest.mark.parametrize(
    "image",
    [
        "http://example.com/a.png",
        "javascript:alert(1)",
        "data:image/png;base64,AA==",
        "//example.com/a.png",
        "https:",
        "https:///a.png",
        "https://[",
        "https://example.com:x/",
        "https://ada:pw@example.com/",
        "https:\\\\example.com",
        "https://example.com/a b",
        "https://example.com/\x07",
        "https://example.com/" + "x" * 2000,
    ],
)
def test_an_image_that_is_no_https_address_is_refused(ada: FlaskClient, image: str) -> None:
    assert error(post(ada, "/profile", image=image)) == (400, "invalid_profile")


def test_a_mistake_stays_to_be_corrected(make_app: MakeApp, sign_in: SignIn) -> None:
    ada = make_app(CHATBOTKIT_AUTH_PROFILE_PICTURE=True).test_client()
    sign_in(ada, ADA)
    page = submit(ada, "/profile", name="Ada", image="ftp://example.com")
    assert page.status_code == 400
    assert 'value="Ada"' in page.text
    assert 'value="ftp://example.com"' in page.text
    assert "image-error" in page.text


def test_a_picture_is_no_part_of_the_page_unless_it_is_switched_on(
    make_app: MakeApp, sign_in: SignIn, chatbotkit_sandbox: Sandbox
) -> None:
    for switch, shown, kept in ((False, 0, None), (True, 1, "https://example.com/a.png")):
        client = make_app(CHATBOTKIT_AUTH_PROFILE_PICTURE=switch).test_client()
        sign_in(client, ADA)
        assert client.get("/auth/account").text.count('name="image"') == shown
        submit(client, "/profile", name="Ada", image="https://example.com/a.png")
        assert account(client)["user"]["image"] == kept


def test_times_are_told_as_people_do(app: Flask, ada: FlaskClient, sign_in: SignIn, clock: Clock) -> None:
    sign_in(app.test_client(), ADA)
    clock.advance(timedelta(hours=2))
    page = ada.get("/auth/account").text
    assert page.count("Active now") == 1
    assert "2 hours ago" in page
    assert re.search(r"Account since <time[^>]*>\d+ \w+ \d{4}</time>", page)
    assert page.count(ADA) == 1


def test_an_outage_loses_nothing_that_was_typed(
    make_app: MakeApp, chatbotkit_sandbox: Sandbox, sign_in: SignIn
) -> None:
    client = make_app(CHATBOTKIT_API_RETRIES=0).test_client()
    sign_in(client, ADA)
    chatbotkit_sandbox.fail("*/update", status=503)
    assert error(post(client, "/profile", name="Ada")) == (503, "upstream_unavailable")
    page = submit(client, "/profile", name="Ada")
    assert page.status_code == 503
    assert 'value="Ada"' in page.text
    assert "reach our servers right now. Try again in a moment." in page.text


# Sessions


def test_one_other_session_is_ended(app: Flask, ada: FlaskClient, sign_in: SignIn) -> None:
    other = app.test_client()
    sign_in(other, ADA)
    (id,) = (each["id"] for each in account(ada)["sessions"] if not each["current"])
    heard: list[str] = []

    def hear(_app: Flask, user_id: str, reason: str) -> None:
        heard.append(reason)

    with session_ended.connected_to(hear, app):
        assert post(ada, f"/sessions/{id}/end").get_json() == {"ended": 1}
    assert heard == ["ended"]
    assert other.get("/dashboard").status_code == 302
    assert ada.get("/dashboard").status_code == 200
    assert error(post(ada, f"/sessions/{id}/end")) == (404, "no_session")
    again = submit(ada, f"/sessions/{id}/end")
    assert again.status_code == 404
    assert "no longer signed in on that device." in again.text


def test_nobody_ends_another_persons_session(app: Flask, ada: FlaskClient, sign_in: SignIn) -> None:
    eve = app.test_client()
    sign_in(eve, "eve@example.com")
    (session,) = account(ada)["sessions"]
    theirs = post(eve, f"/sessions/{session['id']}/end")
    unknown = post(eve, f"/sessions/{'0' * 64}/end")
    assert theirs.status_code == unknown.status_code == 404
    assert theirs.get_json() == unknown.get_json()
    assert ada.get("/dashboard").status_code == 200


def test_ending_ones_own_session_signs_out(ada: FlaskClient) -> None:
    (session,) = account(ada)["sessions"]
    assert post(ada, f"/sessions/{session['id']}/end").get_json() == {"ended": 1, "redirect": "/auth/sign-in"}
    assert ada.get("/dashboard").status_code == 302
    assert ada.get_cookie("remember_token") is None


def test_all_other_sessions_are_ended(app: Flask, ada: FlaskClient, sign_in: SignIn) -> None:
    others = [app.test_client() for _ in range(3)]
    for other in others:
        sign_in(other, ADA)
    assert post(ada, "/sessions/end-others").get_json() == {"ended": 3}
    assert [other.get("/dashboard").status_code for other in others] == [302, 302, 302]
    assert ada.get("/dashboard").status_code == 200
    assert "All other devices are signed out." in submit(ada, "/sessions/end-others").text


def test_ending_an_other_session_by_hand(app: Flask, ada: FlaskClient, sign_in: SignIn) -> None:
    sign_in(app.test_client(), ADA)
    (id,) = (each["id"] for each in account(ada)["sessions"] if not each["current"])
    assert f"/auth/account/sessions/{id}/end" in ada.get("/auth/account").text
    assert "That device is signed out." in submit(ada, f"/sessions/{id}/end").text


# The end of the account


def test_an_account_is_deleted_by_hand(
    app: Flask, ada: FlaskClient, sign_in: SignIn, chatbotkit_sandbox: Sandbox, chatbotkit_outbox: Outbox
) -> None:
    other = app.test_client()
    sign_in(other, ADA)
    heard: list[str] = []

    def hear(_app: Flask, user_id: str) -> None:
        heard.append(user_id)

    (id,) = chatbotkit_sandbox.users
    assert "First we send a code to" in ada.get("/auth/account/delete").text
    answer = submit(ada, "/delete/code", follow=False)
    assert (answer.status_code, answer.location) == (303, "/auth/account/delete")
    assert "We sent a code to" in ada.get(answer.location).text
    assert chatbotkit_outbox[-1].recipients == [ADA]
    with user_deleted.connected_to(hear, app):
        page = submit(ada, "/delete", code=read_code(chatbotkit_outbox[-1]), confirm=" Ada@Example.com ")
    assert page.status_code == 200
    assert "Your account is deleted" in page.text
    assert ada.get_cookie("remember_token") is None
    with ada.session_transaction() as session:
        assert set(session) <= {"csrf_token"}
    assert heard == [id]
    assert not chatbotkit_sandbox.users
    for client in (ada, other):
        assert client.get("/dashboard").status_code == 302


def test_an_account_is_deleted_over_json(
    ada: FlaskClient, chatbotkit_sandbox: Sandbox, chatbotkit_outbox: Outbox
) -> None:
    answer = post(ada, "/delete/code")
    assert answer.get_json() == {"challenge": {"email": "a•••@example.com", "expires_in": 600, "resend_in": 30}}
    code = read_code(chatbotkit_outbox[-1])
    assert delete(ada, code).get_json() == {"deleted": True, "redirect": "/auth/sign-in"}
    assert not chatbotkit_sandbox.users
    assert error(delete(ada, code)) == (401, "not_signed_in")


def test_a_page_asks_for_one_thing_at_a_time(
    ada: FlaskClient, chatbotkit_sandbox: Sandbox, chatbotkit_outbox: Outbox
) -> None:
    page = submit(ada, "/delete/code").text
    assert 'name="code"' in page
    assert 'name="confirm"' not in page
    page = submit(ada, "/delete", code=read_code(chatbotkit_outbox[-1])).text
    assert 'name="code"' not in page
    assert 'name="confirm"' in page
    assert chatbotkit_sandbox.users
    wrong = submit(ada, "/delete", confirm="ada@example.org")
    assert wrong.status_code == 400
    assert 'value="ada@example.org"' in wrong.text
    assert 'name="code"' not in wrong.text
    assert "Your account is deleted" in submit(ada, "/delete", confirm=ADA).text
    assert not chatbotkit_sandbox.users


def test_another_code_to_delete_says_when_it_can_be_sent_and_that_it_was(
    make_app: MakeApp, sign_in: SignIn, clock: Clock
) -> None:
    limits = {"request:device": "2/hour"}  # her browser is known since she signed in
    client = make_app(CHATBOTKIT_AUTH_AUTO_DELETE=True, CHATBOTKIT_AUTH_RATE_LIMITS=limits).test_client()
    sign_in(client, ADA)
    page = submit(client, "/delete/code").text
    assert "New code sent" not in page
    assert "You can send a new code in 30 seconds." in page
    clock.advance(30)
    page = submit(client, "/delete/code").text
    assert "New code sent. Earlier codes still work." in page
    assert "You can send a new code in 30 seconds." in page
    clock.advance(30)
    page = submit(client, "/delete/code").text
    assert "too many codes. Wait 59 minutes" in page
    assert "Send a new code" not in page


def test_a_right_code_is_kept_for_this_browser_alone(
    app: Flask, ada: FlaskClient, chatbotkit_sandbox: Sandbox, chatbotkit_outbox: Outbox
) -> None:
    submit(ada, "/delete/code")
    copy = app.test_client()  # with Ada's cookies of before she typed the code
    for name in ("session", "remember_token"):
        cookie = ada.get_cookie(name)
        assert cookie is not None
        copy.set_cookie(name, cookie.value)
    submit(ada, "/delete", code=read_code(chatbotkit_outbox[-1]))
    assert 'name="confirm"' not in copy.get("/auth/account/delete").text
    submit(copy, "/delete", confirm=ADA)
    assert chatbotkit_sandbox.users


def test_without_a_code_nothing_is_deleted(ada: FlaskClient, chatbotkit_sandbox: Sandbox) -> None:
    assert error(delete(ada, "000000")) == (400, "no_challenge")
    page = submit(ada, "/delete", code="000000", confirm=ADA)
    assert page.status_code == 400
    assert "First we send a code to" in page.text
    assert chatbotkit_sandbox.users


@pytest.mark.parametrize("confirm", ["", "eve@example.com", "ada", "DELETE"])
def test_a_wrong_confirmation_uses_no_code_up(
    ada: FlaskClient, chatbotkit_sandbox: Sandbox, chatbotkit_outbox: Outbox, confirm: str
) -> None:
    post(ada, "/delete/code")
    code = read_code(chatbotkit_outbox[-1])
    assert error(delete(ada, code, confirm)) == (400, "invalid_confirmation")
    page = submit(ada, "/delete", code=code, confirm=confirm)
    assert page.status_code == 400
    assert "confirm-error" in page.text
    assert chatbotkit_sandbox.users
    assert delete(ada, code).status_code == 200


def test_wrong_codes_count_down_and_end_the_challenge(
    ada: FlaskClient, chatbotkit_sandbox: Sandbox, chatbotkit_outbox: Outbox
) -> None:
    post(ada, "/delete/code")
    code = read_code(chatbotkit_outbox[-1])
    lefts = [delete(ada, "zzzzzz").get_json()["error"]["attempts_left"] for _ in range(4)]
    assert lefts == [4, 3, 2, 1]
    page = submit(ada, "/delete", code="zzzzzz", confirm=ADA)
    assert page.status_code == 400
    assert "that was the last try" in page.text
    answer = delete(ada, code)
    assert error(answer) == (429, "too_many_attempts")
    assert answer.headers["Retry-After"]
    assert chatbotkit_sandbox.users
    assert post(ada, "/delete/code").status_code == 200, "another code may be asked for"


def test_wrong_codes_are_limited_with_those_of_signing_in(make_app: MakeApp, sign_in: SignIn) -> None:
    client = make_app(
        CHATBOTKIT_AUTH_AUTO_DELETE=True,
        CHATBOTKIT_AUTH_DEVICE_LIFETIME=0,
        CHATBOTKIT_AUTH_RATE_LIMITS={"verify:email": "3/hour"},
    ).test_client()
    sign_in(client, ADA)
    post(client, "/delete/code")
    assert [delete(client, "zzzzzz").status_code for _ in range(4)] == [400, 400, 400, 429]


def test_codes_are_limited_with_those_of_signing_in(make_app: MakeApp, sign_in: SignIn, clock: Clock) -> None:
    app = make_app(
        CHATBOTKIT_AUTH_AUTO_DELETE=True,
        CHATBOTKIT_AUTH_DEVICE_LIFETIME=0,
        CHATBOTKIT_AUTH_RATE_LIMITS={"request:email": "5/hour"},
    )
    ada = app.test_client()
    sign_in(ada, ADA)
    for _ in range(4):
        assert post(ada, "/delete/code").status_code == 200
        clock.advance(600)
    answer = post(ada, "/delete/code")
    assert error(answer) == (429, "rate_limited")
    page = submit(ada, "/delete/code")
    assert page.status_code == 429
    assert page.headers["Retry-After"]
    assert error(send(app.test_client(), "/auth/sign-in", {"email": ADA})) == (429, "rate_limited")


def test_another_code_counts_with_those_of_signing_in(make_app: MakeApp, sign_in: SignIn, clock: Clock) -> None:
    limits = {"request:email": "3/15minutes"}
    ada = make_app(
        CHATBOTKIT_AUTH_AUTO_DELETE=True, CHATBOTKIT_AUTH_DEVICE_LIFETIME=0, CHATBOTKIT_AUTH_RATE_LIMITS=limits
    ).test_client()
    sign_in(ada, ADA)
    statuses = []
    for _ in range(3):
        statuses.append(post(ada, "/delete/code").status_code)
        clock.advance(30)
    assert statuses == [200, 200, 429]


def test_another_code_waits_and_keeps_the_earlier_ones(
    make_app: MakeApp, sign_in: SignIn, clock: Clock, chatbotkit_outbox: Outbox
) -> None:
    client = make_app(
        CHATBOTKIT_AUTH_AUTO_DELETE=True, CHATBOTKIT_AUTH_RATE_LIMITS={"request:email": None}
    ).test_client()
    sign_in(client, ADA)
    post(client, "/delete/code")
    first = read_code(chatbotkit_outbox[-1])
    assert error(post(client, "/delete/code")) == (429, "rate_limited")
    assert post(client, "/delete", code="zzzzzz", confirm=ADA).get_json()["error"]["attempts_left"] == 4
    for _ in range(3):
        clock.advance(30)
        assert post(client, "/delete/code").status_code == 200
    clock.advance(30)
    page = submit(client, "/delete/code")
    assert page.status_code == 429
    assert "the last code we can send" in page.text
    assert post(client, "/delete", code="zzzzzz", confirm=ADA).get_json()["error"]["attempts_left"] == 3
    assert error(delete(client, first)) == (400, "invalid_code"), "the newest two work"
    assert delete(client, read_code(chatbotkit_outbox[-2])).status_code == 200


def test_a_wrong_confirmation_keeps_the_right_code(
    ada: FlaskClient, chatbotkit_sandbox: Sandbox, chatbotkit_outbox: Outbox
) -> None:
    post(ada, "/delete/code")
    code = read_code(chatbotkit_outbox[-1])
    assert error(delete(ada, code, "ada@example.org")) == (400, "invalid_confirmation")
    assert 'name="code"' not in ada.get("/auth/account/delete").text
    assert chatbotkit_sandbox.users
    assert delete(ada, "").status_code == 200
    assert chatbotkit_sandbox.users == {}


def test_a_copied_cookie_deletes_nothing_without_the_code(
    app: Flask, ada: FlaskClient, chatbotkit_sandbox: Sandbox, chatbotkit_outbox: Outbox
) -> None:
    post(ada, "/delete/code")
    thief = app.test_client()
    for name in ("session", "remember_token"):
        copied = ada.get_cookie(name)
        assert copied is not None
        thief.set_cookie(name, copied.value)
    code = read_code(chatbotkit_outbox[-1])
    chatbotkit_sandbox.fail("*/delete", status=401)
    assert error(delete(ada, code)) == (503, "upstream_unavailable")
    chatbotkit_sandbox.heal()
    assert error(delete(thief, "")) == (400, "no_challenge")
    assert chatbotkit_sandbox.users
    assert delete(ada, "").status_code == 200


def test_an_account_is_deleted_although_the_store_fails_after_that(
    app: Flask, ada: FlaskClient, chatbotkit_outbox: Outbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_args: object, **_named: object) -> None:
        raise StoreError("gone")

    post(ada, "/delete/code")
    monkeypatch.setattr(app.extensions["chatbotkit_auth"].store, "finish", fail)
    answer = delete(ada, read_code(chatbotkit_outbox[-1]))
    assert (answer.status_code, answer.get_json()) == (200, {"deleted": True, "redirect": "/auth/sign-in"})


def test_one_right_code_at_once_deletes_once(
    app: Flask, ada: FlaskClient, chatbotkit_sandbox: Sandbox, chatbotkit_outbox: Outbox
) -> None:
    post(ada, "/delete/code")
    code = read_code(chatbotkit_outbox[-1])
    token = ada.get("/auth/session").get_json()["csrf_token"]
    cookies = [ada.get_cookie(name) for name in ("session", "remember_token")]
    chatbotkit_sandbox.latency = 0.2
    chatbotkit_sandbox.requests.clear()
    deleted: list[str] = []

    def hear(_app: object, user_id: str) -> None:
        deleted.append(user_id)

    def delete_it(_number: int) -> int:
        twin = app.test_client()
        for cookie in cookies:
            assert cookie is not None
            twin.set_cookie(cookie.key, cookie.value)
        form = {"code": code, "confirm": ADA}
        return twin.post("/auth/account/delete", json=form, headers={"X-CSRFToken": token}).status_code

    with user_deleted.connected_to(hear, app):
        statuses = at_once(3, delete_it)
    assert sorted(statuses) == [200, 400, 400]
    assert len(deleted) == 1
    assert len([each for each in chatbotkit_sandbox.requests if each.path.endswith("/delete")]) == 1


def test_a_deletion_that_fails_gives_the_code_back(
    ada: FlaskClient, chatbotkit_sandbox: Sandbox, chatbotkit_outbox: Outbox
) -> None:
    post(ada, "/delete/code")
    chatbotkit_sandbox.fail("*/delete", status=401)
    code = read_code(chatbotkit_outbox[-1])
    for typed in (code, "", ""):
        assert error(delete(ada, typed)) == (503, "upstream_unavailable")
    chatbotkit_sandbox.heal()
    assert delete(ada, "").status_code == 200


def test_a_profile_is_changed_thirty_times_an_hour(ada: FlaskClient, chatbotkit_sandbox: Sandbox, clock: Clock) -> None:
    answers = [post(ada, "/profile", name=f"Ada {number}") for number in range(31)]
    assert [each.status_code for each in answers] == [200] * 30 + [429]
    assert error(answers[-1]) == (429, "rate_limited")
    assert "Too many changes" in answers[-1].get_json()["error"]["message"]
    calls = len(chatbotkit_sandbox.requests)
    assert post(ada, "/profile", name="Countess").status_code == 429
    assert len(chatbotkit_sandbox.requests) == calls
    clock.advance(3600)
    assert post(ada, "/profile", name="Countess").status_code == 200


@pytest.mark.parametrize(
    ("typed", "kept"),
    [
        ("Ada\u202eecalevoL", "AdaecalevoL"),
        ("\u200bAda\u2060  \u00a0Lovelace\ufeff", "Ada Lovelace"),
        ("A" + "\u0301" * 40 + "da", "\u00c1" + "\u0301" * 3 + "da"),
        ("\u3164\u115f", ""),
        ("\u0645\u06cc\u200c\u062e\u0648\u0627\u0647\u0645", "\u0645\u06cc\u200c\u062e\u0648\u0627\u0647\u0645"),
        ("Ada \U0001f469\u200d\U0001f4bb", "Ada \U0001f469\u200d\U0001f4bb"),
        ("\u0e19\u0e49\u0e33", "\u0e19\u0e49\u0e33"),
    ],
    ids=ascii,
)
def test_what_shows_nothing_in_a_name_is_dropped(ada: FlaskClient, typed: str, kept: str) -> None:
    post(ada, "/profile", name="before")
    assert post(ada, "/profile", name=typed).get_json()["user"]["name"] in (kept, kept or None)


def test_an_expired_code_deletes_nothing(
    ada: FlaskClient, clock: Clock, chatbotkit_sandbox: Sandbox, chatbotkit_outbox: Outbox
) -> None:
    post(ada, "/delete/code")
    clock.advance(600)
    assert error(delete(ada, read_code(chatbotkit_outbox[-1]))) == (400, "code_expired")
    assert "First we send a code to" in ada.get("/auth/account/delete").text
    assert chatbotkit_sandbox.users


def test_a_code_serves_the_purpose_it_was_sent_for(
    ada: FlaskClient, chatbotkit_sandbox: Sandbox, chatbotkit_outbox: Outbox
) -> None:
    send(ada, "/auth/sign-in", {"email": ADA})
    for_signing_in = read_code(chatbotkit_outbox[-1])
    assert error(delete(ada, for_signing_in)) == (400, "no_challenge")
    post(ada, "/delete/code")
    for_deleting = read_code(chatbotkit_outbox[-1])
    assert error(delete(ada, for_signing_in)) == (400, "invalid_code")
    assert error(send(ada, "/auth/verify", {"code": for_deleting})) == (400, "no_challenge")
    assert chatbotkit_sandbox.users


def test_a_code_belongs_to_the_browser_and_the_person(
    app: Flask, ada: FlaskClient, sign_in: SignIn, chatbotkit_sandbox: Sandbox, chatbotkit_outbox: Outbox
) -> None:
    post(ada, "/delete/code")
    code = read_code(chatbotkit_outbox[-1])
    other = app.test_client()
    sign_in(other, ADA)
    assert error(delete(other, code)) == (400, "no_challenge")
    post(other, "/delete/code")
    assert error(delete(other, code)) == (400, "invalid_code")
    with ada.session_transaction() as session:
        entry = session["chatbotkit_auth"]
    sign_in(ada, "eve@example.com")
    with ada.session_transaction() as session:
        assert "chatbotkit_auth" not in session
        session["chatbotkit_auth"] = entry
    assert error(delete(ada, code, "eve@example.com")) == (400, "no_challenge")
    assert len(chatbotkit_sandbox.users) == 2


def test_a_code_for_an_address_of_before_deletes_nothing(
    ada: FlaskClient, clock: Clock, chatbotkit_sandbox: Sandbox, chatbotkit_outbox: Outbox
) -> None:
    post(ada, "/delete/code")
    (record,) = chatbotkit_sandbox.users.values()
    code = read_code(chatbotkit_outbox[-1])
    record["email"] = ""
    clock.advance(900)
    assert error(delete(ada, code)) == (400, "no_challenge")
    assert error(post(ada, "/delete/code")) == (400, "invalid_email")
    assert "no email address we can write to" in submit(ada, "/delete/code").text


@pytest.mark.parametrize("adapter", ["partner", "contact"])
@pytest.mark.parametrize("proved_before", [False, True])
def test_a_code_to_a_mailbox_that_lost_the_account_deletes_nothing(
    make_app: MakeApp,
    sign_in: SignIn,
    chatbotkit_sandbox: Sandbox,
    chatbotkit_outbox: Outbox,
    adapter: str,
    proved_before: bool,
) -> None:
    """The address is changed upstream, and no refresh has told this worker yet."""
    app = make_app(CHATBOTKIT_AUTH_AUTO_DELETE=True, CHATBOTKIT_AUTH_ADAPTER=adapter, CHATBOTKIT_API_RETRIES=0)
    client, other = app.test_client(), app.test_client()
    sign_in(client, ADA)
    sign_in(other, ADA)
    post(client, "/delete/code")
    code = read_code(chatbotkit_outbox[-1])
    if proved_before:
        chatbotkit_sandbox.fail("*/delete", status=503)
        assert error(delete(client, code)) == (503, "upstream_unavailable")
        chatbotkit_sandbox.heal()
    accounts = chatbotkit_sandbox.users if adapter == "partner" else chatbotkit_sandbox.contacts
    (record,) = accounts.values()
    record["email"] = "new@example.com"
    reasons: list[str] = []

    def hear(_app: object, reason: str) -> None:
        reasons.append(reason)

    with session_ended.connected_to(hear, app):
        assert error(delete(client, "" if proved_before else code)) == (400, "no_challenge")
    assert reasons == ["address_changed"]
    assert list(accounts.values()) == [record]
    # Whoever held the old mailbox is nobody here any more, wherever they were signed in.
    assert client.get("/dashboard").status_code == other.get("/dashboard").status_code == 302


def test_an_account_whose_address_is_only_spelled_anew_is_deleted(
    ada: FlaskClient, chatbotkit_sandbox: Sandbox, chatbotkit_outbox: Outbox
) -> None:
    post(ada, "/delete/code")
    (record,) = chatbotkit_sandbox.users.values()
    record["email"] = " Ada@Example.com"
    assert delete(ada, read_code(chatbotkit_outbox[-1])).status_code == 200
    assert chatbotkit_sandbox.users == {}


def test_an_account_that_is_gone_already_is_deleted_all_the_same(
    ada: FlaskClient, chatbotkit_sandbox: Sandbox, chatbotkit_outbox: Outbox
) -> None:
    post(ada, "/delete/code")
    chatbotkit_sandbox.users.clear()
    assert delete(ada, read_code(chatbotkit_outbox[-1])).status_code == 200
    assert ada.get("/dashboard").status_code == 302


def test_after_an_outage_no_new_code_is_needed(
    make_app: MakeApp, sign_in: SignIn, chatbotkit_sandbox: Sandbox, chatbotkit_outbox: Outbox
) -> None:
    client = make_app(CHATBOTKIT_AUTH_AUTO_DELETE=True, CHATBOTKIT_API_RETRIES=0).test_client()
    sign_in(client, ADA)
    post(client, "/delete/code")
    chatbotkit_sandbox.fail("*/delete", status=503)
    page = submit(client, "/delete", code=read_code(chatbotkit_outbox[-1]), confirm=ADA)
    assert page.status_code == 503
    assert "reach our servers right now" in page.text
    assert client.get("/dashboard").status_code == 200
    chatbotkit_sandbox.heal()
    assert post(client, "/delete/code").status_code == 200
    assert len(chatbotkit_outbox) == 2, "the one to sign in and the one to delete"
    assert error(delete(client, "", "eve@example.com")) == (400, "invalid_confirmation")
    assert delete(client, "").status_code == 200
    assert not chatbotkit_sandbox.users


def test_a_mail_that_cannot_be_sent_is_told(app: Flask, ada: FlaskClient) -> None:
    auth: ChatBotKitAuth = app.extensions["test_auth"]

    @auth.send_verification_request
    def fail(*_args: object) -> None:
        raise MailError("away")

    assert error(post(ada, "/delete/code")) == (503, "mail_unavailable")
    page = submit(ada, "/delete/code")
    assert page.status_code == 503
    assert "send the email. Wait a moment" in page.text


@contextmanager
def counted(app: Flask) -> Iterator[list[str]]:
    deleted: list[str] = []

    def hear(_app: Flask, user_id: str) -> None:
        deleted.append(user_id)

    with user_deleted.connected_to(hear, app):
        yield deleted


def test_one_code_submitted_by_many_threads_deletes_once(
    app: Flask, ada: FlaskClient, chatbotkit_outbox: Outbox, chatbotkit_sandbox: Sandbox
) -> None:
    post(ada, "/delete/code")
    code = read_code(chatbotkit_outbox[-1])
    token = ada.get("/auth/session").get_json()["csrf_token"]
    clients = []
    for _ in range(20):
        copy = app.test_client()
        for name in ("session", "remember_token"):
            cookie = ada.get_cookie(name)
            assert cookie is not None
            copy.set_cookie(name, cookie.value)
        clients.append(copy)

    def submit_code(number: int) -> int:
        body = {"code": code, "confirm": ADA}
        return clients[number].post("/auth/account/delete", json=body, headers={"X-CSRFToken": token}).status_code

    with counted(app) as deleted:
        statuses = at_once(20, submit_code)
    # Some come while the challenge is verified and the account not yet gone: to delete what is gone is no error.
    assert 200 in statuses
    assert set(statuses) <= {200, 400, 401}
    assert len(set(deleted)) == 1
    assert not chatbotkit_sandbox.users
