"""The link in the mail: signs in as the code does, in the browser that asked for it and in no other.

Nothing is stored about it. It is an HMAC over the challenge, which only that browser's signed session names, and the
address. So the same link is in each mail of one challenge, and whoever opens it elsewhere, a mail scanner too, has nothing.
"""

from __future__ import annotations

import base64
import hmac

from flask import current_app, session

from ..exceptions import NoChallenge
from ..keys import keyed_digest, secret_keys
from ..mail.compose import page_url
from ..signals import emit, link_used
from ..state import current_auth
from ..stores.base import Challenge
from ..user import User
from . import sign_in
from .pending import Pending

_BYTES = 16


def link_to(challenge: Challenge) -> str:
    """Return the link for the mail of a challenge."""
    return f"{page_url('link', current_auth.config)}?t={_tokens(challenge)[0]}"


def find(token: str) -> Challenge | None:
    """Return this browser's challenge, whatever has become of it, where the link is its own; ``None`` otherwise."""
    challenge = Pending("sign_in").latest()
    if challenge is None or not token.isascii():
        return None
    return challenge if any(hmac.compare_digest(token, each) for each in _tokens(challenge)) else None


def sign_in_by_link(token: str) -> User:
    """Sign this browser in by the link of its mail. It does so once, like a code, and ends every code of the challenge.

    :param token: the ``t`` of the link.
    :raises NoChallenge: the link is not this browser's, or its challenge has been used.
    :raises ChatBotKitAuthError: as :func:`~flask_chatbotkit_auth.flows.sign_in.sign_in_by_code`.
    """
    if find(token) is None:
        raise NoChallenge("the link was opened in a browser that has not asked for it")
    remember = session.get(sign_in.REMEMBER_KEY) is not False
    user = sign_in.complete_sign_in(Pending("sign_in").accept(), remember=remember, method="link")
    emit(link_used, current_app._get_current_object(), user=user)  # type: ignore[attr-defined]
    return user


def _tokens(challenge: Challenge) -> list[str]:
    """Return the link's token under the secret key, then under each key that was in force before: 22 characters."""
    return [
        base64.urlsafe_b64encode(
            bytes.fromhex(keyed_digest(key, "mail links", challenge.id, challenge.identifier))[:_BYTES]
        )
        .rstrip(b"=")
        .decode()
        for key in secret_keys(current_app.config)
    ]
