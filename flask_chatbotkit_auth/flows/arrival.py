"""After a sign-in with a proof: the browser becomes known, and the owner gets a notice about a new browser."""

from __future__ import annotations

from flask import request

from ..device import device_name
from ..devices import known_device, remember_device
from ..languages import current_language
from ..state import current_state
from ..user import User


def arrived(identifier: str, user: User, *, created: bool) -> None:
    """Mark the browser as known for the address. If it was not known before, send the owner a notice.

    The sign-in that created the account causes no notice.

    :param created: whether the account was just created.
    """
    auth = current_state()
    lifetime, now = auth.config.device_lifetime, auth.clock()
    told = auth.config.notices and not created and known_device(identifier, lifetime=lifetime, now=now) is None
    remember_device(identifier, lifetime=lifetime, now=now)
    if told:
        device = device_name(request.user_agent.string, current_language())
        auth.notices.send("new_sign_in", user, device=device)
