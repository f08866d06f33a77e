"""How it feels far away: from pressing a button to the next page's first paint, in Chromium, at 400 ms of latency."""

from __future__ import annotations

import os
import shutil
from collections import defaultdict
from collections.abc import Callable
from typing import TYPE_CHECKING

from flask_chatbotkit_auth.testing import Sandbox

from .journeys import CHATBOTKIT, read_code
from .report import milliseconds, show, skipped, spread
from .servers import Server, missing

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

LATENCY = 0.4
"""Seconds that each request waits for its answer besides what the server takes."""

ROUNDS = 7

# The moment of the press outlives its page; both clocks are that of the browser.
PRESSED = """addEventListener("submit", () => sessionStorage.setItem("pressed", Date.now()), true)"""
PAINTED = """() => new Promise((tell) => new PerformanceObserver((list, observer) => {
    const paint = list.getEntriesByName("first-paint")[0];
    if (!paint) return;
    observer.disconnect();
    tell(performance.timeOrigin + paint.startTime - sessionStorage.getItem("pressed"));
}).observe({type: "paint", buffered: true}))"""


def run() -> None:
    """Print the table."""
    chromium = os.environ.get("TEST_CHROMIUM") or shutil.which("chromium") or shutil.which("chromium-browser")
    if chromium is None or missing("playwright"):
        skipped("the first paint", 'apt-get install chromium; pip install "flask-chatbotkit-auth[test]"')
        return
    from playwright.sync_api import sync_playwright

    samples = defaultdict(list)
    with (
        Sandbox() as sandbox,
        Server("chatbotkit", {"BENCHMARK_API": sandbox.url}, threads=8) as server,
        sync_playwright() as playwright,
    ):
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        for number in range(-1, ROUNDS):
            sandbox.add_user(address := f"person-{number + 1}@example.com", name="Ada")
            for name, seconds in _sign_in(browser, server, address).items():
                if number >= 0:
                    samples[name].append(seconds)
        browser.close()
    show(
        f"From the press to the next page's first paint, at {LATENCY * 1000:.0f} ms of latency",
        ["", "time", "in round trips"],
        [
            [
                name,
                spread(values, milliseconds),
                spread([each / LATENCY for each in values], lambda each: f"{each:.1f}"),
            ]
            for name, values in samples.items()
        ],
    )


def _sign_in(browser: Browser, server: Server, address: str) -> dict[str, float]:
    context = browser.new_context()
    try:
        page = context.new_page()
        page.add_init_script(PRESSED)
        network = context.new_cdp_session(page)
        network.send("Network.enable")
        condition = {"offline": False, "latency": LATENCY * 1000, "downloadThroughput": -1, "uploadThroughput": -1}
        network.send("Network.emulateNetworkConditions", condition)
        page.goto(f"{server.browser().origin}/auth/sign-in")
        page.fill("[name=email]", address)
        asked = _waited(page, lambda: page.press("[name=email]", "Enter"), "**/auth/verify")
        code = read_code(server.mail(address), CHATBOTKIT.code)
        # The last character sends it, as where a person types it.
        typed = _waited(page, lambda: page.locator("#code").press_sequentially(code), "**/page")
        return {"the address: the page for the code": asked, "the code: the application's page": typed}
    finally:
        context.close()


def _waited(page: Page, press: Callable[[], object], url: str) -> float:
    press()
    page.wait_for_url(url, wait_until="commit")
    milliseconds: float = page.evaluate(PAINTED)
    return milliseconds / 1000
