"""Sessions for apps from outside: signing in without a cookie, and whatever an attacker does with tokens."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from cachelib.file import FileSystemCache
from flask import Flask, Response, session
from flask.testing import FlaskClient
from flask_login import LoginManager, UserMixin, current_user, encode_cookie, login_required, login_user
from flask_mail import Message
from flask_session import Session
from flask_wtf import FlaskForm
from flask_wtf.csrf import CSRFProtect
from werkzeug.test import TestResponse
from wtforms import StringField

from flask_chatbotkit_auth import (
    MailError,
    StoreError,
    app_session_added,
    current_auth,
    exempt_app_requests,
    user_signed_in,
    user_signed_out,
)
from flask_chatbotkit_auth.testing import Sandbox
from flask_chatbotkit_auth.testing.plugin import read_code
from tests.support.apps import Clock, MakeApp
from tests.support.sites import SignIn, Worker, auth_of
from tests.support.steps import ADA, error, post
from tests.support.workers import at_once

EVE = "eve@example.com"
JSON = {"Accept": "application/json"}


def bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


def ask(app: Flask, email: object = ADA, **more: Any) -> TestResponse:
    return app.test_client().post("/auth/app/sign-in", json={"email": email, **more})


def begun(app: Flask, email: object = ADA, **more: Any) -> str:
    """Return the challenge token of a sign-in that has begun."""
    answer = ask(app, email, **more)
    assert answer.status_code == 200, answer.text
    token: str = answer.get_json()["challenge"]["token"]
    return token


def verify(app: Flask, challenge: object, code: object) -> TestResponse:
    return app.test_client().post("/auth/app/verify", json={"challenge": challenge, "code": code})


def get(app: Flask, path: str, token: str, **headers: str) -> TestResponse:
    return app.test_client().get(path, headers={**bearer(token), **headers})


def send(app: Flask, path: str, token: str, body: dict[str, Any] | None = None) -> TestResponse:
    return app.test_client().post(path, headers=bearer(token), json=body or {})


def is_dead(answer: TestResponse) -> bool:
    return (
        error(answer) == (401, "invalid_token")
        and answer.headers["WWW-Authenticate"] == 'Bearer error="invalid_token"'
        and "Set-Cookie" not in answer.headers
    )


@pytest.fixture
def app(make_app: MakeApp) -> Flask:
    return make_app(CHATBOTKIT_AUTH_APP_SESSIONS=True)


@pytest.fixture
def token_of(chatbotkit_outbox: list[Message]) -> Callable[..., str]:
    """Sign an app in, and return its token."""

    def token_of(app: Flask, email: str = ADA, **more: Any) -> str:
        challenge = begun(app, email, **more)
        answer = verify(app, challenge, read_code(chatbotkit_outbox[-1]))
        assert answer.status_code == 200, answer.text
        token: str = answer.get_json()["token"]
        return token

    return token_of


TokenOf = Callable[..., str]


# What signs a browser in signs no app in, and out


@pytest.mark.parametrize("how", ["current_auth", "Flask-Login"])
def test_a_view_that_signs_a_browser_in_leaves_the_session_of_an_app_alone(
    app: Flask, token_of: TokenOf, how: str
) -> None:
    @app.get("/act-as/<id>")
    def act_as(id: str) -> str:
        person = current_auth.adapter.get(id)
        assert person
        return str(current_auth.sign_in(person) if how == "current_auth" else login_user(person))

    token = token_of(app)
    eve = get(app, "/auth/app/session", token_of(app, EVE)).get_json()["user"]["id"]
    with pytest.raises(RuntimeError, match="bearer token"):
        get(app, f"/act-as/{eve}", token)
    assert get(app, "/auth/app/session", token).get_json()["user"]["email"] == ADA
    state = auth_of(app)
    assert len(state.store.list_sessions(eve, now=state.clock())) == 1, "nobody would hold another one"


# The way of an app


def test_an_app_signs_in_and_out_without_a_cookie(app: Flask, chatbotkit_outbox: list[Message], clock: Clock) -> None:
    asked = ask(app, name="Ada's\tlaptop\n")
    assert asked.status_code == 200
    challenge = asked.get_json()["challenge"]
    assert challenge == {"email": "a•••@example.com", "expires_in": 600, "resend_in": 30, "token": challenge["token"]}
    answer = verify(app, challenge["token"], read_code(chatbotkit_outbox[0]))
    found = answer.get_json()
    assert found.keys() == {"user", "token", "expires_at"}
    assert found["user"]["email"] == ADA
    assert re.fullmatch("cba-[0-9a-f]{32}", found["token"])
    token = found["token"]
    assert get(app, "/dashboard", token).text == f"Hello {ADA}"
    held = get(app, "/auth/app/session", token)
    assert held.get_json() == {"user": found["user"], "expires_at": found["expires_at"]}
    assert send(app, "/auth/app/session", token).get_json() == held.get_json()
    (listed,) = get(app, "/auth/account", token).get_json()["sessions"]
    assert (listed["client"], listed["name"], listed["current"]) == ("app", "Ada's laptop", True)
    left = send(app, "/auth/app/sign-out", token)
    assert left.get_json() == {"ended": 1}
    for each in (asked, answer, held, left):
        assert "Set-Cookie" not in each.headers
        assert each.headers["Cache-Control"] == "no-store"
        assert "Cookie" not in each.headers.get("Vary", "")
    assert is_dead(get(app, "/dashboard", token))


def test_forms_do_as_well_as_json(app: Flask, chatbotkit_outbox: list[Message]) -> None:
    asked = app.test_client().post("/auth/app/sign-in", data={"email": ADA}).get_json()["challenge"]["token"]
    form = {"challenge": asked, "code": read_code(chatbotkit_outbox[0])}
    assert "token" in app.test_client().post("/auth/app/verify", data=form).get_json()


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("Pixel 9", "Pixel 9"),
        (" a \r\n b ", "a b"),
        ("x" * 65, "x" * 64),
        ("\u202egnihsif", "gnihsif"),
        ("\x00\u2028", None),
        ("", None),
        (7, None),
        ("😀" * 64, "😀" * 64),
        ("<b>", "<b>"),
    ],
)
def test_the_name_is_one_line_that_can_be_shown(app: Flask, token_of: TokenOf, name: object, shown: str | None) -> None:
    token = token_of(app, name=name)
    (listed,) = get(app, "/auth/account", token).get_json()["sessions"]
    assert listed["name"] == shown


def test_the_account_page_shows_the_name_and_ends_the_session(app: Flask, token_of: TokenOf, sign_in: SignIn) -> None:
    token = token_of(app, name="<Pixel> 9")
    browser = app.test_client()
    sign_in(browser, ADA)
    page = browser.get("/auth/account").text
    assert "&lt;Pixel&gt; 9" in page
    assert "<Pixel>" not in page
    sessions = browser.get("/auth/account", headers=JSON).get_json()["sessions"]
    assert {each["client"]: each["name"] for each in sessions} == {"app": "<Pixel> 9", "browser": None}
    (id,) = [each["id"] for each in sessions if each["client"] == "app"]
    assert post(browser, f"/auth/account/sessions/{id}/end", {}).get_json() == {"ended": 1}
    assert is_dead(get(app, "/dashboard", token))


def test_a_person_hears_of_an_app_by_mail_and_the_application_by_signals(
    app: Flask, token_of: TokenOf, chatbotkit_outbox: list[Message]
) -> None:
    heard: list[tuple[str, Any]] = []

    def added(_app: object, **data: Any) -> None:
        heard.append(("added", (data["user"].email, data["name"], data["session_id"])))

    def signed_in(_app: object, **data: Any) -> None:
        heard.append(("in", (data["created"], data["method"])))

    def signed_out(_app: object, **data: Any) -> None:
        heard.append(("out", data["user"].email))

    with (
        app_session_added.connected_to(added, app),
        user_signed_in.connected_to(signed_in, app),
        user_signed_out.connected_to(signed_out, app),
    ):
        token = token_of(app, name="Pixel 9")
        id = get(app, "/auth/account", token).get_json()["sessions"][0]["id"]
        send(app, "/auth/app/sign-out", token)
    assert heard == [("in", (True, "code")), ("added", (ADA, "Pixel 9", id)), ("out", ADA)]
    notice = chatbotkit_outbox[-1]
    assert (len(chatbotkit_outbox), notice.subject) == (2, "An app was signed in to your Shop account")
    assert "Pixel 9" in str(notice.body)


def test_a_notice_that_fails_costs_nobody_their_token(
    make_app: MakeApp, token_of: TokenOf, caplog: pytest.LogCaptureFixture
) -> None:
    app = make_app(CHATBOTKIT_AUTH_APP_SESSIONS=True)

    @app.extensions["test_auth"].send_notice  # type: ignore[untyped-decorator]
    def fail(kind: str) -> None:
        raise MailError(kind)

    assert get(app, "/dashboard", token_of(app)).status_code == 200
    assert "the notice app_session_added was not sent" in caplog.text


def test_another_code_is_sent_and_an_expired_challenge_begins_anew(
    app: Flask, chatbotkit_outbox: list[Message], clock: Clock
) -> None:
    def resend(challenge: object) -> TestResponse:
        return app.test_client().post("/auth/app/resend", json={"challenge": challenge})

    first = begun(app, name="tv")
    assert error(resend(first)) == (429, "rate_limited")
    clock.advance(30)
    second = resend(first).get_json()["challenge"]["token"]
    clock.advance(601)
    assert error(verify(app, second, read_code(chatbotkit_outbox[-1]))) == (400, "code_expired")
    third = resend(first).get_json()["challenge"]["token"]
    assert error(verify(app, first, read_code(chatbotkit_outbox[-1]))) == (400, "code_expired")
    token = verify(app, third, read_code(chatbotkit_outbox[-1])).get_json()["token"]
    assert get(app, "/auth/account", token).get_json()["sessions"][0]["name"] == "tv"


@pytest.mark.parametrize("kind", ["partner", "contact"])
def test_an_outage_costs_no_new_code(
    make_app: MakeApp, chatbotkit_sandbox: Sandbox, chatbotkit_outbox: list[Message], kind: str
) -> None:
    app = make_app(CHATBOTKIT_AUTH_APP_SESSIONS=True, CHATBOTKIT_AUTH_ADAPTER=kind, CHATBOTKIT_API_RETRIES=0)
    before = begun(app, name="Pixel 9")
    chatbotkit_sandbox.fail("*", status=503, times=1)
    failed = verify(app, before, read_code(chatbotkit_outbox[0]))
    assert error(failed) == (503, "upstream_unavailable")
    after = failed.get_json()["error"]["challenge"]
    assert after.keys() == {"email", "expires_in", "resend_in", "token"}
    assert after["token"] != before
    assert error(verify(app, before, "")) == (400, "no_challenge")
    answer = verify(app, after["token"], "")
    assert answer.status_code == 200
    assert get(app, "/dashboard", answer.get_json()["token"]).status_code == 200
    for challenge in (before, after["token"]):
        assert error(verify(app, challenge, "")) == (400, "no_challenge")


def test_a_mail_that_fails_leaves_a_challenge_that_sends_another_code(
    make_app: MakeApp, chatbotkit_outbox: list[Message]
) -> None:
    app = make_app(CHATBOTKIT_AUTH_APP_SESSIONS=True)
    codes: list[str] = []

    @app.extensions["test_auth"].send_verification_request  # type: ignore[untyped-decorator]
    def send(code: str) -> None:
        codes.append(code)
        if len(codes) == 1:
            raise MailError

    failed = ask(app)
    assert error(failed) == (503, "mail_unavailable")
    challenge = failed.get_json()["error"]["challenge"]["token"]
    again = app.test_client().post("/auth/app/resend", json={"challenge": challenge})
    assert again.status_code == 200
    assert verify(app, again.get_json()["challenge"]["token"], codes[-1]).status_code == 200


def test_the_account_can_be_looked_after_with_a_token(
    make_app: MakeApp, token_of: TokenOf, sign_in: SignIn, clock: Clock
) -> None:
    app = make_app(CHATBOTKIT_AUTH_APP_SESSIONS=True)
    token = token_of(app)
    assert send(app, "/auth/account/profile", token, {"name": "Ada"}).get_json()["user"]["name"] == "Ada"
    browser = app.test_client()
    sign_in(browser, ADA)
    assert send(app, "/auth/account/sessions/end-others", token).get_json() == {"ended": 1}
    assert browser.get("/dashboard").status_code == 302
    clock.advance(3601)
    refused = send(app, "/auth/account/sessions/end-others", token)
    assert error(refused) == (403, "not_fresh")
    id = get(app, "/auth/account", token).get_json()["sessions"][0]["id"]
    assert send(app, f"/auth/account/sessions/{id}/end", token).get_json()["ended"] == 1
    assert is_dead(get(app, "/auth/account", token))


def test_an_account_is_deleted_by_a_code_that_the_app_holds(
    make_app: MakeApp, token_of: TokenOf, chatbotkit_outbox: list[Message], chatbotkit_sandbox: Sandbox, clock: Clock
) -> None:
    app = make_app(CHATBOTKIT_AUTH_APP_SESSIONS=True, CHATBOTKIT_AUTH_AUTO_DELETE=True, CHATBOTKIT_API_RETRIES=0)
    token, stranger = token_of(app), token_of(app, EVE)
    challenge = send(app, "/auth/account/delete/code", token).get_json()["challenge"]["token"]
    deletion = {"challenge": challenge, "code": read_code(chatbotkit_outbox[-1]), "confirm": ADA}
    assert error(send(app, "/auth/account/delete", stranger, {**deletion, "confirm": EVE})) == (400, "no_challenge")
    assert error(verify(app, challenge, deletion["code"])) == (400, "no_challenge")
    chatbotkit_sandbox.fail("*/delete", status=503, times=1)
    failed = send(app, "/auth/account/delete", token, deletion)
    assert error(failed) == (503, "upstream_unavailable")
    proved = failed.get_json()["error"]["challenge"]["token"]
    done = send(app, "/auth/account/delete", token, {"challenge": proved, "code": "", "confirm": ADA})
    assert done.get_json()["deleted"] is True
    assert is_dead(get(app, "/dashboard", token))


def test_an_app_that_changes_the_address_goes_on_with_another_token(
    make_app: MakeApp, token_of: TokenOf, chatbotkit_outbox: list[Message], tmp_path: Any
) -> None:
    app = make_app(CHATBOTKIT_AUTH_APP_SESSIONS=True, CHATBOTKIT_AUTH_EMAIL_CHANGE=True)
    app.config.update(SESSION_TYPE="cachelib", SESSION_CACHELIB=FileSystemCache(str(tmp_path / "sessions")))
    Session(app)
    token = token_of(app, name="Pixel 9")
    new = "ada@new.example.com"
    challenge = send(app, "/auth/account/email", token, {"email": new}).get_json()["challenge"]["token"]
    body = {"challenge": challenge, "code": read_code(chatbotkit_outbox[-1])}
    moved = send(app, "/auth/account/email/verify", token, body)
    assert "Set-Cookie" not in moved.headers
    assert moved.get_json()["user"]["email"] == new
    assert is_dead(get(app, "/dashboard", token))
    newer = moved.get_json()["token"]
    assert get(app, "/dashboard", newer).text == f"Hello {new}"
    (listed,) = get(app, "/auth/account", newer).get_json()["sessions"]
    assert (listed["client"], listed["name"]) == ("app", "Pixel 9")


def test_no_endpoint_sets_a_cookie_for_an_app(app: Flask, token_of: TokenOf) -> None:
    app.add_url_rule("/own", "own", lambda: Response(headers={"Set-Cookie": "a=b"}))
    token = token_of(app)
    for method, path in (("POST", "/auth/account/device/forget"), ("GET", "/own"), ("GET", "/auth/session")):
        answer = app.test_client().open(path, method=method, headers=bearer(token))
        assert answer.status_code == 200
        assert "Set-Cookie" not in answer.headers


def test_freshness_is_that_of_the_proof(worker: Worker, token_of: TokenOf, clock: Clock) -> None:
    app = worker(CHATBOTKIT_AUTH_APP_SESSIONS=True, CHATBOTKIT_AUTH_FRESH=60)
    token = token_of(app)
    assert get(app, "/bank", token).text == "vault"
    clock.advance(61)
    assert error(get(app, "/bank", token)) == (403, "not_fresh")
    assert get(app, "/fresh", token).text == "remembered"


def test_a_session_callback_adds_to_what_the_app_is_told(app: Flask, token_of: TokenOf) -> None:
    app.extensions["test_auth"].session_callback(lambda session, user: {**session, "plan": user.kind})
    assert get(app, "/auth/app/session", token_of(app)).get_json()["plan"] == "partner"


# Limits


def test_limits_are_those_of_browsers(app: Flask, client: FlaskClient, chatbotkit_outbox: list[Message]) -> None:
    for _ in range(3):
        begun(app)
    for _ in range(2):
        post(client, "/auth/sign-in", {"email": ADA})
    refused = ask(app)
    assert error(refused) == (429, "rate_limited")
    assert int(refused.headers["Retry-After"]) > 0
    challenge = begun(app, EVE)
    for left in (4, 3, 2, 1, 0):
        answer = verify(app, challenge, "zzzzzz")
        assert answer.get_json()["error"]["attempts_left"] == left
    assert error(verify(app, challenge, read_code(chatbotkit_outbox[-1]))) == (429, "too_many_attempts")


def test_a_client_has_one_limit_for_apps_and_browsers(make_app: MakeApp, client: FlaskClient) -> None:
    app = make_app(CHATBOTKIT_AUTH_APP_SESSIONS=True, CHATBOTKIT_AUTH_RATE_LIMITS={"request:ip": "2/hour"})
    begun(app, "a@example.com")
    begun(app, "b@example.com")
    assert error(post(app.test_client(), "/auth/sign-in", {"email": ADA})) == (429, "rate_limited")


# Attacks


def test_a_token_in_a_cookie_is_nothing(app: Flask, token_of: TokenOf) -> None:
    token = token_of(app)
    client = app.test_client()
    for name in ("session", "remember_token", "Authorization", "token"):
        client.set_cookie(name, token)
    assert client.get("/dashboard").status_code == 302
    # Even where somebody has the key, or the application puts it there.
    with app.app_context():
        client.set_cookie("remember_token", encode_cookie(token))
    assert client.get("/dashboard").status_code == 302
    client = app.test_client()
    with client.session_transaction() as browser:
        browser["_user_id"] = token
    assert client.get("/dashboard").status_code == 302
    assert client.get("/auth/session").get_json()["user"] is None
    assert get(app, "/dashboard", token).status_code == 200


def test_a_cookie_in_the_header_is_nothing(app: Flask, sign_in: SignIn) -> None:
    client = app.test_client()
    sign_in(client, ADA)
    with client.session_transaction() as browser:
        token = browser["_user_id"]
    assert token.startswith("cbk-")
    cookies = [cookie.value for name in ("session", "remember_token") if (cookie := client.get_cookie(name))]
    assert len(cookies) == 2
    for each in (token, token.replace("cbk-", "cba-"), *cookies):
        assert is_dead(get(app, "/dashboard", each))
        assert is_dead(get(app, "/auth/account", each))
    assert client.get("/dashboard").status_code == 200


def test_the_bearer_wins_over_a_cookie(app: Flask, token_of: TokenOf, sign_in: SignIn) -> None:
    token = token_of(app)
    eve = app.test_client()
    sign_in(eve, EVE)
    cookies = [str(eve.get_cookie(name)) for name in ("session", "remember_token")]
    answer = eve.get("/dashboard", headers=bearer(token))
    assert answer.text == f"Hello {ADA}"
    assert "Set-Cookie" not in answer.headers
    assert eve.get("/auth/account", headers=bearer(token)).get_json()["user"]["email"] == ADA
    assert is_dead(eve.get("/dashboard", headers=bearer("cba-" + "0" * 32)))
    assert is_dead(eve.get("/dashboard", headers=bearer("anything")))
    # Signing the app out leaves the browser alone.
    assert eve.post("/auth/app/sign-out", headers=bearer(token)).get_json() == {"ended": 1}
    assert is_dead(eve.get("/dashboard", headers=bearer(token)))
    assert [str(eve.get_cookie(name)) for name in ("session", "remember_token")] == cookies
    assert eve.get("/dashboard").text == f"Hello {EVE}"


@pytest.mark.parametrize(
    "header",
    [
        "Bearer",
        "Bearer ",
        "bearer nothing",
        "BEARER cba-",
        "Bearer a=b",
        "Bearer cba-é",
        "Bearer cba-" + "0" * 32 + ", Bearer cba-" + "1" * 32,
        "Bearer cba-" + "0" * 5000,
        "Bearer cba-\x00",
        'Bearer token="cba-00000000000000000000000000000000"',
    ],
)
@pytest.mark.parametrize("path", ["/dashboard", "/auth/account", "/auth/app/session", "/auth/session", "/auth/sign-in"])
def test_a_dead_token_is_401_and_never_a_redirect(app: Flask, header: str, path: str) -> None:
    environ = {"HTTP_AUTHORIZATION": header.encode().decode("latin-1"), "HTTP_ACCEPT": "text/html"}
    assert is_dead(app.test_client().get(path, environ_overrides=environ))


def test_other_schemes_are_not_ours(app: Flask, client: FlaskClient, sign_in: SignIn) -> None:
    client = app.test_client()
    sign_in(client, ADA)
    for header in ("Basic YTpi", "Basic \xff", "Digest x=y", "", "cba-" + "0" * 32, "Token cba-1"):
        assert client.get("/dashboard", headers={"Authorization": header}).status_code == 200


def test_endpoints_of_apps_ask_for_a_token(app: Flask, sign_in: SignIn) -> None:
    client = app.test_client()
    sign_in(client, ADA)
    for method, path in (("GET", "session"), ("POST", "session"), ("POST", "sign-out")):
        answer = client.open(f"/auth/app/{path}", method=method)
        assert error(answer) == (401, "not_signed_in")
        assert answer.headers["WWW-Authenticate"] == "Bearer"
        assert "Set-Cookie" not in answer.headers
    assert client.get("/dashboard").status_code == 200


def test_a_token_ended_on_one_worker_is_dead_on_the_other(
    worker: Worker, token_of: TokenOf, clock: Clock, sign_in: SignIn
) -> None:
    here, there = (worker(CHATBOTKIT_AUTH_APP_SESSIONS=True) for _ in range(2))
    token = token_of(here)
    assert get(there, "/dashboard", token).status_code == 200
    with here.app_context():
        (row,) = current_auth.sessions(auth_of(here).adapter.get_by_email(ADA))
        assert current_auth.end_session(row.user, row.id)
    assert is_dead(get(here, "/dashboard", token))
    clock.advance(5)
    assert is_dead(get(there, "/dashboard", token))


def test_a_token_ends_when_it_is_idle_and_when_it_is_old(make_app: MakeApp, token_of: TokenOf, clock: Clock) -> None:
    app = make_app(
        CHATBOTKIT_AUTH_APP_SESSIONS=True, CHATBOTKIT_AUTH_SESSION_IDLE=3600, CHATBOTKIT_AUTH_SESSION_LIFETIME=7200
    )
    idle, used = token_of(app), token_of(app)
    for _ in range(3):
        clock.advance(2399)
        assert get(app, "/dashboard", used).status_code == 200
    assert is_dead(get(app, "/dashboard", idle))
    clock.advance(3)
    assert is_dead(get(app, "/dashboard", used))


def test_a_token_of_another_application_opens_nothing(worker: Worker, token_of: TokenOf) -> None:
    shop, forum = (
        worker(CHATBOTKIT_AUTH_APP_SESSIONS=True, CHATBOTKIT_AUTH_AUDIENCE=name) for name in ("shop", "forum")
    )
    token = token_of(shop)
    assert is_dead(get(forum, "/dashboard", token))
    assert get(shop, "/dashboard", token).status_code == 200


def test_a_token_in_a_query_or_a_form_is_never_read(app: Flask, token_of: TokenOf) -> None:
    token = token_of(app)
    for name in ("access_token", "token", "bearer", "Authorization", "authorization"):
        query = {name: token if name != "Authorization" else f"Bearer {token}"}
        assert app.test_client().get("/dashboard", query_string=query).status_code == 302
        assert error(app.test_client().get("/auth/app/session", query_string=query)) == (401, "not_signed_in")
        assert error(app.test_client().post("/auth/app/sign-out", data=query)) == (401, "not_signed_in")
    assert get(app, "/dashboard", token).status_code == 200


def test_a_challenge_in_a_query_is_never_read(app: Flask, chatbotkit_outbox: list[Message]) -> None:
    query = {"challenge": begun(app), "code": read_code(chatbotkit_outbox[0])}
    answer = app.test_client().post("/auth/app/verify", query_string=query)
    assert error(answer) == (400, "no_challenge")


def test_no_token_is_ever_logged(
    app: Flask, token_of: TokenOf, caplog: pytest.LogCaptureFixture, chatbotkit_sandbox: Sandbox
) -> None:
    caplog.set_level("DEBUG")
    challenge = begun(app)
    token = token_of(app)
    get(app, "/dashboard", token)
    send(app, "/auth/app/sign-out", token)
    get(app, f"/auth/account/sessions/{token}/end", token)
    verify(app, challenge, "000000x")
    verify(app, challenge + "x", "1")
    send(app, "/auth/app/session", token, {"challenge": challenge})
    assert caplog.records
    for record in caplog.records:
        assert token not in f"{record.getMessage()} {record.args!r} {record.exc_info!r}"
        assert challenge not in f"{record.getMessage()} {record.args!r}"


def test_a_planted_challenge_lets_nobody_else_in(
    make_app: MakeApp, chatbotkit_sandbox: Sandbox, chatbotkit_outbox: list[Message]
) -> None:
    # Eve begins with Ada's address and slips the token into Ada's app; Ada types her code while the API is down.
    app = make_app(CHATBOTKIT_AUTH_APP_SESSIONS=True, CHATBOTKIT_API_RETRIES=0)
    planted = begun(app)
    chatbotkit_sandbox.fail("*", status=503, times=1)
    failed = verify(app, planted, read_code(chatbotkit_outbox[0]))
    assert error(failed) == (503, "upstream_unavailable")
    assert error(verify(app, planted, "")) == (400, "no_challenge")
    assert error(verify(app, planted, "000000")) == (400, "no_challenge")
    again = app.test_client().post("/auth/app/resend", json={"challenge": planted})
    assert error(again) == (400, "no_challenge")
    proved = failed.get_json()["error"]["challenge"]["token"]
    assert verify(app, proved, "").get_json()["user"]["email"] == ADA


def test_a_browser_and_an_app_do_not_share_a_challenge(app: Flask, chatbotkit_outbox: list[Message]) -> None:
    browser = app.test_client()
    post(browser, "/auth/sign-in", {"email": ADA})
    cookie = browser.get_cookie("session")
    assert cookie is not None
    code = read_code(chatbotkit_outbox[-1])
    for stolen in (cookie.value, cookie.value.partition(".")[0]):
        assert error(verify(app, stolen, code)) == (400, "no_challenge")
    other = app.test_client()
    challenge = begun(app, EVE)
    body = {"challenge": challenge, "code": read_code(chatbotkit_outbox[-1])}
    assert error(post(other, "/auth/verify", body)) == (400, "no_challenge")
    answer = other.post("/auth/verify", json=body, headers=bearer("cba-1"))
    assert is_dead(answer)
    assert verify(app, challenge, body["code"]).status_code == 200


def test_a_browsers_sign_in_takes_no_living_bearer(
    app: Flask, token_of: TokenOf, chatbotkit_outbox: list[Message]
) -> None:
    token = token_of(app)
    challenge = begun(app, EVE)
    body = {"challenge": challenge, "code": read_code(chatbotkit_outbox[-1])}
    answer = send(app, "/auth/verify", token, body)
    assert error(answer) == (400, "no_challenge")
    assert "Set-Cookie" not in answer.headers
    assert get(app, "/dashboard", token).text == f"Hello {ADA}"


@pytest.mark.parametrize(
    "challenge", [None, "", 7, [], {}, "x", "x.y", "é", "a" * 100_000, "eyJjaGFsbGVuZ2UiOiJ4In0.AAAA", "\x00"]
)
def test_junk_is_no_challenge(app: Flask, challenge: object) -> None:
    answer = verify(app, challenge, "123456")
    assert error(answer) in ((400, "no_challenge"), (413, "too_large"))
    resent = app.test_client().post("/auth/app/resend", json={"challenge": challenge})
    assert error(resent) == error(answer)


@pytest.mark.parametrize("body", [b"", b"[]", b"null", b"{", b'"x"', b"[" * 50_000])
def test_a_body_that_is_no_object_says_nothing(app: Flask, body: bytes) -> None:
    for path, code in (("sign-in", "invalid_email"), ("verify", "no_challenge"), ("resend", "no_challenge")):
        answer = app.test_client().post(f"/auth/app/{path}", data=body, content_type="application/json")
        assert error(answer) == (400, code)


def test_a_challenge_signed_for_another_application_is_none(worker: Worker, chatbotkit_outbox: list[Message]) -> None:
    shop, forum = (
        worker(CHATBOTKIT_AUTH_APP_SESSIONS=True, CHATBOTKIT_AUTH_AUDIENCE=name) for name in ("shop", "forum")
    )
    challenge = begun(shop)
    assert error(verify(forum, challenge, read_code(chatbotkit_outbox[0]))) == (400, "no_challenge")
    assert verify(shop, challenge, read_code(chatbotkit_outbox[0])).status_code == 200


def test_a_challenge_survives_a_rotation_of_the_key(app: Flask, chatbotkit_outbox: list[Message]) -> None:
    challenge = begun(app)
    app.config.update(SECRET_KEY="another one", SECRET_KEY_FALLBACKS=["not a secret"])
    answer = verify(app, challenge, read_code(chatbotkit_outbox[0]))
    assert answer.status_code == 200
    app.config.update(SECRET_KEY="a third one", SECRET_KEY_FALLBACKS=[])
    # The token of a session is under no key.
    assert get(app, "/dashboard", answer.get_json()["token"]).status_code == 200


def test_a_code_verified_many_times_at_once_is_one_token(worker: Worker, chatbotkit_outbox: list[Message]) -> None:
    app = worker(CHATBOTKIT_AUTH_APP_SESSIONS=True)
    challenge = begun(app)
    code = read_code(chatbotkit_outbox[0])
    answers = at_once(12, lambda _: verify(app, challenge, code))
    assert sorted(each.status_code for each in answers) == [200] + [400] * 11
    assert {error(each)[1] for each in answers if each.status_code == 400} == {"no_challenge"}
    assert error(verify(app, challenge, code)) == (400, "no_challenge")


def test_nobody_gets_in_whom_the_application_refuses(make_app: MakeApp, chatbotkit_outbox: list[Message]) -> None:
    app = make_app(CHATBOTKIT_AUTH_APP_SESSIONS=True)
    app.extensions["test_auth"].sign_in_callback(lambda identifier, user: "Not on Sundays.")
    challenge = begun(app)
    refused = verify(app, challenge, read_code(chatbotkit_outbox[0]))
    assert error(refused) == (403, "sign_in_denied")
    assert refused.get_json()["error"]["message"] == "Not on Sundays."
    assert "challenge" not in refused.get_json()["error"]


def test_an_unknown_address_is_answered_as_a_known_one(make_app: MakeApp, chatbotkit_sandbox: Sandbox) -> None:
    app = make_app(CHATBOTKIT_AUTH_APP_SESSIONS=True, CHATBOTKIT_AUTH_AUTO_CREATE=False)
    chatbotkit_sandbox.add_user(ADA)
    answers = [ask(app, email) for email in (ADA, "ann@example.com")]
    known, unknown = (each.get_json()["challenge"] for each in answers)
    assert len(known.pop("token")) == len(unknown.pop("token"))
    assert known == unknown
    assert [*answers[0].headers] == [*answers[1].headers]


# What is temporary is not called dead


def test_a_suspended_person_keeps_the_token(app: Flask, token_of: TokenOf) -> None:
    token = token_of(app)
    with app.app_context():
        user = current_auth.suspend(auth_of(app).adapter.get_by_email(ADA))
    for path in ("/dashboard", "/auth/account", "/auth/app/session"):
        assert error(get(app, path, token)) == (403, "sign_in_denied")
    with app.app_context():
        current_auth.resume(user)
    assert get(app, "/dashboard", token).status_code == 200


def test_a_suspended_person_can_sign_an_app_out(app: Flask, token_of: TokenOf) -> None:
    token = token_of(app)
    with app.app_context():
        current_auth.suspend(auth_of(app).adapter.get_by_email(ADA))
    assert send(app, "/auth/app/sign-out", token).get_json() == {"ended": 1}
    assert is_dead(get(app, "/auth/app/session", token))


def test_an_outage_of_the_api_or_the_store_is_503(
    worker: Worker, token_of: TokenOf, clock: Clock, chatbotkit_sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    app = worker(CHATBOTKIT_AUTH_APP_SESSIONS=True, CHATBOTKIT_AUTH_USER_STALE=1800, CHATBOTKIT_API_RETRIES=0)
    token = token_of(app)
    clock.advance(1801)
    chatbotkit_sandbox.fail("*", status=503)
    for path in ("/dashboard", "/auth/account", "/auth/app/session"):
        assert error(get(app, path, token)) == (503, "upstream_unavailable")
    chatbotkit_sandbox.heal()

    def down(*_arguments: object, **_more: object) -> None:
        raise StoreError("the store is down")

    with monkeypatch.context() as patch:
        patch.setattr(auth_of(app).store, "get_session", down)
        clock.advance(60)
        assert error(get(app, "/dashboard", token)) == (503, "store_unavailable")


# Beside other things


def test_a_foreign_manager_redirects_no_app(make_app: MakeApp, token_of: TokenOf) -> None:
    manager = LoginManager()
    app = make_app(CHATBOTKIT_AUTH_APP_SESSIONS=True, parts={"login_manager": manager})
    manager.unauthorized_handler(lambda: ("own page", 418))
    assert get(app, "/dashboard", token_of(app)).status_code == 200
    assert is_dead(get(app, "/dashboard", "cba-" + "0" * 32))
    assert app.test_client().get("/dashboard").status_code == 418


def test_keys_of_the_applications_own_api_go_on(make_app: MakeApp, token_of: TokenOf, sign_in: SignIn) -> None:
    class Robot(UserMixin):  # type: ignore[misc]  # Flask-Login has no type information
        id = "robot"
        email = "robot"

    manager = LoginManager()
    manager.request_loader(
        lambda request: Robot() if request.headers.get("Authorization") == "Bearer key-of-robot" else None
    )
    app = make_app(CHATBOTKIT_AUTH_APP_SESSIONS=True, parts={"login_manager": manager})
    assert get(app, "/dashboard", "key-of-robot").text == "Hello robot"
    assert get(app, "/dashboard", token_of(app)).text == f"Hello {ADA}"
    assert is_dead(get(app, "/dashboard", "cba-" + "0" * 32))
    assert is_dead(get(app, "/auth/account", "key-of-robot"))
    client = app.test_client()
    sign_in(client, EVE)
    assert client.get("/dashboard", headers=bearer("key-of-nobody")).text == f"Hello {EVE}"


def test_sessions_kept_on_the_server_are_not_made_for_apps(make_app: MakeApp, token_of: TokenOf, tmp_path: Any) -> None:
    app = make_app(CHATBOTKIT_AUTH_APP_SESSIONS=True)
    cache = FileSystemCache(str(tmp_path / "sessions"))
    app.config.update(SESSION_TYPE="cachelib", SESSION_CACHELIB=cache, REMEMBER_COOKIE_REFRESH_EACH_REQUEST=True)
    Session(app)

    @app.get("/visits")
    @login_required  # type: ignore[untyped-decorator]  # Flask-Login has no type information
    def visits() -> str:
        session["visits"] = session.get("visits", 0) + 1
        session.setdefault("first", True)
        session.permanent = True
        return str(session.pop("visits"))

    token = token_of(app)
    for _ in range(2):
        answer = get(app, "/visits", token)
        assert answer.text == "1"
        assert "Set-Cookie" not in answer.headers
    assert send(app, "/auth/app/sign-out", token).status_code == 200
    assert [*(tmp_path / "sessions").iterdir()] == [] or cache._file_count == 0


@pytest.mark.parametrize("mode", ["basic", "strong", None])
def test_session_protection_knows_no_apps(make_app: MakeApp, token_of: TokenOf, mode: str | None) -> None:
    app = make_app(CHATBOTKIT_AUTH_APP_SESSIONS=True, SESSION_PROTECTION=mode)
    token = token_of(app)
    for agent in ("app/1", "app/2"):
        assert get(app, "/dashboard", token, **{"User-Agent": agent}).status_code == 200


def test_a_csrf_protect_of_the_application_lets_apps_through(
    make_app: MakeApp, token_of: TokenOf, sign_in: SignIn
) -> None:
    app = make_app(CHATBOTKIT_AUTH_APP_SESSIONS=True)
    csrf = CSRFProtect(app)
    assert exempt_app_requests(csrf) is csrf

    class Note(FlaskForm):  # type: ignore[misc]  # Flask-WTF has no type information
        text = StringField()

    @app.post("/notes")
    @login_required  # type: ignore[untyped-decorator]  # Flask-Login has no type information
    def notes() -> tuple[str, int]:
        form = Note()
        return (
            (f"{current_user.email}: {form.text.data}", 200) if form.validate_on_submit() else (str(form.errors), 422)
        )

    token = token_of(app)
    answer = app.test_client().post("/notes", data={"text": "hi"}, headers=bearer(token))
    assert (answer.status_code, answer.text) == (200, f"{ADA}: hi")
    assert is_dead(app.test_client().post("/notes", data={"text": "hi"}, headers=bearer("cba-1")))
    browser = app.test_client()
    sign_in(browser, EVE)
    assert browser.post("/notes", data={"text": "hi"}).status_code == 400
    # A page of another site cannot use the person's cookie by adding a token of its own.
    assert browser.post("/notes", data={"text": "hi"}, headers=bearer(token)).text == f"{ADA}: hi"


def test_without_the_helper_a_csrf_protect_asks_apps_as_well(make_app: MakeApp, token_of: TokenOf) -> None:
    app = make_app(CHATBOTKIT_AUTH_APP_SESSIONS=True)
    CSRFProtect(app)
    app.add_url_rule("/notes", "notes", lambda: "x", methods=["POST"])
    assert app.test_client().post("/notes", headers=bearer(token_of(app))).status_code == 400


@pytest.mark.parametrize(
    "headers",
    [
        {"Sec-Fetch-Site": "cross-site", "Origin": "https://app.example.net"},
        {"Origin": "null"},
        {"Sec-Fetch-Site": "same-site", "Origin": "https://evil.example.com", "Referer": "https://evil.example.com/"},
        {},
    ],
)
def test_apps_are_asked_for_no_origin_and_no_csrf_token(
    app: Flask, chatbotkit_outbox: list[Message], headers: dict[str, str]
) -> None:
    client = app.test_client()
    https: dict[str, Any] = {"base_url": "https://shop.example.com", "headers": headers}
    asked = client.post("/auth/app/sign-in", json={"email": ADA}, **https)
    assert asked.status_code == 200
    body = {"challenge": asked.get_json()["challenge"]["token"], "code": read_code(chatbotkit_outbox[0])}
    token = client.post("/auth/app/verify", json=body, **https).get_json()["token"]
    https["headers"] = {**headers, **bearer(token)}
    assert client.post("/auth/account/profile", json={"name": "Ada"}, **https).status_code == 200


FORM, PLAIN = "application/x-www-form-urlencoded", "text/plain"


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"Sec-Fetch-Site": "cross-site", "Origin": "https://evil.example", "Content-Type": FORM}, 403),
        ({"Sec-Fetch-Site": "cross-site", "Origin": "null", "Content-Type": FORM}, 403),
        ({"Sec-Fetch-Site": "cross-site", "Origin": "https://evil.example", "Content-Type": PLAIN}, 403),
        ({"Origin": "https://evil.example", "Content-Type": FORM}, 403),
        ({"Sec-Fetch-Site": "cross-site", "Origin": "https://front.example", "Content-Type": FORM}, 200),
        ({"Sec-Fetch-Site": "same-origin", "Content-Type": FORM}, 200),
        ({"Content-Type": FORM}, 200),
    ],
)
def test_no_page_has_its_visitors_ask_for_codes(
    make_app: MakeApp, chatbotkit_outbox: list[Message], headers: dict[str, str], status: int
) -> None:
    app = make_app(CHATBOTKIT_AUTH_APP_SESSIONS=True, CHATBOTKIT_AUTH_TRUSTED_ORIGINS=["https://front.example"])
    answer = app.test_client().post("/auth/app/sign-in", data=f"email={ADA}", headers=headers)
    assert (answer.status_code, answer.is_json) == (status, True)
    assert len(chatbotkit_outbox) == (status == 200)


def test_with_host_matching_and_another_prefix(make_app: MakeApp, chatbotkit_outbox: list[Message]) -> None:
    app = make_app(CHATBOTKIT_AUTH_APP_SESSIONS=True, CHATBOTKIT_AUTH_URL_PREFIX="/members")
    answer = app.test_client().post("/members/app/sign-in", json={"email": ADA})
    assert answer.status_code == 200


# Where it is off


def test_nothing_is_there_where_it_is_off(make_app: MakeApp, sign_in: SignIn) -> None:
    app = make_app()
    client = app.test_client()
    for path in ("sign-in", "verify", "resend", "session", "sign-out"):
        assert client.post(f"/auth/app/{path}", json={}).status_code == 404
    sign_in(client, ADA)
    assert client.get("/dashboard", headers=bearer("cba-" + "0" * 32)).text == f"Hello {ADA}"
    (listed,) = client.get("/auth/account", headers=JSON).get_json()["sessions"]
    assert "client" not in listed
    assert "name" not in listed


def test_tokens_are_dead_once_it_is_switched_off(worker: Worker, token_of: TokenOf) -> None:
    token = token_of(worker(CHATBOTKIT_AUTH_APP_SESSIONS=True))
    assert get(worker(), "/dashboard", token).status_code == 302


def test_a_session_lives_as_long_as_a_browsers(app: Flask, chatbotkit_outbox: list[Message], clock: Clock) -> None:
    challenge = begun(app)
    found = verify(app, challenge, read_code(chatbotkit_outbox[0])).get_json()
    assert found["expires_at"] == (clock.now + timedelta(days=7)).isoformat()
