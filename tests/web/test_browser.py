"""The whole story in a real browser: new, known, mistaken, waiting, interrupted and hostile people, on phone and desktop."""

from __future__ import annotations

import gc
import re
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from flask import Flask
from playwright.sync_api import Browser, BrowserContext, ConsoleMessage, Page, ViewportSize, expect

from example_app import create_app
from flask_chatbotkit_auth import current_auth
from flask_chatbotkit_auth.testing import Clock, Sandbox
from tests.support.pages import button, heading
from tests.support.screenshots import DESKTOP, LANDSCAPE, PHONE, codes, demo_of, newest_code, newest_link, newest_mail
from tests.support.serving import served
from tests.support.steps import wrong

LOOKS: dict[str, dict[str, Any]] = {
    "phone, light": {"viewport": PHONE, "color_scheme": "light", "has_touch": True, "is_mobile": True},
    "phone, dark": {"viewport": PHONE, "color_scheme": "dark", "has_touch": True, "is_mobile": True},
    "desktop, light": {"viewport": DESKTOP, "color_scheme": "light"},
    "desktop, dark": {"viewport": DESKTOP, "color_scheme": "dark"},
}
KEYBOARD_UP: ViewportSize = {"width": 360, "height": 400}
# Where everything is but what is in a button.
PLACES = """[...document.body.querySelectorAll(":not(button *)")].map(each => {
  const {x, y, width, height} = each.getBoundingClientRect();
  return [each.className, x, y, width, height];
})"""
Visit = Callable[..., Page]

expect.set_options(timeout=15_000)  # milliseconds; a busy machine is no fault of ours


def setting(**environment: str) -> pytest.MarkDecorator:
    """Let the site of a test run with further settings."""
    return pytest.mark.parametrize("site", [environment], indirect=True, ids=["".join(environment.values())])


class Site:
    """The example, served, with its stand-in of the API."""

    def __init__(self, app: Flask, origin: str) -> None:
        self.app = app
        self.origin = origin

    @property
    def sandbox(self) -> Sandbox:
        sandbox = demo_of(self.app).sandbox
        assert sandbox
        return sandbox

    @property
    def code(self) -> str:
        """The code of the mail that arrived last."""
        return newest_code(self.app)

    @property
    def mails(self) -> int:
        """How many mails with a code have arrived."""
        return len(codes(self.app))

    def calls(self, title: str) -> list[str]:
        """The calls to the API of the latest step of that title."""
        return next(step.calls for step in demo_of(self.app).steps if step.title == title)


# A browser that leaves a page breaks off what it was loading; the server then drops the file it was sending, unclosed.
pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning", "ignore::ResourceWarning")


@pytest.fixture(autouse=True)
def _dropped_files_are_collected_here() -> Iterator[None]:
    yield
    gc.collect()


@pytest.fixture
def site(
    request: pytest.FixtureRequest, tmp_path: Path, bare_environment: None, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Site]:
    for key, value in getattr(request, "param", {}).items():
        monkeypatch.setenv(key, value)
    app = create_app(str(tmp_path), DEMO=True)
    with served(app) as origin:
        yield Site(app, origin)
    Site(app, origin).sandbox.stop()


@pytest.fixture
def visit(browser: Browser, site: Site) -> Iterator[Visit]:
    """Open the site in a browser of one's own, at a path; scripts that fail or break the rules fail the test."""
    contexts: list[BrowserContext] = []
    faults: list[str] = []

    def listen(message: ConsoleMessage) -> None:
        # Chromium also writes there that a page answered 400, which a wrong code has every right to.
        if message.type in ("error", "warning") and "Failed to load resource" not in message.text:
            faults.append(message.text)

    def visit(path: str = "/", **options: Any) -> Page:
        context = browser.new_context(base_url=site.origin, **{**LOOKS["desktop, light"], **options})
        contexts.append(context)
        context.on("console", listen)
        context.on("weberror", lambda error: faults.append(str(error.error)))
        page = context.new_page()
        page.goto(path)
        return page

    yield visit
    for context in contexts:
        context.close()
    assert faults == []


def ask_for_code(page: Page, email: str) -> None:
    page.get_by_label("Email address").fill(email)
    button(page, "Send code").click()


def type_code(page: Page, code: str, *, press: bool = False) -> None:
    """Type a code. The first whole one on a page is sent by itself; after a wrong one the button is pressed."""
    field = page.get_by_label("Code", exact=True)
    press = press or field.get_attribute("aria-invalid") is not None
    field.press_sequentially(code)
    if press:
        button(page, "Sign in").click()


def sign_in(site: Site, page: Page, email: str = "ada@example.com") -> None:
    page.goto("/auth/sign-in?next=/dashboard")
    ask_for_code(page, email)
    heading(page, "Check your email")
    type_code(page, site.code)
    expect(page).to_have_url(f"{site.origin}/dashboard")


def say(page: Page, text: str) -> None:
    page.get_by_label("Your message").fill(text)
    button(page, "Send").click()


def answers(page: Page) -> Any:
    return page.locator(".message.bot")


def fits(page: Page) -> None:
    """Nothing is cut off at the side."""
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")


# New and known people


@pytest.mark.parametrize("look", LOOKS)
def test_a_new_person(site: Site, visit: Visit, look: str) -> None:
    page = visit("/", **LOOKS[look])
    heading(page, "Chat with a friendly bot.")
    fits(page)
    page.get_by_role("main").get_by_role("link", name="Sign in").click()
    heading(page, "Sign in to Parley")
    expect(page.get_by_label("Email address")).to_be_focused()
    fits(page)
    ask_for_code(page, "Eve@Example.com")
    heading(page, "Check your email")
    expect(page.get_by_text("eve@example.com")).to_be_visible()
    expect(page.get_by_label("Code", exact=True)).to_be_focused()
    fits(page)

    inbox = page.context.new_page()
    inbox.goto("/inbox")
    mail = inbox.frame_locator("iframe").first
    expect(mail.get_by_role("heading")).to_have_text(f"{site.code[:3]} {site.code[3:]} is your Parley sign-in code")
    expect(mail.get_by_text("This email went to eve@example.com.")).to_be_visible()
    fits(inbox)
    inbox.close()

    type_code(page, site.code)
    expect(page.get_by_text("Hello, eve@example.com.")).to_be_visible()
    fits(page)
    say(page, "Good morning!")
    expect(answers(page)).to_have_text("Nice to hear from you! You said: Good morning! (I have seen 1 message.)")
    fits(page)
    page.get_by_role("link", name="Account").click()
    heading(page, "Your account")
    fits(page)
    page.get_by_role("link", name="Back to Parley").click()
    expect(page.get_by_text("eve@example.com you")).to_be_visible()
    fits(page)
    assert site.calls("Asked for a code") == []
    # After the sign-in itself the example prepares the account.
    assert site.calls("Typed a code")[:2] == ["GET /user/list", "POST /user/create"]
    assert site.calls("Opened the dashboard") == []


