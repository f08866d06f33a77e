"""A protected page: what it costs the server to know who asks."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack

from flask_chatbotkit_auth.testing import Sandbox

from .browser import Browser
from .journeys import CHATBOTKIT, DJANGO_ALLAUTH, FLASK_SECURITY
from .report import compare, in_turns, milliseconds, show, skipped
from .servers import Server, missing

REQUESTS = 200
ROUNDS = 9

BASELINE = "Flask-Login, users in memory"
AIMS = {"this, session known to the worker": "≤ 1.06×", "this, session read from SQLite": "≤ 1.5×"}


def run() -> None:
    """Print the table."""
    with Sandbox() as sandbox, ExitStack() as stack:

        def serve(application: str, **settings: str) -> Server:
            return stack.enter_context(Server(application, {"BENCHMARK_API": sandbox.url, **settings}))

        def measure(server: Server, enter: Callable[[Server], Browser]) -> Callable[[], float]:
            browser = enter(server)
            request = browser.request_bytes("/page")
            return lambda: _cpu_per_request(server, browser, request)

        contenders = {
            "Flask, nobody signed in": measure(serve("plain_flask"), Server.browser),
            BASELINE: measure(serve("plain_flask_login"), _enter),
        }
        for name, check in zip(AIMS, ("3600", "0"), strict=True):
            contenders[name] = measure(serve("chatbotkit", BENCHMARK_SESSION_CHECK=check), CHATBOTKIT.go)
        if missing("flask_security", "flask_sqlalchemy"):
            skipped("Flask-Security", 'pip install "flask-chatbotkit-auth[bench]"')
        else:
            contenders["Flask-Security"] = measure(serve("flask_security_too"), FLASK_SECURITY.go)
        if missing("django", "allauth"):
            skipped("django-allauth", 'pip install "flask-chatbotkit-auth[bench]"')
        else:
            contenders["django-allauth"] = measure(serve("django_allauth"), DJANGO_ALLAUTH.go)
        samples = in_turns(contenders, ROUNDS)
    show(
        "A protected page: server CPU per request",
        ["", "CPU", "of Flask-Login's", "aim"],
        compare(samples, BASELINE, milliseconds, AIMS),
    )


def _enter(server: Server) -> Browser:
    browser = server.browser()
    browser.get("/enter")
    return browser


def _cpu_per_request(server: Server, browser: Browser, request: bytes) -> float:
    before = server.cpu()
    browser.repeat(request, REQUESTS)
    return (server.cpu() - before) / REQUESTS
