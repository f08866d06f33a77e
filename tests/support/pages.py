"""What the tests in a real browser read and press on a page."""

from __future__ import annotations

from playwright.sync_api import Locator, Page, expect


def heading(page: Page, text: str) -> None:
    """Wait until the page has this heading."""
    expect(page.get_by_role("heading", level=1)).to_have_text(text)


def button(page: Page, name: str) -> Locator:
    return page.get_by_role("button", name=name, exact=True)