def test_a_known_person_ends_up_where_they_were_going(site: Site, visit: Visit) -> None:
    page = visit("/dashboard")
    heading(page, "Sign in to Parley")
    ask_for_code(page, "ada@example.com")
    type_code(page, site.code)
    expect(page.get_by_text("Hello, Ada.")).to_be_visible()
    assert site.calls("Typed a code")[:1] == ["GET /user/list"]
    # Signed in, they are not asked again.
    page.goto("/auth/sign-in")
    expect(page).to_have_url(f"{site.origin}/dashboard")


@setting(CHATBOTKIT_AUTH_ADAPTER="contact")
def test_a_contact(site: Site, visit: Visit) -> None:
    page = visit()
    sign_in(site, page, "eve@example.com")
    say(page, "Hello")
    expect(answers(page)).to_contain_text("You said: Hello")
    assert site.calls("Typed a code")[:2] == ["GET /contact/list", "POST /contact/create"]


@pytest.mark.parametrize("look", LOOKS)
def test_a_sub_account_and_a_contact_side_by_side(site: Site, visit: Visit, look: str) -> None:
    page = visit("/", **LOOKS[look])
    sign_in(site, page, "eve@example.com")
    page.goto("/")
    page.get_by_role("link", name="Try it as a contact").click()
    heading(page, "Chat with a friendly bot.")
    page.get_by_role("main").get_by_role("link", name="Sign in").click()
    ask_for_code(page, "zoe@example.com")
    type_code(page, site.code)
    expect(page).to_have_url(f"{site.origin}/contact/dashboard")
    say(page, "Hello")
    expect(answers(page)).to_contain_text("You said: Hello")
    page.get_by_role("link", name="Parley").click()
    contacts, users = (page.get_by_role("region", name=name) for name in ("Contact", "Partner"))
    expect(contacts.get_by_text("zoe@example.com you")).to_be_visible()
    expect(users.get_by_text("eve@example.com")).to_be_visible()
    fits(page)
    # Both are signed in, and signing out of one leaves the other alone.
    button(page, "Sign out").click()
    expect(page).to_have_url(f"{site.origin}/contact/")
    page.get_by_role("link", name="Try it as a sub-account").click()
    expect(users.get_by_text("eve@example.com you")).to_be_visible()


def test_a_person_who_renames_themselves(site: Site, visit: Visit) -> None:
    page = visit()
    sign_in(site, page)
    page.get_by_role("link", name="Account").click()
    page.get_by_label("Name").fill("Ada L.")
    button(page, "Save").click()
    expect(page.get_by_role("status")).to_be_visible()
    page.goto("/dashboard")
    expect(page.get_by_text("Hello, Ada L.")).to_be_visible()


# Mistaken people


def test_a_wrong_address_can_be_put_right(site: Site, visit: Visit) -> None:
    page = visit("/auth/sign-in")
    ask_for_code(page, "ada@example")
    expect(page.get_by_role("alert")).to_contain_text("Enter a valid email address")
    email = page.get_by_label("Email address")
    expect(email).to_be_focused()
    expect(email).to_have_value("ada@example")
    assert site.mails == 0
    ask_for_code(page, "adda@example.com")
    heading(page, "Check your email")
    page.get_by_role("link", name="Use a different email").click()
    ask_for_code(page, "ada@example.com")
    type_code(page, site.code)
    expect(page.get_by_role("navigation").get_by_text("Sign out")).to_be_visible()
    assert len(site.sandbox.users) == 2


@pytest.mark.parametrize("writing", ["{0}{1}{2}-{3}{4}{5}", " {0}{1}{2} {3}{4}{5} ", "{0} {1} {2} {3} {4} {5}"])
def test_a_wrong_code_and_then_the_right_one_however_it_is_written(site: Site, visit: Visit, writing: str) -> None:
    page = visit("/auth/sign-in?next=/dashboard")
    ask_for_code(page, "ada@example.com")
    type_code(page, wrong(site.code))
    expect(page.get_by_role("alert")).to_contain_text("That code isn't right")
    expect(page.get_by_text("4 tries left")).to_be_visible()
    expect(page.get_by_label("Code", exact=True)).to_be_focused()
    type_code(page, writing.format(*site.code.upper()))
    expect(page.get_by_text("Hello, Ada.")).to_be_visible()


def test_whoever_keeps_guessing_starts_again(site: Site, visit: Visit) -> None:
    page = visit("/auth/sign-in?next=/dashboard")
    ask_for_code(page, "ada@example.com")
    code = site.code
    for left in ("4 tries left", "3 tries left", "2 tries left", "1 try left"):
        type_code(page, wrong(code))
        expect(page.get_by_text(left)).to_be_visible()
    type_code(page, wrong(code))
    heading(page, "This code no longer works")
    button(page, "Send a new code").click()
    heading(page, "Check your email")
    type_code(page, site.code)
    expect(page.get_by_text("Hello, Ada.")).to_be_visible()


