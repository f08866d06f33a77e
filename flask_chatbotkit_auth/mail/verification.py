"""``VerificationRequest``: everything that a mail with a code is about."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime

from flask import request

from ..device import device_name
from ..languages import ENGLISH, Language, current_language
from ..stores.base import Challenge
from ..user import User


@dataclass(frozen=True, kw_only=True)
class VerificationRequest:
    """A code for a person, and its purpose. Its ``repr`` shows neither the code nor the address.

    :param code: the code that the person types.
    :param expires_at: when the code stops working, aware, in UTC.
    :param user: the account with the address, if it was looked up.
    :param url: a link that signs in like the code, if there is one.
    :param purpose: ``"sign_in"``, ``"deletion"`` (of the account) or ``"address"`` (a new address for the account).
    :param device: the name of the browser that asked, such as ``"Chrome on Android"``, or ``None`` if it is unknown.
    :param language: the language of that browser's page.
    """

    identifier: str = field(repr=False)
    code: str = field(repr=False)
    expires_at: datetime
    user: User | None = field(default=None, repr=False)
    url: str | None = field(default=None, repr=False)
    purpose: str = "sign_in"
    device: str | None = None
    language: Language = field(default=ENGLISH, repr=False)

    @classmethod
    def of(
        cls,
        challenge: Challenge,
        code: str,
        expires_at: datetime,
        *,
        user: User | None = None,
        url: str | None = None,
    ) -> VerificationRequest:
        """Return the request for a challenge of this request's browser."""
        language = current_language()
        return cls(
            identifier=challenge.identifier,
            code=code,
            expires_at=expires_at,
            user=user,
            url=url,
            purpose=challenge.purpose,
            device=device_name(request.user_agent.string, language) if request else None,
            language=language,
        )
