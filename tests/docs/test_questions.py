"""What developers type into the search of the documentation, and the page that they must find."""

from __future__ import annotations

import re
import runpy
from pathlib import Path

import pytest

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
    "dependencies pins": "reference",
    "ResolutionImpossible": "troubleshooting",
    "no email arrives": "troubleshooting",
    "403 open too long": "troubleshooting",
    "CSRF token": "troubleshooting",
    "everyone is one client": "troubleshooting",
    "signed out after deploy": "troubleshooting",
    "login loop": "troubleshooting",
    "database is locked": "troubleshooting",
    "CORS": "troubleshooting",
    "503": "troubleshooting",
    "another browser": "troubleshooting",
    "invite people": "faq",
    "forgot password reset": "faq",
    "magic link": "from-passwords",
    "OAuth social login": "faq",
    "2FA": "faq",
    "JWT": "faq",
    "GDPR privacy": "faq",
    "username NOT NULL UNIQUE": "onboarding",
    "ask for a name": "onboarding",
    "first sign-in redirect": "onboarding",
    "Docker": "docker",
    "compose PostgreSQL Redis": "docker",
    "reverse proxy": "deployment",
    "nginx": "deployment",
    "ProxyFix": "deployment",
    "database migrations": "deployment",
    "backup restore": "deployment",
    "load balancer probe": "deployment",
    "unittest": "testing",
    "pytest fixtures": "testing",
    "sandbox": "testing",
    "own user table": "hooks",
    "logout everywhere": "sessions",
    "suspend ban user": "sessions",
    "remember me": "sessions",
    "fresh_login_required": "sessions",
    "change colours logo": "pages",
    "email template": "pages",
    "Celery queue": "pages",
    "translate language": "languages",
    "SPA single-page app": "json-api",
    "fetch JSON API": "json-api",
    "OpenAPI": "json-api",
    "SQLite": "stores",
    "Redis cluster Sentinel": "stores",
    "PgBouncer": "stores",
    "Flask-Security": "from-passwords",
    "NextAuth.js": "moving",
    "brute force": "security",
    "user enumeration": "security",
    "sub-account or contact": "partner-or-contact",
    "slow performance": "performance",
    "streaming chat": "chat",
}
FOUND = 3
"""The page must be among so many that the words lead to."""


def _words(text: str) -> set[str]:
    return {each.rstrip("s").lower() for each in re.findall(r"[\w.-]+", text)}


def _headings(text: str) -> str:
    titles = re.findall(r"^(.+)\n(?:={3,}|-{3,}|~{3,})$", text, re.MULTILINE)
    return "\n".join([titles[0], *titles])  # that of the page counts twice


def _page(path: Path) -> str:
    """Return the text of a page, with what is generated in it."""
    text = path.read_text(encoding="utf-8").partition("\n.. for-auditors\n")[0]
    return re.sub(r"^\.\. generated:: (\w+)$", lambda found: MADE[found[1]](), text, flags=re.MULTILINE)


MADE = runpy.run_path(str(DOCS / "conf.py"))["GENERATED"]
PAGES = {path.stem: _page(path) for path in sorted(DOCS.glob("*.rst"))}


def _found(question: str) -> list[str]:
    """Return the pages that hold every word, those first that hold more of them in headings, then more often."""
    wanted = _words(question)
    ranks = []
    for name, text in PAGES.items():
        if name not in (
            "changelog",
            "contributing",
            "proof",
            "platform",
            "layout",
            "sessions-table",
        ) and wanted <= _words(text):
            heads = re.findall(r"[\w.-]+", _headings(text))
            in_headings = sum(each.rstrip("s").lower() in wanted for each in heads)
            often = sum(each.rstrip("s").lower() in wanted for each in re.findall(r"[\w.-]+", text))
            ranks.append((-in_headings, -often, name))
    return [name for *_, name in sorted(ranks)]


def test_there_are_fifty_questions() -> None:
    assert len(QUESTIONS) >= 50


@pytest.mark.parametrize(("question", "page"), QUESTIONS.items(), ids=list(QUESTIONS))
def test_a_question_finds_its_page(question: str, page: str) -> None:
    assert page in _found(question)[:FOUND]


def test_most_questions_find_their_page_first() -> None:
    first = [question for question, page in QUESTIONS.items() if _found(question)[:1] == [page]]
    assert len(first) >= 50, sorted(set(QUESTIONS) - set(first))