@pytest.mark.parametrize(
    "copied", ["{}", " {}\n", "{0:.3} {1}", "{0:.3}-{1} is your Parley sign-in code", "Line 1: {}."]
)
def test_a_pasted_code_is_sent_by_itself(site: Site, visit: Visit, copied: str) -> None:
    page = visit("/auth/sign-in?next=/dashboard", permissions=["clipboard-read", "clipboard-write"])
    ask_for_code(page, "ada@example.com")
    heading(page, "Check your email")
    code = site.code
    page.evaluate("text => navigator.clipboard.writeText(text)", copied.format(code, code[3:]))
    page.get_by_label("Code", exact=True).press("Control+V")
    expect(page.get_by_text("Hello, Ada.")).to_be_visible()


def test_a_phone_that_fills_the_code_in_sends_it(site: Site, visit: Visit) -> None:
    page = visit("/auth/sign-in?next=/dashboard", **LOOKS["phone, light"])
    ask_for_code(page, "ada@example.com")
    heading(page, "Check your email")
    page.get_by_label("Code", exact=True).fill(site.code)
    expect(page.get_by_text("Hello, Ada.")).to_be_visible()


def test_an_impatient_double_click_sends_one_mail(site: Site, visit: Visit) -> None:
    page = visit("/auth/sign-in")
    page.get_by_label("Email address").fill("ada@example.com")
    button(page, "Send code").dblclick()
    heading(page, "Check your email")
    assert site.mails == 1


# What is seen, and what is read out


@pytest.mark.parametrize("size", [LANDSCAPE, KEYBOARD_UP], ids=["landscape", "above a keyboard"])
@pytest.mark.parametrize("colours", ["light", "dark"])
def test_a_wrong_code_is_seen_on_a_low_screen(site: Site, visit: Visit, size: ViewportSize, colours: str) -> None:
    page = visit("/auth/sign-in", viewport=size, color_scheme=colours, has_touch=True, is_mobile=True)
    ask_for_code(page, "ada@example.com")
    type_code(page, wrong(site.code))
    error, field = page.get_by_role("alert"), page.get_by_label("Code", exact=True)
    expect(error).to_be_in_viewport(ratio=1)
    expect(field).to_be_in_viewport(ratio=1)
    expect(field).to_be_focused()
    above, below = error.bounding_box(), field.bounding_box()
    assert above
    assert below
    assert above["y"] + above["height"] <= below["y"]
    ring = field.evaluate("each => [getComputedStyle(each).outlineColor, getComputedStyle(each).borderBlockEndColor]")
    assert ring == [error.evaluate("each => getComputedStyle(each).color")] * 2
    # What was said before is below the field now.
    told = page.get_by_text("We sent a 6-digit code to ada@example.com").bounding_box()
    assert told
    assert told["y"] > below["y"]


def test_the_field_and_the_title_say_where_the_code_went(site: Site, visit: Visit) -> None:
    page = visit("/auth/sign-in")
    ask_for_code(page, "ada@example.com")
    field = page.get_by_label("Code", exact=True)
    where = re.compile("We sent a 6-digit code to ada@example.com")
    expect(field).to_have_accessible_description(where)
    expect(page).to_have_title("Check your email – ada@example.com – Parley")
    type_code(page, wrong(site.code))
    expect(field).to_have_accessible_description(re.compile("^That code isn't right 4 tries left"))
    expect(field).to_have_accessible_description(where)
    expect(page).to_have_title("Error: Check your email – ada@example.com – Parley")


@setting(CHATBOTKIT_AUTH_RESEND_COOLDOWN="0")
def test_another_code_is_told_in_the_title_the_field_and_a_status_that_comes_in_later(site: Site, visit: Visit) -> None:
    page = visit("/auth/sign-in")
    ask_for_code(page, "ada@example.com")
    page.add_init_script(
        """addEventListener("DOMContentLoaded", () => {
          window.said = [];
          const note = document.querySelector("[role=status]");
          if (note) new MutationObserver(() => said.push(note.textContent.trim())).observe(note, {
            childList: true, characterData: true, subtree: true});
        })"""
    )
    button(page, "Send a new code").click()
    expect(page).to_have_title("New code sent – ada@example.com – Parley")
    expect(page.get_by_role("status")).to_have_text("New code sent. Earlier codes still work.")
    expect(page.get_by_label("Code", exact=True)).to_have_accessible_description(re.compile("^New code sent."))
    assert page.evaluate("said")[-1] == "New code sent. Earlier codes still work."
    # Told once: a page that is loaded again claims nothing.
    page.reload()
    heading(page, "Check your email")
    expect(page.get_by_role("status")).to_have_count(0)
    expect(page).to_have_title("Check your email – ada@example.com – Parley")


def test_reload_back_and_forward_try_nothing_again(site: Site, visit: Visit) -> None:
    page = visit("/auth/sign-in?next=/dashboard")
    ask_for_code(page, "ada@example.com")
    type_code(page, wrong(site.code))
    expect(page.get_by_text("4 tries left")).to_be_visible()
    page.reload()
    heading(page, "Check your email")
    expect(page.get_by_role("alert")).to_have_count(0)
    page.go_back()
    page.go_forward()
    heading(page, "Check your email")
    type_code(page, wrong(site.code))
    expect(page.get_by_text("3 tries left")).to_be_visible()
    type_code(page, site.code)
    expect(page.get_by_text("Hello, Ada.")).to_be_visible()
    assert site.mails == 1


def test_the_pages_wait_for_one_style_sheet_and_nothing_else(site: Site, visit: Visit) -> None:
    page = visit("/auth/sign-in")
    blocking = """performance.getEntriesByType("resource").filter(each => each.renderBlockingStatus === "blocking")
        .map(each => new URL(each.name).pathname.split("/").pop())"""
    assert page.evaluate(blocking) == ["auth.css"]


def test_the_code_field_is_for_digits_and_no_translator(site: Site, visit: Visit) -> None:
    page = visit("/auth/sign-in")
    ask_for_code(page, "ada@example.com")
    field = page.get_by_label("Code", exact=True)
    for name, value in {"inputmode": "numeric", "autocomplete": "one-time-code", "translate": "no"}.items():
        expect(field).to_have_attribute(name, value)


