"""Passkeys in Chromium, with a virtual authenticator: a code, the offer, and the next day no mail."""

from __future__ import annotations

import re
import socket
from collections.abc import Iterator
from typing import Any

import pytest
from axe_playwright_python.sync_playwright import Axe
from flask import Flask
from flask_mail import Message
from playwright.sync_api import Browser, BrowserContext, CDPSession, Page, expect

from flask_chatbotkit_auth.testing.plugin import read_code
from tests.support.apps import MakeApp
from tests.support.screenshots import PHONE
from tests.support.serving import served
from tests.support.steps import ADA

pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning", "ignore::ResourceWarning")


DASHBOARD = re.compile(r"//localhost:\d+/dashboard$")


class Site:
    """An application with passkeys, served at ``http://localhost``, which browsers take for safe."""

    def __init__(self, app: Flask, origin: str, outbox: list[Message]) -> None:
        self.app = app
        self.origin = origin
        self.outbox = outbox

    @property
    def code(self) -> str:
        return next(read_code(each) for each in reversed(self.outbox) if "code" in str(each.subject))


@pytest.fixture
def site(make_app: MakeApp, chatbotkit_outbox: list[Message]) -> Iterator[Site]:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    origin = f"http://localhost:{port}"
    app = make_app(CHATBOTKIT_AUTH_PASSKEYS=True, CHATBOTKIT_AUTH_ORIGIN=origin, CHATBOTKIT_AUTH_SITE_NAME="Parley")
    with served(app, host="localhost", port=port) as origin:
        yield Site(app, origin, chatbotkit_outbox)


@pytest.fixture
def context(browser: Browser, site: Site) -> Iterator[BrowserContext]:
    context = browser.new_context(base_url=site.origin, viewport=PHONE)
    yield context
    context.close()


def device(page: Page, *, verifies: bool = True) -> tuple[CDPSession, str]:
    """Give the browser an authenticator of its own; return the way to it, and its id."""
    session = page.context.new_cdp_session(page)
    session.send("WebAuthn.enable")
    options: dict[str, Any] = {
        "protocol": "ctap2",
        "transport": "internal",
        "hasResidentKey": True,
        "hasUserVerification": True,
        "isUserVerified": verifies,
        "automaticPresenceSimulation": True,
    }
    return session, session.send("WebAuthn.addVirtualAuthenticator", {"options": options})["authenticatorId"]


def sign_in_by_code(page: Page, site: Site) -> None:
    page.goto("/auth/sign-in?next=/dashboard")
    page.get_by_label("Email address").fill(ADA)
    page.get_by_role("button", name="Send code").click()
    page.wait_for_url("**/auth/verify**")
    expect(page.locator("[data-passkey-able]")).to_have_value("1")
    page.get_by_label("Code", exact=True).fill(site.code)
    page.wait_for_url(re.compile("/passkey/offer|[0-9]/dashboard$"))


def test_a_code_the_offer_and_the_next_day_no_mail(site: Site, context: BrowserContext) -> None:
    page = context.new_page()
    session, authenticator = device(page)
    sign_in_by_code(page, site)
    expect(page.get_by_role("heading")).to_have_text("Sign in faster next time")
    assert Axe().run(page).response["violations"] == []
    page.get_by_role("button", name="Create a passkey").click()
    page.wait_for_url(DASHBOARD)
    (credential,) = session.send("WebAuthn.getCredentials", {"authenticatorId": authenticator})["credentials"]
    assert credential["rpId"] == "localhost"
    assert credential["isResidentCredential"]
    context.clear_cookies()
    mails = len(site.outbox)
    # The passkey is asked for by autofill as soon as the page is there, and this authenticator answers at once.
    page.goto("/auth/sign-in?next=/dashboard")
    page.wait_for_url(DASHBOARD)
    expect(page.locator("body")).to_have_text(f"Hello {ADA}")
    assert len(site.outbox) == mails


def test_the_button_signs_in(site: Site, context: BrowserContext) -> None:
    page = context.new_page()
    device(page)
    sign_in_by_code(page, site)
    page.get_by_role("button", name="Create a passkey").click()
    page.wait_for_url(DASHBOARD)
    context.clear_cookies()
    context.add_init_script("delete PublicKeyCredential.isConditionalMediationAvailable")
    page.goto("/auth/sign-in?next=/dashboard")
    page.get_by_role("button", name="Sign in with a passkey").click()
    page.wait_for_url(DASHBOARD)


def test_not_now_is_kept_for_this_browser(site: Site, context: BrowserContext) -> None:
    page = context.new_page()
    device(page)
    sign_in_by_code(page, site)
    page.get_by_role("link", name="Not now").click()
    page.wait_for_url(DASHBOARD)
    (later,) = [each for each in context.cookies() if each["name"] == "chatbotkit_auth_passkey_later"]
    assert later["value"] == "1"
    page.goto("/auth/passkey/offer?next=/dashboard")
    page.wait_for_url(DASHBOARD)


