"""Where a POST comes from: the browser's own word, the origins that are trusted, the token."""

from __future__ import annotations

from typing import Any

import pytest
from flask import Flask, session
from flask.testing import FlaskClient

from flask_chatbotkit_auth.exceptions import ConfigurationError
from tests.support.apps import MakeApp
from tests.support.steps import ADA

OURS = "https://shop.example"
APP = "https://app.shop.example"


def post(client: FlaskClient, headers: dict[str, str], *, base_url: str = OURS) -> tuple[int, str | None]:
    """Post JSON with the right token; return the status and which check refused."""
    token = client.get("/auth/session", base_url=base_url).get_json()["csrf_token"]
    answer = client.post(
        "/auth/sign-in", json={"email": ADA}, base_url=base_url, headers={"X-CSRFToken": token, **headers}
    )
    return answer.status_code, (answer.get_json().get("error") or {}).get("check")


@pytest.fixture
def client(make_app: MakeApp) -> FlaskClient:
    return make_app(
        DEBUG=True, CHATBOTKIT_AUTH_TRUSTED_ORIGINS=[APP], CHATBOTKIT_AUTH_RATE_LIMITS={"request:email": None}
    ).test_client()


@pytest.mark.parametrize(
    "headers",
    [
        {"Sec-Fetch-Site": "same-origin"},
        {"Sec-Fetch-Site": "none"},
        {"Sec-Fetch-Site": "same-origin", "Origin": "null"},
        {"Sec-Fetch-Site": "same-site", "Origin": APP},
        {"Sec-Fetch-Site": "cross-site", "Origin": APP},
        {"Origin": OURS},
        {"Origin": APP},
        {"Origin": "HTTPS://APP.shop.example"},
        # An old browser, which tells nothing but the Referer.
        {"Referer": f"{OURS}/auth/sign-in"},
        {"Origin": "null", "Referer": f"{OURS}/"},
    ],
)
def test_our_own_pages_and_trusted_origins_come_through(client: FlaskClient, headers: dict[str, str]) -> None:
    assert post(client, headers) == (200, None)


@pytest.mark.parametrize(
    "headers",
    [
        {"Sec-Fetch-Site": "same-site"},
        {"Sec-Fetch-Site": "same-site", "Origin": "null"},
        {"Sec-Fetch-Site": "same-site", "Origin": OURS},
        {"Sec-Fetch-Site": "same-site", "Origin": "https://evil.shop.example", "Referer": f"{OURS}/auth/sign-in"},
        {"Sec-Fetch-Site": "cross-site", "Origin": "https://evil.example"},
        {"Sec-Fetch-Site": "cross-site", "Origin": f"{APP}.evil.example"},
        {"Sec-Fetch-Site": "cross-site, same-origin"},
        {"Sec-Fetch-Site": "unheard-of", "Referer": f"{OURS}/"},
        {"Origin": "https://evil.shop.example", "Referer": f"{OURS}/"},
        {"Origin": "http://shop.example", "Referer": f"{OURS}/"},
        {"Origin": "https://shop.example:444", "Referer": f"{OURS}/"},
        {"Origin": "http://app.shop.example"},
    ],
)
def test_a_neighbour_is_refused_even_with_the_token(client: FlaskClient, headers: dict[str, str]) -> None:
    status, check = post(client, headers)
    assert status == 403
    assert check is not None
    assert ("Sec-Fetch-Site" if "Sec-Fetch-Site" in headers else "Origin") in check
    assert "CHATBOTKIT_AUTH_TRUSTED_ORIGINS" in check


def test_over_https_an_old_browser_without_referer_is_refused(client: FlaskClient) -> None:
    assert post(client, {}) == (403, "The referrer header is missing.")
    assert post(client, {"Origin": "null"}) == (403, "The referrer header is missing.")
    for referer in ("https://[", "https://evil.example/", "\xff"):
        assert post(client, {"Referer": referer}) == (403, "The referrer does not match the host.")
    assert post(client, {}, base_url="http://localhost") == (200, None)


def test_the_token_is_asked_for_whatever_the_browser_says(client: FlaskClient) -> None:
    client.get("/auth/session", base_url=OURS)
    headers = {"Sec-Fetch-Site": "same-origin", "Origin": OURS, "Referer": f"{OURS}/"}
    for token in ({}, {"X-CSRFToken": "forged"}):
        answer = client.post("/auth/sign-in", json={"email": ADA}, base_url=OURS, headers={**headers, **token})
        assert answer.status_code == 403
        assert "token" in answer.get_json()["error"]["check"].lower()