@pytest.mark.parametrize(
    ("email", "name", "host"),
    [
        ("eve@gmail.com", "Open Gmail", "mail.google.com"),
        ("eve@hotmail.com", "Open Outlook", "outlook.live.com"),
        ("eve@example.com", None, None),
    ],
)
def test_a_well_known_mailbox_is_one_press_away(
    site: Site, visit: Visit, email: str, name: str | None, host: str | None
) -> None:
    page = visit("/auth/sign-in")
    ask_for_code(page, email)
    heading(page, "Check your email")
    if name is None:
        expect(page.get_by_role("link", name="Open")).to_have_count(0)
    else:
        link = page.get_by_role("link", name=name)
        expect(link).to_have_attribute("href", f"https://{host}/mail/")
        expect(link).to_have_attribute("rel", "noopener noreferrer")


@setting(CHATBOTKIT_AUTH_LOGO_URL="/static/none.png")
def test_a_broken_logo_leaves_the_name_and_no_broken_picture(site: Site, visit: Visit) -> None:
    page = visit("/auth/sign-in")
    expect(page.get_by_role("banner").get_by_role("link")).to_have_text("Parley")
    expect(page.get_by_role("banner").locator("img")).to_have_count(0)


# People who change their mind


def test_a_different_email_begins_with_the_one_before_and_ends_where_they_were_going(site: Site, visit: Visit) -> None:
    page = visit("/auth/sign-in?next=/auth/account")
    ask_for_code(page, "adda@example.com")
    page.get_by_role("link", name="Use a different email").click()
    email = page.get_by_label("Email address")
    expect(email).to_have_value("adda@example.com")
    ask_for_code(page, "ada@example.com")
    type_code(page, site.code)
    heading(page, "Your account")


def test_an_expired_code_is_one_press_from_a_new_one(site: Site, visit: Visit, chatbotkit_clock: Clock) -> None:
    page = visit("/auth/sign-in?next=/auth/account")
    ask_for_code(page, "ada@example.com")
    heading(page, "Check your email")
    chatbotkit_clock.advance(timedelta(minutes=11))
    type_code(page, site.code)
    heading(page, "This code has expired")
    expect(button(page, "Send a new code")).to_be_focused()
    button(page, "Send a new code").click()
    heading(page, "Check your email")
    assert site.mails == 2
    type_code(page, site.code)
    heading(page, "Your account")


def test_a_limit_leaves_the_code_in_hand_usable(site: Site, visit: Visit) -> None:
    page = visit("/auth/sign-in?next=/dashboard")
    for _ in range(5):
        ask_for_code(page, "ada@example.com")
        heading(page, "Check your email")
        page.get_by_role("link", name="Use a different email").click()
    # A sign-in under way is remembered here.
    expect(page.get_by_text("Enter the code we sent to ada@example.com")).to_be_visible()
    ask_for_code(page, "ada@example.com")
    expect(page.get_by_role("alert")).to_have_text("You've asked for too many codes. Wait 15 minutes.")
    heading(page, "Check your email")
    type_code(page, site.code)
    expect(page.get_by_text("Hello, Ada.")).to_be_visible()


def test_the_last_digit_sends_the_code_once_and_never_after_a_wrong_one(site: Site, visit: Visit) -> None:
    page = visit("/auth/sign-in?next=/dashboard")
    ask_for_code(page, "ada@example.com")
    field = page.get_by_label("Code", exact=True)
    field.press_sequentially(wrong(site.code))
    expect(page.get_by_text("4 tries left")).to_be_visible()
    field.press_sequentially(wrong(site.code))
    field.press("Backspace")
    field.press_sequentially(site.code[-1])
    expect(field).to_have_value(wrong(site.code))
    expect(page.get_by_text("4 tries left")).to_be_visible()
    field.fill("")
    button(page, "Sign in").click()
    expect(page.get_by_role("alert")).to_contain_text("Enter the code")
    expect(page.get_by_text("tries left")).to_have_count(0)
    type_code(page, site.code)
    expect(page.get_by_text("Hello, Ada.")).to_be_visible()


def test_enter_after_the_last_digit_sends_nothing_more(site: Site, visit: Visit) -> None:
    page = visit("/auth/sign-in?next=/dashboard")
    ask_for_code(page, "ada@example.com")
    page.route("**/auth/verify", lambda route: route.fulfill(status=204))  # the page stays as if the answer never came
    sent: list[str] = []  # by the form; the page may still be fetching its icon
    page.on("request", lambda request: sent.append(request.url) if request.method == "POST" else None)
    field = page.get_by_label("Code", exact=True)
    field.press_sequentially(wrong(site.code))
    expect(page.locator("form[data-busy]")).to_have_count(1)
    field.press("Enter")
    expect(page.locator("form[data-busy] button").first).not_to_have_text("Sign in")
    assert sent == [f"{site.origin}/auth/verify"]
    # Typing takes it back here, too.
    page.unroute("**/auth/verify")
    field.press("Backspace")
    field.press_sequentially(wrong(site.code)[-1])
    button(page, "Sign in").click()
    expect(page.get_by_text("4 tries left")).to_be_visible()


@pytest.mark.parametrize("width", [320, 1280])
def test_a_slow_answer_is_told_and_can_be_left(site: Site, visit: Visit, width: int) -> None:
    page = visit("/auth/sign-in?next=/dashboard", viewport={"width": width, "height": 568})
    page.clock.install()
    page.route("**/auth/sign-in", lambda route: route.fulfill(status=204))  # the page stays as if the answer never came
    page.get_by_label("Email address").fill("adda@example.com")
    button(page, "Send code").click()
    expect(button(page, "Sending…")).to_be_visible()
    before = page.evaluate(PLACES)
    page.clock.fast_forward(5000)
    expect(page.get_by_role("button").get_by_text("This is taking longer than usual. Please wait.")).to_be_in_viewport()
    expect(button(page, "Sending… This is taking longer than usual. Please wait.")).to_have_attribute(
        "aria-live", "polite"
    )
    # Nothing makes room for it.
    assert page.evaluate(PLACES) == before
    fits(page)
    # Typing takes it back, and the form can be sent anew.
    page.unroute("**/auth/sign-in")
    page.get_by_label("Email address").press_sequentially("x")
    expect(button(page, "Send code")).to_be_visible()
    page.get_by_label("Email address").fill("ada@example.com")
    button(page, "Send code").click()
    heading(page, "Check your email")
    assert site.mails == 1


