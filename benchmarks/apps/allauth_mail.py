"""Django's mails, put where the benchmark finds them."""

from __future__ import annotations

from collections.abc import Sequence

from django.core.mail import EmailMessage
from django.core.mail.backends.base import BaseEmailBackend

from .instruments import keep_mail


class KeptMail(BaseEmailBackend):  # type: ignore[misc]  # Django has no type information
    """A mail back end of Django."""

    def send_messages(self, messages: Sequence[EmailMessage]) -> int:
        for message in messages:
            keep_mail(message.to[0], message.message().as_bytes())
        return len(messages)
