"""Our pages inside an application's own layout, as ``docs/pages.rst`` shows it, with a style sheet from a CDN."""

from __future__ import annotations

import re
from urllib.parse import urlsplit

import pytest
from jinja2 import ChoiceLoader, DictLoader
from playwright.sync_api import Browser

from tests.support.apps import MakeApp
from tests.support.samples import sample, written_in
from tests.support.screenshots import PHONE
from tests.support.serving import served
from tests.support.steps import ADA, ask


@pytest.mark.parametrize("path", ["sign-in", "verify", "sign-out"])
def test_our_pages_stand_in_a_layout_with_a_cdn(make_app: MakeApp, path: str) -> None:
    block = next(each for each in written_in("python") if "CONTENT_SECURITY_POLICY" in each.code)
    settings: dict[str, str] = {}
    exec(block.code.replace("app.config", "settings"), {"settings": settings})  # noqa: S102  # our own
    app = make_app(**settings)
    templates = {
        "site.html": sample("layout-site").code,
        "chatbotkit_auth/base.html": sample("layout-base").code,
    }
    app.jinja_env.loader = ChoiceLoader([DictLoader(templates), app.jinja_env.loader])  # type: ignore[list-item]
    client = app.test_client()
    ask(client)
    page = client.get(f"/auth/{path}")
    assert page.status_code == 200
    assert '<a class="navbar-brand" href="/">Shop</a>' in page.text
    assert page.text.count('<form class="auth-form"') + page.text.count("auth-title") >= 1
    assert page.text.count("<!doctype html>") == 1
    policy = dict(each.split(" ", 1) for each in page.headers["Content-Security-Policy"].split("; "))
    assert "form-action" not in policy
    for sheet in re.findall(r'rel="stylesheet" href="([^"]+)"', page.text):
        parts = urlsplit(sheet)
        assert (f"{parts.scheme}://{parts.netloc}" if parts.netloc else "'self'") in policy["style-src"].split()
    assert re.search(r'<script src="/auth/static/auth\.js', page.text)
    if path == "verify":
        assert ADA in page.text.replace("<wbr>", "")


def test_our_pages_fit_into_a_layout_without_a_style_sheet(make_app: MakeApp, browser: Browser) -> None:
    app = make_app()
    site = re.sub(r".*cdn\.jsdelivr.*\n", "", sample("layout-site").code)
    templates = {"site.html": site, "chatbotkit_auth/base.html": sample("layout-base").code}
    app.jinja_env.loader = ChoiceLoader([DictLoader(templates), app.jinja_env.loader])  # type: ignore[list-item]
    with served(app) as origin:
        context = browser.new_context(viewport=PHONE)
        page = context.new_page()
        page.goto(f"{origin}/auth/sign-in")
        card, field = page.locator(".auth-card").bounding_box(), page.get_by_label("Email address").bounding_box()
        context.close()
    assert card
    assert field
    assert card["x"] < field["x"]
    assert field["x"] + field["width"] < card["x"] + card["width"]