# People who wait, and people who are interrupted


@setting(CHATBOTKIT_AUTH_RESEND_COOLDOWN="1")
def test_mail_that_is_slow(site: Site, visit: Visit) -> None:
    page = visit("/auth/sign-in?next=/dashboard")
    ask_for_code(page, "ada@example.com")
    first = site.code
    again = button(page, "Send a new code")
    expect(again).to_have_attribute("aria-disabled", "true")
    expect(page.get_by_text("You can send a new code now.")).to_be_visible()
    again.click()
    expect(page.get_by_text("New code sent.")).to_be_visible()
    assert site.mails == 2
    # Mail arrives late and out of order: the first code is as good as the second.
    type_code(page, first)
    expect(page.get_by_text("Hello, Ada.")).to_be_visible()


def test_the_inbox_shows_a_new_mail_by_itself(site: Site, visit: Visit) -> None:
    inbox = visit("/inbox")
    expect(inbox.get_by_text("No mail yet.")).to_be_visible()
    page = inbox.context.new_page()
    page.goto("/auth/sign-in")
    ask_for_code(page, "ada@example.com")
    heading(page, "Check your email")
    inbox.bring_to_front()
    expect(inbox.get_by_text(f"{site.code} is your Parley sign-in code").first).to_be_visible()


@pytest.mark.parametrize("then", ["stays", "reloads", "comes back"])
def test_an_outage_when_the_code_was_right_needs_no_new_code(site: Site, visit: Visit, then: str) -> None:
    page = visit("/auth/sign-in?next=/dashboard")
    ask_for_code(page, "eve@example.com")
    site.sandbox.fail("*/create", status=503)
    type_code(page, site.code)
    heading(page, "Nearly there")
    button(page, "Try again").click()
    heading(page, "Nearly there")
    site.sandbox.heal()
    if then == "reloads":
        page.goto("/auth/verify")
    if then == "comes back":
        page.close()
        page = page.context.new_page()
        page.goto("/auth/verify")
    button(page, "Try again").click()
    expect(page.get_by_text("Hello, eve@example.com.")).to_be_visible()
    assert site.mails == 1
    assert len(site.sandbox.users) == 3


def test_whoever_closes_the_page_finds_it_again(site: Site, visit: Visit) -> None:
    page = visit("/auth/sign-in?next=/dashboard")
    ask_for_code(page, "ada@example.com")
    heading(page, "Check your email")
    page.close()
    page = page.context.new_page()
    page.goto("/auth/verify")
    type_code(page, site.code)
    expect(page.get_by_text("Hello, Ada.")).to_be_visible()


def test_back_after_signing_in_leads_forward_again(site: Site, visit: Visit) -> None:
    page = visit()
    sign_in(site, page)
    page.go_back()
    expect(page).to_have_url(f"{site.origin}/dashboard")
    expect(page.get_by_text("Hello, Ada.")).to_be_visible()


def test_two_tabs_are_one_sign_in(site: Site, visit: Visit) -> None:
    first = visit("/auth/sign-in?next=/dashboard")
    second = first.context.new_page()
    second.goto("/auth/sign-in?next=/dashboard")
    for tab in (first, second):
        ask_for_code(tab, "ada@example.com")
        heading(tab, "Check your email")
    type_code(first, site.code)
    expect(first.get_by_text("Hello, Ada.")).to_be_visible()
    type_code(second, site.code)
    heading(second, "You're signed in")
    second.get_by_role("link", name="Continue").click()
    expect(second.get_by_text("Hello, Ada.")).to_be_visible()


def test_whoever_asks_too_often_is_told_how_long_to_wait(site: Site, visit: Visit) -> None:
    page = visit("/auth/sign-in")
    for _ in range(5):
        ask_for_code(page, "ada@example.com")
        heading(page, "Check your email")
        page.get_by_role("link", name="Use a different email").click()
    ask_for_code(page, "ada@example.com")
    expect(page.get_by_role("alert")).to_have_text("You've asked for too many codes. Wait 15 minutes.")
    # The code that came last still works.
    expect(page).to_have_title("Error: Check your email – ada@example.com – Parley")
    assert site.mails == 5


def test_on_a_phone_an_address_is_on_one_line_and_facts_are_apart(site: Site, visit: Visit) -> None:
    page = visit("/auth/sign-in", **LOOKS["phone, light"])
    address = page.locator("#sent-to bdi")
    for short in ("ada@example.com", "ada-lovelace@example.com"):
        ask_for_code(page, short)
        heading(page, "Check your email")
        assert address.evaluate("each => each.getClientRects().length") == 1
        page.get_by_role("link", name="Use a different email").click()
    ask_for_code(page, f"ada@{'example-' * 6}.com".replace("-.", "."))
    heading(page, "Check your email")
    assert address.evaluate("each => each.getClientRects().length") > 1
    fits(page)
    type_code(page, site.code)
    expect(page).to_have_url(f"{site.origin}/dashboard")
    page.goto("/auth/account/activity")
    expect(page.get_by_role("listitem").first).to_contain_text(
        re.compile(r"Chrome on Linux · .* ago"), use_inner_text=True
    )


def test_the_button_of_a_notice_is_seen_in_the_dark_as_well(site: Site, visit: Visit) -> None:
    page = visit("/auth/sign-in", **LOOKS["phone, dark"])
    sign_in(site, page)
    page.goto(newest_mail(site.app))
    cell = page.get_by_role("link", name="Check your devices").locator("..")
    fill, behind, words = (
        sum(map(int, re.findall(r"\d+", each.evaluate(f"each => getComputedStyle(each).{what}"))[:3]))
        for each, what in (
            (cell, "backgroundColor"),
            (page.locator(".card"), "backgroundColor"),
            (cell.locator("a"), "color"),
        )
    )
    assert abs(fill - behind) > 300, "of 765 between black and white"
    assert abs(fill - words) > 300


