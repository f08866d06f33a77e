"""The look at the mail server: whether it accepts mail from our sender, and whether its certificate is right."""

from __future__ import annotations

from typing import Any

from flask import current_app

from ...exceptions import MailError
from ...mail.score import spam_score
from ...state import current_auth
from .findings import Look, from_hints


def mail() -> Look:
    """Connect, log in, and ask the server whether it accepts our sender. No mail is sent."""
    if current_auth.hooks.send_verification_request:
        return "ok", "codes are sent by the application itself"
    mail: Any = current_app.extensions["mail"]
    if mail.suppress:
        return "warning", "MAIL_SUPPRESS_SEND (or TESTING) is on: no mail leaves this application"
    if current_app.debug and not current_app.config.get("MAIL_SERVER"):
        return "warning", "no MAIL_SERVER: codes are printed to the console while in debug mode"
    try:
        current_auth.mailer.check()
    except MailError as error:
        return "failure", str(error)
    hints = []
    if not (current_auth.config.mail_sender or mail.default_sender):
        hints.append("Mails have no sender of your own; set CHATBOTKIT_AUTH_MAIL_SENDER.")
    if not getattr(current_auth.config, "mail_tls_verify", True):
        hints.append(
            "CHATBOTKIT_AUTH_MAIL_TLS_VERIFY is off: whoever answers at that address reads the password and the codes."
        )
    return from_hints(hints, f"{mail.server} takes mail")


def spam() -> Look:
    """Score our mail with SpamAssassin, if it is installed, by the rules that need no network."""
    score = spam_score(current_auth.mailer.sample())
    if score is None:
        return "ok", "not scored: SpamAssassin is not installed here"
    text = (
        f"SpamAssassin gives our mail {score.points} points of {score.required} ({', '.join(score.rules) or 'no rule'})"
    )
    return ("warning" if score.points >= score.required / 2 else "ok"), text
