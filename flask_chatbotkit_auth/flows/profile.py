"""Changing the profile of the signed-in person, within a rate limit."""

from __future__ import annotations

from collections.abc import Mapping

from ..state import current_auth
from ..user import User
from .counting import telling_limits


def change(user: User, changes: Mapping[str, str]) -> User:
    """Change the signed-in person's own account.

    :param changes: the new values by field, checked with :func:`~flask_chatbotkit_auth.profile.profile_problem`.
    :returns: the user as it is afterwards.
    :raises RateLimited: the person has changed it too often. Each change is a call of the API.
    :raises LifecycleDisabled: ``CHATBOTKIT_AUTH_AUTO_UPDATE`` is off.
    :raises APIError: the API could not be reached or refused.
    """
    with telling_limits(user.email):
        current_auth.limiter.hit("profile:user", user.id)
    return current_auth.update_user(user, **changes)