def test_whoever_is_refused_reads_why(site: Site, visit: Visit) -> None:
    hooks = site.app.extensions["chatbotkit_auth"].hooks
    hooks.sign_in = lambda identifier, user: "Parley is for invited people just now."
    page = visit("/auth/sign-in")
    ask_for_code(page, "eve@example.com")
    type_code(page, site.code)
    heading(page, "You can't sign in")
    expect(page.get_by_text("Parley is for invited people just now.")).to_be_visible()
    assert len(site.sandbox.users) == 2


def test_whoever_blocks_cookies_is_told(site: Site, visit: Visit) -> None:
    page = visit("/auth/sign-in")
    page.context.clear_cookies()
    ask_for_code(page, "ada@example.com")
    expect(page.get_by_role("alert")).to_contain_text("Allow cookies for this site")
    assert site.mails == 0


@setting(CHATBOTKIT_AUTH_SESSION_CHECK="0")
def test_a_session_that_ends_in_the_middle_of_a_form_leads_back_to_it(site: Site, visit: Visit) -> None:
    page = visit()
    sign_in(site, page)
    page.goto("/auth/account")
    page.get_by_label("Name").fill("Ada L.")
    with site.app.app_context():
        current_auth.end_sessions(next(iter(site.sandbox.users)))
    button(page, "Save").click()
    heading(page, "Sign in to Parley")
    ask_for_code(page, "ada@example.com")
    type_code(page, site.code)
    heading(page, "Your account")
    expect(page.get_by_label("Name")).to_have_value("Ada")


@pytest.mark.parametrize("look", ["phone, dark", "desktop, light"])
def test_the_account_page_is_short_and_for_people(site: Site, visit: Visit, look: str) -> None:
    other = visit()
    sign_in(site, other)
    page = visit(**LOOKS[look])
    sign_in(site, page)
    page.goto("/auth/account")
    text = page.get_by_role("main").inner_text()
    assert text.count("ada@example.com") == 1
    assert "Active now" in text
    assert "IP address 127.0.0.1" in text
    assert not re.search(r"\d\d:\d\d|UTC", text)
    expect(page.get_by_label("Picture")).to_have_count(0)
    # Passkeys are a section more, where they are on.
    page.evaluate("document.querySelector('section[aria-labelledby=passkeys]')?.remove()")
    bottom, height = page.evaluate("[document.querySelector('main').getBoundingClientRect().bottom, innerHeight]")
    assert bottom <= height


def test_the_links_of_an_administrator_fill_their_lines_evenly(site: Site, visit: Visit) -> None:
    page = visit()
    sign_in(site, page)
    links = page.get_by_role("navigation").locator("a, button")
    expect(links).to_have_count(6)
    for width, lines in ((320, [3, 3]), (390, [3, 3]), (568, [6]), (1280, [6])):
        page.set_viewport_size({"width": width, "height": 568})
        tops = links.evaluate_all("all => all.map(each => each.getBoundingClientRect().top)")
        assert [tops.count(top) for top in sorted(set(tops))] == lines, width
        fits(page)


def test_the_full_stop_stays_with_the_address_before_it(site: Site, visit: Visit) -> None:
    page = visit()
    sign_in(site, page)
    page.goto("/auth/account/email")
    sentence = page.get_by_text("Your address is ada@example.com.")
    expect(sentence).to_be_visible()
    for width in range(320, 420, 4):
        page.set_viewport_size({"width": width, "height": 568})
        address, stop = sentence.evaluate(
            """each => {
              const strong = each.querySelector("strong"), range = document.createRange();
              range.setStart(strong.nextSibling, 0);
              range.setEnd(strong.nextSibling, 1);
              return [strong, range].map(part => part.getBoundingClientRect().bottom);
            }"""
        )
        assert abs(address - stop) < 10, width


@pytest.mark.parametrize("look", ["phone, dark", "desktop, light"])
def test_an_account_is_deleted_for_good(site: Site, visit: Visit, look: str) -> None:
    page = visit(**LOOKS[look])
    sign_in(site, page)
    page.goto("/auth/account")
    page.get_by_role("link", name="Delete my account").click()
    button(page, "Send code").click()
    page.get_by_label("Code", exact=True).press_sequentially(site.code)
    confirm = page.get_by_label("Type your email address to confirm")
    confirm.fill("ada@example.org")
    button(page, "Delete my account").click()
    expect(page.get_by_role("alert")).to_have_text("That isn't the email address of this account")
    # The code was right and is kept: there is one thing to do.
    expect(page.get_by_label("Code", exact=True)).to_have_count(0)
    expect(confirm).to_be_focused()
    confirm.fill("ada@example.com")
    button(page, "Delete my account").click()
    heading(page, "Your account is deleted")
    assert [person["email"] for person in site.sandbox.users.values()] == ["ben@example.com"]
    page.goto("/dashboard")
    heading(page, "Sign in to Parley")


# Hostile people


@pytest.mark.parametrize("next", ["//evil.example", "https://evil.example/", "/\\evil.example", "javascript:alert(1)"])
def test_a_link_that_would_lead_elsewhere_leads_nowhere(site: Site, visit: Visit, next: str) -> None:
    page = visit(f"/auth/sign-in?next={next}")
    ask_for_code(page, "ada@example.com")
    type_code(page, site.code)
    expect(page).to_have_url(f"{site.origin}/dashboard")


def test_back_after_signing_out_shows_nothing(site: Site, visit: Visit) -> None:
    page = visit()
    sign_in(site, page)
    say(page, "My secret")
    expect(answers(page)).to_contain_text("(I have seen 1 message.)")
    button(page, "Sign out").click()
    heading(page, "Chat with a friendly bot.")
    page.go_back()
    heading(page, "Sign in to Parley")
    assert "My secret" not in page.content()


