"""The snapshot of a user as the text that a store keeps."""

from __future__ import annotations

import json

from ..user import User


def dump(user: User) -> str:
    """Return the text of a user."""
    return json.dumps(user.to_json(), separators=(",", ":"))


def load(text: str) -> User:
    """Return the user that :func:`dump` wrote."""
    return User.from_json(json.loads(text))
