"""Notices: mails about what happened to an account. A notice that cannot be sent changes nothing else."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any, Literal, NamedTuple

from ..config import Config
from ..exceptions import ChatBotKitAuthError
from ..languages import N_, current_language
from ..proxies import running_app
from ..signals import emit, notice_failed, notice_sent
from ..user import User
from .compose import page_url
from .mailer import Mailer

_log = logging.getLogger("flask_chatbotkit_auth")

Kind = Literal["new_sign_in", "passkey_added", "passkey_removed", "email_changed", "app_session_added"]

Hook = Callable[..., object]
"""The application's own sender of notices. It takes the keywords ``kind``, ``user`` and ``facts``."""


class _Words(NamedTuple):
    subject: str
    advice: str
    button: str | None


_IGNORE = N_("If this was you, you can ignore this email. If not, sign out your other devices.")
_REMOVE = N_("If this was you, you can ignore this email. If not, check your passkeys and sign out your other devices.")
_DEVICES = N_("Check your devices")

WORDS: Mapping[str, _Words] = {
    "new_sign_in": _Words(N_("New sign-in to %(site_name)s"), _IGNORE, _DEVICES),
    "passkey_added": _Words(
        N_("A passkey was added to your %(site_name)s account"), _REMOVE, N_("Check your passkeys")
    ),
    "passkey_removed": _Words(
        N_("A passkey was removed from your %(site_name)s account"), _REMOVE, N_("Check your passkeys")
    ),
    # Sent to the old address, whose mailbox may belong to somebody else by now. So it has no link.
    "email_changed": _Words(
        N_("Your email address was changed"),
        N_("If this was you, you can ignore this email. If not, contact %(site_name)s now."),
        None,
    ),
    "app_session_added": _Words(N_("An app was signed in to your %(site_name)s account"), _IGNORE, _DEVICES),
}


class Notices:
    """Sends notices, by the application's own hook or by our mail.

    :param hook: returns the application's own sender of notices, or ``None``. It is called for each notice.
    :param clock: returns the current time, aware, in UTC.
    """

    def __init__(
        self, config: Config, mailer: Mailer, hook: Callable[[], Hook | None], clock: Callable[[], datetime]
    ) -> None:
        self._config = config
        self._mailer = mailer
        self._hook = hook
        self._clock = clock

    def send(self, kind: Kind, user: User, *, to: str | None = None, **facts: Any) -> bool:
        """Send a notice, and return whether it was sent. It never raises.

        A failure is logged, and ``notice_failed`` is sent. Without ``CHATBOTKIT_AUTH_NOTICES``, ``new_sign_in`` is not
        sent. The other kinds always are.

        :param to: the address; by default the account's.
        :param facts: the values in the mail: ``device`` (the name of a browser), ``name`` (of a passkey or an app),
            ``email`` (the new address, masked). ``at``, the current time, is added.
        """
        if kind == "new_sign_in" and not self._config.notices:
            return False
        app = running_app()
        facts = {"at": self._clock(), **facts}
        if facts.get("name"):  # written by a person, and must stay on one line
            facts["name"] = " ".join(str(facts["name"]).split())[:64]
        try:
            hook = self._hook()
            if hook is not None:
                hook(kind=kind, user=user, facts=facts)
            else:
                self._mail(kind, to or user.email, facts)
        except Exception as error:  # noqa: BLE001  # the application's code and templates: anything may come
            # The text of another library's exception can contain anything.
            cause = error if isinstance(error, ChatBotKitAuthError) else type(error).__name__
            _log.error("the notice %s was not sent: %s", kind, cause, extra={"event": "notice_failed"})
            emit(notice_failed, app, kind=kind, user=user, error=error)
            return False
        emit(notice_sent, app, kind=kind, user=user)
        return True

    def _mail(self, kind: str, recipient: str, facts: Mapping[str, Any]) -> None:
        language, words = current_language(), WORDS[kind]
        name = self._mailer.site_name
        self._mailer.deliver(
            "notice",
            recipient,
            language,
            kind=kind,
            facts=facts,
            subject=language.gettext(words.subject, site_name=name),
            advice=language.gettext(words.advice, site_name=name),
            button=words.button and language.gettext(words.button),
            button_url=page_url("account", self._config) if words.button else None,
        )