def test_somebody_elses_browser_cannot_use_the_code(site: Site, visit: Visit) -> None:
    mine, theirs = visit("/auth/sign-in"), visit("/auth/sign-in")
    ask_for_code(mine, "ada@example.com")
    heading(mine, "Check your email")
    code = site.code
    ask_for_code(theirs, "ada@example.com")
    type_code(theirs, code)
    expect(theirs.get_by_role("alert")).to_contain_text("That code isn't right")
    type_code(mine, code)
    expect(mine.get_by_role("navigation").get_by_text("Sign out")).to_be_visible()


@setting(CHATBOTKIT_AUTH_SESSION_CHECK="0")
def test_a_lost_device_is_signed_out_from_another(site: Site, visit: Visit) -> None:
    lost, kept = visit(**LOOKS["phone, light"]), visit()
    sign_in(site, lost)
    sign_in(site, kept)
    kept.goto("/auth/account")
    button(kept, "Sign out everywhere else").click()
    expect(kept.get_by_role("status")).to_be_visible()
    # The chat page is still open on the lost device.
    say(lost, "Hello?")
    heading(lost, "Sign in to Parley")
    assert "POST /conversation/complete" not in site.calls("Opened the dashboard")
    kept.goto("/dashboard")
    expect(kept.get_by_text("Hello, Ada.")).to_be_visible()


def test_a_mail_can_run_nothing(site: Site, visit: Visit) -> None:
    page = visit("/auth/sign-in")
    ask_for_code(page, '"<img/src=x/onerror=alert(1)>"@example.com')
    expect(page.get_by_role("alert")).to_contain_text("Enter a valid email address")
    sandbox = site.sandbox
    sandbox.add_user("mallory@example.com", name='<img src="x" onerror="document.title=1">')
    sign_in(site, page, "mallory@example.com")
    expect(page.get_by_text('Hello, <img src="x"')).to_be_visible()
    say(page, "<b>bold</b>")
    expect(answers(page)).to_contain_text("<b>bold</b>")
    assert page.locator(".messages :is(b, img)").count() == 0


# People without JavaScript, and people without a mouse


@setting(CHATBOTKIT_AUTH_RESEND_COOLDOWN="0")
def test_without_javascript_everything_works_but_the_chat(site: Site, visit: Visit) -> None:
    page = visit("/dashboard", java_script_enabled=False)
    ask_for_code(page, "ada@example.com")
    type_code(page, wrong(site.code), press=True)
    expect(page.get_by_role("alert")).to_contain_text("That code isn't right")
    button(page, "Send a new code").click()
    expect(page.get_by_text("New code sent.")).to_be_visible()
    type_code(page, site.code, press=True)
    expect(page.get_by_text("Hello, Ada.")).to_be_visible()
    expect(page.get_by_text("The chat needs JavaScript.")).to_be_visible()
    expect(button(page, "Send")).to_be_hidden()
    page.get_by_role("link", name="Account").click()
    heading(page, "Your account")
    page.goto("/inbox")
    # The newest mail is about the sign-in from a browser that was not known.
    expect(page.frame_locator("iframe").first.get_by_role("heading")).to_contain_text("New sign-in to Parley")
    button(page, "Sign out").click()
    heading(page, "Chat with a friendly bot.")


def test_with_the_keyboard_alone(site: Site, visit: Visit) -> None:
    page = visit("/dashboard")
    keys = page.keyboard

    def go_to(name: str) -> None:
        for _ in range(20):
            keys.press("Tab")
            focused = page.evaluate("document.activeElement.textContent.trim()")
            if focused == name:
                return
        pytest.fail(f"the Tab key does not lead to {name}")

    def type_when_focused(label: str, typed: str) -> None:
        # What is typed before the page has put the focus where it belongs goes nowhere.
        expect(page.get_by_label(label, exact=True)).to_be_focused()
        keys.type(typed)

    heading(page, "Sign in to Parley")
    type_when_focused("Email address", "ada@example.com")
    keys.press("Enter")
    heading(page, "Check your email")
    type_when_focused("Code", wrong(site.code))
    keys.press("Enter")
    expect(page.get_by_role("alert")).to_be_visible()
    type_when_focused("Code", site.code)
    keys.press("Enter")
    expect(page.get_by_label("Your message")).to_be_focused()
    keys.type("One line")
    keys.press("Shift+Enter")
    keys.type("and another")
    keys.press("Enter")
    expect(answers(page)).to_contain_text("One line\nand another", use_inner_text=True)
    expect(button(page, "Send")).to_be_visible()
    expect(page.get_by_label("Your message")).to_be_focused()
    site.sandbox.token_delay = 60
    keys.type("Wait")
    keys.press("Enter")
    expect(answers(page).last).to_have_text("Nice")
    go_to("Stop")
    keys.press("Enter")
    expect(page.get_by_label("Your message")).to_be_focused()
    go_to("Skip to the content")
    go_to("Sign out")
    keys.press("Enter")
    heading(page, "Chat with a friendly bot.")


# The chat


def test_the_answer_appears_token_by_token_and_is_announced_once(site: Site, visit: Visit) -> None:
    page = visit()
    sign_in(site, page)
    page.evaluate(
        """() => {
          window.seen = [];
          const look = () => {
            const text = document.querySelector(".message.bot")?.textContent;
            if (text && text !== seen.at(-1)) seen.push(text);
          };
          new MutationObserver(look).observe(document.querySelector("#messages"), {childList: true, subtree: true});
        }"""
    )
    button(page, "Tell me something good.").click()
    expect(button(page, "Stop")).to_be_visible()
    expect(button(page, "Send")).to_be_hidden()
    expect(page.get_by_role("status")).to_have_text("Answering …")
    text = "Nice to hear from you! You said: Tell me something good. (I have seen 1 message.)"
    expect(page.get_by_role("status")).to_have_text(text)
    expect(button(page, "Send")).to_be_visible()
    seen = page.evaluate("seen")
    assert seen[-1] == text
    assert len(seen) > len(text.split()) / 2
    assert all(text.startswith(part) for part in seen)


def test_an_answer_can_be_stopped_and_the_talk_goes_on(site: Site, visit: Visit) -> None:
    page = visit()
    sign_in(site, page)
    site.sandbox.token_delay = 60
    say(page, "Hello")
    expect(answers(page)).to_have_text("Nice")
    button(page, "Stop").click()
    expect(page.get_by_role("status")).to_have_text("Stopped.")
    site.sandbox.token_delay = 0
    say(page, "Go on")
    expect(answers(page).last).to_contain_text("(I have seen 3 messages.)")
    assert site.sandbox.requests[-1].json == {"text": "Go on"}


