"""The link in the mail: it signs in like the code, but only the browser that asked for it.

Nothing is stored about it. It is an HMAC of the address and the challenge, whose id is only in that browser's signed
session. So every mail of a challenge has the same link, which does nothing in another browser or a mail scanner.
"""

from __future__ import annotations

import base64
import hmac

from flask import current_app, session

from ..exceptions import NoChallenge
from ..keys import keyed_digest, secret_keys
from ..mail.compose import page_url
from ..proxies import running_app
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
    """Return this browser's challenge, in any state, if the link belongs to it; else ``None``."""
    challenge = Pending("sign_in").latest()
    if challenge is None or not token.isascii():
        return None
    return challenge if any(hmac.compare_digest(token, each) for each in _tokens(challenge)) else None


def sign_in_by_link(token: str) -> User:
    """Sign this browser in with the link of its mail. Like a code, it works once, and ends every code of the challenge.

    :param token: the ``t`` of the link.
    :raises NoChallenge: the link belongs to another browser, or its challenge was used.
    :raises ChatBotKitAuthError: as :func:`~flask_chatbotkit_auth.flows.sign_in.sign_in_by_code`.
    """
    if find(token) is None:
        raise NoChallenge("the link was opened in a browser that has not asked for it")
    remember = session.get(sign_in.REMEMBER_KEY) is not False
    user = sign_in.complete_sign_in(Pending("sign_in").accept(), remember=remember, method="link")
    emit(link_used, running_app(), user=user)
    return user


def _tokens(challenge: Challenge) -> list[str]:
    """Return the token of the link with the secret key, and with each earlier key: 22 characters each."""
    return [
        base64.urlsafe_b64encode(
            bytes.fromhex(keyed_digest(key, "mail links", challenge.id, challenge.identifier))[:_BYTES]
        )
        .rstrip(b"=")
        .decode()
        for key in secret_keys(current_app.config)
    ]
