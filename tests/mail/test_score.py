"""What filters say of our mails: SpamAssassin's score, and what stands where it is not installed."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from flask_babel import Babel

from flask_chatbotkit_auth import MailError
from flask_chatbotkit_auth.mail import score
from flask_chatbotkit_auth.mail.score import spam_score
from tests.support.apps import MakeApp

SENDER = {"CHATBOTKIT_AUTH_MAIL_SENDER": "Shop <no-reply@shop.example>"}


@pytest.mark.parametrize("language", ["en", "ar"])
def test_spamassassin_finds_our_mail_harmless(
    make_app: MakeApp, installed: Callable[[str], str], language: str
) -> None:
    installed("spamassassin")
    app = make_app(**SENDER, CHATBOTKIT_AUTH_SITE_NAME="Ädas Läden")
    Babel(app, locale_selector=lambda: language)
    with app.test_request_context():
        found = spam_score(app.extensions["chatbotkit_auth"].mailer.sample())
    assert found is not None
    assert found.points < 1, found.rules
    assert found.required == 5


def test_the_doctor_scores_the_mail_where_it_is_asked_to(make_app: MakeApp, installed: Callable[[str], str]) -> None:
    installed("spamassassin")
    runner = make_app(**SENDER).test_cli_runner()
    assert "spam " not in runner.invoke(args=["chatbotkit-auth", "doctor"]).output
    output = runner.invoke(args=["chatbotkit-auth", "doctor", "--mail"]).output
    (line,) = [line for line in output.splitlines() if "SpamAssassin" in line]
    assert line.split()[:2] == ["ok", "spam"]
    assert "points of 5.0" in line


def test_without_spamassassin_the_doctor_says_so(make_app: MakeApp, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(score, "PROGRAM", "no-such-program")
    output = make_app(**SENDER).test_cli_runner().invoke(args=["chatbotkit-auth", "doctor", "--mail"]).output
    assert "not scored: SpamAssassin is not installed here" in output


@pytest.mark.parametrize("script", ["echo nothing", "exit 3"])
def test_a_program_that_gives_no_score_is_told(
    make_app: MakeApp, monkeypatch: pytest.MonkeyPatch, tmp_path: Any, script: str
) -> None:
    program = tmp_path / "spamassassin"
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)
    monkeypatch.setattr(score, "PROGRAM", str(program))
    app = make_app(**SENDER)
    with app.app_context(), pytest.raises(MailError, match="gave no score"):
        spam_score(app.extensions["chatbotkit_auth"].mailer.sample())
