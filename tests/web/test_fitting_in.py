"""In an application that is there already: its own views, hosts, cookies and front ends."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from flask import Flask, Response, g, redirect, session
from flask.testing import FlaskClient
from flask_login import current_user, fresh_login_required, login_required
from flask_mail import Message
from werkzeug.test import TestResponse

from flask_chatbotkit_auth import ChatBotKitAuth, MemoryStore, safe_next
from flask_chatbotkit_auth.testing.plugin import read_code
from tests.support.apps import Clock, MakeApp
from tests.support.steps import ADA, ask

SignIn = Callable[..., TestResponse]
AXIOS = "application/json, text/plain, */*"


@pytest.mark.parametrize(
    ("accept", "json"),
    [
        (AXIOS, True),
        ("application/json", True),
        ("application/json, */*;q=0.5", True),
        ("application/json; charset=utf-8", True),
        ("Application/JSON;version=1, */*;q=0.1", True),
        ("text/html;level=1, application/json", False),
        ("application/json;q=0, */*", False),
        ("text/html, application/json;q=0.9", False),
        ("text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8", False),
        ("*/*", False),
        ("", False),
    ],
)
def test_who_asks_for_json_is_answered_in_it_everywhere(client: FlaskClient, accept: str, json: bool) -> None:
    own = client.get("/dashboard", headers={"Accept": accept})
    ours = client.get("/auth/account", headers={"Accept": accept})
    for answer in (own, ours):
        if json:
            assert answer.status_code == 401
            assert answer.get_json()["error"]["code"] == "not_signed_in"
        else:
            assert answer.status_code == 302


def test_an_applications_own_answer_to_strangers_stays(make_app: MakeApp) -> None:
    app = make_app()
    app.login_manager.unauthorized_handler(lambda: ("own", 418))  # type: ignore[attr-defined]
    assert app.test_client().get("/dashboard", headers={"Accept": AXIOS}).status_code == 418


def test_a_view_that_wants_a_fresh_proof_says_so_in_json(app: Flask, client: FlaskClient, sign_in: SignIn) -> None:
    @app.get("/secret")
    @fresh_login_required  # type: ignore[untyped-decorator]
    def secret() -> str:
        return "secret"

    sign_in(client, ADA)
    client.delete_cookie("session")
    answer = client.get("/secret", headers={"Accept": AXIOS})
    assert (answer.status_code, answer.get_json()["error"]["code"]) == (403, "not_fresh")


# Where to go afterwards


@pytest.fixture
def shop(app: Flask) -> Flask:
    @app.post("/cart")
    @login_required  # type: ignore[untyped-decorator]
    def cart() -> str:
        return "bought"

    @app.get("/search")
    @login_required  # type: ignore[untyped-decorator]
    def search() -> str:
        return "found"

    @app.get("/products")
    def products() -> str:
        return "products"

    return app


@pytest.mark.parametrize(
    ("referrer", "target"),
    [
        ("http://localhost/products", "/products"),
        ("http://localhost/cart", None),
        ("http://evil.example/products", None),
        (None, None),
    ],
)
def test_a_form_that_was_sent_leads_back_to_its_page(shop: Flask, referrer: str | None, target: str | None) -> None:
    client = shop.test_client()
    answer = client.post("/cart", headers={"Referer": referrer} if referrer else {})
    assert parse_qs(urlsplit(answer.location).query).get("next", [None]) == [target]
    assert urlsplit(answer.location).path == "/auth/sign-in"


def test_a_next_that_only_a_post_opens_is_the_page_before(shop: Flask, sign_in: SignIn) -> None:
    # As an application's own LoginManager sends people here.
    client = shop.test_client()
    page = client.get("/auth/sign-in?next=/cart", headers={"Referer": "http://localhost/products"})
    assert 'name="next" value="/products"' in page.text
    assert 'name="next"' not in client.get("/auth/sign-in?next=/cart").text
    sign_in(client, ADA)
    assert client.get("/auth/sign-in?next=/cart").location != "/cart"


@pytest.mark.parametrize("query", ["q=a%5Cb", "q=100%25", "q=50%25+off&r=%C3%A9", "q=a%26b"])
def test_a_query_comes_back_as_it_was(shop: Flask, chatbotkit_outbox: list[Message], query: str) -> None:
    client = shop.test_client()
    to_sign_in = client.get(f"/search?{query}").location
    next = parse_qs(urlsplit(to_sign_in).query)["next"][0]
    ask(client, next=next)
    token = client.get("/auth/session").get_json()["csrf_token"]
    form = {"csrf_token": token, "code": read_code(chatbotkit_outbox[-1])}
    location = client.post("/auth/verify", data=form).location
    assert parse_qs(urlsplit(location).query) == parse_qs(query)
    assert client.get(location).text == "found"


def test_flask_logins_own_way_to_keep_next(make_app: MakeApp, chatbotkit_outbox: list[Message]) -> None:
    client = make_app(USE_SESSION_FOR_NEXT=True).test_client()
    assert client.get("/dashboard").location == "/auth/sign-in"
    assert 'name="next" value="/dashboard"' in client.get("/auth/sign-in").text


@pytest.mark.parametrize(
    ("query", "target"), [("next=/dashboard", "/dashboard"), ("next=//evil.example", ""), ("", "")]
)
def test_a_checked_next_for_a_view_of_ones_own(app: Flask, client: FlaskClient, query: str, target: str) -> None:
    @app.get("/welcome")
    def welcome() -> str:
        return safe_next() or ""

    assert client.get(f"/welcome?{query}").text == target


def test_without_a_front_page_people_land_on_their_account(app: Flask, client: FlaskClient, sign_in: SignIn) -> None:
    assert sign_in(client, ADA).get_json()["redirect"] == "/auth/account"


def test_with_a_front_page_people_land_there(app: Flask, client: FlaskClient, sign_in: SignIn) -> None:
    app.add_url_rule("/", "home", lambda: "home")
    assert sign_in(client, ADA).get_json()["redirect"] == "/"


def test_a_link_can_fill_the_address_in(client: FlaskClient) -> None:
    assert 'value="ada@example.com"' in client.get("/auth/sign-in?email=ada@example.com").text


# A front end


def test_a_front_end_that_was_reloaded_finds_its_challenge(client: FlaskClient, clock: Clock) -> None:
    headers = {"Accept": "application/json"}
    none = client.get("/auth/verify", headers=headers)
    assert (none.status_code, none.get_json()["error"]["code"]) == (400, "no_challenge")
    assert client.get("/auth/session").get_json()["challenge"] is None
    ask(client)
    clock.advance(10)
    challenge = {"email": "a•••@example.com", "expires_in": 590, "resend_in": 20}
    assert client.get("/auth/verify", headers=headers).get_json() == {"challenge": challenge}
    assert client.get("/auth/session").get_json()["challenge"] == challenge
    clock.advance(600)
    assert client.get("/auth/verify", headers=headers).status_code == 400


def test_signing_in_answers_with_the_new_sessions_token(client: FlaskClient, sign_in: SignIn) -> None:
    token = sign_in(client, ADA).get_json()["csrf_token"]
    assert client.post("/auth/sign-out", json={}, headers={"X-CSRFToken": token}).status_code == 200


def test_an_earlier_token_of_the_same_request_is_not_answered(app: Flask, client: FlaskClient, sign_in: SignIn) -> None:
    from flask_wtf.csrf import generate_csrf

    app.before_request(lambda: generate_csrf() and None)
    token = sign_in(client, ADA).get_json()["csrf_token"]
    assert client.post("/auth/sign-out", json={}, headers={"X-CSRFToken": token}).status_code == 200


# Headers and files


def test_the_policy_is_the_applications_to_set(make_app: MakeApp) -> None:
    ours = make_app().test_client().get("/auth/sign-in").headers["Content-Security-Policy"]
    assert "font-src 'self'" in ours
    assert "form-action" not in ours
    own = make_app(CHATBOTKIT_AUTH_CONTENT_SECURITY_POLICY="default-src 'self'").test_client()
    assert own.get("/auth/sign-in").headers["Content-Security-Policy"] == "default-src 'self'"
    none = make_app(CHATBOTKIT_AUTH_CONTENT_SECURITY_POLICY=None).test_client()
    assert "Content-Security-Policy" not in none.get("/auth/sign-in").headers


def test_files_have_versioned_urls_and_are_kept_for_ever(client: FlaskClient) -> None:
    import re

    urls = re.findall(r'(?:href|src)="(/auth/static/[^"]+)"', client.get("/auth/sign-in").text)
    assert len(urls) >= 3
    for url in urls:
        assert re.search(r"\?v=[0-9a-f]{12}$", url)
        with client.get(url) as answer:
            assert answer.headers["Cache-Control"] == "public, max-age=31536000, immutable"
    for url in ("/auth/static/auth.css", "/auth/static/auth.css?v=0123456789ab"):
        with client.get(url) as answer:
            assert "immutable" not in answer.headers.get("Cache-Control", "")
    assert client.get("/auth/static/none.css?v=").status_code == 404


def test_a_client_fills_no_memory_with_names_of_a_file(client: FlaskClient) -> None:
    from flask_chatbotkit_auth.web.blueprint import _version

    client.get("/auth/sign-in")
    before = _version.cache_info().currsize
    for number in range(20):
        with client.get(f"/auth/static/{number}/../auth.css?v=0123456789ab") as answer:
            assert answer.status_code == 200
    assert _version.cache_info().currsize == before


def test_a_file_that_caches_keep_sets_nobodys_cookie(make_app: MakeApp, sign_in: SignIn) -> None:
    app = make_app(REMEMBER_COOKIE_REFRESH_EACH_REQUEST=True)

    @app.before_request
    def stay() -> None:
        session.permanent = True  # Flask then sends the cookie with every answer

    client = app.test_client()
    sign_in(client, ADA)
    with client.get("/auth/static/auth.css") as answer:
        assert (answer.status_code, "Set-Cookie" in answer.headers, "Vary" in answer.headers) == (200, False, False)
    assert client.get("/auth/session").get_json()["user"]["email"] == ADA


# Other extensions and settings


def test_hosts_that_are_matched(chatbotkit_sandbox: Any, sign_in: SignIn) -> None:
    app = Flask("shop", host_matching=True, static_host="shop.example")
    app.config.update(
        SECRET_KEY="not a secret",
        TESTING=True,
        CHATBOTKIT_API_SECRET="sk-test",
        CHATBOTKIT_API_URL=chatbotkit_sandbox.url,
        CHATBOTKIT_AUTH_AUTO_CREATE=True,
        CHATBOTKIT_AUTH_OPENAPI=True,
    )
    ChatBotKitAuth(app, store=MemoryStore())

    @app.get("/dashboard", host="shop.example")
    @login_required  # type: ignore[untyped-decorator]
    def dashboard() -> str:
        return "dashboard"

    client = app.test_client()
    client.environ_base["HTTP_HOST"] = "shop.example"
    shop = {"base_url": "http://shop.example"}
    assert client.get("/dashboard", **shop).location == "/auth/sign-in?next=%2Fdashboard"
    page = client.get("/auth/sign-in", **shop)
    assert page.status_code == 200
    assert 'action="/auth/sign-in"' in page.text
    assert client.get("/auth/account", **shop).status_code == 302
    assert client.get("/auth/openapi.json", **shop).status_code == 200


def test_apiflask_describes_none_of_our_pages(app: Flask) -> None:
    assert app.blueprints["chatbotkit_auth"].enable_openapi is False  # type: ignore[attr-defined]


# What the application had before


@pytest.fixture
def join(chatbotkit_sandbox: Any) -> Callable[..., Flask]:
    """Add the extension to an application that is there already."""

    def join(app: Flask, **config: Any) -> Flask:
        app.config.update(
            SECRET_KEY="not a secret",
            TESTING=True,
            CHATBOTKIT_API_SECRET="sk-test",
            CHATBOTKIT_API_URL=chatbotkit_sandbox.url,
            CHATBOTKIT_AUTH_AUTO_CREATE=True,
            **config,
        )
        ChatBotKitAuth(app, store=MemoryStore())
        return app

    return join


@pytest.fixture
def early(join: Callable[..., Flask]) -> Flask:
    """An application that reads the current user before each request, in a function registered before the extension."""
    app = Flask("shop")

    @app.before_request
    def know() -> None:
        g.known = current_user.is_authenticated

    app.add_url_rule("/known", "known", lambda: str(g.known))
    return join(app)


def test_a_forged_cookie_breaks_no_page_of_an_application_that_reads_the_user_first(early: Flask) -> None:
    client = early.test_client(use_cookies=False)
    answer = client.get("/known", headers={"Cookie": "remember_token=cbk-x|\xe9"})
    assert (answer.status_code, answer.text) == (200, "False")


def test_a_new_key_signs_nobody_out_of_an_application_that_reads_the_user_first(early: Flask, sign_in: SignIn) -> None:
    client = early.test_client()
    sign_in(client, ADA)
    client.delete_cookie("session")
    early.config.update(SECRET_KEY="a new one", SECRET_KEY_FALLBACKS=["not a secret"])
    assert client.get("/known").text == "True"


def test_the_prefix_may_begin_with_a_language_code(join: Callable[..., Flask], sign_in: SignIn) -> None:
    app = Flask("shop")

    @app.url_value_preprocessor
    def read_language(_endpoint: str | None, values: dict[str, Any] | None) -> None:
        g.lang = (values or {}).pop("lang", None)

    @app.url_defaults
    def write_language(endpoint: str, values: dict[str, Any]) -> None:
        if g.lang and app.url_map.is_endpoint_expecting(endpoint, "lang"):
            values.setdefault("lang", g.lang)

    app.add_url_rule("/", "index", lambda: redirect("/en/"))
    app.add_url_rule("/<lang>/", "home", login_required(lambda: str(current_user.email)))
    client = join(app, CHATBOTKIT_AUTH_URL_PREFIX="/<lang>/auth").test_client()
    assert client.get("/").location == "/en/"
    assert client.get("/de/").location == "/de/auth/sign-in?next=%2Fde%2F"
    assert sign_in(client, ADA, prefix="/de/auth").status_code == 200
    assert client.get("/").location == "/en/"
    assert client.get("/en/").text == ADA
    assert 'action="/en/auth/sign-out"' in client.get("/en/auth/account").text


def test_pages_are_html_where_the_applications_own_answers_are_json(join: Callable[..., Flask]) -> None:
    class Json(Response):
        default_mimetype = "application/json"

    class Api(Flask):
        response_class = Json

    client = join(Api("shop"), SESSION_COOKIE_SAMESITE="Strict").test_client()
    assert client.get("/auth/sign-in").content_type == "text/html; charset=utf-8"
    elsewhere = client.get("/auth/account", headers={"Sec-Fetch-Site": "cross-site"})
    assert elsewhere.content_type == "text/html; charset=utf-8"
    assert client.get("/auth/session").content_type == "application/json"


# A session cookie that is Strict


def test_a_visit_from_elsewhere_sets_no_cookie_where_the_session_is_strict(
    make_app: MakeApp, chatbotkit_outbox: list[Message]
) -> None:
    app = make_app(SESSION_COOKIE_SAMESITE="Strict")
    client = app.test_client()
    ask(client)
    kept = client.get_cookie("session")
    assert kept is not None
    client.delete_cookie("session")
    elsewhere = {"Sec-Fetch-Site": "cross-site"}
    for path in ("/auth/verify", "/auth/sign-in?next=/dashboard&x='\">", "/auth/account"):
        page = client.get(path, headers=elsewhere)
        assert (page.status_code, "Set-Cookie" in page.headers) == (200, False)
        assert 'http-equiv="refresh" content="0; url=/auth/' in page.text
        assert "'\">" not in page.text
    client.set_cookie("session", kept.value)
    assert "Check your email" in client.get("/auth/verify", headers=elsewhere).text
    client.delete_cookie("session")
    assert "http-equiv" not in client.get("/auth/sign-in", headers={"Sec-Fetch-Site": "same-origin"}).text
    lax = make_app().test_client()
    assert "http-equiv" not in lax.get("/auth/sign-in", headers=elsewhere).text
