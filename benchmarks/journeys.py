"""The way of a person through a sign-in: the form, the e-mail address, the code, the page. One way for each product."""

from __future__ import annotations

import email
import email.policy
import re
from collections.abc import Callable
from dataclasses import dataclass

from .apps.instruments import EMAIL
from .browser import Browser, form_token
from .servers import Server


@dataclass(frozen=True)
class Journey:
    """The paths and fields of a sign-in by a code in a mail."""

    form: str
    ask: str
    ask_fields: Callable[[str], dict[str, str]]
    verify: str
    verify_fields: Callable[[str, str], dict[str, str]]
    code: re.Pattern[str]
    """Finds the code in the text of the mail."""

    def go(self, server: Server, address: str = EMAIL, *, follow: bool = False) -> Browser:
        """Sign in with a new browser.

        :param follow: whether redirects are followed, as a browser does, or only those four requests made.
        """
        browser = server.browser()
        token = form_token(browser.get(self.form))
        answer = browser.post(self.ask, {**token, **self.ask_fields(address)})
        if follow:
            token = form_token(browser.follow(answer))
        code = answer.code or read_code(server.mail(address), self.code)
        answer = browser.post(self.verify, {**token, **self.verify_fields(address, code)})
        return arrived(browser, address)


CHATBOTKIT = Journey(
    form="/auth/sign-in",
    ask="/auth/sign-in",
    ask_fields=lambda address: {"email": address},
    verify="/auth/verify",
    verify_fields=lambda address, code: {"code": code},
    code=re.compile(r"^ +([0-9a-f]{6})$", re.MULTILINE),
)
SMALLEST = Journey(
    form="/sign-in",
    ask="/sign-in",
    ask_fields=lambda address: {"email": address},
    verify="/verify",
    verify_fields=lambda address, code: {"code": code},
    code=CHATBOTKIT.code,
)
FLASK_SECURITY = Journey(
    form="/us-signin",
    ask="/us-signin/send-code",
    ask_fields=lambda address: {"identity": address, "chosen_method": "email", "submit_send_code": "Send Code"},
    verify="/us-signin",
    verify_fields=lambda address, code: {
        "identity": address,
        "chosen_method": "email",
        "passcode": code,
        "submit": "Sign In",
    },
    code=re.compile(r"\b(\d{6})\b"),
)
DJANGO_ALLAUTH = Journey(
    form="/accounts/login/code/",
    ask="/accounts/login/code/",
    ask_fields=lambda address: {"email": address},
    verify="/accounts/login/code/confirm/",
    verify_fields=lambda address, code: {"code": code},
    code=re.compile(r"^([A-Z0-9-]{6,})$", re.MULTILINE),
)


def sign_in_over_json(server: Server, address: str = EMAIL) -> Browser:
    """Sign in as a single-page application does: session, sign-in, verify, session."""
    browser = server.browser()
    token = browser.get_json("/auth/session")["csrf_token"]
    answer = browser.post_json("/auth/sign-in", {"email": address}, token)
    code = answer.code or read_code(server.mail(address), CHATBOTKIT.code)
    browser.post_json("/auth/verify", {"code": code}, token)
    user = browser.get_json("/auth/session")["user"]
    if user is None or user["email"] != address:
        raise RuntimeError("the sign-in did not succeed")
    return browser


def arrived(browser: Browser, address: str) -> Browser:
    """Return the browser, which the page must greet by name.

    :raises RuntimeError: it does not.
    """
    page = browser.get("/page")
    if page.body != f"Hello {address}".encode():
        raise RuntimeError(f"the sign-in did not succeed: {page.status} {page.body[:200]!r}")
    return browser


def read_code(mail: bytes, pattern: re.Pattern[str]) -> str:
    """Return the code of a mail."""
    message = email.message_from_bytes(mail, policy=email.policy.default)
    body = message.get_body(("plain",))
    found = body and pattern.search("\n".join(body.get_content().splitlines()))
    if not found:
        raise RuntimeError("a mail holds no code")
    return found[1]
