"""What happens where somebody has just signed in by a proof: the browser becomes known, and a new one is told about."""

from __future__ import annotations

from flask import request

from ..device import device_name
from ..devices import known_device, remember_device
from ..languages import current_language
from ..state import current_state
from ..user import User


def arrived(identifier: str, user: User, *, created: bool) -> None:
    """Have the browser be known for the address from now on; tell its owner by mail where it was not known before.

    Nobody is told about the sign-in that made the account.

    :param created: whether the account was made just now.
    """
    auth = current_state()
    lifetime, now = auth.config.device_lifetime, auth.clock()
    told = auth.config.notices and not created and known_device(identifier, lifetime=lifetime, now=now) is None
    remember_device(identifier, lifetime=lifetime, now=now)
    if told:
        device = device_name(request.user_agent.string, current_language())
        auth.notices.send("new_sign_in", user, device=device)
