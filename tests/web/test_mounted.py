"""An application below a path of its host: by a dispatcher beside another application, or behind a proxy that says so."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from urllib.parse import parse_qs

import pytest
from flask import Flask
from flask.testing import FlaskClient
from flask_mail import Message
from werkzeug.middleware.dispatcher import DispatcherMiddleware
from werkzeug.middleware.proxy_fix import ProxyFix
from werkzeug.test import TestResponse

from flask_chatbotkit_auth.testing.plugin import read_code
from tests.support.apps import MakeApp

ADA = "ada@example.com"
Mount = Callable[..., FlaskClient]


@pytest.fixture
def mount(make_app: MakeApp) -> Mount:
    """Mount an application at ``/shop`` beside one that has the rest of the host, and give a browser of that host."""

    def mount(**config: Any) -> FlaskClient:
        host, shop = Flask("host"), make_app(**config)
        shop.add_url_rule("/", "home", lambda: "home")
        host.wsgi_app = DispatcherMiddleware(host.wsgi_app, {"/shop": shop})  # type: ignore[method-assign]
        return host.test_client()

    return mount


def submit(client: FlaskClient, path: str, headers: dict[str, str] | None = None, **fields: str) -> TestResponse:
    """Send a form to the application at ``/shop``."""
    token = client.get("/shop/auth/session").get_json()["csrf_token"]
    return client.post(f"/shop{path}", data={"csrf_token": token, **fields}, headers=headers)


def ask(client: FlaskClient, outbox: list[Message], next: str = "") -> str:
    """Ask for a code, and give it."""
    assert submit(client, "/auth/sign-in", email=ADA, next=next).location == "/shop/auth/verify"
    return read_code(outbox[-1])


def came_from(answer: TestResponse) -> str:
    """Return the ``next`` of an answer that leads to the sign-in page."""
    path, _, query = answer.location.partition("?")
    assert path == "/shop/auth/sign-in"
    return parse_qs(query)["next"][0]


def test_who_opens_the_account_page_comes_back_to_it(mount: Mount, chatbotkit_outbox: list[Message]) -> None:
    client = mount()
    back = "/shop/auth/account?done=saved"
    assert came_from(client.get(back)) == back
    assert came_from(submit(client, "/auth/account/profile")) == "/shop/auth/account"
    code = ask(client, chatbotkit_outbox, next=back)
    assert submit(client, "/auth/verify", code=code).location == back
    assert client.get(back).status_code == 200


def test_who_opens_a_page_of_the_application_comes_back_to_it(mount: Mount, chatbotkit_outbox: list[Message]) -> None:
    client = mount()
    assert came_from(client.get("/shop/dashboard")) == "/shop/dashboard"
    code = ask(client, chatbotkit_outbox, next="/shop/dashboard")
    assert submit(client, "/auth/verify", code=code).location == "/shop/dashboard"
    assert client.get("/shop/dashboard").text == f"Hello {ADA}"


def test_paths_of_the_configuration_are_within_the_application(mount: Mount, chatbotkit_outbox: list[Message]) -> None:
    client = mount(CHATBOTKIT_AUTH_SIGN_IN_REDIRECT="/dashboard", CHATBOTKIT_AUTH_SIGN_OUT_REDIRECT="/bye")
    code = ask(client, chatbotkit_outbox)
    assert 'href="/shop/bye"' in client.get("/shop/auth/sign-in").text
    assert submit(client, "/auth/verify", code=code).location == "/shop/dashboard"
    assert client.get("/shop/auth/sign-in").location == "/shop/dashboard"
    assert submit(client, "/auth/sign-out").location == "/shop/bye"


def test_without_a_configuration_they_are_its_home_and_its_sign_in_page(
    mount: Mount, chatbotkit_outbox: list[Message]
) -> None:
    client = mount()
    assert 'href="/shop/"' in client.get("/shop/auth/sign-in").text
    assert submit(client, "/auth/verify", code=ask(client, chatbotkit_outbox)).location == "/shop/"
    assert submit(client, "/auth/sign-out").location == "/shop/auth/sign-in"


def test_json_names_the_same_targets(mount: Mount, chatbotkit_outbox: list[Message]) -> None:
    client = mount(CHATBOTKIT_AUTH_SIGN_OUT_REDIRECT="/bye")
    accept = {"Accept": "application/json"}
    signed_in = submit(client, "/auth/verify", accept, code=ask(client, chatbotkit_outbox))
    assert signed_in.get_json()["redirect"] == "/shop/"
    account = client.get("/shop/auth/account", headers=accept).get_json()
    ended = submit(client, f"/auth/account/sessions/{account['sessions'][0]['id']}/end", accept)
    assert ended.get_json() == {"ended": 1, "redirect": "/shop/bye"}
    assert submit(client, "/auth/sign-out", accept).get_json()["redirect"] == "/shop/bye"


def test_a_whole_url_leads_where_it_says(mount: Mount, chatbotkit_outbox: list[Message]) -> None:
    client = mount(
        CHATBOTKIT_AUTH_SIGN_IN_REDIRECT="https://app.example/start",
        CHATBOTKIT_AUTH_SIGN_OUT_REDIRECT="//shop.example/",
    )
    code = ask(client, chatbotkit_outbox)
    assert submit(client, "/auth/verify", code=code).location == "https://app.example/start"
    assert submit(client, "/auth/sign-out").location == "//shop.example/"


def test_a_proxy_that_names_the_prefix_mounts_as_well(make_app: MakeApp, chatbotkit_outbox: list[Message]) -> None:
    app = make_app(CHATBOTKIT_AUTH_SIGN_IN_REDIRECT="/dashboard")
    app.wsgi_app = ProxyFix(app.wsgi_app, x_prefix=1)  # type: ignore[method-assign]
    client, prefix = app.test_client(), {"X-Forwarded-Prefix": "/shop"}
    assert client.get("/auth/account", headers=prefix).location.startswith("/shop/auth/sign-in?next=")
    page = client.get("/auth/sign-in", headers=prefix).text
    assert 'action="/shop/auth/sign-in"' in page
    assert 'href="/shop/auth/static/auth.css?v=' in page
    token = client.get("/auth/session", headers=prefix).get_json()["csrf_token"]
    headers = {"X-CSRFToken": token, **prefix}
    client.post("/auth/sign-in", json={"email": ADA}, headers=headers)
    signed_in = client.post("/auth/verify", json={"code": read_code(chatbotkit_outbox[-1])}, headers=headers)
    assert signed_in.get_json()["redirect"] == "/shop/dashboard"


def test_two_applications_on_one_host_keep_apart_by_the_names_of_their_cookies(
    make_app: MakeApp, chatbotkit_outbox: list[Message]
) -> None:
    host = make_app()
    shop = make_app(SESSION_COOKIE_NAME="shop_session", REMEMBER_COOKIE_NAME="shop_remember")
    host.wsgi_app = DispatcherMiddleware(host.wsgi_app, {"/shop": shop})  # type: ignore[method-assign]
    client = host.test_client()
    submit(client, "/auth/verify", code=ask(client, chatbotkit_outbox))
    assert client.get("/dashboard").status_code == 302
    assert client.get("/shop/dashboard").text == f"Hello {ADA}"
    client.delete_cookie("shop_session")
    assert client.get("/shop/dashboard").text == f"Hello {ADA}"  # by the cookie that remembers