def test_a_front_end_that_sends_no_cookies_is_told_how(client: FlaskClient) -> None:
    token = client.get("/auth/session").get_json()["csrf_token"]
    stranger = client.application.test_client()
    answer = stranger.post("/auth/sign-in", json={"email": ADA}, headers={"X-CSRFToken": token})
    assert answer.status_code == 403
    check = answer.get_json()["error"]["check"]
    assert check.startswith("The CSRF session token is missing. No cookie of ours came along.")
    assert "credentials" in check
    missing = client.post("/auth/sign-in", json={"email": ADA}).get_json()["error"]["check"]
    assert missing == "The CSRF token is missing. Send csrf_token of GET /auth/session in the header X-CSRFToken."


def test_only_debug_mode_says_which_check_refused(make_app: MakeApp) -> None:
    assert post(make_app().test_client(), {"Sec-Fetch-Site": "same-site"}) == (403, None)


def test_without_protection_by_configuration_nothing_is_checked(make_app: MakeApp) -> None:
    client = make_app(WTF_CSRF_ENABLED=False).test_client()
    headers = {"Sec-Fetch-Site": "cross-site"}
    assert client.post("/auth/sign-in", json={"email": ADA}, headers=headers).status_code == 200


@pytest.mark.parametrize("first", [True, False])
def test_an_applications_own_protection_asks_for_no_referer_here(make_app: MakeApp, first: bool) -> None:
    from flask_wtf import CSRFProtect

    class Early(Flask):
        pass

    app = make_app()
    if first:
        # As where CSRFProtect(app) stands above ChatBotKitAuth(app).
        CSRFProtect(app)
        app.before_request_funcs[None].insert(0, app.before_request_funcs[None].pop())
        app.extensions["csrf"].exempt(app.blueprints["chatbotkit_auth"])
    else:
        CSRFProtect(app)

    @app.post("/own")
    def own() -> str:
        return "done"

    client = app.test_client()
    assert post(client, {"Sec-Fetch-Site": "same-origin"}) == (200, None)
    assert post(client, {"Sec-Fetch-Site": "same-site"})[0] == 403
    assert client.post("/own", base_url=OURS).status_code == 400, "theirs is as it was"


@pytest.mark.parametrize(
    ("given", "known"),
    [
        ("https://A.example, http://localhost:5173/", ("https://a.example", "http://localhost:5173")),
        (["https://a.example:443"], ("https://a.example",)),
        ((), ()),
        ("", ()),
    ],
)
def test_origins_are_read_as_browsers_write_them(make_app: MakeApp, given: Any, known: tuple[str, ...]) -> None:
    app = make_app(CHATBOTKIT_AUTH_TRUSTED_ORIGINS=given)
    assert app.extensions["chatbotkit_auth"].config.trusted_origins == known


@pytest.mark.parametrize(
    "wrong", ["*", "null", "a.example", ["https://a.example/path"], "https://*.a.example", [None], 7, "ftp://a.example"]
)
def test_what_is_no_origin_is_no_setting(make_app: MakeApp, wrong: Any) -> None:
    with pytest.raises(ConfigurationError, match="CHATBOTKIT_AUTH_TRUSTED_ORIGINS"):
        make_app(CHATBOTKIT_AUTH_TRUSTED_ORIGINS=wrong)


def test_a_refused_form_shows_nothing_that_was_typed_elsewhere(make_app: MakeApp) -> None:
    client = make_app().test_client()
    client.get("/auth/sign-in")
    answer = client.post("/auth/sign-in", data={"email": "eve@example.com"}, headers={"Sec-Fetch-Site": "same-site"})
    page = client.get(answer.location)
    assert page.status_code == 403
    assert "eve@example.com" not in page.text


@pytest.mark.parametrize("accept", ["text/html", "application/json"])
def test_a_post_that_comes_without_its_session_cookie_gets_no_new_one(make_app: MakeApp, accept: str) -> None:
    app = make_app()

    @app.before_request
    def stay() -> None:
        session.permanent = True

    elsewhere = {"Sec-Fetch-Site": "cross-site", "Origin": "https://evil.example", "Accept": accept}
    for path in ("sign-in", "verify", "account/profile"):
        answer = app.test_client().post(f"/auth/{path}", data={"email": ADA}, headers=elsewhere)
        assert (answer.status_code, "Set-Cookie" in answer.headers) == (403, False)


def test_another_field_name_works_everywhere(make_app: MakeApp, signed_in: Any) -> None:
    app = make_app(WTF_CSRF_FIELD_NAME="_xsrf", CHATBOTKIT_AUTH_AUTO_DELETE=True)
    client = app.test_client()
    pages = [client.get("/auth/sign-in").text]
    token = client.get("/auth/session").get_json()["csrf_token"]
    assert client.post("/auth/sign-in", data={"email": ADA, "_xsrf": token}).location == "/auth/verify"
    pages.append(client.get("/auth/verify").text)
    signed_in(client, ADA)
    pages += [client.get(f"/auth/{path}").text for path in ("account", "account/delete", "sign-out")]
    for page in pages:
        assert page.count('name="_xsrf"') == page.count("<form")
        assert 'name="csrf_token"' not in page
