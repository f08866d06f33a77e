"""What developers type into the search of the documentation, and the page that it must show first."""

from __future__ import annotations

import functools
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from playwright.sync_api import Browser

from tests.support.samples import DOCS

QUESTIONS = {
    "install": "quickstart",
    "getting started": "quickstart",
    "application factory": "quickstart",
    "SECRET_KEY": "deployment",
    "environment variable": "configuration",
    "default settings": "configuration",
    "code length digits": "configuration",
    "rate limits": "configuration",
    "CHATBOTKIT_AUTH_AUTO_CREATE": "configuration",
    "redirect after login": "configuration",
    "redirect after logout": "configuration",
    "Content-Security-Policy": "configuration",
    "error code table": "reference",
    "signals": "reference",
    "cookies": "reference",
    "commands": "reference",
    "dependencies": "reference",
    "ResolutionImpossible": "troubleshooting",
    "no email arrives": "troubleshooting",
    "403 open too long": "troubleshooting",
    "CSRF token": "troubleshooting",
    "everyone is one client": "troubleshooting",
    "signed out after deploy": "troubleshooting",
    "login loop": "troubleshooting",
    "database is locked": "troubleshooting",
    "CORS": "troubleshooting",
    "401": "troubleshooting",
    "429": "troubleshooting",
    "outage": "situations",
    "metrics": "operating",
    "Prometheus": "operating",
    "doctor": "deployment",
    "503": "troubleshooting",
    "another browser": "troubleshooting",
    "invite people": "faq",
    "password reset": "faq",
    "OAuth": "faq",
    "social login": "faq",
    "2FA": "faq",
    "JWT": "faq",
    "GDPR": "faq",
    "username": "onboarding",
    "ask for a name": "onboarding",
    "first sign-in redirect": "onboarding",
    "Docker": "docker",
    "compose PostgreSQL Redis": "docker",
    "reverse proxy": "deployment",
    "nginx": "deployment",
    "ProxyFix": "deployment",
    "database migrations": "deployment",
    "backup": "deployment",
    "load balancer probe": "deployment",
    "unittest": "testing",
    "pytest fixtures": "testing",
    "sandbox": "testing",
    "own user table": "hooks",
    "logout everywhere": "sessions",
    "suspend": "sessions",
    "remember me": "sessions",
    "fresh_login_required": "sessions",
    "logo": "pages",
    "email template": "pages",
    "Celery queue": "pages",
    "translate language": "languages",
    "SPA single-page app": "front-ends",
    "React": "front-ends",
    "mobile app": "apps",
    "bearer token": "apps",
    "CLI": "apps",
    "fetch JSON API": "json-api",
    "OpenAPI": "json-api",
    "SQLite": "stores",
    "Redis cluster Sentinel": "topologies",
    "PgBouncer": "topologies",
    "high availability": "topologies",
    "MongoDB": "stores",
    "Flask-Security": "from-passwords",
    "NextAuth.js": "moving",
    "brute force": "security",
    "user enumeration": "security",
    "sub-account or contact": "partner-or-contact",
    "slow": "performance",
    "streaming": "chat",
    "chat history": "chat",
    "passkeys": "passkeys",
    "WebAuthn": "passkeys",
    "SaaS": "product",
    "impersonation": "product",
    "organization": "companies",
    "multi-tenant": "companies",
    "background job": "jobs",
    "API keys": "jobs",
    "Python SDK": "python-sdk",
    "upgrade": "upgrading",
    "existing application": "fitting-in",
    "register": "partner-or-contact",
    "logout": "sessions",
    "audit log": "hooks",
    "magic link": "from-passwords",
}


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        """Say nothing about a request."""


@pytest.fixture
def site(tmp_path: Path) -> Iterator[str]:
    """Build the documentation, and serve it."""
    pytest.importorskip("sphinx", reason="Sphinx is not installed")
    pytest.importorskip("furo", reason="Furo is not installed")
    command = [sys.executable, "-m", "sphinx", "-q", "-b", "html", str(DOCS), str(tmp_path)]
    subprocess.run(command, check=True)
    handler = functools.partial(Quiet, directory=str(tmp_path))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


def test_there_are_fifty_questions_and_they_ask_for_every_guide() -> None:
    assert len(QUESTIONS) >= 50
    no_question = {"index", "flow", "sessions-table", "api", "changelog", "contributing", "layout", "platform", "proof"}
    no_question |= {"benchmarks", "tried"}
    assert set(QUESTIONS.values()) == {path.stem for path in DOCS.glob("*.rst")} - no_question


def test_each_question_finds_its_page_first(site: str, browser: Browser) -> None:
    page = browser.new_page()
    wrong = {}
    for question, wanted in QUESTIONS.items():
        page.goto(f"{site}/search.html?q={question.replace(' ', '+')}")
        page.locator("#search-results p.search-summary", has_text="found").or_(
            page.locator("#search-results p.search-summary", has_text="did not match")
        ).first.wait_for()
        found = page.locator("#search-results ul.search a").evaluate_all("all => all.map(a => a.getAttribute('href'))")
        first = found[0].partition(".html")[0] if found else "nothing"
        if first != wanted:
            wrong[question] = f"{first} and not {wanted}"
    page.close()
    assert wrong == {}