@pytest.mark.parametrize(
    ("fault", "sentence"),
    [
        ({"status": 503}, "The chat cannot be reached just now."),
        ({"status": 429}, "The chat is busy."),
        ({"status": 429, "code": "LIMITS_REACHED"}, "The chat has used up what its plan allows."),
        ({"drop": -150}, "The answer broke off."),
        ({"body": '{"type":"error","data":{"message":"The model is asleep."}}\n'}, "The model is asleep."),
        ({"body": '{"type":"token","data":{"token":"Ni"}}\n'}, "The answer broke off."),
    ],
)
def test_an_answer_that_fails_can_be_asked_for_again(
    site: Site, visit: Visit, fault: dict[str, Any], sentence: str
) -> None:
    page = visit()
    sign_in(site, page)
    site.sandbox.fail("*/complete", times=1, **fault)
    say(page, "Hello")
    expect(page.get_by_role("alert")).to_contain_text(sentence)
    expect(answers(page)).to_have_count(0)
    button(page, "Try again").click()
    # What had arrived before the answer broke off is kept.
    expect(answers(page)).to_have_text(re.compile(r"You said: Hello \(I have seen (1 message|3 messages)\.\)"))
    expect(page.get_by_role("alert")).to_have_count(0)


def test_a_phone_that_goes_offline(site: Site, visit: Visit) -> None:
    page = visit(**LOOKS["phone, dark"])
    sign_in(site, page)
    page.context.set_offline(True)
    say(page, "Hello")
    expect(page.get_by_role("alert")).to_contain_text("Are you online?")
    page.context.set_offline(False)
    button(page, "Try again").click()
    expect(answers(page)).to_contain_text("You said: Hello")


def test_a_talk_survives_a_reload_until_its_writer_signs_out(site: Site, visit: Visit) -> None:
    page = visit()
    sign_in(site, page)
    say(page, "Hello")
    expect(answers(page)).to_contain_text("(I have seen 1 message.)")
    expect(button(page, "Send")).to_be_visible()
    page.reload()
    expect(page.locator(".message")).to_have_count(2)
    expect(page.get_by_role("article", name="You")).to_have_text("Hello")
    expect(page.get_by_role("article", name="Parley")).to_contain_text("You said: Hello")
    say(page, "And now?")
    expect(answers(page).last).to_contain_text("(I have seen 3 messages.)")
    button(page, "Sign out").click()
    heading(page, "Chat with a friendly bot.")
    assert page.evaluate("sessionStorage.length") == 0
    sign_in(site, page, "ben@example.com")
    expect(page.locator(".message")).to_have_count(0)


def test_bubbles_keep_an_edge_in_the_readers_own_colours(site: Site, visit: Visit) -> None:
    page = visit("/", forced_colors="active")
    sign_in(site, page)
    say(page, "Hello")
    expect(answers(page)).to_be_visible()
    for bubble in page.locator(".message").all():
        edge = bubble.evaluate("each => [getComputedStyle(each).borderTopWidth, getComputedStyle(each).borderTopColor]")
        assert edge[0] == "1px"
        assert edge[1] not in ("rgba(0, 0, 0, 0)", bubble.evaluate("each => getComputedStyle(each).backgroundColor"))


def test_a_long_talk_stays_in_sight(site: Site, visit: Visit) -> None:
    page = visit(**LOOKS["phone, light"])
    sign_in(site, page)
    site.sandbox.token_delay = 0
    for number in range(1, 13, 2):
        say(page, "A few words that fill a line or two, or three " * 3)
        expect(answers(page).last).to_contain_text(f"(I have seen {number} message")
    expect(answers(page).last).to_be_in_viewport()
    expect(page.get_by_label("Your message")).to_be_in_viewport()
    fits(page)


def test_a_page_that_was_open_for_hours_still_works(site: Site, visit: Visit) -> None:
    site.app.config["WTF_CSRF_TIME_LIMIT"] = -1
    page = visit("/auth/sign-in")
    ask_for_code(page, "ada@example.com")
    expect(page.get_by_role("alert")).to_contain_text("Nothing is lost")
    expect(page.get_by_label("Email address")).to_have_value("ada@example.com")
    site.app.config["WTF_CSRF_TIME_LIMIT"] = 3600
    sign_in(site, page)


# The link in the mail


def test_the_link_signs_in_the_browser_that_asked_for_it_and_no_other(site: Site, visit: Visit) -> None:
    computer = visit("/auth/sign-in?next=/dashboard")
    ask_for_code(computer, "ada@example.com")
    heading(computer, "Check your email")
    link = newest_link(site.app)

    phone = visit(link, **LOOKS["phone, light"])
    heading(phone, "Open it in the other browser")
    expect(phone.get_by_text("This link works only in the browser where you asked for it.")).to_be_visible()
    expect(button(phone, "Sign in")).to_have_count(0)
    fits(phone)
    phone.goto("/dashboard")
    expect(phone).to_have_url(re.compile("/auth/sign-in"))

    tab = computer.context.new_page()
    for _look in range(2):  # to look at it, even with a script, signs nobody in
        tab.goto(link)
        expect(tab.get_by_text("as a•••@example.com?")).to_be_visible()
        expect(button(tab, "Sign in")).to_be_focused()
        expect(tab).to_have_url(site.origin + link)
    computer.goto("/dashboard")
    expect(computer).to_have_url(re.compile("/auth/sign-in"))

    button(tab, "Sign in").click()
    expect(tab).to_have_url(f"{site.origin}/dashboard")
    computer.goto("/dashboard")
    heading(computer, tab.get_by_role("heading", level=1).inner_text())
    computer.goto(link)  # once more: it has been used
    expect(computer).to_have_url(f"{site.origin}/auth/account")
    phone.goto(link)
    heading(phone, "Open it in the other browser")