def test_a_passkey_that_was_removed_is_told_to_the_device(site: Site, context: BrowserContext) -> None:
    page = context.new_page()
    session, authenticator = device(page)
    sign_in_by_code(page, site)
    page.get_by_role("button", name="Create a passkey").click()
    page.wait_for_url(DASHBOARD)
    page.goto("/auth/account")
    section = page.get_by_role("region", name="Passkeys")
    expect(section.get_by_role("listitem")).to_have_count(1)
    assert Axe().run(page).response["violations"] == []
    section.get_by_text("Rename", exact=True).click()
    section.get_by_role("textbox").fill("Ada's phone")
    section.get_by_role("button", name="Save").click()
    expect(section.get_by_text("Ada's phone").first).to_be_visible()
    section.get_by_role("button", name="Remove").click()
    expect(page.get_by_role("status")).to_have_text("The passkey was removed.")
    expect(section.get_by_role("listitem")).to_have_count(0)
    # The account page has told the device which passkeys are left: none.
    for _ in range(100):
        left = session.send("WebAuthn.getCredentials", {"authenticatorId": authenticator})["credentials"]
        if not left:
            break
        page.wait_for_timeout(50)
    assert left == []


def test_on_a_small_phone_a_new_name_has_room(site: Site, context: BrowserContext) -> None:
    page = context.new_page()
    device(page)
    sign_in_by_code(page, site)
    page.get_by_role("button", name="Create a passkey").click()
    page.wait_for_url(DASHBOARD)
    page.goto("/auth/account")
    page.set_viewport_size({"width": 320, "height": 568})
    section = page.get_by_role("region", name="Passkeys")
    section.get_by_text("Rename", exact=True).click()
    field, row = section.locator("[name=name]").bounding_box(), section.get_by_role("listitem").bounding_box()
    assert field
    assert row
    assert field["width"] > row["width"] * 0.8
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")


def test_a_passkey_that_is_not_known_any_more_says_so(site: Site, context: BrowserContext) -> None:
    page = context.new_page()
    device(page)
    sign_in_by_code(page, site)
    page.get_by_role("button", name="Create a passkey").click()
    page.wait_for_url(DASHBOARD)
    context.clear_cookies()
    store = site.app.extensions["chatbotkit_auth"].store
    (user_id,) = {each.user.id for each in _sessions(site)}
    assert store.remove_passkeys(user_id) == 1
    context.add_init_script("delete PublicKeyCredential.isConditionalMediationAvailable")
    page.goto("/auth/sign-in")
    page.get_by_role("button", name="Sign in with a passkey").click()
    expect(page.get_by_role("alert")).to_contain_text("This passkey isn't known here any more.")


def test_a_device_that_does_not_know_its_owner_makes_none(site: Site, context: BrowserContext) -> None:
    page = context.new_page()
    device(page, verifies=False)
    sign_in_by_code(page, site)
    page.get_by_role("button", name="Create a passkey").click()
    expect(page.get_by_role("button", name="Create a passkey")).to_be_enabled()
    assert page.url.startswith(f"{site.origin}/auth/passkey/offer")


def test_the_pages_work_without_javascript_and_without_passkeys(site: Site, browser: Browser) -> None:
    context = browser.new_context(base_url=site.origin, java_script_enabled=False)
    page = context.new_page()
    page.goto("/auth/sign-in?next=/dashboard")
    expect(page.get_by_role("button", name="Sign in with a passkey")).to_be_hidden()
    page.get_by_label("Email address").fill(ADA)
    page.get_by_role("button", name="Send code").click()
    page.get_by_label("Code", exact=True).fill(site.code)
    page.get_by_role("button", name="Sign in").click()
    page.wait_for_url(DASHBOARD)
    page.goto("/auth/account")
    expect(page.get_by_role("heading", name="Where you're signed in")).to_be_visible()
    expect(page.get_by_role("heading", name="Passkeys")).to_be_hidden()
    context.close()


@pytest.mark.parametrize("where", ["another host", "a browser without passkeys"])
def test_where_no_passkey_can_work_none_is_offered_and_no_room_is_left_for_one(
    site: Site, context: BrowserContext, where: str
) -> None:
    if where == "another host":
        origin = site.origin.replace("localhost", "127.0.0.1")
    else:
        context.add_init_script("delete window.PublicKeyCredential")
        origin = site.origin
    page = context.new_page()
    page.goto(f"{origin}/auth/sign-in?next=/auth/account")
    expect(page.locator(".auth-passkey")).to_have_count(0)
    page.get_by_label("Email address").fill(ADA)
    page.get_by_role("button", name="Send code").click()
    page.wait_for_url("**/auth/verify**")
    page.get_by_label("Code", exact=True).fill(site.code)
    page.wait_for_url(f"{origin}/auth/account")
    expect(page.get_by_role("heading", name="Where you're signed in")).to_be_visible()
    expect(page.get_by_role("heading", name="Passkeys")).to_have_count(0)


def _sessions(site: Site) -> list[Any]:
    with site.app.app_context():
        auth = site.app.extensions["chatbotkit_auth"]
        user = auth.adapter.get_by_email(ADA)
        return list(auth.sessions(user))
